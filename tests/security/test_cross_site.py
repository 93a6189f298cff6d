"""Changes asked for by other sites are refused; see the middleware for the order of the checks."""

from itertools import product

import httpx
import pytest

from admin_app.app import create_app
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.security.sessions import AuthSession
from tests.admin.rows import every, traces
from tests.conftest import Cast, MakeProduct, SignIn, browser

OWN_ORIGIN = "http://127.0.0.1:8000"
OTHER_ORIGINS = [
    "http://127.0.0.1:9000",
    "http://127.0.0.1",
    "https://127.0.0.1:8000",
    "http://localhost:8000",
    "http://evil.example",
    "http://127.0.0.1:8000.evil.example",
    "http://127.0.0.1:8000/",
    "null",
    "",
]
TRUSTED_SITES = ["same-origin", "none"]
OTHER_SITES = ["same-site", "cross-site", "", "Same-Origin", "same-origin, cross-site", "garbage"]
CHANGE = "/admin/logout"


async def status(client: httpx.AsyncClient, method: str = "POST", **headers: str) -> int:
    client.headers.pop("Sec-Fetch-Site", None)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (await client.request(method, CHANGE, headers=named)).status_code


@pytest.mark.parametrize("cookie", [{}, {"cookie": "session_8000=x"}, {"cookie": "other=x"}])
async def test_what_the_browser_says_of_the_asking_site_decides(
    cookie: dict[str, str], client: httpx.AsyncClient, cast: Cast
) -> None:
    origins = [{}, *({"origin": origin} for origin in [OWN_ORIGIN, *OTHER_ORIGINS])]
    for site, origin in product(TRUSTED_SITES, origins):
        assert await status(client, sec_fetch_site=site, **origin, **cookie) == 303, (site, origin)
    for site, origin in product(OTHER_SITES, origins):
        assert await status(client, sec_fetch_site=site, **origin, **cookie) == 403, (site, origin)


@pytest.mark.parametrize("cookie", [{}, {"cookie": "session_8000=x"}])
async def test_without_that_word_the_origin_must_be_exactly_this_site(
    cookie: dict[str, str], client: httpx.AsyncClient, cast: Cast
) -> None:
    assert await status(client, origin=OWN_ORIGIN, **cookie) == 303
    for origin in OTHER_ORIGINS:
        assert await status(client, origin=origin, **cookie) == 403, origin


async def test_with_neither_a_cookie_is_refused_and_a_program_without_one_is_not(
    client: httpx.AsyncClient, cast: Cast
) -> None:
    assert await status(client) == 303
    assert await status(client, cookie="session_8000=x") == 403
    assert await status(client, cookie="other=x") == 403
    assert await status(client, cookie="") == 403
    assert await status(client, cookie="session_8000=x", referer=f"{OWN_ORIGIN}/admin/") == 403


async def test_every_method_that_may_change_something_is_checked(client: httpx.AsyncClient) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW"):
        assert await status(client, method, sec_fetch_site="cross-site") == 403, method
    for method in ("GET", "HEAD", "OPTIONS"):
        assert await status(client, method, sec_fetch_site="cross-site") == 405, method


async def test_behind_a_proxy_the_public_address_is_the_origin(
    settings: Settings, database: Database
) -> None:
    website = create_app(settings.model_copy(update={"public_url": "https://admin.example.com"}))
    async with browser(website) as client:
        own = {"host": "127.0.0.1:8000", "cookie": "session=x"}
        assert await status(client, origin="https://admin.example.com", **own) == 303
        for origin in ("http://127.0.0.1:8000", "http://admin.example.com", "https://admin.example.com:444"):
            assert await status(client, origin=origin, **own) == 403, origin
    await website.state.database.close()


async def test_another_site_changes_nothing_with_the_cookie_of_somebody_signed_in(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    row = await make_product(cast.root)
    before = await traces(database)
    root = await sign_in("root")
    data = {
        "name": "Changed",
        "description": "",
        "price": "2",
        "is_active": "true",
        "owner": "",
        "version": "1",
        "key": str(row.id),
        "ids": str(row.id),
        "action": "deactivate",
        "email": "root@demo.example",
        "password": "x",
    }
    for path in (
        "/admin/product/create",
        f"/admin/product/edit/{row.id}",
        f"/admin/product/delete/{row.id}",
        f"/admin/product/restore/{row.id}",
        "/admin/product/bulk",
        f"/admin/user/edit/{cast.bob.id}",
        "/admin/login",
        "/admin/logout",
        "/admin/password",
        "/admin/no/such/page",
        "/",
    ):
        for site in ("same-site", "cross-site"):
            response = await root.post(path, data=data, headers={"Sec-Fetch-Site": site})
            assert response.status_code == 403, path
            assert "came from another site, so nothing was changed" in response.text
    assert await traces(database) == before
    assert len(await every(database, AuthSession)) == 1
