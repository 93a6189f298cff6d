"""A process that is told to end loses nothing, hands back what it has begun, and is not seen any more."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence

import pytest
from saq.queue.redis import RedisQueue
from sqlalchemy import func, select

from admin_app import presence
from admin_app.app import Website, create_app
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.outbox import Delivery
from admin_app.presence import Kind, processes
from admin_app.relay import Relay
from tests.crash.conftest import Healthy, Spawn
from tests.crash.effects import all_done, effects, publish
from tests.crash.waiting import eventually

LONG = 3600.0
"""A lease nobody can wait for."""


@pytest.fixture
async def website(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Website]:
    monkeypatch.setattr(presence, "PAUSE_SECONDS", 0.2)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


async def deliveries(database: Database) -> Sequence[tuple[int, int, bool, bool]]:
    """Number, tries, whether it is done, whether it is due."""
    columns = (Delivery.tries, Delivery.done_at.is_not(None), Delivery.next_try_at <= func.now())
    statement = select(Delivery.arguments["number"].as_integer(), *columns).order_by(Delivery.id)
    async with database.reading() as session:
        return [tuple(row) for row in await session.execute(statement)]


async def seen(database: Database, alive_seconds: float = 60) -> list[tuple[str, bool]]:
    async with database.reading() as session:
        found = await processes(session, alive_seconds=alive_seconds)
    return [(process.kind, is_alive) for process, is_alive in found]


async def test_a_worker_that_ends_finishes_what_is_short_and_hands_back_the_rest_at_once(
    outbox: Database, queue: RedisQueue, spawn: Spawn, healthy_worker: Healthy
) -> None:
    async def both_are_begun() -> bool:
        return [tries for _, tries, *_ in await deliveries(outbox)] == [1, 1]

    await publish(outbox, [1, 2])
    relay = Relay(outbox, queue, lease_seconds=LONG)
    seconds = json.dumps({1: 2, 2: LONG})
    one = await spawn(
        "worker", TASK_SECONDS=seconds, GRACE_SECONDS="4", DELIVERY_LEASE_SECONDS=str(int(LONG))
    )
    assert await relay.hand_over() == 2
    await eventually(both_are_begun)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        one.send_signal(number)
    assert await asyncio.to_thread(one.wait, 20) == 0
    assert await deliveries(outbox) == [(1, 1, True, False), (2, 0, False, True)]
    assert await effects(outbox) == {1: 1}

    async with healthy_worker():
        await relay.hand_over()
        await all_done(outbox)
    assert [item[:3] for item in await deliveries(outbox)] == [(1, 1, True), (2, 1, True)]
    assert await effects(outbox) == {1: 1, 2: 1}


async def test_processes_are_seen_until_they_end_or_have_been_killed_for_a_while(
    outbox: Database, queue: RedisQueue, spawn: Spawn, website: Website
) -> None:
    async def all_are_there() -> bool:
        return await seen(outbox) == [(kind, True) for kind in sorted(Kind)]

    async def only_the_worker_is_not_alive() -> bool:
        return await seen(outbox, 3) == [(Kind.WEB, True), (Kind.WORKER, False)]

    worker, relay = await spawn("worker"), await spawn("relay")
    await eventually(all_are_there)
    worker.kill()
    relay.terminate()
    assert await asyncio.to_thread(relay.wait, 5) == 0
    await eventually(only_the_worker_is_not_alive)
