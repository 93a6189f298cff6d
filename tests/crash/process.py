"""A relay or a worker that signals itself at a named step: `python -m tests.crash.process STEP SIGNAL`.

The step tells which of the two it is. With the step "relay" or "worker" nothing happens to it. What to
connect to comes from the environment, as for the application itself; so do BULK_CHUNK, the rows a worker
changes at once, BULK_IDLE_SECONDS, after which PostgreSQL gives up on a worker that is frozen, TASK_SECONDS,
how long each effect takes by its number (JSON), and GRACE_SECONDS, how long tasks may take yet at the end.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from saq.queue.redis import RedisQueue
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import outbox, presence, relay, worker
from admin_app.bulk import items, runner
from admin_app.bulk.runner import BulkRunner
from admin_app.config import load_settings
from admin_app.domains.products import image_tasks
from admin_app.relay import Relay
from admin_app.storage import Storage
from admin_app.worker import Deliverer
from tests.crash import effects


class Step(NamedTuple):
    """Before or after a coroutine function, the first time it has something to do."""

    moment: str
    owner: Any
    name: str


RELAY_STEPS = {
    "relay has locked deliveries": Step("after", outbox, "lock_due"),
    "relay has leased them but not committed": Step("after", outbox, "lease"),
    "relay has committed but enqueued nothing": Step("before", Relay, "_enqueue"),
    "relay has enqueued the first": Step("after", Relay, "_enqueue"),
    "relay has enqueued all": Step("after", Relay, "hand_over"),
}
WORKER_STEPS = {
    "worker has taken a job from the queue": Step("after", RedisQueue, "dequeue"),
    "worker has not yet begun the try": Step("before", outbox, "begin_try"),
    "worker has begun the try but not committed": Step("after", outbox, "begin_try"),
    "worker has committed the begun try": Step("before", Deliverer, "_run"),
    "worker has had the effect": Step("after", effects, "note_effect"),
    "worker has marked it done": Step("after", outbox, "mark_done"),
    "worker has committed effect and mark": Step("after", Deliverer, "_run"),
}
BULK_STEPS = {
    "worker has written the rows down but not committed": Step("after", items, "freeze"),
    "worker has committed the rows it wrote down": Step("after", BulkRunner, "step"),
    "worker has changed rows but not told so": Step("before", items, "conclude"),
    "worker has told what it changed but not committed": Step("after", items, "conclude"),
}
IMAGE_STEPS = {
    "worker has begun with a picture": Step("before", image_tasks, "convert"),
    "worker has converted it but stored nothing": Step("after", image_tasks, "convert"),
    "worker has stored the first file": Step("after", Storage, "put"),
    "worker has stored all files": Step("after", image_tasks, "_store"),
    "worker has made it ready but not committed": Step("before", outbox, "mark_done"),
    "worker has committed that it is ready": Step("after", Deliverer, "_run"),
}
STEPS = RELAY_STEPS | WORKER_STEPS | BULK_STEPS | IMAGE_STEPS
NOTHING = (None, 0, False, [])
"""What these functions return when they found nothing to do; all others always have something to do."""
MAY_BE_IDLE = {"lock_due", "hand_over", "dequeue", "begin_try", "step"}


def arm(step: Step, strike: Callable[[], None]) -> None:
    original = getattr(step.owner, step.name)
    armed = True

    async def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal armed
        if armed and step.moment == "before":
            armed = False
            strike()
            # Only who was frozen and thawed gets here: it goes on, and ends to show that it did.
            await original(*arguments, **options)
            os._exit(0)
        result = await original(*arguments, **options)
        if armed and step.moment == "after" and not (step.name in MAY_BE_IDLE and result in NOTHING):
            armed = False
            strike()
        return result

    setattr(step.owner, step.name, wrapped)


async def note_slowly(session: AsyncSession, number: int) -> None:
    await effects.note_effect(session, number)
    await asyncio.sleep(json.loads(os.environ.get("TASK_SECONDS", "{}")).get(str(number), 0))


async def main(step: str, signal_name: str) -> None:
    if step in STEPS:
        number = signal.Signals[signal_name]
        arm(STEPS[step], lambda: os.kill(os.getpid(), number))
    if chunk := os.environ.get("BULK_CHUNK"):
        worker.BulkRunner = partial(BulkRunner, chunk=int(chunk))
    worker.SHUTDOWN_GRACE_SECONDS = int(os.environ.get("GRACE_SECONDS", worker.SHUTDOWN_GRACE_SECONDS))
    presence.PAUSE_SECONDS = 0.2
    runner.IDLE_SECONDS = int(os.environ.get("BULK_IDLE_SECONDS", runner.IDLE_SECONDS))
    settings = load_settings()
    if step == "relay" or step in RELAY_STEPS:
        await relay.run(settings, image_tasks.TASKS)
    else:
        await worker.run(settings, {**image_tasks.TASKS, effects.NOTE_EFFECT: note_slowly})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
