"""The pages of the bin: who sees what in it, and how things come back."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update

from admin_app.actor import Actor
from admin_app.admin.bin_pages import time_left
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.products.service import BIN_DAYS, ProductService
from tests.admin.pages import Element, fields_of, form_of, link, notices, open_form, parse, rows_of, titles_of
from tests.admin.rows import history, load, traces
from tests.conftest import Cast, MakeProduct, SignIn

BIN = "/admin/product/bin"
LIST = "/admin/product/list"
IN_BIN = f"is in the bin for {BIN_DAYS} days."

MakeDeleted = Callable[..., Awaitable[Product]]


@pytest.fixture
def make_deleted(make_product: MakeProduct, database: Database) -> MakeDeleted:
    """As `make_product`, and then deleted by its owner."""

    async def make(actor: Actor, **fields) -> Product:
        product = await make_product(actor, **fields)
        async with database.transaction() as session:
            return await ProductService(session, actor).delete(product.id)

    return make


def restore(product: Product) -> str:
    return f"/admin/product/restore/{product.id}"


def names(page: Element) -> list[str]:
    return [row.one("span", class_="row-link").text for row in rows_of(page)]


def restorable(page: Element) -> list[str]:
    """The addresses behind the buttons."""
    return [form.attributes["action"] for form in page.all("form", data_submit_once="")]


async def test_what_is_deleted_is_in_the_bin_until_it_is_restored(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Overkill")
    alice = await sign_in("alice")
    address = f"/admin/product/delete/{product.id}"
    question = await alice.get(address)
    assert f"for {BIN_DAYS} days and can be restored" in parse(question).text
    assert "cannot be undone" not in question.text
    deleted = await alice.post(address, data=fields_of(form_of(parse(question))))
    assert (deleted.status_code, deleted.headers["location"]) == (303, LIST)
    page = parse(await alice.get(LIST))
    assert notices(page) == [f"Product “Overkill” {IN_BIN}"]
    assert titles_of(page) == []
    assert link(page, "Bin") == BIN
    page = parse(await alice.get(BIN))
    [row] = rows_of(page)
    assert [cell.text for cell in row.all("td")] == [
        "Overkill",
        "0.99",
        "alice@demo.example",
        "just now",
        "in 30 days",
        "Restore",
    ]
    assert row.one("button").attributes["aria-label"] == "Restore Overkill"
    response = await alice.post(restore(product), data=fields_of(row.one("form")))
    assert (response.status_code, response.headers["location"]) == (303, BIN)
    page = parse(await alice.get(BIN))
    assert notices(page) == ["Product “Overkill” was restored."]
    assert "The bin is empty." in page.text
    assert titles_of(parse(await alice.get(LIST))) == ["Overkill"]
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.owner_id, saved.deleted_at) == (cast.alice.id, None)
    entries = await history(database, product.id)
    assert [(entry.action, entry.actor_id, entry.source) for entry in entries] == [
        (action, cast.alice.id, "form") for action in ("created", "deleted", "restored")
    ]


async def test_deleting_an_account_stays_final(sign_in: SignIn, cast: Cast) -> None:
    root = await sign_in("root")
    address = f"/admin/user/delete/{cast.bob.id}"
    question = await root.get(address)
    assert "This cannot be undone." in question.text
    assert "bin" not in parse(question).one("form", data_submit_once="").text
    await root.post(address, data=fields_of(form_of(parse(question))))
    page = parse(await root.get("/admin/user/list"))
    assert notices(page) == ["User “bob@demo.example” was deleted."]
    assert link(page, "Bin") is None


@pytest.mark.parametrize(
    ("name", "seen", "may_restore"),
    [
        ("alice", ["Hers"], ["Hers"]),
        ("bob", ["His"], ["His"]),
        ("sam", ["His", "Hers"], []),
        ("root", ["His", "Hers"], ["His", "Hers"]),
    ],
)
async def test_everybody_sees_what_the_role_allows(
    name: str,
    seen: list[str],
    may_restore: list[str],
    sign_in: SignIn,
    cast: Cast,
    make_deleted: MakeDeleted,
    make_product: MakeProduct,
) -> None:
    await make_product(cast.alice, name="Stays")
    rows = {"Hers": await make_deleted(cast.alice, name="Hers")}
    rows["His"] = await make_deleted(cast.bob, name="His")
    client = await sign_in(name)
    page = parse(await client.get(BIN))
    assert names(page) == seen
    assert page.one("h1").one("span", class_="count").text == str(len(seen))
    assert restorable(page) == [restore(rows[title]) for title in may_restore]
    assert link(parse(await client.get(LIST)), "Bin") == BIN


async def test_a_stranger_gets_the_page_of_what_never_was_and_support_is_refused(
    sign_in: SignIn, cast: Cast, database: Database, make_deleted: MakeDeleted
) -> None:
    product = await make_deleted(cast.alice)
    before = await traces(database)
    bob = await sign_in("bob")
    missing = f"/admin/product/restore/{uuid4()}"
    for data in ({}, {"back": "search=x"}, {"version": "x"}):
        answers = [await bob.post(address, data=data) for address in (restore(product), missing)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
    sam, nobody = await sign_in("sam"), await sign_in("nobody")
    for address in (restore(product), missing):
        assert (await sam.post(address)).status_code == 403
        assert (await nobody.post(address)).status_code == 401
    assert (await nobody.get(BIN)).status_code == 302
    assert await traces(database) == before


@pytest.mark.parametrize("name", ["alice", "bob", "sam", "root"])
async def test_every_other_page_treats_it_as_gone(
    name: str, sign_in: SignIn, cast: Cast, database: Database, make_deleted: MakeDeleted
) -> None:
    product = await make_deleted(cast.alice, name="Overkill")
    client = await sign_in(name)
    before = await traces(database)
    posted = {
        "version": "2",
        "name": "New",
        "description": "",
        "price": "1",
        "is_active": "true",
        "owner": "",
    }
    pages = {"details": None, "edit": None, "delete": None} | {
        f"{action} by POST": posted for action in ("edit", "delete", "inline")
    }
    for page, data in pages.items():
        answers = []
        for row_id in (product.id, uuid4()):
            path = f"/admin/product/{page.partition(' ')[0]}/{row_id}"
            answers.append(await (client.get(path) if data is None else client.post(path, data=data)))
        expected = 403 if name == "sam" and page != "details" else 404
        assert answers[1].status_code == expected, page
        if page in {"edit by POST", "inline by POST"} and name in {"alice", "root"}:
            assert answers[0].status_code == 409  # with what was typed, and where the product is
            continue
        assert answers[0].content == answers[1].content, page
        assert answers[0].status_code == expected, page
    assert titles_of(parse(await client.get(f"{LIST}?search=overkill"))) == []
    assert titles_of(parse(await client.get(LIST, params={"search": str(product.id)}))) == []
    assert (await client.get("/admin/product/count")).json() == {"text": "0", "exact": True}
    assert "Overkill" not in (await client.get("/admin/search?term=overkill")).text
    assert str(product.id) not in (await client.get(f"/admin/search?term={product.id}")).text.replace(
        f"term={product.id}", ""
    )
    assert (await client.get("/admin/product/suggest?name=owner&term=alice")).json() == {"results": []}
    assert await traces(database) == before


async def test_a_double_click_restores_once_and_says_the_same(
    sign_in: SignIn, cast: Cast, database: Database, make_deleted: MakeDeleted
) -> None:
    product = await make_deleted(cast.alice)
    alice = await sign_in("alice")
    answers = await asyncio.gather(*(alice.post(restore(product)) for _ in range(4)))
    answers.append(await alice.post(restore(product)))
    assert {(answer.status_code, answer.headers["location"]) for answer in answers} == {(303, BIN)}
    assert [entry.action for entry in await history(database, product.id)] == [
        "created",
        "deleted",
        "restored",
    ]


async def test_what_was_never_deleted_is_left_as_it_is(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    before = await traces(database)
    assert (await (await sign_in("alice")).post(restore(product))).status_code == 303
    assert (await (await sign_in("bob")).post(restore(product))).status_code == 404
    assert await traces(database) == before


async def test_it_pages_searches_and_comes_back_to_where_one_was(
    sign_in: SignIn, cast: Cast, make_deleted: MakeDeleted
) -> None:
    products = [await make_deleted(cast.alice, name=f"Disc {number:02}") for number in range(27)]
    alice = await sign_in("alice")
    page = parse(await alice.get(BIN))
    assert names(page) == [f"Disc {number:02}" for number in range(26, 1, -1)]
    assert page.one("h1").text == "Bin 27"
    following = link(page, "Next page")
    assert following is not None
    page = parse(await alice.get(following))
    assert names(page) == ["Disc 01", "Disc 00"]
    assert link(page, "First page") == BIN
    assert link(page, "Next page") is None
    for number in (1, 0):
        form = rows_of(page)[0].one("form")
        response = await alice.post(form.attributes["action"], data=fields_of(form))
        assert form.attributes["action"] == restore(products[number])
        assert response.headers["location"] == following
        response = await alice.get(following)
        if number:
            page = parse(response)
    assert (response.status_code, response.headers["location"]) == (302, BIN)

    page = parse(await alice.get(f"{BIN}?search=disc+13"))
    assert names(page) == ["Disc 13"]
    assert page.one("input", name="search").attributes["value"] == "disc 13"
    response = await alice.post(restore(products[13]), data=fields_of(rows_of(page)[0].one("form")))
    assert response.headers["location"] == f"{BIN}?search=disc+13"
    assert "Nothing in the bin matches this." in parse(await alice.get(response.headers["location"])).text


@pytest.mark.parametrize(
    "query",
    ["is_active=yes", "sortBy=price", "cursor=x", "cursor=", "search=%00", "pageSize=7", "columns=name"],
)
async def test_an_address_it_cannot_read_is_refused_and_never_ignored(
    query: str, sign_in: SignIn, cast: Cast, make_deleted: MakeDeleted
) -> None:
    await make_deleted(cast.alice)
    response = await (await sign_in("root")).get(f"{BIN}?{query}")
    assert response.status_code == (200 if query == "cursor=" else 400)
    assert ("Balls to the Wall" in response.text) == (query == "cursor=")


async def test_what_people_typed_is_shown_as_text(
    sign_in: SignIn, cast: Cast, make_deleted: MakeDeleted
) -> None:
    name = "<b>\"&' {{ 7*7 }}"
    product = await make_deleted(cast.alice, name=name)
    alice = await sign_in("alice")
    page = parse(await alice.get(BIN, params={"search": "<b>"}))
    assert names(page) == [name]
    assert page.one("button", aria_label=f"Restore {name}")
    await alice.post(restore(product))
    assert notices(parse(await alice.get(BIN))) == [f"Product “{name}” was restored."]


async def test_accounts_have_no_bin(sign_in: SignIn, cast: Cast) -> None:
    root = await sign_in("root")
    answers = [
        await root.get("/admin/user/bin"),
        await root.post(f"/admin/user/restore/{cast.bob.id}"),
        await root.get("/admin/nothing/bin"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 3


async def test_the_owner_of_what_is_in_the_bin_cannot_be_deleted(
    sign_in: SignIn, cast: Cast, make_deleted: MakeDeleted
) -> None:
    await make_deleted(cast.bob)
    root = await sign_in("root")
    address = f"/admin/user/delete/{cast.bob.id}"
    response = await root.post(address, data=await open_form(root, address))
    assert response.status_code == 409
    assert notices(parse(response)) == [
        "This person owns products. Give them to somebody else first; "
        "those in the bin must be restored for that."
    ]


def test_the_time_left_is_told_in_days() -> None:
    now = datetime.now(UTC)
    assert time_left(now + timedelta(days=BIN_DAYS, seconds=-1)) == "in 30 days"
    assert time_left(now + timedelta(days=1, seconds=5)) == "in 2 days"
    assert time_left(now + timedelta(hours=23)) == "within a day"
    assert time_left(now - timedelta(seconds=1)) == "any time now"


async def test_what_is_overdue_can_still_be_restored(
    sign_in: SignIn, cast: Cast, database: Database, make_deleted: MakeDeleted
) -> None:
    """The worker takes it out when it comes round to it."""
    product = await make_deleted(cast.alice)
    async with database.transaction() as session:
        await session.execute(
            update(Product).values(deleted_at=datetime.now(UTC) - timedelta(days=BIN_DAYS + 1))
        )
    alice = await sign_in("alice")
    [row] = rows_of(parse(await alice.get(BIN)))
    assert row.all("time")[1].text == "any time now"
    assert (await alice.post(restore(product))).status_code == 303
    assert titles_of(parse(await alice.get(LIST))) == [product.name]
