"""Which processes of this installation run: each says so, every few seconds, by a row of its own."""

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from importlib.metadata import version
from uuid import UUID

from sqlalchemy import Text, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base, Database, Identified
from admin_app.outbox import describe

PAUSE_SECONDS = 10.0
ALIVE_SECONDS = 35.0
"""Who has not been seen for so long has ended, is frozen, or cannot reach the database."""
KEPT = timedelta(hours=1)
LEAVE_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Kind(StrEnum):
    WEB = "web"
    RELAY = "relay"
    WORKER = "worker"


class Process(Identified, Base):
    """A row goes when its process ends as it should, or has not been seen for an hour."""

    __tablename__ = "process"

    kind: Mapped[str]
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int]
    version: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Presence:
    """A context manager; inside it this process is seen. Neither entering nor leaving waits for an outage."""

    def __init__(self, database: Database, kind: Kind) -> None:
        self._database = database
        self._kind = kind
        self._id: UUID | None = None

    async def __aenter__(self) -> None:
        self._telling = asyncio.create_task(self._tell())

    async def __aexit__(self, *_: object) -> None:
        self._telling.cancel()
        leaving = asyncio.create_task(self._leave())
        await asyncio.wait({self._telling, leaving}, timeout=LEAVE_SECONDS)
        leaving.cancel()  # the row goes by itself later

    async def _tell(self) -> None:
        while True:
            try:
                async with self._database.transaction() as session:
                    self._id = await self._say(session)
            except Exception as error:  # the loop of this process; there is a next time
                logger.debug("not seen: %s", describe(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _leave(self) -> None:
        await asyncio.wait({self._telling})
        with suppress(Exception):
            async with self._database.transaction() as session:
                await session.execute(delete(Process).where(Process.id == self._id))

    async def _say(self, session: AsyncSession) -> UUID:
        seen = update(Process).where(Process.id == self._id).values(seen_at=func.now()).returning(Process.id)
        found = await session.scalar(seen) if self._id else None
        if found is not None:
            return found
        await session.execute(delete(Process).where(Process.seen_at < func.now() - KEPT))
        process = Process(
            kind=self._kind.value, host=socket.gethostname(), pid=os.getpid(), version=version("admin-app")
        )
        session.add(process)
        await session.flush()
        return process.id


async def processes(
    session: AsyncSession, *, alive_seconds: float = ALIVE_SECONDS
) -> Sequence[tuple[Process, bool]]:
    """Every process seen in the last hour, the newest first, and whether it is alive."""
    is_alive = Process.seen_at > func.now() - timedelta(seconds=alive_seconds)
    statement = select(Process, is_alive).order_by(Process.kind, Process.started_at.desc())
    return [(process, alive) for process, alive in await session.execute(statement)]
