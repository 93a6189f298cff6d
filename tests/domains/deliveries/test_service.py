"""Deliveries: told apart, retried, parked, purged by who may, and forgotten when they are old."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from admin_app import outbox
from admin_app.actor import Actor
from admin_app.audit import AuditEntry
from admin_app.database import Database
from admin_app.domains import TASKS
from admin_app.domains.deliveries import names, service
from admin_app.domains.deliveries.repository import LISTING, DeliveryRepository
from admin_app.domains.deliveries.service import Change, DeliveryService, State
from admin_app.errors import Conflict, Forbidden, InvalidInput, NotFound
from admin_app.listing import ListQuery
from admin_app.outbox import KEPT_DAYS, Delivery, RecordedEvent
from tests.admin.rows import every, load
from tests.conftest import Cast
from tests.deliveries import event_of, put

NOW = datetime.now(UTC)
ERROR = "ConnectError: the mail server is away"
IN_STATE: dict[State, dict[str, Any]] = {
    State.WAITING: {},
    State.TRYING: {"tries": 1},
    State.FAILING: {"tries": 2, "last_error": ERROR, "next_try_at": NOW + timedelta(hours=1)},
    State.PARKED: {"tries": 10, "last_error": ERROR, "dead_at": NOW},
    State.DONE: {"tries": 1, "done_at": NOW},
}


def query(**filters: str) -> ListQuery:
    return LISTING.parse([*filters.items()])


async def put_all(database: Database) -> dict[State, UUID]:
    return {state: (await put(database, **values)).id for state, values in IN_STATE.items()}


async def change(database: Database, actor: Actor, what: Change, delivery_id: UUID) -> bool:
    async with database.transaction() as session:
        return await DeliveryService(session, actor).change(what, delivery_id)


async def change_all(
    database: Database, actor: Actor, what: Change, *, shown: int = 999, **filters: str
) -> int:
    async with database.transaction() as session:
        return await DeliveryService(session, actor).change_all(
            what, query(**filters), "All deliveries", shown=shown
        )


async def states(database: Database) -> dict[UUID, State]:
    async with database.reading() as session:
        page = await DeliveryService(session, Actor.system()).page(query())
    return {row.id: State(row.state) for row in page.rows}


async def entries(database: Database) -> list[tuple[str, UUID | None, str | None]]:
    found = await every(database, AuditEntry, kind="delivery")
    return [(entry.action, entry.row_id, entry.note) for entry in found]


def test_every_task_has_a_name_and_what_is_lost_without_it() -> None:
    assert set(names.TASKS) == set(names.LOST) == set(TASKS)
    assert names.event_name("ProductIndexRequested") == "Product index requested"
    assert names.task_name("of_before") == "of_before"


async def test_each_state_is_told_found_and_counted(database: Database, cast: Cast) -> None:
    put_in = await put_all(database)
    assert await states(database) == {delivery_id: state for state, delivery_id in put_in.items()}
    async with database.reading() as session:
        service = DeliveryService(session, cast.sam)
        for state, delivery_id in put_in.items():
            assert [row.id for row in (await service.page(query(state=state.value))).rows] == [delivery_id]
        searched = await service.page(query(search="MAIL server"))
        assert {row.id for row in searched.rows} == {put_in[State.FAILING], put_in[State.PARKED]}
        by_id = await service.page(query(search=str(put_in[State.DONE])))
        assert [row.id for row in by_id.rows] == [put_in[State.DONE]]
        assert (await service.page(query(task="check_import"))).rows == []
        overview = await service.overview()
        assert overview.numbers == {"send_notice": dict.fromkeys(State, 1)}
        oldest = await session.scalar(select(func.min(Delivery.created_at)))
    assert overview.oldest == oldest


async def test_more_than_is_counted_is_said_to_be_more(
    database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "COUNTED", 2)
    monkeypatch.setattr("admin_app.domains.deliveries.repository.COUNTED", 2)
    await put_all(database)
    async with database.reading() as session:
        overview = await DeliveryService(session, cast.root).overview()
    assert overview.total(State.WAITING, State.TRYING, State.FAILING) == 2
    assert overview.is_more(State.WAITING)
    assert not overview.is_more(State.PARKED)


async def test_of_each_change_only_a_first_one_does_anything(database: Database, cast: Cast) -> None:
    put_in = await put_all(database)
    for what, useful in (
        (Change.RETRY, [State.FAILING, State.PARKED]),
        (Change.PARK, [State.WAITING, State.TRYING]),
    ):
        for state, delivery_id in put_in.items():
            if what is Change.RETRY or state in useful:
                assert await change(database, cast.root, what, delivery_id) == (state in useful), (
                    what,
                    state,
                )
                assert not await change(database, cast.root, what, delivery_id)
    retried = await load(database, Delivery, put_in[State.PARKED])
    assert retried is not None
    assert (retried.tries, retried.dead_at, retried.last_error) == (0, None, None)
    assert retried.next_try_at <= datetime.now(UTC)
    parked = await load(database, Delivery, put_in[State.TRYING])
    assert parked is not None
    assert (parked.dead_at is not None, parked.last_error) == (True, "Parked by root@demo.example.")
    await change(database, cast.root, Change.PURGE, put_in[State.TRYING])
    assert not await change(database, cast.root, Change.PURGE, put_in[State.DONE])
    with pytest.raises(NotFound):
        await change(database, cast.root, Change.PURGE, put_in[State.TRYING])
    assert await entries(database) == [
        ("retried", put_in[State.FAILING], None),
        ("retried", put_in[State.PARKED], None),
        ("parked", put_in[State.WAITING], None),
        ("parked", put_in[State.TRYING], None),
        ("purged", put_in[State.TRYING], None),
    ]
    assert len(await every(database, RecordedEvent, name="CredentialChanged")) == len(State)


async def test_what_failed_before_it_was_parked_is_kept(database: Database, cast: Cast) -> None:
    delivery = await put(database, **IN_STATE[State.FAILING])
    await change(database, cast.root, Change.PARK, delivery.id)
    found = await load(database, Delivery, delivery.id)
    assert found is not None
    assert found.last_error == f"Parked by root@demo.example. Before: {ERROR}"


async def test_all_that_a_list_finds_are_changed_with_one_entry(database: Database, cast: Cast) -> None:
    put_in = await put_all(database)
    other = await put(database, task="write_export", **IN_STATE[State.PARKED])
    assert await change_all(database, cast.root, Change.RETRY, task="write_export") == 1
    assert await change_all(database, cast.root, Change.RETRY, task="write_export") == 0
    assert await change_all(database, cast.root, Change.PARK) == 4
    assert await change_all(database, cast.root, Change.PURGE, task="send_notice") == 4
    assert set(await states(database)) == {put_in[State.DONE], other.id}
    assert await entries(database) == [
        ("retried", None, "1 delivery: All deliveries"),
        ("parked", None, "4 deliveries: All deliveries"),
        ("purged", None, "4 deliveries: All deliveries"),
    ]


async def test_at_most_a_portion_is_changed_at_once_the_oldest_first(
    database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "AT_ONCE", 2)
    made = [(await put(database)).id for _ in range(3)]
    async with database.reading() as session:
        found = await DeliveryService(session, cast.root).changeable(Change.PARK, query())
    assert found == {"send_notice": 2}
    assert await change_all(database, cast.root, Change.PARK) == 2
    assert [
        delivery_id for delivery_id, state in (await states(database)).items() if state is State.WAITING
    ] == [made[2]]


async def test_to_purge_many_the_number_is_typed_and_must_still_be_right(
    database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TYPED_ABOVE", 1)
    for _ in range(2):
        await put(database, **IN_STATE[State.PARKED])

    async def purge(shown: int, typed: str) -> int:
        async with database.transaction() as session:
            return await DeliveryService(session, cast.root).change_all(
                Change.PURGE, query(), "", shown=shown, typed=typed
            )

    for shown, typed, error in ((1, "1", "There are 2 by now"), (2, "", "Type 2"), (2, "3", "Type 2")):
        with pytest.raises(InvalidInput, match=error):
            await purge(shown, typed)
    assert len(await states(database)) == 2
    assert await purge(2, " 2 ") == 2
    assert await purge(2, "2") == 0


async def test_what_is_parked_while_it_is_purged_stays(
    database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(database, **IN_STATE[State.PARKED])
    late: list[UUID] = []
    counting = DeliveryRepository.changeable

    async def count_late(*arguments: Any) -> Any:
        found = await counting(*arguments)
        late.append((await put(database, **IN_STATE[State.PARKED])).id)
        return found

    monkeypatch.setattr(DeliveryRepository, "changeable", count_late)
    assert await change_all(database, cast.root, Change.PURGE) == 1
    assert list(await states(database)) == late


async def test_what_a_worker_has_is_left_alone_and_that_is_said(database: Database, cast: Cast) -> None:
    held = await put(database, **IN_STATE[State.FAILING])
    free = await put(database, **IN_STATE[State.FAILING])
    async with database.transaction() as worker:
        assert await outbox.lock_open(worker, held.id) is not None
        for what in (Change.RETRY, Change.PARK):
            with pytest.raises(Conflict, match="A worker is at it"):
                await change(database, cast.root, what, held.id)
        assert await change_all(database, cast.root, Change.PARK) == 1
        await outbox.mark_done(worker, held.id)
    assert await states(database) == {held.id: State.DONE, free.id: State.PARKED}


async def test_a_job_handed_over_before_it_was_parked_or_retried_does_no_harm(
    database: Database, cast: Cast
) -> None:
    delivery = await put(database, **IN_STATE[State.FAILING])

    async def begin(tries: int) -> bool:
        async with database.transaction() as session:
            return await outbox.begin_try(session, delivery.id, tries=tries, max_tries=3, lease_seconds=60)

    await change(database, cast.root, Change.PARK, delivery.id)
    assert not await begin(2)
    await change(database, cast.root, Change.RETRY, delivery.id)
    assert not await begin(2)
    assert await begin(0)


async def test_support_looks_only_and_administrators_not_even_that(database: Database, cast: Cast) -> None:
    delivery = await put(database, **IN_STATE[State.PARKED])
    for actor in (cast.sam, cast.alice):
        for what in Change:
            with pytest.raises(Forbidden):
                await change(database, actor, what, delivery.id)
            with pytest.raises(Forbidden):
                await change_all(database, actor, what)
    async with database.reading() as session:
        assert (await DeliveryService(session, cast.sam).get_by_id(delivery.id)).id == delivery.id
        service = DeliveryService(session, cast.alice)
        for look in (
            service.get_by_id(delivery.id),
            service.page(query()),
            service.count(query()),
            service.facets(query()),
            service.overview(),
            service.tasks_of([delivery.id]),
            service.prune(),
            service.changeable(Change.RETRY, query()),
        ):
            with pytest.raises(Forbidden):
                await look
        with pytest.raises(NotFound):
            await DeliveryService(session, cast.root).get_by_id(uuid4())
    assert await entries(database) == []


async def test_old_ones_go_in_portions_with_events_nobody_refers_to_and_parked_ones_stay(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PRUNED_AT_ONCE", 2)
    days = database.info[KEPT_DAYS]
    old, young = (datetime.now(UTC) - timedelta(days=days + extra) for extra in (0.1, -0.1))
    for _ in range(3):
        await put(database, event_at=old, tries=1, done_at=old)
    kept = [
        await put(database, event_at=old, tries=1, done_at=young),
        await put(database, event_at=old, **{**IN_STATE[State.PARKED], "dead_at": old}),
        await put(database, event_at=old),
    ]
    async with database.transaction() as session:
        session.add_all([event_of("UserCreated", old), event_of("UserDeleted", young)])
    portions = []
    while True:
        async with database.transaction() as session:
            portions.append(await DeliveryService(session, Actor.system()).prune())
        if not portions[-1]:
            break
    assert portions == [4, 3, 0]
    assert set(await states(database)) == {delivery.id for delivery in kept}
    events = [event.id for event in await every(database, RecordedEvent, name="CredentialChanged")]
    assert sorted(events) == sorted(delivery.event_id for delivery in kept)
    assert len(await every(database, RecordedEvent, name="UserCreated")) == 0
    assert len(await every(database, RecordedEvent, name="UserDeleted")) == 1
