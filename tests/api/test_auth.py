"""Who gets in by an access token, and what a token is good for."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text, update

from admin_app.app import Website
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.security.tokens import AccessToken, Scope
from tests.admin.rows import every
from tests.api.conftest import Call, MakeToken, script
from tests.conftest import Cast, SignIn

NEW = {"name": "Walnut clock", "price": "12.50"}
BEARER = 'Bearer realm="admin"'


async def test_a_token_for_reading_changes_nothing(call: Call, database: Database) -> None:
    alice = await call("alice", Scope.READ)
    assert (await alice.get("/products/")).status_code == 200
    response = await alice.post("/products/", json=NEW)
    assert response.status_code == 403
    assert response.headers["www-authenticate"] == f'{BEARER}, error="insufficient_scope", scope="write"'
    assert "only read" in response.json()["detail"]
    assert await every(database, Product) == []


@pytest.mark.parametrize(
    "authorization",
    ["Bearer adm_unknown", "Bearer", "Bearer ", "Basic YTpi", "adm_x", "Bearer a b", "Bearer " + "x" * 5000],
)
async def test_what_is_no_token_opens_nothing(
    authorization: str, website: Website, sign_in: SignIn, cast: Cast
) -> None:
    """And the cookie beside it does not count."""
    alice = await sign_in("alice")
    for method, body in (("GET", None), ("POST", NEW)):
        response = await alice.request(
            method, "/api/v1/products/", json=body, headers={"Authorization": authorization}
        )
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == f'{BEARER}, error="invalid_token"'


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ("DELETE FROM access_token", 401),
        ("UPDATE access_token SET expires_at = now()", 401),
        ("UPDATE users SET is_active = false", 401),
        ("DELETE FROM users", 401),
        ("UPDATE users SET must_change_password = true", 403),
    ],
)
async def test_a_token_ends_with_what_it_stands_for(
    change: str, status: int, call: Call, database: Database
) -> None:
    alice = await call("alice")
    assert (await alice.get("/products/")).status_code == 200
    async with database.transaction() as session:
        await session.execute(text(change))
    assert (await alice.get("/products/")).status_code == status
    assert (await alice.get("/products/?search=clock")).status_code == status
    assert (await alice.post("/products/", json=NEW)).status_code == status
    assert await every(database, Product) == []


async def test_the_last_use_is_noted_at_most_once_a_minute(call: Call, database: Database) -> None:
    alice = await call("alice")

    async def used() -> datetime | None:
        [token] = await every(database, AccessToken)
        return token.last_used_at

    assert await used() is None
    await alice.get("/products/")
    first = await used()
    assert first is not None
    await alice.get("/products/")
    assert await used() == first
    async with database.transaction() as session:
        earlier = datetime.now(UTC) - timedelta(seconds=61)
        await session.execute(update(AccessToken).values(last_used_at=earlier))
    await alice.post("/products/", json=NEW)
    assert (await used() or earlier) > first
    [token] = await every(database, AccessToken)
    assert token.last_used_address == "127.0.0.1"


async def test_of_cookie_and_token_the_token_counts(
    sign_in: SignIn, make_token: MakeToken, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    token = await make_token("bob")
    response = await alice.post("/api/v1/products/", json=NEW, headers={"Authorization": f"bearer {token}"})
    assert response.json()["owner_id"] == str(cast.bob.id)


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://x.example"}],
)
async def test_another_site_cannot_use_the_cookie(
    headers: dict[str, str], sign_in: SignIn, website: Website, make_token: MakeToken, database: Database
) -> None:
    alice = await sign_in("alice")
    if "Origin" in headers:
        del alice.headers["Sec-Fetch-Site"]
    refused = await alice.post("/api/v1/products/", json=NEW, headers=headers)
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
    assert await every(database, Product) == []
    basic = await alice.post(
        "/api/v1/products/", json=NEW, headers={**headers, "Authorization": "Basic YTpi"}
    )
    assert basic.status_code == 403
    async with script(website, await make_token("alice")) as client:
        assert (await client.post("/products/", json=NEW, headers=headers)).status_code == 201


async def test_a_token_opens_no_page(website: Website, make_token: MakeToken) -> None:
    headers = {"Authorization": f"Bearer {await make_token('root')}"}
    transport = httpx.ASGITransport(website, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8000", headers=headers
    ) as client:
        assert (await client.get("/admin/product/list")).status_code == 302
        assert (await client.post("/admin/product/create", data=NEW)).status_code in {401, 403}
