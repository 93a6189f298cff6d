"""Whether this process can do its work, for load balancers; what is wrong is said in the log only."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from functools import cache, partial
from typing import Generic, TypeVar

from redis.asyncio import Redis
from sqlalchemy import text

from admin_app import migrations
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.outbox import describe
from admin_app.presence import ALIVE_SECONDS, Kind, processes
from admin_app.queue import QUEUE_NAME, connect_queue
from admin_app.storage import Storage

LIMIT_SECONDS = 1.5
"""What a server has to answer in."""
PATIENCE_SECONDS = 2.0
"""The longest anybody waits, also for a question that cannot even be given up."""
KEPT_SECONDS = 1.0
CONNECTIONS = 2
"""One for a question of whoever asks after health, one for the metrics."""

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Status(StrEnum):
    READY = "ready"
    DEGRADED = "degraded"
    """Pages answer and changes are saved; what comes of them later, waits."""
    DOWN = "down"
    STOPPING = "stopping"

    @property
    def code(self) -> int:
        return 200 if self in {Status.READY, Status.DEGRADED} else 503


class Part(StrEnum):
    DATABASE = "database"
    SCHEMA = "schema"
    QUEUE = "queue"
    STORAGE = "storage"
    RELAY = "relay"
    WORKER = "worker"


Ailing = Mapping[Part, str]
"""What is not well, and why."""

VITAL = {Part.DATABASE, Part.SCHEMA}
TOLD_BY_DATABASE = (Part.SCHEMA, Part.RELAY, Part.WORKER)


class Question(Generic[Answer]):
    """One that many ask: put once at a time, and its answer is kept for a while. Nobody waits for longer.

    It is not cancelled, for then it could be put again while what it left behind still waits.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]], kept_seconds: float) -> None:
        self._ask = ask
        self._kept_seconds = kept_seconds
        self._kept_until = 0.0
        self._asking: asyncio.Task[Answer] | None = None

    async def answer(self) -> Answer:
        """Raises what the question raises, and TimeoutError."""
        if self._asking is None or (self._asking.done() and time.monotonic() >= self._kept_until):
            self._asking = asyncio.create_task(self._put())
        asking = self._asking
        await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
        if not asking.done():
            raise TimeoutError
        return asking.result()

    async def _put(self) -> Answer:
        try:
            return await self._ask()
        finally:
            self._kept_until = time.monotonic() + self._kept_seconds


class Health:
    """On connections of its own: it must not wait behind the pages it is asked about."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        """Connects when it is asked."""
        self.is_stopping = False
        """To be set when this process takes no new requests."""
        self.database = Database(
            settings.database_url,
            direct_url=settings.database_direct_url,
            pool_size=CONNECTIONS,
            answer_seconds=LIMIT_SECONDS,
        )
        self.redis: Redis = connect_queue(settings.redis_url, retries=1).redis
        self._questions = {
            Part.DATABASE: Question(partial(_ask_database, self.database), KEPT_SECONDS),
            Part.QUEUE: Question(partial(_ask_queue, self.redis), KEPT_SECONDS),
            Part.STORAGE: Question(partial(_ask_storage, storage), KEPT_SECONDS),
        }
        self._told: set[Part] = set()

    async def status(self) -> Status:
        """Within PATIENCE_SECONDS, whatever has stopped answering."""
        if self.is_stopping:
            return Status.STOPPING
        ailing = await self.ailing()
        if VITAL.intersection(ailing):
            return Status.DOWN
        return Status.DEGRADED if ailing else Status.READY

    async def ailing(self) -> Ailing:
        found: dict[Part, str] = {}
        for ailing in await asyncio.gather(*map(self._ailing_of, self._questions)):
            found.update(ailing)
        self._tell(found)
        return found

    async def _ailing_of(self, part: Part) -> Ailing:
        try:
            return await self._questions[part].answer()
        except TimeoutError:
            return {part: "no answer"}
        except Exception as error:  # whatever a driver raises is what was asked for
            return {part: describe(error)}

    def _tell(self, ailing: Ailing) -> None:
        """Once per change."""
        if self._told == set(ailing):
            return
        self._told = set(ailing)
        if ailing:
            logger.warning("not well: %s", "; ".join(f"{part}: {cause}" for part, cause in ailing.items()))
        else:
            logger.warning("all is well again")

    async def close(self) -> None:
        await self.redis.aclose()
        await self.database.close()


async def _ask_database(database: Database) -> Ailing:
    newest, *older = await asyncio.to_thread(_revisions)
    async with asyncio.timeout(LIMIT_SECONDS), database.reading() as session:
        revision = await session.scalar(text("SELECT version_num FROM alembic_version"))
        # A revision nobody here knows is that of a newer version, whose processes are about to take over.
        if revision is None or revision in older:
            return {Part.SCHEMA: f"at {revision}, {newest} is needed: run `admin-app migrate`"}
        alive = {process.kind for process, is_alive in await processes(session) if is_alive}
    missing = {Part.RELAY: Kind.RELAY, Part.WORKER: Kind.WORKER}.items()
    return {part: f"not seen for {ALIVE_SECONDS:g} s" for part, kind in missing if kind not in alive}


async def _ask_queue(redis: Redis) -> Ailing:
    async with asyncio.timeout(LIMIT_SECONDS):
        await redis.exists(QUEUE_NAME)
    return {}


async def _ask_storage(storage: Storage) -> Ailing:
    await storage.reach(LIMIT_SECONDS)
    return {}


_revisions = cache(migrations.revisions)  # reading them takes a tenth of a second
