"""The relay between a real PostgreSQL and a real Valkey."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from redis.exceptions import RedisError
from saq.queue.redis import RedisQueue
from sqlalchemy import func, select, text, update

from admin_app import relay
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.outbox import Delivery
from admin_app.queue import connect_queue, disconnect
from admin_app.relay import Relay
from tests.crash.effects import NOTE_EFFECT, effect_database, publish
from tests.crash.waiting import eventually

LONG = 3600.0
TERMINATE_OTHERS = text("""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
""")


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with effect_database(settings) as database:
        yield database


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[RedisQueue]:
    queue = connect_queue(settings.redis_url)
    await queue.redis.flushall()
    yield queue
    await disconnect(queue)


@asynccontextmanager
async def running(one: Relay) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(one.run(stop))
    yield
    stop.set()
    await asyncio.wait_for(task, 10)


async def due(database: Database) -> int:
    async with database.reading() as session:
        return await session.scalar(
            select(func.count()).select_from(Delivery).where(Delivery.next_try_at <= func.now())
        )


async def end_leases(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(Delivery).values(next_try_at=func.now()))


async def test_each_due_delivery_becomes_one_job(database: Database, queue: RedisQueue) -> None:
    await publish(database, range(3))
    assert await Relay(database, queue, lease_seconds=LONG).hand_over() == 3
    assert await queue.count("queued") == 3
    assert await Relay(database, queue, lease_seconds=LONG).hand_over() == 0


async def test_handing_over_leases_a_delivery_and_does_not_count_as_done(
    database: Database, queue: RedisQueue
) -> None:
    await publish(database, [1])
    await Relay(database, queue, lease_seconds=LONG).hand_over()
    async with database.reading() as session:
        delivery = (await session.scalars(select(Delivery))).one()
        lease = delivery.next_try_at - await session.scalar(select(func.now()))
    assert delivery.done_at is None
    assert delivery.tries == 0
    assert timedelta(seconds=LONG - 600) < lease <= timedelta(seconds=LONG)


async def test_a_delivery_is_leased_before_a_worker_can_see_its_job(
    database: Database, queue: RedisQueue
) -> None:
    """A worker passes over what is locked; it must never meet the relay's own lock."""
    await publish(database, [1])

    class Observer:
        locked: bool | None = None

        async def count(self, kind: str) -> int:
            return await queue.count(kind)

        async def enqueue(self, *arguments, **options):
            async with database.transaction() as session:
                statement = select(Delivery.id).with_for_update(skip_locked=True)
                self.locked = (await session.scalars(statement)).one_or_none() is None
            return await queue.enqueue(*arguments, **options)

    observer = Observer()
    await Relay(database, observer, lease_seconds=LONG).hand_over()
    assert observer.locked is False
    assert await due(database) == 0


async def test_a_delivery_whose_job_died_with_its_worker_is_enqueued_again(
    database: Database, queue: RedisQueue
) -> None:
    """SAQ keeps the dead worker's job as active for minutes, and refuses its key meanwhile."""
    await publish(database, [1])
    await Relay(database, queue, lease_seconds=LONG).hand_over()
    assert await queue.dequeue(timeout=1)
    assert await queue.count("active") == 1
    await end_leases(database)
    await Relay(database, queue, lease_seconds=LONG).hand_over()
    assert await queue.count("queued") == 1


async def test_a_full_queue_leaves_the_rest_due_in_the_database(
    database: Database, queue: RedisQueue
) -> None:
    await publish(database, range(5))
    one = Relay(database, queue, lease_seconds=LONG, max_queued=2)
    assert [await one.hand_over(), await one.hand_over()] == [2, 0]
    assert await queue.count("queued") == 2
    assert await due(database) == 3


async def test_nothing_is_leased_while_the_queue_cannot_be_reached(
    database: Database, tmp_path: Path
) -> None:
    await publish(database, range(3))
    gone = connect_queue(f"unix://{tmp_path}/gone.sock", retries=0)
    with pytest.raises(RedisError):
        await Relay(database, gone, lease_seconds=LONG).hand_over()
    assert await due(database) == 3
    await disconnect(gone)


async def test_a_notification_wakes_the_relay_long_before_it_would_poll(
    database: Database, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handed_over() -> bool:
        return await queue.count("queued") == number

    monkeypatch.setattr(relay, "POLL_SECONDS", LONG)
    async with running(Relay(database, queue, lease_seconds=LONG)):
        for number in (1, 2, 3):
            await publish(database, [number])
            await eventually(handed_over)


async def test_a_delivery_that_becomes_due_without_notification_is_found_by_polling(
    database: Database, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handed_over_again() -> bool:
        return await queue.count("queued") == 2

    monkeypatch.setattr(relay, "POLL_SECONDS", 0.05)
    await publish(database, [1])
    await Relay(database, queue, lease_seconds=0.3).hand_over()
    async with running(Relay(database, queue, lease_seconds=LONG)):
        await eventually(handed_over_again)


async def test_more_than_one_batch_is_handed_over_without_pausing(
    database: Database, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def all_handed_over() -> bool:
        return await queue.count("queued") == 25

    monkeypatch.setattr(relay, "BATCH", 10)
    monkeypatch.setattr(relay, "POLL_SECONDS", LONG)
    await publish(database, range(25))
    async with running(Relay(database, queue, lease_seconds=LONG)):
        await eventually(all_handed_over)


async def test_two_relays_hand_each_delivery_over_once(
    database: Database, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def all_leased() -> bool:
        return await due(database) == 0

    monkeypatch.setattr(relay, "BATCH", 10)
    await publish(database, range(100))
    one, other = (Relay(database, queue, lease_seconds=LONG) for _ in range(2))
    async with running(one), running(other):
        await eventually(all_leased)
    assert await queue.count("queued") == 100


async def test_the_relay_outlives_a_lost_database_connection(
    database: Database, queue: RedisQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handed_over() -> bool:
        return await queue.count("queued") == number

    monkeypatch.setattr(relay, "POLL_SECONDS", 0.05)
    own = Database(settings.database_url, pool_size=3)
    number = 0
    async with running(Relay(own, queue, lease_seconds=LONG)):
        for number in (1, 2):
            await publish(database, [number])
            await eventually(handed_over)
            async with database.transaction() as session:
                await session.execute(TERMINATE_OTHERS)
    await own.close()


async def test_one_hands_over_some_tasks_and_another_all_but_these(
    database: Database, queue: RedisQueue
) -> None:
    await publish(database, range(3))
    assert await Relay(database, queue, lease_seconds=LONG, tasks=["another"]).hand_over() == 0
    assert await Relay(database, queue, lease_seconds=LONG, but=[NOTE_EFFECT]).hand_over() == 0
    assert (
        await Relay(database, queue, lease_seconds=LONG, tasks=[NOTE_EFFECT], max_queued=2).hand_over() == 2
    )
    assert await Relay(database, queue, lease_seconds=LONG, but=["another"]).hand_over() == 1
