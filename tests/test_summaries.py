"""Numbers kept: right when counted, counted seldom enough, by one at a time, whatever fails beside them."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import summaries
from admin_app.database import Database
from admin_app.domains import SUMMARIES
from admin_app.domains.products import summaries as product_summaries
from admin_app.domains.products.models import Product
from admin_app.domains.products.service import ProductService
from admin_app.domains.products.summaries import DAYS, PRICE_BOUNDS
from admin_app.summaries import LOCK, PAUSE_SECONDS, Summaries, Summary, pause_after, read
from tests.conftest import Cast, MakeProduct
from tests.crash.waiting import eventually


async def data_of(database: Database) -> dict[str, Any]:
    async with database.reading() as session:
        return {name: found.data for name, found in (await read(session)).items()}


async def count_all(database: Database) -> dict[str, Any]:
    counting = Summaries(database, SUMMARIES)
    assert all([await counting.count(name) for name in SUMMARIES])
    return await data_of(database)


async def age(database: Database, seconds: float, took_seconds: float = 0.1) -> None:
    """What was counted, was so long ago."""
    async with database.transaction() as session:
        then = func.now() - timedelta(seconds=seconds)
        await session.execute(update(Summary).values(as_of=then, took_seconds=took_seconds))


async def two(session: AsyncSession) -> dict[str, Any]:
    return {"number": (await session.scalar(select(1))) + 1}


async def failing(session: AsyncSession) -> dict[str, Any]:
    await session.execute(text("SELECT secret FROM nowhere"))
    return {}


async def test_products_are_counted_as_they_are_without_the_bin(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    prices = ("0.99", "1", "1.99", "5", "9.99", "100000", "99999999.99")
    products = [await make_product(cast.alice, price=Decimal(price)) for price in prices]
    await make_product(cast.bob, price=Decimal(7), is_active=False)
    gone = await make_product(cast.bob, price=Decimal(3))
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days_ago = [timedelta(0), timedelta(days=1), timedelta(days=1, microseconds=-1), timedelta(days=DAYS - 1)]
    async with database.transaction() as session:
        await ProductService(session, cast.bob).delete(gone.id)
        for product, ago in zip(products, [*days_ago, timedelta(days=DAYS)], strict=False):
            then = update(Product).where(Product.id == product.id).values(created_at=midnight - ago)
            await session.execute(then)
        today = await session.scalar(
            select(func.count()).where(Product.created_at >= midnight, Product.deleted_at.is_(None))
        )
    found = await count_all(database)
    assert found["products_by_state"] == {"active": 7, "inactive": 1}
    assert found["products_by_owner"]["owners"] == [
        {"email": "alice@demo.example", "name": "Alice", "number": 7},
        {"email": "bob@demo.example", "name": "Bob", "number": 1},
    ]
    by_price = dict(zip([0, *PRICE_BOUNDS], found["products_by_price"]["numbers"], strict=True))
    assert {bound: number for bound, number in by_price.items() if number} == {0: 1, 1: 2, 5: 3, 100_000: 2}
    by_day = found["products_by_day"]
    assert by_day["first"] == (midnight - timedelta(days=DAYS - 1)).date().isoformat()
    assert [by_day["numbers"][at] for at in (0, DAYS - 2, DAYS - 1)] == [1, 2, today]
    assert sum(by_day["numbers"]) == 3 + today  # the one created before is not of these days


async def test_without_products_every_number_is_zero(database: Database) -> None:
    found = await count_all(database)
    assert found["products_by_state"] == {"active": 0, "inactive": 0}
    assert found["products_by_owner"] == {"owners": []}
    assert set(found["products_by_day"]["numbers"] + found["products_by_price"]["numbers"]) == {0}


async def test_only_those_who_own_most_are_named(
    database: Database, cast: Cast, make_product: MakeProduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product_summaries, "OWNERS", 2)
    for owner, number in ((cast.bob, 3), (cast.root, 1), (cast.alice, 2)):
        for _ in range(number):
            await make_product(owner)
    owners = (await count_all(database))["products_by_owner"]["owners"]
    assert [(owner["name"], owner["number"]) for owner in owners] == [("Bob", 3), ("Alice", 2)]


def test_the_pause_keeps_to_its_share_of_the_time() -> None:
    assert pause_after(0) == pause_after(PAUSE_SECONDS / 20) == PAUSE_SECONDS
    assert pause_after(30) == 600


async def test_nothing_is_counted_again_before_its_time(database: Database) -> None:
    counting = Summaries(database, {"two": two})
    assert await counting.count("two")
    assert not await counting.count("two")
    assert await data_of(database) == {"two": {"number": 2}}
    await age(database, PAUSE_SECONDS - 5)
    assert not await counting.count("two")
    await age(database, PAUSE_SECONDS)
    assert await counting.count("two")
    # All of them together took so long that 5 % of the time is used up for a while.
    await age(database, 300, took_seconds=30)
    assert not await counting.count("two")
    await age(database, 600, took_seconds=30)
    assert await counting.count("two")


async def test_what_nobody_counts_any_more_is_told_to_be_old(database: Database) -> None:
    await Summaries(database, {"two": two}).count("two")
    found = []
    for seconds in (0, 2 * PAUSE_SECONDS, 4 * PAUSE_SECONDS):
        await age(database, seconds)
        async with database.reading() as session:
            found.append((await read(session))["two"].is_old)
    assert found == [False, False, True]


async def test_two_workers_count_once(database: Database) -> None:
    is_counting, is_enough = asyncio.Event(), asyncio.Event()

    async def slow(session: AsyncSession) -> dict[str, Any]:
        is_counting.set()
        await is_enough.wait()
        return await two(session)

    first = asyncio.create_task(Summaries(database, {"slow": slow}).count("slow"))
    await is_counting.wait()
    assert not await Summaries(database, {"slow": slow}).count("slow")
    assert not await Summaries(database, {"two": two}).count("two")
    is_enough.set()
    assert await first
    assert not await Summaries(database, {"slow": slow}).count("slow")
    assert await data_of(database) == {"slow": {"number": 2}}


async def test_one_that_fails_does_not_stop_the_others_nor_itself_next_time(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(summaries, "PAUSE_SECONDS", 0.01)
    rounds = 0

    async def counts_rounds(session: AsyncSession) -> dict[str, Any]:
        nonlocal rounds
        rounds += 1
        return {"rounds": rounds}

    stop = asyncio.Event()
    counts = {"failing": failing, "rounds": counts_rounds, "two": two}
    running = asyncio.create_task(Summaries(database, counts).run(stop))

    async def are_counted() -> bool:
        return rounds > 2 and "two" in await data_of(database)

    await eventually(are_counted)
    stop.set()
    await running
    assert set(await data_of(database)) == {"rounds", "two"}
    assert "summary failing waits: " in caplog.text
    assert "secret" not in caplog.text


async def test_a_statement_that_takes_too_long_is_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(summaries, "STATEMENT_SECONDS", 0.05)

    async def endless(session: AsyncSession) -> dict[str, Any]:
        await session.execute(text("SELECT pg_sleep(60)"))
        return {}

    stop = asyncio.Event()
    running = asyncio.create_task(Summaries(database, {"endless": endless, "two": two}).run(stop))

    async def is_counted() -> bool:
        return "two" in await data_of(database)

    await eventually(is_counted)
    stop.set()
    await running
    assert "summary endless waits: TooSlow" in caplog.text


async def test_stopping_ends_a_count_under_way_and_lets_others_count(database: Database) -> None:
    is_counting, stop = asyncio.Event(), asyncio.Event()

    async def endless(session: AsyncSession) -> dict[str, Any]:
        is_counting.set()
        await session.execute(text("SELECT pg_sleep(60)"))
        return {}

    running = asyncio.create_task(Summaries(database, {"endless": endless}).run(stop))
    await is_counting.wait()
    stop.set()
    async with asyncio.timeout(10):
        await running

    async def is_free() -> bool:
        async with database.transaction() as session:
            return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(LOCK))))

    await eventually(is_free)
    assert await data_of(database) == {}
