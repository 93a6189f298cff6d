"""Everything that can be done to accounts. Each change writes its history and its event; nothing commits."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import ColumnElement, Select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit, preferences
from admin_app.actor import Actor, Role
from admin_app.audit import CREATED, UPDATED
from admin_app.database import violated_constraint
from admin_app.domains.users.events import (
    Credential,
    CredentialChanged,
    UserCreated,
    UserDeleted,
    UserUpdated,
)
from admin_app.domains.users.exporting import COLUMNS
from admin_app.domains.users.many_service import LAST_SUPERUSER, ManyUsers
from admin_app.domains.users.models import User
from admin_app.domains.users.new_password import hash_for, refused, require_acceptable
from admin_app.domains.users.repository import (
    LISTING,
)
from admin_app.domains.users.schemas import MAX_PASSWORD_LENGTH, UserCreate, UserUpdate
from admin_app.domains.users.second_factor_service import CodeRequired, HalfwayIn, complete_sign_in
from admin_app.errors import Conflict, InvalidInput, NotFound, WrongCredential
from admin_app.listing import Count, ListQuery, Page
from admin_app.merging import Made, merge, require_version
from admin_app.preferences import Preferences
from admin_app.security.passwords import UNUSABLE, hashing_slot, normal, verify_password
from admin_app.security.resets import end_links_of
from admin_app.security.second_factor import has_second_factor
from admin_app.security.sessions import end_sessions_of
from admin_app.security.tokens import end_access_of
from admin_app.text import is_storable

ENDS_SESSIONS = frozenset({"role", "is_active", "password_hash"})
"""Whoever loses or gains a right, or gets a new password, signs in again.

