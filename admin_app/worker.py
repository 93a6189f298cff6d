"""The SAQ worker: runs every domain's tasks, each in one transaction with the mark that it is done."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from saq import Worker
from saq.queue.redis import RedisQueue

from admin_app import outbox
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import TASKS, open_database
from admin_app.events import Tasks
from admin_app.queue import connect_queue, disconnect

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

    async def deliver(self, delivery_id: UUID) -> None:
        """Nothing to do is not an error. A task that raises is kept with its reason and tried again later."""
        async with self._database.transaction() as session:
            started = await outbox.begin_try(
                session, delivery_id, max_tries=self._max_tries, lease_seconds=self._lease_seconds
            )
        if not started:
            return
        try:
            await self._run(delivery_id)
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
            await self._tasks[delivery.task](session, **delivery.arguments)
            await outbox.mark_done(session, delivery_id)


def build_worker(queue: RedisQueue, database: Database, settings: Settings, tasks: Tasks) -> Worker[Any]:
    deliverer = Deliverer(
        database,
        tasks,
        max_tries=settings.delivery_max_tries,
        lease_seconds=settings.delivery_lease_seconds,
    )

    async def deliver(_context: Mapping[str, Any], *, delivery_id: str) -> None:
        await deliverer.deliver(UUID(delivery_id))

    functions: list[tuple[str, Callable[..., Awaitable[None]]]] = [(name, deliver) for name in tasks]
    return Worker(
        queue,
        functions,
        concurrency=CONCURRENCY,
        dequeue_timeout=1,  # also how long an idle worker takes to stop
        shutdown_grace_period_s=SHUTDOWN_GRACE_SECONDS,
    )


async def run(settings: Settings, tasks: Tasks = TASKS) -> None:
    """The worker process: until SIGTERM or SIGINT."""
    database = open_database(settings)
    queue = connect_queue(settings.redis_url)
    try:
        await build_worker(queue, database, settings, tasks).start()
    finally:
        await disconnect(queue)
        await database.close()
