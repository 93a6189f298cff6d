"""Imports by the API: a file is sent, matched, checked, looked at, mended, confirmed, and taken back."""

import csv
from io import StringIO
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from admin_app.api.import_shapes import Kind
from admin_app.bulk.models import BulkOperation
from admin_app.database import Database
from admin_app.domains import IMPORTERS
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.imports.models import Import
from tests.admin.rows import every, load
from tests.api.conftest import MISSING, Call
from tests.api.test_operations import PROOF, run
from tests.conftest import Cast, MakeProduct, SignIn
from tests.deliveries import work
from tests.samples import png

FILE = "SKU;Title;Cost;Nothing\nclock-1;Walnut clock;49.90;a\nclock-2;=Oak clock;free;b\n".encode("cp1252")


async def send(
    client: httpx.AsyncClient, content: bytes = FILE, kind: str = "product", **headers: str
) -> httpx.Response:
    return await client.post(
        f"/imports/?kind={kind}",
        files={"file": ("products.csv", content)},
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


async def checked(client: httpx.AsyncClient, database: Database, content: bytes, **data: Any) -> str:
    """The path of an import whose file is checked."""
    path = f"/imports/{(await send(client, content)).json()['id']}"
    answer = await client.put(f"{path}/matching", json=data)
    assert (answer.status_code, answer.json()["state"]) == (202, "checking")
    await work(database)
    return path


async def test_a_file_is_sent_matched_checked_confirmed_and_taken_back(
    call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    clock = await make_product(cast.alice, name="Clock", price="45.00")
    async with database.transaction() as session:
        await session.execute(update(Product).values(external_id="clock-1"))
    alice = await call("alice")
    sent = await send(alice)
    found = sent.json()
    assert (sent.status_code, sent.headers["location"]) == (201, f"/api/v1/imports/{found['id']}")
    assert (found["state"], found["delimiter"], found["key"]) == ("matching", ";", "external_id")
    assert found["columns"] == [
        {"name": "SKU", "sample": ["clock-1", "clock-2"], "field": "external_id"},
        {"name": "Title", "sample": ["Walnut clock", "=Oak clock"], "field": "name"},
        {"name": "Cost", "sample": ["49.90", "free"], "field": None},
        {"name": "Nothing", "sample": ["a", "b"], "field": None},
    ]
    path = f"/imports/{found['id']}"
    matching = {"SKU": "external_id", "Title": "name", "Cost": "price"}
    assert (await alice.put(f"{path}/matching", json={"matching": matching})).status_code == 202
    await work(database)

    followed = (await alice.get(path)).json()
    assert [followed[name] for name in ("state", "to_update", "refused", "rows")] == ["checked", 1, 1, 2]
    reason = "price: Enter a number such as 12.50."
    assert followed["reasons"] == [{"reason": reason, "number": 1}]
    [row] = (await alice.get(f"{path}/rows?verdict=update")).json()["items"]
    assert (row["line"], row["row_id"]) == (2, str(clock.id))
    assert row["changes"] == {"name": ["Clock", "Walnut clock"], "price": ["45.00", "49.90"]}
    first = await alice.get(f"{path}/rows?limit=1")
    assert first.json()["next"] == 2
    assert [item["line"] for item in (await alice.get(f"{path}/rows?cursor=2")).json()["items"]] == [3]

    confirmed = await alice.post(f"{path}/confirm")
    operation = f"/operations/{confirmed.json()['operation_id']}"
    assert (confirmed.status_code, confirmed.headers["location"]) == (202, f"/api/v1{operation}")
    again = await alice.post(f"{path}/confirm")
    assert (again.status_code, again.headers["location"]) == (202, f"/api/v1{operation}")
    await run(database)
    done = (await alice.get(operation)).json()
    assert (done["state"], done["done"], done["action"]) == ("finished", 1, "import")
    product = await load(database, Product, clock.id)
    assert product is not None
    assert (product.name, str(product.price)) == ("Walnut clock", "49.90")
    assert (await alice.delete(path)).status_code == 409

    undo = (await alice.post(f"{operation}/undo")).json()
    body = {"fingerprint": undo["preview"]["fingerprint"]}
    assert (await alice.post(f"/operations/{undo['id']}/confirm", json=body)).status_code == 200
    await run(database)
    product = await load(database, Product, clock.id)
    assert product is not None
    assert (product.name, str(product.price)) == ("Clock", "45.00")


async def test_refused_rows_are_a_file_that_can_be_mended_and_sent_again(
    call: Call, cast: Cast, database: Database
) -> None:
    alice = await call("alice")
    matching = {"SKU": "external_id", "Title": "name", "Cost": "price"}
    path = await checked(alice, database, FILE, matching=matching)
    refused = await alice.get(f"{path}/refused")
    assert refused.headers["content-disposition"] == "attachment; filename*=UTF-8''products-refused.csv"
    reason = "price: Enter a number such as 12.50."
    assert list(csv.reader(StringIO(refused.content.decode("utf-8-sig")))) == [
        ["Reason", "SKU", "Title", "Cost", "Nothing"],
        [reason, "clock-2", "'=Oak clock", "free", "b"],
    ]
    mended = refused.content.replace(b"free", b"39.90")
    path = await checked(alice, database, mended, matching=matching)
    assert (await alice.get(path)).json()["to_create"] == 1
    await alice.post(f"{path}/confirm")
    await run(database)
    [product] = await every(database, Product)
    assert (product.name, product.external_id, product.owner_id) == ("=Oak clock", "clock-2", cast.alice.id)


async def test_a_file_can_be_read_in_another_way_and_discarded(call: Call, cast: Cast) -> None:
    alice = await call("alice")
    sent = (await send(alice, "Name;Price\nCafé;1\n".encode("cp1252"))).json()
    path = f"/imports/{sent['id']}"
    read = await alice.put(f"{path}/layout", json={"encoding": "cp1250", "delimiter": ","})
    assert [column["name"] for column in read.json()["columns"]] == ["Name;Price"]
    read = await alice.put(f"{path}/layout", json={"encoding": "cp1252", "delimiter": ";"})
    assert read.json()["columns"][0] == {"name": "Name", "sample": ["Café"], "field": "name"}
    [listed] = (await alice.get("/imports/?kind=product")).json()["items"]
    assert f"/imports/{listed['id']}" == path
    assert (await alice.delete(path)).status_code == 204
    assert (await alice.get(path)).status_code == 404
    assert (await alice.get("/imports/?kind=product")).json() == {"items": []}


async def test_with_a_key_a_file_is_taken_once(call: Call, cast: Cast, database: Database) -> None:
    alice = await call("alice")
    first = await send(alice, idempotency_key="abc")
    again = await send(alice, idempotency_key="abc")
    assert (again.status_code, again.content) == (201, first.content)
    [listed] = (await alice.get("/imports/?kind=product")).json()["items"]
    assert listed["id"] == first.json()["id"]
    assert (await send(alice, b"Name\nClock\n", idempotency_key="abc")).status_code == 422
    assert len((await alice.get("/imports/?kind=product")).json()["items"]) == 1


async def test_what_was_matched_again_meanwhile_is_not_confirmed(
    call: Call, cast: Cast, database: Database
) -> None:
    alice = await call("alice")
    path = await checked(alice, database, b"Name,Price\nClock,1\n")
    tag = (await alice.get(path)).headers["etag"]
    assert (await alice.get(path, headers={"If-None-Match": tag})).status_code == 304
    await alice.put(f"{path}/matching", json={})
    await work(database)
    for method, address in (("POST", f"{path}/confirm"), ("DELETE", path)):
        answer = await alice.request(method, address, headers={"If-Match": tag})
        assert answer.status_code == 412
    assert await every(database, BulkOperation) == []


async def test_what_cannot_be_taken_is_said_before_anything_is_written(
    call: Call, cast: Cast, database: Database
) -> None:
    alice = await call("alice")
    for content, told in (
        (png(), "This is a picture. Send a CSV file, JSON lines or an Excel workbook (.xlsx)."),
        (b"", "This file is empty."),
        (b"name,price\n", "This file has column names but no rows."),
    ):
        answer = await send(alice, content)
        assert (answer.status_code, answer.json()["detail"]) == (422, told)
    assert (await alice.post("/imports/?kind=product", json={})).status_code == 415
    assert (await alice.post("/imports/?kind=product", data={"file": "text"})).status_code == 415
    assert (await alice.post("/imports/", files={"file": FILE})).status_code == 422
    assert (await send(alice, kind="operation")).status_code == 422
    assert await every(database, Import) == []

    path = f"/imports/{(await send(alice)).json()['id']}"
    for body, pointer in (
        ({"matching": {"Size": "name"}}, "#/matching/Size"),
        ({"matching": {"SKU": "name", "Title": "name"}}, "#/key"),
        ({"matching": {"Title": "colour"}, "key": ""}, None),
        ({"matching": {"Title": "name"}, "key": ""}, "#/matching"),
        ({"key": "colour"}, "#/key"),
        ({"key": 1}, "#/key"),
    ):
        answer = await alice.put(f"{path}/matching", json=body)
        pointers = [fault["pointer"] for fault in answer.json().get("errors", [])]
        assert answer.status_code == 422, body
        assert pointer in pointers if pointer else pointers == [], (body, pointers)
    assert (await alice.post(f"{path}/confirm")).status_code == 409


async def test_files_may_be_larger_than_other_bodies(call: Call, cast: Cast) -> None:
    content = b"name,price\n" + b"Clock,1\n" * 3_000_000
    assert (await send(await call("alice"), content)).json()["size_bytes"] == len(content)


async def test_imports_are_their_actors(call: Call, cast: Cast, database: Database) -> None:
    path = await checked(await call("alice"), database, b"Name,Price\nClock,1\n")
    bob, root = await call("bob"), await call("root")
    for method, address, body in (
        ("GET", "", None),
        ("GET", "/rows", None),
        ("GET", "/refused", None),
        ("PUT", "/matching", {}),
        ("PUT", "/layout", {"encoding": "utf-8", "delimiter": ";"}),
        ("POST", "/confirm", None),
        ("DELETE", "", None),
    ):
        answer = await bob.request(method, f"{path}{address}", json=body)
        missing = await bob.request(method, f"/imports/{MISSING}{address}", json=body)
        assert (answer.status_code, answer.content) == (404, missing.content), (method, address)
        answer = await root.request(method, f"{path}{address}", json=body)
        assert answer.status_code == (200 if method == "GET" else 403), (method, address)
    assert (await bob.get("/imports/?kind=product")).json() == {"items": []}


async def test_accounts_are_imported_by_a_fresh_session_and_by_no_token(
    call: Call, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    content = b"E-mail,Name,Role\nnora@example.com,Nora,support\n"
    alice = await call("alice")
    assert (await send(alice, content, "user")).status_code == 403
    root = await call("root")
    path = f"/imports/{(await send(root, content, 'user')).json()['id']}"
    await root.put(f"{path}/matching", json={})
    await work(database)
    refused = await root.post(f"{path}/confirm")
    assert (refused.status_code, refused.json()["type"]) == (403, PROOF)
    assert (await (await sign_in("root")).post(f"/api/v1{path}/confirm")).status_code == 202
    await run(database)
    assert len(await every(database, User, email="nora@example.com")) == 1


@pytest.mark.parametrize(("name", "kinds"), [("sam", []), ("alice", ["product"]), ("root", [*IMPORTERS])])
async def test_everybody_is_told_what_they_may_import(call: Call, name: str, kinds: list[str]) -> None:
    found = (await (await call(name)).get("/imports/kinds")).json()["items"]
    assert [item["kind"] for item in found] == kinds
    for item in found:
        assert set(item["keys"]) <= {field["name"] for field in item["fields"]}


def test_every_kind_is_named_in_the_document() -> None:
    assert Kind.__args__ == tuple(IMPORTERS)
