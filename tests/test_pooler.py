"""The whole application behind a real pgbouncer in transaction mode, with four connections for everybody."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Select, Text, Uuid, func, make_url, select, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from admin_app import relay
from admin_app.bulk.models import State
from admin_app.config import Settings
from admin_app.database import SERVER_SETTINGS, Database
from admin_app.doctor import examine
from admin_app.domains import LONG_TASKS, SLOW_TASKS, find_role
from admin_app.domains.products.indexing import ProductIndex
from admin_app.domains.products.rebuilding import Rebuild
from admin_app.errors import Conflict, TooSlow
from admin_app.exports.models import Export, ExportState, Format
from admin_app.glances import Glances, Question
from admin_app.imports.here import ImportHere, Stopped
from admin_app.storage import storage_of
from tests.admin.pages import open_form
from tests.bulk.operations import Operations
from tests.conftest import Cast, MakeProduct, SignIn, count
from tests.crash.waiting import eventually
from tests.exports.asking import asked, cells, requested
from tests.pgbouncer import Pooler, pooler

SERVERS = 4
PEOPLE = 30
SECONDS = 3.0
EVERY_SERVER = text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
SOMEBODY = Question(select(func.uuidv7(type_=Uuid).label("id")), {})


@pytest.fixture
def poolers() -> list[Pooler]:
    """The one that runs."""
    return []


@pytest.fixture(name="settings")
def pooled_settings(settings: Settings, poolers: list[Pooler]) -> Iterator[Settings]:
    """In the place of those without a pooler, for every fixture."""
    with pooler(settings, servers=SERVERS) as one:
        poolers.append(one)
        yield one.settings


def command(settings: Settings, *words: str | Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "DATABASE_DIRECT_URL": settings.database_direct_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "DATA_DIR": str(settings.data_dir),
    }
    program = [sys.executable, "-m", "admin_app", *map(str, words)]
    return subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True)


@asynccontextmanager
async def relay_and_worker(settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    worker = command(settings, "worker")
    handing_over = asyncio.create_task(relay.run(settings, SLOW_TASKS, LONG_TASKS, stop=stop))
    try:
        yield
        assert worker.poll() is None
        stop.set()
        await handing_over
    finally:
        worker.terminate()
        await asyncio.to_thread(worker.communicate, timeout=40)


async def test_thirty_people_at_once_meet_no_error(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice, name="Vase")
    paths = [
        "/admin/product/list?search=vase&sortBy=price",
        f"/admin/product/details/{product.id}",
        f"/api/v1/products/{product.id}",
        "/api/v1/products/?search=vase",
    ]
    until = monotonic() + SECONDS
    answers: list[tuple[int, str]] = []

    async def work(name: str) -> None:
        client = await sign_in(name)
        while monotonic() < until:
            for path in paths:
                answers.append(((await client.get(path)).status_code, path))
            if name != "sam":
                fields = await open_form(client, "/admin/product/create")
                fields |= {"name": f"Bowl of {name}", "price": "1"}
                saved = await client.post("/admin/product/create", data=fields)
                answers.append((saved.status_code, "saved"))

    await asyncio.gather(*(work(("alice", "bob", "sam")[number % 3]) for number in range(PEOPLE)))
    assert {status for status, path in answers if path != "saved"} == {200}
    assert {status for status, path in answers if path == "saved"} == {303}
    async with database.reading() as session:
        assert await count(session, "products") == 1 + sum(path == "saved" for _, path in answers)
        assert await session.scalar(EVERY_SERVER) <= SERVERS


async def test_background_work_comes_to_its_end(
    settings: Settings, database: Database, cast: Cast, make_product: MakeProduct, tmp_path: Path
) -> None:
    """By relay and worker: a bulk operation, an export, the search index; and an import by command."""
    vases = [await make_product(cast.alice, name=f"Vase {number}") for number in range(20)]
    operations = Operations(database)
    file = tmp_path / "products.csv"
    file.write_text(f"name,price,owner_email\nBowl,2,{cast.alice.label}\n")
    ids = [vase.id for vase in vases]
    operation_id = await operations.start(cast.alice, "set_price", ids, {"price": "20"})

    async def is_repriced() -> bool:
        return (await operations.get(operation_id)).state is State.FINISHED

    async def is_written() -> bool:
        async with database.reading() as session:
            return (await session.get_one(Export, export.id)).state is ExportState.FINISHED

    async def is_done() -> bool:
        async with database.reading() as session:
            return await session.scalar(text("SELECT every(done_at IS NOT NULL) FROM delivery")) is True

    async with relay_and_worker(settings):
        await eventually(is_repriced)
        request = await asked(database, cast.alice, "product", Format.CSV, ["name", "price"], search="vase")
        export = await requested(database, cast.alice, request)
        importing = command(settings, "import", "products", file)
        said, _ = await asyncio.to_thread(importing.communicate, timeout=60)
        assert importing.returncode == 0, said
        await eventually(is_written)
        await eventually(is_done)
    await operations.truth(operation_id)
    async with database.reading() as session:
        content = await storage_of(session).get((await session.get_one(Export, export.id)).file)
        differences = [page async for _, page in ProductIndex(session).compare(100)]
        assert not any([*page.missing, *page.outdated, *page.extra] for page in differences)
        assert await count(session, "products") == 21
    assert sorted(cells(content or b"")) == sorted([f"Vase {number}", "20.00"] for number in range(20))


async def test_what_outlives_a_transaction_goes_past_the_pooler(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    """Where a lock of one would be everybody's who gets the same server next."""
    await make_product(cast.alice)
    importing = ImportHere(database, cast.alice, find_role, tell=lambda *_: None, is_stopped=lambda: True)
    async with importing.turn(lambda: None):
        with pytest.raises(Stopped):
            async with importing.turn(lambda: None):
                raise AssertionError("two at once")
        rebuilding = Rebuild(database).run()
        await anext(rebuilding)
        with pytest.raises(Conflict):
            await anext(Rebuild(database).run())
        assert [progress.done async for progress in rebuilding][-1] == 1
    async with importing.turn(lambda: None):  # both are free again
        assert [progress.done async for progress in Rebuild(database).run()][-1] == 1


