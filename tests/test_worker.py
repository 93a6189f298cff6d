"""The worker's side of a delivery: one effect however often it arrives, and every failure kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from saq.queue.redis import RedisQueue
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import outbox, worker
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.errors import Unavailable
from admin_app.events import Tasks
from admin_app.outbox import Delivery
from admin_app.queue import connect_queue, disconnect
from admin_app.relay import Relay
from admin_app.worker import Deliverer, build_worker
from tests.crash.effects import (
    NOTE_EFFECT,
    TASKS,
    all_done,
    effect_database,
    effects,
    note_effect,
    publish,
)
from tests.crash.waiting import eventually

LONG = 3600.0


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with effect_database(settings) as database:
        yield database


@pytest.fixture
async def delivery_id(database: Database) -> UUID:
    await publish(database, [1])
    async with database.reading() as session:
        return (await session.scalars(select(Delivery.id))).one()


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[RedisQueue]:
    queue = connect_queue(settings.redis_url)
    await queue.redis.flushall()
    yield queue
    await disconnect(queue)


def deliverer(database: Database, tasks: Tasks = TASKS, *, max_tries: int = 3) -> Deliverer:
    return Deliverer(database, tasks, max_tries=max_tries, lease_seconds=LONG)


async def load(database: Database, delivery_id: UUID) -> Delivery:
    async with database.reading() as session:
        return await session.get_one(Delivery, delivery_id)


@asynccontextmanager
async def running(queue: RedisQueue, database: Database, settings: Settings) -> AsyncIterator[None]:
    one = build_worker(queue, database, settings, TASKS)
    one.SIGNALS = []
    task = asyncio.create_task(one.start())
    yield
    await one.stop()
    await asyncio.wait_for(task, 10)


async def test_a_delivery_takes_effect_and_is_done(database: Database, delivery_id: UUID) -> None:
    await deliverer(database).deliver(delivery_id, 0)
    delivery = await load(database, delivery_id)
    assert (delivery.tries, delivery.dead_at, delivery.last_error) == (1, None, None)
    assert delivery.done_at is not None
    assert await effects(database) == {1: 1}


async def test_a_delivery_that_arrives_again_has_no_second_effect(
    database: Database, delivery_id: UUID
) -> None:
    for tries in (0, 0, 1):
        await deliverer(database).deliver(delivery_id, tries)
    assert await effects(database) == {1: 1}


async def test_a_delivery_that_arrives_many_times_at_once_has_one_effect(
    database: Database, delivery_id: UUID
) -> None:
    one = deliverer(database)
    await asyncio.gather(*(one.deliver(delivery_id, tries) for tries in (0, 1, 2) for _ in range(3)))
    async with database.transaction() as session:
        tries = await session.scalar(select(Delivery.tries))
    await one.deliver(delivery_id, tries)
    assert await effects(database) == {1: 1}


async def test_a_task_that_raises_has_no_effect_and_its_reason_is_kept(
    database: Database, delivery_id: UUID
) -> None:
    async def fail_late(session: AsyncSession, number: int) -> None:
        await note_effect(session, number)
        raise RuntimeError("the search server is away")

    await deliverer(database, {NOTE_EFFECT: fail_late}).deliver(delivery_id, 0)
    assert await effects(database) == {}
    delivery = await load(database, delivery_id)
    assert (delivery.done_at, delivery.dead_at) == (None, None)
    assert (delivery.tries, delivery.last_error) == (1, "RuntimeError: the search server is away")

    await deliverer(database).deliver(delivery_id, 1)
    assert await effects(database) == {1: 1}
    assert (await load(database, delivery_id)).last_error is None


async def test_a_task_that_breaks_its_own_transaction_is_kept_with_its_reason(
    database: Database, delivery_id: UUID
) -> None:
    async def violate(session: AsyncSession, number: int) -> None:
        await session.execute(text("INSERT INTO test_effect (number) VALUES (NULL)"))

    await deliverer(database, {NOTE_EFFECT: violate}).deliver(delivery_id, 0)
    assert (await load(database, delivery_id)).last_error == "NotNullViolationError: SQLSTATE 23502"


async def test_a_task_that_always_fails_is_parked_after_its_last_try(
    database: Database, delivery_id: UUID
) -> None:
    async def fail(session: AsyncSession, number: int) -> None:
        raise RuntimeError("never")

    for tries in range(5):
        await deliverer(database, {NOTE_EFFECT: fail}, max_tries=3).deliver(delivery_id, tries)
    delivery = await load(database, delivery_id)
    assert (delivery.tries, delivery.last_error) == (3, "RuntimeError: never")
    assert delivery.dead_at is not None


async def test_a_task_that_finds_something_unavailable_is_tried_until_it_is_there(
    database: Database, delivery_id: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    async def be_away(session: AsyncSession, number: int) -> None:
        await note_effect(session, number)
        raise Unavailable("The search server does not answer.")

    for _ in range(5):
        await deliverer(database, {NOTE_EFFECT: be_away}, max_tries=1).deliver(delivery_id, 0)
        delivery = await load(database, delivery_id)
        assert (delivery.tries, delivery.dead_at, delivery.done_at) == (0, None, None)
        assert delivery.last_error == "Unavailable: The search server does not answer."
        async with database.reading() as session:
            now = (await session.scalars(select(func.now()))).one()
        assert now < delivery.next_try_at < now + timedelta(seconds=outbox.MAX_OUTAGE_PAUSE_SECONDS)
    assert await effects(database) == {}
    assert {record.levelname for record in caplog.records if record.name == worker.__name__} == {"WARNING"}

    await deliverer(database, max_tries=1).deliver(delivery_id, 0)
    assert await effects(database) == {1: 1}
    delivery = await load(database, delivery_id)
    assert delivery.done_at is not None
    assert (delivery.tries, delivery.last_error) == (1, None)


async def test_the_longer_something_is_unavailable_the_rarer_it_is_tried(
    database: Database, delivery_id: UUID
) -> None:
    async def be_away(session: AsyncSession, number: int) -> None:
        raise Unavailable("away")

    pauses = []
    for ago in (timedelta(0), timedelta(minutes=2), timedelta(days=2)):
        async with database.transaction() as session:
            await session.execute(update(Delivery).values(created_at=func.now() - ago))
        await deliverer(database, {NOTE_EFFECT: be_away}).deliver(delivery_id, 0)
        async with database.reading() as session:
            pause = await session.scalar(select(Delivery.next_try_at - func.now()))
        assert pause is not None
        pauses.append(pause.total_seconds())
    assert 0 < pauses[0] <= 2
    assert 14 <= pauses[1] <= 30
    assert 29 <= pauses[2] <= outbox.MAX_OUTAGE_PAUSE_SECONDS


async def test_a_task_that_was_done_by_another_meanwhile_is_not_postponed(
    database: Database, delivery_id: UUID
) -> None:
    async with database.transaction() as session:
        await outbox.mark_done(session, delivery_id)
    done = await load(database, delivery_id)
    async with database.transaction() as session:
        await outbox.postpone(session, delivery_id, Unavailable("away"))
    delivery = await load(database, delivery_id)
    assert (delivery.done_at, delivery.last_error) == (done.done_at, None)
    assert delivery.next_try_at == done.next_try_at


async def test_a_task_nobody_knows_is_kept_with_its_reason(database: Database, delivery_id: UUID) -> None:
    await deliverer(database, {}).deliver(delivery_id, 0)
    assert (await load(database, delivery_id)).last_error == "LookupError: No task is named note_effect."


async def test_a_task_that_hangs_is_stopped_and_kept_with_its_reason(
    database: Database, delivery_id: UUID
) -> None:
    async def hang(session: AsyncSession, number: int) -> None:
        await note_effect(session, number)
        await asyncio.Event().wait()

    impatient = Deliverer(database, {NOTE_EFFECT: hang}, max_tries=3, lease_seconds=LONG, task_seconds=0.1)
    await impatient.deliver(delivery_id, 0)
    assert await effects(database) == {}
    assert ((await load(database, delivery_id)).last_error or "").startswith("TimeoutError")


async def test_a_delivery_being_worked_on_is_left_alone_however_long_it_takes(
    database: Database, delivery_id: UUID
) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def take_long(session: AsyncSession, number: int) -> None:
        started.set()
        await finish.wait()
        await note_effect(session, number)

    first = asyncio.create_task(deliverer(database, {NOTE_EFFECT: take_long}).deliver(delivery_id, 0))
    await started.wait()
    await deliverer(database).deliver(delivery_id, 1)
    assert await effects(database) == {}
    finish.set()
    await first
    assert await effects(database) == {1: 1}


async def test_a_worker_takes_every_delivery_at_its_first_hand_over(
    database: Database, queue: RedisQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the worker passed over would have to wait for the end of an hour's lease."""
    monkeypatch.setattr(worker, "SHUTDOWN_GRACE_SECONDS", 0)
    relay = Relay(database, queue, lease_seconds=LONG)
    async with running(queue, database, settings):
        await publish(database, range(100))
        await relay.hand_over()
        await all_done(database)
    assert await effects(database) == dict.fromkeys(range(100), 1)


