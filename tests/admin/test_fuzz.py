"""Every field and every parameter with what breaks programs: always an answer, never a fault of ours."""

from collections.abc import Iterable
from urllib.parse import quote, quote_plus
from uuid import uuid4

import httpx
import pytest

from admin_app.database import Database
from admin_app.domains.products.repository import LISTING as PRODUCTS
from admin_app.domains.users.repository import LISTING as USERS
from admin_app.security.body_limit import MAX_ANONYMOUS_BODY_BYTES
from tests.admin.pages import parse
from tests.conftest import Cast, MakeProduct, SignIn

MARKUP = "'\"><script>alert(1)</script>{{1234567*7}}${1234567*7}'; DROP TABLE users; --%s\r\nX-Injected: 1\\"
HOSTILE = {
    "nul": "a%00b",
    "lone surrogate": "%ed%a0%80",
    "no utf-8": "%ff%fe",
    "60 kB": "A" * 60_000,
    "markup, template, SQL, line break": quote_plus(MARKUP),
    "other digits and signs": quote_plus("１２٣\u202e\ufeff\u0000"),
    "number": "1e400",
    "empty": "",
}
WORST = ("nul", "lone surrogate", "60 kB", "markup, template, SQL, line break")
"""For each field alone; the others come to all fields at once."""

