"""Products by the API: what works, who may, and what is told to whom may not."""

from decimal import Decimal
from uuid import UUID

import httpx
import pytest

from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.outbox import RecordedEvent
from tests.admin.rows import every, history, load, traces
from tests.api.conftest import MISSING, Call
from tests.conftest import Cast, MakeProduct, SignIn, headers_of

NEW = {"name": "Walnut clock", "description": "Ticks.", "price": "12.50"}
LISTS = ("/products/", "/products/mine", "/products/price-range?min=1&max=2", "/products/search?q=walnut")


async def test_a_product_is_created_read_changed_and_deleted(
    call: Call, cast: Cast, database: Database
) -> None:
    alice = await call("alice")
    created = await alice.post("/products/", json=NEW)
    assert created.status_code == 201
    product = created.json()
    assert product | NEW == product
    assert (product["owner_id"], product["images"], product["version"]) == (str(cast.alice.id), [], 1)
    assert product["created_at"].endswith("Z")
    assert created.headers["location"] == f"/api/v1/products/{product['id']}"
    assert created.headers["etag"] == '"1"'

    read = await alice.get(f"/products/{product['id']}")
    assert (read.status_code, read.json(), read.headers["etag"]) == (200, product, '"1"')

    changed = await alice.patch(f"/products/{product['id']}", json={"price": "13"})
    assert changed.status_code == 200
    assert changed.json() == product | {
        "price": "13.00",
        "version": 2,
        "updated_at": changed.json()["updated_at"],
    }
    assert changed.headers["etag"] == '"2"'

    deleted = await alice.delete(f"/products/{product['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await alice.get(f"/products/{product['id']}")).status_code == 404
    entries = await history(database, UUID(product["id"]))
    assert [(entry.action, entry.source, entry.actor_label) for entry in entries] == [
        ("created", "api", "alice@demo.example"),
        ("updated", "api", "alice@demo.example"),
        ("deleted", "api", "alice@demo.example"),
    ]
    assert len(await every(database, RecordedEvent, actor_id=cast.alice.id)) == 3


async def test_a_merge_patch_changes_only_what_it_names(
    call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Clock", description="Ticks.")
    alice = await call("alice")
    response = await alice.patch(
        f"/products/{product.id}",
        content='{"is_active": false}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert response.status_code == 200
    assert (response.json()["name"], response.json()["description"]) == ("Clock", "Ticks.")
    assert response.json()["is_active"] is False


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_stranger_is_told_what_a_missing_product_is_told(
    method: str, call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    bob = await call("bob")
    before = await traces(database)
    body = {"json": {"name": "Mine now"}} if method == "PATCH" else {}
    foreign = await bob.request(method, f"/products/{product.id}", **body)
    missing = await bob.request(method, f"/products/{MISSING}", **body)
    assert (foreign.status_code, foreign.content) == (404, missing.content)
    assert headers_of(foreign) == headers_of(missing)
    assert missing.status_code == 404
    assert await traces(database) == before


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_support_changes_nothing_and_learns_nothing_of_the_body(
    method: str, call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    sam = await call("sam")
    before = await traces(database)
    path = "/products/" if method == "POST" else f"/products/{product.id}"
    response = await sam.request(method, path, content=b"not even JSON")
    assert (response.status_code, response.json()["title"]) == (403, "Forbidden")
    assert await traces(database) == before


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_nobody_changes_anything(
    method: str, call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    before = await traces(database)
    path = "/products/" if method == "POST" else f"/products/{product.id}"
    response = await (await call("nobody")).request(method, path, json=NEW)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert await traces(database) == before


@pytest.mark.parametrize("path", [*LISTS, f"/products/{MISSING}", "/openapi.json"])
async def test_nobody_reads_anything(path: str, call: Call) -> None:
    response = await (await call("nobody")).get(path)
    assert (response.status_code, response.json()["status"]) == (401, 401)


@pytest.mark.parametrize("name", ["alice", "bob", "sam", "root"])
async def test_everybody_signed_in_reads_every_product(
    name: str, call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, price=Decimal(1))
    client = await call(name)
    assert (await client.get(f"/products/{product.id}")).json()["owner_id"] == str(cast.alice.id)
    listed = (await client.get("/products/")).json()["items"]
    assert [item["id"] for item in listed] == [str(product.id)]


async def test_only_a_superuser_names_another_owner(call: Call, cast: Cast, database: Database) -> None:
    given = NEW | {"owner_id": str(cast.bob.id)}
    assert (await (await call("alice")).post("/products/", json=given)).status_code == 403
    assert await every(database, Product) == []
    created = await (await call("root")).post("/products/", json=given)
    assert created.json()["owner_id"] == str(cast.bob.id)
    refused = await (await call("root")).post("/products/", json=NEW | {"owner_id": str(cast.sam.id)})
    assert refused.status_code == 422
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["#/owner_id"]


@pytest.mark.parametrize(
    ("given", "pointers"),
    [
        ({"price": 12.5}, ["#/price"]),
        ({"price": "0"}, ["#/price"]),
        ({"price": "1e2"}, ["#/price"]),
        ({"price": "12.345"}, ["#/price"]),
        ({"name": ""}, ["#/name"]),
        ({"name": "a\0b"}, ["#/name"]),
        ({"name": None, "price": "x"}, ["#/name", "#/price"]),
        ({"is_active": "yes"}, ["#/is_active"]),
        ({"colour/~": "red"}, ["#/colour~1~0"]),
        ({"images": [{"id": "x"}]}, ["#/images/0/id"]),
        ({"images": [{"id": MISSING}]}, ["#/images"]),
    ],
    ids=str,
)
async def test_a_value_that_cannot_be_accepted_is_pointed_at(
    given: dict[str, object],
    pointers: list[str],
    call: Call,
    cast: Cast,
    make_product: MakeProduct,
    database: Database,
) -> None:
    product = await make_product(cast.alice)
    alice = await call("alice")
    before = await traces(database)
    for response in (
        await alice.post("/products/", json=NEW | given),
        await alice.patch(f"/products/{product.id}", json=given),
    ):
        assert response.status_code == 422
        assert response.headers["content-type"] == "application/problem+json"
        assert sorted(fault["pointer"] for fault in response.json()["errors"]) == pointers
        assert all(fault["detail"] for fault in response.json()["errors"])
    assert await traces(database) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"name": "\\ud800"}'])
async def test_what_is_no_object_is_refused(body: bytes, call: Call, database: Database) -> None:
    alice = await call("alice")
    response = await alice.post("/products/", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in {400, 422}
    assert await every(database, Product) == []


async def test_a_form_is_not_taken_for_json(call: Call, database: Database) -> None:
    response = await (await call("alice")).post("/products/", data=NEW)
    assert response.status_code == 415
    assert await every(database, Product) == []


async def test_a_list_is_read_page_by_page_and_back(
    call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    for number in range(5):
        await make_product(cast.alice, name=f"Clock {number}")
    await make_product(cast.alice, name="Hidden", is_active=False)
    alice = await call("alice")

    async def names(response: httpx.Response) -> list[str]:
        assert response.status_code == 200, response.text
        return [item["name"] for item in response.json()["items"]]

    first = await alice.get("/products/?limit=2")
    assert await names(first) == ["Clock 4", "Clock 3"]
    assert first.json() | {"limit": 2, "offset": 0, "previous": None} == first.json()
    assert first.links["next"]["url"].endswith(f"cursor={first.json()['next']}")
    second = await alice.get("http://127.0.0.1:8000" + first.links["next"]["url"])
    assert await names(second) == ["Clock 2", "Clock 1"]
    last = await alice.get("/products/", params={"limit": 2, "cursor": second.json()["next"]})
    assert (await names(last), last.json()["next"], "next" in last.links) == (["Clock 0"], None, False)
    back = await alice.get("http://127.0.0.1:8000" + last.links["prev"]["url"])
    assert await names(back) == ["Clock 2", "Clock 1"]
    skipped = await alice.get("/products/?limit=2&offset=2")
    assert await names(skipped) == ["Clock 2", "Clock 1"]
    before = await alice.get("/products/", params={"limit": 2, "cursor": skipped.json()["previous"]})
    assert await names(before) == ["Clock 4", "Clock 3"]
    assert len(await names(await alice.get("/products/?active_only=false"))) == 6
    assert await names(await alice.get("/products/?is_active=false")) == ["Hidden"]
    assert await names(await alice.get("/products/?sort=name&limit=1")) == ["Clock 0"]
    assert await names(await alice.get("/products/?search=clock&sort=-name&limit=1")) == ["Clock 4"]


async def test_a_page_says_the_same_at_a_glance_and_by_a_search(
    call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    """Two ways to read a page: what is searched for takes the longer one."""
    for number in range(3):
        await make_product(cast.alice, name=f"Clock {number}")
    alice = await call("alice")
    glanced = (await alice.get("/products/?sort=name")).json()
    searched = (await alice.get("/products/?sort=name&search=clock")).json()
    assert glanced["items"] == searched["items"]
    assert len(glanced["items"]) == 3


async def test_lists_of_ones_own_and_by_price(call: Call, cast: Cast, make_product: MakeProduct) -> None:
    cheap = await make_product(cast.alice, price=Decimal(1), is_active=False)
    dear = await make_product(cast.alice, price=Decimal(3))
    other = await make_product(cast.bob, price=Decimal(2))
    alice = await call("alice")

    async def ids(path: str) -> list[str]:
        return [item["id"] for item in (await alice.get(path)).json()["items"]]

    assert await ids("/products/mine") == [str(dear.id), str(cheap.id)]
    assert await ids("/products/price-range?min=1&max=2") == [str(cheap.id), str(other.id)]
    assert await ids("/products/?mine=true") == [str(dear.id)]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("offset=-1", "offset"),
        ("sort=colour", "sort"),
        ("active_only=perhaps", "active_only"),
        ("colour=red", "colour"),
        ("limit=1&limit=2", "limit"),
    ],
)
async def test_a_parameter_that_cannot_be_read_is_named(query: str, parameter: str, call: Call) -> None:
    response = await (await call("alice")).get(f"/products/?{query}")
    assert response.status_code == 422
    assert [fault["parameter"] for fault in response.json()["errors"]] == [parameter]


@pytest.mark.parametrize("query", ["cursor=x", "cursor=last&offset=1", "price_from=x", "search=%00"])
async def test_a_condition_that_cannot_be_read_is_never_ignored(query: str, call: Call) -> None:
    response = await (await call("alice")).get(f"/products/?{query}")
    assert response.status_code in {400, 422}
    assert "items" not in response.json()


async def test_the_cookie_of_a_session_signs_in_too(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    assert (await alice.get(f"/api/v1/products/{product.id}")).status_code == 200
    assert (await alice.get("/api/v1/products/")).json()["items"][0]["id"] == str(product.id)
    changed = await alice.patch(f"/api/v1/products/{product.id}", json={"name": "New"})
    assert changed.status_code == 200
    found = await load(database, Product, product.id)
    assert found is not None
    assert found.name == "New"


async def test_head_answers_as_get_does(call: Call, cast: Cast, make_product: MakeProduct) -> None:
    product = await make_product(cast.alice)
    alice = await call("alice")
    response = await alice.head(f"/products/{product.id}")
    assert (response.status_code, response.headers["etag"]) == (200, '"1"')
