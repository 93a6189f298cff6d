"""Imports as people meet them: send a file, match its columns, see what would happen, confirm, take back."""

import csv
import io
from datetime import timedelta
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import update

from admin_app.audit import AuditEntry
from admin_app.bulk.models import BulkOperation
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.imports.models import Import, ImportState
from admin_app.security.body_limit import MAX_IMPORT_BYTES
from admin_app.security.sessions import AuthSession
from tests.admin.pages import Element, errors_of, fields_of, link, notices, parse, rows_of
from tests.admin.rows import every, traces
from tests.bulk.operations import Operations
from tests.conftest import PASSWORD, Cast, MakeProduct, SignIn
from tests.deliveries import work

IMPORT = "/admin/product/import"
CLOCKS = "Article,Price,Shelf\nClock,12.50,A\nLamp,cheap,B\n"


async def send(
    client: httpx.AsyncClient, content: str | bytes, name: str = "clocks.csv", address: str = IMPORT
) -> str:
    """The address of its page."""
    response = await client.post(address, files={"file": (name, content)})
    assert response.status_code == 303, response.text
    return str(response.headers["location"])


def form_to(page: Element, part: str) -> Element:
    """The form that is sent to such an address."""
    [found] = [form for form in page.all("form") if part in form.attributes.get("action", "")]
    return found


async def match(client: httpx.AsyncClient, address: str, **chosen: str) -> httpx.Response:
    """As a browser would, `column_0="name"` where something else is chosen."""
    form = form_to(parse(await client.get(address)), "/import/match/")
    sent = fields_of(form) | {name.replace("_", "-"): field for name, field in chosen.items()}
    return await client.post(form.attributes["action"], data=sent)


async def checked(client: httpx.AsyncClient, database: Database, address: str, **chosen: str) -> Element:
    """The page of what would happen."""
    response = await match(client, address, **chosen)
    assert (response.status_code, response.headers["location"]) == (303, address)
    await work(database)
    return parse(await client.get(address))


def numbers(page: Element) -> dict[str, str]:
    [place] = page.all("dl", class_="numbers")
    return {part.one("dt").text: part.one("dd").text for part in place.all("div")}


async def the_import(database: Database) -> Import:
    [found] = await every(database, Import)
    return found


