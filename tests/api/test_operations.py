"""Bulk operations by the API: drafted, confirmed, followed, cancelled, tried again and taken back."""

from decimal import Decimal
from uuid import uuid4

import pytest

from admin_app.bulk.models import BulkOperation
from admin_app.database import Database
from admin_app.domains.products.bulk import Delete
from admin_app.domains.products.models import Product
from tests.admin.rows import every, history, load
from tests.api.conftest import Call
from tests.bulk.operations import Operations
from tests.conftest import Cast, MakeProduct, SignIn

PROOF = "/api/v1/docs#proof-required"


async def test_a_draft_tells_what_would_happen_and_starts_when_it_is_confirmed(
    call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    own, foreign = await make_product(cast.alice), await make_product(cast.bob)
    alice = await call("alice")
    body = {
        "kind": "product",
        "action": "change_price",
        "ids": [str(own.id), str(foreign.id)],
        "parameters": {"change": "100"},
    }
    drafted = await alice.post("/operations/", json=body)
    assert drafted.status_code == 201
    draft = drafted.json()
    assert drafted.headers["location"] == f"/api/v1/operations/{draft['id']}"
    preview = draft["preview"]
    assert (draft["state"], preview["total"], preview["changing"]) == ("draft", 2, 1)
    assert preview["skipped"] == [{"outcome": "skipped", "reason": "not yours", "number": 1}]
    assert preview["samples"] == [
        {"id": str(own.id), "title": own.name, "values": {"Price": ["0.99", "1.98"]}}
    ]
    assert (await alice.get(f"/operations/{draft['id']}")).json() == draft
    assert await Operations(database).runner.step() is False

    confirmation = {"fingerprint": preview["fingerprint"]}
    confirmed = await alice.post(f"/operations/{draft['id']}/confirm", json=confirmation)
    assert (confirmed.status_code, confirmed.json()["state"]) == (200, "waiting")
    assert (await alice.post(f"/operations/{draft['id']}/confirm", json=confirmation)).status_code == 200

    await run(database)
    followed = (await alice.get(f"/operations/{draft['id']}")).json()
    assert (followed["state"], followed["done"], followed["skipped"], followed["left"]) == (
        "finished",
        1,
        1,
        0,
    )
    assert followed["reasons"] == [{"outcome": "skipped", "reason": "not yours", "number": 1}]
    items = (await alice.get(f"/operations/{draft['id']}/items?outcome=skipped")).json()["items"]
    assert [(item["row_id"], item["outcome"], item["reason"]) for item in items] == [
        (str(foreign.id), "skipped", "not yours")
    ]
    product = await load(database, Product, own.id)
    assert product is not None
    assert product.price == Decimal("1.98")
    [_, entry] = await history(database, own.id)
    assert (entry.actor_label, str(entry.operation_id)) == ("alice@demo.example", draft["id"])

    undo = (await alice.post(f"/operations/{draft['id']}/undo")).json()
    assert undo["undoes"] == draft["id"]
    confirmation = {"fingerprint": undo["preview"]["fingerprint"]}
    assert (await alice.post(f"/operations/{undo['id']}/confirm", json=confirmation)).status_code == 200
    await run(database)
    product = await load(database, Product, own.id)
    assert product is not None
    assert product.price == Decimal("0.99")
    assert (await alice.get(f"/operations/{draft['id']}")).json()["undone_by"] == undo["id"]


async def run(database: Database) -> None:
    runner = Operations(database).runner
    while await runner.step():
        pass


async def test_in_one_call_it_starts_only_if_as_many_rows_change_as_expected(
    call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    for name in ("Oak clock", "Walnut clock", "Chair"):
        await make_product(cast.alice, name=name)
    await make_product(cast.bob, name="Bob's clock")
    alice = await call("alice")
    body = {"kind": "product", "action": "deactivate", "where": {"search": "clock", "is_active": True}}
    refused = await alice.post("/operations/", json={**body, "expected_changes": 3})
    assert refused.status_code == 409
    assert refused.json()["detail"] == "2 rows would change, not 3 as expected, so nothing was started."
    assert await every(database, BulkOperation) == []

    started = await alice.post("/operations/", json={**body, "expected_changes": 2})
    assert (started.status_code, started.json()["state"], started.json()["total"]) == (201, "waiting", 3)
    await run(database)
    active = {product.name for product in await every(database, Product) if product.is_active}
    assert active == {"Chair", "Bob's clock"}


async def test_a_confirmation_is_for_what_was_shown(
    call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await call("alice")
    body = {"kind": "product", "action": "deactivate", "ids": [str(product.id)]}
    draft = (await alice.post("/operations/", json=body)).json()
    await alice.patch(f"/products/{product.id}", json={"name": "Another"})
    confirmation = {"fingerprint": draft["preview"]["fingerprint"]}
    refused = await alice.post(f"/operations/{draft['id']}/confirm", json=confirmation)
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    seen = (await alice.get(f"/operations/{draft['id']}")).json()
    assert seen["state"] == "draft"
    assert seen["preview"]["fingerprint"] != confirmation["fingerprint"]


async def test_many_rows_need_their_number(
    call: Call, cast: Cast, make_product: MakeProduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin_app.bulk.service.TYPED_ABOVE", 1)
    for _ in range(2):
        await make_product(cast.alice)
    alice = await call("alice")
    body = {"kind": "product", "action": "deactivate", "where": {"mine": True}}
    draft = (await alice.post("/operations/", json=body)).json()
    confirmation = {"fingerprint": draft["preview"]["fingerprint"]}
    for number in ({}, {"changing": 3}):
        refused = await alice.post(f"/operations/{draft['id']}/confirm", json=confirmation | number)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/changing")
    answer = await alice.post(f"/operations/{draft['id']}/confirm", json={**confirmation, "changing": 2})
    assert answer.status_code == 200


async def test_a_number_that_is_given_must_be_right(
    call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await call("alice")
    body = {"kind": "product", "action": "deactivate", "ids": [str(product.id)]}
    draft = (await alice.post("/operations/", json=body)).json()
    confirmation = {"fingerprint": draft["preview"]["fingerprint"]}
    for changing, status in ((2, 422), (1, 200)):
        answer = await alice.post(
            f"/operations/{draft['id']}/confirm", json={**confirmation, "changing": changing}
        )
        assert answer.status_code == status


async def test_a_token_is_no_proof_for_many_deletions_and_a_fresh_session_is(
    call: Call,
    sign_in: SignIn,
    cast: Cast,
    make_product: MakeProduct,
    monkeypatch: pytest.MonkeyPatch,
    database: Database,
) -> None:
    monkeypatch.setattr(Delete, "needs_proof_above", 0)
    await make_product(cast.alice)
    body = {"kind": "product", "action": "delete", "where": {}, "expected_changes": 1}
    refused = await (await call("alice")).post("/operations/", json=body)
    assert (refused.status_code, refused.json()["type"]) == (403, PROOF)
    assert await every(database, BulkOperation) == []
    answer = await (await sign_in("alice")).post("/api/v1/operations/", json=body)
    assert answer.status_code == 201


async def test_cancelled_it_can_go_on(
    call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    for _ in range(2):
        await make_product(cast.alice)
    alice = await call("alice")
    body = {"kind": "product", "action": "deactivate", "where": {}, "expected_changes": 2}
    operation = (await alice.post("/operations/", json=body)).json()["id"]
    cancelled = (await alice.post(f"/operations/{operation}/cancel")).json()
    assert (cancelled["state"], cancelled["is_cancelling"]) == ("waiting", True)
    await run(database)
    assert (await alice.get(f"/operations/{operation}")).json()["state"] == "cancelled"
    assert (await alice.post(f"/operations/{operation}/retry")).json()["state"] in {"waiting", "retrying"}
    await run(database)
    ended = (await alice.get(f"/operations/{operation}")).json()
    assert (ended["state"], ended["done"]) == ("finished", 2)
    [listed] = (await alice.get("/operations/?state=finished")).json()["items"]
    assert (listed["id"], listed["done"], listed["is_undone"]) == (operation, 2, False)


async def test_what_cannot_be_read_is_named(call: Call, cast: Cast, make_product: MakeProduct) -> None:
    product = await make_product(cast.alice)
    alice = await call("alice")
    rows = {"kind": "product", "ids": [str(product.id)]}
    for body, pointer in (
        ({**rows, "action": "explode"}, "#/action"),
        ({**rows, "action": "deactivate", "where": {}}, "#/ids"),
        ({"kind": "product", "action": "deactivate"}, "#/ids"),
        ({**rows, "action": "set_price", "parameters": {"price": "0"}}, "#/parameters/price"),
        ({**rows, "action": "set_price", "parameters": {"price": "1", "cost": "1"}}, "#/parameters/cost"),
        ({**rows, "action": "transfer", "parameters": {"owner": "x@y.example"}}, "#/parameters/owner"),
        ({"kind": "product", "action": "activate", "where": {"colour": "red"}}, "#/where/colour"),
        (
            {"kind": "product", "action": "activate", "where": {"price_from": "2", "price_to": "1"}},
            "#/where/price_from",
        ),
    ):
        answer = await alice.post("/operations/", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), body


async def test_actions_are_those_the_caller_may_run(call: Call) -> None:
    async def kinds(name: str) -> set[str]:
        answer = await (await call(name)).get("/operations/actions")
        return {item["kind"] for item in answer.json()["items"]}

    assert await kinds("sam") == set()
    assert await kinds("alice") == {"product"}
    assert await kinds("root") == {"product", "user"}


async def test_somebody_elses_operation_is_as_one_that_does_not_exist(
    call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    body = {"kind": "product", "action": "deactivate", "ids": [str(product.id)], "expected_changes": 1}
    operation = (await (await call("alice")).post("/operations/", json=body)).json()["id"]
    bob = await call("bob")
    for verb in ("", "/items", "/cancel", "/retry", "/undo"):
        method = "POST" if verb in {"/cancel", "/retry", "/undo"} else "GET"
        foreign = await bob.request(method, f"/operations/{operation}{verb}")
        missing = await bob.request(method, f"/operations/{uuid4()}{verb}")
        assert (foreign.status_code, foreign.content) == (404, missing.content)
