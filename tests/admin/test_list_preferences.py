"""How a person likes a list: its page size, its columns, and views of it under a name."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from admin_app.database import Database
from admin_app.domains.products.models import Product
from tests.admin.pages import Element, link, notices, parse, rows_of, titles_of
from tests.admin.rows import traces
from tests.conftest import Cast, MakeProduct, SignIn

LIST = "/admin/product/list"
PREFER = "/admin/product/preferences"
VIEWS = "/admin/product/views"


async def post(
    client: httpx.AsyncClient, url: str, back: str = "", **fields: str | list[str]
) -> httpx.Response:
    return await client.post(url, data={"back": back, **fields})


def headings(page: Element) -> list[str]:
    found = [heading.text for heading in page.one("thead").all("th")]
    return [text for text in found if text != "Actions"]


def menu_of(page: Element) -> dict[str, str]:
    """What is in the menu -> where it leads."""
    return {item.text: item.attributes["href"] for item in page.all("a", class_="menu-link")}


def current(page: Element) -> list[str]:
    return [item.text for item in page.all("a", class_="menu-link") if "aria-current" in item.attributes]


async def add_products(database: Database, cast: Cast, number: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    async with database.transaction() as session:
        session.add_all(
            Product(name=f"Item {n:03}", price=n + 1, owner_id=cast.alice.id, created_at=start + timedelta(n))
            for n in range(number)
        )


async def test_a_page_size_is_remembered_for_this_person_and_list(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    await add_products(database, cast, 60)
    alice, sam = await sign_in("alice"), await sign_in("sam")
    response = await post(alice, PREFER, "search=item&sortBy=price&sort=asc", size="50")
    assert (response.status_code, response.headers["location"]) == (
        303,
        f"{LIST}?search=item&sortBy=price&sort=asc",
    )
    page = parse(await alice.get(response.headers["location"]))
    assert len(rows_of(page)) == 50
    assert "pageSize" not in (link(page, "Next page") or "")
    second = parse(await alice.get(link(page, "Next page") or ""))
    assert titles_of(second) == [f"Item {n:03}" for n in range(50, 60)]
    assert len(rows_of(parse(await (await sign_in("alice")).get(LIST)))) == 50
    assert len(rows_of(parse(await sam.get(LIST)))) == 25
    # What an address says counts for that address.
    assert len(rows_of(parse(await alice.get(LIST, params={"pageSize": "25"})))) == 25


async def test_whoever_chooses_a_page_size_starts_again_with_it(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    await add_products(database, cast, 30)
    alice = await sign_in("alice")
    second = link(parse(await alice.get(f"{LIST}?pageSize=25")), "Next page") or ""
    response = await post(alice, PREFER, urlsplit(second).query, size="100")
    assert response.headers["location"] == LIST
    assert len(rows_of(parse(await alice.get(LIST)))) == 30


async def test_columns_are_chosen_per_person_and_the_first_always_stays(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Item", description="Long " * 100)
    alice = await sign_in("alice")
    response = await post(alice, PREFER, "columns=price", choose="columns", column=["description", "id"])
    assert response.headers["location"] == LIST
    page = parse(await alice.get(LIST))
    assert headings(page) == ["Name", "Description", "Id"]
    [row] = rows_of(page)
    description = row.all("td")[2]
    assert description.text.endswith("…")
    assert len(description.text) < 200
    assert description.attributes["title"] == ("Long " * 100)
    assert row.all("td")[3].text == str(product.id)
    checked = [
        box.attributes["value"] for box in page.all("input", name="column") if "checked" in box.attributes
    ]
    assert checked == ["name", "description", "id"]
    assert headings(parse(await (await sign_in("sam")).get(LIST)))[1] == "Price"
    await post(alice, PREFER, choose="columns")
    assert "Price" in headings(parse(await alice.get(LIST)))


async def test_an_address_can_name_its_columns(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice)
    page = parse(await (await sign_in("sam")).get(f"{LIST}?columns=updated_at.price"))
    assert headings(page) == ["Name", "Price", "Updated"]
    order = link(page, "Price") or ""
    assert dict(parse_qsl(urlsplit(order).query))["columns"] == "updated_at.price"


async def test_a_saved_view_keeps_conditions_order_and_columns_and_stands_in_the_menu(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice, name="Dear", price=100, is_active=False)
    await make_product(cast.alice, name="Cheap", price=1, is_active=False)
    await make_product(cast.alice, name="Active", price=200)
    alice = await sign_in("alice")
    await post(alice, PREFER, choose="columns", column=["price"])
    back = "is_active=no&sortBy=price&sort=desc&pageSize=50"
    response = await post(alice, VIEWS, back, name="  Dear   first ")
    url = response.headers["location"]
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "is_active": "no",
        "sortBy": "price",
        "sort": "desc",
        "columns": "name.price",
    }
    page = parse(await alice.get(url))
    assert notices(page) == ["The view “Dear first” was saved. It is in the menu."]
    assert titles_of(page) == ["Dear", "Cheap"]
    assert menu_of(page)["Dear first"] == url
    assert current(page) == ["Dear first"]
    await post(alice, PREFER, choose="columns", column=["owner"])
    assert headings(parse(await alice.get(url))) == ["Name", "Price"]
    elsewhere = parse(await alice.get("/admin/user/list"))
    assert menu_of(elsewhere)["Dear first"] == url
    assert current(elsewhere) == ["Users"]
    assert "Dear first" not in menu_of(parse(await (await sign_in("sam")).get(LIST)))


async def test_a_view_can_be_replaced_and_removed(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice)
    sam = await sign_in("sam")
    await post(sam, VIEWS, "is_active=no", name="Mine")
    await post(sam, VIEWS, "is_active=yes", name="MINE")
    page = parse(await sam.get(LIST))
    names = [name for name in menu_of(page) if name.lower() == "mine"]
    assert names == ["MINE"]
    assert "is_active=yes" in menu_of(page)["MINE"]
    remove = page.one("button", name="id").attributes["value"]
    for _ in range(2):  # a double click does no harm
        response = await post(sam, f"{VIEWS}/delete", "search=x", id=remove)
        assert response.headers["location"] == f"{LIST}?search=x"
    assert "MINE" not in menu_of(parse(await sam.get(LIST)))


@pytest.mark.parametrize(
    ("url", "fields", "status"),
    [
        (PREFER, {"size": "26"}, 400),
        (PREFER, {"size": "x" * 5000}, 400),
        (PREFER, {}, 400),
        (PREFER, {"choose": "columns", "column": "password_hash"}, 400),
        (PREFER, {"size": "50", "back": "color=red"}, 400),
        (VIEWS, {"name": ""}, 422),
        (VIEWS, {"name": "x" * 61}, 422),
        (VIEWS, {"name": "a\u0000b"}, 422),
        (VIEWS, {"name": "x", "back": "is_active=maybe"}, 400),
        (f"{VIEWS}/delete", {"id": "x"}, 400),
    ],
)
async def test_what_cannot_be_kept_is_refused_with_a_sentence(
    url: str, fields: dict[str, str], status: int, sign_in: SignIn, cast: Cast
) -> None:
    alice = await sign_in("alice")
    response = await alice.post(url, data={"back": "", **fields})
    assert response.status_code == status
    page = parse(await alice.get(LIST))
    assert set(menu_of(page)) == {"Products", "Users", "Operations", "Activity", "Exports"}


async def test_likings_are_nobodys_history(sign_in: SignIn, cast: Cast, database: Database) -> None:
    before = await traces(database)
    sam = await sign_in("sam")
    await post(sam, PREFER, size="50")
    await post(sam, VIEWS, name="Mine")
    assert await traces(database) == before