Access tokens act in the role their owner has, so only a closed account, or a password that somebody else
set, ends them, too.
"""

ENDS_LINKS = frozenset({"email", "is_active", "password_hash"})
"""A link to choose a new password was sent to that address, and answers that somebody cannot sign in."""

NEEDS_PROOF = frozenset({"role", "is_active", "password_hash", "email"})
"""What lets somebody in, keeps them out, or lets them do more. Links to a new password go to the e-mail."""

CREDENTIALS = {"email": Credential.EMAIL, "password_hash": Credential.PASSWORD}

WRONG_PASSWORD = "This is not your current password."  # noqa: S105  # a sentence
SAME_PASSWORD = "This is your current password. Choose another one."  # noqa: S105  # a sentence


class UserService(ManyUsers):
    """Runs inside the caller's transaction, as the actor.

    Every change is for superusers (Forbidden), but for what is the actor's own: password and preferences.
    """

    listing: ClassVar = LISTING
    export_columns: ClassVar = COLUMNS
    noun: ClassVar = "users"

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        super().__init__(session, actor)
        self.kept: Sequence[Made] = ()
        """What others changed since the version the last `update` was based on."""

    async def create(self, data: UserCreate) -> User:
        """Raises ProofRequired, and InvalidInput when the e-mail is taken, whatever its case."""
        self._require_manager()
        self._actor.require_proof()
        values = data.model_dump(exclude={"password"})
        password_hash = UNUSABLE
        if data.password:
            password_hash = await _hashed(data.email, data.name, data.password)
        user = User(**values, password_hash=password_hash)
        self._session.add(user)
        await self._flush()
        audit.record(self._session, self._actor, CREATED, user)
        self._events.publish(UserCreated((user.id,)))
        return user

    async def get_by_id(self, user_id: UUID) -> User:
        """Raises NotFound, also for an account this actor may not see."""
        user = await self._users.get(user_id)
        if user is None:
            raise NotFound
        return user

    async def get_changeable(self, user_id: UUID) -> User:
        """The account, for a form that will change it. It is not locked."""
        self._require_manager()
        return await self.get_by_id(user_id)

    async def lock_changeable(self, user_id: UUID) -> User:
        """The account; nobody else changes it, or any other one, before this transaction ends."""
        self._require_manager()
        await self._users.take_turn()
        return await self._lock(user_id)

    async def page(self, query: ListQuery) -> Page:
        return await self._users.page(query)

    async def rank(self, text: str, limit: int) -> list[tuple[User, float]]:
        """Of the accounts this actor may see, the best matches first, each with how well, from 1 to 0."""
        return await self._users.rank(text, limit)

    async def count(self, query: ListQuery, *, exactly: bool = False) -> Count:
        return await self._users.count(query, exactly=exactly)

    def require_export(self) -> None:
        """Raises ProofRequired: a stolen session should not take everybody's address along."""
        self._actor.require_proof()

    async def export(self, query: ListQuery, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return self._users.export(query, columns)

    async def facets(self, query: ListQuery) -> dict[str, dict[str, Count]]:
        return await self._users.facets(query)

    async def change_preferences(self, changed: Callable[[Preferences], Preferences]) -> Preferences:
        """The actor's own; allowed to every role, and not a matter of history."""
        assert self._actor.id is not None
        return await preferences.change(self._session, self._actor.id, changed)

    async def ids_by_email(self, emails: Sequence[str]) -> dict[str, UUID]:
        """Lower-case e-mail -> id, for those that exist."""
        return await self._users.ids_by_email(emails)

    async def update(self, user_id: UUID, data: UserUpdate, *, expected_version: int | None = None) -> User:
        """Change the given fields.

        A change of role, state or password, or demanding a new one, signs the person out everywhere. A
        change of state, and of somebody else's password, deletes their access tokens, too.

        What others changed since `expected_version` is kept. Raises EditConflict for a field that both
        changed, Conflict when the last active superuser would be lost, and ProofRequired for NEEDS_PROOF.
        """
        self._require_manager()
        values = data.model_dump(exclude_unset=True, exclude={"password"})
        if data.password:
            # Outside any lock: hashing takes tens of milliseconds.
            user = await self.get_by_id(user_id)
            email, name = data.email or user.email, data.name or user.name
            values["password_hash"] = await _hashed(email, name, data.password)
        if values.keys() & {"role", "is_active"}:
            await self._users.take_turn()
        user = await self._lock(user_id)
        if any(getattr(user, name) != values[name] for name in NEEDS_PROOF & values.keys()):
            self._actor.require_proof()
        return await self._change(user, values, expected_version)

    async def delete(self, user_id: UUID, *, expected_version: int | None = None) -> User:
        """The account that is gone.

        Raises ProofRequired, and Conflict for a person who owns products, and for the last active superuser.
        """
        self._require_manager()
        await self._users.take_turn()
        user = await self._lock(user_id)
        self._actor.require_proof()
        require_version(user, expected_version)
        await self._keep_a_superuser(user, is_kept=False)
        await self._session.delete(user)
        await self._flush()
        await audit.record_gone(self._session, self._actor, "deleted", [user])
        self._events.publish(UserDeleted((user_id,)))
        return user

    async def selection(self, query: ListQuery) -> Select[Any]:
        return self._users.selection(query)

    async def change_own_password(self, current: str, new: str) -> None:
        """In any role. Every session of the actor ends: the caller opens a new one for whoever is here.

        To be called in a `hashing_slot`, entered before this transaction asks the database for anything.
        Raises InvalidInput, whose field is "current" or "new".
        """
        assert self._actor.id is not None
        require_acceptable(new, "new")
        user = await self.verify_own_password(current, "current")
        known = user.password_hash
        if normal(new) == normal(current):
            raise refused("new", SAME_PASSWORD)
        password_hash = await hash_for(user.email, user.name, new, "new")
        user = await self._lock(user.id)
        # Somebody else may have set another password, or closed the account, since it was verified.
        if user.password_hash != known or not user.is_active:
            raise _wrong("current", WRONG_PASSWORD)
        await self.replace_password(user, password_hash)

    async def replace_password(self, user: User, password_hash: str) -> None:
        """Of an account the caller has locked, by its owner, who has shown that they are."""
        values = {"password_hash": password_hash, "must_change_password": False}
        await self._change(user, values, None)

    async def verify_own_password(self, password: str, field: str) -> User:
        """The actor's account. Raises WrongCredential about this field.

        To be called in a `hashing_slot`, as `change_own_password`.
        """
        assert self._actor.id is not None
        user = await self.get_by_id(self._actor.id)
        if not _is_plausible("", password) or not await verify_password(password, user.password_hash):
            raise _wrong(field, WRONG_PASSWORD)
        return user

    async def role_of(self, user_id: UUID) -> Role | None:
        """The role in which somebody may act now; None for who may not."""
        return await self._users.role_of(user_id)

    async def authenticate(self, email: str, password: str) -> User | None:
        """The person, or None: for an unknown e-mail, a wrong password and a closed account alike.

        All three take the same time. A success is noted in the account and in the history. Raises
        CodeRequired for whoever has a second factor.
        """
        if not _is_plausible(email, password):
            email = password = ""
        async with hashing_slot:
            user = await self._users.find_by_email(email)
            matches = await verify_password(password, user.password_hash if user else None)
        if user is None or not matches:
            return None
        if user.is_active and await has_second_factor(self._session, user.id):
            raise CodeRequired(HalfwayIn.of(user))
        return user if await complete_sign_in(self._session, self._actor, self._users, user) else None

    async def note_failure(self, email: str, told: str) -> None:
        """Somebody failed to show that this account is theirs. Nothing, if there is no such account."""
        user = await self._users.find_by_email(email.strip()) if _is_plausible(email, "") else None
        if user is not None:
            action = "refused" if self._actor.id else "sign-in failed"
            audit.note(self._session, self._actor, action, user, told)

    async def note_use(self, token_id: UUID, address: str | None) -> None:
        """That an access token was used just now, from there."""
        await self._users.note_use(token_id, address)

    async def _change(self, user: User, values: dict[str, Any], expected_version: int | None) -> User:
        merged = await merge(self._session, user, values, expected_version)
        values, self.kept = merged.values, merged.kept
        before = audit.snapshot(user)
        still_superuser = values.get("role", user.role) is Role.SUPERUSER and values.get(
            "is_active", user.is_active
        )
        if before == {**before, **{name: audit.plain(value) for name, value in values.items()}}:
            return user
        await self._keep_a_superuser(user, is_kept=still_superuser)
        for name, value in values.items():
            setattr(user, name, value)
        await self._flush()
        fields = tuple(audit.record(self._session, self._actor, UPDATED, user, before))
        for name, credential in CREDENTIALS.items():
            if name in fields:
                self._events.publish(CredentialChanged(before["email"], credential))
        self._events.publish(UserUpdated((user.id,), fields))
        is_required = "must_change_password" in fields and user.must_change_password
        if ENDS_LINKS.intersection(fields):
            await end_links_of(self._session, [user.id])
        is_own = user.id == self._actor.id
        if "is_active" in fields or ("password_hash" in fields and not is_own):
            await end_access_of(self._session, [user.id])
        elif is_required or ENDS_SESSIONS.intersection(fields):
            await end_sessions_of(self._session, [user.id])
        return user

    async def _lock(self, user_id: UUID) -> User:
        user = await self._users.lock(user_id)
        if user is None:
            raise NotFound
        return user

    async def _keep_a_superuser(self, user: User, *, is_kept: bool) -> None:
        if is_kept or user.role is not Role.SUPERUSER or not user.is_active:
            return
        if await self._users.active_superusers() == [user.id]:
            raise Conflict(LAST_SUPERUSER)

    async def _flush(self) -> None:
        try:
            await self._session.flush()
        except IntegrityError as error:
            match violated_constraint(error):
                case "uq_users_email":
                    reason = "Somebody already has this e-mail address."
                    raise InvalidInput("This e-mail address is taken.", {"email": reason}) from None
                case "fk_products_owner_id_users":
                    raise Conflict(
                        "This person owns products. Give them to somebody else first; "
                        "those in the bin must be restored for that."
                    ) from None
                case _:
                    raise


async def _hashed(email: str, name: str, password: SecretStr) -> str:
    async with hashing_slot:
        return await hash_for(email, name, password.get_secret_value(), "password")


def _wrong(name: str, reason: str) -> WrongCredential:
    return WrongCredential("Nothing was changed. Correct the marked field.", {name: reason})


def _is_plausible(email: str, password: str) -> bool:
    """What no account can have is not looked up: PostgreSQL would refuse the question."""
    return len(email) <= 254 and len(password) <= MAX_PASSWORD_LENGTH and is_storable(email + password)
