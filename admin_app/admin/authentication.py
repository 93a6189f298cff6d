"""The door of the website: whose session a request's cookie names, signing in and out, one's own password."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_app.actor import Actor, Role, Source
from admin_app.config import Settings
from admin_app.database import Database, limit_time
from admin_app.domains.users.service import UserService
from admin_app.security import sessions
from admin_app.security.cross_site import SAFE_METHODS
from admin_app.security.passwords import hashing_slot
from admin_app.security.sessions import SessionLimits

READ_SECONDS = 2.0
"""The longest a statement of a page may take that only looks; a page may set itself another limit."""

TOUCH_SECONDS = 60
"""How exact "last seen" is; more exact would write on every request."""

SIGNED_OUT = "You are not signed in any more, so nothing was changed. Sign in and try again."
PASSWORD_DUE = "You must choose a new password first, so nothing was changed. Choose one and try again."  # noqa: S105

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """Somebody's fresh session."""

    token: str
    must_change_password: bool


class Authentication:
    """Sets `request.state.actor` on every page behind the door."""

    def __init__(self, database: Database, settings: Settings, base_url: str) -> None:
        self._database = database
        self._is_https = settings.is_https
        self._base_url = base_url
        self._password_url = f"{base_url}/password"
        self._limits = SessionLimits(
            idle=timedelta(hours=settings.session_idle_hours),
            absolute=timedelta(hours=settings.session_absolute_hours),
        )

    async def enter(self, session: AsyncSession, request: Request) -> Response | None:
        """None for a live session; else to the sign-in page, or 401 where a redirect would lose a change.

        Whoever must choose a new password gets only to the page for that; a change elsewhere is a 403.
        What is read in this transaction afterwards may take READ_SECONDS a statement.
        """
        token = request.cookies.get(self._cookie_name(request))
        if token:
            service = UserService(session, _visitor(request))
            found = await service.find_session(token, self._limits, seconds=READ_SECONDS)
            if found:
                request.state.actor = Actor(
                    found.id, found.role, found.email, Source.FORM, client_address(request)
                )
                request.state.user_name = found.name
                request.state.preferences = found.preferences
                request.state.must_change_password = found.must_change_password
                if found.must_change_password and self._is_elsewhere(request):
                    if request.method not in SAFE_METHODS:
                        raise HTTPException(403, PASSWORD_DUE)
                    return self._detour(request, self._password_url)
                if datetime.now(UTC) - found.last_seen_at > timedelta(seconds=TOUCH_SECONDS):
                    await session.close()  # not two connections at once
                    async with self._database.transaction() as writing:
                        await sessions.touch(writing, token)
                    await limit_time(session, READ_SECONDS)
                return None
        if request.method not in SAFE_METHODS:
            raise HTTPException(401, SIGNED_OUT)
        return self._detour(request, f"{self._base_url}/login")

    async def confirm(self, session: AsyncSession, request: Request) -> Actor:
        """The actor as they are now, for a transaction that changes something.

        Between `enter` and the end of the request's body, which may be sent as slowly as one likes,
        the session may have ended or the role changed. Raises HTTPException 401, or 403 for whoever must
        choose a new password.
        """
        token = request.cookies.get(self._cookie_name(request), "")
        found = await UserService(session, _visitor(request)).find_session(token, self._limits)
        if found is None:
            raise HTTPException(401, SIGNED_OUT)
        if found.must_change_password and self._is_elsewhere(request):
            raise HTTPException(403, PASSWORD_DUE)
        actor: Actor = request.state.actor
        return replace(actor, role=found.role, label=found.email)

    async def sign_in(self, request: Request, form: FormData) -> Entry | None:
        """None when e-mail and password open nothing; else the answer must be sent through `let_in`."""
        email, password = form.get("email"), form.get("password")
        if not isinstance(email, str) or not isinstance(password, str):
            return None
        async with self._database.transaction() as session:
            user = await UserService(session, _visitor(request)).authenticate(email.strip(), password)
            if user is None:
                return None
            old_token = request.cookies.get(self._cookie_name(request))
            if old_token:
                await sessions.end_session(session, old_token)
            return Entry(await _open_session(session, request, user.id), user.must_change_password)

    async def change_password(self, request: Request, current: str, new: str, target: object) -> Response:
        """A redirect with the cookie of a new session; every session before it has ended.

        Raises InvalidInput, whose field is "current" or "new".
        """
        async with hashing_slot, self._database.transaction() as session:
            actor = await self.confirm(session, request)
            await UserService(session, actor).change_own_password(current, new)
            assert actor.id is not None
            token = await _open_session(session, request, actor.id)
        return self.let_in(request, RedirectResponse(self.local_target(target), status_code=303), token)

    async def sign_out(self, request: Request) -> Response:
        token = request.cookies.get(self._cookie_name(request))
        if token:
            async with self._database.transaction() as session:
                await sessions.end_session(session, token)
        response = RedirectResponse(f"{self._base_url}/login", status_code=303)
        response.delete_cookie(
            self._cookie_name(request), path="/", secure=self._is_https, httponly=True, samesite="lax"
        )
        return response

    def local_target(self, target: object) -> str:
        """Where somebody wanted to go: a page of this site, or the start page for anything else."""
        start = f"{self._base_url}/"
        # What begins so has neither scheme nor host; browsers read a backslash as a slash.
        if not isinstance(target, str) or not target.startswith(start) or "\\" in target:
            return start
        return target if target.isprintable() else start

    def _is_elsewhere(self, request: Request) -> bool:
        """Not on the one page that is open to whoever must choose a new password."""
        return request.url.path != self._password_url

    def _detour(self, request: Request, url: str) -> Response:
        """To another page first, and afterwards here."""
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = url if here.rstrip("/") == self._base_url else f"{url}?next={quote(here)}"
        return RedirectResponse(target, status_code=302)

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
        # Browsers share cookies between the ports of a host; two instances side by side must not.
        return "__Host-session" if self._is_https else f"session_{request.url.port or 80}"


def client_address(request: Request) -> str | None:
    return request.client.host if request.client else None


async def _open_session(session: AsyncSession, request: Request, user_id: UUID) -> str:
    agent = request.headers.get("user-agent")
    return await sessions.open_session(session, user_id, address=client_address(request), user_agent=agent)


def _visitor(request: Request) -> Actor:
    """Somebody at the door: no role that matters, but an address for the history."""
    return Actor(None, Role.SUPPORT, "visitor", Source.FORM, client_address(request))
