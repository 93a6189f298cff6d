"""The worker: bulk operations, and tasks, each in one transaction with the mark that it is done."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from saq import Worker
from saq.queue.redis import RedisQueue

from admin_app import outbox
from admin_app.bulk.runner import BulkRunner
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import CHORES, TASKS, find_role, open_database
from admin_app.errors import Unavailable
from admin_app.events import Tasks
from admin_app.queue import DELIVER, TASK_TIMEOUT_SECONDS, connect_queue, disconnect
from admin_app.upkeep import Upkeep

CONCURRENCY = 8
SHUTDOWN_GRACE_SECONDS = 4

logger = logging.getLogger(__name__)


class Deliverer:
    """Runs a delivery's task at most once in effect, however often the delivery arrives."""

    def __init__(self, database: Database, tasks: Tasks, *, max_tries: int, lease_seconds: float) -> None:
        self._database = database
        self._tasks = tasks
        self._max_tries = max_tries
        self._lease_seconds = lease_seconds

    async def deliver(self, delivery_id: UUID, tries: int) -> None:
        """`tries` as handed over. Nothing to do is not an error.

        A task that raises is kept with its reason and tried again later; as long as it says Unavailable,
        without end.
        """
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
            async with asyncio.timeout(TASK_TIMEOUT_SECONDS):
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
            task = self._tasks.get(delivery.task)
            if task is None:
                raise LookupError(f"No task is named {delivery.task}.")
            await task(session, **delivery.arguments)
            await outbox.mark_done(session, delivery_id)


class PromptWorker(Worker[Any]):
    """SAQ's worker (0.26), which would sit out its grace period for upkeep tasks that only sleep."""

    async def stop(self) -> None:
        self.event.set()
        for task in self.tasks:
            if task.get_name() != "process":
                task.cancel()
        await super().stop()


def build_worker(queue: RedisQueue, database: Database, settings: Settings, tasks: Tasks) -> PromptWorker:
    deliverer = Deliverer(
        database,
        tasks,
        max_tries=settings.delivery_max_tries,
        lease_seconds=settings.delivery_lease_seconds,
    )

    async def deliver(_context: Mapping[str, Any], *, delivery_id: str, tries: int) -> None:
        await deliverer.deliver(UUID(delivery_id), tries)

    return PromptWorker(
        queue,
        [(DELIVER, deliver)],
        concurrency=CONCURRENCY,
        dequeue_timeout=1,  # also how long an idle worker takes to stop
        shutdown_grace_period_s=SHUTDOWN_GRACE_SECONDS,
    )


async def run(settings: Settings, tasks: Tasks = TASKS) -> None:
    """The worker process: until SIGTERM or SIGINT."""
    database = open_database(settings)
    queue = connect_queue(settings.redis_url)
    stop = asyncio.Event()
    beside = asyncio.gather(BulkRunner(database, find_role).run(stop), Upkeep(database, CHORES).run(stop))
    try:
        await build_worker(queue, database, settings, tasks).start()
    finally:
        stop.set()
        await beside
        await disconnect(queue)
        await database.close()
