"""Who is signed in where, and signing them out: oneself, and for superusers everybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.actor import Actor
from admin_app.domains.users import access
from admin_app.domains.users.models import User
from admin_app.domains.users.repository import UserRepository
from admin_app.errors import Forbidden, NotFound
from admin_app.security import sessions, tokens
from admin_app.security.devices import device
from admin_app.security.sessions import AuthSession

SHOWN = 50
"""More sessions of one person than anybody would read."""


@dataclass(frozen=True)
class Access:
    """What opens an account just now besides its password."""

    sessions: Sequence[AuthSession]
    tokens: int
    """How many access tokens."""


class SessionService:
    """Runs inside the caller's transaction, as the actor. Every role signs itself out."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._users = UserRepository(session, actor)

    async def own(self) -> Sequence[AuthSession]:
        """Those that have not expired, at most SHOWN, the one used last first."""
        assert self._actor.id is not None
        return await sessions.sessions_of(self._session, self._actor.id, SHOWN)

    async def access_of(self, user_id: UUID) -> Access:
        """Somebody else's, for superusers (Forbidden)."""
        self._require_manager()
        return Access(
            await sessions.sessions_of(self._session, user_id, SHOWN),
            await tokens.count_live(self._session, user_id),
        )

    async def end(self, session_id: UUID) -> None:
        """One of the actor's own. Raises NotFound for any other."""
        user = await self._user(self._actor.id)
        user_agent = await sessions.end_session_by_id(self._session, user.id, session_id)
        if user_agent is None:
            raise NotFound
        self._note(user, device(user_agent))

    async def end_others(self, kept_id: UUID) -> None:
        """All of the actor's own but this one."""
        user = await self._user(self._actor.id)
        await sessions.end_other_sessions(self._session, user.id, kept_id)
        self._note(user, "everywhere else")

    async def end_all(self) -> None:
        """The actor's own, and this one."""
        user = await self._user(self._actor.id)
        await sessions.end_sessions_of(self._session, [user.id])
        self._note(user, "everywhere")

    async def sign_out(self, user_id: UUID, *, with_tokens: bool) -> User:
        """The person who is signed out everywhere, by a superuser (Forbidden)."""
        self._require_manager()
        user = await self._user(user_id)
        if with_tokens:
            await tokens.end_access_of(self._session, [user_id])
        else:
            await sessions.end_sessions_of(self._session, [user_id])
        self._note(user, "everywhere, and access tokens revoked" if with_tokens else "everywhere")
        return user

    def _require_manager(self) -> None:
        if not access.may_manage(self._actor):
            raise Forbidden

    async def _user(self, user_id: UUID | None) -> User:
        user = await self._users.get(user_id) if user_id else None
        if user is None:
            raise NotFound
        return user

    def _note(self, user: User, where: str) -> None:
        audit.note(self._session, self._actor, "signed out", user, where)
