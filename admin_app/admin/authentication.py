"""The door of the website: whose session a request's cookie names, signing in and out, one's own password."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID

from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from structlog.contextvars import bind_contextvars

from admin_app.actor import Actor, Role, Source
from admin_app.config import Settings
from admin_app.database import READ_SECONDS, Database, limit_time
from admin_app.domains.users.callers import find_session
from admin_app.domains.users.second_factor_service import CodeRequired, HalfwayIn, SecondFactorService
from admin_app.domains.users.service import UserService
from admin_app.domains.users.session_service import SessionService
from admin_app.errors import AppError, WrongCredential
from admin_app.security import sessions
from admin_app.security.cross_site import SAFE_METHODS
from admin_app.security.passwords import hashing_slot
from admin_app.security.second_factor import must_add
from admin_app.security.sessions import TOUCH_SECONDS, SessionLimits
from admin_app.security.throttle import CODE, PASSWORD, Door, Throttle

API_DOCS = "/api/v1/docs"
"""The one page that is not below the site's own address."""
SIGNED_OUT = "You are not signed in any more, so nothing was changed. Sign in and try again."
WRONG_SIGN_IN = "E-mail or password is wrong."
HALFWAY_SECONDS = 600
"""So long the code may come after the password."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Due:
    """What somebody must do before anything else: the first of the `pages` is for that, the others help."""

    heading: str
    sentence: str
    advice: str
    link: str
    pages: tuple[str, ...]


PASSWORD_DUE = Due(
    "A new password first",
    "You must choose a new password first, so nothing was changed.",
    "Choose one and try again.",
    "Choose it in a new tab",
    ("/password",),
)
SECOND_FACTOR_DUE = Due(
    "A second factor first",
    "Your role requires a second factor, so nothing was changed.",
    "Set it up and try again.",
    "Set it up in a new tab",
    ("/account/second-factor", "/confirm"),
)


class TurnedAway(HTTPException):
    def __init__(self, due: Due) -> None:
        super().__init__(403, f"{due.sentence} {due.advice}")
        self.due = due


class SignInEnded(AppError):
    """Between password and code too much time passed, or the account changed."""

    status = 401

    def __init__(self) -> None:
        super().__init__("That took too long. Sign in again.")


@dataclass(frozen=True)
class Entry:
    """Somebody's fresh session."""

    token: str
    due: Due | None


