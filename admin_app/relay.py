"""Due deliveries -> SAQ jobs. Knows no domain, and never marks a delivery done."""

import asyncio
import logging
import signal
from contextlib import suppress
from typing import Any, Protocol

from redis.exceptions import RedisError
from saq import Job
from sqlalchemy.exc import SQLAlchemyError

from admin_app import outbox
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.outbox import Delivery
from admin_app.queue import connect_queue, disconnect

BATCH = 100
POLL_SECONDS = 1.0
ENQUEUE_TIMEOUT_SECONDS = 5.0
TASK_TIMEOUT_SECONDS = 300

logger = logging.getLogger(__name__)


class Queue(Protocol):
    async def enqueue(self, job_or_func: str | Job, **kwargs: Any) -> Job | None: ...


class Relay:
    """Any number may run at once: each delivery is locked by one while it is handed over."""

    def __init__(self, database: Database, queue: Queue, *, lease_seconds: float) -> None:
        self._database = database
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._wake = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. An outage of PostgreSQL or Redis is logged and waited out."""
        listener = asyncio.create_task(self._listen(stop))
        stopper = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._wake.clear()
                if await self._hand_over_safely() == BATCH:
                    continue
                waker = asyncio.create_task(self._wake.wait())
                await asyncio.wait(
                    {waker, stopper}, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                waker.cancel()
        finally:
            for task in (listener, stopper):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def hand_over(self) -> int:
        """One batch: lock what is due, enqueue it, lease it, commit. Returns how many were handed over.

        If the queue cannot be reached, the rollback leaves them due. If this process dies after
        enqueueing, another relay enqueues them again, under the same keys.
        """
        async with self._database.transaction() as session:
            due = await outbox.lock_due(session, BATCH)
            if due:
                async with asyncio.timeout(ENQUEUE_TIMEOUT_SECONDS):
                    for delivery in due:
                        await self._enqueue(delivery)
                await outbox.lease(session, [delivery.id for delivery in due], self._lease_seconds)
        return len(due)

    async def _enqueue(self, delivery: Delivery) -> None:
        # While the same try still waits in the queue, SAQ ignores its key: no pile of copies.
        # SAQ itself never retries (the lease does), and keeps results only briefly.
        await self._queue.enqueue(
            delivery.task,
            delivery_id=str(delivery.id),
            key=f"delivery:{delivery.id}:{delivery.tries}",
            timeout=TASK_TIMEOUT_SECONDS,
            retries=1,
            ttl=60,
        )

    async def _hand_over_safely(self) -> int:
        try:
            return await self.hand_over()
        except (RedisError, SQLAlchemyError, OSError, TimeoutError) as error:
            logger.warning("deliveries wait: %s", outbox.describe(error))
            return 0

    async def _listen(self, stop: asyncio.Event) -> None:
        """Wake up when PostgreSQL says there is something; without it, polling still finds everything."""
        while not stop.is_set():
            try:
                async with self._database.engine.connect() as connection:
                    raw = await connection.get_raw_connection()
                    driver = raw.driver_connection
                    lost = asyncio.Event()
                    driver.add_termination_listener(lambda *_, lost=lost: lost.set())  # type: ignore[union-attr]
                    await driver.add_listener(outbox.CHANNEL, lambda *_: self._wake.set())  # type: ignore[union-attr]
                    self._wake.set()
                    await lost.wait()
            except (SQLAlchemyError, OSError) as error:
                logger.warning("not listening to PostgreSQL: %s", outbox.describe(error))
            await asyncio.sleep(POLL_SECONDS)


async def run(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """The relay process: until SIGTERM or SIGINT."""
    stop = stop or stop_on_signals()
    database = Database(settings.database_url, pool_size=3)
    queue = connect_queue(settings.redis_url, retries=1)
    try:
        await Relay(database, queue, lease_seconds=settings.delivery_lease_seconds).run(stop)
    finally:
        await disconnect(queue)
        await database.close()


def stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
