"""What the engine promises of an operation that was confirmed, whatever happens meanwhile."""

import asyncio
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import Integer, delete, literal, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Role
from admin_app.audit import AuditEntry
from admin_app.bulk import items, runner
from admin_app.bulk.actions import ACTIONS
from admin_app.bulk.changes import Change
from admin_app.bulk.items import NO_LONGER
from admin_app.bulk.models import ACTIVE, BulkOperation, Outcome, State
from admin_app.bulk.runner import REFUSED, UNEXPECTED, BulkRunner
from admin_app.bulk.service import OperationService
from admin_app.database import Database
from admin_app.domains import find_role
from admin_app.domains.products import bulk as product_bulk
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.schemas import UserCreate, UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import Conflict
from admin_app.outbox import Delivery, RecordedEvent
from tests.admin.rows import every, load, traces
from tests.bulk.operations import Operations, make_products, refusing
from tests.conftest import Cast, MakeProduct
from tests.crash.waiting import eventually, waits_or_ends

DONE, OPEN = (Outcome.DONE, None), (Outcome.OPEN, None)
CHANGED = (Outcome.FAILED, "changed meanwhile")
GONE = (Outcome.SKIPPED, "gone")
BROKEN_ROW = (Outcome.FAILED, REFUSED)
ANVILS = "search=anvil"


async def change(database: Database, actor: Actor, product_id: UUID, **values: object) -> None:
    """As by a form."""
    async with database.transaction() as session:
        await ProductService(session, actor).update(product_id, ProductUpdate(**values))


async def names(database: Database, *, active: bool) -> set[str]:
    return {product.name for product in await every(database, Product, is_active=active)}


async def price(database: Database, product_id: UUID) -> Decimal:
    product = await load(database, Product, product_id)
    assert product is not None
    return product.price


@pytest.fixture
async def eve(database: Database) -> Actor:
    """Another superuser, who owns nothing."""
    async with database.transaction() as session:
        data = UserCreate(email="eve@demo.example", name="Eve", role=Role.SUPERUSER)
        user = await UserService(session, Actor.system()).create(data)
    return Actor(user.id, Role.SUPERUSER, user.email)


