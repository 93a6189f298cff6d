"""What no client should send: a problem that names it, and never a fault of ours."""

import base64
import gzip
import json
import re
from urllib.parse import parse_qsl, urlsplit

import pytest

from admin_app.database import Database
from tests.admin.rows import traces
from tests.api.conftest import MISSING, Call, MakeToken
from tests.conftest import Cast, MakeProduct, SignIn

DEEP = b"[" * 100_000
BODIES = {
    "empty": b"",
    "no JSON": b"{",
    "not an object": b"[]",
    "null": b"null",
    "byte order mark": b'\xef\xbb\xbf{"name": "x", "price": "1"}',
    "UTF-16": '{"name": "x", "price": "1"}'.encode("utf-16"),
    "Latin-1": '{"name": "é", "price": "1"}'.encode("latin-1"),
    "NUL": b'{"name": "a\\u0000b", "price": "1"}',
    "lone surrogate": b'{"name": "a\\ud800b", "price": "1"}',
    "raw control character": b'{"name": "a\x01b", "price": "1"}',
    "long": b'{"name": "' + b"x" * 60_000 + b'", "price": "1"}',
    "deep": b'{"name": ' + DEEP,
    "deep and whole": b'{"images": ' + b"[" * 5_000 + b"]" * 5_000 + b', "name": "x", "price": "1"}',
    "NaN": b'{"name": "x", "price": NaN}',
    "Infinity": b'{"name": "x", "price": Infinity}',
    "huge number": b'{"name": "x", "price": 1' + b"0" * 10_000 + b"}",
    "huge exponent": b'{"name": "x", "price": "1e999999999"}',
    "float": b'{"name": "x", "price": 1.5}',
    "twice the same, the last one wrong": b'{"name": "x", "price": "1", "price": "-1"}',
    "two documents": b'{"name": "x", "price": "1"} {}',
    "comment": b'{"name": "x", /* */ "price": "1"}',
}
TEXTS = (
    "a\0b",
    "x" * 15_000,
    "'; DROP TABLE products; --",
    "{{ 7 * 7 }}",
    "<script>",
    "a\r\nX: y",
    "%",
    "\\",
)
ADDRESSES = {
    "POST": ("/products/", "/users/", "/operations/", "/images/"),
    "PATCH": ("/products/{product}", "/users/{user}"),
}


