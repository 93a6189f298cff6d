"""Servers of their own, to be stopped and frozen, and processes to be killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from saq.queue.redis import RedisQueue

from admin_app import migrations, worker
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import TASKS as DOMAIN_TASKS
from admin_app.embedded import EmbeddedServers
from admin_app.queue import connect_queue, disconnect
from admin_app.relay import Relay
from admin_app.worker import build_worker
from tests.conftest import _spare_the_disk
from tests.crash.effects import TASKS, effect_database

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 0.5

Spawn = Callable[..., Awaitable[psutil.Popen]]
Healthy = Callable[[], AbstractAsyncContextManager[None]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("crash")


@pytest.fixture(scope="package")
def servers() -> Iterator[EmbeddedServers]:
    # Not pytest's own folder, for the reason given in tests/conftest.py.
    with (
        TemporaryDirectory(prefix="admin-app-") as data_dir,
        EmbeddedServers(
            Settings(data_dir=Path(data_dir), delivery_lease_seconds=LEASE_SECONDS, _env_file=None)
        ) as servers,
    ):
        asyncio.run(_spare_the_disk(servers.settings.database_url))
        migrations.upgrade(servers.settings.database_url)
        yield servers


@pytest.fixture(scope="package")
def settings(servers: EmbeddedServers) -> Settings:
    return servers.settings


@pytest.fixture
def redis_process(settings: Settings) -> psutil.Process:
    return psutil.Process(int((settings.data_dir / "valkey" / "valkey.pid").read_text()))


@pytest.fixture
def postgres_process(settings: Settings) -> psutil.Process:
    first, *_ = (settings.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    return psutil.Process(int(first))


@pytest.fixture
async def outbox(settings: Settings) -> AsyncIterator[Database]:
    """The database, with handlers that ask for one `note_effect` per event."""
    async with effect_database(settings) as database:
        yield database


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[RedisQueue]:
    queue = connect_queue(settings.redis_url)
    await queue.redis.flushall()
    yield queue
    await disconnect(queue)


@pytest.fixture
def spawn(settings: Settings, tmp_path: Path) -> Iterator[Spawn]:
    """`await spawn(step, signal_name)`: a relay or worker process that meets its end at that step."""
    spawned: list[psutil.Popen] = []

    async def spawn_one(step: str, signal_name: str = "SIGKILL", **environment: str) -> psutil.Popen:
        variables = {
            **os.environ,
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "DATA_DIR": str(settings.data_dir),
            "SECRET_KEY": settings.secret_key.get_secret_value(),
            "DELIVERY_LEASE_SECONDS": str(settings.delivery_lease_seconds),
            **environment,
        }
        with (tmp_path / f"process-{len(spawned)}.log").open("wb") as log:
            process = psutil.Popen(
                [sys.executable, "-m", "tests.crash.process", step, signal_name],
                **{"cwd": ROOT, "env": variables, "stdout": log, "stderr": log},
            )
        spawned.append(process)
        return process

    yield spawn_one
    for process in spawned:
        if process.poll() is None:
            process.kill()
            process.wait(10)


async def has_been_killed(process: psutil.Popen) -> None:
    code = await asyncio.to_thread(process.wait, 30)
    assert code == -signal.SIGKILL


@pytest.fixture
def healthy_relay(settings: Settings) -> Healthy:
    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        database = Database(settings.database_url, pool_size=3)
        queue = connect_queue(settings.redis_url, retries=1)
        stop = asyncio.Event()
        task = asyncio.create_task(
            Relay(database, queue, lease_seconds=settings.delivery_lease_seconds).run(stop)
        )
        yield
        stop.set()
        await asyncio.wait_for(task, 10)
        await disconnect(queue)
        await database.close()

    return run


@pytest.fixture
def healthy_worker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Healthy:
    monkeypatch.setattr(worker, "SHUTDOWN_GRACE_SECONDS", 0)

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        database = Database(settings.database_url)
        queue = connect_queue(settings.redis_url)
        one = build_worker(queue, database, settings, {**DOMAIN_TASKS, **TASKS})
        one.SIGNALS = []
        task = asyncio.create_task(one.start())
        yield
        await one.stop()
        await asyncio.wait_for(task, 10)
        await disconnect(queue)
        await database.close()

    return run
