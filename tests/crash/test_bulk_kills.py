"""Bulk operations whose worker, database or queue is killed: each row is done once, and told as it is."""

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from admin_app.bulk.models import BulkOperation, State
from admin_app.bulk.runner import IDLE_SECONDS
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.embedded import EmbeddedServers
from tests.bulk.operations import Operations, make_products
from tests.conftest import Cast
from tests.crash.conftest import Spawn, has_been_killed
from tests.crash.process import BULK_STEPS
from tests.crash.test_outages import has_frozen
from tests.crash.waiting import eventually

RESUMED_SECONDS = 30
"""In which an operation goes on by itself."""

MINE, FOREIGN = 3000, 100
CHUNK = "40"


class Watched:
    """An operation over many products, some of them somebody else's, and how far it is."""

    def __init__(self, operations: Operations, operation_id: UUID) -> None:
        self.operations = operations
        self.id = operation_id

    async def is_beyond(self, number: int) -> bool:
        operation = await self._find()
        return operation is not None and operation.started_at is not None and _processed(operation) > number

    async def has_ended(self) -> bool:
        operation = await self._find()
        return operation is not None and operation.state is State.FINISHED

    async def goes_on(self) -> None:
        """Within the time that is promised."""
        operation = await self.operations.get(self.id)
        if operation.state is not State.FINISHED:
            async with asyncio.timeout(RESUMED_SECONDS):
                await eventually(
                    partial(self.is_beyond, _processed(operation) if operation.started_at else -1)
                )

    async def was_done_once(self, mine: int, foreign: int = 0) -> None:
        await eventually(self.has_ended)
        operation = await self.operations.truth(self.id)
        assert (operation.total, operation.done, operation.failed) == (mine + foreign, mine, 0)
        assert operation.reasons == ({"skipped": {"not yours": foreign}} if foreign else {})

    async def _find(self) -> BulkOperation | None:
        try:
            return await self.operations.get(self.id)
        except Exception:  # whatever a lost server looks like to a client
            return None


def _processed(operation: BulkOperation) -> int:
    return operation.total - operation.left


async def begin(database: Database, cast: Cast, mine: int, foreign: int = 0) -> Watched:
    operations = Operations(database)
    await make_products(database, cast.alice, mine)
    if foreign:
        await make_products(database, cast.bob, foreign)
    return Watched(operations, await operations.start(cast.alice, "deactivate", "search=anvil"))


@asynccontextmanager
async def kept_alive(spawn: Spawn) -> AsyncIterator[None]:
    """A worker that is started again when it ends, as the supervisor does."""

    async def keep() -> None:
        process = await spawn("worker", BULK_CHUNK=CHUNK)
        while True:
            if process.poll() is not None:
                process = await spawn("worker", BULK_CHUNK=CHUNK)
            await asyncio.sleep(0.1)

    keeper = asyncio.create_task(keep())
    yield
    keeper.cancel()


@pytest.mark.parametrize("step", BULK_STEPS)
async def test_each_row_is_done_once_though_killed_once_the(
    step: str, database: Database, cast: Cast, spawn: Spawn
) -> None:
    operation = await begin(database, cast, 100, 5)
    await has_been_killed(await spawn(step, BULK_CHUNK=CHUNK))
    await spawn("worker", BULK_CHUNK=CHUNK)
    await operation.goes_on()
    await operation.was_done_once(100, 5)


async def test_each_row_is_done_once_though_workers_are_killed_at_any_moment(
    database: Database, cast: Cast, spawn: Spawn
) -> None:
    operation = await begin(database, cast, MINE, FOREIGN)
    process = await spawn("worker", BULK_CHUNK=CHUNK)
    for number in sorted(random.sample(range(MINE - 200), 4)):
        await eventually(partial(operation.is_beyond, number))
        await asyncio.sleep(random.uniform(0, 0.02))  # anywhere in the chunk
        process.kill()
        await has_been_killed(process)
        process = await spawn("worker", BULK_CHUNK=CHUNK)
        await operation.goes_on()
    await operation.was_done_once(MINE, FOREIGN)


async def test_each_row_is_done_once_though_postgresql_and_valkey_are_killed(
    servers: EmbeddedServers,
    settings: Settings,
    redis_process: psutil.Process,
    database: Database,
    cast: Cast,
    spawn: Spawn,
) -> None:
    def postgres() -> psutil.Process:
        first, *_ = (settings.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
        return psutil.Process(int(first))

    operation = await begin(database, cast, MINE, FOREIGN)
    early, middle, late = sorted(random.sample(range(MINE - 200), 3))
    async with kept_alive(spawn):
        for number, victim in ((early, postgres), (middle, lambda: redis_process), (late, postgres)):
            await eventually(partial(operation.is_beyond, number))
            process = victim()
            if process == redis_process:
                process.kill()
                process.wait(10)
                _forget(settings.data_dir / "valkey")
            else:
                process.send_signal(signal.SIGQUIT)  # its "immediate" stop
                process.wait(10)
            await asyncio.to_thread(servers.revive)
            await _answers(operation)
            await operation.goes_on()
        await operation.was_done_once(MINE, FOREIGN)


async def test_another_worker_takes_over_from_one_that_is_frozen_at_work(
    database: Database, cast: Cast, spawn: Spawn, tmp_path: Path
) -> None:
    async def has_noticed() -> bool:
        return "bulk operations wait" in (tmp_path / "process-0.log").read_text()

    assert IDLE_SECONDS < RESUMED_SECONDS
    operation = await begin(database, cast, 100)
    frozen = await spawn(
        "worker has told what it changed but not committed",
        "SIGSTOP",
        BULK_CHUNK=CHUNK,
        BULK_IDLE_SECONDS="3",
    )
    await has_frozen(frozen)
    await spawn("worker", BULK_CHUNK=CHUNK)
    await operation.goes_on()
    await operation.was_done_once(100)
    frozen.resume()
    await eventually(has_noticed)
    await operation.was_done_once(100)


async def _answers(operation: Watched) -> None:
    """PostgreSQL does again."""

    async def does() -> bool:
        return await operation.is_beyond(-1)

    await eventually(does)


def _forget(folder: Path) -> None:
    """Everything Valkey has kept."""
    for kept in folder.glob("appendonly*"):
        shutil.rmtree(kept)
    for kept in folder.glob("*.rdb"):
        kept.unlink()
