"""Queries on the history: the only place that selects its entries to be shown."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Uuid,
    case,
    cast,
    false,
    func,
    literal_column,
    select,
    true,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import filters
from admin_app.actor import Actor
from admin_app.audit import ACTIONS, AuditEntry, kind_of
from admin_app.bulk.models import BulkOperation
from admin_app.database import Base, WrittenAt
from admin_app.domains.activity.access import PRIVATE, may_read_all, readable_by
from admin_app.domains.activity.models import CHANGES, FIELDS, MODELS, PEOPLE, changed_sql
from admin_app.domains.users.models import User
from admin_app.exports.exportable import all_rows
from admin_app.filters import Filter
from admin_app.listing import BadQuery, Conditions, Count, Listing, ListQuery, Page, Rows
from admin_app.search import as_id, contains, plain

USERS = kind_of(User)
KINDS = {kind_of(model): f"{kind_of(model).capitalize()}s" for model in MODELS}

DONE_TO = {"signed in": [USERS], "sign-in failed": [USERS], "signed out": [USERS]}
"""What is only ever done to rows of some kinds, and so often that it matters."""

REFUSED = "refused"

MAX_PEOPLE = 10
REPEATED_SECONDS = 60
LATELY = 500

TOO_MANY_PEOPLE = f"Who: more than {MAX_PEOPLE} people have this in their e-mail. Use more of it."
NOT_AN_ID = "Only the id of a product or a user can be searched for here, all of it. Or use the filters."


def matches(text: str) -> ColumnElement[bool]:
    """The entries about a row, by its id. Raises BadQuery: names are not searched in so long a history."""
    row_id = as_id(text)
    if row_id is None:
        raise BadQuery(NOT_AN_ID)
    return AuditEntry.row_id == row_id


def of_kinds(kinds: Collection[str]) -> ColumnElement[bool]:
    if set(kinds) == set(KINDS):
        return true()
    [first, *others] = kinds
    return AuditEntry.kind.in_(kinds) if others else AuditEntry.kind == first


def done(action: str) -> ColumnElement[bool]:
    """Says which kinds that leaves: asked for another one, PostgreSQL need not look at all."""
    is_done = AuditEntry.action == action
    return is_done & of_kinds(DONE_TO[action]) if action in DONE_TO else is_done


def changed(name: str) -> ColumnElement[bool]:
    """Worded as the indexes are, in which nothing is of rows that are new or gone."""
    found: ColumnElement[bool] = literal_column(changed_sql(name))
    return found & of_kinds(FIELDS[name][1])


def by(labels: Sequence[str]) -> ColumnElement[bool]:
    """In lower case."""
    label = func.lower(AuditEntry.actor_label)
    return label == labels[0] if len(labels) == 1 else label.in_(labels)


LISTING = Listing(
    model=AuditEntry,
    sorts={"at": AuditEntry.id},
    default_sort=("at", True),
    filters=(
        Filter("who", "Who", "person", filters.parse_text, lambda text: by([text.lower()])),
        filters.choice("action", "What", {name: (shown, name) for name, shown in ACTIONS.items()}, done),
        filters.choice("kind", "Kind", {name: (shown, [name]) for name, shown in KINDS.items()}, of_kinds),
        filters.choice(
            "field", "Field", {name: (shown, name) for name, (shown, _) in FIELDS.items()}, changed
        ),
        *filters.moment("at", "When", type_coerce(AuditEntry.id, WrittenAt())),
    ),
    matches=matches,
)


KINDS_OF: Mapping[str, Callable[[Any], Collection[str]]] = {
    "action": lambda action: DONE_TO.get(action, KINDS),
    "kind": lambda kinds: kinds,
    "field": lambda name: FIELDS[name][1],
}
"""The kinds of rows a filter can find, by its name and value."""


def listing_for(actor: Actor) -> Listing[AuditEntry]:
    """The list as this actor reads it: what is private to others is not looked for among theirs."""
    if may_read_all(actor):
        return LISTING
    own = AuditEntry.row_id == actor.id

    def narrowed(item: Filter, kinds_of: Callable[[Any], Collection[str]]) -> Filter:
        def where(value: Any) -> ColumnElement[bool]:
            found = item.where(value)
            return found & own if PRIVATE.issuperset(kinds_of(value)) else found

        return replace(item, where=where)

    items = [
        narrowed(item, KINDS_OF[item.name]) if item.name in KINDS_OF else item for item in LISTING.filters
    ]
    return replace(LISTING, filters=tuple(items))


def _people() -> Any:
    """id -> e-mail of those an entry names, as far as they are still here."""
    texts = [AuditEntry.changes[(name, side)].astext for name in PEOPLE for side in ("0", "1")]
    named = [case((func.pg_input_is_valid(text, "uuid"), cast(text, Uuid))) for text in texts]
    return (
        select(func.jsonb_object_agg(User.id, User.email))
        .where(User.id.in_(named))
        .correlate(AuditEntry)
        .scalar_subquery()
    )


def _operation_number() -> Any:
    """Not by a join: of a day among many the planner expects one entry, and would join and sort them all."""
    number = select(BulkOperation.number).where(BulkOperation.id == AuditEntry.operation_id)
    return number.correlate(AuditEntry).scalar_subquery()


ROWS: Rows = select(
    *AuditEntry.__table__.columns,
    _operation_number().label("operation_number"),
    _people().label("people"),
)


class ActivityRepository:
    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._rows = ROWS.where(readable_by(actor))
        self._listing = listing_for(actor)

    async def page(self, query: ListQuery) -> Page:
        """Two statements at most: whom the filter names, and the page."""
        known = await self._known(query)
        return await self._listing.page(self._session, self._possible(query), query, known)

    async def latest(self, limit: int) -> Sequence[Any]:
        """The newest first, of the last LATELY entries, without who came and went."""
        readable = select(AuditEntry.id).where(readable_by(self._actor)).order_by(AuditEntry.id.desc())
        some = readable.limit(LATELY).subquery()
        found = self._rows.where(AuditEntry.id.in_(select(some.c.id)), AuditEntry.action.not_in(DONE_TO))
        return (await self._session.execute(found.order_by(AuditEntry.id.desc()).limit(limit))).all()

    async def count(self, query: ListQuery, *, exactly: bool) -> Count:
        rows, known = self._possible(query), await self._known(query)
        return await self._listing.count(self._session, rows, query, known, exactly=exactly)

    async def export(self, query: ListQuery, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return all_rows(self._listing, self._possible(query), query, columns, await self._known(query))

    async def facets(self, query: ListQuery) -> dict[str, dict[str, Count]]:
        return await self._listing.facets(self._session, self._rows, query, await self._known(query))

    async def get(self, entry_id: UUID) -> Any | None:
        return (await self._session.execute(self._rows.where(AuditEntry.id == entry_id))).one_or_none()

    async def of_row(
        self, kind: str, row_id: UUID, limit: int, before: UUID | None, *, only_changes: bool
    ) -> Sequence[Any]:
        """The newest first, those before an entry if one is given."""
        statement = self._rows.where(AuditEntry.kind == kind, AuditEntry.row_id == row_id)
        if only_changes:
            statement = statement.where(AuditEntry.version.is_not(None))
        if before is not None:
            statement = statement.where(AuditEntry.id < before)
        return (await self._session.execute(statement.order_by(AuditEntry.id.desc()).limit(limit))).all()

    def _possible(self, query: ListQuery) -> Rows:
        """Nothing where an action that changes no single fields and a field exclude each other."""
        action = query.filters.get("action", CHANGES[0])
        is_possible = "field" not in query.filters or action in CHANGES
        return self._rows if is_possible else self._rows.where(false())

    async def _emails(self, text: str, limit: int) -> list[str]:
        """In lower case, of the people here who have this text in their e-mail; the whole of one first."""
        email = func.lower(User.email)
        statement = select(email).where(contains(plain(User.email), text)).order_by(email != text, email)
        return list(await self._session.scalars(statement.limit(limit)))

    async def find_row(self, model: type[Base], row_id: UUID) -> Base | None:
        return await self._session.get(model, row_id)

    async def was_just_refused(self, kind: str, row_id: UUID | None, wish: str) -> bool:
        """The same to the same actor, within REPEATED_SECONDS."""
        since = datetime.now(UTC) - timedelta(seconds=REPEATED_SECONDS)
        found = select(AuditEntry.id).where(
            type_coerce(AuditEntry.id, WrittenAt()) >= since,
            AuditEntry.action == REFUSED,
            AuditEntry.kind == kind,
            AuditEntry.row_id == row_id,
            AuditEntry.actor_id == self._actor.id,
            AuditEntry.note == wish,
        )
        return await self._session.scalar(select(found.exists())) or False

    async def _known(self, query: ListQuery) -> Conditions:
        """Who is meant by a part of an e-mail. The whole of one, also of somebody who left, means itself."""
        who = query.filters.get("who", "").strip().lower()
        if not who:
            return {}
        found = await self._emails(who, MAX_PEOPLE + 1)
        if who in found or not found:
            return {"who": by([who])}
        if len(found) > MAX_PEOPLE:
            raise BadQuery(TOO_MANY_PEOPLE)
        return {"who": by(found)}
