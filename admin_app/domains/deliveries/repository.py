"""Queries on deliveries and their events, as people look at them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import filters
from admin_app.actor import Actor
from admin_app.database import WrittenAt
from admin_app.domains.deliveries.names import TASKS
from admin_app.domains.users.models import User
from admin_app.listing import Count, Listing, ListQuery, Page, Rows
from admin_app.outbox import OPEN, Delivery, RecordedEvent
from admin_app.search import as_id, contains, every_word, plain

COUNTED = 50_000
"""Of more in one state, it is only told that they are more."""

RECENT = timedelta(hours=24)


class State(StrEnum):
    """Of what was never tried, tried for the first time, tried in vain, given up, and done."""

    WAITING = "waiting"
    TRYING = "trying"
    FAILING = "failing"
    PARKED = "parked"
    DONE = "done"


class Change(StrEnum):
    """What can be done to deliveries; repeated, each finds nothing to do."""

    RETRY = "retry"
    PARK = "park"
    PURGE = "purge"


# Also said of what is parked, because an index has exactly those with an error.
_FAILED = Delivery.last_error.is_not(None)

CONDITIONS: Mapping[State, ColumnElement[bool]] = {
    State.WAITING: OPEN & ~_FAILED & (Delivery.tries == 0),
    State.TRYING: OPEN & ~_FAILED & (Delivery.tries > 0),
    State.FAILING: OPEN & _FAILED,
    State.PARKED: Delivery.dead_at.is_not(None) & _FAILED,
    State.DONE: Delivery.done_at.is_not(None),
}

STATE = case(
    (Delivery.done_at.is_not(None), State.DONE.value),
    (Delivery.dead_at.is_not(None), State.PARKED.value),
    (_FAILED, State.FAILING.value),
    (Delivery.tries > 0, State.TRYING.value),
    else_=State.WAITING.value,
)

CHANGEABLE: Mapping[Change, ColumnElement[bool]] = {
    Change.RETRY: Delivery.done_at.is_(None) & _FAILED,
    Change.PARK: OPEN,
    Change.PURGE: CONDITIONS[State.PARKED],
}
"""What each change is about. What was never tried, or is tried for the first time, needs no retry."""


def matches(text: str) -> ColumnElement[bool]:
    """By an id, its own or its event's, or by words of the last error."""
    row_id = as_id(text)
    if row_id is not None:
        return or_(Delivery.id == row_id, Delivery.event_id == row_id)
    return _FAILED & every_word(text, lambda word: contains(plain(Delivery.last_error), word))


LISTING = Listing(
    model=Delivery,
    sorts={"created_at": Delivery.id},
    default_sort=("created_at", True),
    filters=(
        filters.choice(
            "state",
            "State",
            {
                "waiting": ("Waiting", State.WAITING),
                "trying": ("Being tried", State.TRYING),
                "failing": ("Failing", State.FAILING),
                "parked": ("Parked", State.PARKED),
                "done": ("Done", State.DONE),
            },
            CONDITIONS.__getitem__,
        ),
        filters.choice(
            "task", "Task", {name: (words, name) for name, words in TASKS.items()}, Delivery.task.__eq__
        ),
        *filters.moment("created", "Created", type_coerce(Delivery.id, WrittenAt())),
    ),
    matches=matches,
)

_EVENT_NAME = (
    select(RecordedEvent.name)
    .where(RecordedEvent.id == Delivery.event_id)
    .correlate(Delivery)
    .scalar_subquery()
)

ROWS: Rows = select(
    *(column for column in Delivery.__table__.columns if column.key != "arguments"),
    _EVENT_NAME.label("event_name"),
    STATE.label("state"),
)

DETAILS: Rows = (
    ROWS.add_columns(
        Delivery.__table__.c.arguments,
        *RecordedEvent.__table__.c["payload", "actor_id", "request_id", "occurred_at"],
        User.email.label("actor_email"),
    )
    .join(RecordedEvent, RecordedEvent.id == Delivery.event_id)
    .outerjoin(User, User.id == RecordedEvent.actor_id)
)


