"""The start page: each role's tiles, numbers that lead to their rows, and slow tiles that hold up nobody."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy import event, func, text, update

from admin_app.admin import charts
from admin_app.admin.charts import Bar
from admin_app.admin.dashboard import TILES
from admin_app.app import Website
from admin_app.bulk.models import BulkOperation, State
from admin_app.database import Database
from admin_app.domains import SUMMARIES
from admin_app.domains.products import repository
from admin_app.domains.products.models import Product
from admin_app.outbox import Delivery
from admin_app.security.sessions import AuthSession
from admin_app.summaries import Summaries, Summary
from tests.admin.pages import Element, link, parse
from tests.conftest import Cast, MakeProduct, SignIn

ROLES = {
    "alice": ["own", "products", "operations", "created", "prices", "owners", "activity"],
    "sam": ["products", "operations", "created", "owners", "activity"],
    "root": [tile.name for tile in TILES if tile.name != "own"],
}
LIVE = {"own", "deliveries", "index", "operations", "activity"}


@pytest.fixture
def counted(database: Database) -> Any:
    """`await counted()`: every summary, as of now."""

    async def count() -> None:
        for name in SUMMARIES:
            assert await Summaries(database, SUMMARIES).count(name)

    return count


async def start_page(client: httpx.AsyncClient) -> Element:
    response = await client.get("/admin/")
    assert response.status_code == 200
    return parse(response).one("main")


def tiles_of(page: Element) -> dict[str, Element]:
    """By their names, in the order of the page."""
    found = [element for element in page.all("section") if "data-tile" in element.attributes]
    return {tile.attributes["data-tile"].rsplit("/", 1)[1]: tile for tile in found}


async def tile_of(client: httpx.AsyncClient, name: str) -> Element:
    response = await client.get(f"/admin/tile/{name}")
    assert response.status_code == 200
    [tile] = tiles_of(parse(response)).values()
    return tile


def problem(tile: Element) -> str | None:
    return next((element.text for element in tile.all("p", class_="tile-problem")), None)


@pytest.mark.parametrize("name", list(ROLES))
async def test_each_role_sees_its_tiles_and_no_other(name: str, sign_in: SignIn, cast: Cast) -> None:
    client = await sign_in(name)
    page = tiles_of(await start_page(client))
    assert list(page) == ROLES[name]
    for tile in TILES:
        response = await client.get(f"/admin/tile/{tile.name}")
        if tile.name in page:
            assert parse(response).text == page[tile.name].text
        else:
            assert response.status_code == 404
    for unknown in ("nothing", "own%00", "products/"):
        assert (await client.get(f"/admin/tile/{unknown}")).status_code == 404


async def test_before_anything_was_counted_or_done_every_tile_says_so(sign_in: SignIn, cast: Cast) -> None:
    for name in ROLES:
        page = tiles_of(await start_page(await sign_in(name)))
        for tile in TILES:
            if tile.name in page and tile.summary:
                assert problem(page[tile.name]) == "This is being counted for the first time."
        assert problem(page["operations"]) == "Nothing was done to many rows at once yet."
    assert problem(tiles_of(await start_page(await sign_in("alice")))["own"]) == "There are none yet."


async def test_an_empty_catalogue_has_no_charts(sign_in: SignIn, cast: Cast, counted: Any) -> None:
    await counted()
    page = tiles_of(await start_page(await sign_in("root")))
    for name in ("products", "prices", "owners"):
        assert problem(page[name]), name
    assert "0 products created in the last 90 days." in page["created"].text


async def test_every_number_leads_to_so_many_rows(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, counted: Any, database: Database
) -> None:
    prices = ("0.50", "1", "1.99", "2", "99.99", "100", "99999.99", "100000", "99999999.99")
    products = [await make_product(cast.alice, price=Decimal(price)) for price in prices]
    await make_product(cast.bob, price=Decimal(2), is_active=False)
    await make_product(cast.alice, price=Decimal(2), is_active=False)
    # Their e-mails are parts of each other's; the ends of days are where rows would be counted twice.
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE users SET email = 'a' || email WHERE id = :id"), {"id": cast.bob.id}
        )
        await session.execute(text("UPDATE users SET email = 'bob@demo.example' WHERE name = 'Alice'"))
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for number, product in enumerate(products):
            then = midnight - timedelta(days=number // 2, microseconds=number % 2)
            await session.execute(update(Product).where(Product.id == product.id).values(created_at=then))
    await counted()
    client = await sign_in("alice")
    numbers = 0
    for tile_name, tile in tiles_of(await start_page(client)).items():
        links = [
            (element.text, element.attributes["href"])
            for table in tile.all("table")
            for row in table.all("tr")
            for element in row.all("a")
        ]
        if links and tile_name in {"own", "products", "owners"}:
            rows = [row for row in tile.all("tr") if row.all("a")]
            links = [(row.all("td")[-1].text, row.one("a").attributes["href"]) for row in rows]
        for number, path in links:
            count = await client.get(path.replace("/list", "/count"))
            assert count.json() == {"text": number, "exact": True}, (tile_name, path)
            numbers += 1
        # What a mouse finds in the drawing is what the table holds.
        drawn = [element.attributes["href"] for element in tile.all("a", tabindex="-1")]
        if drawn:
            assert sorted(drawn) == sorted(path for _, path in links)
    assert numbers == 2 + 2 + 2 + 5 + 7


async def test_every_link_leads_somewhere(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, counted: Any, database: Database
) -> None:
    await make_product(cast.alice)
    async with database.transaction() as session:
        session.add(operation_of(cast.alice.id, State.RUNNING))
    await counted()
    for name in ROLES:
        client = await sign_in(name)
        page = await start_page(client)
        paths = {element.attributes["href"] for element in page.all("a")}
        doors = [button.attributes.get("formaction") for button in page.all("button")]
        paths |= {f"{path}?search=x" for path in doors if path}
        assert len(paths) > 10
        for path in paths:
            assert (await client.get(path)).status_code == 200, (name, path)


def operation_of(actor_id: Any, state: State, **values: Any) -> BulkOperation:
    return BulkOperation(
        kind="product",
        action="deactivate",
        label="Deactivate",
        selection="All products",
        actor_id=actor_id,
        actor_label="alice@demo.example",
        request_id=actor_id,
        state=state,
        confirmed_at=datetime.now(UTC),
        **values,
    )


async def test_operations_that_run_come_first_and_administrators_see_their_own(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    async with database.transaction() as session:
        session.add(operation_of(cast.alice.id, State.RUNNING, total=2000, done=1500))
    async with database.transaction() as session:
        session.add_all([operation_of(cast.bob.id, State.FINISHED, total=9, done=9) for _ in range(5)])
    found = {}
    for name in ROLES:
        tile = await tile_of(await sign_in(name), "operations")
        found[name] = [item.text for item in tile.all("li")]
    assert found["root"] == found["sam"]
    assert len(found["root"]) == 4
    assert "1,500 of 2,000" in found["root"][0]
    assert "9 done" in found["root"][1]
    assert len(found["alice"]) == 1


async def test_own_products_are_those_of_whoever_looks(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, is_active in ((cast.alice, True), (cast.alice, True), (cast.alice, False), (cast.bob, True)):
        await make_product(owner, is_active=is_active)
    alice = await sign_in("alice")
    tile = await tile_of(alice, "own")
    assert tile.one("p", class_="tile-number").text == "3"
    assert [row.text.split()[-1] for row in tile.all("tr")[1:]] == ["2", "1"]
    monkeypatch.setattr(repository, "COUNT_LIMIT", 2)
    assert link(await tile_of(alice, "own"), "Over 10,000") == "/admin/product/list?mine=yes"


async def test_what_was_done_is_told_without_who_came_and_went(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice, name="Balloon")
    root = await sign_in("root")
    await root.post("/admin/logout")
    for name in ROLES:
        told = [item.text for item in (await tile_of(await sign_in(name), "activity")).all("li")]
        assert any("Created product “Balloon”" in text for text in told)
        assert not any("Signed" in text for text in told)


async def test_superusers_see_what_waits_and_how_far_the_search_index_is_behind(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    for _ in range(3):
        await make_product(cast.alice)
    async with database.transaction() as session:
        values = {"done_at": func.now()}
        await session.execute(update(Delivery).where(Delivery.task != "update_product_index").values(values))
        deliveries = (await session.scalars(text("SELECT id FROM delivery WHERE done_at IS NULL"))).all()
        assert len(deliveries) == 3
        hours = timedelta(hours=2)
        oldest = update(Delivery).where(Delivery.id == deliveries[0])
        await session.execute(oldest.values(created_at=func.now() - hours))
        dead = update(Delivery).where(Delivery.id == deliveries[1])
        await session.execute(dead.values(dead_at=func.now(), task="send_mail"))
    root = await sign_in("root")
    found = {}
    for name in ("deliveries", "index"):
        tile = await tile_of(root, name)
        found[name] = ([number.text for number in tile.all("dd")], "2 h ago" in tile.text)
    assert found == {"deliveries": (["2", "1"], True), "index": (["2", "0"], True)}


async def test_a_slow_tile_says_so_and_the_others_stand(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, counted: Any, database: Database
) -> None:
    await make_product(cast.alice)
    await counted()
    clients = {name: await sign_in(name) for name in ROLES}
    late = "This could not be read in time. It is tried again."
    for table, slow in (("audit_entry", {"activity"}), ("delivery", {"deliveries", "index"})):
        async with database.transaction() as session:
            await session.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
            for name, client in clients.items():
                page = tiles_of(await start_page(client))
                assert {tile for tile in page if problem(page[tile]) == late} == slow & set(page), name
    async with database.transaction() as session:
        await session.execute(text("LOCK TABLE summary IN ACCESS EXCLUSIVE MODE"))
        page = tiles_of(await start_page(clients["root"]))
        assert {name for name in page if problem(page[name]) == late} == set(page) - LIVE
    page = tiles_of(await start_page(clients["root"]))
    assert [name for name in page if problem(page[name]) == late] == []


async def test_numbers_say_when_they_were_counted_and_that_nobody_counts_any_more(
    sign_in: SignIn, cast: Cast, counted: Any, database: Database
) -> None:
    await counted()
    sam = await sign_in("sam")
    assert (await tile_of(sam, "created")).all("text")[-1].text == "Today"
    [foot] = (await tile_of(sam, "products")).all("p", class_="tile-foot")
    assert foot.text == f"As of {foot.one('time').text}"
    assert foot.one("time").text.endswith(" UTC")
    async with database.transaction() as session:
        await session.execute(update(Summary).values(as_of=func.now() - timedelta(days=2)))
        before = {"first": "2026-01-30", "numbers": [0, 1, 0]}
        await session.execute(update(Summary).where(Summary.name == "products_by_day").values(data=before))
    [foot] = (await tile_of(sam, "products")).all("p", class_="tile-foot")
    then = datetime.now(UTC) - timedelta(days=2)
    assert str(then.year) in foot.one("time").text
    assert "Nobody has counted since: is a worker running?" in foot.text
    assert [mark.text for mark in (await tile_of(sam, "created")).all("text")][-2:] == ["30 Jan", "1 Feb"]


@pytest.mark.parametrize(("name", "limit"), [("alice", 6), ("sam", 5), ("root", 7)])
async def test_the_page_takes_few_statements(
    name: str,
    limit: int,
    sign_in: SignIn,
    cast: Cast,
    website: Website,
    counted: Any,
    make_product: MakeProduct,
) -> None:
    for _ in range(5):
        await make_product(cast.alice)
    await counted()
    client = await sign_in(name)
    await start_page(client)  # a new connection asks about the server first
    sent: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        sent.append(statement)

    engine = website.state.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    await start_page(client)
    event.remove(engine, "before_cursor_execute", note)
    queries = [statement for statement in sent if statement.lstrip().startswith(("SELECT", "WITH"))]
    assert len(queries) <= limit, queries
    assert not [statement for statement in sent if statement.startswith(("INSERT", "UPDATE", "DELETE"))]


async def test_what_a_page_asks_for_by_itself_keeps_no_session_alive(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    sam = await sign_in("sam")
    long_ago = datetime.now(UTC) - timedelta(hours=1)

    async def seen() -> datetime:
        async with database.reading() as session:
            return (await session.execute(text("SELECT last_seen_at FROM auth_session"))).scalar_one()

    async with database.transaction() as session:
        await session.execute(update(AuthSession).values(last_seen_at=long_ago))
    await tile_of(sam, "activity")
    assert await seen() == long_ago
    await start_page(sam)
    assert await seen() > long_ago


def test_bars_fit_their_scale() -> None:
    for highest, step, top in (
        (0, 1, 1),
        (1, 1, 1),
        (4, 1, 4),
        (5, 2, 6),
        (999, 500, 1000),
        (10**6, 500_000, 10**6),
    ):
        drawn = charts.chart("", "", [Bar("", highest)], {})
        assert charts.step_for(highest) == step
        assert drawn.lines[-1].text == charts.compact(top)
        assert drawn.bars[0].length == 100 * highest / top
    [nothing, little, all_] = charts.rows([Bar("", 0), Bar("", 1), Bar("", 10**6)], 10**6)
    assert (nothing.length, all_.length) == (0, 100)
    assert little.length > 0.5
    texts = [charts.compact(number) for number in (0, 950, 1500, 20_000, 2_500_000, 10**9)]
    assert texts == ["0", "950", "1.5k", "20k", "2.5M", "1G"]
