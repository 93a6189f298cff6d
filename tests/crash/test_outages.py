"""Redis or PostgreSQL gone, frozen or emptied, and processes frozen: nothing is lost, nothing done twice."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import asyncpg
import psutil
import pytest
from saq.queue.redis import RedisQueue
from sqlalchemy import func, select, text

from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products.service import ProductService
from admin_app.embedded import EmbeddedServers
from admin_app.errors import OutcomeUnknown
from admin_app.outbox import Delivery, RecordedEvent
from admin_app.relay import Relay
from tests.conftest import Cast, MakeProduct
from tests.crash.conftest import LEASE_SECONDS, Healthy, Spawn, has_been_killed
from tests.crash.effects import all_done, effects, open_deliveries, publish
from tests.crash.waiting import eventually

SAVING_SECONDS = 2.0
WAITING_TO_COMMIT = "SELECT max(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


async def has_frozen(process: psutil.Process) -> None:
    async def is_stopped() -> bool:
        return process.status() == psutil.STATUS_STOPPED

    await eventually(is_stopped)


async def has_been_noticed(caplog: pytest.LogCaptureFixture) -> None:
    async def is_logged() -> bool:
        return "deliveries wait" in caplog.text

    await eventually(is_logged)


async def test_saving_answers_while_redis_is_stopped_and_is_delivered_when_it_is_back(
    servers: EmbeddedServers,
    redis_process: psutil.Process,
    queue: RedisQueue,
    database: Database,
    outbox: Database,
    cast: Cast,
    make_product: MakeProduct,
    healthy_relay: Healthy,
    healthy_worker: Healthy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with healthy_relay(), healthy_worker():
        await publish(outbox, range(5))
        redis_process.kill()
        redis_process.wait(10)
        began = monotonic()
        product = await make_product(cast.alice)
        assert monotonic() - began < SAVING_SECONDS
        await publish(outbox, range(5, 10))
        await has_been_noticed(caplog)
        await asyncio.to_thread(servers.revive)
        await all_done(outbox)
    assert await effects(outbox) == dict.fromkeys(range(10), 1)
    async with database.reading() as session:
        assert (await ProductService(session, cast.alice).get_details(product.id)).is_indexed


async def test_saving_answers_while_redis_is_frozen_and_is_delivered_when_it_thaws(
    redis_process: psutil.Process,
    queue: RedisQueue,
    database: Database,
    outbox: Database,
    cast: Cast,
    make_product: MakeProduct,
    healthy_relay: Healthy,
    healthy_worker: Healthy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with healthy_relay(), healthy_worker():
        await publish(outbox, range(5))
        with frozen(redis_process):
            began = monotonic()
            product = await make_product(cast.alice)
            assert monotonic() - began < SAVING_SECONDS
            await publish(outbox, range(5, 10))
            await has_been_noticed(caplog)
        await all_done(outbox)
    assert await effects(outbox) == dict.fromkeys(range(10), 1)
    async with database.reading() as session:
        assert (await ProductService(session, cast.alice).get_details(product.id)).is_indexed


async def test_jobs_lost_with_redis_are_handed_over_again(
    queue: RedisQueue, outbox: Database, healthy_relay: Healthy, healthy_worker: Healthy
) -> None:
    async def all_queued() -> bool:
        return await queue.count("queued") >= 20

    await publish(outbox, range(20))
    async with healthy_relay():
        await eventually(all_queued)
        await queue.redis.flushall()
        async with healthy_worker():
            await all_done(outbox)
    assert await effects(outbox) == dict.fromkeys(range(20), 1)


async def test_a_worker_frozen_past_its_lease_has_no_effect_after_another_took_over(
    queue: RedisQueue,
    outbox: Database,
    spawn: Spawn,
    healthy_relay: Healthy,
    healthy_worker: Healthy,
) -> None:
    await publish(outbox, [1])
    await Relay(outbox, queue, lease_seconds=LEASE_SECONDS).hand_over()  # once: it has no second job to lock
    sleeper = await spawn("worker has committed the begun try", "SIGSTOP")
    await has_frozen(sleeper)
    async with healthy_relay(), healthy_worker():
        await all_done(outbox)
    assert await effects(outbox) == {1: 1}
    sleeper.resume()
    assert await asyncio.to_thread(sleeper.wait, 30) == 0
    assert await effects(outbox) == {1: 1}


async def test_a_worker_frozen_at_work_keeps_its_delivery_and_finishes_it(
    queue: RedisQueue,
    outbox: Database,
    spawn: Spawn,
    healthy_relay: Healthy,
    healthy_worker: Healthy,
) -> None:
    async def others_done() -> bool:
        return await open_deliveries(outbox) == 1

    async def lease_has_ended() -> bool:
        async with outbox.reading() as session:
            open_ = select(Delivery.next_try_at < func.now()).where(Delivery.done_at.is_(None))
            return bool(await session.scalar(open_))

    await publish(outbox, [1])
    await Relay(outbox, queue, lease_seconds=LEASE_SECONDS).hand_over()
    sleeper = await spawn("worker has had the effect", "SIGSTOP")
    await has_frozen(sleeper)
    async with healthy_relay(), healthy_worker():
        await eventually(lease_has_ended)
        await publish(outbox, range(2, 8))
        await eventually(others_done)
        assert await effects(outbox) == dict.fromkeys(range(2, 8), 1)
        sleeper.resume()
        await all_done(outbox)
    assert await effects(outbox) == dict.fromkeys(range(1, 8), 1)


async def test_relay_and_worker_outlive_a_killed_postgresql(
    servers: EmbeddedServers,
    postgres_process: psutil.Process,
    queue: RedisQueue,
    outbox: Database,
    healthy_relay: Healthy,
    healthy_worker: Healthy,
) -> None:
    saved: set[int] = set()
    down, stop = asyncio.Event(), asyncio.Event()

    async def go_on_saving() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                await publish(outbox, [number])
                saved.add(number)
            except Exception:  # whatever a lost server looks like to a client
                down.set()
            await asyncio.sleep(0.01)

    async def saved_more_than(goal: int) -> None:
        async def reached() -> bool:
            return len(saved) > goal

        await eventually(reached)

    async with healthy_relay(), healthy_worker():
        saving = asyncio.create_task(go_on_saving())
        await saved_more_than(20)
        postgres_process.kill()
        await asyncio.wait_for(down.wait(), 10)
        await asyncio.to_thread(servers.revive)
        await saved_more_than(len(saved) + 20)
        stop.set()
        await saving
        await all_done(outbox)
    async with outbox.reading() as session:
        number = RecordedEvent.payload["number"].as_integer()
        committed = set(await session.scalars(select(number)))
    assert saved <= committed  # a commit whose answer got lost may have happened
    assert await effects(outbox) == dict.fromkeys(committed, 1)


async def test_two_relays_and_two_workers_share_the_work_though_one_of_each_is_killed(
    queue: RedisQueue, outbox: Database, spawn: Spawn
) -> None:
    async def half_done() -> bool:
        return await open_deliveries(outbox) < 150

    processes = [await spawn(role) for role in ("relay", "relay", "worker", "worker")]
    for first in range(0, 300, 10):
        await publish(outbox, range(first, first + 10))
    await eventually(half_done)
    for process in processes[::2]:
        process.kill()
        await has_been_killed(process)
    await all_done(outbox)
    assert await effects(outbox) == dict.fromkeys(range(300), 1)


async def test_the_textbook_way_would_leave_a_job_for_a_row_that_was_never_saved(
    settings: Settings, queue: RedisQueue, outbox: Database
) -> None:
    """Enqueue, then commit: why the outbox exists."""

    class Refused(Exception):
        pass

    with pytest.raises(Refused):
        async with outbox.transaction() as session:
            await session.execute(text("INSERT INTO test_effect (number) VALUES (1)"))
            await queue.enqueue("tell_everybody", number=1)
            raise Refused
    assert await effects(outbox) == {}
    assert await queue.count("queued") == 1


async def test_a_change_is_not_denied_when_the_connection_is_lost_while_it_is_committed(
    settings: Settings, database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    postgres = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))

    async def is_waiting() -> bool:
        return bool(await postgres.fetchval(WAITING_TO_COMMIT))

    try:
        # Committed, but not told so before a standby that does not exist has it, too.
        await postgres.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await postgres.execute("ALTER SYSTEM SET synchronous_commit = 'on'")
        await postgres.execute("SELECT pg_reload_conf()")
        saving = asyncio.create_task(make_product(cast.alice, name="Perhaps"))
        await eventually(is_waiting)
        await postgres.execute(f"SELECT pg_terminate_backend(({WAITING_TO_COMMIT}))")
        with pytest.raises(OutcomeUnknown, match="Look whether"):
            await saving
    finally:
        await postgres.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await postgres.execute("ALTER SYSTEM RESET synchronous_commit")
        await postgres.execute("SELECT pg_reload_conf()")
        await postgres.close()
    async with database.reading() as session:
        assert await session.scalar(text("SELECT count(*) FROM products WHERE name = 'Perhaps'")) == 1
