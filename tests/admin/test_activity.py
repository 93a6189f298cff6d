"""The activity page, and what it says of refusals."""

import logging
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text, update

from admin_app.admin.history import told
from admin_app.admin.site import VIEWS
from admin_app.audit import HIDDEN, AuditEntry
from admin_app.database import Database
from admin_app.domains.activity.models import MODELS
from admin_app.domains.products.models import Product
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from tests.admin.pages import link, notices, open_form, parse, rows_of, titles_of
from tests.admin.rows import every
from tests.conftest import PASSWORD, Cast, MakeProduct, SignIn

LIST = "/admin/activity/list"


async def refusals(database: Database) -> list[tuple[str, str, UUID | None, str | None]]:
    return [
        (entry.actor_label.split("@")[0], entry.kind, entry.row_id, entry.note)
        for entry in await every(database, AuditEntry, action="refused")
    ]


@pytest.fixture
async def foreign(cast: Cast, make_product: MakeProduct) -> Product:
    """Bob's."""
    return await make_product(cast.bob, name="Anvil")


async def save(client: httpx.AsyncClient, product: Product, **values: str) -> None:
    path = f"/admin/product/edit/{product.id}"
    response = await client.post(path, data=await open_form(client, path) | values)
    assert response.status_code == 303


@pytest.mark.parametrize("name", ["bob", "sam", "root"])
async def test_a_change_is_told_in_a_line_that_leads_to_its_entry(
    name: str, sign_in: SignIn, foreign: Product, database: Database
) -> None:
    await save(await sign_in("bob"), foreign, price="13")
    client = await sign_in(name)
    page = parse(await client.get(LIST))
    first = rows_of(page)[0]
    cells = [cell.text for cell in first.all("td")]
    [entry] = await every(database, AuditEntry, action="updated")
    title = first.one("a", class_="row-link")
    assert title.text == "Changed product “Anvil”"
    assert title.attributes["href"] == f"/admin/activity/details/{entry.id}"
    assert cells[1:5] == ["Price 0.99 → 13.00", "bob@demo.example", "Form", "just now"]
    assert (await client.get(title.attributes["href"])).status_code == 200
    assert link(page, "Activity") == LIST


async def test_filters_order_columns_and_search_are_those_of_any_list(
    sign_in: SignIn, foreign: Product, cast: Cast
) -> None:
    client = await sign_in("root")
    await save(await sign_in("bob"), foreign, name="Hammer")
    query = f"?who=bob%40demo.example&field=name&kind=product&search={foreign.id}"
    assert titles_of(parse(await client.get(LIST + query))) == ["Changed product “Hammer”"]
    oldest = titles_of(parse(await client.get(f"{LIST}?sortBy=at&sort=asc")))
    assert oldest[-1] == "Changed product “Hammer”"
    with_id = parse(await client.get(f"{LIST}?columns=what.id"))
    assert [cell.text for cell in with_id.all("th")] == ["What", "Id", "Actions"]
    assert (await client.get(f"/admin/activity/count{query}")).json() == {"text": "1", "exact": True}
    facets = (await client.get("/admin/activity/facets")).json()
    assert (facets["kind"]["product"], facets["action"]["updated"]) == ("2", "1")
    nothing = await client.get(f"{LIST}?action=purged")
    assert "Nothing matches these conditions." in nothing.text


async def test_words_cannot_be_searched_for_and_the_page_says_what_can(sign_in: SignIn, cast: Cast) -> None:
    response = await (await sign_in("root")).get(f"{LIST}?search=anvil")
    assert response.status_code == 400
    page = parse(response)
    assert any("Only the id of a product or a user can be searched for" in text for text in notices(page))
    assert page.one("input", id="search").attributes["placeholder"] == "Id of a product or user"


async def test_people_are_suggested_as_far_as_one_sees_them(sign_in: SignIn, cast: Cast) -> None:
    async def suggested(name: str, term: str) -> list[str]:
        client = await sign_in(name)
        response = await client.get("/admin/activity/suggest", params={"name": "who", "term": term})
        return [item["text"] for item in response.json()["results"]]

    assert await suggested("root", "demo") == [
        f"{name}@demo.example" for name in ("alice", "bob", "root", "sam")
    ]
    assert await suggested("sam", "sys") == ["system"]
    assert await suggested("alice", "demo") == ["alice@demo.example"]
    wrong = await (await sign_in("root")).get("/admin/activity/suggest", params={"name": "kind", "term": ""})
    assert wrong.status_code == 400


async def test_an_administrator_learns_nothing_of_foreign_accounts(
    sign_in: SignIn, database: Database, cast: Cast
) -> None:
    async with database.transaction() as session:
        await UserService(session, cast.root).update(cast.bob.id, UserUpdate(name="Unknown to Alice"))
    client = await sign_in("alice")
    for query in ("", "?kind=user", "?who=root", f"?search={cast.bob.id}", "?field=name", "?action=updated"):
        response = await client.get(LIST + query)
        assert response.status_code == 200
        assert "bob@demo.example" not in response.text
        assert "Unknown to Alice" not in response.text
    missing = await client.get(f"/admin/activity/details/{uuid4()}")
    for entry in await every(database, AuditEntry, row_id=cast.bob.id):
        response = await client.get(f"/admin/activity/details/{entry.id}")
        assert (response.status_code, response.content) == (404, missing.content)
    counted = await client.get("/admin/activity/count?kind=user")
    assert counted.json() == {"text": "1", "exact": True}


