"""One seeded catalogue of any size, loaded by COPY: the same rows on every machine."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy.engine import make_url

from admin_app import migrations
from admin_app.actor import Role
from admin_app.demo import catalogue

SEED = 42
OWNERS_PER_PRODUCT = 100
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS_BETWEEN = 30
COMMON_WORD = "wireless"
"""Stands in the description of one product in twenty."""
SECONDARY_INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename IN ('products', 'users') AND indexname NOT LIKE 'pk_%'
"""


def database_url(server_url: str, products: int) -> str:
    url = make_url(server_url).set(database=f"bench_{products}")
    return url.render_as_string(hide_password=False)


async def ensure(server_url: str, products: int) -> str:
    """The URL of a database with so many products, made now if it is not there yet."""
    url = database_url(server_url, products)
    name = make_url(url).database
    server = await asyncpg.connect(dsn(server_url))
    try:
        if await server.fetchval("SELECT 1 FROM pg_database WHERE datname = $1 AND datallowconn", name):
            return url
        # Under another name until it is complete: a run that was interrupted leaves nothing to trust.
        await server.execute(f'DROP DATABASE IF EXISTS "{name}_new"')
        await server.execute(f'CREATE DATABASE "{name}_new"')
        new_url = make_url(url).set(database=f"{name}_new").render_as_string(hide_password=False)
        await asyncio.to_thread(migrations.upgrade, new_url)
        await _load(new_url, products)
        await server.execute(f'ALTER DATABASE "{name}_new" RENAME TO "{name}"')
    finally:
        await server.close()
    return url


async def _load(url: str, products: int) -> None:
    connection = await asyncpg.connect(dsn(url))
    try:
        await connection.execute("SET maintenance_work_mem = '1GB'")
        indexes = await connection.fetch(SECONDARY_INDEXES)
        for index in indexes:
            await connection.execute(f'DROP INDEX "{index["indexname"]}"')
        owners = await _load_owners(connection, max(10, products // OWNERS_PER_PRODUCT))
        await connection.copy_records_to_table(
            "products",
            records=_products(products, owners),
            columns=["name", "description", "price", "is_active", "owner_id", "created_at", "updated_at"],
        )
        for index in indexes:
            await connection.execute(index["indexdef"])
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def _load_owners(connection: Any, owners: int) -> list[UUID]:
    roles = [Role.ADMINISTRATOR.value] * 9 + [Role.SUPPORT.value]
    await connection.copy_records_to_table(
        "users",
        records=(
            (f"owner{number}@shop{number % 50}.example", f"Owner {number}", "!", roles[number % 10], True)
            for number in range(owners)
        ),
        columns=["email", "name", "password_hash", "role", "is_active"],
    )
    rows = await connection.fetch("SELECT id FROM users WHERE role = $1 ORDER BY email", Role.ADMINISTRATOR)
    return [row["id"] for row in rows]


def _products(products: int, owners: list[UUID]) -> Iterator[tuple[Any, ...]]:
    generator = random.Random(SEED)  # noqa: S311  # the same catalogue each time
    for number, item in enumerate(islice(catalogue(generator), products)):
        description = (
            f"{item.description} {COMMON_WORD.capitalize()}." if number % 20 == 0 else item.description
        )
        created = NEWEST - timedelta(seconds=SECONDS_BETWEEN * (products - number))
        updated = created + timedelta(seconds=generator.randrange(SECONDS_BETWEEN * 1000))
        owner = owners[generator.randrange(len(owners))]
        yield item.name, description, item.price, item.is_active, owner, created, updated


def dsn(url: str) -> str:
    """SQLAlchemy's URL as asyncpg reads it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
