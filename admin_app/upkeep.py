"""What is done now and then, in every worker: chores of the domains, each in short transactions."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Text, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from structlog.contextvars import bound_contextvars

from admin_app.database import Base, Database
from admin_app.outbox import describe

CHORES = "chores"
"""The key under which every session carries the names of all chores (see `Database.session_info`)."""

PAUSE_SECONDS = 600
LOCK = 0x75706B656570  # any constant: whoever does the chores holds this advisory lock meanwhile


class ChoreRun(Base):
    """When a chore was done last, by whichever worker, and what came of it: each row is its last round."""

    __tablename__ = "chore_run"

    name: Mapped[str] = mapped_column(primary_key=True)
    ran_at: Mapped[datetime]
    took_seconds: Mapped[float]
    rows: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)

    @property
    def next_at(self) -> datetime:
        """Somebody does it again by then, if a worker runs."""
        return self.ran_at + timedelta(seconds=PAUSE_SECONDS)


Chore = Callable[[AsyncSession], Awaitable[int]]
"""One portion; returns how many rows it was about, 0 when there is nothing left to do."""

Chores = Mapping[str, Chore]
"""What it is, in words -> how it is done."""

logger = logging.getLogger(__name__)


class Upkeep:
    """Any number may run: a portion of a chore is done by one at a time."""

    def __init__(self, database: Database, chores: Chores) -> None:
        self._database = database
        self._chores = chores

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; at once, and again after each pause."""
        while not stop.is_set():
            for name in self._chores:
                try:
                    with bound_contextvars(chore=name):
                        await self.round(name, stop)
                except Exception as error:  # the loop of this process; there is a next time
                    logger.warning("%s waits: %s", name, describe(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=PAUSE_SECONDS)

    async def do(self, chore: Chore) -> int | None:
        """One portion; None if somebody else is at it."""
        async with self._database.transaction() as session:
            if not await session.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
                return None
            return await chore(session)

    async def round(self, name: str, stop: asyncio.Event) -> None:
        """All portions of a chore, written down; nothing if somebody else is at it. Raises as it does."""
        started, rows = time.monotonic(), 0
        portion: int | None = None
        try:
            while not stop.is_set() and (portion := await self.do(self._chores[name])):
                rows += portion
        except Exception as error:
            await self._write_down(name, time.monotonic() - started, rows, error)
            raise
        if rows or portion is not None:
            await self._write_down(name, time.monotonic() - started, rows, None)

    async def _write_down(self, name: str, seconds: float, rows: int, error: Exception | None) -> None:
        told = {"took_seconds": seconds, "rows": rows, "error": describe(error) if error else None}
        values = {"name": name, "ran_at": func.now(), **told}
        async with self._database.transaction() as session:
            await session.execute(
                insert(ChoreRun).values(values).on_conflict_do_update(index_elements=["name"], set_=values)
            )


async def schedule(session: AsyncSession) -> Sequence[tuple[str, ChoreRun | None]]:
    """Every chore there is, and its last round."""
    rounds = {run.name: run for run in await session.scalars(select(ChoreRun))}
    return [(name, rounds.get(name)) for name in session.info[CHORES]]
