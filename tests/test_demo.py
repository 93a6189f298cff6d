"""The demo's accounts and products, and seeding."""

import asyncio
import json
import random
import stat
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import select, text

from admin_app import demo
from admin_app.actor import Actor, Role
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.demo import ACCOUNTS, catalogue, create_demo, seed
from admin_app.domains.products.models import Product
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import InvalidInput
from tests.conftest import count


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of 60 products, in chunks of 20."""
    monkeypatch.setattr(demo, "PRODUCTS", 60)
    monkeypatch.setattr(demo, "CHUNK", 20)


def accounts_in(file: Path) -> list[dict[str, str]]:
    return json.loads(file.read_text())


async def can_sign_in(database: Database, account: dict[str, str]) -> bool:
    async with database.transaction() as session:
        service = UserService(session, Actor.system())
        user = await service.authenticate(account["email"], account["password"])
        return user is not None and user.role == account["role"]


async def test_the_four_accounts_can_sign_in_with_what_the_file_says(
    database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "accounts.json"
    await create_demo(database, file)
    accounts = accounts_in(file)
    assert {account["email"]: account["role"] for account in accounts} == {
        "root@demo.example": "superuser",
        "alice@demo.example": "administrator",
        "bob@demo.example": "administrator",
        "sam@demo.example": "support",
    }
    assert len({account["password"] for account in accounts}) == 4
    for account in accounts:
        assert await can_sign_in(database, account)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["accounts.json"]


async def test_products_are_spread_over_people_and_time(database: Database, tmp_path: Path) -> None:
    await create_demo(database, tmp_path / "accounts.json")
    async with database.reading() as session:
        now = await session.scalar(text("SELECT now()"))
        products = list(await session.scalars(select(Product)))
        owners = dict((await session.execute(select(User.id, User.email))).all())
    assert len(products) == 60
    assert {owners[product.owner_id] for product in products} >= {"alice@demo.example", "bob@demo.example"}
    assert "sam@demo.example" not in {owners[product.owner_id] for product in products}
    ages = sorted((now - product.created_at).days for product in products)
    assert ages[0] < 50
    assert 350 < ages[-1] <= 400
    for product in products:
        assert (product.version, product.updated_at) == (1, product.created_at)
        assert product.created_at < now


async def test_products_come_with_history_and_events(database: Database, tmp_path: Path) -> None:
    await create_demo(database, tmp_path / "accounts.json")
    async with database.reading() as session:
        assert await count(session, "audit_entry WHERE kind = 'product'") == 60
        assert await count(session, "event WHERE name = 'ProductCreated'") == 3
        assert await count(session, "delivery") == 3


async def test_a_second_time_changes_nothing_even_if_products_were_changed_since(
    database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "accounts.json"
    await create_demo(database, file)
    before = file.read_text()
    async with database.transaction() as session:
        product = await session.scalar(select(Product).limit(1))
        assert product is not None
        await ProductService(session, Actor.system()).delete(product.id)
    await create_demo(database, file)
    assert file.read_text() == before
    async with database.reading() as session:
        assert await count(session, "products WHERE deleted_at IS NULL") == 59
        assert await count(session, "users") == 4


@pytest.mark.parametrize("damage", [None, "[{"])
async def test_a_lost_file_is_written_again_with_new_passwords(
    database: Database, tmp_path: Path, damage: str | None
) -> None:
    file = tmp_path / "accounts.json"
    await create_demo(database, file)
    before = accounts_in(file)
    file.unlink()
    if damage is not None:
        file.write_text(damage)
    await create_demo(database, file)
    after = accounts_in(file)
    assert [account["email"] for account in after] == list(ACCOUNTS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert await can_sign_in(database, after[1])
    assert not await can_sign_in(database, before[1])
    async with database.reading() as session:
        assert await count(session, "products") == 60


@pytest.mark.parametrize("content", ["", "[{", "[]", "7", '["x"]', '[{"role": "superuser"}]', "\ufffd"])
def test_a_damaged_file_counts_as_lost(tmp_path: Path, content: str) -> None:
    file = tmp_path / "accounts.json"
    file.write_bytes(content.encode("utf-16"))
    assert not demo._is_intact(file)
    file.write_text(content)
    assert not demo._is_intact(file)


async def test_a_file_left_by_another_database_does_not_stop_the_demo(
    database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "accounts.json"
    file.write_text('[{"role": "support", "email": "sam@demo.example", "password": "old"}]')
    await create_demo(database, file)
    for account in accounts_in(file):
        assert await can_sign_in(database, account)


async def test_two_at_once_make_one_demo(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "accounts.json"
    await asyncio.gather(create_demo(database, file), create_demo(database, tmp_path / "other.json"))
    async with database.reading() as session:
        assert await count(session, "products") == 60
        assert await count(session, "users") == 4


@pytest.mark.crash
@pytest.mark.parametrize("place", ["second chunk", "file"])
async def test_a_demo_killed_midway_is_completed_by_running_it_again(
    settings: Settings, database: Database, tmp_path: Path, place: str
) -> None:
    file = tmp_path / "accounts.json"
    script = """
