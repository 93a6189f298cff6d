"""A change that had to wait for another one sees the row as the other left it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import pytest
from sqlalchemy import delete, text

from admin_app.actor import Actor, Role
from admin_app.bulk.models import Outcome
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserCreate, UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.security.sessions import AuthSession
from tests.admin.pages import open_form
from tests.admin.rows import history, load
from tests.bulk.operations import Operations
from tests.conftest import Cast, MakeProduct, SignIn


async def until_somebody_waits(database: Database) -> None:
    """Returns when a connection of this database waits for a lock."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    async with asyncio.timeout(20):
        while True:
            async with database.reading() as session:
                if await session.scalar(waiting):
                    return


@asynccontextmanager
async def overtaken(database: Database, statement: str, **values: object) -> AsyncIterator[None]:
    """The request made inside waits for this change, which is committed when the block is left."""
    async with database.transaction() as session:
        await session.execute(text(statement), values)
        yield
        await until_somebody_waits(database)


RENAMED = "UPDATE products SET name = 'His', version = version + 1"
GIVEN_AWAY = "UPDATE products SET owner_id = :bob, version = version + 1"
GONE = "DELETE FROM products"
IN_BIN = "UPDATE products SET deleted_at = now(), version = version + 1"


@pytest.mark.parametrize(
    ("action", "change", "status"),
    [
        *(
            (action, *case)
            for action in ("edit", "delete")
            for case in ((RENAMED, 409), (GIVEN_AWAY, 404), (GONE, 404))
        ),
        ("edit", IN_BIN, 409),  # the form again: it can be restored and saved
        ("delete", IN_BIN, 404),
    ],
)
async def test_a_form_that_waited_for_another_change_does_not_undo_it(
    action: str,
    change: str,
    status: int,
    sign_in: SignIn,
    cast: Cast,
    database: Database,
    make_product: MakeProduct,
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    path = f"/admin/product/{action}/{product.id}"
    fields = await open_form(alice, path) | {"name": "Hers"}
    values = {"bob": cast.bob.id} if ":bob" in change else {}
    async with overtaken(database, change, **values):
        waiting = asyncio.create_task(alice.post(path, data=fields))
    response = await waiting
    assert response.status_code == status
    saved = await load(database, Product, product.id)
    expected = {RENAMED: "His", GIVEN_AWAY: product.name, GONE: None, IN_BIN: product.name}
    assert (saved.name if saved else None) == expected[change]
    assert len(await history(database, product.id)) == 1


async def test_a_bulk_change_that_waited_skips_what_was_given_away(
    cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    products = [await make_product(cast.alice, name=name) for name in ("Kept", "Given")]
    operations = Operations(database)
    operation = await operations.start(cast.alice, "deactivate", [product.id for product in products])
    await operations.run(1)
    async with overtaken(database, f"{GIVEN_AWAY} WHERE name = 'Given'", bob=cast.bob.id):
        waiting = asyncio.create_task(operations.run())
    await waiting
    assert await operations.outcomes(operation) == {
        products[0].id: (Outcome.DONE, None),
        products[1].id: (Outcome.SKIPPED, "not yours"),
    }
    assert (await load(database, Product, products[1].id)).is_active is True


async def test_an_account_changed_meanwhile_is_not_deleted(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    path = f"/admin/user/delete/{cast.bob.id}"
    fields = await open_form(root, path)
    change = "UPDATE users SET name = 'Robert', version = version + 1 WHERE id = :id"
    async with overtaken(database, change, id=cast.bob.id):
        waiting = asyncio.create_task(root.post(path, data=fields))
    assert (await waiting).status_code == 409
    assert (await load(database, User, cast.bob.id)).name == "Robert"


async def test_of_two_superusers_who_demote_each_other_one_stays(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    async with database.transaction() as session:
        await session.execute(text("UPDATE users SET role = 'superuser' WHERE id = :id"), {"id": cast.bob.id})
    root, bob = await sign_in("root"), await sign_in("bob")
    paths = [f"/admin/user/edit/{person.id}" for person in (cast.bob, cast.root)]
    forms = [await open_form(client, path) for client, path in zip((root, bob), paths, strict=True)]
    answers = await asyncio.gather(
        *(
            client.post(path, data=fields | {"role": "support"})
            for client, path, fields in zip((root, bob), paths, forms, strict=True)
        )
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 303
    assert statuses[1] in {401, 409}
    people = [await load(database, User, person.id) for person in (cast.bob, cast.root)]
    assert sorted(person.role for person in people if person) == ["superuser", "support"]


@pytest.mark.parametrize("fate", ["closed", "demoted", "new password", "signed out"])
async def test_whoever_lost_the_right_while_the_form_was_still_arriving_changes_nothing(
    fate: str,
    sign_in: SignIn,
    cast: Cast,
    make_product: MakeProduct,
    database: Database,
) -> None:
    product = await make_product(cast.alice)
    root = await sign_in("root")
    address = f"/admin/product/edit/{product.id}"
    fields = await open_form(root, address) | {"name": "Changed"}
    body = urlencode(fields).encode()

    async def slowly() -> AsyncIterator[bytes]:
        yield body[:10]
        async with database.transaction() as session:
            if fate == "signed out":
                await session.execute(delete(AuthSession).where(AuthSession.user_id == cast.root.id))
            else:
                service = UserService(session, Actor.system())
                other = UserCreate(email="next@demo.example", name="Next", role=Role.SUPERUSER)
                await service.create(other)
                changes = {
                    "closed": UserUpdate(is_active=False),
                    "demoted": UserUpdate(role=Role.SUPPORT),
                    "new password": UserUpdate(password="another long password"),
                }
                await service.update(cast.root.id, changes[fate])
        yield body[10:]

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await root.post(address, content=slowly(), headers=headers)
    assert response.status_code == 401
    assert (await load(database, Product, product.id)).name == product.name
