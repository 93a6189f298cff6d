"""The commands that bring data in: `admin-app import products` and `admin-app seed`."""

import asyncio
import csv
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from admin_app.config import ConfigurationError, Settings
from admin_app.installation import DataDir, configured, installation, require_schema

if TYPE_CHECKING:
    from rich.progress import Progress

    from admin_app.domains.products.importing import Outcome, ProductFile

imports = typer.Typer(no_args_is_help=True, help="Bring data in from a file.")


@imports.command("products")
def import_products(
    file: Annotated[Path, typer.Argument(help="A CSV file in UTF-8; docs/importing.md says of what.")],
    create_owners: Annotated[
        bool, typer.Option("--create-owners", help="Make an account for each unknown owner.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Write what became of each row to this file.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Create products from a CSV file. Exit code 1: some rows were refused. 2: nothing could be done."""
    from admin_app.domains.products.importing import open_products
    from admin_app.refusals import explain

    done: Counter[str] = Counter()
    try:
        with (
            open_products(file) as products,
            _report(report, file) as note,
            installation(data_dir) as settings,
        ):
            require_schema(settings, is_private=not configured(data_dir).database_url)
            code = asyncio.run(_import(settings, products, create_owners, note, done))
    except Exception as error:
        sentences = explain(error)
        if done or not sentences:
            raise
        raise ConfigurationError(" ".join(sentences)) from None
    raise typer.Exit(code)


async def _import(
    settings: Settings,
    products: "ProductFile",
    create_owners: bool,
    note: Callable[[Sequence["Outcome"]], None],
    done: Counter[str],
) -> int:
    """Returns the exit code. `done` counts the rows by verdict; `differs` are skipped ones, counted apart."""
    from admin_app.domains import open_database
    from admin_app.domains.products.importing import DIFFERS, ProductImport, Verdict, chunks

    database = open_database(settings)
    task = ProductImport(database, create_owners=create_owners)
    size = products.size_bytes()
    try:
        with _first_signal() as stopped, progress_bar() as progress:
            bar = progress.add_task("Importing", total=size)
            for chunk in chunks(products):
                outcomes = await task.take(chunk)
                for outcome in outcomes:
                    done["differs" if outcome.reason == DIFFERS else outcome.verdict] += 1
                    if outcome.verdict is Verdict.REFUSED:
                        progress.console.out(f"line {outcome.line}: {outcome.reason}", highlight=False)
                note(outcomes)
                progress.update(bar, completed=products.position_bytes() if size else None)
                if progress.disable and done.total() % 5000 == 0:
                    typer.echo(f"{done.total():,} rows so far")
                if stopped:
                    break
        await task.finish(products.name)
    finally:
        await database.close()
        if done:
            typer.echo(_summary(done, task.owners_created))
    if stopped:
        typer.echo("Stopped. Run the same command again for the rest.")
        return 128 + stopped[0]
    return 1 if done["refused"] else 0


def _summary(done: Counter[str], owners: int) -> str:
    skipped = done["skipped"] + done["differs"]
    sentences = [
        f"{count_of(done.total(), 'row')}: {done['created']:,} created, {skipped:,} skipped, "
        f"{done['refused']:,} refused."
    ]
    if owners:
        sentences.append(f"{count_of(owners, 'owner')} created.")
    if done["differs"]:
        sentences.append(f"Another price or state here: {done['differs']:,} of the skipped (see --report).")
    return "\n".join(sentences)


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


@contextmanager
def _first_signal() -> Iterator[list[int]]:
    """Keeps the first SIGINT or SIGTERM, for work that stops at a good point. A second one acts at once."""
    kept: list[int] = []
    usual: dict[signal.Signals, Any] = {}

    def keep(number: int, _frame: FrameType | None) -> None:
        kept.append(number)
        restore()

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        usual[number] = signal.signal(number, keep)
    try:
        yield kept
    finally:
        restore()


@contextmanager
def _report(path: Path | None, source: Path) -> Iterator[Callable[[Sequence["Outcome"]], None]]:
    """A function that writes down outcomes."""
    if path is None:
        yield lambda _outcomes: None
        return
    if path.exists() and path.samefile(source):
        raise ConfigurationError("--report names the file to be imported. Choose another name.")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)

        def note(outcomes: Sequence["Outcome"]) -> None:
            writer.writerows([each.line, each.verdict, each.reason, each.product_id] for each in outcomes)
            file.flush()

        writer.writerow(["line", "outcome", "reason", "product_id"])
        note([])
        yield note