import asyncio, os, signal, sys
from pathlib import Path
from admin_app import demo
from admin_app.config import Settings
from admin_app.domains import open_database

demo.PRODUCTS, demo.CHUNK = 60, 20
place, name, url = sys.argv[1:]
original = getattr(demo, name)
calls = 0

def strike(*arguments):
    global calls
    calls += 1
    if calls == (2 if place == "second chunk" else 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

setattr(demo, name, strike)
settings = Settings(database_url=url, secret_key="k" * 40, _env_file=None)
asyncio.run(demo.create_demo(open_database(settings), Path(place)))
"""
    struck = {"second chunk": "_date_back", "file": "_write_accounts"}[place]
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script, place, struck, settings.database_url],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    await create_demo(database, file)
    assert await can_sign_in(database, accounts_in(file)[0])
    async with database.reading() as session:
        assert await count(session, "products") == 60
        assert await count(session, "users") == 4


def test_the_catalogue_is_believable() -> None:
    products = list(islice(catalogue(random.Random(demo.SEED)), 2000))
    assert products == list(islice(catalogue(random.Random(demo.SEED)), 2000))
    assert len({product.name for product in products}) == 2000
    assert all(product.description.endswith(".") for product in products)
    assert all(3 <= product.price < 500 for product in products)
    assert 0.8 < sum(product.is_active for product in products) / 2000 < 0.9


def test_the_catalogue_never_ends_and_never_repeats_a_name() -> None:
    names = [product.name for product in islice(catalogue(random.Random(1)), 20_000)]
    assert len(set(names)) == 20_000


async def test_seeding_adds_so_many_products_each_time(database: Database) -> None:
    assert [done async for done in seed(database, products=50, owners=3)] == [20, 40, 50]
    assert [done async for done in seed(database, products=10, owners=3)] == [10]
    async with database.reading() as session:
        assert await count(session, "products") == 60
        owners = list(await session.scalars(select(User)))
    assert len(owners) == 3
    assert {owner.role for owner in owners} == {Role.ADMINISTRATOR}
    assert len({owner.name for owner in owners}) == 3


async def test_seeding_says_which_of_its_owners_may_not_own_any_more(database: Database) -> None:
    async for _ in seed(database, products=1, owners=1):
        pass
    async with database.transaction() as session:
        owner = await session.scalar(select(User))
        assert owner is not None
        await UserService(session, Actor.system()).update(owner.id, UserUpdate(is_active=False))
    with pytest.raises(InvalidInput, match="is not active and cannot own products"):
        await anext(seed(database, products=1, owners=1))


def test_owners_have_different_addresses() -> None:
    emails = list(islice(demo._emails(), 5000))
    assert len(set(emails)) == 5000
    assert emails[0] == "amara.adler@store.example"


def test_the_command_seeds_what_is_configured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "admin_app", "seed", "--products", "3", "--data-dir", str(tmp_path)]
    seeded = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert seeded.returncode == 0, seeded.stderr
    assert seeded.stdout == "3 products added.\n"
