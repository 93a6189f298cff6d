"""Pages of exports: a list leaves as it is on the screen, at once or in the background, for one alone."""

from datetime import timedelta
from io import BytesIO
from uuid import UUID, uuid4
from zipfile import ZipFile

import httpx
import pytest
from sqlalchemy import func, update

from admin_app.app import Website
from admin_app.audit import AuditEntry
from admin_app.database import Database
from admin_app.exports.models import Export, ExportState, Format
from admin_app.security.sessions import AuthSession
from tests.admin.pages import Element, bell, link, notices, parse
from tests.admin.rows import every, load, traces
from tests.conftest import Cast, MakeProduct, SignIn
from tests.deliveries import work

PAGE = "/admin/product/export"
LIST = "?search=clock&is_active=yes&sortBy=price&sort=desc"


@pytest.fixture
async def clocks(make_product: MakeProduct, cast: Cast) -> None:
    for number, name in enumerate(("Oak clock", "=1+2 clock", "Chair", "Walnut clock"), start=1):
        await make_product(cast.alice, name=name, price=number)


async def page_of(client: httpx.AsyncClient, path: str) -> Element:
    response = await client.get(path)
    assert response.status_code == 200, path
    return parse(response)


def choices_of(page: Element) -> tuple[dict[str, str], list[str]]:
    """What the form would send beside the columns, untouched, and the columns."""
    [form] = page.all("form", data_submit_once="3")
    checked = [box for box in form.all("input") if "checked" in box.attributes]
    columns = [box.attributes["value"] for box in checked if box.attributes["name"] == "column"]
    [format_] = [box.attributes["value"] for box in checked if box.attributes["name"] == "format"]
    return {"format": format_, "key": form.one("input", name="key").attributes["value"]}, columns


async def asked_for(
    client: httpx.AsyncClient, format_: Format, path: str = PAGE, **fields: str
) -> httpx.Response:
    return await client.post(
        path, data={"format": format_.value, "every": "yes", "key": str(uuid4())} | fields
    )


async def exported(client: httpx.AsyncClient, database: Database) -> Export:
    """An Excel file, written."""
    response = await asked_for(client, Format.EXCEL)
    assert response.status_code == 303
    await work(database)
    found = await load(database, Export, UUID(response.headers["location"].rsplit("/", 1)[1]))
    assert found is not None
    assert found.state is ExportState.FINISHED
    return found


async def test_a_list_is_sent_as_it_is_on_the_screen(
    sign_in: SignIn, clocks: None, cast: Cast, database: Database, website: Website
) -> None:
    alice = await sign_in("alice")
    await alice.post("/admin/product/preferences", data={"choose": "columns", "column": ["name", "price"]})
    shown = await page_of(alice, f"/admin/product/list{LIST}")
    address = link(shown, "Export")
    assert address is not None
    page = await page_of(alice, address)
    assert page.one("p", class_="lead").text == "3 products: “clock” · State: Active. By price, descending."
    fields, columns = choices_of(page)
    assert (fields["format"], columns) == ("csv", ["name", "price"])
    action = page.one("form", data_submit_once="3").attributes["action"]

    sent = await alice.post(action, data={**fields, "column": columns})
    assert sent.status_code == 200
    assert sent.content.decode() == "\ufeffName,Price\nWalnut clock,4.00\n'=1+2 clock,2.00\nOak clock,1.00\n"
    assert sent.headers["content-disposition"].startswith('attachment; filename="products-20')
    assert sent.headers["content-type"].startswith("text/csv")
    assert (sent.headers["cache-control"], sent.headers["x-content-type-options"]) == ("no-store", "nosniff")
    entry = (await every(database, AuditEntry))[-1]
    assert (entry.action, entry.kind, entry.actor_label) == ("exported", "product", "alice@demo.example")
    assert website.state.database.engine.pool.checkedout() == 0
    assert await every(database, Export) == []

    lines = await asked_for(alice, Format.JSON_LINES, address)
    assert '"price":"4.00"' in lines.text.replace(" ", "").splitlines()[0]


async def test_an_excel_file_is_written_in_the_background_and_told_of_on_every_page(
    sign_in: SignIn, clocks: None, database: Database
) -> None:
    alice, root = await sign_in("alice"), await sign_in("root")
    key = str(uuid4())
    first, again = [await asked_for(alice, Format.EXCEL, f"{PAGE}{LIST}", key=key) for _ in range(2)]
    assert (first.status_code, again.status_code) == (303, 303)
    assert first.headers["location"] == again.headers["location"]
    [export] = await every(database, Export)
    other = await asked_for(alice, Format.EXCEL, f"{PAGE}?search=chair", key=key)
    assert other.headers["location"] != first.headers["location"]
    await alice.post(other.headers["location"].replace("/details/", "/cancel/"))
    details = first.headers["location"]
    waiting = await page_of(alice, details)
    assert "Waiting" in waiting.one("h1").text
    assert (await alice.get(f"/admin/export/file/{export.id}")).status_code == 404
    await work(database)

    home = await page_of(alice, "/admin/")
    assert bell(home) == "Notifications, 1 new"
    assert bell(await page_of(root, "/admin/")) == "Notifications"
    told = await page_of(alice, "/admin/notifications")
    assert told.one("a", class_="notification-link").text == "Your export of 3 products is ready"
    file = link(told, "Download")
    assert file == f"/admin/export/file/{export.id}"
    head = await alice.head(file)
    assert (head.status_code, head.content) == (200, b"")
    assert bell(await page_of(alice, "/admin/")) == "Notifications, 1 new"

    sent = await alice.get(file)
    assert sent.headers["content-disposition"].endswith('.xlsx"')
    assert sent.headers["content-length"] == head.headers["content-length"] == str(len(sent.content))
    assert "content-encoding" not in sent.headers or sent.headers["content-encoding"] == "identity"
    assert "xl/workbook.xml" in ZipFile(BytesIO(sent.content)).namelist()
    assert bell(await page_of(alice, "/admin/")) == "Notifications"
    assert "Ready" in (await page_of(alice, details)).one("h1").text
    listed = await page_of(alice, "/admin/exports")
    assert [row.one("a", class_="row-link").text for row in listed.one("tbody").all("tr")] == [
        "Products as Excel",
        "Products as Excel",
    ]


