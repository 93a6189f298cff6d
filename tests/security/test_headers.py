"""Every response carries the headers, whoever made it."""

import re
from collections.abc import Iterator, Sequence
from uuid import uuid4

import httpx
import pytest
from starlette.routing import BaseRoute, Mount

from admin_app.admin.site import VIEWS
from admin_app.app import Website, create_app
from admin_app.config import Settings
from admin_app.database import Database
from tests.admin.pages import parse
from tests.conftest import Cast, MakeProduct, SignIn, browser
from tests.security.responses import HEADERS, add_failing_pages


async def responses(
    client: httpx.AsyncClient, signed_in: httpx.AsyncClient, own: str
) -> dict[str, httpx.Response]:
    """One of each kind, by its expected status and a word."""
    cross = {"Sec-Fetch-Site": "cross-site"}
    etag = (await client.get("/admin/statics/admin.css")).headers["etag"]
    return {
        "200 page": await signed_in.get("/admin/product/list"),
        "200 head": await signed_in.head("/admin/product/list"),
        "200 sign-in": await client.get("/admin/login"),
        "200 live": await client.get("/live"),
        "200 static": await client.get("/admin/statics/admin.css"),
        "200 json": await signed_in.get("/admin/product/ajax/lookup?name=owner&term=a"),
        "302 to sign-in": await client.get("/admin/"),
        "303 saved": await signed_in.post("/admin/logout"),
        "304 static": await client.get("/admin/statics/admin.css", headers={"If-None-Match": etag}),
        "307 to admin": await client.get("/"),
        "307 slash": await client.get("/admin"),
        "400 host": await client.get("/admin/", headers={"Host": "evil.example"}),
        "400 form": await client.post(
            "/admin/login", content=b"x", headers={"Content-Type": "multipart/form-data"}
        ),
        "401 signed out": await client.post(f"/admin/product/edit/{own}"),
        "403 cross-site": await client.post("/admin/login", headers=cross),
        "404 outside": await client.get("/nothing"),
        "404 inside": await client.get("/admin/nothing"),
        "404 static": await client.get("/admin/statics/nothing.css"),
        "405 outside": await client.post("/live"),
        "405 inside": await client.get("/admin/logout"),
        "405 static": await client.post("/admin/statics/admin.css"),
        "413 page": await client.post("/admin/login", content=b"x" * 1_000_001),
        "500 outside": await client.get("/boom"),
        "500 inside": await client.get("/admin/boom"),
    }


@pytest.mark.parametrize("public_url", ["", "https://admin.example.com"])
async def test_every_kind_of_response_carries_every_header(
    public_url: str,
    settings: Settings,
    website: Website,
    sign_in: SignIn,
    cast: Cast,
    database: Database,
    make_product: MakeProduct,
) -> None:
    own = await make_product(cast.alice)
    alice = await sign_in("alice")
    site = create_app(settings.model_copy(update={"public_url": public_url}))
    add_failing_pages(site)
    async with browser(site) as client:
        signed_in = alice
        if public_url:
            client.base_url = public_url  # type: ignore[assignment]
            signed_in = browser(site)
            signed_in.base_url = client.base_url
            [token] = alice.cookies.values()
            signed_in.cookies.set("__Host-session", token)
        found = await responses(client, signed_in, str(own.id))
    for kind, response in found.items():
        headers = dict(response.headers)
        assert response.status_code == int(kind.split()[0]), kind
        assert {name: headers.get(name) for name in HEADERS} == HEADERS, kind
        is_static = kind.endswith("static") and response.status_code < 400
        if is_static:
            assert headers["cache-control"] == "no-cache", kind
            assert "etag" in headers
        else:
            assert headers["cache-control"] == "no-store", kind
        assert ("strict-transport-security" in headers) == bool(public_url), kind
        assert "server" not in headers
        assert "nowhere" not in response.text
        if response.status_code >= 400 and kind != "400 host":
            assert headers["content-type"] == "text/html; charset=utf-8", kind
    await site.state.database.close()


async def test_no_page_has_anything_the_policy_forbids(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    own = await make_product(cast.root)
    root, nobody = await sign_in("root"), await sign_in("nobody")
    pages = [
        await root.get(path)
        for path in (
            "/admin/",
            "/admin/product/list",
            "/admin/product/list?is_active=maybe",
            "/admin/product/create",
            f"/admin/product/details/{own.id}",
            f"/admin/product/edit/{own.id}",
            f"/admin/product/delete/{own.id}",
            "/admin/product/bin",
            "/admin/user/list",
            "/admin/user/create",
            f"/admin/user/details/{cast.root.id}",
            "/admin/password",
            "/admin/nothing",
        )
    ]
    pages.append(await nobody.get("/admin/login"))
    for response in pages:
        for element in parse(response).walk():
            assert not any(name.startswith("on") or name == "style" for name in element.attributes), element
            assert element.tag not in {"style", "iframe", "object", "embed", "base"}
            for name in ("src", "href", "action", "formaction"):
                address = element.attributes.get(name, "")
                assert not address or (address[0] in "/?#" and not address.startswith("//")), element
            if element.tag == "script":
                assert element.raw_text == ""


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW")


def addresses(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[str]:
    """One of every route, and of none, at any depth."""
    for route in routes:
        path = prefix + getattr(route, "path", "")
        if isinstance(route, Mount):
            yield from (f"{path}/", f"{path}/nothing", f"{path}/../nothing")
            yield from addresses(route.routes or [], path)
        else:
            identities = [view.identity for view in VIEWS] if "{identity}" in path else [""]
            for identity in identities:
                yield re.sub(r"\{[^}]*\}", str(uuid4()), path.replace("{identity}", identity))


@pytest.mark.parametrize("name", ["nobody", "root"])
async def test_every_route_answers_every_method_with_every_header(
    name: str, website: Website, sign_in: SignIn, cast: Cast
) -> None:
    person = await sign_in(name)
    found = sorted({*addresses(website.routes), "/nothing", "/admin/product/%00", "/%F0%9F%92%A9"})
    assert len(found) > 50
    leaving = [path for path in found if path.endswith("/logout")]
    for path in [*(path for path in found if path not in leaving), *leaving]:
        for method in METHODS:
            response = await person.request(method, path)
            headers = dict(response.headers)
            assert response.status_code < 500, (method, path)
            assert {header: headers.get(header) for header in HEADERS} == HEADERS, (method, path)
            is_asset = headers["cache-control"] != "no-store"
            assert not is_asset or "/statics" in path, (method, path)
            assert "server" not in headers