class TestSelection:
    async def test_what_starts_to_match_later_is_not_touched(
        self, database: Database, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        anvils = await make_products(database, cast.alice, 4)
        other = await make_product(cast.alice, name="Hammer")
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        await make_product(cast.alice, name="Anvil made before it begins")
        await operations.run(1)
        await change(database, cast.alice, other.id, name="Anvil by now")
        await make_product(cast.alice, name="Anvil made later")
        await operations.run()
        assert await operations.outcomes(one) == dict.fromkeys(anvils, DONE)
        assert (await operations.truth(one)).state is State.FINISHED
        assert await names(database, active=True) == {
            "Anvil by now",
            "Anvil made before it begins",
            "Anvil made later",
        }

    @pytest.mark.parametrize(
        "steps", [0, 1, 2], ids=["before it begins", "before its chunk", "in a later chunk"]
    )
    @pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "by query"])
    async def test_a_row_changed_meanwhile_is_told_and_changed_only_when_tried_again(
        self, steps: int, by_hand: bool, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 5)
        rows = ids if by_hand else ANVILS
        # Nobody knows any more whether the search would have found it before.
        is_final = not by_hand and steps == 0
        one = await operations.start(cast.alice, "set_price", rows, {"price": "20"})
        await operations.run(steps)
        await change(database, cast.alice, ids[-1], price=Decimal("13.37"))
        await operations.run()
        told = (Outcome.SKIPPED, CHANGED[1]) if is_final else CHANGED
        assert await operations.outcomes(one) == dict.fromkeys(ids[:-1], DONE) | {ids[-1]: told}
        operation = await operations.truth(one)
        assert (operation.state, operation.done, operation.left) == (State.FINISHED, 4, 0)
        assert await price(database, ids[-1]) == Decimal("13.37")
        if is_final:
            with pytest.raises(Conflict):
                await operations.retry(cast.alice, one)
            return

        await operations.retry(cast.alice, one)
        await operations.run()
        assert await operations.outcomes(one) == dict.fromkeys(ids, DONE)
        operation = await operations.truth(one)
        assert (operation.state, operation.done, operation.failed, operation.reasons) == (
            State.FINISHED,
            5,
            0,
            {},
        )
        [entry] = await every(database, AuditEntry, row_id=ids[-1], operation_id=one)
        assert entry.changes == {"price": ["13.37", "20.00"]}

    async def test_a_row_that_was_renamed_out_of_the_search_is_not_touched(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 3)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        await change(database, cast.alice, ids[0], name="Hammer")
        await operations.run()
        assert await operations.outcomes(one) == dict.fromkeys(ids[1:], DONE)
        operation = await operations.truth(one)
        assert (operation.total, operation.done) == (3, 2)
        assert await names(database, active=True) == {"Hammer"}

    @pytest.mark.parametrize(
        ("steps", "binned"), [(0, CHANGED), (1, GONE)], ids=["before it begins", "before its chunk"]
    )
    async def test_rows_that_are_gone_are_told(
        self,
        steps: int,
        binned: tuple[Outcome, str],
        database: Database,
        cast: Cast,
        operations: Operations,
    ) -> None:
        ids = await make_products(database, cast.alice, 3)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(steps)
        async with database.transaction() as session:
            await ProductService(session, cast.alice).delete(ids[0])
            await session.execute(delete(Product).where(Product.id == ids[1]))
        await operations.run()
        assert await operations.outcomes(one) == {ids[0]: binned, ids[1]: GONE, ids[2]: DONE}
        await operations.truth(one)
        if binned == CHANGED:
            await operations.retry(cast.alice, one)
            await operations.run()
            assert await operations.outcomes(one) == {ids[0]: GONE, ids[1]: GONE, ids[2]: DONE}
            await operations.truth(one)

    async def test_a_failed_row_that_is_gone_by_the_next_try_is_not_tried_for_ever(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(1)
        await change(database, cast.alice, ids[0], is_active=False)
        await operations.run()
        async with database.transaction() as session:
            await session.execute(delete(Product).where(Product.id == ids[0]))
        await operations.retry(cast.alice, one)
        await operations.run()
        assert await operations.outcomes(one) == {ids[0]: GONE, ids[1]: DONE}
        assert (await operations.truth(one)).failed == 0

    async def test_a_selection_of_which_nothing_is_left_ends(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        async with database.transaction() as session:
            await session.execute(update(Product).values(name="Hammer"))
        await operations.run()
        operation = await operations.truth(one)
        assert (operation.state, operation.total, operation.skipped) == (State.FINISHED, 2, 2)
        assert len(ids) == len(await every(database, Product, is_active=True))


class TestChunk:
    async def test_each_changed_row_has_one_entry_with_old_and_new_values_and_no_other_row_has(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        alice = replace(cast.alice, address="192.0.2.7")
        mine = await make_products(database, cast.alice, 4)
        already = await make_products(database, cast.alice, 1, price=Decimal(20))
        foreign = await make_products(database, cast.bob, 1)
        before = {product.id: product for product in await every(database, Product)}
        one = await operations.start(alice, "set_price", [*mine, *already, *foreign], {"price": "20"})
        await operations.run()
        operation = await operations.truth(one)
        assert (operation.done, operation.skipped, operation.failed) == (4, 2, 0)
        assert operation.reasons == {"skipped": {"already at this price": 1, "not yours": 1}}
        entries = await every(database, AuditEntry, operation_id=one)
        assert Counter(entry.row_id for entry in entries) == Counter(mine)
        for entry in entries:
            assert entry.changes == {"price": ["10.00", "20.00"]}
            assert (entry.action, entry.source, entry.kind) == ("updated", "bulk", "product")
            assert (entry.actor_id, entry.actor_label) == (alice.id, alice.label)
            assert (entry.address, entry.request_id) == ("192.0.2.7", operation.request_id)
        for product in await every(database, Product):
            old = before[product.id]
            is_changed = product.id in mine
            assert product.version == old.version + is_changed
            assert (product.updated_at > old.updated_at) == is_changed
            assert product.price == (20 if product.id in {*mine, *already} else old.price)

    async def test_events_speak_of_at_most_500_rows_and_have_one_delivery_each(
        self, database: Database, cast: Cast
    ) -> None:
        operations = Operations(database, chunk=1000)
        ids = await make_products(database, cast.alice, 1100)
        await operations.start(cast.alice, "deactivate", "")
        await operations.run()
        events = await every(database, RecordedEvent, name="ProductUpdated")
        assert [len(event.payload["product_ids"]) for event in events] == [500, 500, 100]
        assert {tuple(event.payload["fields"]) for event in events} == {("is_active",)}
        assert Counter(row_id for event in events for row_id in event.payload["product_ids"]) == Counter(
            map(str, ids)
        )
        deliveries = await every(database, Delivery)
        assert Counter(delivery.event_id for delivery in deliveries) == Counter(event.id for event in events)
        for delivery in deliveries:
            [event] = [event for event in events if event.id == delivery.event_id]
            assert delivery.arguments["product_ids"] == event.payload["product_ids"]

    async def test_a_chunk_that_fails_after_the_change_leaves_nothing(
        self,
        database: Database,
        cast: Cast,
        operations: Operations,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def fail(session: AsyncSession, operation: BulkOperation, outcomes: object) -> None:
            await conclude(session, operation, outcomes)
            raised.append(await session.scalar(select(Product.id).where(~Product.is_active).limit(1)))
            raise RuntimeError("SELECT secret")

        raised: list[UUID | None] = []
        conclude = items.conclude
        ids = await make_products(database, cast.alice, 4)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(1)
        before = await traces(database)
        with monkeypatch.context() as patch:
            patch.setattr(items, "conclude", fail)
            await operations.run(1)
        assert raised[0] is not None  # it had been changed
        assert await traces(database) == before
        assert await names(database, active=False) == set()
        assert await operations.outcomes(one) == dict.fromkeys(ids, OPEN)
        assert (await operations.truth(one)).left == 4
        await operations.run()
        assert await operations.outcomes(one) == dict.fromkeys(ids, DONE)
        assert (await operations.truth(one)).state is State.FINISHED

    @pytest.mark.parametrize(
        ("values", "outcome"),
        [
            ({"price": Decimal("13.37")}, CHANGED),
            ({"owner_id": None}, (Outcome.SKIPPED, "not yours")),
        ],
        ids=["changed", "given away"],
    )
    async def test_a_chunk_that_waited_for_another_change_judges_the_row_as_that_left_it(
        self,
        values: dict[str, object],
        outcome: tuple[Outcome, str],
        database: Database,
        cast: Cast,
        operations: Operations,
    ) -> None:
        ids = await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "set_price", ids, {"price": "20"})
        await operations.run(1)
        async with database.transaction() as session:
            values = {name: value or cast.bob.id for name, value in values.items()}
            await ProductService(session, cast.root).update(ids[0], ProductUpdate(**values))
            step = asyncio.create_task(operations.runner.step())
            await waits_or_ends(step, database)
            assert not step.done()
        await step
        assert await operations.outcomes(one) == {ids[0]: outcome, ids[1]: DONE}
        await operations.truth(one)
        assert await price(database, ids[0]) == values.get("price", 10)


class TestActor:
    async def test_a_product_given_away_meanwhile_is_skipped(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 5)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(2)
        await change(database, cast.root, ids[4], owner_id=cast.bob.id)
        await operations.run()
        not_yours = (Outcome.SKIPPED, "not yours")
        assert await operations.outcomes(one) == dict.fromkeys(ids[:4], DONE) | {ids[4]: not_yours}
        await operations.truth(one)
        assert len(await every(database, Product, is_active=True)) == 1

    @pytest.mark.parametrize("steps", [0, 1, 2], ids=["before it begins", "before a chunk", "between chunks"])
    @pytest.mark.parametrize(
        ("loss", "reason"),
        [
            ("support", NO_LONGER),
            ("administrator", "not yours"),
            ("closed", NO_LONGER),
            ("deleted", NO_LONGER),
        ],
    )
    async def test_who_loses_the_role_meanwhile_stops_changing_rows(
        self,
        loss: str,
        reason: str,
        steps: int,
        eve: Actor,
        database: Database,
        cast: Cast,
        operations: Operations,
    ) -> None:
        assert eve.id is not None
        ids = await make_products(database, cast.alice, 5)
        one = await operations.start(eve, "deactivate", "")
        await operations.run(steps)
        async with database.transaction() as session:
            service = UserService(session, cast.root)
            match loss:
                case "deleted":
                    await service.delete(eve.id)
                case "closed":
                    await service.update(eve.id, UserUpdate(is_active=False))
                case role:
                    await service.update(eve.id, UserUpdate(role=Role(role)))
        await operations.run()
        done = 3 if steps == 2 else 0
        refused = Outcome.FAILED if reason == NO_LONGER else Outcome.SKIPPED
        assert await operations.outcomes(one) == {
            row_id: DONE if at < done else (refused, reason) for at, row_id in enumerate(ids)
        }
        operation = await operations.truth(one)
        assert (operation.state, operation.done, operation.left) == (State.FINISHED, done, 0)
        assert len(await every(database, Product, is_active=False)) == done

    async def test_who_gets_the_role_back_can_try_again_what_was_refused(
        self, eve: Actor, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 2)
        one = await operations.start(eve, "deactivate", "")
        async with database.transaction() as session:
            await session.execute(text("UPDATE users SET role = 'support' WHERE id = :id"), {"id": eve.id})
        await operations.run()
        assert (await operations.truth(one)).reasons == {"failed": {NO_LONGER: 2}}
        async with database.transaction() as session:
            await session.execute(text("UPDATE users SET role = 'superuser' WHERE id = :id"), {"id": eve.id})
            await OperationService(session, eve).retry(one)
        await operations.run()
        assert (await operations.truth(one)).done == 2


class TestOverlap:
    async def test_two_operations_on_the_same_rows_both_end_and_tell_the_truth(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 14)
        off = await operations.start(cast.alice, "deactivate", ids)
        cheap = await operations.start(cast.root, "set_price", ANVILS, {"price": "1"})
        await operations.run(2)
        assert [(await operations.get(one)).state for one in (off, cheap)] == [State.RUNNING] * 2
        other = BulkRunner(database, find_role, chunk=4)
        while any(await asyncio.gather(operations.runner.step(), other.step())):
            pass
        told = [await operations.outcomes(one) for one in (off, cheap)]
        for one in (off, cheap):
            operation = await operations.truth(one)
            assert (operation.state, operation.total, operation.left) == (State.FINISHED, 14, 0)
        for product in await every(database, Product):
            outcomes = [operation[product.id] for operation in told]
            assert DONE in outcomes
            assert set(outcomes) <= {DONE, CHANGED}
            assert product.version == 1 + outcomes.count(DONE)
            assert product.is_active == (outcomes[0] != DONE)
            assert product.price == (1 if outcomes[1] == DONE else 10)
        for one in (off, cheap):
            if (await operations.get(one)).failed:
                await operations.retry(cast.root, one)
        await operations.run()
        for one in (off, cheap):
            assert (await operations.truth(one)).done == 14
        assert {(product.is_active, product.price) for product in await every(database, Product)} == {
            (False, Decimal("1.00"))
        }

    async def test_two_workers_share_operations_and_change_nothing_twice(
        self, database: Database, cast: Cast
    ) -> None:
        async def all_ended() -> bool:
            return not [one for one in started if (await operations.get(one)).state in ACTIVE]

        operations = Operations(database)
        await make_products(database, cast.alice, 60)
        started = [
            await operations.start(cast.alice, "deactivate", ""),
            await operations.start(cast.root, "set_price", "", {"price": "1"}),
            await operations.start(cast.alice, "change_price", "", {"change": "10"}),
        ]
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for chunk in (7, 11):
                group.create_task(BulkRunner(database, find_role, chunk=chunk).run(stop))
            await eventually(all_ended)
            stop.set()
        done: Counter[UUID] = Counter()
        for one in started:
            operation = await operations.truth(one)
            assert (operation.state, operation.total) == (State.FINISHED, 60)
            told = await operations.outcomes(one)
            done.update(row_id for row_id, outcome in told.items() if outcome == DONE)
        for product in await every(database, Product):
            assert product.version == 1 + done[product.id] > 1

    async def test_an_operation_in_the_hands_of_another_worker_is_passed_over(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 2)
        first = await operations.start(cast.alice, "deactivate", [ids[0]])
        async with database.transaction() as elsewhere:
            assert await runner._claim(elsewhere)
            assert not await operations.runner.step()
            second = await operations.start(cast.alice, "deactivate", [ids[1]])
            await operations.run()
            assert (await operations.get(first)).state is State.WAITING
            assert (await operations.truth(second)).state is State.FINISHED
        await operations.run()
        assert (await operations.truth(first)).state is State.FINISHED

    async def test_an_operation_waits_for_no_other(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        large = await operations.start(cast.alice, "deactivate", await make_products(database, cast.alice, 9))
        await operations.run(2)
        small = await operations.start(cast.alice, "deactivate", await make_products(database, cast.alice, 1))
        await operations.run(3)
        assert (await operations.truth(small)).state is State.FINISHED
        assert (await operations.truth(large)).state is State.RUNNING


class TestCancel:
    async def test_cancelled_before_it_begins_nothing_is_done_and_it_can_go_on(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 4)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        await operations.cancel(cast.alice, one)
        await operations.run()
        operation = await operations.get(one)
        assert (operation.state, operation.is_cancelling) == (State.CANCELLED, False)
        assert (operation.total, operation.left, operation.done) == (4, 4, 0)
        assert operation.finished_at is not None
        assert await operations.outcomes(one) == {}
        assert await names(database, active=False) == set()
        await operations.retry(cast.alice, one)
        await operations.run()
        assert await operations.outcomes(one) == dict.fromkeys(ids, DONE)
        assert (await operations.truth(one)).state is State.FINISHED

    async def test_cancelled_while_it_runs_what_is_done_stays_done_and_it_can_go_on(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 5)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(2)
        await operations.cancel(cast.alice, one)
        await operations.run()
        told = dict.fromkeys(ids[:3], DONE) | dict.fromkeys(ids[3:], OPEN)
        assert await operations.outcomes(one) == told
        operation = await operations.truth(one)
        assert (operation.state, operation.is_cancelling, operation.left) == (State.CANCELLED, False, 2)
        assert len(await every(database, Product, is_active=False)) == 3
        await operations.retry(cast.alice, one)
        await operations.run()
        assert await operations.outcomes(one) == dict.fromkeys(ids, DONE)
        assert (await operations.truth(one)).state is State.FINISHED

    async def test_cancelled_before_failed_rows_are_tried_again_they_stay_failed(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ids)
        await change(database, cast.alice, ids[0], name="Hers")
        await operations.run()
        for _ in range(2):
            await operations.retry(cast.alice, one)
            await operations.cancel(cast.alice, one)
            await operations.run()
            assert await operations.outcomes(one) == {ids[0]: CHANGED, ids[1]: DONE}
            assert (await operations.truth(one)).state is State.CANCELLED
        await operations.retry(cast.alice, one)
        await operations.run()
        assert (await operations.truth(one)).done == 2

    async def test_nothing_is_left_to_cancel_at_the_end(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        one = await operations.start(cast.alice, "deactivate", await make_products(database, cast.alice, 1))
        await operations.run()
        await operations.cancel(cast.alice, one)
        await operations.run()
        operation = await operations.truth(one)
        assert (operation.state, operation.is_cancelling) == (State.FINISHED, False)

    @pytest.mark.parametrize(("rows", "state"), [(5, State.CANCELLED), (2, State.FINISHED)])
    async def test_cancelling_does_not_wait_for_the_chunk_that_is_worked_on(
        self,
        rows: int,
        state: State,
        database: Database,
        cast: Cast,
        operations: Operations,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def cancel_meanwhile(session: AsyncSession, operation: BulkOperation, outcomes: object) -> None:
            async with asyncio.timeout(10):
                await operations.cancel(cast.alice, one)
            await conclude(session, operation, outcomes)

        conclude = items.conclude
        ids = await make_products(database, cast.alice, rows)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(1)
        monkeypatch.setattr(items, "conclude", cancel_meanwhile)
        await operations.run()
        operation = await operations.truth(one)
        assert (operation.state, operation.is_cancelling) == (state, False)
        assert operation.done == min(rows, 3)


class TestRefusedRows:
    @pytest.mark.parametrize("at_commit", [False, True], ids=["in the statement", "at the commit"])
    async def test_a_row_the_database_refuses_is_told_and_all_others_succeed(
        self,
        at_commit: bool,
        database: Database,
        cast: Cast,
        make_product: MakeProduct,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        operations = Operations(database, chunk=8)
        ids = await make_products(database, cast.alice, 10)
        bad = (await make_product(cast.alice, name="Bad")).id
        ids += [bad, *await make_products(database, cast.alice, 12)]
        one = await operations.start(cast.alice, "deactivate", ids)
        async with refusing(database, "NEW.name = 'Bad'", at_commit=at_commit):
            await operations.run()
        assert await operations.outcomes(one) == dict.fromkeys(ids, DONE) | {bad: BROKEN_ROW}
        operation = await operations.truth(one)
        assert (operation.state, operation.done, operation.failed) == (State.FINISHED, 22, 1)
        assert "secret" not in f"{operation.reasons} {operation.error}"
        assert "a row of bulk operation" in caplog.text

        await operations.retry(cast.alice, one)
        await operations.run()
        assert (await operations.truth(one)).done == 23

    async def test_several_of_them_are_each_found(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 10)
        async with refusing(database, "NEW.name IN ('Anvil 0', 'Anvil 4', 'Anvil 5', 'Anvil 9')"):
            one = await operations.start(cast.alice, "deactivate", ids)
            await operations.run()
        assert await names(database, active=True) == {"Anvil 0", "Anvil 4", "Anvil 5", "Anvil 9"}
        assert (await operations.truth(one)).reasons == {"failed": {REFUSED: 4}}

    async def test_a_row_is_not_blamed_for_what_another_worker_has_done_meanwhile(
        self,
        database: Database,
        cast: Cast,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The error was about a row that is done by the time the one is looked for."""

        class Overtaken(BulkRunner):
            async def _isolate(self, *arguments: object) -> None:
                assert await other.step()
                await super()._isolate(*arguments)  # type: ignore[arg-type]

        operations = Operations(database, chunk=1)
        other = BulkRunner(database, find_role, chunk=1)
        ids = await make_products(database, cast.alice, 3)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(1)
        operations.runner = Overtaken(database, find_role, chunk=1)

        async def fail_once(*arguments: object) -> None:
            monkeypatch.setattr(items, "conclude", conclude)
            raise RuntimeError("only now")

        conclude = items.conclude
        monkeypatch.setattr(items, "conclude", fail_once)
        await operations.run(1)
        await operations.run()
        assert await operations.outcomes(one) == dict.fromkeys(ids, DONE)

    @pytest.mark.parametrize(
        "sqlstate", ["40001", "40P01", "53100", "53300", "55P03", "57P01", "57P02", "08006", "25P03", "58030"]
    )
    async def test_an_error_that_says_nothing_about_the_rows_is_raised_and_nothing_is_marked(
        self, sqlstate: str, database: Database, cast: Cast
    ) -> None:
        operations = Operations(database, chunk=1)
        ids = await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(1)
        before = await traces(database)
        async with refusing(database, "true", sqlstate):
            for _ in range(3):
                with pytest.raises(DBAPIError):
                    await operations.runner.step()
        assert await operations.outcomes(one) == dict.fromkeys(ids, OPEN)
        assert await traces(database) == before
        await operations.run()
        assert (await operations.truth(one)).done == 2

    async def test_a_deadlock_is_raised_and_the_chunk_done_again(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        async def both_wait() -> bool:
            async with database.reading() as session:
                waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                return await session.scalar(waiting) == 2

        first, second, third = ids = await make_products(database, cast.alice, 3)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(1)
        touch = text("UPDATE products SET description = 'x' WHERE id = :id")
        async with database.transaction() as other:
            # Who notices a deadlock is its victim.
            await other.execute(text("SET LOCAL deadlock_timeout = '1h'"))
            await other.execute(touch, {"id": third})
            async with database.transaction() as gate:
                await gate.execute(touch, {"id": second})
                step = asyncio.create_task(operations.runner.step())
                await waits_or_ends(step, database)
                waiting = asyncio.create_task(other.execute(touch, {"id": first}))
                await eventually(both_wait)
            with pytest.raises(DBAPIError) as caught:
                await step
            await waiting
        assert getattr(caught.value.orig, "sqlstate", None) == "40P01"
        assert await operations.outcomes(one) == dict.fromkeys(ids, OPEN)
        await operations.run()
        assert (await operations.truth(one)).done == 3

    async def test_a_connection_that_is_cut_is_raised_and_the_chunk_done_again(
        self, database: Database, cast: Cast
    ) -> None:
        operations = Operations(database, chunk=1)
        [row_id] = await make_products(database, cast.alice, 1)
        one = await operations.start(cast.alice, "deactivate", [row_id])
        await operations.run(1)
        async with database.transaction() as elsewhere:
            await elsewhere.execute(text("UPDATE products SET description = 'x'"))
            step = asyncio.create_task(operations.runner.step())
            await waits_or_ends(step, database)
            await elsewhere.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            )
            with pytest.raises((DBAPIError, OSError)):
                await step
        assert await operations.outcomes(one) == {row_id: OPEN}
        await operations.run()
        assert (await operations.truth(one)).done == 1

    async def test_a_worker_that_thaws_after_its_transaction_was_ended_marks_nothing(
        self, database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def freeze(session: AsyncSession, *arguments: object) -> None:
            monkeypatch.setattr(items, "conclude", conclude)
            pid = await session.scalar(text("SELECT pg_backend_pid()"))

            async def is_ended() -> bool:
                async with database.reading() as other:
                    found = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
                    return not await other.scalar(found, {"pid": pid})

            await eventually(is_ended)
            await conclude(session, *arguments)  # type: ignore[arg-type]

        operations = Operations(database, chunk=1)
        ids = await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(1)
        conclude = items.conclude
        monkeypatch.setattr(items, "conclude", freeze)
        with monkeypatch.context() as patch:
            patch.setattr(runner, "IDLE_SECONDS", 0.1)
            with pytest.raises((DBAPIError, OSError)):
                await operations.runner.step()
        assert await operations.outcomes(one) == dict.fromkeys(ids, OPEN)
        await operations.run()
        assert (await operations.truth(one)).done == 2

    async def test_the_loop_goes_on_when_all_its_connections_are_cut(
        self, database: Database, cast: Cast
    ) -> None:
        async def is_ended() -> bool:
            return (await operations.get(one)).state is State.FINISHED

        async def has_done_more_than(number: int) -> bool:
            return (await operations.get(one)).done > number

        operations = Operations(database)
        await make_products(database, cast.alice, 200)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        worker = Database(
            database.engine.url.render_as_string(hide_password=False), session_info=database.info
        )
        stop = asyncio.Event()
        loop = asyncio.create_task(BulkRunner(worker, find_role, chunk=5).run(stop))
        for number in (0, 50, 100):
            await eventually(partial(has_done_more_than, number))
            async with database.reading() as session:
                await session.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                    )
                )
        await eventually(is_ended)
        stop.set()
        await loop
        await worker.close()
        assert (await operations.truth(one)).done == 200


class TestBroken:
    async def test_what_fails_while_rows_are_written_down_is_told_in_a_sentence(
        self,
        database: Database,
        cast: Cast,
        operations: Operations,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def fail(*arguments: object) -> None:
            raise RuntimeError("SELECT secret")

        await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        monkeypatch.setattr(ProductService, "selection", fail)
        await operations.run()
        operation = await operations.get(one)
        assert (operation.state, operation.error) == (State.BROKEN, UNEXPECTED)
        assert operation.finished_at is not None
        assert await operations.outcomes(one) == {}
        assert await names(database, active=False) == set()
        assert "could not begin" in caplog.text

    async def test_a_refusal_while_rows_are_written_down_is_told_as_it_is(
        self, database: Database, cast: Cast, operations: Operations, caplog: pytest.LogCaptureFixture
    ) -> None:
        await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        async with database.transaction() as session:
            await session.execute(update(BulkOperation).values(query="color=red"))
        await operations.run()
        operation = await operations.get(one)
        assert operation.state is State.BROKEN
        assert operation.error == "This list has no filter named “color”."

    async def test_an_action_this_installation_has_no_more_is_told(
        self, database: Database, cast: Cast, operations: Operations, caplog: pytest.LogCaptureFixture
    ) -> None:
        await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        known = database.info[ACTIONS]
        try:
            database.info[ACTIONS] = {}
            await operations.run()
        finally:
            database.info[ACTIONS] = known
        operation = await operations.get(one)
        assert (operation.state, operation.error) == (State.BROKEN, "There is no such action.")

    async def test_an_action_that_fails_for_every_row_ends_and_can_be_tried_again(
        self,
        database: Database,
        cast: Cast,
        operations: Operations,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(*arguments: object) -> None:
            raise RuntimeError("SELECT secret")

        ids = await make_products(database, cast.alice, 4)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        with monkeypatch.context() as patch:
            patch.setattr(product_bulk.Deactivate, "change", fail)
            await operations.run()
        assert await operations.outcomes(one) == dict.fromkeys(ids, (Outcome.FAILED, UNEXPECTED))
        assert (await operations.truth(one)).state is State.FINISHED
        await operations.retry(cast.alice, one)
        await operations.run()
        assert (await operations.truth(one)).done == 4

    async def test_a_value_that_cannot_be_sent_is_not_sent_for_ever(
        self,
        database: Database,
        cast: Cast,
        operations: Operations,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        ids = await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ids)
        too_large = Change({"is_active": literal(2**40, Integer()) > 0})
        monkeypatch.setattr(product_bulk.Deactivate, "change", lambda *arguments: too_large)
        await operations.run()
        assert await operations.outcomes(one) == dict.fromkeys(ids, (Outcome.FAILED, UNEXPECTED))
        assert (await operations.truth(one)).state is State.FINISHED

    async def test_what_cannot_be_tried_again_keeps_what_it_has_done(
        self, database: Database, cast: Cast, operations: Operations, caplog: pytest.LogCaptureFixture
    ) -> None:
        ids = await make_products(database, cast.alice, 3)
        one = await operations.start(cast.alice, "deactivate", ids)
        await change(database, cast.alice, ids[0], name="Hers")
        await operations.run()
        await operations.retry(cast.alice, one)
        known = database.info[ACTIONS]
        try:
            database.info[ACTIONS] = {}
            await operations.run()
        finally:
            database.info[ACTIONS] = known
        operation = await operations.truth(one)
        assert (operation.state, operation.done, operation.failed) == (State.CANCELLED, 2, 1)
        assert operation.error == "There is no such action."
        undo = await operations.undo(cast.alice, one)
        await operations.run()
        assert (await operations.truth(undo)).done == 2
