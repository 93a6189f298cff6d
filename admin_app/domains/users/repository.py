"""Queries on accounts: the only place that selects them."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    Uuid,
    case,
    false,
    func,
    literal,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import filters
from admin_app.actor import Actor, Role
from admin_app.domains.users.access import readable_by
from admin_app.domains.users.models import User
from admin_app.exports.exportable import all_rows
from admin_app.listing import Count, Listing, ListQuery, Page, Rows
from admin_app.search import as_id, begins_id, contains, every_word, plain
from admin_app.security.tokens import AccessToken

MAX_RANKED = 100
TURN = 0x75736572  # any constant: the advisory lock of `take_turn`

Row = TypeVar("Row")


def matches(text: str) -> ColumnElement[bool]:
    """Every word somewhere in the name or the e-mail; an id finds its row."""
    row_id = as_id(text)
    if row_id:
        return User.id == row_id
    name, email = plain(User.name), plain(User.email)
    found = every_word(text, lambda word: or_(contains(name, word), contains(email, word)))
    ids = begins_id(text)
    return or_(found, User.id.between(*ids)) if ids else found


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
        filters.choice(
            "role",
            "Role",
            {role.value: (role.value.capitalize(), role) for role in Role},
            lambda role: User.role == role,
        ),
        filters.choice(
            "is_active",
            "State",
            {"yes": ("Active", True), "no": ("Inactive", False)},
            lambda value: User.is_active == value,
        ),
        *filters.moment("created", "Created", User.created_at),
        *filters.moment("last_sign_in", "Last sign-in", User.last_sign_in_at),
    ),
    matches=matches,
)


_ROWS: Rows = select(
    User.id,
    User.email,
    User.name,
    User.role,
    User.is_active,
    User.must_change_password,
    User.version,
    User.created_at,
    User.updated_at,
    User.last_sign_in_at,
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

    async def take_turn(self) -> None:
        """Until this transaction ends, no other one that takes its turn goes on.

        To be taken before any account is locked, by whatever could take a superuser away. Locking the
        superusers' rows instead would not do: who they are changes, and with it the order of the locks.
        """
        await self._session.execute(select(func.pg_advisory_xact_lock(TURN)))

    async def role_of(self, user_id: UUID) -> Role | None:
        """Of who may sign in, and need not choose a new password first."""
        may_act = (User.is_active, ~User.must_change_password)
        return await self._session.scalar(select(User.role).where(User.id == user_id, *may_act))

    async def values_of(self, ids: Collection[UUID], names: Iterable[str]) -> dict[UUID, Any]:
        """id -> what is in these columns now."""
        table = User.__table__
        wanted = table.c.id == func.any(literal(list(ids), ARRAY(Uuid())))
        found = await self._session.execute(
            select(table.c.id, *(table.c[name] for name in names)).where(wanted)
        )
        return {row.id: row for row in found}

    async def active_superusers(self) -> list[UUID]:
        statement = select(User.id).where(User.role == Role.SUPERUSER, User.is_active)
        return list(await self._session.scalars(statement))

    async def find_by_email(self, email: str) -> User | None:
        # PostgreSQL lowers both sides: Python's lower() differs in a few letters, such as Σ and İ.
        statement = select(User).where(func.lower(User.email) == func.lower(email))
        return (await self._session.scalars(statement)).one_or_none()

    async def note_use(self, token_id: UUID, address: str | None) -> None:
        statement = update(AccessToken).where(AccessToken.id == token_id)
        await self._session.execute(statement.values(last_used_at=func.now(), last_used_address=address))

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

    async def rank(self, text: str, limit: int) -> list[tuple[User, float]]:
        """By name and e-mail, typo-tolerant, best first; an exact id or e-mail scores 1."""
        name, email, typed = plain(User.name), plain(User.email), plain(literal(text))
        row_id = as_id(text)
        alike = func.greatest(
            func.word_similarity(typed, name) * 0.8 + func.similarity(typed, name) * 0.15,
            func.word_similarity(typed, email) * 0.8 + func.similarity(typed, email) * 0.15,
        )
        score = case((or_(User.id == row_id, func.lower(User.email) == func.lower(text)), 1.0), else_=alike)
        near = or_(typed.op("<%")(name), typed.op("<%")(email)) if row_id is None else false()
        # Ranking costs fifty microseconds a row, so of very many that match only some are ranked.
        candidates = union(
            *(
                select(select(User.id).where(readable_by(self._actor), found).limit(MAX_RANKED).subquery())
                for found in (matches(text), near)
            )
        )
        statement = (
            select(User, score)
            .where(User.id.in_(candidates))
            .order_by(score.desc(), email, User.id)
            .limit(limit)
        )
        return [(row[0], float(row[1])) for row in await self._session.execute(statement)]

    async def page(self, query: ListQuery) -> Page:
        return await LISTING.page(self._session, self._readable(), query)

    async def count(self, query: ListQuery, *, exactly: bool) -> Count:
        return await LISTING.count(self._session, self._readable(), query, exactly=exactly)

    def selection(self, query: ListQuery) -> Select[Any]:
        """What `page` shows on all pages together, in columns `id` and `version`."""
        return LISTING.selection(self._readable(), query)

    def export(self, query: ListQuery, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return all_rows(LISTING, self._readable(), query, columns)

    async def facets(self, query: ListQuery) -> dict[str, dict[str, Count]]:
        return await LISTING.facets(self._session, self._readable(), query)

    def _readable(self) -> Rows:
        return _ROWS.where(readable_by(self._actor))