async def test_secrets_and_what_was_typed_never_appear(
    sign_in: SignIn, database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    async with database.transaction() as session:
        data = UserUpdate(password="a brand new long password")
        await UserService(session, cast.root).update(cast.alice.id, data)
        user = await session.get_one(User, cast.alice.id)
    client = await sign_in("root")
    await make_product(cast.root, name="<script>alert(1)</script>")
    for query in ("", "?field=password_hash"):
        page = await client.get(LIST + query)
        assert "Password changed" in page.text
        for secret in (user.password_hash, "argon2", "brand new", PASSWORD, HIDDEN):
            assert secret not in page.text
    assert "<script>alert(1)" not in (await client.get(LIST)).text


async def test_entries_can_only_be_looked_at(sign_in: SignIn, database: Database, foreign: Product) -> None:
    client = await sign_in("root")
    [entry] = await every(database, AuditEntry, row_id=foreign.id)
    for path in ("edit", "delete", "inline"):
        response = await client.post(f"/admin/activity/{path}/{entry.id}", data={"version": "1"})
        assert response.status_code == 403
    page = parse(await client.get(LIST))
    assert page.all("input", type="checkbox", name="ids") == []
    assert page.all("a", data_edit="") == []
    assert len(await every(database, AuditEntry, action="refused")) == 0


async def test_quick_search_finds_the_page_but_no_entries(sign_in: SignIn, foreign: Product) -> None:
    response = await (await sign_in("root")).get("/admin/search?q=activity")
    assert LIST in response.text
    assert "/admin/activity/details/" not in (await (await sign_in("root")).get("/admin/search?q=anvil")).text


async def test_each_refusal_is_written_down_once_with_what_was_wanted(
    sign_in: SignIn, database: Database, cast: Cast, foreign: Product
) -> None:
    alice, sam = await sign_in("alice"), await sign_in("sam")
    row = f"{foreign.id}"
    wanted = [
        (alice, "GET", f"product/edit/{row}", 404, ("alice", "product", foreign.id, "to edit")),
        (alice, "POST", f"product/edit/{row}", 404, None),
        (alice, "GET", f"product/delete/{row}", 404, ("alice", "product", foreign.id, "to delete")),
        (
            alice,
            "POST",
            f"product/inline/{row}",
            404,
            ("alice", "product", foreign.id, "to edit in the list"),
        ),
        (alice, "POST", f"product/revert/{row}", 404, ("alice", "product", foreign.id, "to bring back")),
        (alice, "GET", f"user/details/{cast.bob.id}", 404, ("alice", "user", cast.bob.id, "to see")),
        (alice, "GET", f"user/edit/{cast.bob.id}", 403, ("alice", "user", cast.bob.id, "to edit")),
        (alice, "GET", "user/create", 403, ("alice", "user", None, "to create")),
        (sam, "GET", f"product/edit/{row}", 403, ("sam", "product", foreign.id, "to edit")),
        (sam, "GET", "product/create", 403, ("sam", "product", None, "to create")),
        (sam, "POST", "product/bulk", 403, ("sam", "product", None, "to change many")),
        (sam, "GET", "product/ajax/lookup?name=owner&term=a", 403, None),
    ]
    expected = []
    for client, method, path, status, entry in wanted:
        response = await client.request(method, f"/admin/{path}", data={} if method == "POST" else None)
        assert response.status_code == status, path
        expected += [entry] if entry else []
        assert await refusals(database) == expected, path
    [inline] = await every(database, AuditEntry, note="to edit in the list")
    assert (inline.source, inline.address, inline.changes, inline.version) == (
        "inline",
        "127.0.0.1",
        {},
        None,
    )
    assert (
        told_of(await every(database, AuditEntry, action="refused"))[0]
        == "Refused: product “Anvil” (to edit)"
    )


def told_of(entries: list[AuditEntry]) -> list[str]:
    for entry in entries:
        entry.people, entry.operation_number = None, None  # type: ignore[attr-defined]  # as the list reads them
    return [told(entry).title for entry in entries]


async def test_what_is_no_refusal_leaves_no_entry(
    sign_in: SignIn, database: Database, cast: Cast, foreign: Product, make_product: MakeProduct
) -> None:
    deleted = await make_product(cast.bob)
    async with database.transaction() as session:
        await ProductService(session, cast.bob).delete(deleted.id)
    root, alice, sam, nobody = [await sign_in(name) for name in ("root", "alice", "sam", "nobody")]
    missing, wrong = uuid4(), str(foreign.id).upper()
    for client, method, path, status in [
        (alice, "HEAD", f"product/edit/{foreign.id}", 404),
        (sam, "HEAD", "product/create", 403),
        (alice, "GET", f"product/edit/{missing}", 404),
        (sam, "GET", f"product/edit/{missing}", 403),
        (alice, "GET", f"product/edit/{wrong}", 404),
        (sam, "GET", "product/edit/x", 403),
        (alice, "GET", f"product/details/{deleted.id}", 404),
        (alice, "POST", f"product/restore/{deleted.id}", 404),
        (alice, "GET", f"user/details/{missing}", 404),
        (root, "GET", f"user/compare/{cast.bob.id}", 404),
        (alice, "GET", f"user/compare/{cast.bob.id}", 404),
        (alice, "POST", f"user/restore/{cast.bob.id}", 404),
        (root, "GET", "user/bin", 404),
        (root, "GET", "nothing/create", 404),
        (sam, "POST", f"operation/edit/{missing}", 403),
        (nobody, "GET", f"product/edit/{foreign.id}", 302),
        (nobody, "POST", f"product/edit/{foreign.id}", 401),
    ]:
        response = await client.request(method, f"/admin/{path}", data={} if method == "POST" else None)
        assert response.status_code == status, path
    assert await refusals(database) == []


async def test_a_refused_row_looks_like_none_at_all(sign_in: SignIn, cast: Cast, foreign: Product) -> None:
    client = await sign_in("alice")
    for path in ("product/edit", "product/delete", "user/details"):
        row_id = cast.bob.id if path.startswith("user") else foreign.id
        refused, missing = [await client.get(f"/admin/{path}/{item}") for item in (row_id, uuid4())]
        assert (refused.status_code, refused.content) == (404, missing.content)
        assert set(refused.headers) == set(missing.headers)


@pytest.fixture
async def full(database: Database) -> AsyncIterator[None]:
    """A database that takes no refusals."""
    async with database.transaction() as session:
        await session.execute(
            text("ALTER TABLE audit_entry ADD CONSTRAINT full_up CHECK (action <> 'refused') NOT VALID")
        )
    yield
    async with database.transaction() as session:
        await session.execute(text("ALTER TABLE audit_entry DROP CONSTRAINT full_up"))


async def test_a_refusal_that_cannot_be_written_down_stays_one(
    full: None, sign_in: SignIn, database: Database, foreign: Product, caplog: pytest.LogCaptureFixture
) -> None:
    alice, sam = await sign_in("alice"), await sign_in("sam")
    with caplog.at_level(logging.WARNING, "admin_app.admin.refused"):
        assert (await alice.get(f"/admin/product/edit/{foreign.id}")).status_code == 404
        assert (await sam.post("/admin/product/create", data={})).status_code == 403
    assert [record.getMessage() for record in caplog.records] == [
        "A refusal was not written down: IntegrityError"
    ] * 2
    assert await refusals(database) == []


async def test_who_was_refused_reads_it_only_where_they_read_the_row(
    sign_in: SignIn, cast: Cast, foreign: Product
) -> None:
    alice = await sign_in("alice")
    await alice.get(f"/admin/product/edit/{foreign.id}")
    await alice.get(f"/admin/user/details/{cast.bob.id}")
    path = f"{LIST}?action=refused"
    assert titles_of(parse(await alice.get(path))) == ["Refused: product “Anvil” (to edit)"]
    everything = titles_of(parse(await (await sign_in("sam")).get(path)))
    assert everything == [
        "Refused: user “bob@demo.example” (to see)",
        "Refused: product “Anvil” (to edit)",
    ]


@pytest.mark.parametrize("day", ["1900-01-01", "1969-12-31", "1970-01-01", "2999-12-31"])
async def test_every_day_a_filter_takes_can_be_asked_for(day: str, sign_in: SignIn, cast: Cast) -> None:
    root = await sign_in("root")
    for name in ("at_from", "at_to"):
        for page in ("list", "count", "facets"):
            response = await root.get(f"/admin/activity/{page}", params={name: day})
            assert response.status_code == 200, (name, page)


async def test_an_entry_that_makes_no_sense_is_shown_as_it_is(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    async with database.transaction() as session:
        await session.execute(
            update(AuditEntry)
            .where(AuditEntry.row_id == product.id)
            .values(changes={"owner_id": ["nobody", None], "price": ["free", [1]]})
        )
    root = await sign_in("root")
    for path in ("/admin/activity/list", f"/admin/product/history/{product.id}"):
        response = await root.get(path)
        assert response.status_code == 200
        assert "nobody" in response.text


def test_everything_with_a_history_can_be_looked_for() -> None:
    assert {view.model for view in VIEWS if view.has_history} == set(MODELS)


@pytest.mark.parametrize("name", ["alice", "sam", "root"])
async def test_every_link_of_the_start_page_leads_somewhere(name: str, sign_in: SignIn, cast: Cast) -> None:
    client = await sign_in(name)
    start = parse(await client.get("/admin/")).one("main")
    paths = [item.attributes["href"] for item in start.all("a")]
    assert any("/activity/list" in path for path in paths)
    for path in paths:
        assert (await client.get(path)).status_code == 200, path
