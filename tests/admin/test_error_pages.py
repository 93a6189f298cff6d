"""What people see when something goes wrong, and what is logged for those who mend it."""

import asyncio
import logging
import re

import httpx
import pytest
from sqlalchemy import event, text

from admin_app import logs
from admin_app.app import create_app
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products.models import Product
from tests.admin.pages import Element, link, open_form, parse
from tests.admin.rows import load, traces
from tests.conftest import Cast, MakeProduct, SignIn, browser
from tests.security.responses import HEADERS, add_failing_pages

INCIDENT = re.compile(r"Incident ([0-9a-f-]{36})\.")
LEAKS = ("Traceback", "SELECT", "INSERT", "UPDATE", "asyncpg", "sqlalchemy", "RuntimeError", ".py", "$1")


def sentence(response: httpx.Response) -> str:
    assert not any(leak in response.text for leak in LEAKS), response.text
    page = parse(response)
    card: Element = page.one("div", class_="error-card")
    assert str(response.status_code) in card.text
    return card.text


@pytest.mark.parametrize("path", ["/boom", "/admin/boom"])
async def test_a_fault_of_ours_is_logged_with_the_id_the_page_names(
    path: str, settings: Settings, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    website = create_app(settings)
    add_failing_pages(website)
    # An error that went on to the server would be logged a second time, and fail here.
    transport = httpx.ASGITransport(website, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        response = await client.get(path, headers={"Cookie": "session_8000=token"})
    assert response.status_code == 500
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
    found = INCIDENT.search(sentence(response))
    assert found
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == f"incident {found[1]} at GET {path}"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)
    await website.state.database.close()


async def test_what_the_database_refuses_shows_no_sql(
    sign_in: SignIn,
    cast: Cast,
    database: Database,
    make_product: MakeProduct,
    caplog: pytest.LogCaptureFixture,
) -> None:
    product = await make_product(cast.alice)
    before = await traces(database)
    alice = await sign_in("alice")
    address = f"/admin/product/edit/{product.id}"
    fields = await open_form(alice, address) | {"name": "Forbidden fruit"}
    async with database.transaction() as session:
        await session.execute(
            text("ALTER TABLE products ADD CONSTRAINT fruit CHECK (name !~ 'fruit') NOT VALID")
        )
    try:
        response = await alice.post(address, data=fields)
    finally:
        async with database.transaction() as session:
            await session.execute(text("ALTER TABLE products DROP CONSTRAINT fruit"))
    assert response.status_code == 500
    shown = sentence(response)
    assert "Nothing was changed." in shown
    assert "fruit" not in shown
    assert await traces(database) == before
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert INCIDENT.search(shown)[1] in record.getMessage()


async def test_rows_locked_by_somebody_else_are_a_conflict_and_not_a_fault(
    sign_in: SignIn, website, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)

    def hurry(connection, _record) -> None:
        connection.run_async(lambda driver: driver.execute("SET lock_timeout = '50ms'"))

    event.listen(website.state.database.engine.sync_engine, "connect", hurry)
    alice = await sign_in("alice")
    address = f"/admin/product/edit/{product.id}"
    fields = await open_form(alice, address) | {"name": "Changed"}
    async with database.transaction() as session:
        await session.execute(text("SELECT 1 FROM products FOR UPDATE"))
        response = await alice.post(address, data=fields)
    assert response.status_code == 409
    assert "Somebody else was changing the same rows. Nothing was changed; try again." in sentence(response)
    assert (await alice.post(address, data=fields)).status_code == 303
    assert (await load(database, Product, product.id)).name == "Changed"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://nobody@/nothing?host=/nowhere",
        "postgresql+asyncpg://nobody@127.0.0.1:1/nothing",
    ],
)
async def test_without_its_database_every_page_says_so_and_when_to_come_back(
    url: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    website = create_app(settings.model_copy(update={"database_url": url}))
    transport = httpx.ASGITransport(website, raise_app_exceptions=True)
    headers = {"Sec-Fetch-Site": "same-origin", "Cookie": "session_8000=token"}
    form = {"email": "alice@demo.example", "password": "x", "next": ""}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8000", headers=headers
    ) as client:
        found = [
            await client.get("/admin/"),
            await client.get("/admin/product/list"),
            await client.post("/admin/product/create", data={"name": "x"}),
            await client.post("/admin/login", data=form),
            await client.post("/admin/logout"),
        ]
        for response in found:
            assert response.status_code == 503, response.request.url
            assert response.headers["retry-after"] == "5"
            assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
            shown = sentence(response)
            assert "The database cannot be reached right now. Nothing was changed" in shown
            assert "nowhere" not in shown
        # What needs no database goes on working.
        assert (await client.get("/live")).status_code == 200
        assert (await client.get("/admin/login")).status_code == 200
        assert (await client.get("/admin/statics/admin.css")).status_code == 200
    assert [record.levelname for record in caplog.records if record.name.startswith("admin_app")] == [
        "WARNING"
    ] * 5
    await website.state.database.close()


