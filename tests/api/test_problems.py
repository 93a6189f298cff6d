"""Every error is problem details (RFC 9457), whoever in the application refuses, and gives nothing away."""

import logging
from typing import Any

import httpx
import pytest

from admin_app.app import Website, create_app
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.products.service import ProductService
from tests.admin.rows import every
from tests.api.conftest import MISSING, Call, MakeToken, script
from tests.conftest import Cast, MakeProduct

NEW = {"name": "Walnut clock", "price": "12.50"}


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    assert "content-security-policy" in response.headers
    found = response.json()
    assert (
        {"type", "title", "status", "detail"}
        <= found.keys()
        <= {*("type", "title", "status", "detail", "instance", "errors")}
    )
    assert found["status"] == response.status_code
    return found


@pytest.mark.parametrize(
    "path", ["/nothing", "/products", "/products/not-an-id", f"/products/{MISSING}", "/"]
)
async def test_what_is_not_there_is_404(path: str, call: Call) -> None:
    assert problem(await (await call("alice")).get(path))["title"] == "Not Found"


async def test_the_bare_address_of_the_api_is_404(call: Call) -> None:
    response = await (await call("nobody")).get("http://127.0.0.1:8000/api/v1")
    assert problem(response)["title"] == "Not Found"


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/products/", "DELETE", "GET, HEAD, POST"),
        (f"/products/{MISSING}", "POST", "DELETE, GET, HEAD, PATCH"),
        ("/products/mine", "PATCH", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_all_right_ones(
    path: str, method: str, allowed: str, call: Call
) -> None:
    response = await (await call("alice")).request(method, path)
    assert problem(response)["status"] == 405
    assert response.headers["allow"] == allowed


async def test_a_body_that_is_too_large_is_413(call: Call, database: Database) -> None:
    response = await (await call("alice")).post("/products/", json=NEW | {"description": "x" * 1_000_001})
    assert problem(response)["status"] == 413
    assert await every(database, Product) == []


async def test_a_database_that_is_away_is_503(settings: Settings) -> None:
    url = "postgresql+asyncpg://nobody@127.0.0.1:9/nothing"
    website = create_app(settings.model_copy(update={"database_url": url}))
    try:
        async with script(website, "adm_token") as client:
            for path, method in (
                ("/products/", "GET"),
                ("/products/?search=x", "GET"),
                ("/products/", "POST"),
            ):
                response = await client.request(method, path)
                assert problem(response)["status"] == 503
                assert response.headers["retry-after"] == "5"
                assert "127.0.0.1" not in response.text
    finally:
        await website.state.throttle.close()
        await website.state.database.close()


async def test_a_fault_of_ours_names_only_its_incident(
    call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, database: Database
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(ProductService, "read", fail)
    response = await (await call("alice")).post("/products/", json=NEW)
    found = problem(response)
    assert (found["status"], found["title"]) == (500, "Internal Server Error")
    incident = found["instance"].removeprefix("urn:uuid:")
    assert incident in found["detail"]
    assert "secret" not in response.text
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert incident in record.getMessage()
    assert await every(database, Product) == []


async def test_a_statement_that_takes_too_long_is_503(
    website: Website, make_token: MakeToken, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    async with script(website, await make_token("alice")) as client:
        await client.get("/products/")  # so that the minute of its last use is noted already
        async with database.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
            for path in (f"/products/{product.id}", "/products/?search=wall"):
                response = await client.get(path)
                assert problem(response)["status"] == 503
                assert "retry-after" in response.headers
