"""Accounts by the API: who sees and manages them, and what is never told of them."""

import pytest

from admin_app.database import Database
from admin_app.domains.users.models import User
from tests.admin.rows import every, history, load, traces
from tests.api.conftest import Call
from tests.conftest import Cast, SignIn

PROOF = "/api/v1/docs#proof-required"
PASSWORD = "a rather long pass phrase 17"
NEW = {"email": "nora@demo.example", "name": "Nora", "role": "administrator", "password": PASSWORD}


async def test_everybody_reads_their_own_account(call: Call, cast: Cast) -> None:
    for name in ("alice", "sam", "root"):
        client = await call(name)
        me = await client.get("/users/me")
        assert (me.status_code, me.json()["email"]) == (200, f"{name}@demo.example")
        again = await client.get("/users/me", headers={"If-None-Match": me.headers["etag"]})
        assert again.status_code == 304


async def test_a_superuser_manages_accounts(sign_in: SignIn, database: Database) -> None:
    root = await sign_in("root")
    created = await root.post("/api/v1/users/", json=NEW)
    assert created.status_code == 201
    user = created.json()
    assert user["email"] == NEW["email"]
    assert not {"password", "password_hash"} & user.keys()
    row = await every(database, User, email=NEW["email"])
    assert PASSWORD not in row[0].password_hash
    address = f"/api/v1/users/{user['id']}"
    assert created.headers["location"] == address

    changed = await root.patch(address, json={"role": "support"}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["role"], changed.headers["etag"]) == (200, "support", '"2"')
    stale = await root.patch(address, json={"name": "N."}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert (await root.delete(address, headers={"If-Match": '"1"'})).status_code == 412
    assert (await root.delete(address)).status_code == 204
    assert (await root.get(address)).status_code == 404
    entries = await history(database, row[0].id)
    assert [(entry.action, entry.source) for entry in entries] == [
        ("created", "api"),
        ("updated", "api"),
        ("deleted", "api"),
    ]


async def test_a_token_is_no_proof(call: Call, cast: Cast, database: Database) -> None:
    root = await call("root")
    before = await traces(database)
    address = f"/users/{cast.bob.id}"
    for answer in (
        await root.post("/users/", json=NEW),
        await root.patch(address, json={"role": "superuser"}),
        await root.patch(address, json={"password": PASSWORD}),
        await root.patch(address, json={"email": "new@demo.example"}),
    ):
        assert (answer.status_code, answer.json()["type"]) == (403, PROOF)
    assert await traces(database) == before
    assert (await root.patch(address, json={"name": "Robert"})).status_code == 200


async def test_support_reads_all_accounts_and_an_administrator_only_their_own(call: Call, cast: Cast) -> None:
    sam, alice = await call("sam"), await call("alice")
    found = (await sam.get("/users/?sort=-email")).json()["items"]
    assert [user["name"] for user in found] == ["Sam", "Root", "Bob", "Alice"]
    assert [user["name"] for user in (await alice.get("/users/")).json()["items"]] == ["Alice"]
    assert (await sam.get(f"/users/{cast.bob.id}")).status_code == 200
    assert (await alice.get(f"/users/{cast.bob.id}")).status_code == 404
    assert (await sam.patch(f"/users/{cast.bob.id}", json={"name": "x"})).status_code == 403


async def test_a_list_is_searched_filtered_and_paged(call: Call) -> None:
    root = await call("root")
    assert [user["name"] for user in (await root.get("/users/?search=bob")).json()["items"]] == ["Bob"]
    chosen = (await root.get("/users/?role=administrator&is_active=true&limit=1")).json()
    assert [user["name"] for user in chosen["items"]] == ["Alice"]
    following = await root.get(f"/users/?role=administrator&is_active=true&limit=1&cursor={chosen['next']}")
    assert [user["name"] for user in following.json()["items"]] == ["Bob"]
    assert 'rel="prev"' in following.headers["link"]
    other = await root.get(f"/users/?limit=1&cursor={chosen['next']}")
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**NEW, "password": "short"}, "#/password"),
        ({**NEW, "email": "no address"}, "#/email"),
        ({**NEW, "email": "BOB@demo.example"}, "#/email"),
        ({**NEW, "role": "emperor"}, "#/role"),
        ({**NEW, "password_hash": "x"}, "#/password_hash"),
    ],
)
async def test_what_cannot_be_accepted_is_named_and_never_repeated(
    body: dict[str, str], pointer: str, sign_in: SignIn
) -> None:
    answer = await (await sign_in("root")).post("/api/v1/users/", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert str(body["password"]) not in answer.text


async def test_the_last_superuser_stays(sign_in: SignIn, cast: Cast, database: Database) -> None:
    root = await sign_in("root")
    address = f"/api/v1/users/{cast.root.id}"
    assert (await root.delete(address)).status_code == 409
    assert (await root.patch(address, json={"role": "support"})).status_code == 409
    assert await load(database, User, cast.root.id) is not None  # type: ignore[arg-type]
