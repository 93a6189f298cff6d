"""What a command works on: its settings, and the private servers for what they leave open."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from admin_app.config import ConfigurationError, Settings, load_settings

DataDir = Annotated[
    Path | None, typer.Option(help="Where everything without a URL of its own is kept. [default: .data]")
]


def configured(data_dir: Path | None) -> Settings:
    return load_settings() if data_dir is None else load_settings(data_dir=data_dir)


@contextmanager
def installation(data_dir: Path | None) -> Iterator[Settings]:
    """Complete settings; what is not configured runs privately until the block ends, also on SIGTERM."""
    from admin_app.embedded import embedded_servers

    signal.signal(signal.SIGTERM, _exit)
    known = configured(data_dir)
    with embedded_servers(known) as settings:
        if not known.database_url:
            typer.echo(f"admin-app: with the private database in {settings.data_dir}", err=True)
        yield settings


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def require_schema(settings: Settings, *, is_private: bool) -> None:
    """A private database is brought up to date; about another one somebody has to decide."""
    from admin_app import migrations

    if is_private:
        migrations.upgrade(settings.direct_url)
    elif migrations.current(settings.direct_url) != migrations.head():
        raise ConfigurationError("The database schema is not this version's. Run `admin-app migrate` first.")
