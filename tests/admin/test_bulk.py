"""Bulk operations as people meet them: choose rows, see what would happen, confirm, follow, undo."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from admin_app.admin import operation_pages
from admin_app.audit import AuditEntry
from admin_app.bulk import service as bulk_service
from admin_app.bulk.models import BulkItem, BulkOperation, State
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.security.body_limit import MAX_SELECTION_BYTES
from admin_app.security.sessions import AuthSession
from tests.admin.pages import Element, errors_of, fields_of, link, notices, parse
from tests.admin.rows import every, traces
from tests.bulk.operations import Operations
from tests.conftest import Cast, MakeProduct, SignIn

BULK = "/admin/product/bulk"
ACTIONS_OF_ONE = ("details", "live", "confirm", "cancel", "retry", "undo")


async def draft(client: httpx.AsyncClient, action: str, ids: list[UUID], address: str = BULK) -> str:
    """The address of the question."""
    response = await client.post(address, data={"ids": [str(row_id) for row_id in ids], "action": action})
    assert response.status_code == 303, response.text
    return str(response.headers["location"])


async def draft_of_all(client: httpx.AsyncClient, action: str, conditions: str = "") -> str:
    response = await client.post(BULK, data={"all": "1", "conditions": conditions, "action": action})
    assert response.status_code == 303, response.text
    return str(response.headers["location"]).partition("?")[0]


def question(page: Element) -> Element:
    """The form that confirms."""
    return page.one("form", data_submit_once="")


def numbers(page: Element) -> dict[str, str]:
    """label -> number, as the page tells them."""
    [place] = page.all("dl", class_="numbers")
    return {part.one("dt").text: part.one("dd").text for part in place.all("div")}


async def confirm(
    client: httpx.AsyncClient, address: str, parameters: Mapping[str, str] | None = None, **more: str
) -> httpx.Response:
    """As a browser would, with the page as it is now."""
    page = parse(await client.get(address, params=dict(parameters or {})))
    form = question(page)
    return await client.post(form.attributes["action"], data={**fields_of(form), **more})


async def complete(
    client: httpx.AsyncClient, database: Database, address: str, parameters: Mapping[str, str] | None = None
) -> Element:
    """Confirm, let a worker do it, and see the page afterwards."""
    response = await confirm(client, address, parameters)
    assert (response.status_code, response.headers["location"]) == (303, address)
    await Operations(database).run()
    return parse(await client.get(address))


async def operations(database: Database) -> list[BulkOperation]:
    return sorted(await every(database, BulkOperation), key=lambda item: item.number)


async def states(database: Database) -> dict[str, bool]:
    return {product.name: product.is_active for product in await every(database, Product)}


class TestAsking:
    async def test_the_page_tells_what_would_happen_to_each_row_and_does_nothing(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        one, two = await make_product(cast.alice, name="One"), await make_product(cast.alice, name="Two")
        already = await make_product(cast.alice, name="Already", is_active=False)
        foreign = await make_product(cast.bob, name="Foreign")
        before = await traces(database)
        alice = await sign_in("alice")
        selected = [one.id, two.id, already.id, foreign.id, uuid4(), uuid4(), one.id]
        page = parse(await alice.get(await draft(alice, "deactivate", selected)))
        assert numbers(page) == {
            "will change": "2",
            "skipped: gone": "2",
            "skipped: already inactive": "1",
            "skipped: not yours": "1",
        }
        rows = [row.text for row in page.one("tbody").all("tr")]
        assert rows == ["OneActive becomes Inactive", "TwoActive becomes Inactive"]
        assert page.one("button", class_="button-primary").text == "Deactivate: 2 products"
        assert await traces(database) == before
        assert await every(database, BulkItem) == []

    async def test_when_nothing_would_change_there_is_nothing_to_confirm(
        self, sign_in: SignIn, cast: Cast, make_product: MakeProduct
    ) -> None:
        foreign = await make_product(cast.bob)
        alice = await sign_in("alice")
        address = await draft(alice, "deactivate", [foreign.id])
        page = parse(await alice.get(address))
        assert page.all("form", data_submit_once="") == []
        assert "None of these rows would change." in page.text
        response = await alice.post(address.replace("details", "confirm"), data={"shown": "x"})
        assert response.status_code == 409

    async def test_parameters_are_asked_for_first(
        self, sign_in: SignIn, cast: Cast, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.alice, name="Thing", price=Decimal("10.00"))
        alice = await sign_in("alice")
        address = await draft(alice, "change_price", [product.id])
        page = parse(await alice.get(address))
        assert page.all("form", data_submit_once="") == []
        asked = page.one("form", action=address)
        assert list(fields_of(asked)) == ["unit", "change", "rounding", "floor", "ceiling"]
        answer = await alice.get(address, params={**fields_of(asked), "change": "-12.5"})
        shown = parse(answer)
        assert shown.one("tbody").text == "Thing10.00 becomes 8.75"
        assert fields_of(question(shown)).items() >= {"change": "-12.5", "rounding": "0.01"}.items()

    @pytest.mark.parametrize(
        ("action", "parameters", "field"),
        [
            ("change_price", {"change": "-100"}, "change"),
            ("change_price", {"change": "NaN"}, "change"),
            ("change_price", {"change": "1e999"}, "change"),
            ("change_price", {"change": "Infinity"}, "change"),
            ("change_price", {"change": "1,5"}, "change"),
            ("change_price", {"change": "x", "unit": "amount"}, "change"),
            ("change_price", {"change": "5", "rounding": "7"}, "rounding"),
            ("change_price", {"change": "5", "unit": "dollars"}, "unit"),
            ("change_price", {"change": "5", "floor": "9", "ceiling": "8"}, "ceiling"),
            ("set_price", {"price": "0"}, "price"),
            ("set_price", {"price": "\0"}, "price"),
            ("transfer", {"owner": "nobody@demo.example"}, "owner"),
            ("transfer", {"owner": "sam@demo.example"}, "owner"),
            ("transfer", {"owner": "not an address"}, "owner"),
            ("transfer", {"owner": "a\0b@demo.example"}, "owner"),
        ],
    )
    async def test_parameters_out_of_range_are_told_beside_their_field(
        self,
        action: str,
        parameters: dict[str, str],
        field: str,
        sign_in: SignIn,
        cast: Cast,
        database: Database,
        make_product: MakeProduct,
    ) -> None:
        product = await make_product(cast.alice)
        before = await traces(database)
        alice = await sign_in("alice")
        address = await draft(alice, action, [product.id])
        posted = alice.post(address.replace("details", "confirm"), data={**parameters, "shown": "x"})
        for response in (await alice.get(address, params=parameters), await posted):
            assert response.status_code == 422
            page = parse(response)
            assert list(errors_of(page.one("form", action=address))) == [field]
            assert page.all("form", data_submit_once="") == []
        assert [operation.state for operation in await operations(database)] == [State.DRAFT]
        assert await traces(database) == before

    async def test_all_that_match_are_those_of_the_list_and_no_others(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        for name in ("Red lamp", "Red chair", "Blue lamp"):
            await make_product(cast.alice, name=name)
        await make_product(cast.bob, name="Red shelf")
        alice = await sign_in("alice")
        address = await draft_of_all(alice, "deactivate", "search=red")
        page = parse(await alice.get(address))
        assert numbers(page) == {"will change": "2", "skipped: not yours": "1"}
        assert "“red”" in page.one("p", class_="lead").text
        await complete(alice, database, address)
        assert await states(database) == {
            "Red lamp": False,
            "Red chair": False,
            "Blue lamp": True,
            "Red shelf": True,
        }

    async def test_cancel_leads_back_to_the_page_it_came_from(
        self, sign_in: SignIn, cast: Cast, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.alice)
        alice = await sign_in("alice")
        for action in ("deactivate", "set_price"):
            data = {"ids": str(product.id), "action": action, "back": "search=wall&pageSize=50"}
            asked = await alice.get((await alice.post(BULK, data=data)).headers["location"])
            assert link(parse(asked), "Cancel") == "/admin/product/list?search=wall&pageSize=50"
        page = parse(await alice.get(asked.url, params={"price": "7", "back": data["back"]}))
        assert link(page, "Cancel") == "/admin/product/list?search=wall&pageSize=50"

    async def test_a_list_that_cannot_be_read_selects_nothing(
        self, sign_in: SignIn, cast: Cast, database: Database
    ) -> None:
        alice = await sign_in("alice")
        for conditions in ("price_from=cheap", "color=red", "search=%00"):
            data = {"all": "1", "conditions": conditions, "action": "deactivate"}
            assert (await alice.post(BULK, data=data)).status_code == 400
        assert await operations(database) == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            ({"action": "deactivate"}, 422),
            ({"action": "deactivate", "ids": ""}, 422),
            ({"action": "deactivate", "ids": "7"}, 400),
            ({"action": "deactivate", "ids": "x' OR 1=1"}, 400),
            ({"action": "explode", "all": "1", "conditions": ""}, 400),
            ({"action": "", "all": "1", "conditions": ""}, 400),
            ({"all": "1", "conditions": ""}, 400),
            ({"action": "undo", "all": "1", "conditions": ""}, 400),
            ({"action": "require_new_password", "all": "1", "conditions": ""}, 400),
            ({"action": "deactivate", "all": "1"}, 400),
            ({"action": "deactivate", "all": "1", "conditions": f"search=x{'&' * 20_000}"}, 400),
        ],
    )
    async def test_what_is_no_selection_or_no_action_starts_nothing(
        self, data: dict[str, str], status: int, sign_in: SignIn, database: Database
    ) -> None:
        alice = await sign_in("alice")
        response = await alice.post(BULK, data=data)
        assert response.status_code == status
        assert "SELECT" not in response.text
        assert await operations(database) == []

    async def test_a_hundred_thousand_rows_can_be_selected_one_by_one_and_no_more(
        self, sign_in: SignIn, database: Database
    ) -> None:
        alice = await sign_in("alice")
        ids = [str(UUID(int=number)) for number in range(100_001)]
        response = await alice.post(BULK, data={"action": "deactivate", "ids": ".".join(ids)})
        assert response.status_code == 422
        assert "at most 100,000" in parse(response).text
        response = await alice.post(BULK, data={"action": "deactivate", "ids": ".".join(ids[:-1])})
        assert response.status_code == 303
        assert len(await operations(database)) == 1
        too_much = "x" * MAX_SELECTION_BYTES
        assert (await alice.post(BULK, data={"ids": too_much})).status_code == 413

    async def test_who_may_not_starts_nothing(
        self,
        sign_in: SignIn,
        client: httpx.AsyncClient,
        cast: Cast,
        database: Database,
        make_product: MakeProduct,
    ) -> None:
        product = await make_product(cast.alice)
        data = {"ids": str(product.id), "action": "deactivate"}
        assert (await client.post(BULK, data=data)).status_code == 401
        sam, alice = await sign_in("sam"), await sign_in("alice")
        for given in (data, {}, {"ids": "x", "action": "x"}):
            assert (await sam.post(BULK, data=given)).status_code == 403
        response = await alice.post(
            "/admin/user/bulk", data={"ids": str(cast.bob.id), "action": "deactivate"}
        )
        assert response.status_code == 403
        assert await operations(database) == []

    async def test_somebody_elses_operation_does_not_exist(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.bob)
        bob, alice, sam = await sign_in("bob"), await sign_in("alice"), await sign_in("sam")
        drafted = await draft(bob, "deactivate", [product.id])
        done = await draft(bob, "activate", [(await make_product(cast.bob, is_active=False)).id])
        await complete(bob, database, done)
        before = await traces(database)
        for address in (drafted, done):
            for page in ACTIONS_OF_ONE:
                method = "GET" if page in {"details", "live"} else "POST"
                url = address.replace("details", page)
                missing = url.rpartition("/")[0] + f"/{uuid4()}"
                own, absent = await alice.request(method, url), await alice.request(method, missing)
                assert own.status_code == absent.status_code == 404
                assert own.content == absent.content
                expected = {200} if (method, address) == ("GET", done) else {403, 404}
                assert (await sam.request(method, url)).status_code in expected
        assert await traces(database) == before
        assert [operation.state for operation in await operations(database)] == [State.DRAFT, State.FINISHED]

    async def test_a_draft_is_nobody_elses_not_even_a_superusers(
        self, sign_in: SignIn, cast: Cast, make_product: MakeProduct
    ) -> None:
        alice, root = await sign_in("alice"), await sign_in("root")
        address = await draft(alice, "deactivate", [(await make_product(cast.alice)).id])
        assert (await root.get(address)).status_code == 404
        assert (await root.post(address.replace("details", "confirm"), data={})).status_code == 404


class TestConfirming:
    async def test_confirmed_it_is_done_and_told(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        own = [await make_product(cast.alice, name=f"Own {number}") for number in range(3)]
        foreign = await make_product(cast.bob, name="Foreign")
        alice = await sign_in("alice")
        address = await draft(alice, "deactivate", [*(product.id for product in own), foreign.id])
        page = await complete(alice, database, address)
        assert numbers(page) == {"done": "3", "skipped": "1", "failed": "0"}
        number = (await operations(database))[0].number
        assert page.one("h1").text == f"#{number} Deactivate Finished"
        rows = {row.all("td")[0].text: row.all("td")[1].text for row in page.one("tbody").all("tr")}
        assert rows == {"Own 0": "Done", "Own 1": "Done", "Own 2": "Done", "Foreign": "Skipped not yours"}
        assert await states(database) == {"Own 0": False, "Own 1": False, "Own 2": False, "Foreign": True}
        [operation] = await operations(database)
        entries = await every(database, AuditEntry, operation_id=operation.id)
        assert {(entry.source, entry.action, entry.actor_id) for entry in entries} == {
            ("bulk", "updated", cast.alice.id)
        }
        assert sorted(entry.row_id for entry in entries) == sorted(product.id for product in own)

    async def test_confirmed_twice_it_runs_once(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.alice, price=Decimal("10.00"))
        alice = await sign_in("alice")
        address = await draft(alice, "change_price", [product.id])
        page = parse(await alice.get(address, params={"change": "10"}))
        form = question(page)
        send = [alice.post(form.attributes["action"], data=fields_of(form)) for _ in range(4)]
        assert {response.status_code for response in await asyncio.gather(*send)} == {303}
        await Operations(database).run()
        replayed = await alice.post(form.attributes["action"], data=fields_of(form))
        assert replayed.status_code == 303
        await Operations(database).run()
        assert [row.price for row in await every(database, Product)] == [Decimal("11.00")]

    async def test_what_changed_since_it_was_shown_is_shown_again(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        product, other = await make_product(cast.alice), await make_product(cast.alice)
        alice = await sign_in("alice")
        address = await draft(alice, "deactivate", [product.id, other.id])
        form = question(parse(await alice.get(address)))
        async with database.transaction() as session:
            await session.execute(
                text("UPDATE products SET is_active = false, version = 2 WHERE id = :id"), {"id": product.id}
            )
        response = await alice.post(form.attributes["action"], data=fields_of(form))
        assert response.status_code == 409
        page = parse(response)
        assert numbers(page) == {"will change": "1", "skipped: already inactive": "1"}
        assert "nothing was started" in page.one("div", role="alert").text
        assert [operation.state for operation in await operations(database)] == [State.DRAFT]
        form = question(page)
        assert (await alice.post(form.attributes["action"], data=fields_of(form))).status_code == 303

    async def test_other_parameters_than_those_shown_are_shown_first(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.alice)
        alice = await sign_in("alice")
        address = await draft(alice, "set_price", [product.id])
        form = question(parse(await alice.get(address, params={"price": "5"})))
        response = await alice.post(form.attributes["action"], data={**fields_of(form), "price": "500"})
        assert response.status_code == 409
        assert "500.00" in parse(response).one("tbody").text

    async def test_of_many_rows_the_number_is_typed(
        self,
        sign_in: SignIn,
        cast: Cast,
        database: Database,
        make_product: MakeProduct,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(bulk_service, "TYPED_ABOVE", 2)
        monkeypatch.setattr(operation_pages, "TYPED_ABOVE", 2)
        products = [await make_product(cast.alice) for _ in range(3)]
        alice = await sign_in("alice")
        address = await draft(alice, "deactivate", [product.id for product in products])
        for typed in ("", "2", "three"):
            response = await confirm(alice, address, typed=typed)
            assert response.status_code == 422
            assert errors_of(question(parse(response))) == {
                "typed": "Type 3 to confirm that so many rows are meant."
            }
        assert (await confirm(alice, address, typed=" 3 ")).status_code == 303

    async def test_no_request_grows_with_the_number_of_rows(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        for _ in range(60):
            await make_product(cast.alice)
        alice = await sign_in("alice")
        address = await draft_of_all(alice, "deactivate")
        response = await confirm(alice, address)
        sent = response.request
        assert len(sent.content) + sum(len(name) + len(value) for name, value in sent.headers.raw) < 4000
        assert len(response.content) < 4000
        assert await every(database, BulkItem) == []


class TestFollowing:
    async def test_while_it_runs_the_page_tells_how_far_it_is(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        products = [await make_product(cast.alice) for _ in range(4)]
        alice = await sign_in("alice")
        address = await draft(alice, "deactivate", [product.id for product in products])
        await confirm(alice, address)
        live = address.replace("details", "live")
        waiting = parse(await alice.get(live))
        assert "Waiting" in waiting.one("h1").text
        steps = Operations(database, chunk=2)
        await steps.run(2)
        running = parse(await alice.get(live))
        assert "Running" in running.one("h1").text
        assert running.one("progress").attributes["value"] == "2"
        assert running.all("header", data_active="")
        await steps.run()
        done = parse(await alice.get(live))
        assert "Finished" in done.one("h1").text
        assert not done.all("header", data_active="")

    async def test_cancelled_it_stops_and_can_go_on(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        products = [await make_product(cast.alice) for _ in range(4)]
        alice = await sign_in("alice")
        address = await draft(alice, "deactivate", [product.id for product in products])
        await confirm(alice, address)
        steps = Operations(database, chunk=2)
        await steps.run(2)
        response = await alice.post(address.replace("details", "cancel"))
        assert response.headers["location"] == address
        await steps.run()
        page = parse(await alice.get(address))
        assert numbers(page) == {"done": "2", "skipped": "0", "failed": "0", "not done": "2"}
        left = parse(await alice.get(f"{address}?outcome=left"))
        assert len(left.one("tbody").all("tr")) == 2
        assert (await alice.post(address.replace("details", "retry"))).status_code == 303
        await steps.run()
        assert numbers(parse(await alice.get(address)))["done"] == "4"

    async def test_what_failed_is_grouped_by_reason_and_can_be_tried_again(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        products = [await make_product(cast.alice) for _ in range(3)]
        alice = await sign_in("alice")
        address = await draft(alice, "deactivate", [product.id for product in products])
        await confirm(alice, address)
        steps = Operations(database)
        await steps.run(1)
        async with database.transaction() as session:
            await session.execute(
                text("UPDATE products SET name = 'New', version = version + 1 WHERE id = :id"),
                {"id": products[0].id},
            )
        await steps.run()
        page = parse(await alice.get(address))
        assert numbers(page) == {"done": "2", "skipped": "0", "failed": "1"}
        [reason] = page.one("ul", class_="reasons").all("a")
        only = parse(await alice.get(reason.attributes["href"]))
        assert [row.text for row in only.one("tbody").all("tr")] == ["New Failed changed meanwhile"]
        assert (await alice.post(address.replace("details", "retry"))).status_code == 303
        await steps.run()
        assert numbers(parse(await alice.get(address))) == {"done": "3", "skipped": "0", "failed": "0"}

    async def test_undo_asks_first_and_brings_back_what_nobody_touched(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        one, two = [await make_product(cast.alice, price=Decimal("10.00")) for _ in range(2)]
        alice = await sign_in("alice")
        address = await draft(alice, "set_price", [one.id, two.id])
        page = await complete(alice, database, address, {"price": "5"})
        assert [button.text for button in page.all("button") if "Undo" in button.text] == ["Undo…"]
        async with database.transaction() as session:
            await session.execute(
                text("UPDATE products SET price = 7, version = version + 1 WHERE id = :id"), {"id": two.id}
            )
        asked = await alice.post(address.replace("details", "undo"))
        assert asked.status_code == 303
        undo = asked.headers["location"]
        assert (await alice.post(address.replace("details", "undo"))).headers["location"] == undo
        shown = parse(await alice.get(undo))
        assert numbers(shown) == {"will be as before": "1", "skipped: changed meanwhile": "1"}
        await complete(alice, database, undo)
        prices = {row.id: row.price for row in await every(database, Product)}
        assert prices == {one.id: Decimal("10.00"), two.id: Decimal("7.00")}
        assert "Undone by" in notices(parse(await alice.get(address)))[0]

    async def test_rows_are_told_in_pages(
        self,
        sign_in: SignIn,
        cast: Cast,
        database: Database,
        make_product: MakeProduct,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(bulk_service, "ITEMS_PER_PAGE", 2)
        products = [await make_product(cast.alice, name=f"Row {number}") for number in range(5)]
        alice = await sign_in("alice")
        address: str | None = await draft(alice, "deactivate", [product.id for product in products])
        assert address is not None
        await complete(alice, database, address)
        seen = []
        while address:
            page = parse(await alice.get(address))
            seen += [row.all("td")[0].text for row in page.one("tbody").all("tr")]
            more = page.all("p", class_="operation-more")
            address = more[0].one("a").attributes["href"] if more else None
        assert seen == [f"Row {number}" for number in range(5)]

    async def test_support_follows_and_changes_nothing(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        alice, sam = await sign_in("alice"), await sign_in("sam")
        address = await draft(alice, "deactivate", [(await make_product(cast.alice)).id])
        await complete(alice, database, address)
        page = parse(await sam.get(address))
        assert numbers(page)["done"] == "1"
        assert page.one("main").all("form") == []
        for verb in ("cancel", "retry", "undo", "confirm"):
            assert (await sam.post(address.replace("details", verb))).status_code == 403

    async def test_a_superuser_stops_anybodys(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        alice, root = await sign_in("alice"), await sign_in("root")
        address = await draft(alice, "deactivate", [(await make_product(cast.alice)).id])
        await confirm(alice, address)
        assert (await root.post(address.replace("details", "cancel"))).status_code == 303
        await Operations(database).run()
        [operation] = await operations(database)
        assert (operation.state, operation.done) == (State.CANCELLED, 0)

    @pytest.mark.parametrize("query", ["outcome=x", "after=x", "reason=%00", "after=", "reason='"])
    async def test_an_address_with_nonsense_shows_the_operation(
        self, query: str, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        alice = await sign_in("alice")
        address = await draft(alice, "deactivate", [(await make_product(cast.alice)).id])
        await complete(alice, database, address)
        assert (await alice.get(f"{address}?{query}")).status_code == 200

    async def test_a_person_undoes_a_transfer_only_as_a_superuser(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        alice, root = await sign_in("alice"), await sign_in("root")
        address = await draft(alice, "transfer", [(await make_product(cast.alice)).id])
        page = await complete(alice, database, address, {"owner": "bob@demo.example"})
        assert not [button for button in page.all("button") if "Undo" in button.text]
        assert (await alice.post(address.replace("details", "undo"))).status_code == 409
        undo = (await root.post(address.replace("details", "undo"))).headers["location"]
        assert numbers(await complete(root, database, undo))["done"] == "1"

    async def test_two_people_who_undo_the_same_ask_each_for_themselves_and_one_does(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        alice, root = await sign_in("alice"), await sign_in("root")
        address = await draft(alice, "deactivate", [(await make_product(cast.alice)).id])
        await complete(alice, database, address)
        questions = {}
        for client in (alice, root):
            questions[client] = (await client.post(address.replace("details", "undo"))).headers["location"]
        assert len(set(questions.values())) == 2
        answers = await asyncio.gather(*(confirm(client, url) for client, url in questions.items()))
        assert sorted(answer.status_code for answer in answers) == [303, 409]

    async def test_an_undo_that_undid_nothing_keeps_nobody_from_undoing(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        alice, root = await sign_in("alice"), await sign_in("root")
        address = await draft(alice, "deactivate", [(await make_product(cast.alice)).id])
        await complete(alice, database, address)
        undo = address.replace("details", "undo")
        first = (await alice.post(undo)).headers["location"]
        await confirm(alice, first)
        await alice.post(first.replace("details", "cancel"))
        await Operations(database).run()
        second = (await root.post(undo)).headers["location"]
        assert second != first
        assert numbers(await complete(root, database, second))["done"] == "1"
        assert (await alice.post(first.replace("details", "retry"))).status_code == 409


class TestList:
    async def test_everybody_sees_what_they_may_follow(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        for name in ("alice", "bob"):
            person = await sign_in(name)
            own = [(await make_product(getattr(cast, name))).id]
            await complete(person, database, await draft(person, "deactivate", own))
            await draft(person, "activate", own)
        seen = {
            name: len(parse(await (await sign_in(name)).get("/admin/operation/list")).one("tbody").all("tr"))
            for name in ("alice", "bob", "sam", "root")
        }
        assert seen == {"alice": 1, "bob": 1, "sam": 2, "root": 2}

    async def test_it_can_be_searched_and_filtered(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        alice, root = await sign_in("alice"), await sign_in("root")
        product = await make_product(cast.alice)
        await complete(alice, database, await draft(alice, "deactivate", [product.id]))
        await complete(alice, database, await draft(alice, "activate", [product.id]))
        await confirm(alice, await draft(alice, "deactivate", [product.id]))

        async def found(query: str) -> list[str]:
            page = parse(await root.get(f"/admin/operation/list?{query}"))
            return [row.one("a", class_="row-link").text.split(" ")[1] for row in page.all("tr", data_row="")]

        assert await found("") == ["Deactivate", "Activate", "Deactivate"]
        assert await found("search=alice") == ["Deactivate", "Activate", "Deactivate"]
        assert await found("search=Activate") == ["Deactivate", "Activate", "Deactivate"]
        assert await found("state=active") == ["Deactivate"]
        assert await found("outcome=changed") == ["Activate", "Deactivate"]
        assert await found("outcome=failed") == []
        assert await found("actor=bob") == []
        assert await found("created=today") == ["Deactivate", "Activate", "Deactivate"]
        number = (await operations(database))[1].number
        assert await found(f"search=%23{number}") == ["Activate"]


class TestAccounts:
    async def test_whoever_is_shut_out_is_signed_out(
        self, sign_in: SignIn, cast: Cast, database: Database
    ) -> None:
        root = await sign_in("root")
        await sign_in("bob")
        address = await draft(root, "deactivate", [cast.bob.id, cast.root.id], "/admin/user/bulk")
        page = parse(await root.get(address))
        assert numbers(page) == {"will change": "1", "skipped: this is you": "1"}
        await complete(root, database, address)
        assert await every(database, AuthSession, user_id=cast.bob.id) == []
        users = {user.id: user.is_active for user in await every(database, User)}
        assert (users[cast.bob.id], users[cast.root.id]) == (False, True)


def test_every_page_of_an_operation_is_tried() -> None:
    pages = operation_pages.OperationPages
    found = {name for name, value in vars(pages).items() if not name.startswith("_") and callable(value)}
    assert found == {"show", *ACTIONS_OF_ONE} - {"details"}


async def test_a_sample_says_what_a_required_password_is(sign_in: SignIn, cast: Cast) -> None:
    root = await sign_in("root")
    address = await draft(root, "require_new_password", [cast.bob.id], "/admin/user/bulk")
    page = parse(await root.get(address))
    assert page.one("tbody").text == "bob@demo.exampleNot asked for becomes Asked for"
