"""Many accounts at once: created or changed in a few statements, with their history and events."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import false, func, literal, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from admin_app.actor import Actor, Role
from admin_app.bulk.changes import NOT_YOURS, Change, Refusal, change_rows
from admin_app.bulk.creating import create_rows
from admin_app.database import violated_constraint
from admin_app.domains.users import access
from admin_app.domains.users.events import Credential, CredentialChanged, UserCreated, UserUpdated
from admin_app.domains.users.models import User
from admin_app.domains.users.repository import UserRepository
from admin_app.errors import Conflict, Forbidden
from admin_app.events import EventBus
from admin_app.outbox import OutboxBus
from admin_app.security.passwords import UNUSABLE
from admin_app.security.resets import end_links_of
from admin_app.security.sessions import end_sessions_of
from admin_app.security.tokens import end_access_of

CHUNK = 500
"""The most accounts one event speaks of."""

TAKEN = "somebody else has this e-mail address"
LAST_SUPERUSER = "This is the last active superuser. Make somebody else a superuser first."

ENDS_ACCESS = frozenset({"is_active"})
ENDS_SESSIONS = frozenset({"role", "is_active", "must_change_password"})
ENDS_LINKS = frozenset({"email", "is_active", "must_change_password"})


class ManyUsers:
    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._users = UserRepository(session, actor)
        self._events: EventBus = OutboxBus(session, actor)

    def guarded(self, change: Change) -> Change:
        # So whoever acts is left, and an active superuser with them.
        guards = [
            Refusal(NOT_YOURS, false() if access.may_manage(self._actor) else true()),
            Refusal("this is you", User.id == self._actor.id),
        ]
        if "email" in change.values:
            guards.append(Refusal(TAKEN, is_taken(change.values["email"], User.id), is_costly=True))
        return replace(change, guards=guards)

    async def change_many(self, rows: Mapping[UUID, int], change: Change) -> dict[UUID, str | None]:
        """Signs out whose role or state changes. Raises Conflict when no active superuser would be left."""
        await self._take_turn()
        before = await self._users.values_of(rows, change.values)
        try:
            reasons = await change_rows(self._session, self._actor, User, rows, self.guarded(change))
        except IntegrityError as error:
            raise _taken_meanwhile(error) from None
        changed = [user_id for user_id, reason in reasons.items() if reason is None]
        after = await self._users.values_of(changed, change.values)
        if not self._actor.id and changed and not await self._users.active_superusers():
            raise Conflict(LAST_SUPERUSER)
        await self._follow(before, after)
        for chunk in _chunks(changed):
            fields = [name for name in change.values if _differing(before, after, {name}, chunk)]
            self._events.publish(UserUpdated(chunk, tuple(fields)))
        return reasons

    async def create_rows(self, ids: Collection[UUID], change: Change) -> dict[UUID, str | None]:
        """New accounts with these ids, as `creating.create_rows`. Nobody can sign in to them yet."""
        await self._take_turn()
        taken = is_taken(change.values["email"])
        values = {**change.values, "password_hash": literal(UNUSABLE)}
        change = replace(change, values=values, guards=[Refusal(TAKEN, taken)])
        try:
            reasons = await create_rows(self._session, self._actor, User, ids, change)
        except IntegrityError as error:
            raise _taken_meanwhile(error) from None
        for chunk in _chunks(user_id for user_id, reason in reasons.items() if reason is None):
            self._events.publish(UserCreated(chunk))
        return reasons

    async def _take_turn(self) -> None:
        self._require_manager()
        await self._users.take_turn()
        # Since the actor was looked up, somebody else's turn may have been about them.
        if self._actor.id and await self._users.role_of(self._actor.id) is not Role.SUPERUSER:
            raise Forbidden

    async def _follow(self, before: "_Values", after: "_Values") -> None:
        """What an account's change means for who is signed in to it."""
        ended = _differing(before, after, ENDS_ACCESS)
        for end, ids in (
            (end_access_of, ended),
            (end_sessions_of, _differing(before, after, ENDS_SESSIONS) - ended),
            (end_links_of, _differing(before, after, ENDS_LINKS)),
        ):
            if ids:
                await end(self._session, sorted(ids))
        for user_id in sorted(_differing(before, after, {"email"})):
            self._events.publish(CredentialChanged(before[user_id].email, Credential.EMAIL))

    def _require_manager(self) -> None:
        if not access.may_manage(self._actor):
            raise Forbidden


_Values = Mapping[UUID, Any]


def _differing(
    before: _Values, after: _Values, names: Collection[str], ids: Iterable[UUID] | None = None
) -> set[UUID]:
    """Whose values of any of these differ."""
    return {
        user_id
        for user_id in (after if ids is None else ids)
        for name in names
        if name in after[user_id]._fields and getattr(before[user_id], name) != getattr(after[user_id], name)
    }


def is_taken(email: Any, own_id: Any = None) -> Any:
    """Whether somebody has it, other than the own account, whatever its case."""
    other = aliased(User)
    found = select(other.id).where(func.lower(other.email) == func.lower(email))
    return (found if own_id is None else found.where(other.id != own_id)).exists()


def _taken_meanwhile(error: IntegrityError) -> Exception:
    is_taken = violated_constraint(error) == "uq_users_email"
    return Conflict("Somebody already has this e-mail address.") if is_taken else error


def _chunks(ids: Iterable[UUID]) -> list[tuple[UUID, ...]]:
    found = list(ids)
    return [tuple(found[start : start + CHUNK]) for start in range(0, len(found), CHUNK)]
