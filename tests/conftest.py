"""Real servers, one migrated database per test process, and the cast.

Alice owns, Bob is another administrator, Sam is support, Root is a superuser, and nobody is nobody.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import event, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import migrations
from admin_app.actor import Actor, Role, Source
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
from admin_app.security import passwords

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Private PostgreSQL and Valkey of this test process, migrated."""
    data_dir: Path = tmp_path_factory.mktemp("data")
    with embedded_servers(Settings(data_dir=data_dir, _env_file=None)) as running:
        migrations.upgrade(running.database_url)
        yield running


@pytest.fixture(scope="session")
def password_hash() -> str:
    """Of PASSWORD; hashing is slow on purpose, so once is enough."""
    return passwords._hasher.hash(PASSWORD)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The application's database, emptied afterwards."""
    database = open_database(settings)
    yield database
    names = ", ".join(table.name for table in METADATA.sorted_tables)
    async with database.transaction() as session:
        await session.execute(text(f"TRUNCATE {names}"))
    await database.close()


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


async def count(session: AsyncSession, table: str) -> int:
    return await session.scalar(text(f"SELECT count(*) FROM {table}")) or 0


__all__ = ["PASSWORD", "Cast", "MakeProduct", "count"]
