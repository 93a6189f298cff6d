"""/ready: what a load balancer is told, and what it is not; whatever stands still, it is answered."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import httpx
import psutil
import pytest
from sqlalchemy import event, text

from admin_app import health
from admin_app.app import Website, create_app
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.presence import Process
from tests.conftest import browser
from tests.s3 import KEY, SECRET

PATIENCE_SECONDS = 0.5
LONGEST_SECONDS = 15
"""Of an answer: far more than its patience, far less than for ever."""


@pytest.fixture
async def staffed(database: Database) -> None:
    """A relay and a worker have been seen just now."""
    async with database.transaction() as session:
        session.add_all(
            Process(kind=kind, host="here", pid=number, version="1")
            for number, kind in enumerate(("relay", "worker"))
        )


@asynccontextmanager
async def site(settings: Settings) -> AsyncIterator[Website]:
    website = create_app(settings)
    try:
        yield website
    finally:
        await website.state.health.close()
        await website.state.throttle.close()
        await website.state.database.close()


@pytest.fixture
def asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept, and nobody is patient."""
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(health, "LIMIT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(health, "PATIENCE_SECONDS", PATIENCE_SECONDS)


async def answer(client: httpx.AsyncClient) -> tuple[int, str]:
    async with asyncio.timeout(LONGEST_SECONDS):
        response = await client.get("/ready")
    assert set(response.json()) == {"status"}
    return response.status_code, response.json()["status"]


async def test_all_is_well_whatever_host_is_asked_for(client: httpx.AsyncClient, staffed: None) -> None:
    for host in ("127.0.0.1", "10.1.2.3:8000", "evil.example", ""):
        response = await client.get("/ready", headers={"Host": host})
        assert (response.status_code, response.text) == (200, '{"status":"ready"}')
        assert response.headers["cache-control"] == "no-store"


@pytest.mark.usefixtures("asked_often")
async def test_without_a_relay_or_a_worker_pages_still_work(
    settings: Settings, database: Database, staffed: None
) -> None:
    async with site(settings) as website, browser(website) as client:
        assert await answer(client) == (200, "ready")
        for kind in ("relay", "worker"):
            change = f"UPDATE process SET seen_at = now() - interval '%s s' WHERE kind = '{kind}'"
            async with database.transaction() as session:
                await session.execute(text(change % 40))
            assert await answer(client) == (200, "degraded")
            async with database.transaction() as session:
                await session.execute(text(change % 0))
        assert await answer(client) == (200, "ready")


def nobody_there() -> str:
    """An address of this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def changed(settings: Settings, part: str, address: str) -> Settings:
    """With this part at that address."""
    options = {"endpoint": f"http://{address}", "region": "x"}
    options |= {"access_key_id": KEY, "secret_access_key": SECRET}
    return settings.model_copy(
        update={
            "database": {"database_url": f"postgresql+asyncpg://secret:{SECRET}@{address}/secret"},
            "queue": {"redis_url": f"redis://:{SECRET}@{address}/0"},
            "storage": {
                "storage_url": "s3://secret",
                "storage_options": Settings(storage_url="s3://x", storage_options=options).storage_options,
            },
        }[part]
    )


EXPECTED = {"database": (503, "down"), "queue": (200, "degraded"), "storage": (200, "degraded")}


@pytest.mark.usefixtures("asked_often", "staffed")
@pytest.mark.parametrize("part", EXPECTED)
async def test_a_part_that_is_gone_is_told_to_the_log_alone_and_once(
    part: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(changed(settings, part, nobody_there())) as website, browser(website) as client:
        for _ in range(3):
            assert await answer(client) == EXPECTED[part]
    said = [record.getMessage() for record in caplog.records if record.name == health.__name__]
    assert len(said) == 1
    assert said[0].startswith(f"not well: {part}: ")
    assert SECRET not in caplog.text


@pytest.mark.usefixtures("asked_often", "staffed")
@pytest.mark.parametrize("part", EXPECTED)
async def test_a_part_that_takes_connections_and_says_nothing_is_not_waited_for(
    part: str, settings: Settings
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with site(changed(settings, part, address)) as website, browser(website) as client:
            answers = await asyncio.gather(*(answer(client) for _ in range(20)))
            assert set(answers) == {EXPECTED[part]}


def postgres(settings: Settings) -> Sequence[psutil.Process]:
    first, *_ = (settings.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    postmaster = psutil.Process(int(first))
    return [postmaster, *postmaster.children()]


def valkey(settings: Settings) -> Sequence[psutil.Process]:
    return [psutil.Process(int((settings.data_dir / "valkey" / "valkey.pid").read_text()))]


@contextmanager
def frozen(processes: Sequence[psutil.Process]) -> Iterator[None]:
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)


@pytest.mark.usefixtures("asked_often", "staffed")
async def test_servers_that_freeze_are_noticed_and_used_again_when_they_thaw(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(settings) as website, browser(website) as client:
        assert await answer(client) == (200, "ready")
        for processes, expected in ((valkey, (200, "degraded")), (postgres, (503, "down"))):
            with frozen(processes(settings)):
                assert await answer(client) == expected
                assert (await client.get("/live")).status_code == 200
            async with asyncio.timeout(LONGEST_SECONDS):
                while await answer(client) != (200, "ready"):
                    pass  # each try takes its time
        assert "all is well again" in caplog.text


@pytest.mark.usefixtures("asked_often", "staffed")
async def test_a_schema_that_is_behind_is_down_and_one_that_is_ahead_is_not(
    settings: Settings, database: Database
) -> None:
    async with site(settings) as website, browser(website) as client:
        assert await answer(client) == (200, "ready")
        async with database.reading() as session:
            head = await session.scalar(text("SELECT version_num FROM alembic_version"))
        try:
            for revision, expected in (("0001", (503, "down")), ("of tomorrow", (200, "ready"))):
                await set_revision(database, revision)
                assert await answer(client) == expected
        finally:
            await set_revision(database, head)
        assert await answer(client) == (200, "ready")


async def set_revision(database: Database, revision: str | None) -> None:
    async with database.transaction() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})


async def test_fifty_at_once_cost_one_check_and_no_connection_of_the_pages(
    website: Website, client: httpx.AsyncClient, staffed: None
) -> None:
    sent: list[str] = []
    engine = website.state.health.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
    answers = await asyncio.gather(*(answer(client) for _ in range(50)))
    assert set(answers) == {(200, "ready")}
    assert len([statement for statement in sent if "alembic_version" in statement]) == 1
    assert len([statement for statement in sent if "FROM process" in statement]) == 1
    assert website.state.database.engine.pool.checkedin() == 0


async def test_a_full_pool_does_not_make_it_wait(
    settings: Settings, database: Database, staffed: None
) -> None:
    async with (
        site(settings.model_copy(update={"database_pool_size": 1})) as website,
        website.state.database.reading() as session,
        browser(website) as client,
    ):
        await session.execute(text("SELECT 1"))
        assert await answer(client) == (200, "ready")


async def test_a_process_that_stops_says_so_without_asking_anybody(
    website: Website, client: httpx.AsyncClient
) -> None:
    website.state.health.is_stopping = True
    assert await answer(client) == (503, "stopping")
    assert website.state.health.database.engine.pool.checkedin() == 0
