"""Due deliveries -> SAQ jobs. Knows no domain, and never marks a delivery done."""

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Literal, Protocol
from uuid import uuid4

from saq import Job

from admin_app import outbox
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.lifeline import stop_on_signals
from admin_app.outbox import Delivery
from admin_app.presence import Kind, Presence
from admin_app.queue import (
    DELIVER,
    LONG_QUEUE_NAME,
    LONG_TASK_TIMEOUT_SECONDS,
    QUEUE_NAME,
    SLOW_QUEUE_NAME,
    TASK_TIMEOUT_SECONDS,
    connect_queue,
    disconnect,
)

BATCH = 100
MAX_QUEUED = 1_000
"""The queue is a short buffer: what is more waits in PostgreSQL, so an outage piles up no copies."""

MAX_QUEUED_SLOW = 50
"""As many are begun within a lease, and hardly more."""

POLL_SECONDS = 1.0
ENQUEUE_TIMEOUT_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Queue(Protocol):
    async def count(self, kind: Literal["queued"]) -> int: ...

    async def enqueue(self, job_or_func: str | Job, **kwargs: Any) -> Job | None: ...


class Relay:
    """Any number may run at once: each delivery is leased by one, and due again when the lease ends."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        *,
        lease_seconds: float,
        tasks: Collection[str] | None = None,
        but: Collection[str] = (),
        max_queued: int = MAX_QUEUED,
        task_seconds: float = TASK_TIMEOUT_SECONDS,
    ) -> None:
        """It hands over deliveries of these tasks only, or of all but some."""
        self._database = database
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._tasks, self._but = tasks, but
        self._max_queued = max_queued
        self._task_seconds = task_seconds
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
        """One batch: lease what is due, commit, enqueue it. Returns how many were handed over.

        In this order, because a worker may be quicker than a commit, and passes over what is locked.
        Whatever is lost from here on (this process, the queue, a worker) is due again after its lease.
        While the queue cannot be reached, nothing is leased.
        """
        async with asyncio.timeout(ENQUEUE_TIMEOUT_SECONDS):
            room = self._max_queued - await self._queue.count("queued")
        if room <= 0:
            return 0
        async with self._database.transaction() as session:
            due = await outbox.lock_due(session, min(room, BATCH), tasks=self._tasks, but=self._but)
            if due:
                await outbox.lease(session, [delivery.id for delivery in due], self._lease_seconds)
        async with asyncio.timeout(ENQUEUE_TIMEOUT_SECONDS):
            for delivery in due:
                await self._enqueue(delivery)
        return len(due)

    async def _enqueue(self, delivery: Delivery) -> None:
        # A key of its own each time: SAQ goes on refusing the key of a job that died with its worker,
        # for minutes. SAQ itself never retries (the lease does), and keeps results only briefly.
        await self._queue.enqueue(
            DELIVER,
            delivery_id=str(delivery.id),
            tries=delivery.tries,
            key=f"delivery:{delivery.id}:{uuid4()}",
            timeout=int(self._task_seconds) + 10,  # the worker's own limit comes first, and is recorded
            retries=1,
            ttl=60,
        )

    async def _hand_over_safely(self) -> int:
        try:
            return await self.hand_over()
        except Exception as error:
            # The loop of this process: besides SQLAlchemy's and Redis' errors, asyncpg raises its own
            # while PostgreSQL starts or stops.
            logger.warning("deliveries wait: %s", outbox.describe(error))
            return 0

    async def _listen(self, stop: asyncio.Event) -> None:
        """Wake up when PostgreSQL says there is something; without it, polling still finds everything."""
        while not stop.is_set():
            try:
                async with self._database.direct.connect() as connection:
                    raw = await connection.get_raw_connection()
                    driver = raw.driver_connection
                    lost = asyncio.Event()
                    driver.add_termination_listener(lambda *_, lost=lost: lost.set())  # type: ignore[union-attr]
                    await driver.add_listener(outbox.CHANNEL, lambda *_: self._wake.set())  # type: ignore[union-attr]
                    self._wake.set()
                    await lost.wait()
            except Exception as error:  # as above
                logger.warning("not listening to PostgreSQL: %s", outbox.describe(error))
            await asyncio.sleep(POLL_SECONDS)


async def run(
    settings: Settings,
    slow_tasks: Collection[str] = (),
    long_tasks: Collection[str] = (),
    *,
    stop: asyncio.Event | None = None,
) -> None:
    """The relay process: until SIGTERM or SIGINT. Slow tasks, and long ones, go to queues of their own."""
    stop = stop or stop_on_signals()
    database = Database(settings.database_url, direct_url=settings.database_direct_url, pool_size=8)
    names = (QUEUE_NAME, SLOW_QUEUE_NAME, LONG_QUEUE_NAME)
    queues = [connect_queue(settings.redis_url, name, retries=1) for name in names]
    usual, slow, long = queues
    lease = settings.delivery_lease_seconds
    relays = [Relay(database, usual, lease_seconds=lease, but={*slow_tasks, *long_tasks})]
    if slow_tasks:
        relays.append(
            Relay(database, slow, lease_seconds=lease, tasks=slow_tasks, max_queued=MAX_QUEUED_SLOW)
        )
    if long_tasks:
        relays.append(
            Relay(
                database,
                long,
                lease_seconds=lease,
                tasks=long_tasks,
                max_queued=MAX_QUEUED_SLOW,
                task_seconds=LONG_TASK_TIMEOUT_SECONDS,
            )
        )
    try:
        async with Presence(database, Kind.RELAY), asyncio.TaskGroup() as group:
            for relay in relays:
                group.create_task(relay.run(stop))
    finally:
        for queue in queues:
            await disconnect(queue)
        await database.close()
