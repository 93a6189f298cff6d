"""The `admin-app` command. A command gets its settings and servers from `installation()`; see `migrate`."""

import asyncio
import csv
import logging
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import SecretStr
from typer.core import TyperGroup

from admin_app import lifeline
from admin_app.config import ConfigurationError, Settings, load_settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from admin_app.domains.products.importing import Outcome, ProductFile

DataDir = Annotated[
    Path | None, typer.Option(help="Where everything without a URL of its own is kept. [default: .data]")
]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]


class Sentences(TyperGroup):
    """Whatever goes wrong is said in sentences, not in a trace: exit code 2 for settings, else 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            typer.echo(f"admin-app: {error}", err=True)
            raise typer.Exit(2) from None
        except Exception as error:
            from admin_app.refusals import explain

            sentences = explain(error)
            if not sentences:
                raise
            for sentence in sentences:
                typer.echo(f"admin-app: {sentence}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(cls=Sentences, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def configured(data_dir: Path | None) -> Settings:
    return load_settings() if data_dir is None else load_settings(data_dir=data_dir)


@contextmanager
def installation(data_dir: Path | None) -> Iterator[Settings]:
    """Complete settings; what is not configured runs privately until the block ends, also on SIGTERM."""
    from admin_app.embedded import embedded_servers

    signal.signal(signal.SIGTERM, _exit)
    with embedded_servers(configured(data_dir)) as settings:
        yield settings


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _log(settings: Settings, name: str) -> None:
    logging.basicConfig(level=settings.log_level, format=f"{name}: %(levelname)s %(name)s: %(message)s")
    if settings.log_level == "INFO":
        # They announce each start and stop at length; SAQ with all it knows of its connection.
        for chatty in ("uvicorn", "saq"):
            logging.getLogger(chatty).setLevel(logging.WARNING)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"admin-app {version('admin-app')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Admin dashboard: website, background work and their servers."""
    lifeline.hold()


@app.command()
def up(host: Host = "127.0.0.1", port: Port = 8000, data_dir: DataDir = None, demo: bool = False) -> None:
    """Run everything here: servers, migrations, website, relay and worker. --demo adds sample data."""
    from admin_app import supervisor

    supervisor.up(configured(data_dir), host=host, port=port, demo=demo)


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data_dir: DataDir = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the website."""
    from admin_app import web
    from admin_app.app import create_app

    # `up` hands down a socket that it holds open itself.
    with web.listen(host, port) if fd is None else socket.socket(fileno=fd) as listener:  # noqa: SIM117
        with installation(data_dir) as settings:
            _log(settings, "web")
            web.serve(create_app(settings), listener)


@app.command()
def relay(data_dir: DataDir = None) -> None:
    """Hand due deliveries to the queue."""
    from admin_app import relay

    with installation(data_dir) as settings:
        _log(settings, "relay")
        asyncio.run(relay.run(settings))


@app.command()
def worker(data_dir: DataDir = None) -> None:
    """Do the work that waits in the queue."""
    from admin_app import worker

    with installation(data_dir) as settings:
        _log(settings, "worker")
        asyncio.run(worker.run(settings))


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database schema to the newest revision."""
    from admin_app import migrations

    with installation(data_dir) as settings:
        before = migrations.current(settings.database_url)
        migrations.upgrade(settings.database_url)
    after = migrations.head()
    typer.echo(f"at {after}" if before == after else f"{before or 'empty'} -> {after}")


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Say what this installation runs on, and what is wrong with it."""
    from admin_app.doctor import examine

    failed = False
    for check in examine(configured(data_dir)):
        typer.echo(f"{'ok  ' if check.is_ok else 'FAIL'}  {check.subject}: {check.finding}")
        failed |= not check.is_ok
    if failed:
        raise typer.Exit(1)


@app.command()
def createsuperuser(
    email: Annotated[str | None, typer.Option(help="Asked for when missing.")] = None,
    name: Annotated[str | None, typer.Option(help="Asked for when missing.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make an account that may do everything. ADMIN_APP_PASSWORD holds its password, or it is asked for."""
    email = email or typer.prompt("E-mail")
    name = name or typer.prompt("Name")
    password = os.environ.get("ADMIN_APP_PASSWORD") or typer.prompt(
        "Password", hide_input=True, confirmation_prompt=True
    )
    with installation(data_dir) as settings:
        asyncio.run(_create_superuser(settings, email, name, password))
    typer.echo(f"{email} may sign in now.")


async def _create_superuser(settings: Settings, email: str, name: str, password: str) -> None:
    from admin_app.actor import Actor, Role
    from admin_app.domains import open_database
    from admin_app.domains.users.schemas import UserCreate
    from admin_app.domains.users.service import UserService

    data = UserCreate(email=email, name=name, role=Role.SUPERUSER, password=SecretStr(password))
    database = open_database(settings)
    try:
        async with database.transaction() as session:
            await UserService(session, Actor.system()).create(data)
    finally:
        await database.close()


imports = typer.Typer(no_args_is_help=True, help="Bring data in from a file.")
app.add_typer(imports, name="import")


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
            _require_schema(settings, is_private=not configured(data_dir).database_url)
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
        with _first_signal() as stopped, _progress() as progress:
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
        f"{_count(done.total(), 'row')}: {done['created']:,} created, {skipped:,} skipped, "
        f"{done['refused']:,} refused."
    ]
    if owners:
        sentences.append(f"{_count(owners, 'owner')} created.")
    if done["differs"]:
        sentences.append(f"Another price or state here: {done['differs']:,} of the skipped (see --report).")
    return "\n".join(sentences)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@app.command()
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
            with _progress() as progress:
                bar = progress.add_task("Adding", total=products)
                async for done in demo.seed(database, products=products, owners=owners):
                    progress.update(bar, completed=done)
        finally:
            await database.close()

    with installation(data_dir) as settings:
        _require_schema(settings, is_private=not configured(data_dir).database_url)
        asyncio.run(add(settings))
    typer.echo(f"{_count(products, 'product')} added.")


def _require_schema(settings: Settings, *, is_private: bool) -> None:
    """A private database is brought up to date; about another one somebody has to decide."""
    from admin_app import migrations

    if is_private:
        migrations.upgrade(settings.database_url)
    elif migrations.current(settings.database_url) != migrations.head():
        raise ConfigurationError("The database schema is not this version's. Run `admin-app migrate` first.")


@contextmanager
def _progress() -> Iterator["Progress"]:
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
