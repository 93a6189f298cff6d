"""Activate and deactivate: many rows, one transaction, and a sentence about each of them."""

import asyncio
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from admin_app.actor import Actor
from admin_app.audit import AuditEntry
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.outbox import Delivery, RecordedEvent
from admin_app.security.sessions import AuthSession
from tests.admin.pages import fields_of, notices, parse
from tests.admin.rows import every, traces
from tests.conftest import Cast, MakeProduct, SignIn

BULK = "/admin/product/bulk"
LIST = "/admin/product/list"


async def run(
    client: httpx.AsyncClient, action: str, ids: list[UUID], address: str = BULK, **more: str
) -> httpx.Response:
    return await client.post(address, data={"ids": [str(row_id) for row_id in ids], "action": action, **more})


async def outcome(client: httpx.AsyncClient, response: httpx.Response) -> str:
    """What the next page says."""
    assert response.status_code == 303
    [message] = notices(parse(await client.get(response.headers["location"])))
    return message


async def states(database: Database) -> dict[str, bool]:
    return {product.name: product.is_active for product in await every(database, Product)}


async def test_own_rows_change_and_every_other_is_counted(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    one = await make_product(cast.alice, name="One")
    two = await make_product(cast.alice, name="Two")
    already = await make_product(cast.alice, name="Already", is_active=False)
    foreign = await make_product(cast.bob, name="Foreign")
    await make_product(cast.alice, name="Not selected")
    alice = await sign_in("alice")
    before = {entry.id for entry in await every(database, AuditEntry)}
    selected = [one.id, two.id, already.id, foreign.id, uuid4(), one.id]
    response = await run(alice, "deactivate", selected)
    assert (
        await outcome(alice, response) == "2 deactivated, 1 already inactive, 2 skipped: not yours or gone."
    )
    assert await states(database) == {
        "One": False,
        "Two": False,
        "Already": False,
        "Foreign": True,
        "Not selected": True,
    }
    entries = [entry for entry in await every(database, AuditEntry) if entry.id not in before]
    assert {entry.row_id for entry in entries} == {one.id, two.id}
    assert len(entries) == 2
    for entry in entries:
        assert (entry.action, entry.source, entry.actor_id) == ("updated", "bulk", cast.alice.id)
        assert entry.changes == {"is_active": [True, False]}
    assert len({entry.request_id for entry in entries}) == 1
    [event] = await every(database, RecordedEvent, name="ProductUpdated")
    assert event.request_id == entries[0].request_id
    assert event.payload["fields"] == ["is_active"]
    assert sorted(event.payload["product_ids"]) == sorted([str(one.id), str(two.id)])
    assert len(await every(database, Delivery, event_id=event.id)) == 1
    assert {
        product.version for product in await every(database, Product) if product.id in {one.id, two.id}
    } == {2}


async def test_nothing_left_to_change_records_nothing(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    own, foreign = await make_product(cast.alice), await make_product(cast.bob, is_active=False)
    before = await traces(database)
    alice = await sign_in("alice")
    assert await outcome(alice, await run(alice, "activate", [own.id])) == "0 activated, 1 already active."
    answer = await outcome(alice, await run(alice, "activate", [foreign.id]))
    assert answer == "0 activated, 1 skipped: not yours or gone."
    assert await traces(database) == before


async def test_a_superuser_changes_everybodys_rows(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    products = [await make_product(owner, is_active=False) for owner in (cast.alice, cast.bob)]
    root = await sign_in("root")
    answer = await outcome(root, await run(root, "activate", [product.id for product in products]))
    assert answer == "2 activated."
    assert {product.is_active for product in await every(database, Product)} == {True}


async def test_support_may_not(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    before = await traces(database)
    sam = await sign_in("sam")
    for data in ({"ids": str(product.id), "action": "deactivate"}, {}, {"ids": "x", "action": "x"}):
        assert (await sam.post(BULK, data=data)).status_code == 403
    assert await traces(database) == before


async def test_what_is_no_selection_or_no_action_changes_nothing(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    before = await traces(database)
    alice = await sign_in("alice")
    own = str(product.id)
    refused: list[tuple[dict[str, str | list[str]], str]] = [
        ({"action": "deactivate"}, "Select at least one row first."),
        ({"ids": [], "action": "deactivate"}, "Select at least one row first."),
        ({"pks": own, "action": "deactivate"}, "Select at least one row first."),
        ({"ids": [own, "x"], "action": "deactivate"}, "The selection could not be read."),
        ({"ids": [own, ""], "action": "deactivate"}, "The selection could not be read."),
        ({"ids": [own, "\0"], "action": "deactivate"}, "The selection could not be read."),
        ({"ids": f"{own},{own}", "action": "deactivate"}, "The selection could not be read."),
        ({"ids": own}, "There is no such action."),
        ({"ids": own, "action": "delete"}, "There is no such action."),
        ({"ids": own, "action": "set_active"}, "There is no such action."),
        (
            {"ids": [own, *(str(uuid4()) for _ in range(250))], "action": "deactivate"},
            "Select at most 250 rows at once.",
        ),
        ({"ids": [own] * 2000, "action": "deactivate"}, "Too many fields."),
    ]
    for data, sentence in refused:
        response = await alice.post(BULK, data=data)
        assert response.status_code == 400, data
        assert sentence in response.text
    assert await traces(database) == before
    assert (await states(database)) == {"Balls to the Wall": True}


async def test_as_many_rows_as_the_largest_page_shows_are_changed_at_once(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    async with database.transaction() as session:
        session.add_all(Product(name=f"{number}", price=1, owner_id=cast.alice.id) for number in range(250))
    alice = await sign_in("alice")
    page = parse(await alice.get(LIST, params={"pageSize": "250"}))
    boxes = page.all("input", name="ids")
    assert len(boxes) == 250
    response = await run(alice, "deactivate", [UUID(box.attributes["value"]) for box in boxes])
    assert await outcome(alice, response) == "250 deactivated."
    assert set((await states(database)).values()) == {False}
    [event] = await every(database, RecordedEvent, name="ProductUpdated")
    assert len(event.payload["product_ids"]) == 250
    assert len(await every(database, AuditEntry, source="bulk")) == 250


async def test_it_leads_back_to_the_page_it_came_from_and_nowhere_else(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    page = parse(await alice.get(LIST, params={"search": "balls & co", "sortBy": "name", "sort": "asc"}))
    assert page.all("input", name="ids") == []
    page = parse(await alice.get(LIST, params={"search": "balls", "sortBy": "name", "sort": "asc"}))
    fields = fields_of(page.one("form", method="post", data_selection=""))
    assert fields["back"] == "search=balls&sortBy=name&sort=asc"
    response = await run(alice, "deactivate", [product.id], back=fields["back"])
    assert response.headers["location"] == f"{LIST}?search=balls&sortBy=name&sort=asc"
    for back in (
        "//evil.example",
        "\r\nSet-Cookie: a=b",
        "\\evil",
        "é\u2028",
        "x" * 5000,
        "#x",
        "\0",
        "@evil",
    ):
        response = await run(alice, "activate", [product.id], back=back)
        assert response.status_code == 303
        location = response.headers["location"]
        assert location.isascii()
        assert location.isprintable()
        assert location.startswith(f"{LIST}?") or location == LIST
        assert "set-cookie: a=b" not in str(response.headers).lower()


async def test_one_row_that_cannot_be_saved_leaves_all_of_them(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    products = [await make_product(cast.alice, name=name) for name in ("One", "Two", "Three")]
    before = await traces(database)
    alice = await sign_in("alice")
    async with database.transaction() as session:
        await session.execute(
            text("ALTER TABLE products ADD CONSTRAINT not_two CHECK (name <> 'Two' OR is_active) NOT VALID")
        )
    try:
        response = await run(alice, "deactivate", [product.id for product in products])
    finally:
        async with database.transaction() as session:
            await session.execute(text("ALTER TABLE products DROP CONSTRAINT not_two"))
    assert response.status_code == 500
    assert await states(database) == {"One": True, "Two": True, "Three": True}
    assert await traces(database) == before


async def test_the_same_action_sent_five_times_at_once_is_done_once(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    ids = [(await make_product(cast.alice)).id for _ in range(5)]
    alice = await sign_in("alice")
    answers = await asyncio.gather(
        *(run(alice, "deactivate", ids if number % 2 else ids[::-1]) for number in range(5))
    )
    assert {answer.status_code for answer in answers} == {303}
    assert len(await every(database, AuditEntry, source="bulk")) == 5
    assert len(await every(database, RecordedEvent, name="ProductUpdated")) == 1


async def test_people_shut_out_together_are_signed_out(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root, alice, bob = await sign_in("root"), await sign_in("alice"), await sign_in("bob")
    response = await run(root, "deactivate", [cast.alice.id, cast.bob.id, uuid4()], "/admin/user/bulk")
    assert await outcome(root, response) == "2 deactivated, 1 skipped: not yours or gone."
    for client in (alice, bob):
        assert (await client.get("/admin/")).status_code == 302
    assert {session.user_id for session in await every(database, AuthSession)} == {cast.root.id}
    assert {entry.source for entry in await every(database, AuditEntry, action="updated")} == {"bulk"}


@pytest.mark.parametrize("name", ["alice", "sam"])
async def test_only_a_superuser_shuts_people_out(
    name: str, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    actor: Actor = getattr(cast, name)
    client = await sign_in(name)
    for row_id in (actor.id, cast.bob.id):
        response = await run(client, "deactivate", [row_id], "/admin/user/bulk")
        assert response.status_code == 403
    assert {user.is_active for user in await every(database, User)} == {True}


async def test_the_last_superuser_cannot_be_shut_out_with_others(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    before = await traces(database)
    ids = [cast.alice.id, cast.root.id, cast.bob.id]
    response = await run(root, "deactivate", ids, "/admin/user/bulk")
    assert response.status_code == 409
    assert "This is the last active superuser." in response.text
    assert {user.is_active for user in await every(database, User)} == {True}
    assert await traces(database) == before
