"""What is done now and then, in every worker: chores of the domains, each in short transactions."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.database import Database
from admin_app.outbox import describe

PAUSE_SECONDS = 600
LOCK = 0x75706B656570  # any constant: whoever does the chores holds this advisory lock meanwhile

Chore = Callable[[AsyncSession], Awaitable[int]]
"""One portion; returns how many rows it was about, 0 when there is nothing left to do."""

logger = logging.getLogger(__name__)


class Upkeep:
    """Any number may run: a portion of a chore is done by one at a time."""

    def __init__(self, database: Database, chores: Sequence[Chore]) -> None:
        self._database = database
        self._chores = chores

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; at once, and again after each pause."""
        while not stop.is_set():
            for chore in self._chores:
                try:
                    while not stop.is_set() and await self.do(chore):
                        pass
                except Exception as error:  # the loop of this process; there is a next time
                    logger.warning("%s waits: %s", getattr(chore, "__name__", chore), describe(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=PAUSE_SECONDS)

    async def do(self, chore: Chore) -> int:
        """One portion, unless somebody else is at it."""
        async with self._database.transaction() as session:
            if not await session.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
                return 0
            return await chore(session)
