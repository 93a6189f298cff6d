"""What this installation runs on, one finding at a time. Never shows a password."""

import asyncio
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import redis
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine

from admin_app import migrations
from admin_app.config import ConfigurationError, Settings
from admin_app.database import Database
from admin_app.domains import open_mailer, open_storage
from admin_app.embedded import embedded_servers
from admin_app.errors import Unavailable
from admin_app.outbox import describe
from admin_app.presence import ALIVE_SECONDS, Kind, processes
from admin_app.search_meilisearch import MeilisearchEngine, read_synonyms

MIN_POSTGRESQL = 180000
EXTENSIONS = ("pg_trgm", "unaccent")
PACKAGES = ("admin-app", "sqladmin", "starlette", "sqlalchemy", "asyncpg", "saq", "redis")
TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Check:
    subject: str
    finding: str
    is_ok: bool = True


def examine(configured: Settings) -> Iterator[Check]:
    yield Check(
        "Python", f"{platform.python_version()} on {platform.platform()}", sys.version_info >= (3, 11)
    )
    yield Check("packages", ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    try:
        with embedded_servers(configured) as settings:
            yield _attempt("data directory", lambda: _data_directory(settings))
            yield from _database(settings, is_embedded=not configured.database_url)
            if settings.database_direct_url:
                yield _attempt("pooler", lambda: asyncio.run(_pooler(settings)))
            yield _attempt("queue", lambda: _queue(settings, is_embedded=not configured.redis_url))
            yield _attempt("storage", lambda: _storage(settings))
            yield _attempt("search", lambda: asyncio.run(_search(settings)))
            yield _attempt("mail", lambda: Check("mail", asyncio.run(open_mailer(settings).check())))
    except ConfigurationError as error:
        yield Check("servers", str(error), is_ok=False)


def _attempt(subject: str, examine_it: Callable[[], Check]) -> Check:
    try:
        return examine_it()
    except Exception as error:  # whatever a driver raises is a finding: the next check goes on
        return Check(subject, describe(error), is_ok=False)


def _data_directory(settings: Settings) -> Check:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=settings.data_dir):
        return Check("data directory", f"{settings.data_dir.resolve()} can be written")


def _database(settings: Settings, *, is_embedded: bool) -> Iterator[Check]:
    try:
        facts = asyncio.run(_facts(settings.direct_url))
    except Exception as error:  # the same: the queue is still to be examined
        yield Check("PostgreSQL", f"{masked(settings.direct_url)}: {describe(error)}", is_ok=False)
        return
    place = "embedded" if is_embedded else f"external, {masked(settings.direct_url)}"
    is_new_enough = int(facts["number"]) >= MIN_POSTGRESQL
    need = "" if is_new_enough else "; version 18 or newer is needed"
    yield Check("PostgreSQL", f"{facts['version']} ({place}){need}", is_new_enough)
    for name in EXTENSIONS:
        available, installed = facts["extensions"].get(name, (None, None))
        state = (
            f"{installed} installed" if installed else f"{available} available" if available else "missing"
        )
        yield Check(name, state, available is not None)
    yield (migrated := _attempt("migrations", lambda: _migrations(settings)))
    if migrated.is_ok:
        yield _attempt("processes", lambda: asyncio.run(_processes(settings)))


async def _facts(database_url: str) -> dict[str, Any]:
    engine = create_async_engine(database_url, connect_args={"timeout": TIMEOUT_SECONDS})
    try:
        async with engine.connect() as connection:
            server = (
                await connection.execute(
                    text("SELECT current_setting('server_version'), current_setting('server_version_num')")
                )
            ).one()
            extensions = await connection.execute(
                text("SELECT name, default_version, installed_version FROM pg_available_extensions")
            )
            return {
                "version": server[0],
                "number": server[1],
                "extensions": {name: (available, installed) for name, available, installed in extensions},
            }
    finally:
        await engine.dispose()


async def _pooler(settings: Settings) -> Check:
    database = Database(
        settings.database_url, direct_url=settings.database_direct_url, answer_seconds=TIMEOUT_SECONDS
    )
    try:
        async with database.reading() as session:
            await session.execute(text("SELECT 1"))
    finally:
        await database.close()
    return Check("pooler", f"{masked(settings.database_url)} answers")


def _migrations(settings: Settings) -> Check:
    current, head = migrations.current(settings.direct_url), migrations.head()
    if current == head:
        return Check("migrations", f"at head {head}")
    return Check(
        "migrations", f"at {current or 'nothing'}, head is {head}; run: admin-app migrate", is_ok=False
    )


async def _processes(settings: Settings) -> Check:
    database = Database(settings.direct_url, answer_seconds=TIMEOUT_SECONDS)
    try:
        async with database.reading() as session:
            kinds = [process.kind for process, is_alive in await processes(session) if is_alive]
    finally:
        await database.close()
    seen = ", ".join(f"{kinds.count(kind)} {kind}" for kind in Kind)
    return Check("processes", f"{seen}, seen in the last {ALIVE_SECONDS:g} s")


def _queue(settings: Settings, *, is_embedded: bool) -> Check:
    client = redis.Redis.from_url(
        settings.redis_url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )
    try:
        facts: Any = client.info("server")
    finally:
        client.close()
    name = "Valkey" if "valkey_version" in facts else "Redis"
    number = facts.get("valkey_version", facts.get("redis_version"))
    place = "embedded" if is_embedded else f"external, {masked(settings.redis_url)}"
    return Check("queue", f"{name} {number} ({place})")


def _storage(settings: Settings) -> Check:
    storage = open_storage(settings)
    try:
        storage.check()
    except Unavailable as error:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        return Check("storage", f"{settings.files_url}: {describe(cause)}", is_ok=False)
    return Check("storage", f"{settings.files_url} can be written and read")


async def _search(settings: Settings) -> Check:
    if settings.search_synonyms:
        read_synonyms(settings.search_synonyms)
    if not settings.search_url:
        return Check("search", "in PostgreSQL")
    engine = MeilisearchEngine(settings.search_url, settings.search_key.get_secret_value())
    try:
        number = await engine.version()
        return Check("search", f"Meilisearch {number} (external, {masked(settings.search_url)})")
    finally:
        await engine.close()


def masked(url: str) -> str:
    """Any URL, of Redis too, without its password and its options."""
    try:
        return make_url(url).set(query={}).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "a URL that cannot be read"