class TestWalk:
    async def test_from_a_file_to_its_undo(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        owned = await make_product(cast.alice, name="Anvil", external_id="a-1")
        alice = await sign_in("alice")
        listed = parse(await alice.get("/admin/product/list"))
        assert link(listed, "Import") == IMPORT
        before = await traces(database)
        rows = ["a-1;Anvil;2.00;x", "a-1;Twice;1;x", "b-2;=Clock;12.50;x", "b-3;Lamp;1.00;x"]
        address = await send(alice, "\n".join(["external_id;Title;Price;Note", *rows]))
        page = parse(await alice.get(address))
        assert [row.one("label").text for row in rows_of(page)] == ["external_id", "Title", "Price", "Note"]
        chosen = fields_of(form_to(page, "/match/"))
        assert chosen == {
            "column-0": "external_id",
            "column-1": "name",
            "column-2": "price",
            "column-3": "",
            "key": "external_id",
        }
        assert await traces(database) == before
        page = await checked(alice, database, address)
        assert numbers(page) == {"new": "2", "to change": "1", "unchanged": "0", "refused": "1"}
        told = [row.text for row in rows_of(page)]
        assert told[0] == "Line 2 Anvil Change Price0.99 becomes 2.00"
        assert told[1].startswith("Line 3 Anvil Refused")
        assert told[2].startswith("Line 4 =Clock New")
        assert "Price 12.50" in told[2]
        assert "Owner alice@demo.example" in told[2]
        form = form_to(page, "/confirm/")
        assert form.one("button").text == "Create 2 and change 1 product"
        first = await alice.post(form.attributes["action"], data=fields_of(form))
        again = await alice.post(form.attributes["action"], data=fields_of(form))
        assert (first.status_code, first.headers["location"]) == (303, again.headers["location"])
        [operation] = await every(database, BulkOperation)
        assert first.headers["location"] == f"/admin/operation/details/{operation.id}"
        await Operations(database).run()
        names = {product.name for product in await every(database, Product)}
        assert names == {"Anvil", "=Clock", "Lamp"}
        notes = {entry.note for entry in await every(database, AuditEntry, operation_id=operation.id)}
        assert f"import #{(await the_import(database)).number}, line 4" in notes
        confirmed = parse(await alice.get(address))
        assert link(confirmed, f"operation #{operation.number}") == first.headers["location"]
        assert "Finished 3 done." in confirmed.one("main").text
        assert not confirmed.all("form", action=form.attributes["action"])
        undo = await Operations(database).undo(cast.alice, operation.id)
        await Operations(database).run()
        assert (await Operations(database).get(undo)).done == 3
        live = [product for product in await every(database, Product) if product.deleted_at is None]
        assert [(product.id, str(product.price)) for product in live] == [(owned.id, "0.99")]
        assert "Undone 3 done." in parse(await alice.get(address)).one("main").text

    async def test_columns_are_corrected_and_errors_stand_beside_them(
        self, sign_in: SignIn, database: Database
    ) -> None:
        alice = await sign_in("alice")
        address = await send(alice, CLOCKS)
        response = await match(alice, address)
        assert response.status_code == 422
        assert "Say which column is Name: a new row needs it." in notices(parse(response))[0]
        response = await match(alice, address, column_0="name", column_2="name", key="id")
        page = parse(response)
        assert response.status_code == 422
        form = form_to(page, "/match/")
        errors = errors_of(form)
        assert set(errors) == {"column-0", "column-2", "key"}
        assert "more than once" in errors["column-0"]
        assert fields_of(form)["column-2"] == "name"  # as it was sent
        page = await checked(alice, database, address, column_0="name")
        assert numbers(page)["refused"] == "1"
        [reason] = page.one("ul", class_="reasons").all("li")
        assert reason.text == "Price: Enter a number such as 12.50. 1"
        assert link(page, "Match again") == f"{address}?step=columns"
        again = parse(await alice.get(f"{address}?step=columns"))
        assert fields_of(form_to(again, "/match/"))["column-0"] == "name"
        for verdict, names in {"create": ["Clock"], "refused": ["Lamp"], "update": []}.items():
            shown = parse(await alice.get(f"{address}?verdict={verdict}"))
            assert [row.one("td", class_="verdict-title").text for row in rows_of(shown)] == names

    async def test_refused_rows_are_corrected_and_sent_again(
        self, sign_in: SignIn, database: Database
    ) -> None:
        alice = await sign_in("alice")
        address = await send(alice, "Name,Price,Note\n=1+1,cheap,'=x\nClock,1,y\n", name="Größe; 1.csv")
        page = await checked(alice, database, address)
        response = await alice.get(link(page, "Refused rows as CSV") or "")
        assert response.headers["content-disposition"] == (
            f"attachment; filename*=UTF-8''{quote('Größe; 1-refused.csv', safe='')}"
        )
        assert response.content.startswith(b"\xef\xbb\xbf")
        table = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))
        assert table[0] == ["Reason", "Name", "Price", "Note"]
        assert table[1][1:] == ["'=1+1", "cheap", "'=x"]
        corrected = response.content.replace(b"cheap", b"2.00")
        page = await checked(alice, database, await send(alice, corrected))
        assert numbers(page) == {"new": "1", "to change": "0", "unchanged": "0", "refused": "0"}
        assert rows_of(page)[0].one("td", class_="verdict-title").text == "=1+1"
        assert form_to(page, "/confirm/").one("button").text == "Create 1 product"

    async def test_a_file_is_read_in_another_way(self, sign_in: SignIn, database: Database) -> None:
        alice = await sign_in("alice")
        address = await send(alice, "Name|Price,x\nUhr|1,x\n")
        page = parse(await alice.get(address))
        form = form_to(page, "/reread/")
        sent = fields_of(form) | {"delimiter": "bar"}
        response = await alice.post(form.attributes["action"], data=sent)
        assert response.status_code == 303
        page = parse(await alice.get(response.headers["location"]))
        assert [row.one("label").text for row in rows_of(page)] == ["Name", "Price,x"]
        response = await alice.post(form.attributes["action"], data=sent | {"delimiter": "xx"})
        assert (response.status_code, notices(parse(response))) == (422, ["Choose one of these delimiters."])
        assert (await the_import(database)).delimiter == "|"

    async def test_while_it_is_checked_the_page_follows(self, sign_in: SignIn, database: Database) -> None:
        alice = await sign_in("alice")
        address = await send(alice, CLOCKS)
        await match(alice, address, column_0="name")
        page = parse(await alice.get(address))
        assert "data-active" in page.one("header", data_part="head").attributes
        assert page.one("progress", aria_label="Read").attributes["value"] == "0"
        live = page.one("div", data_part="body")
        assert live.all("form") == []
        fragment = (await alice.get(address.replace("/details/", "/live/"))).text
        assert fragment.count("data-part") == 3
        await work(database)
        fragment = (await alice.get(address.replace("/details/", "/live/"))).text
        assert fragment.count("data-part") == 3
        assert "Create 1 product" in fragment
        assert "data-active" not in fragment

    async def test_a_file_that_cannot_be_checked_says_why(self, sign_in: SignIn, database: Database) -> None:
        alice = await sign_in("alice")
        address = await send(alice, CLOCKS)
        async with database.transaction() as session:
            await session.execute(update(Import).values(error="The file is not stored any more."))
        assert "The file is not stored any more." in notices(parse(await alice.get(address)))

    async def test_discarding_leaves_nothing_to_be_found(self, sign_in: SignIn, database: Database) -> None:
        alice = await sign_in("alice")
        address = await send(alice, CLOCKS)
        page = await checked(alice, database, address, column_0="name")
        response = await alice.post(form_to(page, "/discard/").attributes["action"])
        assert (response.status_code, response.headers["location"]) == (303, IMPORT)
        page = parse(await alice.get(IMPORT))
        assert notices(page) == ["The import of “clocks.csv” was discarded. Nothing was changed."]
        assert not rows_of(page)
        assert (await alice.get(address)).status_code == 404
        confirm = address.replace("/details/", "/confirm/")
        assert (await alice.post(confirm)).status_code == 404
        assert await every(database, Product) == []

    async def test_nothing_to_do_cannot_be_confirmed(
        self, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
    ) -> None:
        await make_product(cast.alice, name="Clock", description="", price="12.50")
        alice = await sign_in("alice")
        address = await send(alice, "Name,Price\nClock,12.50\n")
        page = await checked(alice, database, address)
        assert numbers(page)["unchanged"] == "1"
        assert not [form for form in page.all("form") if "/confirm/" in form.attributes.get("action", "")]
        shown = {"shown": str((await the_import(database)).attempt)}
        response = await alice.post(address.replace("/details/", "/confirm/"), data=shown)
        assert response.status_code == 409
        assert "Nothing would change" in notices(parse(response))[0]

    async def test_only_the_check_that_was_shown_can_be_confirmed(
        self, sign_in: SignIn, database: Database
    ) -> None:
        alice = await sign_in("alice")
        address = await send(alice, CLOCKS)
        form = form_to(await checked(alice, database, address, column_0="name"), "/confirm/")
        await match(alice, f"{address}?step=columns", column_2="description")
        await work(database)
        again = parse(await alice.get(address))
        for sent in (fields_of(form), {}, {"shown": "x"}):
            response = await alice.post(form.attributes["action"], data=sent)
            assert response.status_code == 409
            assert "The file was checked again meanwhile." in notices(parse(response))[0]
        assert not await every(database, BulkOperation)
        form = form_to(again, "/confirm/")
        response = await alice.post(form.attributes["action"], data=fields_of(form))
        assert response.status_code == 303


