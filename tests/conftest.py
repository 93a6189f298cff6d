"""Real servers, one migrated database per test process, and the cast.

Alice owns, Bob is another administrator, Sam is support, Root is a superuser, and nobody is nobody.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import argon2
import httpx
import pytest
from jinja2 import BytecodeCache, Environment, FileSystemBytecodeCache
from redis.asyncio import Redis
from sqlalchemy import event, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from starlette.routing import Mount, Route

from admin_app import migrations
from admin_app.actor import Actor, Role, Source
from admin_app.admin import site
from admin_app.admin.site import AppAdmin
from admin_app.app import Website, create_app
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import METADATA, open_database
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductCreate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserCreate
from admin_app.domains.users.service import UserService
from admin_app.embedded import embedded_servers
from admin_app.security import passwords, sessions
from admin_app.security.throttle import KEY_PREFIX

# A setting of the machine must not decide what is tested, nor what is emptied.
for name in Settings.model_fields:
    os.environ.pop(name.upper(), None)

# Else each of the processes that tests start would compile all modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Argon2id is slow on purpose; as little of it as there may be is as good for what is tested in this process.
passwords._hasher.current_hasher._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

PASSWORD = "correct horse battery staple"
SESSION_COOKIE = "session_8000"
EMPTY = "; ".join(f"DELETE FROM {table.name}" for table in reversed(METADATA.sorted_tables))
"""Not TRUNCATE: for a few rows it takes ten times as long."""


@pytest.fixture(scope="session")
def settings() -> Iterator[Settings]:
    """Private PostgreSQL and Valkey of this test process, migrated."""
    # Not pytest's own folder: every new session closes that to other accounts, PostgreSQL's among them.
    with (
        TemporaryDirectory(prefix="admin-app-") as data_dir,
        embedded_servers(Settings(data_dir=Path(data_dir), _env_file=None)) as running,
    ):
        asyncio.run(_spare_the_disk(running.database_url))
        migrations.upgrade(running.database_url)
        yield running


async def _spare_the_disk(database_url: str) -> None:
    """What survives a killed server needs no fsync; what survives a power cut is PostgreSQL's own promise."""
    engine = create_async_engine(database_url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("ALTER SYSTEM SET fsync = off"))
        await connection.execute(text("SELECT pg_reload_conf()"))
    await engine.dispose()


@pytest.fixture(scope="session")
def password_hash() -> str:
    """Of PASSWORD."""
    return passwords._hasher.hash(PASSWORD)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The application's database, emptied afterwards."""
    database = open_database(settings)
    yield database
    async with database.engine.connect() as connection:
        # All in one round trip, which only asyncpg itself can do.
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute(EMPTY)
    await database.close()
    await forget_tries(settings)


async def forget_tries(settings: Settings) -> None:
    """Whoever failed to sign in has not failed since."""
    async with Redis.from_url(settings.redis_url) as redis:
        if keys := await redis.keys(f"{KEY_PREFIX}:*"):
            await redis.delete(*keys)


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """Every SQL statement sent from now on."""
    sent: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        sent.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield sent
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


@dataclass(frozen=True)
class Cast:
    alice: Actor
    bob: Actor
    sam: Actor
    root: Actor


@pytest.fixture
async def cast(database: Database, password_hash: str) -> Cast:
    """Four people with PASSWORD, as the actors of a form."""
    roles = {
        "alice": Role.ADMINISTRATOR,
        "bob": Role.ADMINISTRATOR,
        "sam": Role.SUPPORT,
        "root": Role.SUPERUSER,
    }
    actors = {}
    async with database.transaction() as session:
        service = UserService(session, Actor.system())
        for name, role in roles.items():
            data = UserCreate(email=f"{name}@demo.example", name=name.capitalize(), role=role)
            user = await service.create(data)
            actors[name] = Actor(user.id, role, user.email, Source.FORM)
        await session.execute(update(User).values(password_hash=password_hash, updated_at=User.updated_at))
    return Cast(**actors)


MakeProduct = Callable[..., Awaitable[Product]]


@pytest.fixture
def make_product(database: Database) -> MakeProduct:
    """`await make_product(actor, name=..., price=...)`: created through the service, committed."""

    async def make(actor: Actor, **fields) -> Product:
        data = ProductCreate(**{"name": "Balls to the Wall", "price": Decimal("0.99"), **fields})
        async with database.transaction() as session:
            return await ProductService(session, actor).create(data)

    return make


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> BytecodeCache:
    """Compiling the templates takes longer than most tests; once is enough."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
async def website(
    settings: Settings, database: Database, compiled_templates: BytecodeCache
) -> AsyncIterator[Website]:
    """The application, on connections of its own, which end before the database is emptied."""
    with patch.object(site, "environment", partial(_environment, site.environment, compiled_templates)):
        website = create_app(settings)
    yield website
    await website.state.health.close()
    await website.state.throttle.close()
    await website.state.database.close()


def _environment(make: Callable[[], Environment], compiled: BytecodeCache) -> Environment:
    environment = make()
    environment.bytecode_cache = compiled
    return environment


def admin_of(website: Website) -> AppAdmin:
    """The site object behind the application's routes."""
    [mount] = [route for route in website.routes if isinstance(route, Mount) and route.name == "admin"]
    [index] = [route for route in mount.routes if isinstance(route, Route) and route.name == "index"]
    admin = index.endpoint.__self__.site
    assert isinstance(admin, AppAdmin)
    return admin


def headers_of(response: httpx.Response) -> list[tuple[str, str]]:
    """All but the request's own id."""
    return sorted(item for item in response.headers.multi_items() if item[0] != "x-request-id")


def browser(website: Website) -> httpx.AsyncClient:
    """Somebody nobody knows, at the website in this process. Redirects are not followed."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(website, raise_app_exceptions=False),
        base_url="http://127.0.0.1:8000",
        headers={"Sec-Fetch-Site": "same-origin"},
    )


@pytest.fixture
async def client(website: Website) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(website) as client:
        yield client


SignIn = Callable[[str], Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def sign_in(website: Website, database: Database, cast: Cast) -> AsyncIterator[SignIn]:
    """`await sign_in("alice")`: a browser with a session of hers. "nobody" has none."""
    async with AsyncExitStack() as stack:

        async def sign_in(name: str) -> httpx.AsyncClient:
            client = await stack.enter_async_context(browser(website))
            if name != "nobody":
                actor: Actor = getattr(cast, name)
                async with database.transaction() as session:
                    token = await sessions.open_session(session, actor.id, address=None, user_agent=None)
                client.cookies.set(SESSION_COOKIE, token, domain="127.0.0.1")
            return client

        yield sign_in


async def count(session: AsyncSession, table: str) -> int:
    return await session.scalar(text(f"SELECT count(*) FROM {table}")) or 0


__all__ = ["PASSWORD", "SESSION_COOKIE", "Cast", "MakeProduct", "SignIn", "admin_of", "browser", "count"]