async def test_a_connection_cut_meanwhile_is_no_fault_and_the_next_request_works(
    sign_in: SignIn, website, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    assert (await alice.get("/admin/product/list")).status_code == 200
    async with database.transaction() as session:
        await session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        )
    statuses = [(await alice.get("/admin/product/list")).status_code for _ in range(3)]
    assert statuses in ([503, 200, 200], [200, 200, 200])


async def test_too_many_people_at_once_are_told_to_come_back(
    settings: Settings, database: Database, cast: Cast
) -> None:
    website = create_app(settings.model_copy(update={"database_pool_size": 1}))
    website.state.database.engine.sync_engine.pool._timeout = 0.05
    async with browser(website) as client:
        client.cookies.set("session_8000", "token", domain="127.0.0.1")
        async with website.state.database.reading() as session:
            await session.execute(text("SELECT 1"))
            response = await client.get("/admin/")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert "Too many people are using this right now." in sentence(response)
        answers = await asyncio.gather(*(client.get("/admin/login") for _ in range(5)))
        assert {answer.status_code for answer in answers} == {200}
    await website.state.database.close()


@pytest.mark.parametrize(
    "path", ["/nothing", "/admin/nothing", "/admin/product/nothing", "/admin/nothing/list"]
)
async def test_a_page_that_does_not_exist_leads_back(path: str, sign_in: SignIn) -> None:
    response = await (await sign_in("alice")).get(path)
    assert response.status_code == 404
    assert "There is nothing here. It may have been deleted." in sentence(response)
    assert link(parse(response), "To the start page") == "/admin/"


async def test_no_error_page_repeats_what_was_asked_for(client: httpx.AsyncClient) -> None:
    for path in ("/nothing-secret", "/admin/nothing-secret?q=secret", "/admin/statics/secret"):
        assert "secret" not in (await client.get(path)).text


async def test_what_is_logged_of_a_fault_holds_no_password_or_hash(
    sign_in: SignIn,
    cast: Cast,
    database: Database,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(caplog.handler, "formatter", logs.formatter("web", "json"))
    root = await sign_in("root")
    address = f"/admin/user/edit/{cast.bob.id}"
    fields = await open_form(root, address) | {"name": "Forbidden", "password": "a very secret sentence"}
    async with database.transaction() as session:
        await session.execute(text("ALTER TABLE users ADD CONSTRAINT fruit CHECK (name <> 'Forbidden')"))
    try:
        response = await root.post(address, data=fields)
    finally:
        async with database.transaction() as session:
            await session.execute(text("ALTER TABLE users DROP CONSTRAINT fruit"))
    assert response.status_code == 500
    assert "CheckViolationError: fruit" in caplog.text
    assert "users/service.py" in caplog.text
    assert "a very secret sentence" not in caplog.text
    assert "argon2" not in caplog.text
