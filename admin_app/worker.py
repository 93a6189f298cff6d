"""The worker: bulk operations, and tasks, each in one transaction with the mark that it is done."""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from saq import Worker
from saq.queue.redis import RedisQueue
from structlog.contextvars import bind_contextvars, bound_contextvars

from admin_app import outbox
from admin_app.bulk.runner import BulkRunner
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import CHORES, SUMMARIES, TASKS, find_role, open_database
from admin_app.errors import Unavailable
from admin_app.events import Tasks
from admin_app.lifeline import stop_on_signals
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
from admin_app.summaries import Summaries
from admin_app.upkeep import Upkeep

CONCURRENCY = 2
"""Each keeps a core of the database busy: more would keep pages waiting."""
LONG_ONES = 2
SPARE_CONNECTIONS = 4
"""For bulk operations and chores."""
SHUTDOWN_GRACE_SECONDS = 15
"""So long tasks under way may take yet; then they are cancelled, and handed back."""
HAND_BACK_SECONDS = 3.0

logger = logging.getLogger(__name__)


class Deliverer:
    """Runs a delivery's task at most once in effect, however often the delivery arrives."""

    def __init__(
        self,
        database: Database,
        tasks: Tasks,
        *,
        max_tries: int,
        lease_seconds: float,
        task_seconds: float = TASK_TIMEOUT_SECONDS,
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._max_tries = max_tries
        self._lease_seconds = lease_seconds
        self._task_seconds = task_seconds

    async def deliver(self, delivery_id: UUID, tries: int) -> None:
        """`tries` as handed over. Nothing to do is not an error.

        A task that raises is kept with its reason and tried again later; as long as it says Unavailable,
        without end. Cancelled, because this worker ends, it is due again at once, and counts as not tried.
        """
        with bound_contextvars(delivery_id=str(delivery_id), request_id=None, task=None):
            try:
                await self._deliver(delivery_id, tries)
            except asyncio.CancelledError:
                async with self._database.transaction() as session:
                    await outbox.hand_back(session, delivery_id, tries=tries)
                raise

    async def _deliver(self, delivery_id: UUID, tries: int) -> None:
        async with self._database.transaction() as session:
            started = await outbox.begin_try(
                session,
                delivery_id,
                tries=tries,
                max_tries=self._max_tries,
                lease_seconds=self._lease_seconds,
            )
        if not started:
            return
        try:
            async with asyncio.timeout(self._task_seconds):
                await self._run(delivery_id)
        except Unavailable as error:
            logger.warning("delivery %s waits: %s", delivery_id, error.message)
            async with self._database.transaction() as session:
                await outbox.postpone(session, delivery_id, error)
        except Exception as error:
            # The edge of the worker: whatever a task raises is recorded, and the next delivery goes on.
            logger.exception("delivery %s failed", delivery_id)
            async with self._database.transaction() as session:
                await outbox.mark_failed(session, delivery_id, error, max_tries=self._max_tries)

    async def _run(self, delivery_id: UUID) -> None:
        async with self._database.transaction() as session:
            delivery = await outbox.lock_open(session, delivery_id)
            if delivery is None:
                return
            # Of what is said from here on, and of whatever the task does.
            bind_contextvars(request_id=str(delivery.event.request_id), task=delivery.task)
            task = self._tasks.get(delivery.task)
            if task is None:
                raise LookupError(f"No task is named {delivery.task}.")
            await task(session, **delivery.arguments)
            await outbox.mark_done(session, delivery_id)


class PromptWorker(Worker[Any]):
    """SAQ's worker (0.26), which would sit out its grace period for upkeep tasks that only sleep.

    There may be several in a process, so signals are not theirs.
    """

    SIGNALS: list[signal.Signals] = []  # noqa: RUF012  # read by SAQ as declared

    async def stop(self) -> None:
        self.event.set()
        for task in self.tasks:
            if task.get_name() != "process":
                task.cancel()
        await super().stop()


def build_worker(
    queue: RedisQueue,
    database: Database,
    settings: Settings,
    tasks: Tasks,
    *,
    concurrency: int = CONCURRENCY,
    task_seconds: float = TASK_TIMEOUT_SECONDS,
) -> PromptWorker:
    deliverer = Deliverer(
        database,
        tasks,
        max_tries=settings.delivery_max_tries,
        lease_seconds=settings.delivery_lease_seconds,
        task_seconds=task_seconds,
    )

    async def deliver(_context: Mapping[str, Any], *, delivery_id: str, tries: int) -> None:
        await deliverer.deliver(UUID(delivery_id), tries)

    return PromptWorker(
        queue,
        [(DELIVER, deliver)],
        concurrency=concurrency,
        dequeue_timeout=1,  # also how long an idle worker takes to stop
        shutdown_grace_period_s=SHUTDOWN_GRACE_SECONDS,
        cancellation_hard_deadline_s=HAND_BACK_SECONDS,
    )


async def run(settings: Settings, tasks: Tasks = TASKS) -> None:
    """The worker process: until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    slow_ones = os.cpu_count() or 1
    # Fewer, and tasks that need a second connection, or a third (exports), would wait for each other.
    connections = max(
        settings.database_pool_size, 2 * (CONCURRENCY + slow_ones) + 3 * LONG_ONES + SPARE_CONNECTIONS
    )
    database = open_database(settings.model_copy(update={"database_pool_size": connections}))
    lines = (
        (QUEUE_NAME, CONCURRENCY, TASK_TIMEOUT_SECONDS),
        (SLOW_QUEUE_NAME, slow_ones, TASK_TIMEOUT_SECONDS),
        (LONG_QUEUE_NAME, LONG_ONES, LONG_TASK_TIMEOUT_SECONDS),
    )
    queues = [connect_queue(settings.redis_url, name) for name, _, _ in lines]
    workers = [
        build_worker(queue, database, settings, tasks, concurrency=concurrency, task_seconds=seconds)
        for queue, (_, concurrency, seconds) in zip(queues, lines, strict=True)
    ]
    beside = asyncio.gather(
        BulkRunner(database, find_role).run(stop),
        Upkeep(database, CHORES).run(stop),
        Summaries(database, SUMMARIES).run(stop),
    )
    try:
        async with Presence(database, Kind.WORKER):
            await _run_until(stop, workers)
    finally:
        stop.set()
        await beside
        for queue in queues:
            await disconnect(queue)
        await database.close()


async def _run_until(stop: asyncio.Event, workers: Sequence[PromptWorker]) -> None:
    """If one fails, the others end, too, and the process with them."""
    running = [asyncio.create_task(worker.start()) for worker in workers]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *running], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    while not all(task.done() for task in running):
        for worker in workers:
            worker.event.set()  # again: one that has only begun to start makes itself a new one
        await asyncio.wait(running, timeout=0.1)
    for task in running:
        task.result()
