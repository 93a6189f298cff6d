"""The schema's history (Alembic), run from the package: no ini file to find."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

Result = TypeVar("Result")


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration; with a connection its commands work on that one."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the schema up; safe to run from several processes at once."""
    on_connection(database_url, lambda connection: command.upgrade(configuration(connection), revision))


def downgrade(database_url: str, revision: str) -> None:
    on_connection(database_url, lambda connection: command.downgrade(configuration(connection), revision))


def current(database_url: str) -> str | None:
    """The revision the database is at; None before the first."""
    return on_connection(
        database_url, lambda connection: MigrationContext.configure(connection).get_current_revision()
    )


def head() -> str:
    """The newest revision this code knows."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    assert revision is not None
    return revision


def revisions() -> list[str]:
    """All this code knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()]


def on_connection(database_url: str, work: Callable[[Connection], Result]) -> Result:
    """`work`'s result, in one transaction of its own."""

    async def connected() -> Result:
        engine = create_async_engine(database_url, poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        finally:
            await engine.dispose()

    return asyncio.run(connected())