async def test_settings_hold_in_each_transaction_and_stay_in_none(database: Database) -> None:
    names = [name for name in SERVER_SETTINGS if name != "application_name"]
    shown = select(*(func.current_setting(name) for name in names))
    async with database.reading() as session:
        found = [*(await session.execute(shown)).one()]
    assert found == ["force_custom_plan", "off", "330s"]
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        assert [*(await connection.execute(shown)).one()] == ["auto", "on", "0"]


async def test_a_glance_writes_nothing_and_is_cut_short(settings: Settings, database: Database) -> None:
    async def look(wanted: Select[Any]) -> list[Any]:
        return (await glances.look(SOMEBODY, wanted, {}))[1]

    _, options = dialect().create_connect_args(make_url(settings.database_url))  # type: ignore[no-untyped-call]
    glances = Glances(options, 2, SERVER_SETTINGS, 0.1, is_pooled=True)
    for _ in range(SERVERS + 1):
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await look(select(func.nextval("bulk_operation_number_seq").label("number")))
        with pytest.raises(TooSlow):
            await look(select(func.pg_sleep(20, type_=Text).label("slept")))
        [row] = await look(select(func.current_setting("statement_timeout").label("limit")))
        assert row.limit == "100ms"
    await glances.close()
    async with database.transaction() as session:  # the servers are as they were
        assert await session.scalar(text("SHOW transaction_read_only")) == "off"
        assert await session.scalar(text("SHOW statement_timeout")) == "0"


def test_the_doctor_asks_both(settings: Settings, poolers: list[Pooler]) -> None:
    def told() -> list[bool]:
        found = {check.subject: check.is_ok for check in examine(settings)}
        return [found[subject] for subject in ("PostgreSQL", "migrations", "pooler")]

    assert told() == [True, True, True]
    poolers[0].stop()
    assert told() == [True, True, False]


async def test_nobody_notices_that_the_pooler_was_restarted(sign_in: SignIn, poolers: list[Pooler]) -> None:
    alice = await sign_in("alice")
    paths = ("/admin/product/list", "/api/v1/users/me")
    for path in paths:
        assert (await alice.get(path)).status_code == 200
    await asyncio.to_thread(poolers[0].restart)
    for path in paths:
        assert (await alice.get(path)).status_code == 200
