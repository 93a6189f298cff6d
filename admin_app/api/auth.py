"""Who calls, by access token or by the cookie of the pages, and the transactions they read and change in."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from structlog.contextvars import bind_contextvars

from admin_app import idempotency
from admin_app.actor import Actor, Role, Source
from admin_app.api.requests import idempotency_key
from admin_app.config import Settings
from admin_app.database import READ_SECONDS, Database
from admin_app.domains.users.callers import (
    SignedIn,
    TokenHolder,
    find_session,
    find_token,
    question_of_session,
    question_of_token,
    session_told,
    token_told,
)
from admin_app.domains.users.service import UserService
from admin_app.errors import Forbidden
from admin_app.glances import Question
from admin_app.security import sessions
from admin_app.security.cross_site import SAFE_METHODS
from admin_app.security.rate_limit import RateLimit
from admin_app.security.sessions import TOUCH_SECONDS, SessionLimits
from admin_app.security.tokens import Scope

REALM = 'Bearer realm="admin"'
SIGNED_OUT = (
    "Sign in first: send an access token, as Authorization: Bearer adm_…, or the cookie of a session."
)
NOT_BEARER = "Only access tokens are taken here: send one as Authorization: Bearer adm_…."
INVALID_TOKEN = "This access token is not valid: it is unknown, revoked or expired."  # noqa: S105
READ_ONLY = "This access token may only read. Make one with the scope “write” for changes."
PASSWORD_DUE = "You must choose a new password first. Sign in to the website to do that."  # noqa: S105
SECOND_FACTOR_DUE = "Your role requires a second factor. Sign in to the website to set it up."

INVALID = {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}
"""RFC 6750, 3."""

CALLER = Actor(None, Role.SUPPORT, "caller", Source.API)
"""Whoever calls, while it is not known who that is."""

Work = Callable[[AsyncSession, Actor], Awaitable[Response]]


@dataclass(frozen=True)
class Caller:
    """`token_id` is that of the access token; else the caller came with a session."""

    actor: Actor
    used_at: datetime | None
    token_id: UUID | None = None


class Doors:
    """Every endpoint enters through `reading`, or through `enter` and then `change`."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._is_https = settings.is_https
        self._hash_key = hashlib.sha256(settings.secret_key.get_secret_value().encode()).digest()
        self._rate_limit = RateLimit(settings.api_rate_limit)
        self._limits = SessionLimits(
            idle=timedelta(hours=settings.session_idle_hours),
            absolute=timedelta(hours=settings.session_absolute_hours),
        )

    @asynccontextmanager
    async def reading(self, request: Request) -> AsyncIterator[tuple[AsyncSession, Actor]]:
        """Raises HTTPException 401 and 403, and TooMany. A statement may take READ_SECONDS."""
        async with self._database.reading() as session:
            caller = await self._find(session, request, READ_SECONDS)
            self._spend(caller)
            yield session, caller.actor
        await self._note_use(request, caller)

    @asynccontextmanager
    async def glancing(self, request: Request) -> AsyncIterator[AsyncSession]:
        """For what services call a glance, in which it is asked who calls, too; that raises as `reading`."""
        caller = None

        def accept(told: str | None) -> None:
            nonlocal caller
            caller = read(request, told_of(session, told))
            self._spend(caller)

        question, told_of, read = self._question(request)
        session = cast(AsyncSession, self._database.glancing(question, accept))
        yield session
        if caller is not None:
            await self._note_use(request, caller)

    async def enter(self, request: Request, may: Callable[[Actor], bool] | None = None) -> Actor:
        """Who wants to change something, before the body of the request is read; raises as `reading`.

        Raises Forbidden for whom `may` is false: who never may need not send it.
        """
        async with self.reading(request) as (_, actor):
            if may is not None and not may(actor):
                raise Forbidden
            return actor

    @asynccontextmanager
    async def changing(self, request: Request) -> AsyncIterator[tuple[AsyncSession, Actor]]:
        """A transaction of a change that is not the last one of its request."""
        async with self._database.transaction() as session:
            yield session, (await self._find(session, request)).actor

    async def change(self, request: Request, work: Work, digest: bytes | None = None) -> Response:
        """What `work` answers, committed with its change; sent again with its key, the same answer.

        Who calls is asked once more in the transaction: since `enter` the body may have taken its time.
        `digest` is of a body that is too large to be kept.
        """
        key = idempotency_key(request)
        async with self._database.transaction() as session:
            actor = (await self._find(session, request)).actor
            if key is None:
                return await work(session, actor)
            known = await idempotency.claim(session, actor, key, await _hash(request, self._hash_key, digest))
            if known is not None:
                return Response(known.body, known.status, headers=dict(known.headers))
            response = await work(session, actor)
            headers = {name: value for name, value in response.headers.items() if name != "content-length"}
            answer = idempotency.Answer(response.status_code, headers, bytes(response.body))
            await idempotency.keep(session, actor, key, answer)
            return response

    def cookie_name(self, request: Request) -> str:
        """Of a session."""
        return sessions.cookie_name(is_https=self._is_https, port=request.url.port or 80)

    async def _find(self, session: AsyncSession, request: Request, seconds: float = 0) -> Caller:
        token = _bearer(request)
        if token is not None:
            return _by_token(request, await find_token(session, token, seconds=seconds))
        found = await find_session(session, self._cookie(request), self._limits, seconds=seconds)
        return _by_session(request, found)

    def _question(self, request: Request) -> tuple[Question, Callable[..., Any], Callable[..., Caller]]:
        """Who calls, and the two steps that make a caller of the answer."""
        token = _bearer(request)
        if token is not None:
            return question_of_token(token), token_told, _by_token
        return question_of_session(self._cookie(request), self._limits), session_told, _by_session

    def _cookie(self, request: Request) -> str:
        return request.cookies.get(self.cookie_name(request), "")

    def _spend(self, caller: Caller) -> None:
        """Raises TooMany."""
        assert caller.actor.id is not None
        self._rate_limit.spend(caller.actor.id)

    async def _note_use(self, request: Request, caller: Caller) -> None:
        """In a transaction of its own, when the reading one has ended: not two connections at once."""
        if caller.used_at and datetime.now(UTC) - caller.used_at <= timedelta(seconds=TOUCH_SECONDS):
            return
        async with self._database.transaction() as session:
            if caller.token_id is not None:
                await UserService(session, caller.actor).note_use(caller.token_id, caller.actor.address)
            else:
                cookie = self.cookie_name(request)
                await sessions.touch(session, request.cookies[cookie])


