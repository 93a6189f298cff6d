"""Events and the deliveries they cause, written with the change itself; the worker's side of a delivery.

A delivery is done when its `done_at` is set, which happens in the same transaction as its effect.
Handing it to the queue proves nothing, so nobody else may set it.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import ValidationError
from sqlalchemy import ForeignKey, Index, Text, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, EmulatedDBAPIException
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship

from admin_app.actor import Actor
from admin_app.audit import LABEL
from admin_app.database import Base, Identified
from admin_app.events import Event, Handlers

HANDLERS = "event_handlers"
"""The key under which every session carries the table of handlers (see `Database.session_info`)."""

KEPT_DAYS = "delivery_days"
"""The same, for how many days done deliveries are kept."""

CHANNEL = "delivery"
"""PostgreSQL notifies here when deliveries were added (a trigger does it, see the first migration)."""

MAX_BACKOFF_SECONDS = 300.0
MAX_OUTAGE_PAUSE_SECONDS = 60.0
BACKLOG_LIMIT = 10_000


class RecordedEvent(Identified, Base):
    __tablename__ = "event"

    name: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    actor_id: Mapped[UUID | None]
    request_id: Mapped[UUID]
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Delivery(Identified, Base):
    """One task one handler asked for. `next_try_at` is also the lease of whoever works on it."""

    __tablename__ = "delivery"
    __table_args__ = (
        Index("ix_delivery_due", "next_try_at", postgresql_where=text("done_at IS NULL AND dead_at IS NULL")),
        Index("ix_delivery_dead_at", "dead_at", "id", postgresql_where=text("dead_at IS NOT NULL")),
        Index("ix_delivery_done_at", "done_at", "id", postgresql_where=text("done_at IS NOT NULL")),
        Index("ix_delivery_error", "id", postgresql_where=text("last_error IS NOT NULL")),
    )

    event_id: Mapped[UUID] = mapped_column(ForeignKey("event.id", ondelete="CASCADE"), index=True)
    task: Mapped[str] = mapped_column(info=LABEL)
    arguments: Mapped[dict[str, Any]] = mapped_column(JSONB)
    tries: Mapped[int] = mapped_column(server_default="0")
    next_try_at: Mapped[datetime] = mapped_column(server_default=func.now())
    done_at: Mapped[datetime | None]
    dead_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    event: Mapped[RecordedEvent] = relationship(lazy="raise")


OPEN = Delivery.done_at.is_(None) & Delivery.dead_at.is_(None)
"""What is still to be done. Whatever is parked or failed before has a `last_error`."""


class OutboxBus:
    """The event bus: publishing writes rows into the session it was given, and does nothing else."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    def publish(self, event: Event) -> None:
        handlers: Handlers = self._session.info[HANDLERS]
        row = RecordedEvent(
            name=event.name,
            payload=event.payload(),
            actor_id=self._actor.id,
            request_id=self._actor.request_id,
        )
        self._session.add(row)
        for handler in handlers.get(type(event), ()):
            call = handler(event)
            if call is not None:
                self._session.add(Delivery(event=row, task=call.task, arguments=call.arguments))


