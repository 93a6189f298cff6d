"""What is in the queues just now, and which deliveries workers are at."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError
from saq import Status
from saq.queue.redis import RedisQueue

from admin_app.queue import LONG_QUEUE_NAME, QUEUE_NAME, SLOW_QUEUE_NAME, connect_queue

LOOK_SECONDS = 1.0
MAX_JOBS = 50
"""Of each queue; a worker is at fewer at once."""

NAMES = {
    QUEUE_NAME: "Quick tasks",
    SLOW_QUEUE_NAME: "Tasks of seconds",
    LONG_QUEUE_NAME: "Tasks of minutes",
}


@dataclass(frozen=True)
class WorkedJob:
    """`tries` is how many there were before this one."""

    delivery_id: UUID
    since: datetime
    tries: int


@dataclass(frozen=True)
class QueueState:
    """`scheduled` is what is neither in the queue nor in work and not over yet."""

    name: str
    queued: int
    active: int
    scheduled: int
    jobs: Sequence[WorkedJob]


async def look(redis_url: str) -> list[QueueState] | None:
    """None if the queues cannot be reached within LOOK_SECONDS."""
    redis = connect_queue(redis_url, retries=0).redis
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return [await _look_at(redis, name) for name in NAMES]
    except (RedisError, OSError, TimeoutError):
        return None
    finally:
        await redis.aclose()  # SAQ's own disconnect would connect once more


async def _look_at(redis: Redis, name: str) -> QueueState:
    info = await RedisQueue(redis, name=name).info(jobs=True, limit=MAX_JOBS)
    jobs = [_worked(job) for job in info["jobs"] if job.get("status") == Status.ACTIVE]
    return QueueState(
        NAMES[name],
        info["queued"],
        info["active"],
        max(0, info["scheduled"]),  # three numbers read one after the other
        [job for job in jobs if job is not None],
    )


def _worked(job: dict[str, Any]) -> WorkedJob | None:
    """None for what is no delivery."""
    with suppress(KeyError, TypeError, ValueError):
        given = job["kwargs"]
        since = datetime.fromtimestamp(job["started"] / 1000, UTC)
        return WorkedJob(UUID(given["delivery_id"]), since, int(given["tries"]))
    return None
