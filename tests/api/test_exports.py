"""Exports by the API: started, followed, fetched and cancelled, by their owner alone."""

from uuid import uuid4

from admin_app.audit import AuditEntry
from admin_app.database import Database
from admin_app.exports.models import Export
from admin_app.security.tokens import Scope
from tests.admin.rows import every
from tests.api.conftest import Call
from tests.conftest import Cast, MakeProduct, SignIn
from tests.deliveries import work

PROOF = "/api/v1/docs#proof-required"


async def test_a_list_is_written_followed_and_fetched(
    call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    for number, name in enumerate(("Oak clock", "Chair", "Walnut clock"), start=1):
        await make_product(cast.alice, name=name, price=number)
    alice = await call("alice")
    body = {
        "kind": "product",
        "format": "csv",
        "where": {"search": "clock", "is_active": True},
        "sort": "-price",
        "columns": ["price", "name"],
    }
    once = {"Idempotency-Key": "nightly"}
    started = await alice.post("/exports/", json=body, headers=once)
    export = started.json()
    address = f"/exports/{export['id']}"
    assert (started.status_code, started.headers["location"]) == (201, f"/api/v1{address}")
    assert (export["state"], export["file"]) == ("waiting", None)
    assert (await alice.post("/exports/", json=body, headers=once)).json() == export
    assert (await alice.get(f"{address}/file")).status_code == 404

    await work(database)
    followed = (await alice.get(address)).json()
    assert (followed["state"], followed["rows"]) == ("finished", 2)
    [entry] = await every(database, AuditEntry, action="exported")
    assert entry.actor_label == "alice@demo.example"
    assert followed["selection"] == "“clock” · State: Active"
    assert (await alice.get("/exports/")).json()["items"] == [followed]
    fetched = await (await call("alice", Scope.READ)).get(f"{address}/file")
    assert fetched.headers["content-length"] == str(followed["size_bytes"])
    assert fetched.content.decode() == "\ufeffPrice,Name\n3.00,Walnut clock\n1.00,Oak clock\n"
    [kept] = await every(database, Export)
    assert kept.seen_at is not None  # the website need not tell of it

    for method, path in (("GET", ""), ("GET", "/file"), ("POST", "/cancel")):
        for name in ("bob", "root"):
            stranger = await call(name)
            foreign = await stranger.request(method, f"{address}{path}")
            missing = await stranger.request(method, f"/exports/{uuid4()}{path}")
            assert (foreign.status_code, foreign.content) == (404, missing.content)


async def test_it_can_be_cancelled(call: Call, database: Database) -> None:
    alice = await call("alice")
    started = await alice.post("/exports/", json={"kind": "activity", "format": "jsonl"})
    address = f"/exports/{started.json()['id']}"
    assert (await alice.post(f"{address}/cancel")).status_code == 200
    await work(database)
    assert (await alice.get(address)).json()["state"] == "cancelled"
    assert (await alice.get(f"{address}/file")).status_code == 404


async def test_a_token_is_no_proof_and_a_fresh_session_is(
    call: Call, sign_in: SignIn, database: Database
) -> None:
    body = {"kind": "user", "format": "xlsx"}
    refused = await (await call("root")).post("/exports/", json=body)
    assert (refused.status_code, refused.json()["type"]) == (403, PROOF)
    reader = await call("root", Scope.READ)
    assert (await reader.post("/exports/", json=body | {"kind": "product"})).status_code == 403
    assert await every(database, Export) == []
    root = await sign_in("root")
    started = await root.post("/api/v1/exports/", json=body)
    assert started.status_code == 201
    await work(database)
    file = f"/exports/{started.json()['id']}/file"
    assert (await root.get(f"/api/v1{file}")).status_code == 200
    refused = await (await call("root")).get(file)
    assert (refused.status_code, refused.json()["type"]) == (403, PROOF)


async def test_what_cannot_be_read_is_named(call: Call, database: Database) -> None:
    alice = await call("alice")
    for change, pointer in (
        ({"kind": "session"}, "#/kind"),
        ({"format": "pdf"}, "#/format"),
        ({"columns": ["name", "password_hash"]}, "#/columns/1"),
        ({"columns": []}, "#/columns"),
        ({"where": {"colour": "red"}}, "#/where/colour"),
        ({"where": {"is_active": "yes"}}, "#/where/is_active"),
        ({"where": {"price_from": "2", "price_to": "1"}}, "#/where/price_from"),
        ({"kind": "operation", "where": {"state": "lost"}}, "#/where/state"),
        ({"sort": "colour"}, "#/sort"),
        ({"limit": 5}, "#/limit"),
    ):
        answer = await alice.post("/exports/", json={"kind": "product", "format": "csv"} | change)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), change
    assert await every(database, Export) == []
