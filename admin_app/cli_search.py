"""The commands about the search index: `admin-app search setup`, `rebuild` and `check`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import typer

from admin_app.cli_data import count_of, progress_bar
from admin_app.config import Settings
from admin_app.installation import DataDir, configured, installation, require_schema

if TYPE_CHECKING:
    from admin_app.database import Database

search = typer.Typer(no_args_is_help=True, help="Look after the index of quick search.")

SHOWN = 5
COMPARED_AT_ONCE = 1000
KINDS = {
    "missing": "not in the index",
    "outdated": "in the index as they were",
    "extra": "in the index, but not in the database",
}


@search.callback()
def _said_once() -> None:
    """What goes wrong is said by the command itself."""
    from admin_app import logs

    logs.configure("search", "ERROR")


@search.command()
def setup(data_dir: DataDir = None) -> None:
    """Give the search server its settings and SEARCH_SYNONYMS. PostgreSQL needs nothing."""
    with installation(data_dir) as settings:
        typer.echo(asyncio.run(_set_up(settings)))


@search.command()
def rebuild(data_dir: DataDir = None) -> None:
    """Write all products into a new index, which then takes over. Cut short, the same command goes on."""
    with installation(data_dir) as settings:
        require_schema(settings, is_private=not configured(data_dir).database_url)
        done = asyncio.run(_rebuild(settings))
    typer.echo(f"The new index has taken over, with {count_of(done, 'product')}.")


@search.command()
def check(data_dir: DataDir = None) -> None:
    """Compare the index with the products. Exit code 1: they differ."""
    with installation(data_dir) as settings:
        require_schema(settings, is_private=not configured(data_dir).database_url)
        differs = asyncio.run(_check(settings))
    if differs:
        typer.echo(
            "What was saved in the last seconds may be on its way. For the rest: admin-app search rebuild"
        )
        raise typer.Exit(1)


async def _set_up(settings: Settings) -> str:
    from admin_app.domains import open_search

    engine = open_search(settings)
    try:
        said = await engine.set_up()
    finally:
        await engine.close()
    if engine.is_in_database and settings.search_synonyms:
        said += " It knows no synonyms; SEARCH_SYNONYMS is for a search server."
    return said


async def _rebuild(settings: Settings) -> int:
    from admin_app.domains.products.rebuilding import CONNECTIONS, Rebuild

    done, stage = 0, ""
    enough = max(settings.database_pool_size, CONNECTIONS)
    async with _database(settings.model_copy(update={"database_pool_size": enough})) as database:
        with progress_bar() as bar:
            task = bar.add_task("", total=None)
            async for progress in Rebuild(database).run():
                done = progress.done
                bar.update(
                    task, description=progress.stage, completed=progress.done, total=progress.total or None
                )
                if progress.stage != stage and not sys.stdout.isatty():
                    typer.echo(f"{progress.stage}: {progress.done:,} of {progress.total:,}")
                stage = progress.stage
    return done


async def _check(settings: Settings) -> bool:
    from admin_app.domains.products.indexing import ProductIndex

    products = 0
    counts = dict.fromkeys(KINDS, 0)
    first: dict[str, list[UUID]] = {kind: [] for kind in KINDS}
    async with _database(settings) as database, database.reading() as session:
        async for number, differences in ProductIndex(session).compare(COMPARED_AT_ONCE):
            products += number
            for kind in KINDS:
                ids = getattr(differences, kind)
                counts[kind] += len(ids)
                first[kind] += ids[: SHOWN - len(first[kind])]
    for kind, meaning in KINDS.items():
        if counts[kind]:
            more = ", …" if counts[kind] > SHOWN else ""
            typer.echo(f"{counts[kind]:,} {meaning}: {', '.join(map(str, first[kind]))}{more}")
    is_same = not any(counts.values())
    typer.echo(f"{count_of(products, 'product')} compared{': the index is as they are' if is_same else ''}.")
    return not is_same


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator["Database"]:
    from admin_app.domains import open_database

    database = open_database(settings)
    try:
        yield database
    finally:
        await database.close()
