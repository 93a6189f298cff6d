"""/metrics: whom it answers, what moves, what it never grows by, and what it says while servers are gone."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event

from admin_app import metrics
from admin_app.app import Website
from admin_app.bulk.models import BulkOperation, State
from admin_app.config import ConfigurationError, Settings, load_settings
from admin_app.database import Database
from admin_app.outbox import Delivery, RecordedEvent
from admin_app.presence import Process
from admin_app.queue import LONG_QUEUE_NAME, connect_queue, disconnect
from admin_app.security import sessions
from admin_app.upkeep import ChoreRun
from tests.conftest import SESSION_COOKIE, Cast, MakeProduct, browser
from tests.test_health import nobody_there, site

TOKEN = "0123456789abcdef0123456789abcdef"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
DOCUMENT = Path(__file__).parent.parent / "docs" / "metrics.md"

Values = Mapping[tuple[str, str], float]
"""(name, labels as in PromQL) -> value."""


@pytest.fixture
def counting(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(metrics, "KEPT_SECONDS", 0.0)
    return Settings(**{**settings.model_dump(), "metrics_token": TOKEN}, _env_file=None)


@pytest.fixture
async def counted(counting: Settings) -> AsyncIterator[Website]:
    async with site(counting) as website:
        yield website


async def scrape(client: httpx.AsyncClient) -> Values:
    response = await client.get("/metrics", headers=RIGHT)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert response.headers["cache-control"] == "no-store"
    return {
        (
            sample.name,
            ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def requests(values: Values) -> dict[str, float]:
    return {
        labels: value for (name, labels), value in values.items() if name == "admin_app_request_seconds_count"
    }


async def test_without_the_token_there_is_no_such_page(client: httpx.AsyncClient, counted: Website) -> None:
    """Nor with any, where none is set."""
    nothing = await client.get("/nothing")
    given = ["", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]
    async with browser(counted) as asking:
        for asked, headers in [(client, RIGHT), *((asking, {"Authorization": value}) for value in given)]:
            response = await asked.get("/metrics", headers=headers)
            assert (response.status_code, response.text) == (404, nothing.text), headers
        foreign = await asking.get("/metrics", headers={**RIGHT, "Host": "10.1.2.3"})
        assert foreign.status_code == 200
        assert (await asking.get("/metrics", headers={"Authorization": b"Bearer \xff"})).status_code == 404


def test_a_short_token_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="METRICS_TOKEN must have at least 32 characters"):
        load_settings(metrics_token="short", _env_file=None)


async def test_what_this_process_does_is_counted(
    counted: Website, database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    async with browser(counted) as client:
        async with database.transaction() as session:
            token = await sessions.open_session(session, cast.alice.id, address=None, user_agent=None)
        client.cookies.set(SESSION_COOKIE, token, domain="127.0.0.1")
        before = await scrape(client)
        for path in ("/admin/product/list", "/admin/user/list", f"/api/v1/products/{product.id}"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get(f"/admin/product/details/{uuid4()}")).status_code == 404
        assert (await client.post("/live")).status_code == 405
        after = await scrape(client)
    assert before["admin_app_requests_under_way", ""] == 1
    seen = requests(after)
    assert seen["method=GET,route=/admin/{identity}/list,status=2xx"] == 2
    assert seen["method=GET,route=/admin/{identity}/details/{pk},status=4xx"] == 1
    assert seen["method=GET,route=/api/v1/products/{product_id:uuid},status=2xx"] == 1
    assert seen["method=POST,route=/live,status=4xx"] == 1
    assert seen["method=GET,route=/metrics,status=2xx"] == 1
    for pool in ("engine", "glances"):
        label = f"pool={pool}"
        statements = "admin_app_sql_seconds_count", label
        assert after[statements] > before[statements] == 0
        assert after["admin_app_sql_seconds_sum", label] > 0
        assert after["admin_app_pool_connections_in_use", label] == 0
        assert after["admin_app_pool_connections_max", label] > 0
    assert after["process_resident_memory_bytes", ""] > 0


async def test_connections_in_use_and_statements_that_fail_are_seen(counted: Website) -> None:
    async with browser(counted) as client, counted.state.database.reading() as session:
        connection = await session.connection()
        with pytest.raises(Exception, match="division by zero"):
            await connection.exec_driver_sql("SELECT 1 / 0")
        values = await scrape(client)
    assert values["admin_app_pool_connections_in_use", "pool=engine"] == 1
    assert values["admin_app_sql_seconds_count", "pool=engine"] == 1


async def test_whoever_makes_up_addresses_and_methods_makes_no_labels(counted: Website) -> None:
    async with browser(counted) as client:
        for number in range(10):
            for path in ("/{}", "/admin/{}/x/y/z", "/api/v1/{}", "/admin/statics/{}.css"):
                await client.get(path.format(number))
            await client.request(f"MADEUP{number}", f"/{number}")
            await client.get("/admin/", headers={"Host": f"{number}.example"})
        seen = requests(await scrape(client))
    assert seen == {
        "method=GET,route=unmatched,status=4xx": 40,
        "method=GET,route=/admin/statics/{file},status=4xx": 10,
        "method=other,route=unmatched,status=4xx": 10,
    }


async def test_what_the_installation_has_to_do_is_told(
    counted: Website, settings: Settings, database: Database
) -> None:
    now = datetime.now(UTC)
    queue = connect_queue(settings.redis_url, LONG_QUEUE_NAME)
    await queue.enqueue("deliver", key=str(uuid4()))
    async with database.transaction() as session:
        happened = RecordedEvent(name="SomethingHappened", payload={}, request_id=uuid4())
        for changes in (
            {"created_at": now - timedelta(seconds=90)},
            {"created_at": now - timedelta(seconds=30)},
            {"tries": 1, "created_at": now - timedelta(seconds=900)},
            {"last_error": "Unavailable", "created_at": now - timedelta(seconds=900)},
            {"dead_at": now - timedelta(days=9), "last_error": "KeyError: x"},
            {"done_at": now, "created_at": now - timedelta(seconds=4)},
            {"done_at": now, "created_at": now - timedelta(seconds=2)},
            {"done_at": now - timedelta(seconds=600), "created_at": now - timedelta(seconds=900)},
        ):
            session.add(Delivery(event=happened, task="write_export", arguments={}, **changes))
        for state, done in ((State.RUNNING, 40), (State.FINISHED, 2), (State.DRAFT, 0)):
            session.add(
                BulkOperation(
                    **{"kind": "product", "action": "import", "label": "Import", "selection": "a file"},
                    **{"actor_label": "x", "request_id": uuid4(), "state": state, "done": done},
                )
            )
        session.add_all(Process(kind="worker", host="here", pid=pid, version="1") for pid in range(2))
        session.add(
            Process(kind="relay", host="here", pid=9, version="1", seen_at=now - timedelta(minutes=1))
        )
        session.add(ChoreRun(name="prune", ran_at=now, took_seconds=1, rows=1))
    async with browser(counted) as client:
        values = await scrape(client)
    await queue.redis.flushall()
    await disconnect(queue)
    found = {labels: value for (name, labels), value in values.items() if name == "admin_app_deliveries"}
    assert found == {
        "state=waiting,task=write_export": 2,
        "state=running,task=write_export": 1,
        "state=failing,task=write_export": 1,
        "state=parked,task=write_export": 1,
    }
    assert 90 <= values["admin_app_outbox_lag_seconds", ""] < 120
    assert values["admin_app_deliveries_done_last_minute", "task=write_export"] == 2
    assert values["admin_app_delivery_average_seconds", "task=write_export"] == pytest.approx(3, abs=0.01)
    assert values["admin_app_bulk_operations", "action=import,state=running"] == 1
    assert values["admin_app_bulk_rows_done_total", ""] == 42
    assert [values["admin_app_processes", f"kind={kind}"] for kind in ("web", "relay", "worker")] == [0, 0, 2]
    assert values["admin_app_chore_last_run_timestamp_seconds", "chore=prune"] == pytest.approx(
        now.timestamp()
    )
    assert values["admin_app_queue_jobs", f"queue={LONG_QUEUE_NAME},state=queued"] == 1
    assert values["admin_app_queue_jobs", f"queue={LONG_QUEUE_NAME},state=active"] == 0
    assert up(values) == {"database": 1, "schema": 1, "queue": 1, "storage": 1, "relay": 0, "worker": 1}


def up(values: Values) -> dict[str, float]:
    return {labels[5:]: value for (name, labels), value in values.items() if name == "admin_app_up"}


async def test_what_is_gone_is_said_to_be_and_the_rest_is_told(counting: Settings) -> None:
    nowhere = nobody_there()
    gone = {"redis_url": f"redis://{nowhere}/0"}
    async with site(counting.model_copy(update=gone)) as website, browser(website) as client:
        values = await scrape(client)
        assert up(values) == {"database": 1, "schema": 1, "queue": 0, "storage": 1, "relay": 0, "worker": 0}
        assert ("admin_app_outbox_lag_seconds", "") in values
        assert not any(name == "admin_app_queue_jobs" for name, _ in values)
    gone = {"database_url": f"postgresql+asyncpg://x@{nowhere}/x"}
    async with site(counting.model_copy(update=gone)) as website, browser(website) as client:
        values = await scrape(client)
        assert up(values) == {"database": 0, "queue": 1, "storage": 1}
        assert any(name == "admin_app_queue_jobs" for name, _ in values)
        assert requests(await scrape(client))["method=GET,route=/metrics,status=2xx"] == 1


async def test_many_who_ask_at_once_cost_one_reading(counting: Settings) -> None:
    sent: list[str] = []
    async with site(counting) as website, browser(website) as client:
        engine = website.state.health.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
        await asyncio.gather(*(scrape(client) for _ in range(20)))
    assert len([statement for statement in sent if "bulk_operation.done" in statement]) == 1


async def test_every_metric_is_in_the_document_and_every_one_there_exists(counted: Website) -> None:
    async with browser(counted) as client:
        text = (await client.get("/metrics", headers=RIGHT)).text
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    described = set(re.findall(r"^\| `(admin_app_\w+)` ", DOCUMENT.read_text(), re.MULTILINE))
    assert {name for name in told if name.startswith("admin_app_")} == described
    alerts = DOCUMENT.read_text().partition("## Five alerts")[2]
    used = {re.sub("_(count|bucket|sum)$", "", name) for name in re.findall(r"admin_app_\w+", alerts)}
    assert used
    assert used <= described
