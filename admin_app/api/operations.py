"""Bulk operations in the API: what can be done to many rows, doing it, following it, taking it back."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from admin_app.actor import Actor, Role
from admin_app.api.answers import answer, links, location
from admin_app.api.auth import doors_of
from admin_app.api.documentation import body, one_of, returns
from admin_app.api.lists import Conditions, cursors
from admin_app.api.operation_shapes import (
    ActionList,
    Confirmation,
    ItemPage,
    ItemQuery,
    ItemRead,
    OperationName,
    OperationPage,
    OperationQuery,
    OperationRead,
    OperationSummary,
    Shape,
    action_of,
    preview_of,
    reasons_of,
    shape_of,
)
from admin_app.api.problems import Fault, InvalidBody, complaints_of, pointer_to
from admin_app.api.requests import read_json
from admin_app.api.routing import PlainRoute
from admin_app.bulk.actions import Actions, BulkAction
from admin_app.bulk.models import Outcome, State
from admin_app.bulk.plan import Plan, Preview
from admin_app.bulk.service import TYPED, OperationService
from admin_app.database import limit_time
from admin_app.errors import Conflict, InvalidInput
from admin_app.listing import BadQuery

PREVIEW_SECONDS = 20.0
OUTCOMES = {"done": Outcome.DONE, "skipped": Outcome.SKIPPED, "failed": Outcome.FAILED, "left": Outcome.OPEN}
NAMES = {outcome: name for name, outcome in OUTCOMES.items()}

Where = Mapping[str, type[Conditions]]
"""kind -> what its rows can be selected by."""


def routes_for(actions: Actions, where: Where) -> APIRouter:
    """`actions` are all there are; what may be run is up to the caller."""
    shapes = {
        (kind, name): shape_of(action, where[kind])
        for kind, table in actions.items()
        for name, action in table.items()
        if action.is_listed
    }
    router = APIRouter(prefix="/operations", tags=["operations"], route_class=PlainRoute)

    @router.get("/actions", summary="List actions", responses=returns(ActionList))
    async def list_actions(request: Request) -> Response:
        """What can be done to many rows at once, and with which parameters."""
        async with doors_of(request).reading(request) as (_, actor):
            found = [
                action_of(action)
                for table in actions.values()
                for action in table.values()
                if action.is_listed and action.may_run(actor)
            ]
        return answer(ActionList(found))

    @router.post(
        "/",
        status_code=201,
        summary="Start an operation",
        openapi_extra=one_of(shape.told for shape in shapes.values()),
        responses=returns(OperationRead, 201, has_location=True),
    )
    async def start_operation(request: Request) -> Response:
        """Draft it and look, or start it at once by `expected_changes`. It goes on in the background."""
        await doors_of(request).enter(request, _may_operate)
        named = await read_json(request, OperationName)
        if (named.kind, named.action) not in shapes:
            raise InvalidBody([Fault("There is no such action.", pointer_to("action"))])
        shape = shapes[named.kind, named.action]
        data: Any = await read_json(request, shape.read)
        parameters = _parameters(shape, data.parameters)
        if (data.ids is None) == (data.where is None):
            raise InvalidBody([Fault("Select rows either by ids or by where.", pointer_to("ids"))])

        async def work(session: AsyncSession, actor: Actor) -> Response:
            await limit_time(session, PREVIEW_SECONDS)
            service = OperationService(session, actor)
            if data.ids is not None:
                operation = await service.draft_of_rows(
                    data.kind, data.action, data.ids, parameters=parameters
                )
            else:
                query, words = _selected(actions[data.kind][data.action], data.where)
                operation = await service.draft_of_query(
                    data.kind, data.action, query, words, parameters=parameters
                )
            plan = await service.plan(operation)
            preview = await _preview(service, plan)
            if data.expected_changes is not None:
                _require_expected(data.expected_changes, preview.counts.changing)
                await service.confirm(
                    operation.id, parameters, preview.counts.fingerprint, str(data.expected_changes)
                )
            return await _told(request, service, plan, preview, 201)

        return await doors_of(request).change(request, work)

    router.routes.extend(_router.routes)
    return router


_router = APIRouter(prefix="/operations", tags=["operations"], route_class=PlainRoute)


@_router.get(
    "/",
    summary="List operations",
    responses=returns(OperationPage, has_links=True),
)
async def list_operations(request: Request, query: Annotated[OperationQuery, Query()]) -> Response:
    """Superusers and support see all of them, administrators their own. Drafts are not listed."""
    asked = query.parsed(OperationService.listing)
    async with doors_of(request).reading(request) as (session, actor):
        page = await OperationService(session, actor).page(asked)
    beside = cursors(OperationService.listing, asked, page)
    names = OperationSummary.__struct_fields__
    items = [OperationSummary(*(getattr(row, name) for name in names)) for row in page.rows]
    found = OperationPage(items, query.limit, beside["next"], beside["prev"])
    return answer(found, headers=links(request, **beside))


@_router.get(
    "/{operation_id:uuid}",
    summary="Follow an operation",
    responses=returns(OperationRead),
)
async def read_operation(request: Request, operation_id: UUID) -> Response:
    """How far it is. Of a draft, what it would do now."""
    async with doors_of(request).reading(request) as (session, actor):
        service = OperationService(session, actor)
        plan = await service.plan(await service.get_by_id(operation_id))
        preview = None
        if plan.operation.state is State.DRAFT:
            await limit_time(session, PREVIEW_SECONDS)
            with suppress(InvalidBody):  # begun on the website, where its parameters come later
                preview = await _preview(service, plan)
        return await _told(request, service, plan, preview)


@_router.get(
    "/{operation_id:uuid}/items",
    summary="List the rows of an operation",
    responses=returns(ItemPage, has_links=True),
)
async def list_items(request: Request, operation_id: UUID, query: Annotated[ItemQuery, Query()]) -> Response:
    """What became of each, and why; for 30 days after its end."""
    async with doors_of(request).reading(request) as (session, actor):
        service = OperationService(session, actor)
        plan = await service.plan(await service.get_by_id(operation_id))
        outcome = OUTCOMES[query.outcome] if query.outcome else None
        found, has_more = await service.items(plan, outcome, query.reason or None, query.cursor)
    items = [ItemRead(item.row_id, item.title, NAMES[item.outcome], item.reason) for item in found]
    following = str(items[-1].row_id) if has_more else None
    return answer(ItemPage(items, following), headers=links(request, next=following))


@_router.post(
    "/{operation_id:uuid}/confirm",
    summary="Confirm an operation",
    openapi_extra=body(Confirmation),
    responses=returns(OperationRead),
)
async def confirm_operation(request: Request, operation_id: UUID) -> Response:
    """Lets a draft begin if it would do what its preview said, else 409: read it again. Once is enough."""
    await doors_of(request).enter(request, _may_operate)
    data = await read_json(request, Confirmation)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        await limit_time(session, PREVIEW_SECONDS)
        service = OperationService(session, actor)
        operation = await service.get_by_id(operation_id)
        typed = "" if data.changing is None else str(data.changing)
        try:
            await service.confirm(operation.id, operation.parameters, data.fingerprint, typed)
        except InvalidInput as error:
            raise _pointing(error) from None
        return await _told(request, service, await service.plan(operation))

    return await doors_of(request).change(request, work)


@_router.post("/{operation_id:uuid}/cancel", summary="Cancel an operation", responses=returns(OperationRead))
async def cancel_operation(request: Request, operation_id: UUID) -> Response:
    """What is done stays done. One that has ended stays as it is."""
    await doors_of(request).enter(request, _may_operate)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        service = OperationService(session, actor)
        operation = await service.cancel(operation_id)
        await session.refresh(operation)
        return await _told(request, service, await service.plan(operation))

    return await doors_of(request).change(request, work)


@_router.post("/{operation_id:uuid}/retry", summary="Retry an operation", responses=returns(OperationRead))
async def retry_operation(request: Request, operation_id: UUID) -> Response:
    """Failed rows are tried again as they are now, and what was cancelled goes on."""
    await doors_of(request).enter(request, _may_operate)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        service = OperationService(session, actor)
        return await _told(request, service, await service.plan(await service.retry(operation_id)))

    return await doors_of(request).change(request, work)


@_router.post(
    "/{operation_id:uuid}/undo",
    status_code=201,
    summary="Undo an operation",
    responses=returns(OperationRead, 201, has_location=True),
)
async def undo_operation(request: Request, operation_id: UUID) -> Response:
    """A draft of an operation that takes this one back: confirm that."""
    await doors_of(request).enter(request, _may_operate)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        await limit_time(session, PREVIEW_SECONDS)
        service = OperationService(session, actor)
        plan = await service.plan(await service.draft_of_undo(operation_id))
        preview = await _preview(service, plan) if plan.operation.state is State.DRAFT else None
        return await _told(request, service, plan, preview, 201)

    return await doors_of(request).change(request, work)


def _may_operate(actor: Actor) -> bool:
    """Support only looks."""
    return actor.role is not Role.SUPPORT


def _require_expected(expected: int, changing: int) -> None:
    if changing != expected:
        would = "1 row would change" if changing == 1 else f"{changing:,} rows would change"
        raise Conflict(f"{would}, not {expected:,} as expected, so nothing was started.")


def _parameters(shape: Shape, given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = shape.parameters.model_validate(given)
    except ValidationError as error:
        raise InvalidBody.of(complaints_of(error), "parameters") from None
    return found.model_dump(mode="json", exclude_none=True)


def _selected(action: BulkAction[Any], where: Conditions) -> tuple[str, str]:
    """The query of the list, as it is meant now, and in words."""
    listing = action.service.listing
    try:
        asked = listing.fixed(listing.parse(list(where.texts().items())))
    except BadQuery as error:
        raise InvalidBody([Fault(error.message, pointer_to("where", error.parameter))]) from None
    conditions = {"search": asked.search, **asked.filters} if asked.search else asked.filters
    return urlencode(conditions), where.words()


async def _preview(service: OperationService, plan: Plan) -> Preview:
    try:
        return await service.preview(plan, plan.operation.parameters)
    except InvalidInput as error:
        raise _pointing(error) from None


def _pointing(error: InvalidInput) -> InvalidInput | InvalidBody:
    """To where in the body its fields are: those of the action are among the `parameters`."""
    if not error.fields:
        return error
    return InvalidBody(
        [
            Fault(told, pointer_to("changing") if name == TYPED else pointer_to("parameters", name))
            for name, told in error.fields.items()
        ]
    )


async def _told(
    request: Request, service: OperationService, plan: Plan, preview: Preview | None = None, status: int = 200
) -> Response:
    operation = plan.operation
    undo = await service.undo_of(operation.id)
    special: dict[str, Any] = {
        "undone_by": undo.id if undo else None,
        "reasons": reasons_of(operation),
        "preview": preview_of(preview) if preview and operation.state is State.DRAFT else None,
    }
    names = [name for name in OperationRead.__struct_fields__ if name not in special]
    values = {name: getattr(operation, name) for name in names}
    headers = location(request, f"/operations/{operation.id}") if status == 201 else {}
    return answer(OperationRead(**values, **special), status, headers=headers)