@pytest.mark.parametrize("what", BODIES)
async def test_a_body_that_cannot_be_taken_is_a_problem(
    what: str, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    before = await traces(database)
    missing = "01890000-0000-7000-8000-000000000000"
    for method, addresses in ADDRESSES.items():
        for address in addresses:
            path = f"/api/v1{address.format(product=missing, user=missing)}"
            headers = {"Content-Type": "application/json"}
            answer = await root.request(method, path, content=BODIES[what], headers=headers)
            assert 400 <= answer.status_code < 500, (what, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code
    assert await traces(database) == before


async def test_of_a_strange_kind_no_body_is_read(call: Call) -> None:
    alice = await call("alice")
    body = b'{"name": "x", "price": "1"}'
    for kind in ("", "text/plain", "application/xml", "application/json-patch+json", "json", "a" * 10_000):
        answer = await alice.post("/products/", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 415
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        answer = await alice.post("/products/", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 201


async def test_whatever_is_asked_for_in_an_address_is_no_fault_of_ours(
    call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.root)
    root = await call("root")
    lists = {
        "/products/": ("search", "owner", "cursor", "sort", "price_from", "created", "created_to", "limit"),
        "/products/search": ("q",),
        "/users/": ("search", "cursor", "role", "last_sign_in_from"),
        "/operations/": ("search", "actor", "state", "cursor"),
        "/activity/": ("who", "action", "field", "row_id", "at", "cursor"),
    }
    for path, names in lists.items():
        for name in names:
            for text in TEXTS:
                answer = await root.get(path, params={name: text})
                assert answer.status_code in {200, 414, 422}, (path, name, text[:20])
                assert answer.headers["content-type"].endswith("json")


async def test_blanks_are_no_condition_that_is_ignored(call: Call) -> None:
    root = await call("root")
    for query in ("created=%0B", "created_from=+", "price_to=+", "price_from=+5", "sort=+"):
        assert (await root.get(f"/products/?{query}")).status_code == 422, query


async def test_a_number_may_be_greater_than_any_price_there_can_be(
    call: Call, make_product: MakeProduct, cast: Cast
) -> None:
    for price in ("1", "2"):
        await make_product(cast.root, price=price)
    root = await call("root")
    for path in ("/products/?price_to=9999999999.99", "/products/price-range?min=1&max=9999999999"):
        assert len((await root.get(path)).json()["items"]) == 2
    above = await root.get("/products/?price_from=100000000&search=balls")
    assert above.json()["items"] == []
    first = (await root.get("/products/?sort=price&limit=1")).json()["next"]
    value = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    for number in ("100000000", "1e900", "1e-900", "NaN"):
        forged = base64.urlsafe_b64encode(json.dumps([value[0], number, *value[2:]]).encode()).decode()
        answer = await root.get("/products/", params={"sort": "price", "cursor": forged.rstrip("=")})
        assert answer.status_code == 422


async def test_a_header_no_program_sends_is_a_problem(call: Call, cast: Cast) -> None:
    alice = await call("alice")
    for name, values in {
        "If-Match": ("x", '"', ",", '"1" "2"'),
        "Idempotency-Key": ("", "a b", "x" * 300, '"'),
    }.items():
        for value in values:
            headers = {name: value}
            if name == "If-Match":
                product = (await alice.post("/products/", json={"name": "x", "price": "1"})).json()["id"]
                answer = await alice.patch(f"/products/{product}", json={"name": "y"}, headers=headers)
            else:
                answer = await alice.post("/products/", json={"name": "x", "price": "1"}, headers=headers)
            assert answer.status_code == 400, (name, value)
    for value in (
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer adm_" + "x" * 43,
        "Bearer a\xffb",
        "Bearer " + "x" * 9000,
    ):
        answer = await (await call("nobody")).get(
            "/users/me", headers={"Authorization": value.encode("latin-1")}
        )
        assert answer.status_code == 401


async def test_who_authorizes_twice_is_asked_to_decide(call: Call, make_token: MakeToken) -> None:
    token = await make_token("alice")
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", "Basic YTpi")]
    answer = await (await call("nobody")).get("/users/me", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (400, "Send one Authorization header.")


async def test_another_way_to_sign_in_is_told_the_right_one(call: Call) -> None:
    nobody = await call("nobody")
    answer = await nobody.get("/users/me", headers={"Authorization": "Basic YTpi"})
    assert "Authorization: Bearer" in answer.json()["detail"]


async def test_a_body_is_not_unpacked(call: Call, database: Database) -> None:
    alice = await call("alice")
    before = await traces(database)
    packed = gzip.compress(b'{"name": "x", "price": "1"}')
    for path, kind in (("/products/", "application/json"), ("/images/", "multipart/form-data; boundary=x")):
        headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
        answer = await alice.post(path, content=packed, headers=headers)
        assert (answer.status_code, "Content-Encoding" in answer.json()["detail"]) == (415, True)
    assert await traces(database) == before
    headers = {"Content-Type": "application/json", "Content-Encoding": "identity"}
    plain = await alice.post("/products/", content=b'{"name": "x", "price": "1"}', headers=headers)
    assert plain.status_code == 201


QUERIES = (
    "/products/?limit=x",
    "/products/?sort=x",
    "/products/?price_from=2&price_to=1",
    "/products/mine?cursor=x",
    "/products/search?q=",
    "/users/?limit=x",
    "/users/?search=" + "x" * 300,
    "/activity/?who=a&who=b",
    "/operations/?colour=red",
    f"/operations/{MISSING}/items?reason=%00",
    f"/products/{MISSING}/history?cursor=x",
)


@pytest.mark.parametrize("address", QUERIES)
async def test_a_query_that_cannot_be_read_names_the_parameter_to_whom_may_ask(
    address: str, call: Call
) -> None:
    answer = await (await call("root")).get(address)
    assert answer.status_code == 422
    names = {name for name, _ in parse_qsl(urlsplit(address).query, keep_blank_values=True)}
    assert {fault["parameter"] for fault in answer.json()["errors"]} <= names
    assert answer.json()["errors"]
    assert (await (await call("nobody")).get(address)).status_code == 401


async def test_a_list_by_price_names_its_own_parameters(call: Call) -> None:
    alice = await call("alice")
    answer = await alice.get("/products/price-range?min=2&max=1")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "min")


async def test_a_hundred_parameters_are_the_most(call: Call) -> None:
    root = await call("root")
    for path in ("/products/", "/users/", "/activity/", "/operations/", "/products/search"):
        answer = await root.get(f"{path}?{'a&' * 7900}")
        assert (answer.status_code, answer.json()["detail"]) == (422, "Use at most 100 parameters.")
        few = await root.get(f"{path}?{'a&' * 99}")
        assert few.json()["errors"] == [{"detail": "Give this once.", "parameter": "a"}]


LARGE = {
    "numbers for pictures": {"images": [0] * 90_000},
    "empty pictures": {"images": [{}] * 90_000},
    "unknown names": {f"n{number}": 0 for number in range(60_000)},
    "ids": {"kind": "product", "action": "delete", "ids": ["x"] * 20_000},
    "too many ids": {"kind": "product", "action": "delete", "ids": ["x"] * 90_000},
    "unknown conditions": {
        "kind": "product",
        "action": "delete",
        "where": {f"n{number}": 0 for number in range(60_000)},
    },
    "unknown parameters": {
        "kind": "product",
        "action": "delete",
        "ids": [MISSING],
        "parameters": {f"n{number}": 0 for number in range(60_000)},
    },
}


@pytest.mark.parametrize("what", LARGE)
async def test_of_very_many_faults_not_all_are_told(what: str, sign_in: SignIn) -> None:
    root = await sign_in("root")
    for path in ("/products/", "/users/", "/operations/"):
        answer = await root.post(f"/api/v1{path}", json=LARGE[what])
        assert answer.status_code == 422
        assert len(answer.content) < 5_000


RAW = re.compile(r"Input|String should|List should|Value error|pattern|valid integer|pydantic|\bitems? after")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/products/", {"name": 1, "description": 2, "price": 3, "is_active": "x", "images": 4}),
        ("POST", "/products/", {"name": "", "price": "1.234", "images": [{"id": 1, "alt": 2}, 5]}),
        ("POST", "/users/", {"email": 1, "name": None, "role": "emperor", "password": 5}),
        ("POST", "/users/", {"email": "x", "role": 2, "is_active": 3, "must_change_password": "x"}),
        ("POST", "/operations/", {"kind": 1, "action": 2}),
        ("POST", "/operations/", {"kind": "product", "action": "delete", "ids": [], "where": 3}),
        ("POST", "/operations/", {"kind": "product", "action": "delete", "expected_changes": 1.5}),
        ("POST", "/operations/", {"kind": "product", "action": "delete", "where": {"created": "x"}}),
        (
            "POST",
            "/operations/",
            {
                "kind": "product",
                "action": "change_price",
                "where": {},
                "parameters": {"change": [], "unit": "x", "rounding": "x"},
            },
        ),
        ("POST", f"/operations/{MISSING}/confirm", {"fingerprint": "x", "changing": "1"}),
        ("POST", "/images/", {"url": ""}),
        (
            "GET",
            "/products/?created=x&limit=" + "9" * 5000 + "&price_from=x&created_from=x&is_active=x",
            None,
        ),
        ("GET", "/products/search?limit=1.5", None),
        ("GET", "/activity/?kind=x&row_id=x&at_from=x", None),
        ("GET", f"/operations/{MISSING}/items?outcome=x&cursor=x&reason=%00", None),
    ],
)
async def test_faults_are_told_in_words_for_people(
    method: str, path: str, body: object, sign_in: SignIn
) -> None:
    answer = await (await sign_in("root")).request(method, f"/api/v1{path}", json=body)
    assert answer.status_code == 422
    found = [fault["detail"] for fault in answer.json()["errors"]]
    assert found
    assert [told for told in found if RAW.search(told) or "'" in told] == []


async def test_a_list_is_counted_in_items(call: Call) -> None:
    alice = await call("alice")
    rows = {"kind": "product", "action": "deactivate"}
    for ids, told in (([], "Choose at least one."), ([MISSING] * 20_001, "Use at most 20,000 items.")):
        answer = await alice.post("/operations/", json={**rows, "ids": ids})
        assert answer.json()["errors"] == [{"detail": told, "pointer": "#/ids"}]
