"""Queries on accounts: the only place that selects them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Text, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import listing
from admin_app.actor import Actor, Role
from admin_app.domains.users.access import readable_by
from admin_app.domains.users.models import User
from admin_app.listing import Listing, ListQuery, Page
from admin_app.search import as_id, contains, every_word, plain
from admin_app.security.sessions import AuthSession, SessionLimits, hash_token

TURN = 0x75736572  # any constant: the advisory lock of `take_turn`

Row = TypeVar("Row")


def matches(text: str) -> ColumnElement[bool]:
    """Every word somewhere in the name or the e-mail; an id finds its row."""
    row_id = as_id(text)
    if row_id:
        return User.id == row_id
    return every_word(text, lambda word: or_(contains(User.name, word), contains(User.email, word)))


LISTING = Listing(
    model=User,
    sorts={
        "email": plain(User.email),
        "name": plain(User.name),
        "role": User.role,
        "created_at": User.created_at,
        "last_sign_in_at": User.last_sign_in_at,
    },
    default_sort=("email", False),
    filters=(
        listing.choice(
            "role", "Role", {role.value: (role.value.capitalize(), role) for role in Role}, User.role
        ),
        listing.choice(
            "is_active", "State", {"yes": ("Active", True), "no": ("Inactive", False)}, User.is_active
        ),
        listing.since("created_from", "Created from", User.created_at),
        listing.until("created_to", "Created to", User.created_at),
    ),
    matches=matches,
)


def _locked(statement: Select[Row]) -> Select[Row]:
    """Against other changes, but not against products that refer to these accounts; and read anew."""
    return statement.with_for_update(key_share=True).execution_options(populate_existing=True)


class UserRepository:
    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    async def get(self, user_id: UUID) -> User | None:
        """Only if this actor may read the account."""
        statement = select(User).where(User.id == user_id, readable_by(self._actor))
        return (await self._session.scalars(statement)).one_or_none()

    async def lock(self, user_id: UUID) -> User | None:
        return (await self._session.scalars(_locked(select(User).where(User.id == user_id)))).one_or_none()

    async def lock_many(self, user_ids: Sequence[UUID]) -> list[User]:
        """Locked in the order of their ids, so that two bulk changes cannot wait for each other."""
        statement = select(User).where(User.id.in_(user_ids)).order_by(User.id)
        return list(await self._session.scalars(_locked(statement)))

    async def take_turn(self) -> None:
        """Until this transaction ends, no other one that takes its turn goes on.

        To be taken before any account is locked, by whatever could take a superuser away. Locking the
        superusers' rows instead would not do: who they are changes, and with it the order of the locks.
        """
        await self._session.execute(select(func.pg_advisory_xact_lock(TURN)))

    async def active_superusers(self) -> list[UUID]:
        statement = select(User.id).where(User.role == Role.SUPERUSER, User.is_active)
        return list(await self._session.scalars(statement))

    async def find_by_email(self, email: str) -> User | None:
        # PostgreSQL lowers both sides: Python's lower() differs in a few letters, such as Σ and İ.
        statement = select(User).where(func.lower(User.email) == func.lower(email))
        return (await self._session.scalars(statement)).one_or_none()

    async def find_session(self, token: str, limits: SessionLimits) -> tuple[User, datetime] | None:
        now = func.now()
        statement = (
            select(User, AuthSession.last_seen_at)
            .join(AuthSession, AuthSession.user_id == User.id)
            .where(
                AuthSession.token_hash == hash_token(token),
                AuthSession.last_seen_at > now - limits.idle,
                AuthSession.created_at > now - limits.absolute,
                User.is_active,
            )
        )
        row = (await self._session.execute(statement)).one_or_none()
        return (row[0], row[1]) if row else None

    async def ids_by_email(self, emails: Sequence[str]) -> dict[str, UUID]:
        """Lower-case e-mail -> id, for those that exist."""
        asked = func.unnest(literal(sorted(set(emails)), ARRAY(Text))).column_valued("asked")
        statement = select(asked, User.id).join(User, func.lower(User.email) == func.lower(asked))
        return {row[0].lower(): row[1] for row in await self._session.execute(statement)}

    async def note_sign_in(self, user: User) -> bool:
        """Not a change of the account: version and updated_at stay.

        False when the account was closed or its password changed since it was loaded. Otherwise such a
        change waits for this transaction, and ends the session it opens.
        """
        statement = (
            update(User)
            .where(User.id == user.id, User.is_active, User.password_hash == user.password_hash)
            .values(last_sign_in_at=func.now(), updated_at=User.updated_at)
            .returning(User.id)
        )
        return await self._session.scalar(statement) is not None

    async def page(self, query: ListQuery) -> Page[User]:
        base = select(User).where(readable_by(self._actor))
        return await LISTING.page(self._session, base, query)