class TestRefusals:
    @pytest.mark.parametrize("content", [b"", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04nonsense"])
    async def test_a_bad_file_is_refused_with_a_sentence_and_leaves_nothing(
        self, content: bytes, sign_in: SignIn, database: Database
    ) -> None:
        alice = await sign_in("alice")
        response = await alice.post(IMPORT, files={"file": ("a.csv", content)})
        page = parse(response)
        assert response.status_code == 422
        [notice] = notices(page)
        assert notice.endswith(".")
        assert page.one("div", data_focus="").attributes["role"] == "alert"
        assert await every(database, Import) == []

    async def test_no_file_is_no_fault(self, sign_in: SignIn) -> None:
        alice = await sign_in("alice")
        for files, data in (
            ({"file": ("", b"")}, None),
            (None, {"file": "x"}),
            ({"other": ("a", b"b")}, None),
        ):
            response = await alice.post(IMPORT, files=files, data=data)
            assert (response.status_code, notices(parse(response))) == (422, ["Choose a file."])

    async def test_too_long_a_name_is_refused_with_a_sentence(self, sign_in: SignIn) -> None:
        alice = await sign_in("alice")
        response = await alice.post(IMPORT, files={"file": ("x" * 5000, b"name,price\nA,1\n")})
        assert response.status_code == 422
        assert "If its name is very long, give it a shorter one" in notices(parse(response))[0]

    async def test_too_large_a_file_is_refused_by_its_announced_length(self, sign_in: SignIn) -> None:
        for name in ("alice", "nobody"):
            client = await sign_in(name)
            kind = "multipart/form-data; boundary=x"
            headers = {"Content-Type": kind, "Content-Length": str(500_000_000)}
            response = await client.post(IMPORT, content=b"", headers=headers)
            assert response.status_code == 413
            assert "send at most 200 MB" in response.text
        assert MAX_IMPORT_BYTES > 200_000_000

    async def test_nobody_is_turned_away_before_the_file_is_read(self, sign_in: SignIn) -> None:
        async def unread() -> None:
            raise AssertionError("the body was read")
            yield b""

        for name, status in {"nobody": 401, "sam": 403}.items():
            client = await sign_in(name)
            headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "1000000"}
            response = await client.post(IMPORT, content=unread(), headers=headers)
            assert response.status_code == status

    async def test_an_import_is_its_actors(self, sign_in: SignIn, database: Database) -> None:
        alice, bob, root, sam = [await sign_in(name) for name in ("alice", "bob", "root", "sam")]
        address = await send(alice, CLOCKS)
        await checked(alice, database, address, column_0="name")
        for page in ("details", "live", "refused"):
            path = address.replace("details", page)
            assert (await bob.get(path)).status_code == 404
            assert (await sam.get(path)).status_code == 403
            assert (await root.get(path)).status_code == 200
        seen = parse(await root.get(address))
        assert "This is an import of alice@demo.example, who alone can go on with it." in notices(seen)
        main = seen.one("main")
        assert not [form for form in main.all("form") if "/import/" in form.attributes.get("action", "")]
        data = {"column-0": "name", "column-1": "price", "column-2": "", "key": "", "encoding": "utf-8"}
        for page in ("match", "reread", "confirm", "discard"):
            path = address.replace("details", page)
            assert (await bob.post(path, data=data)).status_code == 404
            assert (await sam.post(path, data=data)).status_code == 403
            assert (await root.post(path, data=data)).status_code == 403
            assert (await root.post(path)).status_code == 403
        assert (await the_import(database)).state is ImportState.CHECKED
        assert not rows_of(parse(await bob.get(IMPORT)))

    async def test_only_what_can_be_imported_offers_it(self, sign_in: SignIn) -> None:
        root, alice, sam = [await sign_in(name) for name in ("root", "alice", "sam")]
        assert link(parse(await root.get("/admin/user/list")), "Import") == "/admin/user/import"
        assert link(parse(await alice.get("/admin/user/list")), "Import") is None
        assert link(parse(await sam.get("/admin/product/list")), "Import") is None
        assert link(parse(await root.get("/admin/operation/list")), "Import") is None
        assert (await root.get("/admin/operation/import")).status_code == 404
        assert (await alice.get("/admin/user/import")).status_code == 403

    @pytest.mark.parametrize(
        "name", ["<script>alert(1)</script>.csv", "../../etc/passwd", "\u202ea" * 300, "'\"{{7*7}}.csv"]
    )
    async def test_hostile_names_and_cells_are_only_text(
        self, name: str, sign_in: SignIn, database: Database
    ) -> None:
        alice = await sign_in("alice")
        content = 'Name,Price,<b>\n<script>alert(1)</script>,1,x\n"<i>",cheap,x\n'
        address = await send(alice, content, name=name)
        for step in range(2):
            page = await checked(alice, database, address) if step else parse(await alice.get(address))
            assert "alert(1)</script>" not in (await alice.get(address)).text.replace("&lt;", "")
            assert "<script>alert(1)</script>" in page.text
        refused = await alice.get(address.replace("details", "refused"))
        assert "\n" not in refused.headers["content-disposition"]

    async def test_hostile_addresses_find_nothing(self, sign_in: SignIn) -> None:
        alice = await sign_in("alice")
        for pk in (uuid4(), "x", "%00", str(uuid4()).upper()):
            for page in ("details", "live", "refused"):
                assert (await alice.get(f"/admin/import/{page}/{pk}")).status_code == 404
            for page in ("match", "reread", "confirm", "discard"):
                assert (await alice.post(f"/admin/import/{page}/{pk}")).status_code == 404


async def test_importing_users_asks_who_it_is_and_leads_back(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    content = "E-mail,Name,Role\nnew@demo.example,New,support\n"
    address = await send(root, content, address="/admin/user/import")
    form = form_to(await checked(root, database, address), "/confirm/")
    async with database.transaction() as session:
        await session.execute(
            update(AuthSession).values(proved_at=AuthSession.created_at - timedelta(days=1))
        )
    response = await root.post(form.attributes["action"], data=fields_of(form))
    assert response.status_code == 403
    asked = form_to(parse(response), "/confirm")
    assert fields_of(asked)["next"] == address
    assert "import accounts" in parse(response).text
    assert not await every(database, BulkOperation)
    response = await root.post("/admin/confirm", data=fields_of(asked) | {"password": PASSWORD})
    assert (response.status_code, response.headers["location"]) == (303, address)
    response = await root.post(form.attributes["action"], data=fields_of(form))
    assert response.status_code == 303
    await Operations(database).run()
    assert "new@demo.example" in {user.email for user in await every(database, User)}
    assert UUID(response.headers["location"].rpartition("/")[2])
