"""The schema's history, on a database of its own: up, down, up again, and equal to the models."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from admin_app import migrations
from admin_app.config import Settings
from admin_app.domains import METADATA

ROOT = Path(__file__).parents[1]
UPGRADE = "import sys; from admin_app import migrations; migrations.upgrade(sys.argv[1])"


def administer(database_url: str, *statements: str) -> None:
    """Outside any transaction, as CREATE DATABASE demands."""

    async def run() -> None:
        engine = create_async_engine(database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(run())


@pytest.fixture
def empty_url(settings: Settings) -> Iterator[str]:
    """The URL of a new, empty database."""
    name = "test_migrations"
    administer(settings.database_url, f"DROP DATABASE IF EXISTS {name} (FORCE)", f"CREATE DATABASE {name}")
    yield make_url(settings.database_url).set(database=name).render_as_string(hide_password=False)
    administer(settings.database_url, f"DROP DATABASE {name} (FORCE)")


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def functions(connection: Connection) -> set[str]:
    """Of our own, not of an extension."""
    found = connection.execute(
        text("""
            SELECT proname FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
            WHERE nspname = 'public' AND NOT EXISTS (
                SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e'
            )
        """)
    )
    return {row[0] for row in found}


def differences(connection: Connection) -> list[object]:
    options = {"compare_server_default": True, "compare_type": True}
    return compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)


def test_up_down_and_up_again(empty_url: str) -> None:
    assert migrations.current(empty_url) is None
    migrations.upgrade(empty_url)
    assert migrations.current(empty_url) == migrations.head()
    made = migrations.on_connection(empty_url, tables)
    assert made == {*METADATA.tables, "alembic_version"}

    migrations.downgrade(empty_url, "base")
    assert migrations.current(empty_url) is None
    assert migrations.on_connection(empty_url, tables) == {"alembic_version"}
    assert migrations.on_connection(empty_url, functions) == set()

    migrations.upgrade(empty_url)
    assert migrations.current(empty_url) == migrations.head()
    assert migrations.on_connection(empty_url, tables) == made
    assert migrations.on_connection(empty_url, differences) == []


def test_each_step_goes_down_and_up_by_itself(empty_url: str) -> None:
    steps = list(ScriptDirectory.from_config(migrations.configuration()).walk_revisions())[::-1]
    for step in steps:
        migrations.upgrade(empty_url, step.revision)
        migrations.downgrade(empty_url, step.down_revision or "base")
        migrations.upgrade(empty_url, step.revision)
    assert migrations.on_connection(empty_url, differences) == []


def test_models_equal_migrations(settings: Settings) -> None:
    assert migrations.on_connection(settings.database_url, differences) == []


def test_upgrading_again_changes_nothing(settings: Settings) -> None:
    migrations.upgrade(settings.database_url)
    assert migrations.current(settings.database_url) == migrations.head()


def test_several_upgrades_at_once_do_no_harm(empty_url: str) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE, empty_url], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    failures = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], failures
    assert migrations.current(empty_url) == migrations.head()
    assert migrations.on_connection(empty_url, differences) == []


def test_an_upgrade_that_fails_leaves_nothing_behind(empty_url: str) -> None:
    administer(empty_url, "CREATE TABLE products (id int)")  # in the way, near the end of the first step
    with pytest.raises(DBAPIError):
        migrations.upgrade(empty_url)
    assert migrations.on_connection(empty_url, tables) == {"products"}
    administer(empty_url, "DROP TABLE products")
    migrations.upgrade(empty_url)
    assert migrations.current(empty_url) == migrations.head()


def test_the_rules_stand_in_the_database_too(empty_url: str) -> None:
    """Whoever writes past the application meets them as well."""
    migrations.upgrade(empty_url)
    account = "INSERT INTO users (email, name, password_hash, role) VALUES"
    product = "INSERT INTO products (name, price, owner_id) SELECT"
    administer(empty_url, f"{account} ('a@b.example', 'A', '!', 'administrator')")
    administer(empty_url, f"{product} 'Overkill', 0.01, id FROM users")
    for statement, rule in [
        (f"{account} ('A@B.example', 'A', '!', 'support')", "uq_users_email"),
        (f"{account} ('c@b.example', ' ', '!', 'support')", "ck_users_name_given"),
        (f"{account} ('c@b.example', 'C', '!', 'emperor')", "role"),
        (f"{product} 'Free', 0, id FROM users", "ck_products_price_positive"),
        (f"{product} ' ', 1, id FROM users", "ck_products_name_given"),
        (f"{product} 'Dear', 100000000, id FROM users", "numeric field overflow"),
        (f"{product} 'Lost', 1, uuidv7()", "fk_products_owner_id_users"),
        ("DELETE FROM users", "fk_products_owner_id_users"),
    ]:
        with pytest.raises(DBAPIError, match=rule):
            administer(empty_url, statement)


def test_the_database_refuses_a_price_that_is_not_a_number(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    administer(
        empty_url,
        "INSERT INTO users (email, name, password_hash, role) VALUES ('a@b.example', 'A', '!', 'support')",
    )
    with pytest.raises(DBAPIError):
        administer(empty_url, "INSERT INTO products (name, price, owner_id) SELECT 'x', 'NaN', id FROM users")