async def lock_due(
    session: AsyncSession, limit: int, *, tasks: Collection[str] | None = None, but: Collection[str] = ()
) -> Sequence[Delivery]:
    """Due deliveries, locked until the transaction ends; those another relay holds are passed over.

    `tasks`: only of these; `but`: of all others.
    """
    wanted = Delivery.task.in_(tasks) if tasks is not None else Delivery.task.not_in(but)
    statement = (
        select(Delivery)
        .where(OPEN, Delivery.next_try_at <= func.now(), wanted)
        .order_by(Delivery.next_try_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return (await session.scalars(statement)).all()


async def lease(session: AsyncSession, ids: Sequence[UUID], seconds: float) -> None:
    """Nobody hands these out again for so long, unless a failure sets an earlier time."""
    until = func.now() + timedelta(seconds=seconds)
    await session.execute(update(Delivery).where(Delivery.id.in_(ids)).values(next_try_at=until))


async def begin_try(
    session: AsyncSession, delivery_id: UUID, *, tries: int, max_tries: int, lease_seconds: float
) -> bool:
    """Count a try before the work starts, so that work which kills its worker is parked in the end.

    `tries` is how many there were when it was handed over. False when there is nothing to do: done,
    parked, in another worker's hands, or handed over twice and already tried.
    """
    delivery = await lock_open(session, delivery_id)
    if delivery is None or delivery.tries != tries:
        return False
    if delivery.tries >= max_tries:
        delivery.dead_at = await session.scalar(select(func.now()))
        delivery.last_error = delivery.last_error or "No worker survived this task."
        return False
    delivery.tries += 1
    await lease(session, [delivery_id], lease_seconds)
    return True


async def hand_back(session: AsyncSession, delivery_id: UUID, *, tries: int) -> None:
    """Undo the try it was begun with, and let it be due now. `tries` as for `begin_try`."""
    delivery = await lock_open(session, delivery_id)
    if delivery is not None and delivery.tries == tries + 1:
        delivery.tries = tries
        await lease(session, [delivery_id], 0)


async def lock_open(session: AsyncSession, delivery_id: UUID) -> Delivery | None:
    """The delivery, locked, with its event, or None when it is closed or locked by another worker."""
    statement = (
        select(Delivery)
        .options(joinedload(Delivery.event, innerjoin=True))
        .where(Delivery.id == delivery_id, OPEN)
        .with_for_update(of=Delivery, skip_locked=True)
    )
    return (await session.scalars(statement)).one_or_none()


async def mark_done(session: AsyncSession, delivery_id: UUID) -> None:
    """To be called in the transaction that carries the effect, and only there."""
    await session.execute(
        update(Delivery).where(Delivery.id == delivery_id).values(done_at=func.now(), last_error=None)
    )


async def mark_failed(session: AsyncSession, delivery_id: UUID, error: Exception, *, max_tries: int) -> None:
    """Keep the reason; try again after a growing, jittered pause, or park after the last try."""
    delivery = await lock_open(session, delivery_id)
    if delivery is None:
        return
    delivery.last_error = describe(error)
    values: Mapping[str, Any]
    if delivery.tries >= max_tries:
        values = {"dead_at": func.now()}
    else:
        pause = min(2.0**delivery.tries, MAX_BACKOFF_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311
        values = {"next_try_at": func.now() + timedelta(seconds=pause)}
    await session.execute(update(Delivery).where(Delivery.id == delivery_id).values(values))


async def postpone(session: AsyncSession, delivery_id: UUID, error: Exception) -> None:
    """As `mark_failed` for what is not the task's fault: the try does not count, so it is never parked."""
    delivery = await lock_open(session, delivery_id)
    if delivery is None:
        return
    waited = select(func.extract("epoch", func.now() - Delivery.created_at)).where(Delivery.id == delivery_id)
    longest = min(max(float(await session.scalar(waited) or 0) / 4, 2.0), MAX_OUTAGE_PAUSE_SECONDS)
    pause = longest * random.uniform(0.5, 1.0)  # noqa: S311
    delivery.last_error = describe(error)
    delivery.tries = max(delivery.tries - 1, 0)
    await session.flush()
    await lease(session, [delivery_id], pause)


@dataclass(frozen=True)
class Backlog:
    """Of what waits, BACKLOG_LIMIT + 1 stand for any number more, and `oldest` is the oldest of those."""

    waiting: int
    dead: int
    oldest: datetime | None


async def backlog(session: AsyncSession, tasks: Collection[str]) -> Backlog:
    """Of these tasks; of none, all of them."""
    wanted = [Delivery.task.in_(tasks)] if tasks else []
    waiting = select(Delivery.created_at).where(OPEN, *wanted).order_by(Delivery.next_try_at)
    some = waiting.limit(BACKLOG_LIMIT + 1).subquery()
    dead = select(Delivery.id).where(Delivery.dead_at.is_not(None), *wanted).limit(BACKLOG_LIMIT + 1)
    statement = select(
        func.count(),
        select(func.count()).select_from(dead.subquery()).scalar_subquery(),
        func.min(some.c.created_at),
    ).select_from(some)
    return Backlog(*(await session.execute(statement)).one())


def describe(error: BaseException) -> str:
    """One line for logs and the jobs page: what went wrong, without SQL, its parameters or what was typed."""
    cause: BaseException = error
    if isinstance(error, DBAPIError):
        cause = getattr(error.orig, "__cause__", None) or error.orig or error
    if isinstance(error, DBAPIError | EmulatedDBAPIException | asyncpg.PostgresError) or _is_of_a_value(
        error
    ):
        # PostgreSQL and asyncpg quote values in their messages; the kind of error and the constraint do not.
        state = getattr(cause, "sqlstate", None)
        message = getattr(cause, "constraint_name", None) or (f"SQLSTATE {state}" if state else "")
        return f"{type(cause).__name__}: {message or 'the database driver refused it'}"
    if isinstance(error, ValidationError):
        # Its text repeats what was typed.
        places = (f"{'.'.join(map(str, item['loc']))} {item['type']}" for item in error.errors())
        return f"ValidationError: {', '.join(places)}"[:500]
    lines = str(error).strip().splitlines()
    shown = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:500]
    # No log and no table takes all characters there are.
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown)


def _is_of_a_value(error: BaseException) -> bool:
    """Whether asyncpg refused a value before PostgreSQL saw it."""
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
