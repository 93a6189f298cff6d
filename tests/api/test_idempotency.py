"""Idempotency-Key: a change sent twice is made once."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, text, update

from admin_app import idempotency
from admin_app.database import Database
from admin_app.domains import CHORES
from admin_app.domains.products.models import Product
from admin_app.idempotency import IdempotencyKey
from tests.admin.rows import every, history, traces
from tests.api.conftest import Call
from tests.conftest import Cast, MakeProduct, headers_of

NEW = {"name": "Walnut clock", "price": "12.50"}
KEY = {"Idempotency-Key": '"a key of my own"'.replace(" ", "-")}


async def test_the_second_time_the_first_answer_comes_again(call: Call, database: Database) -> None:
    alice = await call("alice")
    first = await alice.post("/products/", json=NEW, headers=KEY)
    before = await traces(database)
    second = await alice.post("/products/", json=NEW, headers={"Idempotency-Key": "a-key-of-my-own"})
    assert first.status_code == 201
    assert (second.status_code, second.content) == (201, first.content)
    assert headers_of(second) == headers_of(first)
    assert len(await every(database, Product)) == 1
    assert await traces(database) == before


async def test_twins_at_once_make_one(call: Call, database: Database) -> None:
    alice = await call("alice")
    answers = await asyncio.gather(*(alice.post("/products/", json=NEW, headers=KEY) for _ in range(5)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert len(await every(database, Product)) == 1


async def test_a_key_is_good_for_one_request(call: Call, database: Database) -> None:
    alice = await call("alice")
    await alice.post("/products/", json=NEW, headers=KEY)
    other = await alice.post("/products/", json=NEW | {"price": "13"}, headers=KEY)
    assert other.status_code == 422
    assert len(await every(database, Product)) == 1


async def test_keys_of_two_people_have_nothing_to_do_with_each_other(call: Call, database: Database) -> None:
    for name in ("alice", "bob"):
        assert (await (await call(name)).post("/products/", json=NEW, headers=KEY)).status_code == 201
    assert len(await every(database, Product)) == 2


async def test_what_was_refused_leaves_its_key_free(call: Call, database: Database) -> None:
    alice = await call("alice")
    wrong = NEW | {"images": [{"id": "01a20763-be8a-7b51-b09d-6f2b28df4945"}]}
    assert (await alice.post("/products/", json=wrong, headers=KEY)).status_code == 422
    assert await every(database, IdempotencyKey) == []
    assert (await alice.post("/products/", json=NEW, headers=KEY)).status_code == 201


async def test_a_patch_and_a_delete_are_made_once(
    call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    alice, path = await call("alice"), f"/products/{product.id}"
    for key, method, body in (("1", "PATCH", {"json": {"price": "9"}}), ("2", "DELETE", {})):
        first, second = [
            await alice.request(method, path, headers={"Idempotency-Key": key}, **body) for _ in range(2)
        ]
        assert first.is_success
        assert (second.status_code, second.content) == (first.status_code, first.content)
    assert [entry.action for entry in await history(database, product.id)] == [
        "created",
        "updated",
        "deleted",
    ]


async def test_while_the_first_runs_and_does_not_end_the_second_is_told(
    call: Call, cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 1)
    alice = await call("alice")
    async with database.transaction() as session:
        await idempotency.claim(session, cast.alice, "a-key-of-my-own", b"the first")
        response = await alice.post("/products/", json=NEW, headers=KEY)
    assert (response.status_code, response.json()["title"]) == (409, "Conflict")
    assert await every(database, Product) == []


@pytest.mark.parametrize("key", ["", " ", '""', "ä", "a b", "x" * 256, 'a"b'])
async def test_what_is_no_key_is_refused(key: str, call: Call, database: Database) -> None:
    headers = {"Idempotency-Key": key.encode()}
    response = await (await call("alice")).post("/products/", json=NEW, headers=headers)
    assert response.status_code == 400
    assert await every(database, Product) == []


async def test_keys_are_forgotten_after_a_day(call: Call, database: Database) -> None:
    alice = await call("alice")
    for key in ("old", "new"):
        await alice.post("/products/", json=NEW, headers={"Idempotency-Key": key})
    async with database.transaction() as session:
        old = func.now() - timedelta(hours=idempotency.KEPT_HOURS, minutes=1)
        await session.execute(
            update(IdempotencyKey).where(IdempotencyKey.key == "old").values(created_at=old)
        )
    assert idempotency.prune in CHORES.values()
    async with database.transaction() as session:
        assert await idempotency.prune(session) == 1
    assert [kept.key for kept in await every(database, IdempotencyKey)] == ["new"]


async def test_who_changes_is_asked_before_a_kept_answer_is_given(
    call: Call, cast: Cast, database: Database
) -> None:
    alice = await call("alice")
    await alice.post("/products/", json=NEW, headers=KEY)
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE users SET is_active = false WHERE id = :id"), {"id": cast.alice.id}
        )
    assert (await alice.post("/products/", json=NEW, headers=KEY)).status_code == 401
