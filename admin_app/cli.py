"""The `admin-app` command. A command gets its settings and servers from `installation()`; see `migrate`."""

import asyncio
import os
import socket
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from typer.core import TyperGroup

from admin_app import cli_accounts, cli_data, cli_exports, cli_imports, cli_search, lifeline
from admin_app.config import ConfigurationError, Settings
from admin_app.installation import DataDir, configured, installation

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
    from admin_app import logs, supervisor

    settings = configured(data_dir)
    settings = settings.model_copy(update={"log_format": settings.log_format or "text"})
    logs.configure("up", settings.log_level, settings.log_format)
    supervisor.up(settings, host=host, port=port, demo=demo)


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data_dir: DataDir = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the website."""
    from admin_app import logs, web
    from admin_app.app import create_app
    from admin_app.security.headers import security_headers

    # `up` hands down a socket that it holds open itself.
    with web.listen(host, port) if fd is None else socket.socket(fileno=fd) as listener:  # noqa: SIM117
        with installation(data_dir) as settings:
            logs.configure("web", settings.log_level, settings.log_format)
            website = create_app(settings)
            web.serve(
                website,
                listener,
                security_headers(is_https=settings.is_https),
                drain_seconds=settings.drain_seconds,
                on_stop=website.note_end,
            )


@app.command()
def relay(data_dir: DataDir = None) -> None:
    """Hand due deliveries to the queue."""
    from admin_app import logs, relay
    from admin_app.domains import LONG_TASKS, SLOW_TASKS

    with installation(data_dir) as settings:
        logs.configure("relay", settings.log_level, settings.log_format)
        asyncio.run(relay.run(settings, SLOW_TASKS, LONG_TASKS))


@app.command()
def worker(data_dir: DataDir = None) -> None:
    """Do the work that waits in the queue."""
    from admin_app import logs, worker

    with installation(data_dir) as settings:
        logs.configure("worker", settings.log_level, settings.log_format)
        asyncio.run(worker.run(settings))


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database schema to the newest revision."""
    from admin_app import migrations

    with installation(data_dir) as settings:
        before = migrations.current(settings.direct_url)
        migrations.upgrade(settings.direct_url)
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


app.add_typer(cli_imports.imports, name="import")
app.add_typer(cli_search.search, name="search")
app.add_typer(cli_accounts.second_factor, name="second-factor")
app.command()(cli_exports.export)
app.command()(cli_data.seed)
