"""The command `admin-app seed`, and how commands show what they are at."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from admin_app.config import Settings
from admin_app.installation import DataDir, configured, installation, require_schema

if TYPE_CHECKING:
    from rich.progress import Progress


def count_of(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def seed(
    products: Annotated[int, typer.Option(min=1, help="How many to add.")] = 2000,
    owners: Annotated[int, typer.Option(min=1, help="How many people own them.")] = 5,
    data_dir: DataDir = None,
) -> None:
    """Add believable products, for trying things out."""
    from admin_app import demo
    from admin_app.domains import open_database

    async def add(settings: Settings) -> None:
        database = open_database(settings)
        try:
            with progress_bar() as progress:
                bar = progress.add_task("Adding", total=products)
                async for done in demo.seed(database, products=products, owners=owners):
                    progress.update(bar, completed=done)
        finally:
            await database.close()

    with installation(data_dir) as settings:
        require_schema(settings, is_private=not configured(data_dir).database_url)
        asyncio.run(add(settings))
    typer.echo(f"{count_of(products, 'product')} added.")


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(), transient=True, disable=not sys.stdout.isatty()) as progress:
        yield progress