def doors_of(request: Request) -> Doors:
    doors: Doors = request.app.state.doors
    return doors


def _bearer(request: Request) -> str | None:
    """What was sent as an access token, or None for none. Raises HTTPException 400 and 401."""
    given = request.headers.getlist("authorization")
    if not given:
        return None
    if len(given) > 1:
        raise HTTPException(400, "Send one Authorization header.")
    scheme, _, token = given[0].partition(" ")
    if scheme.lower() != "bearer":
        raise HTTPException(401, NOT_BEARER, INVALID)
    return token.strip()


def _by_token(request: Request, found: TokenHolder | None) -> Caller:
    if found is None:
        raise HTTPException(401, INVALID_TOKEN, INVALID)
    _require_nothing_due(found.must_change_password, found.must_add_second_factor)
    if request.method not in SAFE_METHODS and found.scope is not Scope.WRITE:
        challenge = f'{REALM}, error="insufficient_scope", scope="write"'
        raise HTTPException(403, READ_ONLY, {"WWW-Authenticate": challenge})
    bind_contextvars(actor_id=str(found.id))
    actor = Actor(found.id, found.role, found.email, Source.API, _address(request), needs_proof=True)
    return Caller(actor, found.last_used_at, found.token_id)


def _by_session(request: Request, found: SignedIn | None) -> Caller:
    if found is None:
        raise HTTPException(401, SIGNED_OUT, {"WWW-Authenticate": REALM})
    _require_nothing_due(found.must_change_password, found.must_add_second_factor)
    bind_contextvars(actor_id=str(found.id))
    is_due = sessions.needs_proof(found.proved_at)
    actor = Actor(found.id, found.role, found.email, Source.API, _address(request), needs_proof=is_due)
    return Caller(actor, found.last_seen_at)


def _require_nothing_due(must_change_password: bool, must_add_second_factor: bool) -> None:
    """Raises HTTPException 403."""
    if must_change_password:
        raise HTTPException(403, PASSWORD_DUE)
    if must_add_second_factor:
        raise HTTPException(403, SECOND_FACTOR_DUE)


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None


async def _hash(request: Request, key: bytes, digest: bytes | None) -> bytes:
    """Of what makes two requests the same. Keyed: nobody shall try passwords on what is left of a body."""
    found = hashlib.blake2b(key=key, digest_size=32)
    for part in (request.method, request.url.path, request.url.query, request.headers.get("if-match", "")):
        found.update(part.encode() + b"\0")
    found.update(await request.body() if digest is None else digest)
    return found.digest()