LEAKS = (
    "Traceback",
    "sqlalchemy",
    "asyncpg",
    "psycopg",
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "FROM users",
    "<script>alert",
    "8641969",
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

QUERY = ("search", "sortBy", "sort", "pageSize", "columns", "cursor")
LIST_PARAMETERS = {
    "/admin/product/list": [*QUERY, *(f.name for f in PRODUCTS.filters)],
    "/admin/product/count": [*QUERY, "exactly"],
    "/admin/product/facets": QUERY,
    "/admin/product/suggest": ["name", "term"],
    "/admin/user/list": [*QUERY, *(f.name for f in USERS.filters)],
    "/admin/product/ajax/lookup": ["name", "term"],
    "/admin/user/ajax/lookup": ["name", "term"],
    "/admin/login": ["next"],
    "/admin/password": ["next"],
    "/admin/": ["any"],
    "/": ["any"],
    "/live": ["any"],
}
PRODUCT = {"name": "x", "description": "", "price": "1", "is_active": "true", "owner": "", "save": "list"}
USER = {
    "email": "x%40demo.example",
    "name": "x",
    "role": "support",
    "password": "",
    "is_active": "true",
    "must_change_password": "false",
    "save": "",
}


def forms(product_id: object, user_id: object) -> dict[str, dict[str, str]]:
    """Address -> what an honest browser would post, percent-encoded."""
    return {
        "/admin/product/create": PRODUCT | {"key": str(uuid4())},
        f"/admin/product/edit/{product_id}": PRODUCT | {"version": "1"},
        f"/admin/product/delete/{product_id}": {"version": "1"},
        f"/admin/product/restore/{product_id}": {"back": "search=x"},
        "/admin/product/bulk": {"ids": str(product_id), "action": "activate", "back": "search=x"},
        f"/admin/product/inline/{product_id}": {
            "name": "x",
            "price": "1",
            "version": "1",
            "back": "search=x",
        },
        "/admin/product/preferences": {"size": "50", "choose": "x", "column": "price", "back": "search=x"},
        "/admin/product/views": {"name": "x", "back": "search=x"},
        "/admin/product/views/delete": {"id": str(user_id), "back": "search=x"},
        "/admin/user/create": USER | {"key": str(uuid4())},
        f"/admin/user/edit/{user_id}": USER | {"version": "1"},
        f"/admin/user/delete/{user_id}": {"version": "1"},
        "/admin/user/bulk": {"ids": str(user_id), "action": "activate", "back": "search=x"},
        "/admin/password": {"current": "x", "new": "x", "repeated": "x", "next": ""},
        "/admin/logout": {"any": "x"},
    }


def encode(fields: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in fields.items())


def problems(response: httpx.Response) -> Iterable[str]:
    if response.status_code >= 500:
        yield f"status {response.status_code}"
    yield from (leak for leak in LEAKS if leak in response.text)
    if "x-injected" in response.headers:
        yield "injected header"
    if response.headers.get("content-type", "").startswith("text/html"):
        parse(response)


async def check(found: list[str], what: str, response: httpx.Response) -> None:
    found.extend(f"{what}: {problem}" for problem in problems(response))


@pytest.mark.parametrize("name", ["nobody", "sam", "alice", "root"])
async def test_no_query_parameter_is_a_fault_in_any_role(
    name: str, sign_in: SignIn, make_product: MakeProduct, cast: Cast
) -> None:
    await make_product(cast.alice)
    client = await sign_in(name)
    found: list[str] = []
    for path, parameters in LIST_PARAMETERS.items():
        for kind, value in HOSTILE.items():
            queries = [f"{item}={value}" for item in parameters] if name == "root" and kind in WORST else []
            queries.append("&".join(f"{item}={value[:3000]}" for item in [*parameters, quote(MARKUP)]))
            queries.append(value)
            for query in queries:
                await check(found, f"{path} {kind}", await client.get(f"{path}?{query}"))
    assert found == []


@pytest.mark.parametrize("name", ["nobody", "sam", "alice", "root"])
async def test_no_form_field_is_a_fault_in_any_role(
    name: str, sign_in: SignIn, make_product: MakeProduct, cast: Cast, database: Database
) -> None:
    product = await make_product(cast.alice)
    client = await sign_in(name)
    found: list[str] = []
    for path, honest in forms(product.id, cast.bob.id).items():
        if path == "/admin/logout" and name != "nobody":
            continue
        for kind, value in HOSTILE.items():
            bodies = [honest | {field: value} for field in honest] if name == "root" and kind in WORST else []
            bodies.append(dict.fromkeys(honest, value))
            if "is_active" in honest:
                bodies.append(
                    honest | dict.fromkeys(("name", "description", "email", "price", "owner"), value)
                )
            for body in bodies:
                response = await client.post(path, content=encode(body), headers=FORM)
                await check(found, f"{path} {kind}", response)
    assert found == []


async def test_no_field_of_the_sign_in_form_is_a_fault(client: httpx.AsyncClient, cast: Cast) -> None:
    found: list[str] = []
    for kind in WORST:
        value = HOSTILE[kind]
        body = f"email={value}&password={value}&next={value}"
        response = await client.post("/admin/login", content=body, headers=FORM)
        assert response.status_code == (413 if len(body) > MAX_ANONYMOUS_BODY_BYTES else 401), kind
        await check(found, kind, response)
    assert found == []


@pytest.mark.parametrize("name", ["nobody", "root"])
async def test_no_header_is_a_fault(name: str, sign_in: SignIn) -> None:
    client = await sign_in(name)
    found: list[str] = []
    values = [b"\xff\x01", b"x" * 60_000, MARKUP.replace("\r\n", "").encode(), b",;=\"'"]
    for header in (
        "User-Agent",
        "Referer",
        "Accept",
        "Accept-Language",
        "Content-Type",
        "Origin",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-HTTP-Method-Override",
        "Range",
        "If-None-Match",
        "If-Modified-Since",
        "Transfer-Encoding",
        "Expect",
    ):
        for value in values:
            for path in ("/admin/product/list", "/admin/statics/admin.css"):
                await check(found, f"{header} {path}", await client.get(path, headers={header: value}))
            response = await client.post("/admin/product/create", headers={header: value})
            await check(found, f"{header} POST", response)
    for cookie in (
        b"flash=",
        b"flash=x",
        b"flash=" + b"A" * 9000,
        b"flash=\xff",
        b"flash=e30=.x.y",
        b"flash=bnVsbA==.x.y",
    ):
        await check(
            found, f"flash {cookie[:20]!r}", await client.get("/admin/login", headers={"Cookie": cookie})
        )
    assert found == []