class Authentication:
    """Sets `request.state.actor` on every page behind the door."""

    def __init__(self, database: Database, settings: Settings, base_url: str, throttle: Throttle) -> None:
        self.throttle = throttle
        self._database = database
        self._is_https = settings.is_https
        self._base_url = base_url
        self._tickets = URLSafeTimedSerializer(settings.secret_key.get_secret_value(), salt="halfway in")
        self._limits = SessionLimits(
            idle=timedelta(hours=settings.session_idle_hours),
            absolute=timedelta(hours=settings.session_absolute_hours),
        )

    async def enter(self, session: AsyncSession, request: Request) -> Response | None:
        """None for a live session; else to the sign-in page, or 401 where a redirect would lose a change.

        For whom something is due, only its pages are open; a change elsewhere is a 403.
        What is read in this transaction afterwards may take READ_SECONDS a statement.
        """
        token = request.cookies.get(self._cookie_name(request))
        if token:
            found = await find_session(session, token, self._limits, seconds=READ_SECONDS)
            if found:
                request.state.actor = Actor(
                    found.id,
                    found.role,
                    found.email,
                    Source.FORM,
                    client_address(request),
                    needs_proof=sessions.needs_proof(found.proved_at),
                )
                bind_contextvars(actor_id=str(found.id))
                request.state.user_name = found.name
                request.state.preferences = found.preferences
                request.state.unseen = found.unseen
                request.state.must_change_password = found.must_change_password
                request.state.must_add_second_factor = found.must_add_second_factor
                request.state.has_second_factor = found.has_second_factor
                request.state.session_id = found.session_id
                request.state.proved_at = found.proved_at
                due = _due(
                    must_change_password=found.must_change_password,
                    must_add_second_factor=found.must_add_second_factor,
                )
                if due and self._is_elsewhere(request, due):
                    if request.method not in SAFE_METHODS:
                        raise TurnedAway(due)
                    return self.detour(request, due.pages[0])
                # What a page asks for by itself is no sign of anybody sitting there.
                is_touched = not getattr(request.state, "by_itself", False)
                if is_touched and datetime.now(UTC) - found.last_seen_at > timedelta(seconds=TOUCH_SECONDS):
                    await session.close()  # not two connections at once
                    async with self._database.transaction() as writing:
                        await sessions.touch(writing, token)
                    await limit_time(session, READ_SECONDS)
                return None
        if request.method not in SAFE_METHODS:
            raise HTTPException(401, SIGNED_OUT)
        return self.detour(request, "/login")

    async def current_actor(self, session: AsyncSession, request: Request) -> Actor:
        """The actor as they are now, for a transaction that changes something.

        Between `enter` and the end of the request's body, which may be sent as slowly as one likes,
        the session may have ended or the role changed. Raises HTTPException 401, or TurnedAway for whom
        something else is due first.
        """
        token = request.cookies.get(self._cookie_name(request), "")
        found = await find_session(session, token, self._limits)
        if found is None:
            raise HTTPException(401, SIGNED_OUT)
        due = _due(
            must_change_password=found.must_change_password,
            must_add_second_factor=found.must_add_second_factor,
        )
        if due and self._is_elsewhere(request, due):
            raise TurnedAway(due)
        actor: Actor = request.state.actor
        return replace(
            actor, role=found.role, label=found.email, needs_proof=sessions.needs_proof(found.proved_at)
        )

    async def sign_in(self, request: Request, form: FormData) -> Entry | str:
        """An entry, whose answer must be sent through `let_in`; or a ticket to `sign_in_by_code`.

        Raises WrongCredential when e-mail and password open nothing, and TooManyTries.
        """
        email, password = form.get("email"), form.get("password")
        if not isinstance(email, str) or not isinstance(password, str):
            raise WrongCredential(WRONG_SIGN_IN)
        try:
            async with (
                self.throttle.attempt(PASSWORD, email, client_address(request)),
                self._database.transaction() as session,
            ):
                user = await UserService(session, visitor_of(request)).authenticate(email.strip(), password)
                if user is None:
                    raise WrongCredential(WRONG_SIGN_IN)
                due = _due(
                    must_change_password=user.must_change_password,
                    must_add_second_factor=must_add(session, user.role, has_one=False),
                )
                return Entry(await self._enter(session, request, user.id), due)
        except CodeRequired as error:
            return self._tickets.dumps({**asdict(error.halfway), "user_id": str(error.halfway.user_id)})

    async def sign_in_by_code(self, request: Request, form: FormData) -> Entry:
        """Raises WrongCredential, TooManyTries, and SignInEnded when it must begin anew."""
        ticket, code = form.get("ticket"), form.get("code")
        try:
            known = self._tickets.loads(str(ticket), max_age=HALFWAY_SECONDS)
        except BadSignature:  # or expired
            raise SignInEnded from None
        halfway = HalfwayIn(**{**known, "user_id": UUID(known["user_id"])})
        async with self._trying(request, CODE, halfway.email), self._database.transaction() as session:
            user = await SecondFactorService(session, visitor_of(request)).authenticate(halfway, str(code))
            if user is None:
                raise SignInEnded
            due = _due(must_change_password=user.must_change_password, must_add_second_factor=False)
            return Entry(await self._enter(session, request, user.id), due)

    async def prove(self, request: Request, password: str, code: str) -> str:
        """The new token of this session, whose owner has shown once more who they are.

        Raises WrongCredential, whose field is "password" or "code", and TooManyTries.
        """
        account = request.state.actor.label
        async with (
            self._trying(request, PASSWORD, account),
            hashing_slot,
            self._database.transaction() as session,
        ):
            actor = await self.current_actor(session, request)
            await UserService(session, actor).verify_own_password(password, "password")
        async with self._trying(request, CODE, account), self._database.transaction() as session:
            actor = await self.current_actor(session, request)
            await SecondFactorService(session, actor).verify(code)
            token = await sessions.renew_proven(session, request.cookies.get(self._cookie_name(request), ""))
        if token is None:
            raise HTTPException(401, SIGNED_OUT)
        return token

    async def change_password(self, request: Request, current: str, new: str, target: object) -> Response:
        """A redirect with the cookie of a new session; every session before it has ended.

        Raises InvalidInput, whose field is "current" or "new", and TooManyTries.
        """
        account = request.state.actor.label
        async with (
            self._trying(request, PASSWORD, account),
            hashing_slot,
            self._database.transaction() as session,
        ):
            actor = await self.current_actor(session, request)
            await UserService(session, actor).change_own_password(current, new)
            assert actor.id is not None
            # Of two factors it asked for one: that proves no more than was proved before.
            proved_at = request.state.proved_at if request.state.has_second_factor else None
            token = await _open_session(session, request, actor.id, proved_at)
        return self.let_in(request, RedirectResponse(self.local_target(target), status_code=303), token)

    async def note_failure(self, request: Request, door: Door, account: str) -> None:
        """In the history of the account, if there is one.

        That takes time. At a sign-in the answer must be sent before, or it would tell whether there is.
        """
        actor = getattr(request.state, "actor", None) or visitor_of(request)
        async with self._database.transaction() as session:
            await UserService(session, actor).note_failure(account, door.failure)

    async def sign_out(self, request: Request) -> Response:
        token = request.cookies.get(self._cookie_name(request))
        if token:
            async with self._database.transaction() as session:
                found = await find_session(session, token, self._limits)
                if found:
                    actor = replace(visitor_of(request), id=found.id, role=found.role, label=found.email)
                    await SessionService(session, actor).end(found.session_id)
        response = RedirectResponse(f"{self._base_url}/login", status_code=303)
        response.delete_cookie(
            self._cookie_name(request), path="/", secure=self._is_https, httponly=True, samesite="lax"
        )
        return response

    def local_target(self, target: object) -> str:
        """Where somebody wanted to go: a page of this site, or the start page for anything else."""
        start = f"{self._base_url}/"
        if target == API_DOCS:
            return API_DOCS
        # What begins so has neither scheme nor host; browsers read a backslash as a slash.
        if not isinstance(target, str) or not target.startswith(start) or "\\" in target:
            return start
        return target if target.isprintable() else start

    def detour(self, request: Request, page: str) -> Response:
        """To another page first, and afterwards here."""
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        url = f"{self._base_url}{page}"
        target = url if here.rstrip("/") == self._base_url else f"{url}?next={quote(here)}"
        return RedirectResponse(target, status_code=302)

    @asynccontextmanager
    async def _trying(self, request: Request, door: Door, account: str) -> AsyncIterator[None]:
        """Every try of a password or a code is made in here, but for the password of a sign-in."""
        try:
            async with self.throttle.attempt(door, account, client_address(request)):
                yield
        except WrongCredential:
            await self.note_failure(request, door, account)
            raise

    async def _enter(self, session: AsyncSession, request: Request, user_id: UUID) -> str:
        """The token of a new session, in place of the one this browser had."""
        old_token = request.cookies.get(self._cookie_name(request))
        if old_token:
            await sessions.end_session(session, old_token)
        return await _open_session(session, request, user_id)

    def _is_elsewhere(self, request: Request, due: Due) -> bool:
        return request.url.path.removeprefix(self._base_url) not in due.pages

    def let_in(self, request: Request, response: Response, token: str) -> Response:
        """The response, with the cookie of this session."""
        response.set_cookie(
            self._cookie_name(request),
            token,
            max_age=int(self._limits.absolute.total_seconds()),
            path="/",
            secure=self._is_https,
            httponly=True,
            samesite="lax",
        )
        return response

    def _cookie_name(self, request: Request) -> str:
        return sessions.cookie_name(is_https=self._is_https, port=request.url.port or 80)


def _due(*, must_change_password: bool, must_add_second_factor: bool) -> Due | None:
    if must_change_password:
        return PASSWORD_DUE
    return SECOND_FACTOR_DUE if must_add_second_factor else None


def client_address(request: Request) -> str | None:
    return request.client.host if request.client else None


async def _open_session(
    session: AsyncSession, request: Request, user_id: UUID, proved_at: datetime | None = None
) -> str:
    return await sessions.open_session(
        session,
        user_id,
        address=client_address(request),
        user_agent=request.headers.get("user-agent"),
        proved_at=proved_at,
    )


def visitor_of(request: Request) -> Actor:
    """Somebody at the door: no role that matters, but an address for the history."""
    return Actor(None, Role.SUPPORT, "visitor", Source.FORM, client_address(request))
