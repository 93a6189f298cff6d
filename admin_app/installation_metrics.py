"""What PostgreSQL and Redis tell of the whole installation, as families of metrics."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from redis.asyncio import Redis
from saq.queue.redis import RedisQueue
from sqlalchemy import Select, case, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.bulk.models import ACTIVE, BulkOperation
from admin_app.database import Database, limit_time
from admin_app.outbox import Delivery
from admin_app.presence import Kind, processes
from admin_app.queue import LONG_QUEUE_NAME, QUEUE_NAME, SLOW_QUEUE_NAME
from admin_app.upkeep import ChoreRun

LIMIT_SECONDS = 1.0
MAX_COUNTED = 100_000
RECENT_SECONDS = 60

WAITING, RUNNING, FAILING, PARKED = "waiting", "running", "failing", "parked"


async def read_database(database: Database) -> Sequence[Metric]:
    async with asyncio.timeout(LIMIT_SECONDS), database.reading() as session:
        await limit_time(session, LIMIT_SECONDS)
        return [
            *await _open_deliveries(session),
            *await _done_deliveries(session),
            *await _bulk_operations(session),
            await _processes(session),
            await _chores(session),
        ]


async def _open_deliveries(session: AsyncSession) -> Sequence[Metric]:
    is_waiting = (Delivery.tries == 0) & Delivery.last_error.is_(None)
    stage = case(
        (Delivery.dead_at.is_not(None), PARKED),
        (Delivery.last_error.is_not(None), FAILING),
        (is_waiting, WAITING),
        else_=RUNNING,
    )
    columns = select(Delivery.task, stage.label("stage"), Delivery.created_at)
    # In the order of their indexes: else PostgreSQL may look for them among all that are done.
    is_open = Delivery.done_at.is_(None) & Delivery.dead_at.is_(None)
    opened = columns.where(is_open).order_by(Delivery.next_try_at).limit(MAX_COUNTED)
    parked = columns.where(Delivery.dead_at.is_not(None)).order_by(Delivery.dead_at).limit(MAX_COUNTED)
    found = union_all(_parenthesised(opened), _parenthesised(parked)).subquery()
    age = func.extract("epoch", func.now() - func.min(found.c.created_at))
    grouped = select(found.c.task, found.c.stage, func.count(), age).group_by(found.c.task, found.c.stage)
    number = GaugeMetricFamily(
        "admin_app_deliveries",
        f"Tasks that are not done; at most {MAX_COUNTED:,} are counted. Waiting: no worker has begun. "
        "Failing: will be tried again. Parked: given up, look at the jobs page. Alert on parked ones.",
        labels=("task", "state"),
    )
    lag = GaugeMetricFamily(
        "admin_app_outbox_lag_seconds",
        "Age of the oldest task that no worker has begun. Alert above a minute: nobody works, or too few do.",
    )
    oldest = 0.0
    for task, state, count, seconds in await session.execute(grouped):
        number.add_metric((task, state), count)
        if state == WAITING:
            oldest = max(oldest, float(seconds))
    lag.add_metric((), oldest)
    return [number, lag]


def _parenthesised(statement: Select[tuple[str, str, object]]) -> Select[tuple[str, str, object]]:
    """So that it may have an order and a limit of its own within a union."""
    return select(statement.subquery())


async def _done_deliveries(session: AsyncSession) -> Sequence[Metric]:
    since = func.now() - timedelta(seconds=RECENT_SECONDS)
    took = func.avg(func.extract("epoch", Delivery.done_at - Delivery.created_at))
    recent = select(Delivery.task, func.count(), took).where(Delivery.done_at > since).group_by(Delivery.task)
    done = GaugeMetricFamily(
        "admin_app_deliveries_done_last_minute", "Tasks done in the last 60 seconds.", labels=("task",)
    )
    seconds = GaugeMetricFamily(
        "admin_app_delivery_average_seconds",
        "From asking for a task to its being done, on average of the last 60 seconds.",
        labels=("task",),
    )
    for task, count, average in await session.execute(recent):
        done.add_metric((task,), count)
        seconds.add_metric((task,), float(average))
    return [done, seconds]


async def _bulk_operations(session: AsyncSession) -> Sequence[Metric]:
    active = (
        select(BulkOperation.action, BulkOperation.state, func.count())
        .where(BulkOperation.state.in_(ACTIVE))
        .group_by(BulkOperation.action, BulkOperation.state)
    )
    operations = GaugeMetricFamily(
        "admin_app_bulk_operations",
        "Bulk operations under way, imports that are being written among them.",
        labels=("action", "state"),
    )
    for action, state, count in await session.execute(active):
        operations.add_metric((action, state), count)
    # Operations are never deleted, and what is done stays done: this only grows.
    total = await session.scalar(select(func.coalesce(func.sum(BulkOperation.done), 0)))
    rows = CounterMetricFamily(
        "admin_app_bulk_rows_done",
        "Rows changed by bulk operations. Alert when its rate is 0 while operations are running.",
        value=float(total or 0),
    )
    return [operations, rows]


async def _processes(session: AsyncSession) -> Metric:
    family = GaugeMetricFamily(
        "admin_app_processes",
        "Processes seen in the last 35 seconds, by kind. Alert when there are fewer than you started.",
        labels=("kind",),
    )
    alive = [process.kind for process, is_alive in await processes(session) if is_alive]
    for kind in Kind:
        family.add_metric((kind,), alive.count(kind))
    return family


async def _chores(session: AsyncSession) -> Metric:
    family = GaugeMetricFamily(
        "admin_app_chore_last_run_timestamp_seconds",
        "When a chore, such as deleting what is too old, was done last. Alert when that was a day ago.",
        labels=("chore",),
    )
    at = func.extract("epoch", ChoreRun.ran_at)
    for name, seconds in await session.execute(select(ChoreRun.name, at)):
        family.add_metric((name,), float(seconds))
    return family


async def read_queue(redis: Redis) -> Sequence[Metric]:
    family = GaugeMetricFamily(
        "admin_app_queue_jobs",
        "Jobs in Redis. More wait in PostgreSQL, so alert on admin_app_outbox_lag_seconds instead.",
        labels=("queue", "state"),
    )
    async with asyncio.timeout(LIMIT_SECONDS):
        for name in (QUEUE_NAME, SLOW_QUEUE_NAME, LONG_QUEUE_NAME):
            queue = RedisQueue(redis, name=name)
            family.add_metric((name, "queued"), await queue.count("queued"))
            family.add_metric((name, "active"), await queue.count("active"))
    return [family]
