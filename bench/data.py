"""One seeded catalogue of any size, loaded by COPY: the same rows on every machine."""

import asyncio
import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy.engine import make_url

from admin_app import demo, migrations
from admin_app.actor import Role
from admin_app.config import Settings
from admin_app.domains import open_database
from admin_app.domains.products.tasks import update_product_index

SEED = 42
PRODUCTS_PER_PERSON = 100
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS_BETWEEN = 30
COMMON_WORD = "handcrafted"
"""Stands in the description of one product in twenty."""
RARE_WORD = "saxifrage"
"""Stands in the descriptions of three products, whatever the size."""
SUPERUSER = "owner0@shop0.example"
INDEX_BATCH = 500
SECONDARY_INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename IN ('products', 'product_search_document')
      AND indexname NOT LIKE 'pk_%'
"""


def settings_for(url: str) -> Settings:
    """Redis is nowhere: no page that is measured asks for it."""
    nowhere = "redis://127.0.0.1:1"
    return Settings(database_url=url, redis_url=nowhere, secret_key="b" * 32, _env_file=None)  # type: ignore[arg-type, call-arg]


async def ensure(server_url: str, products: int) -> str:
    """The URL of a database with so many products, made now if it is not there as it would be made today."""
    start = f"bench_{products}_"
    name = start + _fingerprint()
    url = _named(server_url, name)
    server = await asyncpg.connect(dsn(server_url))
    try:
        found = await server.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", start)
        there = {row["datname"] for row in found}
        if name in there:
            return url
        for stale in there:
            await server.execute(f'DROP DATABASE "{stale}" WITH (FORCE)')
        # Under another name until it is complete: a run that was interrupted leaves nothing to trust.
        await server.execute(f'CREATE DATABASE "{name}_new"')
        await asyncio.to_thread(migrations.upgrade, _named(server_url, f"{name}_new"))
        await _load(_named(server_url, f"{name}_new"), products)
        await server.execute(f'ALTER DATABASE "{name}_new" RENAME TO "{name}"')
    finally:
        await server.close()
    return url


def _fingerprint() -> str:
    """Of everything that decides what is in the tables."""
    schema = sorted((Path(migrations.__file__).parent / "versions").glob("*.py"))
    index = Path(migrations.__file__).parents[1].glob("search*.py")
    sources = [*schema, *sorted(index), Path(demo.__file__), Path(__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]


async def _load(url: str, products: int) -> None:
    connection = await asyncpg.connect(dsn(url))
    try:
        await connection.execute("SET maintenance_work_mem = '1GB'")
        indexes = await connection.fetch(SECONDARY_INDEXES)
        for index in indexes:
            await connection.execute(f'DROP INDEX "{index["indexname"]}"')
        owners = await _load_people(connection, max(10, products // PRODUCTS_PER_PERSON))
        await connection.copy_records_to_table(
            "products",
            records=_products(products, owners),
            columns=["name", "description", "price", "is_active", "owner_id", "created_at", "updated_at"],
        )
        await connection.execute("ANALYZE")
        await _fill_search_index(url, connection)
        for index in indexes:
            await connection.execute(index["indexdef"])
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def _load_people(connection: Any, people: int) -> list[UUID]:
    """One superuser, one supporter in ten, and administrators; returns whoever may own products."""
    roles = [Role.ADMINISTRATOR.value] * 9 + [Role.SUPPORT.value]
    await connection.copy_records_to_table(
        "users",
        records=(
            (
                f"owner{number}@shop{number % 50}.example",
                f"Owner {number}",
                "!",
                roles[number % 10] if number else Role.SUPERUSER.value,
                True,
            )
            for number in range(people)
        ),
        columns=["email", "name", "password_hash", "role", "is_active"],
    )
    rows = await connection.fetch("SELECT id FROM users WHERE role <> $1 ORDER BY email", Role.SUPPORT)
    return [row["id"] for row in rows]


def _products(products: int, owners: list[UUID]) -> Iterator[tuple[Any, ...]]:
    generator = random.Random(SEED)  # noqa: S311  # the same catalogue each time
    rare = {products * part // 4 for part in (1, 2, 3)}
    for number, item in enumerate(islice(demo.catalogue(generator), products)):
        description = item.description
        if number % 20 == 0:
            description += f" {COMMON_WORD.capitalize()}."
        if number in rare:
            description += f" Decorated with {RARE_WORD}."
        created = NEWEST - timedelta(seconds=SECONDS_BETWEEN * (products - number))
        updated = created + timedelta(seconds=generator.randrange(SECONDS_BETWEEN * 1000))
        owner = owners[generator.randrange(len(owners))]
        yield item.name, description, item.price, item.is_active, owner, created, updated


async def _fill_search_index(url: str, connection: Any) -> None:
    """By the worker's own task, in two transactions at a time."""
    ids = [str(row["id"]) for row in await connection.fetch("SELECT id FROM products ORDER BY id")]
    batches = iter([ids[start : start + INDEX_BATCH] for start in range(0, len(ids), INDEX_BATCH)])
    database = open_database(settings_for(url))

    async def work() -> None:
        for batch in batches:
            async with database.transaction() as session:
                await update_product_index(session, batch)

    try:
        await asyncio.gather(work(), work())
    finally:
        await database.close()


def _named(server_url: str, database: str) -> str:
    return make_url(server_url).set(database=database).render_as_string(hide_password=False)


def dsn(url: str) -> str:
    """SQLAlchemy's URL as asyncpg reads it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