async def test_a_job_for_a_row_that_is_gone_does_not_disturb_the_worker(
    database: Database, delivery_id: UUID, queue: RedisQueue, settings: Settings, monkeypatch
) -> None:
    monkeypatch.setattr(worker, "SHUTDOWN_GRACE_SECONDS", 0)
    relay = Relay(database, queue, lease_seconds=LONG)
    await relay.hand_over()
    async with database.transaction() as session:
        await session.execute(text("TRUNCATE event, delivery"))
    async with running(queue, database, settings):
        await publish(database, [2])
        await relay.hand_over()
        await all_done(database)
    assert await effects(database) == {2: 1}


async def test_an_idle_worker_stops_without_sitting_out_its_grace_period(
    database: Database, queue: RedisQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_up() -> bool:
        return await queue.redis.zcard("saq:admin:stats") == 1

    monkeypatch.setattr(worker, "SHUTDOWN_GRACE_SECONDS", 600)
    async with asyncio.timeout(60), running(queue, database, settings):
        await eventually(is_up)


async def test_a_delivery_left_by_dead_workers_is_parked_not_tried_for_ever(
    database: Database, delivery_id: UUID
) -> None:
    async with database.transaction() as session:
        await session.execute(update(Delivery).values(tries=3, next_try_at=func.now()))
    await deliverer(database, max_tries=3).deliver(delivery_id, 3)
    delivery = await load(database, delivery_id)
    assert delivery.last_error == "No worker survived this task."
    assert delivery.dead_at is not None
    assert await effects(database) == {}
