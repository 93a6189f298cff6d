"""How many statements each page may send; the look-up of the session is one of them."""

import re
from collections.abc import Iterator
from itertools import groupby

import httpx
import pytest
from sqlalchemy import event

from admin_app.app import Website
from admin_app.database import Database
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from tests.admin.pages import open_form
from tests.admin.rows import history
from tests.conftest import Cast, MakeProduct, SignIn

CHANGES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
QUERIES = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


@pytest.fixture
def sent(website: Website) -> Iterator[list[str]]:
    """The website's statements from now on; "BEGIN" and "COMMIT" say where its transactions were."""
    engine = website.state.database.engine.sync_engine
    found: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        if QUERIES.match(statement):
            found.append(statement)

    listeners = {
        "before_cursor_execute": note,
        "begin": lambda _connection: found.append("BEGIN"),
        "commit": lambda _connection: found.append("COMMIT"),
    }
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    yield found
    for name, listener in listeners.items():
        event.remove(engine, name, listener)


async def queries(client: httpx.AsyncClient, sent: list[str], path: str, status: int = 200) -> list[str]:
    await client.get("/admin/")  # a new connection asks about the server first
    sent.clear()
    response = await client.get(path)
    assert response.status_code == status
    assert not any(CHANGES.match(statement) for statement in sent)
    return [statement for statement in sent if QUERIES.match(statement)]


async def test_each_page_stays_within_its_number_of_queries(
    sign_in: SignIn, sent: list[str], cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    products = [await make_product(owner) for owner in (cast.alice, cast.bob, cast.root) for _ in range(10)]
    own = products[0].id
    async with database.transaction() as session:
        await ProductService(session, cast.alice).update(own, ProductUpdate(name="Renamed"))
    [_, entry] = await history(database, own)
    limits = {
        "/admin/": 7,
        "/admin/password": 1,
        "/admin/product/list": 3,
        "/admin/product/list?search=balls+wall&owner=alice&is_active=yes&sortBy=name&sort=asc": 3,
        "/admin/product/list?cursor=last": 3,
        f"/admin/product/details/{own}": 3,
        f"/admin/product/history/{own}": 3,
        f"/admin/product/compare/{own}?version=1": 5,
        f"/admin/activity/details/{entry.id}": 3,
        f"/admin/product/edit/{own}": 2,
        f"/admin/product/delete/{own}": 2,
        "/admin/product/create": 1,
        "/admin/product/bin": 2,
        "/admin/product/bin?search=balls+alice": 3,
        "/admin/user/list": 3,
        "/admin/activity/list": 2,
        "/admin/activity/list?who=alice&kind=product&field=name&at=today&sort=asc": 3,
        "/admin/activity/list?cursor=last": 2,
        "/admin/product/ajax/lookup?name=owner&term=a": 3,
    }
    own_account = {f"/admin/user/details/{cast.root.id}": 3, f"/admin/user/edit/{cast.root.id}": 2}
    for name, pages in (("alice", limits), ("root", limits | own_account)):
        client = await sign_in(name)
        found = {path: len(await queries(client, sent, path)) for path in pages}
        assert {path: number for path, number in found.items() if number > pages[path]} == {}


async def test_a_refused_page_asks_no_more_than_the_page_itself(
    sign_in: SignIn, sent: list[str], cast: Cast, make_product: MakeProduct
) -> None:
    alice = await sign_in("alice")
    assert len(await queries(alice, sent, "/admin/product/edit/x", 404)) == 1
    assert len(await queries(alice, sent, "/admin/product/list?is_active=maybe", 400)) == 1
    assert await queries(await sign_in("nobody"), sent, "/admin/product/list", 302) == []
    assert await queries(await sign_in("nobody"), sent, "/admin/login") == []


async def test_a_refusal_is_written_down_after_the_page_in_a_transaction_of_its_own(
    sign_in: SignIn, sent: list[str], cast: Cast, make_product: MakeProduct
) -> None:
    foreign = await make_product(cast.bob)
    alice, sam = await sign_in("alice"), await sign_in("sam")
    # Of what a role may never do, the row is not looked at before.
    for client, number in ((alice, 2), (sam, 1)):
        sent.clear()
        assert (await client.get(f"/admin/product/edit/{foreign.id}")).status_code in {403, 404}
        page, note = [list(run) for is_query, run in groupby(sent, "BEGIN".__ne__) if is_query]
        assert len([statement for statement in page if QUERIES.match(statement)]) == number
        assert not any(CHANGES.match(statement) for statement in page)
        assert len(note) == 4
        assert note[-2].startswith("INSERT INTO audit_entry")
        assert note[-1] == "COMMIT"


@pytest.mark.parametrize("name", ["alice", "root"])
async def test_saving_takes_one_transaction_of_few_statements(
    name: str, sign_in: SignIn, sent: list[str], cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    client = await sign_in(name)
    path = f"/admin/product/edit/{product.id}"
    fields = await open_form(client, path) | {"name": "Renamed", "price": "2"}
    sent.clear()
    assert (await client.post(path, data=fields)).status_code == 303
    assert sent.count("COMMIT") == 1
    start = max(index for index, statement in enumerate(sent) if statement == "BEGIN")
    look_up = [statement for statement in sent[:start] if QUERIES.match(statement)]
    inside = sent[start + 1 : sent.index("COMMIT")]
    assert len(look_up) == 1
    assert 4 <= len(inside) <= 6, inside
    assert not any(CHANGES.match(statement) for statement in look_up)


async def test_a_bulk_change_asks_no_more_for_many_rows_than_for_few(
    sign_in: SignIn, sent: list[str], cast: Cast, make_product: MakeProduct
) -> None:
    ids = [str((await make_product(cast.alice)).id) for _ in range(22)]
    alice = await sign_in("alice")
    found = []
    for selected in (ids[:2], ids[2:]):
        sent.clear()
        response = await alice.post("/admin/product/bulk", data={"ids": selected, "action": "deactivate"})
        assert response.status_code == 303
        assert sent.count("COMMIT") == 1
        found.append([statement for statement in sent if not statement.startswith("INSERT INTO audit_entry")])
    assert len(found[0]) == len(found[1])
