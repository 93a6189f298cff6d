"""Kill -9 of relay and worker between each pair of steps: every event has exactly one effect."""

import pytest
from saq.queue.redis import RedisQueue
from sqlalchemy import select

from admin_app.database import Database
from admin_app.outbox import Delivery
from tests.crash.conftest import Healthy, Spawn, has_been_killed
from tests.crash.effects import all_done, effects, open_deliveries, publish
from tests.crash.process import RELAY_STEPS, WORKER_STEPS
from tests.crash.waiting import eventually

EVENTS = range(12)
EACH_ONCE = dict.fromkeys(EVENTS, 1)


@pytest.mark.parametrize("step", RELAY_STEPS)
async def test_each_event_has_one_effect_though_killed_once_the(
    step: str,
    outbox: Database,
    queue: RedisQueue,
    spawn: Spawn,
    healthy_relay: Healthy,
    healthy_worker: Healthy,
) -> None:
    await publish(outbox, EVENTS)
    await has_been_killed(await spawn(step))
    assert await open_deliveries(outbox) == len(EVENTS)
    async with healthy_relay(), healthy_worker():
        await all_done(outbox)
    assert await effects(outbox) == EACH_ONCE


@pytest.mark.parametrize("step", WORKER_STEPS)
async def test_each_event_has_one_effect_though_killed_once_a(
    step: str,
    outbox: Database,
    queue: RedisQueue,
    spawn: Spawn,
    healthy_relay: Healthy,
    healthy_worker: Healthy,
) -> None:
    await publish(outbox, EVENTS)
    async with healthy_relay():
        await has_been_killed(await spawn(step))
        assert await open_deliveries(outbox) > 0
        async with healthy_worker():
            await all_done(outbox)
    assert await effects(outbox) == EACH_ONCE


async def test_a_task_that_kills_its_workers_is_parked_and_the_next_one_goes_on(
    outbox: Database, queue: RedisQueue, spawn: Spawn, healthy_relay: Healthy
) -> None:
    async def next_is_needed() -> bool:
        return process.poll() is not None or not await open_deliveries(outbox)

    await publish(outbox, [1])
    async with healthy_relay():
        while await open_deliveries(outbox):
            process = await spawn("worker has had the effect", DELIVERY_MAX_TRIES="2")
            await eventually(next_is_needed)
    async with outbox.reading() as session:
        delivery = (await session.scalars(select(Delivery))).one()
    assert delivery.dead_at is not None
    assert (delivery.tries, delivery.last_error) == (2, "No worker survived this task.")
    assert await effects(outbox) == {}
