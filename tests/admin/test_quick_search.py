"""Quick search: what it lists for whom, in which order, and what it refuses."""

from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select

from admin_app.admin import quick_search
from admin_app.admin.quick_search import likeness
from admin_app.database import Database
from admin_app.domains.products.repository import ProductRepository
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.repository import UserRepository
from admin_app.domains.users.service import UserService
from admin_app.errors import TooSlow, Unavailable
from admin_app.preferences import SavedView
from admin_app.search_postgres import PostgresIndex
from tests.admin.pages import Element, parse
from tests.conftest import Cast, MakeProduct, SignIn
from tests.search.conftest import work

SEARCH = "/admin/search"
FRAGMENT = {"X-Fragment": "results"}


def results_of(page: Element) -> list[tuple[str, str]]:
    """(kind, title), best first."""
    return [
        (link.one("span", class_="quick-kind").text, link.one("span", class_="quick-title").text)
        for link in page.all("a", class_="quick-result")
    ]


async def find(client: httpx.AsyncClient, text: str) -> list[tuple[str, str]]:
    response = await client.get(SEARCH, params={"q": text}, headers=FRAGMENT)
    assert response.status_code == 200
    return results_of(parse(response))


async def test_products_people_pages_and_views_are_one_ranked_list(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    await make_product(cast.alice, name="Motörhead – Overkill")
    await make_product(cast.bob, name="Balls to the Wall")
    await work(database)
    async with database.transaction() as session:
        view = SavedView(name="Balls of mine", list="product", query="mine=yes")
        await UserService(session, cast.root).change_preferences(lambda old: old.with_view(view))
    client = await sign_in("root")
    assert await find(client, "motorhed") == [("Product", "Motörhead – Overkill")]
    assert await find(client, "balls to the wal") == [("Product", "Balls to the Wall")]
    assert await find(client, "balls") == [("Saved view", "Balls of mine"), ("Product", "Balls to the Wall")]
    assert (await find(client, "bob"))[0] == ("User", "bob@demo.example")
    assert (await find(client, "prodcuts"))[0] == ("Page", "Products")
    assert (await find(client, "new p"))[0] == ("Page", "New product")


async def test_an_exact_id_or_e_mail_comes_first(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.bob, name="Alice@demo.example fan")
    client = await sign_in("root")
    assert await find(client, f" {product.id} ") == [("Product", product.name)], "before it is indexed"
    assert await find(client, str(cast.alice.id)) == [("User", "alice@demo.example")]
    assert await find(client, str(uuid4())) == []
    await work(database)
    assert (await find(client, "ALICE@demo.example"))[0] == ("User", "alice@demo.example")


@pytest.mark.parametrize(
    ("person", "people"),
    [
        ("root", {"alice", "bob", "sam", "root"}),
        ("sam", {"alice", "bob", "sam", "root"}),
        ("alice", {"alice"}),
    ],
)
async def test_everybody_finds_only_what_they_may_see(
    person: str, people: set[str], sign_in: SignIn, cast: Cast
) -> None:
    client = await sign_in(person)
    found = {title for kind, title in await find(client, "demo.example") if kind == "User"}
    assert found == {f"{name}@demo.example" for name in people}
    assert set(await find(client, str(cast.bob.id))) == (
        {("User", "bob@demo.example")} if len(people) > 1 else set()
    )
    assert (("Page", "New product") in await find(client, "new")) == (person != "sam")
    assert (("Page", "New user") in await find(client, "new")) == (person == "root")


async def test_a_product_shows_its_price_its_state_and_its_owner(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice, name="Overkill", price="1234.50", is_active=False)
    await work(database)
    page = parse(await (await sign_in("sam")).get(SEARCH, params={"q": "overkill"}))
    [result] = page.all("a", class_="quick-result")
    assert result.attributes["href"] == f"/admin/product/details/{product.id}"
    for text in ("1,234.50", "Inactive", "alice@demo.example"):
        assert text in result.one("span", class_="quick-cells").text


async def test_without_text_pages_and_views_are_offered(sign_in: SignIn) -> None:
    client = await sign_in("sam")
    for text in ("", "  "):
        assert await find(client, text) == [
            ("Page", "Home"),
            ("Page", "Products"),
            ("Page", "Users"),
            ("Page", "Operations"),
            ("Page", "Activity"),
            ("Page", "Jobs"),
            ("Page", "Deliveries"),
            ("Page", "Your account"),
        ]


async def test_the_page_has_the_frame_and_the_fragment_has_not(sign_in: SignIn) -> None:
    client = await sign_in("sam")
    page = await client.get(SEARCH, params={"q": "<b>xyzzy"})
    fragment = await client.get(SEARCH, params={"q": "<b>xyzzy"}, headers=FRAGMENT)
    assert parse(page).one("input", id="search").attributes["value"] == "<b>xyzzy"
    assert "Nothing found for “<b>xyzzy”." in parse(fragment).text
    assert not parse(fragment).all("html")


@pytest.mark.parametrize("text", ["x" * 201, "a\0b", "\ud800"])
@pytest.mark.parametrize("headers", [{}, FRAGMENT])
async def test_what_cannot_be_searched_for_is_refused(
    text: str, headers: dict[str, str], sign_in: SignIn
) -> None:
    client = await sign_in("sam")
    query = f"q={''.join(f'%{byte:02X}' for byte in text.encode(errors='surrogatepass'))}"
    response = await client.get(f"{SEARCH}?{query}", headers=headers)
    if text == "\ud800":  # no text, so the server reads other characters
        assert response.status_code == 200
        return
    assert response.status_code == 400
    assert parse(response).one("p", class_="quick-notice").text.startswith("Search: ")


async def test_nobody_is_sent_to_sign_in(sign_in: SignIn) -> None:
    response = await (await sign_in("nobody")).get(SEARCH, params={"q": "x"})
    assert response.status_code == 302


async def test_a_search_that_takes_too_long_still_shows_pages(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def too_slow(*_: object) -> list[object]:
        raise TooSlow

    monkeypatch.setattr(UserRepository, "rank", too_slow)
    response = await (await sign_in("root")).get(SEARCH, params={"q": "home"}, headers=FRAGMENT)
    assert response.status_code == 200
    assert results_of(parse(response)) == [("Page", "Home")]
    assert parse(response).one("p", class_="quick-notice").text == quick_search.TOO_SLOW


@pytest.mark.parametrize("trouble", [Unavailable("away"), TooSlow(), "cancelled", "empty"])
@pytest.mark.parametrize("headers", [{}, FRAGMENT])
async def test_without_its_index_search_finds_exact_words_and_says_so(
    trouble: object,
    headers: dict[str, str],
    sign_in: SignIn,
    cast: Cast,
    make_product: MakeProduct,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(self: PostgresIndex, *_: object, **__: object) -> list[object]:
        if trouble == "cancelled":  # by PostgreSQL itself, which leaves the transaction unusable
            await self._session.execute(select(func.pg_sleep(30)))
        if isinstance(trouble, Exception):
            raise trouble
        return []

    older = await make_product(cast.bob, name="Overkill, the older")
    newer = await make_product(cast.alice, name="Overkill, the newer")
    if trouble != "empty":
        await work(database)
    monkeypatch.setattr(PostgresIndex, "search", fail)
    client = await sign_in("root")
    response = await client.get(SEARCH, params={"q": "overkill"}, headers=headers)
    assert response.status_code == 200
    page = parse(response)
    assert [title for kind, title in results_of(page) if kind == "Product"] == [newer.name, older.name]
    assert page.one("p", class_="quick-note").text == quick_search.EXACT_ONLY
    people = await client.get(SEARCH, params={"q": "bob@demo"}, headers=headers)
    assert ("User", "bob@demo.example") in results_of(parse(people))


async def test_with_its_index_search_says_nothing_about_it(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    client = await sign_in("root")
    response = await client.get(SEARCH, params={"q": "overkill"})
    assert not parse(response).all("p", class_="quick-note"), "there is nothing to be found"
    await make_product(cast.alice, name="Overkill")
    await work(database)
    for words in ("overkill", "xylophone"):
        response = await client.get(SEARCH, params={"q": words})
        assert not parse(response).all("p", class_="quick-note")


async def test_when_exact_words_take_too_long_too_there_are_pages(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def too_slow(*_: object, **__: object) -> list[object]:
        raise TooSlow

    await make_product(cast.alice, name="Home")
    monkeypatch.setattr(PostgresIndex, "search", too_slow)
    monkeypatch.setattr(ProductRepository, "search", too_slow)
    page = parse(await (await sign_in("root")).get(SEARCH, params={"q": "home"}, headers=FRAGMENT))
    assert results_of(page) == [("Page", "Home")]
    assert page.one("p", class_="quick-notice").text == quick_search.TOO_SLOW


async def test_five_quick_statements_search(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database, statements: list[str]
) -> None:
    await make_product(cast.alice, name="Overkill")
    await work(database)
    async with database.reading() as session:
        statements.clear()
        products = await ProductService(session, cast.root).rank("overkil", 8)
        assert [product.name for product, _ in products] == ["Overkill"]
        assert await UserRepository(session, cast.root).rank("overkil", 8) == []
        assert len(statements) == 5  # two of them are the savepoint around the index


@pytest.mark.parametrize(
    ("text", "title", "expected"),
    [
        ("products", "Products", 1.0),
        ("prod", "Products", 0.95),
        ("pro new", "New product", 0.85),
        ("uebersicht", "Übersicht", 0.75),
        ("ubersicht", "Übersicht", 1.0),
        ("xylophone", "Products", 0.0),
    ],
)
def test_pages_are_found_by_beginnings_and_nearly_right_words(text: str, title: str, expected: float) -> None:
    assert likeness(text, title) == pytest.approx(expected, abs=0.02)
