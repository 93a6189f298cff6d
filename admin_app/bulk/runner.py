"""The worker's side of operations: chunk after chunk, each one transaction.

An operation belongs to whoever holds its advisory lock, which PostgreSQL gives up with the connection:
when a worker dies, the next one goes on from the last commit, at once. The queue has no part in it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import (
    Integer,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import flag_modified
from structlog.contextvars import bind_contextvars, unbind_contextvars

from admin_app.actor import Actor, Role
from admin_app.bulk import items
from admin_app.bulk.changes import GONE
from admin_app.bulk.models import ACTIVE, BulkOperation, Outcome, State
from admin_app.bulk.plan import Plan, plan_of
from admin_app.database import Database
from admin_app.errors import AppError, Forbidden, OutcomeUnknown

CHUNK = 1000
REST = 1.0
"""After a chunk, the database is left to others for as long as that took."""
AT_ONCE = 2
"""Operations one worker has in hand, so that a small one need not wait while a large one is prepared."""

POLL_SECONDS = 0.5
PAUSE_SECONDS = 1.0
CANDIDATES = 20
LOCKS = 0x62756C6B  # any constant: the space of the advisory locks, by operation number
IDLE_SECONDS = 20
"""A worker frozen between two statements of a chunk keeps its locks for so long."""

MAX_FAILED_IN_A_ROW = 1000
"""Then it is not about the rows, and somebody should look."""

REFUSED = "a value the database does not take"
UNEXPECTED = "an unexpected error; it is in the log"
TRANSIENT = ("08", "25P", "40", "53", "55P03", "57", "58")
"""SQLSTATEs that say nothing about the rows: the connection, a transaction that was ended, a deadlock,
resources, a lock, a shutdown, the disk."""

FindRole = Callable[[AsyncSession, UUID], Awaitable[Role | None]]
"""The role somebody has now; None for who may not sign in."""

logger = logging.getLogger(__name__)


class _Place(NamedTuple):
    """How far an operation is."""

    operation_id: UUID
    state: State
    cursor: UUID | None


class BulkRunner:
    def __init__(self, database: Database, find_role: FindRole, *, chunk: int = CHUNK) -> None:
        self._database = database
        self._find_role = find_role
        self._chunk = chunk
        self._limits: dict[UUID, int] = {}
        self._failed_in_a_row: dict[UUID, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; a chunk that was begun is ended."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._run(stop))

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began = time.monotonic()
            try:
                is_working = await self.step()
                pause = REST * (time.monotonic() - began) if is_working else POLL_SECONDS
            except Exception as error:
                # The loop of this process: besides SQLAlchemy's errors, asyncpg raises its own while
                # PostgreSQL starts or stops.
                logger.warning("bulk operations wait: %s", type(error).__name__)
                pause = PAUSE_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=pause)

    async def step(self, operation_id: UUID | None = None) -> bool:
        """One step of this operation, or of the one that has waited longest.

        False when there is nothing to do, or somebody else does it.
        Rows that cannot be changed do not stop the others: a chunk that fails is halved until the row is
        found. An error that says nothing about the rows is raised, and nothing has happened.
        """
        place = None
        try:
            async with self._database.transaction() as session:
                operation = await _claim(session, operation_id)
                if operation is None:
                    return False
                place = _place_of(operation)
                bind_contextvars(operation=operation.number, request_id=str(operation.request_id))
                await self._advance(session, operation)
        except Exception as error:
            if place is None or _is_transient(error):
                raise
            await self._isolate(place, error)
        else:
            self._failed_in_a_row.pop(place.operation_id, None)
            limit = self._limits.pop(place.operation_id, self._chunk)
            if limit < self._chunk:
                self._limits[place.operation_id] = min(limit * 2, self._chunk)
        finally:
            unbind_contextvars("operation", "request_id")
        return True

    async def _advance(self, session: AsyncSession, operation: BulkOperation) -> None:
        # The operation's own row is written last, so that whoever cancels it need not wait for its lock.
        now = await _now(session)
        if operation.is_cancelling:
            self._end(operation, State.CANCELLED, now)
        else:
            await self._go_on(session, operation, now)
        operation.worked_at = now

    async def _go_on(self, session: AsyncSession, operation: BulkOperation, now: datetime) -> None:
        try:
            plan = await plan_of(session, operation)
            parameters = plan.parameters()
        except AppError as error:  # another version of this installation confirmed it
            self._give_up(operation, error.message, now)
            return
        match operation.state:
            case State.WAITING:
                await items.freeze(session, plan, await self._actor(session, plan))
                operation.started_at = now
            case State.RETRYING:
                await items.reopen(session, plan)
            case State.RUNNING:
                await self._work(session, plan, parameters, now)

    async def _work(self, session: AsyncSession, plan: Plan, parameters: BaseModel, now: datetime) -> None:
        operation = plan.operation
        limit = self._limits.get(operation.id, self._chunk)
        rows = await items.next_rows(session, operation, limit)
        reasons: dict[UUID, str | None] = dict.fromkeys(rows, GONE)
        actor = await self._actor(session, plan)
        try:
            if not plan.action.may_run(actor):
                raise Forbidden
            reasons |= await plan.apply(session, actor, rows, parameters)
        except Forbidden:
            reasons = dict.fromkeys(rows, items.NO_LONGER)
        await items.conclude(session, operation, items.outcomes(plan, reasons))
        if len(rows) < limit:
            self._end(operation, State.FINISHED, now)

    async def _isolate(self, place: _Place, error: Exception) -> None:
        """After a chunk that failed: smaller ones, and a single row that fails is told so."""
        async with self._database.transaction() as session:
            operation = await _claim(session, place.operation_id)
            if operation is None or _place_of(operation) != place:
                return  # another worker has gone on: the error was not about what is next by now
            now = await _now(session)
            if operation.state is not State.RUNNING:
                logger.error("bulk operation %d could not begin", operation.number, exc_info=error)
                self._give_up(operation, _sentence(error), now)
                return
            limit = self._limits.get(operation.id, self._chunk)
            rows = await items.next_rows(session, operation, limit)
            if len(rows) > 1:
                self._limits[operation.id] = len(rows) // 2
                return
            number = self._failed_in_a_row[operation.id] = self._failed_in_a_row.get(operation.id, 0) + 1
            # Of many failures in a row, the first tells enough.
            trace = error if number == 1 else None
            logger.error("a row of bulk operation %d failed", operation.number, exc_info=trace)
            failed = {row_id: (Outcome.FAILED, _sentence(error)) for row_id in rows}
            await items.conclude(session, operation, failed)
            if not rows:
                self._end(operation, State.FINISHED, now)
            elif number == MAX_FAILED_IN_A_ROW:
                self._give_up(operation, f"{number:,} rows in a row failed.", now)

    async def _actor(self, session: AsyncSession, plan: Plan) -> Actor:
        """Who confirmed it, in the role they have by now."""
        operation = plan.operation
        role: Role | None = Actor.system().role
        if operation.actor_id is not None:
            role = await self._find_role(session, operation.actor_id)
        return Actor(
            operation.actor_id,
            role or Role.SUPPORT,
            operation.actor_label,
            plan.source,
            operation.address,
            operation.request_id,
            operation.id,
        )

    def _give_up(self, operation: BulkOperation, why: str, now: datetime) -> None:
        operation.error = why
        self._end(operation, State.CANCELLED if operation.started_at else State.BROKEN, now)

    def _end(self, operation: BulkOperation, state: State, now: datetime) -> None:
        operation.state = state
        operation.is_cancelling = False
        flag_modified(operation, "is_cancelling")  # it may have been set since it was read
        operation.finished_at, operation.seen_at = now, None
        self._limits.pop(operation.id, None)
        self._failed_in_a_row.pop(operation.id, None)


async def _claim(session: AsyncSession, operation_id: UUID | None = None) -> BulkOperation | None:
    """An operation nobody else works on, to the end of the transaction."""
    found = select(BulkOperation.id, BulkOperation.number).where(BulkOperation.state.in_(ACTIVE))
    if operation_id is not None:
        found = found.where(BulkOperation.id == operation_id)
    order = BulkOperation.worked_at.asc().nulls_first()
    for row in await session.execute(found.order_by(order).limit(CANDIDATES)):
        lock = select(func.pg_try_advisory_xact_lock(LOCKS, cast(row.number, Integer)))
        if await session.scalar(lock):
            # Read after the lock: another worker may just have ended it.
            statement = select(BulkOperation).where(
                BulkOperation.id == row.id, BulkOperation.state.in_(ACTIVE)
            )
            operation = (await session.scalars(statement)).one_or_none()
            if operation is not None:
                seconds = f"{IDLE_SECONDS}s"
                await session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{seconds}'"))
                return operation
    return None


def _place_of(operation: BulkOperation) -> _Place:
    return _Place(operation.id, operation.state, operation.cursor)


async def _now(session: AsyncSession) -> datetime:
    found: datetime = (await session.scalars(select(func.clock_timestamp()))).one()
    return found


def _is_transient(error: Exception) -> bool:
    if isinstance(error, OutcomeUnknown) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return True
    # What asyncpg refuses before it asks PostgreSQL has no SQLSTATE, and would be refused for ever.
    state = str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")
    return state.startswith(TRANSIENT) or isinstance(error, OSError)


def _sentence(error: Exception) -> str:
    if isinstance(error, AppError):
        return error.message
    return REFUSED if isinstance(error, IntegrityError | DataError) else UNEXPECTED
