"""Forms sent twice: one row, whatever the timing."""

import asyncio
from uuid import UUID, uuid4

import pytest

from admin_app import submissions
from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.domains.products.schemas import ProductCreate
from admin_app.domains.products.service import ProductService
from admin_app.submissions import AlreadySubmitted
from tests.conftest import Cast, count
from tests.crash.waiting import waits_or_ends


async def submit(database: Database, actor: Actor, key: UUID, hold: asyncio.Event | None = None) -> UUID:
    """What a form for a new product does; with `hold`, it waits for that before it commits."""
    async with database.transaction() as session:
        product = await ProductService(session, actor).create(ProductCreate(name="Once", price="0.99"))
        await submissions.claim(session, actor, key, product.id)
        if hold:
            await hold.wait()
    return product.id


async def made(database: Database, actor: Actor, key: UUID) -> UUID | None:
    async with database.reading() as session:
        return await submissions.find(session, actor, key)


async def products(database: Database) -> int:
    async with database.reading() as session:
        return await count(session, "products")


async def test_the_second_submission_makes_nothing_and_finds_the_row_of_the_first(
    cast: Cast, database: Database
) -> None:
    key = uuid4()
    product_id = await submit(database, cast.alice, key)
    with pytest.raises(AlreadySubmitted):
        await submit(database, cast.alice, key)
    assert await products(database) == 1
    assert await made(database, cast.alice, key) == product_id


async def test_of_two_submissions_at_once_the_second_waits_and_makes_nothing(
    cast: Cast, database: Database
) -> None:
    key, hold = uuid4(), asyncio.Event()
    first = asyncio.create_task(submit(database, cast.alice, key, hold))
    second = asyncio.create_task(submit(database, cast.alice, key, hold))
    await waits_or_ends(second, database)
    hold.set()
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(AlreadySubmitted) == 1
    assert await products(database) == 1
    assert await made(database, cast.alice, key) in outcomes


async def test_after_a_first_submission_that_was_rolled_back_the_second_counts(
    cast: Cast, database: Database
) -> None:
    class Refused(Exception):
        pass

    key = uuid4()
    with pytest.raises(Refused):
        async with database.transaction() as session:
            await submissions.claim(session, cast.alice, key, uuid4())
            raise Refused
    assert await made(database, cast.alice, key) is None
    assert await made(database, cast.alice, key) is None
    product_id = await submit(database, cast.alice, key)
    assert await made(database, cast.alice, key) == product_id


async def test_many_submissions_at_once_make_one_row(cast: Cast, database: Database) -> None:
    key = uuid4()
    outcomes = await asyncio.gather(
        *(submit(database, cast.alice, key) for _ in range(8)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes].count(AlreadySubmitted) == 7
    assert await products(database) == 1


async def test_a_key_belongs_to_whoever_used_it(cast: Cast, database: Database) -> None:
    """Somebody else's key neither blocks one's own form nor shows their row."""
    key = uuid4()
    of_alice = await submit(database, cast.alice, key)
    assert await made(database, cast.bob, key) is None
    of_bob = await submit(database, cast.bob, key)
    assert await made(database, cast.alice, key) == of_alice
    assert await made(database, cast.bob, key) == of_bob != of_alice
