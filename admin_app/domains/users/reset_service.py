"""Forgotten passwords: one-time links from superusers or by e-mail, with which one chooses another."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.actor import Actor
from admin_app.domains.users import access
from admin_app.domains.users.events import PasswordResetRequested
from admin_app.domains.users.models import User
from admin_app.domains.users.new_password import hash_for, require_acceptable
from admin_app.domains.users.repository import UserRepository
from admin_app.domains.users.service import UserService
from admin_app.errors import Conflict, Forbidden, NotFound
from admin_app.outbox import OutboxBus
from admin_app.security import resets
from admin_app.security.passwords import UNUSABLE
from admin_app.security.tokens import end_access_of

MADE_LIFETIME = timedelta(hours=24)
SENT_LIFETIME = timedelta(hours=1)

CLOSED = "This account is not active, so nobody can sign in to it. Activate it first."


class DeadLink(NotFound):
    """One answer to all: the row is gone, and with it what the link was."""

    def __init__(self) -> None:
        super().__init__(
            "This link does not work any more: it was used, replaced by a newer one, or too old."
        )


class ResetService:
    """Runs inside the caller's transaction, as the actor: a superuser, a visitor, or the system itself."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._users = UserRepository(session, actor)

    async def make_link(self, user_id: UUID) -> tuple[User, str]:
        """What the link holds is stored nowhere. Raises ProofRequired, and Conflict for a closed account."""
        if not access.may_manage(self._actor):
            raise Forbidden
        self._actor.require_proof()
        user = await self._users.lock(user_id)
        if user is None:
            raise NotFound
        if not user.is_active:
            raise Conflict(CLOSED)
        token = resets.new_token()
        await resets.keep_link(self._session, user.id, token, MADE_LIFETIME, is_mailed=False)
        audit.note(self._session, self._actor, "link made", user)
        return user, token

    def request_link(self, email: str) -> None:
        """Whoever has this address gets a mail. Nothing is looked up here: known or not, it takes as long."""
        OutboxBus(self._session, self._actor).publish(PasswordResetRequested(email, self._actor.address))

    async def send_link(self, email: str, send: Callable[[str, str], Awaitable[None]]) -> None:
        """By `send(address, token)`, unless nobody can sign in with a password there.

        What was sent works only once this transaction is committed: whoever is killed before sends again.
        """
        user = await self._users.find_by_email(email)
        if user is None or not user.is_active or user.password_hash == UNUSABLE:
            return
        token, known = resets.new_token(), (user.email, user.password_hash)
        await send(user.email, token)
        # Not locked meanwhile: sending takes its time. What changed since is no business of this link.
        locked = await self._users.lock(user.id)
        if locked and locked.is_active and (locked.email, locked.password_hash) == known:
            await resets.keep_link(self._session, locked.id, token, SENT_LIFETIME, is_mailed=True)
            audit.note(self._session, self._actor, "link sent", locked)

    async def owner_of(self, token: str) -> User:
        """Whose link this is; uses nothing up. Raises DeadLink."""
        user_id = await resets.owner_of(self._session, token)
        # Whoever has the link acts for its owner, not for themselves.
        users = UserRepository(self._session, Actor.system())
        user = await users.get(user_id) if user_id else None
        if user is None or not user.is_active:
            raise DeadLink
        return user

    async def choose_password(self, token: str, new: str) -> User:
        """Use the link up, and sign its owner out everywhere; access tokens end, a second factor stays.

        To be called in a `hashing_slot`, entered before this transaction asks the database for anything.
        Raises DeadLink, and InvalidInput, whose field is "new".
        """
        user = await self.owner_of(token)
        require_acceptable(new, "new")
        password_hash = await hash_for(user.email, user.name, new, "new")
        locked = await self._users.lock(user.id)
        if locked is None or not locked.is_active or not await resets.use_link(self._session, token):
            raise DeadLink
        owner = replace(self._actor, id=locked.id, role=locked.role, label=locked.email)
        await UserService(self._session, owner).replace_password(locked, password_hash)
        await end_access_of(self._session, [locked.id])
        audit.note(self._session, owner, "link used", locked)
        return locked
