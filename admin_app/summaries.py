"""Numbers about very many rows, counted now and then and kept: what nobody wants to wait for."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base, Database, limit_time
from admin_app.outbox import describe

PAUSE_SECONDS = 60.0
"""The shortest between two rounds."""
SHARE = 0.05
"""Of the time, at most so much is spent on counting."""
STATEMENT_SECONDS = 60.0
LATE_ROUNDS = 3
"""After so many that were missed, the numbers are old."""
LOCK = 0x73756D6D617279  # any constant: whoever counts holds this advisory lock meanwhile

Summarize = Callable[[AsyncSession], Awaitable[dict[str, Any]]]
"""Makes the data of one summary: anything JSON can hold."""

logger = logging.getLogger(__name__)


class Summary(Base):
    """`data` as its query made it, as of then."""

    __tablename__ = "summary"

    name: Mapped[str] = mapped_column(primary_key=True)
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    as_of: Mapped[datetime]
    took_seconds: Mapped[float]


@dataclass(frozen=True)
class Counted:
    """A summary as it was read. `is_old`: nobody has counted for longer than usual."""

    data: Mapping[str, Any]
    as_of: datetime
    is_old: bool


def pause_after(seconds: float) -> float:
    """How long to wait after counting took so long."""
    return max(PAUSE_SECONDS, seconds / SHARE)


async def read(session: AsyncSession) -> dict[str, Counted]:
    """All of them, by name, in one statement."""
    age = func.extract("epoch", func.now() - Summary.as_of)
    rows = (await session.execute(select(*Summary.__table__.c, age.label("age")))).all()
    late = LATE_ROUNDS * pause_after(sum(row.took_seconds for row in rows))
    return {row.name: Counted(row.data, row.as_of, row.age > late) for row in rows}


class Summaries:
    """Any number may run: one at a time counts, and nothing again before its time."""

    def __init__(self, database: Database, counts: Mapping[str, Summarize]) -> None:
        self._database = database
        self._counts = counts

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, which ends a count that is under way."""
        counting = asyncio.create_task(self._count_for_ever())
        try:
            await stop.wait()
        finally:
            counting.cancel()
            with suppress(asyncio.CancelledError):
                await counting

    async def _count_for_ever(self) -> None:
        while True:
            started = time.monotonic()
            for name in self._counts:
                try:
                    await self.count(name)
                except Exception as error:  # the loop of this process; there is a next time
                    logger.warning("summary %s waits: %s", name, describe(error))
            # Of what it really took, for what fails leaves nothing behind to go by.
            await asyncio.sleep(pause_after(time.monotonic() - started))

    async def count(self, name: str) -> bool:
        """Whether it was counted now: unless somebody else is counting, or it is not old enough."""
        async with self._database.transaction() as session:
            if not await session.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
                return False
            if not await self._is_due(session, name):
                return False
            await limit_time(session, STATEMENT_SECONDS)
            started = time.monotonic()
            data = await self._counts[name](session)
            row = {"data": data, "as_of": func.now(), "took_seconds": time.monotonic() - started}
            statement = insert(Summary).values(name=name, **row)
            await session.execute(statement.on_conflict_do_update(index_elements=["name"], set_=row))
            return True

    async def _is_due(self, session: AsyncSession, name: str) -> bool:
        """Several workers together count no more often than one would."""
        took = select(func.coalesce(func.sum(Summary.took_seconds), 0)).scalar_subquery()
        age = func.extract("epoch", func.now() - Summary.as_of)
        row = (await session.execute(select(age, took).where(Summary.name == name))).one_or_none()
        return row is None or float(row[0]) >= pause_after(float(row[1]))