class DeliveryRepository:
    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    async def page(self, query: ListQuery) -> Page:
        return await LISTING.page(self._session, ROWS, query)

    async def count(self, query: ListQuery, *, exactly: bool) -> Count:
        return await LISTING.count(self._session, ROWS, query, exactly=exactly)

    async def facets(self, query: ListQuery) -> dict[str, dict[str, Count]]:
        return await LISTING.facets(self._session, ROWS, query)

    async def details(self, delivery_id: UUID) -> Any | None:
        return (await self._session.execute(DETAILS.where(Delivery.id == delivery_id))).one_or_none()

    async def find(self, delivery_id: UUID) -> Delivery | None:
        return await self._session.get(Delivery, delivery_id)

    async def tasks_of(self, ids: Sequence[UUID]) -> Mapping[UUID, str]:
        found = await self._session.execute(select(Delivery.id, Delivery.task).where(Delivery.id.in_(ids)))
        return {row.id: row.task for row in found}

    async def tallies(self) -> Sequence[Any]:
        """For each task and state, how many and since when; of those done, of the last day only.

        Reads at most COUNTED open ones, the most overdue first, as many parked, and as many done.
        """
        columns = (Delivery.task, STATE.label("state"), Delivery.created_at)
        since = func.now() - RECENT
        parts = (
            select(*columns).where(OPEN).order_by(Delivery.next_try_at),
            select(*columns).where(Delivery.dead_at.is_not(None)).order_by(Delivery.dead_at.desc()),
            select(*columns).where(Delivery.done_at > since).order_by(Delivery.done_at.desc()),
        )
        # Each in a subquery: PostgreSQL takes no LIMIT in the middle of a union.
        found = union_all(
            *(select(part.limit(COUNTED).subquery(f"part{number}")) for number, part in enumerate(parts))
        ).subquery("found")
        number, oldest = func.count().label("number"), func.min(found.c.created_at).label("oldest")
        grouped = select(found.c.task, found.c.state, number, oldest).group_by(found.c.task, found.c.state)
        return (await self._session.execute(grouped)).all()

    async def changeable(self, change: Change, query: ListQuery, limit: int) -> Mapping[str, int]:
        """How many of each task, at most `limit` in all."""
        some = select(Delivery.task).where(*LISTING.conditions(query), CHANGEABLE[change]).limit(limit)
        tasks = some.subquery().c.task
        found = await self._session.execute(select(tasks, func.count().label("number")).group_by(tasks))
        return {row.task: row.number for row in found}

    async def change_one(self, change: Change, delivery_id: UUID, reason: str) -> bool:
        """Whether it was changed: not if there is nothing to change, nor if a worker has it."""
        return await self._change(change, [Delivery.id == delivery_id], reason, 1) == 1

    async def change_many(self, change: Change, query: ListQuery, reason: str, limit: int) -> int:
        """The oldest first. Those a worker has are left alone."""
        return await self._change(change, LISTING.conditions(query), reason, limit)

    async def prune(self, before: datetime, limit: int) -> int:
        """A portion of the deliveries done before that, and of the events as old that have none left."""
        done = (
            select(Delivery.id)
            .where(Delivery.done_at < before)
            .order_by(Delivery.done_at, Delivery.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        deliveries = delete(Delivery).where(Delivery.id.in_(done)).returning(Delivery.id)
        pruned = len((await self._session.scalars(deliveries)).all())
        left = select(Delivery.id).where(Delivery.event_id == RecordedEvent.id)
        over = (
            select(RecordedEvent.id)
            .where(type_coerce(RecordedEvent.id, WrittenAt()) < before, ~left.exists())
            .order_by(RecordedEvent.id)
            .limit(limit)
        )
        events = delete(RecordedEvent).where(RecordedEvent.id.in_(over)).returning(RecordedEvent.id)
        return pruned + len((await self._session.scalars(events)).all())

    async def _change(
        self, change: Change, conditions: Sequence[ColumnElement[bool]], reason: str, limit: int
    ) -> int:
        some = (
            select(Delivery.id)
            .where(*conditions, CHANGEABLE[change])
            .order_by(Delivery.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("some")
        )
        chosen = Delivery.id.in_(select(some.c.id))
        before = case((_FAILED, literal(" Before: ") + Delivery.last_error), else_="")
        changed = {
            Change.RETRY: update(Delivery)
            .where(chosen)
            .values(next_try_at=func.now(), tries=0, dead_at=None, last_error=None),
            Change.PARK: update(Delivery)
            .where(chosen)
            .values(dead_at=func.now(), last_error=literal(reason) + before),
            Change.PURGE: delete(Delivery).where(chosen),
        }[change]
        found = changed.returning(Delivery.id).cte("changed")
        return await self._session.scalar(select(func.count()).select_from(found)) or 0
