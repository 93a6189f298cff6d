"""The command that takes a list out into a file: `admin-app export`."""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING, Annotated, BinaryIO
from urllib.parse import parse_qsl

import typer

from admin_app.config import ConfigurationError, Settings
from admin_app.installation import DataDir, configured, installation, require_schema

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from admin_app.exports.models import Format
    from admin_app.exports.writing import Writing

STANDARD_OUTPUT = "-"


def export(
    kind: Annotated[str, typer.Argument(help="product, user, operation or activity.")],
    file: Annotated[str, typer.Argument(help="Where to; - is the standard output.")] = STANDARD_OUTPUT,
    *,
    form: Annotated[
        str | None, typer.Option("--format", help="csv, jsonl or xlsx; else by the file's name, or csv.")
    ] = None,
    query: Annotated[
        str, typer.Option(help="As in the list's address: search=tea&price_from=10&sortBy=name")
    ] = "",
    columns: Annotated[str, typer.Option(help="Names of columns, separated by commas.")] = "",
    all_columns: Annotated[bool, typer.Option("--all-columns", help="Every column there is.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Write what a list shows into a file. Exit code 1: it failed on the way. 2: nothing could be done."""
    from admin_app.exports.models import Format

    if form is None:
        form = Path(file).suffix.removeprefix(".").lower()
        form = form if form in set(Format) else Format.CSV.value
    if form not in set(Format):
        raise ConfigurationError(f"--format must be one of {', '.join(Format)}.")
    if columns and all_columns:
        raise ConfigurationError("Give either --columns or --all-columns.")
    if file == STANDARD_OUTPUT and form == Format.EXCEL.value and sys.stdout.isatty():
        raise ConfigurationError("A workbook is not for a terminal. Name a file.")
    if file != STANDARD_OUTPUT and (not file or (Path(file).exists() and not Path(file).is_file())):
        raise ConfigurationError(f"{file or 'Nothing'} is not a file to write to. Name one.")
    names = [name.strip() for name in columns.split(",")] if columns else None
    wanted = _Wanted(kind, Format(form), query, names, is_whole=all_columns)
    with installation(data_dir) as settings:
        require_schema(settings, is_private=not configured(data_dir).database_url)
        with _stopping():
            rows = asyncio.run(_export(settings, wanted, file))
    typer.echo(f"{rows:,} {'row' if rows == 1 else 'rows'} written.", err=True)


@contextmanager
def _stopping() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, and each with the exit code of its signal."""
    received = [signal.SIGINT]

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.insert(0, signal.Signals(number))
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell's script
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    usual = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(128 + received[0]) from None
    finally:
        signal.signal(signal.SIGTERM, usual)


@dataclass(frozen=True)
class _Wanted:
    kind: str
    format: "Format"
    query: str
    columns: Sequence[str] | None
    """None: the usual ones."""
    is_whole: bool


async def _export(settings: Settings, wanted: _Wanted, file: str) -> int:
    """Returns the number of rows. The file has its name when it is complete and the history knows of it."""
    from admin_app.actor import Actor
    from admin_app.domains import open_database
    from admin_app.exports.service import note_exported, selection_of

    database = open_database(settings)
    try:
        # Read in a transaction of its own: one that breaks off takes its connection with it.
        async with database.reading() as session:
            writing = _prepared(session, wanted)
            with _output(file) as output:
                await _write(session, writing, output)
                rows = writing.progress.rows
                words = selection_of(writing.service, writing.query)
                async with database.transaction() as beside:
                    note_exported(
                        beside, Actor.system(), writing.service, wanted.format, rows=rows, words=words
                    )
        return rows
    except BrokenPipeError:  # whoever read it has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        raise typer.Exit(1) from None
    finally:
        await database.close()


@contextmanager
def _output(file: str) -> Iterator[BinaryIO]:
    """Another file beside it, which takes its place at the end."""
    if file == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        return
    target = Path(file)
    # Two commands may write the same file: each has its own until then.
    unfinished = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.unfinished")
    try:
        output = unfinished.open("xb")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}.") from None
    try:
        with output:
            yield output
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _prepared(session: "AsyncSession", wanted: _Wanted) -> "Writing":
    from admin_app.actor import Actor
    from admin_app.domains import EXPORTABLE
    from admin_app.errors import AppError
    from admin_app.exports.service import chosen, exportable
    from admin_app.exports.writing import Progress, Writing

    if wanted.kind not in EXPORTABLE:
        raise ConfigurationError(f"What to export must be one of {', '.join(EXPORTABLE)}.")
    service = exportable(session, Actor.system(), wanted.kind)
    known = [column.name for column in service.export_columns if column.is_usual or wanted.is_whole]
    try:
        query = service.listing.parse(parse_qsl(wanted.query, keep_blank_values=True))
        columns = chosen(service, wanted.columns or known)
    except AppError as error:
        raise ConfigurationError(error.message) from None
    return Writing(service, query, columns, wanted.format, Progress())


async def _write(session: "AsyncSession", writing: "Writing", output: BinaryIO) -> None:
    with TemporaryDirectory(prefix="admin-app-export-") as folder:
        async with writing.content(session, Path(folder)) as content:
            await _pour(content, output, writing)


async def _pour(content: AsyncIterator[bytes] | Path, output: BinaryIO, writing: "Writing") -> None:
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as shown:
        bar = shown.add_task("Writing", total=None)
        async for piece in _pieces(content):
            output.write(piece)
            shown.update(bar, description=f"{writing.progress.size_bytes / 1_000_000:,.0f} MB written")
    output.flush()


async def _pieces(content: AsyncIterator[bytes] | Path) -> AsyncIterator[bytes]:
    if not isinstance(content, Path):
        async for piece in content:
            yield piece
        return
    with content.open("rb") as workbook:
        while piece := workbook.read(1024 * 1024):
            yield piece
