"""The SAQ queue, with a Redis client that outlives an outage: it fails soon, tries again, never hangs."""

from contextlib import suppress

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from saq.queue.redis import RedisQueue

QUEUE_NAME = "admin"
SLOW_QUEUE_NAME = "admin-slow"
"""For tasks that take seconds of a core each: a hundred pictures must not keep the search index waiting."""
LONG_QUEUE_NAME = "admin-long"
"""For tasks that take minutes, such as writing an export: nor must a thousand pictures keep those waiting."""
DELIVER = "deliver"
"""The one SAQ function: which task a delivery runs stands in the database, not in the queue."""

TASK_TIMEOUT_SECONDS = 300
LONG_TASK_TIMEOUT_SECONDS = 3600
SOCKET_TIMEOUT_SECONDS = 2


def connect_queue(redis_url: str, name: str = QUEUE_NAME, *, retries: int = 6) -> RedisQueue:
    """Nothing is sent yet. A command that finally fails raises redis.exceptions.RedisError."""
    redis = Redis.from_url(
        redis_url,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(base=0.5, cap=5), retries),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        health_check_interval=15,
    )
    return RedisQueue(redis, name=name)


async def disconnect(queue: RedisQueue) -> None:
    """SAQ's own disconnect raises when Redis is already gone."""
    with suppress(RedisError, OSError):
        await queue.disconnect()
