"""The history in the API: of one row, and of everything the caller may read."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from admin_app.actor import Actor
from admin_app.api.answers import Moment, answer, links
from admin_app.api.auth import doors_of
from admin_app.api.documentation import returns
from admin_app.api.lists import Conditions, Day, Limit, PageQuery, Period, cursors, sort_by
from admin_app.api.routing import PlainRoute
from admin_app.domains.activity.access import may_read_addresses
from admin_app.domains.activity.service import ActivityService
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.service import UserService
from admin_app.errors import NotFound

HISTORY_LIMIT = 25

router = APIRouter(tags=["history"], route_class=PlainRoute)


class EntryRead(msgspec.Struct):
    """`changes` maps a field to what it was and what it is; secrets are never in it, only that they changed.

    `version` is the one the row has since, if it changed. `address` is told to superusers, and of oneself.
    """

    id: UUID
    at: Moment
    action: str
    kind: str
    row_id: UUID | None
    row_label: str
    version: int | None
    note: str | None
    changes: dict[str, list[Any]]
    actor_id: UUID | None
    actor_label: str
    source: str
    address: str | None
    request_id: UUID
    operation_id: UUID | None


class EntryPage(msgspec.Struct):
    """The newest first. `next` and `previous` are cursors: the pages beside this one."""

    items: list[EntryRead]
    limit: int
    next: str | None
    previous: str | None


class HistoryPage(msgspec.Struct):
    """The newest first. `next` is the cursor of what happened before."""

    items: list[EntryRead]
    limit: int
    next: str | None


class HistoryQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Limit = HISTORY_LIMIT
    cursor: UUID | None = None


class ActivityConditions(Conditions):
    """`who` is an e-mail address or a part of one."""

    row_id: Annotated[UUID | None, Field(description="Of a product or an account.")] = None
    who: str = ""
    action: str = ""
    kind: Literal["", "product", "user"] = ""
    field: str = ""
    at: Period = ""
    at_from: Day = ""
    at_to: Day = ""

    def texts(self) -> dict[str, str]:
        found = super().texts()
        row_id = found.pop("row_id", None)
        return {**found, "search": str(row_id)} if row_id else found


class ActivityQuery(ActivityConditions, PageQuery):
    """Conditions and place of a list of what happened. `who` is an e-mail address or a part of one."""

    sort: sort_by(["at"]) = "-at"  # type: ignore[valid-type]


@router.get(
    "/products/{product_id:uuid}/history",
    summary="Read the history of a product",
    responses=returns(HistoryPage, has_links=True),
)
async def read_product_history(
    request: Request, product_id: UUID, query: Annotated[HistoryQuery, Query()]
) -> Response:
    """Who changed what, from what to what. Also of a product in the bin, for whoever sees it there."""
    async with doors_of(request).reading(request) as (session, actor):
        products = ProductService(session, actor)
        try:
            await products.get_by_id(product_id)
        except NotFound:
            await products.get_in_bin(product_id)
        found = await ActivityService(session, actor).of_row(
            "product", product_id, limit=query.limit, before=query.cursor
        )
    return _history(request, actor, found.entries, query, has_more=found.has_more)


@router.get(
    "/users/{user_id:uuid}/history",
    summary="Read the history of an account",
    responses=returns(HistoryPage, has_links=True),
)
async def read_user_history(
    request: Request, user_id: UUID, query: Annotated[HistoryQuery, Query()]
) -> Response:
    """For whoever may read the account."""
    async with doors_of(request).reading(request) as (session, actor):
        await UserService(session, actor).get_by_id(user_id)
        found = await ActivityService(session, actor).of_row(
            "user", user_id, limit=query.limit, before=query.cursor
        )
    return _history(request, actor, found.entries, query, has_more=found.has_more)


@router.get(
    "/activity/",
    summary="List what happened",
    responses=returns(EntryPage, has_links=True),
)
async def list_activity(request: Request, query: Annotated[ActivityQuery, Query()]) -> Response:
    """The newest first. Of accounts, an administrator reads only what is about their own."""
    asked = query.parsed(ActivityService.listing)
    async with doors_of(request).reading(request) as (session, actor):
        page = await ActivityService(session, actor).page(asked)
    beside = cursors(ActivityService.listing, asked, page)
    items = [_entry(row, actor) for row in page.rows]
    found = EntryPage(items, query.limit, beside["next"], beside["prev"])
    return answer(found, headers=links(request, **beside))


def _history(
    request: Request, actor: Actor, entries: Any, query: HistoryQuery, *, has_more: bool
) -> Response:
    following = str(entries[-1].id) if has_more else None
    found = HistoryPage([_entry(entry, actor) for entry in entries], query.limit, following)
    return answer(found, headers=links(request, next=following))


def _entry(row: Any, actor: Actor) -> EntryRead:
    columns: Mapping[str, Any] = row._mapping
    values = {name: columns[name] for name in EntryRead.__struct_fields__}
    if not may_read_addresses(actor) and row.actor_id != actor.id:
        values["address"] = None
    return EntryRead(**values)
