"""The outbox on a real database: what is written when, and every way a delivery can go on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import outbox
from admin_app.actor import Actor, Role
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.events import Event, TaskCall
from admin_app.outbox import Delivery, OutboxBus, RecordedEvent
from tests.conftest import count
from tests.crash.effects import NOTE_EFFECT, Happened, effect_database, on_happened, publish


@dataclass(frozen=True)
class Unheard(Event):
    row_ids: tuple[UUID, ...]


def on_happened_ignore(event: Happened) -> None:
    return None


def on_happened_again(event: Happened) -> TaskCall:
    return TaskCall("another_task", {"number": event.number})


HANDLERS = {Happened: (on_happened, on_happened_ignore, on_happened_again)}


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with effect_database(settings) as database:
        yield database


@pytest.fixture
async def delivery_id(database: Database) -> UUID:
    await publish(database, [1])
    async with database.reading() as session:
        return (await session.scalars(select(Delivery.id))).one()


async def load(database: Database, delivery_id: UUID) -> Delivery:
    async with database.reading() as session:
        return await session.get_one(Delivery, delivery_id)


async def begin(
    session: AsyncSession, delivery_id: UUID, *, tries: int = 0, max_tries: int = 3, lease_seconds: float = 60
) -> bool:
    return await outbox.begin_try(
        session, delivery_id, tries=tries, max_tries=max_tries, lease_seconds=lease_seconds
    )


async def test_a_rollback_leaves_neither_event_nor_delivery(database: Database) -> None:
    class ChangedMyMind(Exception):
        pass

    with pytest.raises(ChangedMyMind):
        async with database.transaction() as session:
            OutboxBus(session, Actor.system()).publish(Happened(1))
            await session.flush()
            assert await count(session, "delivery") == 1
            raise ChangedMyMind
    async with database.reading() as session:
        assert await count(session, "event") == 0
        assert await count(session, "delivery") == 0


async def test_an_event_makes_one_delivery_for_each_handler_that_asks_for_a_task(settings: Settings) -> None:
    async with effect_database(settings, HANDLERS) as database:
        await publish(database, [7])
        async with database.reading() as session:
            assert await count(session, "event") == 1
            deliveries = (await session.scalars(select(Delivery).order_by(Delivery.task))).all()
            assert [(delivery.task, delivery.arguments) for delivery in deliveries] == [
                ("another_task", {"number": 7}),
                (NOTE_EFFECT, {"number": 7}),
            ]


async def test_an_event_nobody_reacts_to_is_still_recorded(database: Database) -> None:
    row_ids = (uuid4(), uuid4())
    actor = Actor(uuid4(), Role.ADMINISTRATOR, "alice@demo.example")
    async with database.transaction() as session:
        OutboxBus(session, actor).publish(Unheard(row_ids))
    async with database.reading() as session:
        event = (await session.scalars(select(RecordedEvent))).one()
        assert (event.name, event.payload) == ("Unheard", {"row_ids": [str(row_id) for row_id in row_ids]})
        assert (event.actor_id, event.request_id) == (actor.id, actor.request_id)
        assert await count(session, "delivery") == 0


async def test_a_due_delivery_is_locked_by_one_relay_at_a_time(database: Database) -> None:
    await publish(database, range(5))
    async with database.transaction() as one, database.transaction() as other:
        first = await outbox.lock_due(one, 3)
        second = await outbox.lock_due(other, 100)
    assert (len(first), len(second)) == (3, 2)
    assert not {delivery.id for delivery in first} & {delivery.id for delivery in second}


async def test_the_delivery_that_waits_longest_comes_first(database: Database) -> None:
    await publish(database, range(3))
    async with database.transaction() as session:
        last = (await session.scalars(select(Delivery).order_by(Delivery.id.desc()).limit(1))).one()
        last.next_try_at -= timedelta(hours=1)
    async with database.transaction() as session:
        [due] = await outbox.lock_due(session, 1)
    assert due.id == last.id


async def test_a_leased_delivery_is_not_due_until_its_lease_ends(
    database: Database, delivery_id: UUID
) -> None:
    async with database.transaction() as session:
        await outbox.lease(session, [delivery_id], 3600)
    async with database.transaction() as session:
        assert await outbox.lock_due(session, 10) == []
        await outbox.lease(session, [delivery_id], -1)
        assert len(await outbox.lock_due(session, 10)) == 1


async def test_beginning_counts_a_try_and_leases_the_delivery(database: Database, delivery_id: UUID) -> None:
    async with database.transaction() as session:
        now = await session.scalar(select(func.now()))
        assert await begin(session, delivery_id, lease_seconds=60)
    delivery = await load(database, delivery_id)
    assert delivery.tries == 1
    assert delivery.next_try_at == now + timedelta(seconds=60)
    assert delivery.done_at is None


async def test_a_job_that_arrives_twice_begins_once(database: Database, delivery_id: UUID) -> None:
    async with database.transaction() as session:
        assert await begin(session, delivery_id, tries=0)
    async with database.transaction() as session:
        assert not await begin(session, delivery_id, tries=0)
    assert (await load(database, delivery_id)).tries == 1


async def test_a_delivery_in_another_workers_hands_does_not_begin(
    database: Database, delivery_id: UUID
) -> None:
    async with database.transaction() as one, database.transaction() as other:
        assert await outbox.lock_open(one, delivery_id)
        assert not await begin(other, delivery_id)


async def test_a_done_delivery_does_not_begin_and_is_never_due(database: Database, delivery_id: UUID) -> None:
    async with database.transaction() as session:
        await outbox.mark_done(session, delivery_id)
    async with database.transaction() as session:
        assert not await begin(session, delivery_id)
        assert await outbox.lock_due(session, 10) == []


async def test_a_delivery_nobody_knows_does_not_begin(database: Database) -> None:
    async with database.transaction() as session:
        assert not await begin(session, uuid4())


async def test_a_delivery_whose_every_worker_died_is_parked_with_a_reason(
    database: Database, delivery_id: UUID
) -> None:
    for tries in range(3):
        async with database.transaction() as session:
            assert await begin(session, delivery_id, tries=tries, max_tries=3)
    async with database.transaction() as session:
        assert not await begin(session, delivery_id, tries=3, max_tries=3)
    delivery = await load(database, delivery_id)
    assert delivery.dead_at is not None
    assert delivery.done_at is None
    assert delivery.last_error == "No worker survived this task."
    async with database.transaction() as session:
        await outbox.lease(session, [delivery_id], -1)
        assert await outbox.lock_due(session, 10) == []


async def test_done_is_kept_without_the_error_of_an_earlier_try(
    database: Database, delivery_id: UUID
) -> None:
    async with database.transaction() as session:
        await outbox.mark_failed(session, delivery_id, ValueError("not yet"), max_tries=3)
    async with database.transaction() as session:
        await outbox.mark_done(session, delivery_id)
    delivery = await load(database, delivery_id)
    assert delivery.done_at is not None
    assert delivery.last_error is None


@pytest.mark.parametrize(("tries", "longest_seconds"), [(1, 2), (2, 4), (5, 32), (9, 300), (60, 300)])
async def test_each_failure_waits_longer_up_to_a_limit(
    database: Database, delivery_id: UUID, tries: int, longest_seconds: float
) -> None:
    async with database.transaction() as session:
        await session.execute(update(Delivery).values(tries=tries))
        await outbox.mark_failed(session, delivery_id, ValueError("not yet"), max_tries=100)
        pause = await session.scalar(select(Delivery.next_try_at - func.now()))
    assert longest_seconds / 2 <= pause.total_seconds() <= longest_seconds
    delivery = await load(database, delivery_id)
    assert delivery.last_error == "ValueError: not yet"
    assert delivery.dead_at is None


async def test_pauses_are_jittered(database: Database, delivery_id: UUID) -> None:
    pauses = set()
    async with database.transaction() as session:
        for _ in range(5):
            await outbox.mark_failed(session, delivery_id, ValueError("not yet"), max_tries=100)
            pauses.add(await session.scalar(select(Delivery.next_try_at - func.now())))
    assert len(pauses) > 1


async def test_the_last_failure_parks_the_delivery_with_its_error(
    database: Database, delivery_id: UUID
) -> None:
    async with database.transaction() as session:
        assert await begin(session, delivery_id, max_tries=1)
    async with database.transaction() as session:
        await outbox.mark_failed(session, delivery_id, ValueError("never"), max_tries=1)
    delivery = await load(database, delivery_id)
    assert delivery.dead_at is not None
    assert delivery.last_error == "ValueError: never"


async def test_a_failure_after_the_end_changes_nothing(database: Database, delivery_id: UUID) -> None:
    async with database.transaction() as session:
        await outbox.mark_done(session, delivery_id)
    async with database.transaction() as session:
        await outbox.mark_failed(session, delivery_id, ValueError("late"), max_tries=1)
    delivery = await load(database, delivery_id)
    assert delivery.dead_at is None
    assert delivery.last_error is None


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("INSERT INTO event (id, name) VALUES (:id, :name)", {"id": uuid4(), "name": "my secret"}),
        ("INSERT INTO test_effect SELECT CAST(:number AS int)", {"number": "my secret"}),
        ("INSERT INTO test_effect SELECT CAST(CAST(:number AS text) AS int)", {"number": "my secret"}),
        ("SELECT my_secret(:price)", {"price": Decimal("12.50")}),
        ("SELECT nothing FROM nowhere WHERE password = 'my secret'", {}),
    ],
)
async def test_the_kept_error_of_a_failed_statement_shows_neither_sql_nor_values(
    database: Database, delivery_id: UUID, statement: str, parameters: dict[str, object]
) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with database.transaction() as session:
            await session.execute(text(statement), parameters)
    async with database.transaction() as session:
        await outbox.mark_failed(session, delivery_id, caught.value, max_tries=3)
    shown = (await load(database, delivery_id)).last_error
    assert shown
    for leak in ("INSERT", "SELECT", "VALUES", "my secret", "12.50", "$1", "[SQL"):
        assert leak not in shown


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError(), "ValueError: no message"),
        (KeyError("name"), "KeyError: 'name'"),
        (RuntimeError("first\nsecond"), "RuntimeError: first"),
        (RuntimeError("a\0b"), "RuntimeError: a\N{REPLACEMENT CHARACTER}b"),
        (RuntimeError("a\ud800b"), "RuntimeError: a\ufffdb"),
    ],
)
async def test_any_error_is_kept_as_one_storable_line(
    database: Database, delivery_id: UUID, error: Exception, shown: str
) -> None:
    async with database.transaction() as session:
        await outbox.mark_failed(session, delivery_id, error, max_tries=3)
    assert (await load(database, delivery_id)).last_error == shown


async def test_a_long_error_is_cut(database: Database, delivery_id: UUID) -> None:
    async with database.transaction() as session:
        await outbox.mark_failed(session, delivery_id, RuntimeError("x" * 10_000), max_tries=3)
    assert len((await load(database, delivery_id)).last_error or "") == 500