async def test_a_failure_is_told_as_well(sign_in: SignIn, clocks: None, database: Database) -> None:
    alice = await sign_in("alice")
    export = await exported(alice, database)
    failed = {"state": ExportState.FAILED, "error": "The storage is full."}
    async with database.transaction() as session:
        await session.execute(update(Export).values(failed))
    told = await page_of(alice, "/admin/notifications")
    assert told.one("a", class_="notification-link").text == "Your export of products could not be written"
    assert link(told, "Download") is None
    assert (await alice.get(f"/admin/export/file/{export.id}")).status_code == 404
    details = await page_of(alice, f"/admin/export/details/{export.id}")
    assert notices(details) == ["It could not be written: The storage is full."]
    assert bell(details) == "Notifications"  # seen here


async def test_to_everybody_else_an_export_does_not_exist_and_after_its_time_to_nobody(
    sign_in: SignIn, clocks: None, database: Database
) -> None:
    alice = await sign_in("alice")
    export = await exported(alice, database)
    pages = [("GET", "details"), ("GET", "live"), ("GET", "file"), ("POST", "cancel")]
    for name in ("bob", "root", "sam"):
        client = await sign_in(name)
        for method, page in pages:
            foreign = await client.request(method, f"/admin/export/{page}/{export.id}", data={"next": ""})
            missing = await client.request(method, f"/admin/export/{page}/{uuid4()}", data={"next": ""})
            assert (foreign.status_code, foreign.content) == (404, missing.content), (name, page)
    long_ago = func.now() - timedelta(days=7, minutes=1)
    for change in ({"finished_at": long_ago}, {"state": ExportState.EXPIRED}):  # swept or not
        async with database.transaction() as session:
            await session.execute(update(Export).values(change))
        for page in ("details", "live", "file"):
            assert (await alice.get(f"/admin/export/{page}/{export.id}")).status_code == 404
        assert (await page_of(alice, "/admin/exports")).all("tbody") == []


async def test_one_that_is_cancelled_leaves_no_file(
    sign_in: SignIn, clocks: None, database: Database
) -> None:
    alice = await sign_in("alice")
    details = (await asked_for(alice, Format.EXCEL)).headers["location"]
    cancelled = await alice.post(details.replace("/details/", "/cancel/"))
    assert (cancelled.status_code, cancelled.headers["location"]) == (303, details)
    await work(database)
    assert "Cancelled" in (await page_of(alice, details)).one("h1").text
    assert (await alice.get(details.replace("/details/", "/file/"))).status_code == 404
    assert bell(await page_of(alice, "/admin/")) == "Notifications"


async def test_accounts_leave_only_for_who_has_just_shown_who_they_are(
    sign_in: SignIn, database: Database
) -> None:
    root = await sign_in("root")
    address = "/admin/user/export?search=demo&role=support"
    assert (await root.get(address)).status_code == 200
    file = (await asked_for(root, Format.EXCEL, address)).headers["location"].replace("/details/", "/file/")
    await work(database)
    assert (await root.get(file)).status_code == 200
    async with database.transaction() as session:
        await session.execute(update(AuthSession).values(proved_at=func.now() - timedelta(hours=1)))
    before = await traces(database)
    fetched = await root.get(file)
    assert (fetched.status_code, fetched.headers["location"]) == (302, f"/admin/confirm?next={file}")
    asked = await root.get(address)
    assert asked.status_code == 302
    assert asked.headers["location"].startswith(
        "/admin/confirm?next=/admin/user/export%3Fsearch%3Ddemo%26role"
    )
    for kind in Format:
        refused = await asked_for(root, kind, address)
        assert refused.status_code == 403
        page = parse(refused)
        assert page.one("input", name="next").attributes["value"] == address
        assert "To export accounts, show once more who you are." in page.one("p", class_="lead").text
    assert await traces(database) == before
    assert len(await every(database, Export)) == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format": "pdf"}, "Choose a format."),
        ({"every": ""}, None),
        ({"column": "password_hash"}, "There is no such column."),
    ],
)
async def test_what_cannot_be_exported_is_told_before_anything_is_written(
    fields: dict[str, str], sentence: str | None, sign_in: SignIn, clocks: None, database: Database
) -> None:
    alice = await sign_in("alice")
    before = await traces(database)
    sent = {"format": "csv", "every": "yes", "key": str(uuid4())} | fields
    if sentence is None:
        del sent["every"]
    refused = await alice.post(f"{PAGE}{LIST}", data=sent)
    assert refused.status_code == 422
    assert notices(parse(refused)) == [sentence or "Choose at least one column."]
    assert await traces(database) == before
    for query in ("?colour=red", "?sortBy=colour", "?columns=colour"):
        for method in ("GET", "POST"):
            assert (await alice.request(method, f"{PAGE}{query}", data=sent)).status_code == 400
