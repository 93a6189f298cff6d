"""Lists: searching, filtering, sorting and paging by the links a person clicks."""

import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from sqlalchemy import text

from admin_app.actor import Actor, Role
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.products.repository import LISTING
from admin_app.domains.users.models import User
from tests.admin.pages import Element, fields_of, form_of, link, notices, parse, rows_of, titles_of
from tests.conftest import Cast, MakeProduct, SignIn

LIST = "/admin/product/list"
USERS = "/admin/user/list"
ID = "01a2042e-93cd-7aab-9e97-84540b8eee2a"


async def add_products(database: Database, owner: Actor, rows: int) -> None:
    """Named in no order, with many equal prices, made a minute apart."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    async with database.transaction() as session:
        session.add_all(
            Product(
                name=f"Product {number * 37 % rows:03}",
                price=Decimal(number % 5 + 1),
                is_active=number % 3 > 0,
                owner_id=owner.id,
                created_at=start + timedelta(minutes=number),
                updated_at=start + timedelta(minutes=number // 7),
            )
            for number in range(rows)
        )


async def titles(client: httpx.AsyncClient, address: str = LIST, **parameters: str) -> list[str]:
    response = await client.get(address, params=parameters or None)
    assert response.status_code == 200, response.text
    return titles_of(parse(response))


def chips(page: Element) -> dict[str, str]:
    """What each condition in force says -> the address without it."""
    return {
        chip.text.removesuffix("remove"): chip.attributes["href"] for chip in page.all("a", class_="chip")
    }


def count_of(page: Element) -> str:
    [told] = [element for element in page.one("h1").all("span") if "data-count-text" in element.attributes]
    return told.text


def query_of(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).query))


def current_size(page: Element) -> str:
    sizes = page.one("form", class_="sizes").all("button")
    [current] = [size for size in sizes if "aria-current" in size.attributes]
    return current.text


async def walk(client: httpx.AsyncClient, address: str | None, label: str) -> list[list[str]]:
    """The titles of each page, from this address along the links of this label to the end."""
    pages = []
    while address:
        page = parse(await client.get(address))
        pages.append(titles_of(page))
        address = link(page, label)
        assert len(pages) < 100, "the pages go round in circles"
    return pages


def flat(pages: list[list[str]]) -> list[str]:
    return [title for page in pages for title in page]


async def test_the_list_shows_newest_first_with_every_column(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice, name="Old")
    await make_product(cast.bob, name="New", price=Decimal("1234.5"), is_active=False)
    page = parse(await (await sign_in("sam")).get(LIST))
    assert page.one("h1").text.startswith("Products")
    headings = [heading.text for heading in page.one("thead").all("th")]
    assert [heading for heading in headings if heading] == [
        "Name",
        "Price",
        "State",
        "Owner",
        "Created",
        "Updated",
        "Actions",
    ]
    first, second = rows_of(page)
    assert [cell.text for cell in first.all("td")][:4] == ["New", "1,234.50", "Inactive", "bob@demo.example"]
    assert [cell.text for cell in second.all("td")][:4] == ["Old", "0.99", "Active", "alice@demo.example"]


async def test_who_may_change_a_row_sees_its_buttons(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    own, foreign = await make_product(cast.alice), await make_product(cast.bob)
    seen = {}
    for name in ("alice", "sam", "root"):
        page = parse(await (await sign_in(name)).get(LIST))
        links = [element.attributes["href"] for element in page.all("a")]
        seen[name] = {
            "edit": {row for row in (own, foreign) if f"/admin/product/edit/{row.id}" in links},
            "delete": {row for row in (own, foreign) if f"/admin/product/delete/{row.id}" in links},
            "new": "/admin/product/create" in links,
            "bulk": len(page.all("input", name="ids")),
            "buttons": [button.text for button in page.all("button", name="action")],
        }
    buttons = ["Activate…", "Deactivate…", "Change price…", "Set price…"]
    buttons += ["Rebuild search index…", "Transfer to another owner…", "Delete…"]
    both = {own, foreign}
    assert seen == {
        "alice": {"edit": {own}, "delete": {own}, "new": True, "bulk": 2, "buttons": buttons},
        "sam": {"edit": set(), "delete": set(), "new": False, "bulk": 0, "buttons": []},
        "root": {"edit": both, "delete": both, "new": True, "bulk": 2, "buttons": buttons},
    }


async def test_every_word_of_a_search_must_match_somewhere(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice, name="Balls to the Wall", description="Heavy")
    await make_product(cast.bob, name="Café Crème", description="100% pure_coffee \\o/")
    client = await sign_in("sam")
    everything = ["Café Crème", "Balls to the Wall"]
    expected = {
        "wall": ["Balls to the Wall"],
        "WALL heavy": ["Balls to the Wall"],
        "wall alice@demo": ["Balls to the Wall"],
        "wall bob": [],
        "cafe creme": ["Café Crème"],
        "%": ["Café Crème"],
        "pure_c": ["Café Crème"],
        "purexc": [],
        "\\": ["Café Crème"],
        '"to the"': ["Balls to the Wall"],
        '"the to"': [],
        "'; DROP TABLE products --": [],
        "   ": everything,
        "demo.example": everything,
    }
    assert {search: await titles(client, search=search) for search in expected} == expected


async def test_each_filter_alone_and_together(sign_in: SignIn, cast: Cast, database: Database) -> None:
    async with database.transaction() as session:
        for name, owner, is_active, day in [
            ("Alpha", cast.alice, True, 1),
            ("Beta", cast.alice, False, 2),
            ("Gamma", cast.bob, True, 3),
        ]:
            made = datetime(2026, 1, day, 23, 59, 59, tzinfo=UTC)
            session.add(Product(name=name, price=1, owner_id=owner.id, is_active=is_active, created_at=made))
    client = await sign_in("sam")
    every = ["Gamma", "Beta", "Alpha"]
    assert await titles(client, is_active="yes") == ["Gamma", "Alpha"]
    assert await titles(client, is_active="no") == ["Beta"]
    assert await titles(client, owner="ALICE@") == ["Beta", "Alpha"]
    assert await titles(client, owner="%") == []
    assert await titles(client, created_from="2026-01-02") == ["Gamma", "Beta"]
    assert await titles(client, created_to="2026-01-02") == ["Beta", "Alpha"]
    assert await titles(client, created_from="2026-01-02", created_to="2026-01-02") == ["Beta"]
    assert await titles(client, is_active="yes", owner="alice", search="alpha") == ["Alpha"]
    assert await titles(client, is_active="yes", owner="alice", search="beta") == []
    empty = dict.fromkeys(["search", "is_active", "owner", "created_from", "created_to"], "")
    assert await titles(client, **empty) == every


async def test_conditions_are_shown_as_chips_that_take_them_away(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice)
    client = await sign_in("sam")
    given = {
        "search": "wall & <b>",
        "is_active": "yes",
        "owner": "alice",
        "sortBy": "name",
        "sort": "desc",
        "pageSize": "50",
    }
    page = parse(await client.get(LIST, params=given))
    found = chips(page)
    assert list(found) == ["“wall & <b>”", "State: Active", "Owner: alice"]
    for (text_, address), name in zip(found.items(), ["search", "is_active", "owner"], strict=True):
        rest = {key: value for key, value in given.items() if key != name}
        assert query_of(address) == rest, text_
    assert link(page, "Clear all") == LIST
    form = page.one("form", class_="filters")
    assert form.one("input", name="search").attributes["value"] == "wall & <b>"
    assert form.one("input", name="owner").attributes["value"] == "alice"
    chosen = [option.attributes["value"] for option in form.all("option") if "selected" in option.attributes]
    assert chosen == ["yes", "name", "desc"]
    hidden = {
        field.attributes["name"]: field.attributes["value"] for field in form.all("input", type="hidden")
    }
    assert hidden == {"pageSize": "50"}
    assert titles_of(page) == []
    assert "Nothing matches these conditions." in page.text


async def test_an_empty_table_says_so(sign_in: SignIn, cast: Cast) -> None:
    page = parse(await (await sign_in("alice")).get(LIST))
    assert count_of(page) == "0"
    assert "There are no products yet." in page.text
    assert link(page, "Create the first one") == "/admin/product/create"
    assert "Create the first one" not in (await (await sign_in("sam")).get(LIST)).text


@pytest.mark.parametrize("column", ["Name", "Price", "State", "Updated"])
async def test_the_pages_of_every_order_hold_every_row_once_in_both_directions(
    column: str, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    await add_products(database, cast.alice, 60)
    client = await sign_in("sam")
    start: str | None = LIST
    orders = []
    for _ in range(2):
        page = parse(await client.get(start or LIST))
        start = link(page, column)
        assert start is not None
        first = parse(await client.get(start))
        [sorted_heading] = [head for head in first.all("th") if "aria-sort" in head.attributes]
        orders.append(sorted_heading.attributes["aria-sort"])
        assert sorted_heading.text == column
        assert link(first, "Previous page") is link(first, "First page") is None

        forward = await walk(client, start, "Next page")
        assert [len(page) for page in forward] == [25, 25, 10]
        assert sorted(flat(forward)) == [f"Product {number:03}" for number in range(60)]

        last = link(first, "Last page")
        assert last is not None
        backward = await walk(client, last, "Previous page")
        assert flat(backward[::-1]) == flat(forward)
        end = parse(await client.get(last))
        assert link(end, "Next page") is link(end, "Last page") is None
        first_again = link(end, "First page")
        assert first_again is not None
        assert titles_of(parse(await client.get(first_again))) == forward[0]

        second = parse(await client.get(link(first, "Next page") or ""))
        assert titles_of(parse(await client.get(link(second, "Previous page") or ""))) == forward[0]
        if column == "Name":
            expected = sorted(flat(forward), reverse=orders[-1] == "descending")
            assert flat(forward) == expected
    assert sorted(orders) == ["ascending", "descending"]


async def test_rows_made_meanwhile_neither_repeat_nor_hide_others(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    await add_products(database, cast.alice, 50)
    client = await sign_in("sam")
    first = parse(await client.get(LIST))
    await make_product(cast.alice, name="Newest")
    second = await titles(client, link(first, "Next page") or "")
    assert sorted(titles_of(first) + second) == [f"Product {number:03}" for number in range(50)]


async def test_conditions_and_page_size_stay_while_paging(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    await add_products(database, cast.alice, 60)
    client = await sign_in("sam")
    page = parse(await client.get(LIST, params={"is_active": "yes", "sortBy": "price", "sort": "asc"}))
    assert count_of(page) == "25+"
    following = query_of(link(page, "Next page") or "")
    assert following.items() >= {"is_active": "yes", "sortBy": "price", "sort": "asc"}.items()
    pages = await walk(client, f"{LIST}?is_active=yes&sortBy=price&sort=asc", "Next page")
    assert [len(page) for page in pages] == [25, 15]
    page = parse(await client.get(f"{LIST}?is_active=yes&pageSize=50"))
    assert len(titles_of(page)) == 40
    assert count_of(page) == "40"
    assert link(page, "Next page") is None
    assert current_size(page) == "50"


async def test_a_page_that_has_emptied_leads_back_to_the_first(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    await add_products(database, cast.alice, 45)
    client = await sign_in("alice")
    address = link(parse(await client.get(LIST, params={"is_active": "yes"})), "Next page")
    page = parse(await client.get(address or ""))
    selected = [box.attributes["value"] for box in page.all("input", name="ids")]
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE products SET is_active = false WHERE id = ANY (:ids)"), {"ids": selected}
        )
    response = await client.get(address or "")
    assert (response.status_code, response.headers["location"]) == (302, f"{LIST}?is_active=yes")
    page = parse(await client.get(response.headers["location"]))
    assert len(titles_of(page)) == 25


async def test_counts_are_exact_to_ten_thousand_then_about_and_exact_on_demand(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    async with database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO products (name, price, owner_id, is_active) "
                "SELECT 'x', 1, :owner, n < 10000 FROM generate_series(0, 12344) n"
            ),
            {"owner": cast.alice.id},
        )
        await session.execute(text("ANALYZE products"))
    client = await sign_in("sam")
    count = "/admin/product/count"
    assert count_of(parse(await client.get(LIST))) == "about 12,300"
    assert (await client.get(count)).json() == {"text": "about 12,300", "exact": False}
    assert (await client.get(f"{count}?exactly=1")).json() == {"text": "12,345", "exact": True}
    assert (await client.get(f"{count}?is_active=yes")).json() == {"text": "10,000", "exact": True}
    assert (await client.get(f"{count}?is_active=maybe")).status_code == 400


async def test_conditions_of_nothing_but_space_are_none(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice)
    client = await sign_in("sam")
    for name, value in [("owner", " "), ("owner", "\t"), ("search", '"'), ("search", '""'), ("search", " ")]:
        page = parse(await client.get(LIST, params={name: value}))
        assert len(titles_of(page)) == 1
        assert chips(page) == {}


BAD_QUERIES = [
    {"is_active": "maybe"},
    {"is_active": "YES"},
    {"owner": "x" * 201},
    {"owner": "\0"},
    {"created_from": "yesterday"},
    {"created_to": "2026-02-30"},
    {"created_from": "0001-01-01"},
    {"created_to": "9999-12-31"},
    {"created_from": "2026-01-01T00:00"},
    {"created_from": "20260101"},
    {"created_to": "2026-W01-1"},
    {"created_from": "2026-01-02", "created_to": "2026-01-01"},
    {"created": "yesterday"},
    {"columns": "nothing"},
    {"search": "a b c d e f g h i j k"},
    {"search": "\0"},
    {"search": "x" * 201},
    {"sortBy": "password_hash"},
    {"sortBy": "owner"},
    {"sortBy": "name; DROP TABLE products"},
    {"sort": "sideways"},
    {"page": "1e9"},
    {"pageSize": "26"},
    {"pageSize": "-1"},
    {"pageSize": "1e9"},
    {"pageSize": "٢٥"},
    {"cursor": "x"},
    {"cursor": "first"},
    {"cursor": "bnVsbA"},
    {"cursor": "A" * 50_000},
    {"cursor": "é"},
    {"name": "x"},
    {"id": "x"},
    {"": "x"},
    {"unknown": ""},
]


@pytest.mark.parametrize("address", [LIST, USERS])
async def test_a_query_that_cannot_be_read_shows_no_rows_and_nothing_to_select(
    address: str, sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.root)
    client = await sign_in("root")
    queries = [list(query.items()) for query in BAD_QUERIES if address == LIST or "owner" not in query]
    queries.append([("search", "a"), ("search", "b")])
    for query in queries:
        response = await client.get(address, params=query)
        assert response.status_code == 400, query
        page = parse(response)
        assert titles_of(page) == [], query
        assert page.all("input", name="ids") == []
        assert page.all("button", name="action") == []
        [message] = notices(page)
        if "cursor" in dict(query):
            assert link(page, "To the first page") == address
        else:
            assert message.endswith(" Show everything"), message
            assert link(page, "Show everything") == address
        assert "count" not in page.one("h1").text.lower()


async def test_a_bad_query_stays_in_the_fields_to_be_corrected(sign_in: SignIn, cast: Cast) -> None:
    response = await (await sign_in("sam")).get(LIST, params={"search": "wall", "created_from": "soon"})
    page = parse(response)
    assert notices(page)[0].startswith("Created from: enter a date such as 2026-01-31.")
    form = page.one("form", class_="filters")
    assert form.one("input", name="search").attributes["value"] == "wall"
    assert form.one("input", name="created_from").attributes["value"] == "soon"
    assert "open" in form.one("details").attributes


async def test_a_page_link_of_another_order_or_search_is_refused(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    await add_products(database, cast.alice, 30)
    client = await sign_in("sam")
    cursor = query_of(link(parse(await client.get(LIST)), "Next page") or "")["cursor"]
    for changed in ({"search": "product"}, {"sortBy": "price"}, {"is_active": "yes"}, {"sort": "asc"}):
        response = await client.get(LIST, params={"cursor": cursor, **changed})
        assert response.status_code == 400, changed
        assert "page link is not valid any more" in response.text


def made_up(column: str, value: object, direction: object = "after", row_id: object = ID) -> dict[str, str]:
    """The query of a page link nobody was given, with the right fingerprint."""
    query = {"sortBy": column, "sort": "asc"}
    fingerprint = LISTING.parse(list(query.items())).fingerprint()
    parts = json.dumps([direction, value, row_id, fingerprint])
    return query | {"cursor": base64.urlsafe_b64encode(parts.encode()).decode().rstrip("=")}


async def test_a_page_link_made_up_is_refused_and_not_a_fault(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice)
    client = await sign_in("sam")
    values = {
        "price": ["1e200000", "NaN", True, [], {}, "1" * 9000, "-0", None],
        "created_at": ["2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00+14:00", 5, None],
        "name": ["\0", "\ud800", 5, None, "x" * 9000],
        "is_active": ["x", [], None],
    }
    queries = [made_up(column, value) for column in values for value in values[column]]
    queries += [made_up("price", "1", direction) for direction in ("before", "x", None, [])]
    queries += [made_up("price", "1", "after", row_id) for row_id in ("x", None, 5, "\0")]
    for query in queries:
        response = await client.get(LIST, params=query)
        assert response.status_code in {200, 302, 400}, query


async def test_an_administrator_sees_the_own_account_and_no_other(sign_in: SignIn, cast: Cast) -> None:
    alice = await sign_in("alice")
    page = parse(await alice.get(USERS))
    assert titles_of(page) == ["alice@demo.example"]
    assert count_of(page) == "1"
    assert link(page, "New user") is None
    assert page.all("input", name="ids") == []
    assert await titles(alice, USERS, search="bob") == []
    assert await titles(alice, USERS, role="superuser") == []
    for name in ("sam", "root"):
        assert len(await titles(await sign_in(name), USERS)) == 4
    assert await titles(await sign_in("sam"), USERS, role="administrator", search="bob") == [
        "bob@demo.example"
    ]


async def test_people_who_never_signed_in_are_paged_too(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    async with database.transaction() as session:
        session.add_all(
            User(
                email=f"person{number:02}@demo.example",
                name="Person",
                password_hash="!",
                role=Role.SUPPORT,
                last_sign_in_at=datetime(2026, 1, 1 + number // 5, tzinfo=UTC) if number % 2 else None,
            )
            for number in range(56)
        )
    client = await sign_in("root")
    expected = sorted(
        [f"person{number:02}@demo.example" for number in range(56)]
        + [f"{name}@demo.example" for name in ("alice", "bob", "sam", "root")]
    )
    for direction in ("asc", "desc"):
        address = f"{USERS}?sortBy=last_sign_in_at&sort={direction}"
        forward = await walk(client, address, "Next page")
        assert sorted(flat(forward)) == expected
        last = link(parse(await client.get(address)), "Last page")
        assert flat((await walk(client, last, "Previous page"))[::-1]) == flat(forward)


async def test_no_hash_can_be_sorted_filtered_or_searched_for(
    sign_in: SignIn, cast: Cast, password_hash: str
) -> None:
    root = await sign_in("root")
    assert await titles(root, USERS, search="argon2") == []
    for query in ({"password_hash": password_hash}, {"sortBy": "password_hash"}, {"password": "x"}):
        assert (await root.get(USERS, params=query)).status_code == 400


async def test_searching_for_an_id_finds_its_row_alone(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Sought")
    await make_product(cast.alice, name="Other", description=f"see {product.id}")
    alice, root = await sign_in("alice"), await sign_in("root")
    assert await titles(alice, LIST, search=str(product.id)) == ["Sought"]
    assert await titles(alice, LIST, search=f" {product.id} ".upper()) == ["Sought"]
    assert await titles(root, USERS, search=str(cast.bob.id)) == ["bob@demo.example"]
    assert await titles(alice, LIST, search=str(cast.bob.id)) == []


async def test_whoever_saves_deletes_or_cancels_finds_the_list_as_it_was(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    for number in range(30):
        await make_product(cast.alice, name=f"Lamp {number:02}")
    alice = await sign_in("alice")
    filtered = await alice.get(LIST, params={"search": "lamp", "sortBy": "name", "sort": "asc"})
    second = await alice.get(link(parse(filtered), "Next page"))
    page = parse(second)
    here = str(second.url.raw_path, "ascii")
    [to_edit, *_] = [
        item
        for item in page.all("a", class_="icon-button")
        if item.text == "" and "/edit/" in item.attributes["href"]
    ]
    form = await alice.get(to_edit.attributes["href"])
    [cancel] = [item for item in parse(form).all("a") if item.text == "Cancel"]
    assert cancel.attributes["href"] == here
    fields = fields_of(form_of(parse(form)))
    saved = await alice.post(to_edit.attributes["href"].partition("?")[0], data=fields | {"price": "12.345"})
    assert saved.status_code == 422
    fields = fields_of(form_of(parse(saved)))
    saved = await alice.post(to_edit.attributes["href"].partition("?")[0], data=fields | {"price": "12.34"})
    assert saved.headers["location"] == here
    to_delete = to_edit.attributes["href"].replace("/edit/", "/delete/")
    question = await alice.get(to_delete)
    deleted = await alice.post(to_delete.partition("?")[0], data=fields_of(form_of(parse(question))))
    assert deleted.headers["location"] == here
