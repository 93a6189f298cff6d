"""Accounts in the API: the same service, the same rules. A password comes in, and nothing of it goes out."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query
from pydantic import ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from admin_app.actor import Actor, Role
from admin_app.api.answers import Moment, answer, links, location
from admin_app.api.auth import doors_of
from admin_app.api.documentation import body, returns
from admin_app.api.lists import Conditions, Day, PageQuery, Period, Words, cursors, sort_by
from admin_app.api.preconditions import etag, not_modified, require_unchanged
from admin_app.api.requests import read_json
from admin_app.api.routing import PlainRoute
from admin_app.domains.users import access
from admin_app.domains.users.schemas import UserCreate, UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.text import reject_null

router = APIRouter(prefix="/users", tags=["accounts"], route_class=PlainRoute)


class UserRead(msgspec.Struct):
    id: UUID
    email: str
    name: str
    role: Role
    is_active: bool
    must_change_password: bool
    version: int
    created_at: Moment
    updated_at: Moment
    last_sign_in_at: Moment | None


class UserPage(msgspec.Struct):
    """`next` and `previous` are cursors: the pages beside this one."""

    items: list[UserRead]
    limit: int
    next: str | None
    previous: str | None


class NewUser(UserCreate):
    """Without a password nobody can sign in to the account until one is set."""

    model_config = ConfigDict(extra="forbid")

    _no_null = reject_null()


class UserChanges(UserUpdate):
    """Fields left out stay as they are."""

    model_config = ConfigDict(extra="forbid")


class UserConditions(Conditions):
    search: Words = ""
    role: Role | None = None
    is_active: bool | None = None
    created: Period = ""
    created_from: Day = ""
    created_to: Day = ""
    last_sign_in: Period = ""
    last_sign_in_from: Day = ""
    last_sign_in_to: Day = ""


class UserQuery(UserConditions, PageQuery):
    """Conditions, order and place of a list of accounts; every condition must hold."""

    sort: sort_by([*UserService.listing.sorts]) = "email"  # type: ignore[valid-type]


@router.get("/me", summary="Who am I", responses=returns(UserRead, has_tag=True))
async def read_me(request: Request) -> Response:
    """The account the caller is signed in with."""
    async with doors_of(request).reading(request) as (session, actor):
        assert actor.id is not None
        user = await UserService(session, actor).get_by_id(actor.id)
    return _read(request, _whole(user))


@router.get("/", summary="List accounts", responses=returns(UserPage, has_links=True))
async def list_users(request: Request, query: Annotated[UserQuery, Query()]) -> Response:
    """Superusers and support see all of them, administrators only their own."""
    asked = query.parsed(UserService.listing)
    async with doors_of(request).reading(request) as (session, actor):
        page = await UserService(session, actor).page(asked)
    beside = cursors(UserService.listing, asked, page)
    found = UserPage([_whole(row) for row in page.rows], query.limit, beside["next"], beside["prev"])
    return answer(found, headers=links(request, **beside))


@router.get(
    "/{user_id:uuid}",
    summary="Read an account",
    responses=returns(UserRead, has_tag=True),
)
async def read_user(request: Request, user_id: UUID) -> Response:
    """To administrators only their own is there."""
    async with doors_of(request).reading(request) as (session, actor):
        user = await UserService(session, actor).get_by_id(user_id)
    return _read(request, _whole(user))


@router.post(
    "/",
    status_code=201,
    summary="Create an account",
    openapi_extra=body(NewUser),
    responses=returns(UserRead, 201, has_tag=True, has_location=True),
)
async def create_user(request: Request) -> Response:
    """For superusers, who have just shown who they are: not with an access token."""
    await doors_of(request).enter(request, access.may_manage)
    data = await read_json(request, NewUser)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        user = await UserService(session, actor).create(data)
        found = _whole(user)
        return answer(found, 201, tag=_tag(found), headers=location(request, f"/users/{found.id}"))

    return await doors_of(request).change(request, work)


@router.patch(
    "/{user_id:uuid}",
    summary="Change an account",
    openapi_extra=body(UserChanges, is_patch=True),
    responses=returns(UserRead, has_tag=True),
)
async def change_user(request: Request, user_id: UUID) -> Response:
    """Only the given fields. E-mail, role, state and password not with an access token.

    A change of role, state or password signs the person out everywhere.
    """
    await doors_of(request).enter(request, access.may_manage)
    data = await read_json(request, UserChanges)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        service = UserService(session, actor)
        require_unchanged(request, (await service.lock_changeable(user_id)).version)
        found = _whole(await service.update(user_id, data))
        return answer(found, tag=_tag(found))

    return await doors_of(request).change(request, work)


@router.delete(
    "/{user_id:uuid}",
    status_code=204,
    summary="Delete an account",
)
async def delete_user(request: Request, user_id: UUID) -> Response:
    """For good, and not with an access token.

    Not of somebody who owns products, nor of the last active superuser.
    """
    await doors_of(request).enter(request, access.may_manage)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        service = UserService(session, actor)
        require_unchanged(request, (await service.lock_changeable(user_id)).version)
        await service.delete(user_id)
        return Response(status_code=204)

    return await doors_of(request).change(request, work)


def _read(request: Request, user: UserRead) -> Response:
    tag = _tag(user)
    return not_modified(request, user.version, tag) or answer(user, tag=tag)


def _tag(user: UserRead) -> str:
    """Of the version, and of the last sign-in, which is no change of the account."""
    return etag(user.version, user.last_sign_in_at)


def _whole(row: Any) -> UserRead:
    """Of an account, or of columns of these names."""
    return UserRead(*(getattr(row, name) for name in UserRead.__struct_fields__))
