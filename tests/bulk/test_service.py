"""What people may do to operations: confirm what they saw, cancel, try again and take back what is theirs."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text, update

from admin_app.actor import Actor, Role
from admin_app.audit import AuditEntry
from admin_app.bulk import plan, service
from admin_app.bulk.models import BulkItem, BulkOperation, Outcome, State
from admin_app.bulk.plan import UnknownAction
from admin_app.bulk.service import MAX_SELECTED, OperationService, SelectionChanged
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import Conflict, Forbidden, InvalidInput, NotFound
from admin_app.listing import ListQuery
from admin_app.outbox import RecordedEvent
from tests.admin.rows import every, load, traces
from tests.bulk.operations import Operations, make_products, refusing
from tests.conftest import Cast, MakeProduct
from tests.crash.waiting import waits_or_ends

ANVILS = "search=anvil"
DONE = (Outcome.DONE, None)
CHANGED = (Outcome.SKIPPED, "changed meanwhile")


async def change(database: Database, product_id: UUID, **values: object) -> None:
    """As somebody else does by a form."""
    async with database.transaction() as session:
        await ProductService(session, Actor.system()).update(product_id, ProductUpdate(**values))


async def prices(database: Database) -> dict[UUID, Decimal]:
    return {product.id: product.price for product in await every(database, Product)}


async def finish(database: Database, operation_id: UUID, ago: timedelta) -> None:
    """It ended so long ago."""
    async with database.transaction() as session:
        changed = update(BulkOperation).where(BulkOperation.id == operation_id)
        await session.execute(changed.values(finished_at=datetime.now(UTC) - ago))


class TestDraft:
    async def test_nothing_begins_before_it_is_confirmed(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 2)
        before = await traces(database)
        draft = await operations.draft(cast.alice, "deactivate", ids)
        assert not await operations.runner.step()
        assert (draft.state, draft.total, draft.selection) == (State.DRAFT, 2, "2 selected rows")
        assert await traces(database) == before
        assert await every(database, BulkItem) == []

    @pytest.mark.parametrize(
        ("number", "sentence"),
        [(0, "Select at least one row first."), (MAX_SELECTED + 1, "Select at most 100,000 rows one by one")],
    )
    async def test_a_selection_by_hand_is_neither_empty_nor_without_end(
        self, number: int, sentence: str, database: Database, cast: Cast, operations: Operations
    ) -> None:
        with pytest.raises(InvalidInput, match=sentence):
            await operations.draft(cast.alice, "deactivate", [UUID(int=at) for at in range(number)])
        assert await every(database, BulkOperation) == []

    async def test_as_many_as_can_be_selected_by_hand_are_looked_at_and_confirmed(
        self, database: Database, cast: Cast
    ) -> None:
        operations = Operations(database)
        ids = await make_products(database, cast.alice, 2)
        selected = [*ids, *(uuid4() for _ in range(MAX_SELECTED - 2))]
        one = await operations.start(cast.alice, "deactivate", selected)
        await operations.run()
        operation = await operations.truth(one)
        assert (operation.done, operation.reasons) == (2, {"skipped": {"gone": MAX_SELECTED - 2}})

    async def test_a_row_selected_twice_is_one(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        [row_id] = await make_products(database, cast.alice, 1)
        draft = await operations.draft(cast.alice, "deactivate", [row_id, row_id])
        assert (draft.total, draft.selection) == (1, "1 selected row")

    @pytest.mark.parametrize(("kind", "action"), [("product", "explode"), ("spaceship", "delete")])
    async def test_an_unknown_action_is_refused(
        self, kind: str, action: str, database: Database, cast: Cast, operations: Operations
    ) -> None:
        with pytest.raises(UnknownAction):
            await operations.draft(cast.root, action, "", kind)
        assert await every(database, BulkOperation) == []

    @pytest.mark.parametrize(
        ("name", "kind", "action"),
        [("sam", "product", "deactivate"), ("sam", "user", "deactivate"), ("alice", "user", "deactivate")],
    )
    async def test_a_role_that_may_not_run_an_action_starts_none(
        self, name: str, kind: str, action: str, database: Database, cast: Cast, operations: Operations
    ) -> None:
        with pytest.raises(Forbidden):
            await operations.draft(getattr(cast, name), action, "", kind)
        assert await every(database, BulkOperation) == []


class TestConfirm:
    async def test_it_says_what_would_be_done(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        mine = await make_products(database, cast.alice, 7)
        inactive = await make_products(database, cast.alice, 2, is_active=False)
        foreign = await make_products(database, cast.bob, 3)
        unknown = uuid4()
        draft = await operations.draft(cast.alice, "deactivate", [*mine, *inactive, *foreign, unknown])
        preview = await operations.preview(cast.alice, draft)
        assert (preview.counts.total, preview.counts.changing) == (13, 7)
        assert preview.counts.skipped == [("not yours", 3), ("already inactive", 2), ("gone", 1)]
        assert [sample.row_id for sample in preview.samples] == mine[:5]
        assert [sample.values for sample in preview.samples] == [{"State": ("Active", "Inactive")}] * 5
        assert preview.samples[0].title == "Anvil 0"

    @pytest.mark.parametrize("at_once", [False, True])
    async def test_confirmed_more_than_once_it_is_done_once(
        self, at_once: bool, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 5)
        draft = await operations.draft(cast.alice, "change_price", ANVILS)
        shown = await operations.preview(cast.alice, draft, {"change": "10"})
        confirm = lambda: operations.confirm(cast.alice, draft, {"change": "10"}, shown=shown)  # noqa: E731
        if at_once:
            await asyncio.gather(*(confirm() for _ in range(5)))
        else:
            await confirm()
            await operations.run(2)
            assert (await confirm()).state is State.RUNNING
        await operations.run()
        assert (await confirm()).state is State.FINISHED
        await operations.run()
        assert (await operations.truth(draft.id)).done == 5
        assert len(await every(database, BulkOperation)) == 1
        assert await prices(database) == dict.fromkeys(ids, Decimal("11.00"))

    @pytest.mark.parametrize("event_", ["changes", "leaves", "enters", "is given away", "goes to the bin"])
    async def test_it_is_bound_to_the_rows_that_were_shown(
        self, event_: str, database: Database, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 3)
        draft = await operations.draft(cast.alice, "deactivate", ANVILS)
        shown = await operations.preview(cast.alice, draft)
        match event_:
            case "changes":
                await change(database, ids[0], description="x")
            case "leaves":
                await change(database, ids[0], name="Hammer")
            case "enters":
                await make_product(cast.alice, name="Anvil")
            case "is given away":
                await change(database, ids[0], owner_id=cast.bob.id)
            case _:
                async with database.transaction() as session:
                    await ProductService(session, cast.alice).delete(ids[0])
        with pytest.raises(SelectionChanged):
            await operations.confirm(cast.alice, draft, shown=shown)
        await operations.run()
        assert (await operations.get(draft.id)).state is State.DRAFT
        assert await every(database, BulkItem) == []
        await operations.confirm(cast.alice, draft)
        await operations.run()
        assert (await operations.truth(draft.id)).state is State.FINISHED

    async def test_a_row_exchanged_for_another_is_noticed(
        self, database: Database, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 3)
        draft = await operations.draft(cast.alice, "deactivate", ANVILS)
        shown = await operations.preview(cast.alice, draft)
        await change(database, ids[0], name="Hammer")
        await make_product(cast.alice, name="Anvil")
        with pytest.raises(SelectionChanged):
            await operations.confirm(cast.alice, draft, shown=shown)

    async def test_of_very_many_rows_it_is_bound_to_which_they_are_and_what_becomes_of_them(
        self, database: Database, cast: Cast, operations: Operations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plan, "STRICT_LIMIT", 2)
        ids = await make_products(database, cast.alice, 4)
        [other] = await make_products(database, cast.alice, 1, name="Hammer")
        draft = await operations.draft(cast.alice, "deactivate", ANVILS)
        shown = await operations.preview(cast.alice, draft)
        for values in ({"name": "Hammer"}, {"is_active": False}, {"owner_id": cast.bob.id}):
            await change(database, ids[0], **values)
            with pytest.raises(SelectionChanged):
                await operations.confirm(cast.alice, draft, shown=shown)
            await change(database, ids[0], name="Anvil 0", is_active=True, owner_id=cast.alice.id)
        await change(database, ids[0], name="Hammer")
        await change(database, other, name="Anvil")
        with pytest.raises(SelectionChanged):
            await operations.confirm(cast.alice, draft, shown=shown)
        await change(database, ids[0], name="Anvil 0")
        await change(database, other, name="Hammer")
        confirmed = await operations.confirm(cast.alice, draft, shown=shown)
        assert confirmed.state is State.WAITING
        await operations.run()
        assert (await operations.truth(draft.id)).done == 4

    async def test_it_is_bound_to_the_parameters_that_were_shown(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 2)
        draft = await operations.draft(cast.alice, "change_price", ANVILS)
        shown = await operations.preview(cast.alice, draft, {"change": "10"})
        with pytest.raises(SelectionChanged):
            await operations.confirm(cast.alice, draft, {"change": "90"}, shown=shown)

    async def test_to_change_nothing_is_refused(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.bob, 2)
        for rows in (ANVILS, [uuid4()], "search=nothing"):
            draft = await operations.draft(cast.alice, "deactivate", rows)
            with pytest.raises(InvalidInput, match="None of these rows would change"):
                await operations.confirm(cast.alice, draft)

    async def test_the_number_must_be_typed_when_there_are_many(
        self, database: Database, cast: Cast, operations: Operations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def confirm(typed: str) -> BulkOperation:
            async with database.transaction() as session:
                return await OperationService(session, cast.alice).confirm(draft.id, {}, fingerprint, typed)

        monkeypatch.setattr(service, "TYPED_ABOVE", 11)
        await make_products(database, cast.alice, 12)
        await make_products(database, cast.bob, 3)
        draft = await operations.draft(cast.alice, "deactivate", ANVILS)
        fingerprint = (await operations.preview(cast.alice, draft)).counts.fingerprint
        for typed in ("", "11", "15", "012", "twelve", "12!", "-12"):
            with pytest.raises(InvalidInput) as caught:
                await confirm(typed)
            assert caught.value.fields == {"typed": "Type 12 to confirm that so many rows are meant."}
        assert (await operations.get(draft.id)).state is State.DRAFT
        assert (await confirm(" 1,2 ")).state is State.WAITING

    async def test_it_need_not_be_typed_for_few(
        self, database: Database, cast: Cast, operations: Operations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "TYPED_ABOVE", 12)
        await make_products(database, cast.alice, 12)
        draft = await operations.draft(cast.alice, "deactivate", ANVILS)
        fingerprint = (await operations.preview(cast.alice, draft)).counts.fingerprint
        async with database.transaction() as session:
            confirmed = await OperationService(session, cast.alice).confirm(draft.id, {}, fingerprint, "")
        assert confirmed.state is State.WAITING

    async def test_nothing_in_it_grows_with_the_number_of_rows(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        sent: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
            sent.append((statement, parameters))

        async def confirm(words: str) -> list[tuple[str, Any]]:
            draft = await operations.draft(cast.alice, "deactivate", words)
            shown = await operations.preview(cast.alice, draft)
            sent.clear()
            event.listen(database.engine.sync_engine, "before_cursor_execute", note)
            confirmed = await operations.confirm(cast.alice, draft, shown=shown)
            event.remove(database.engine.sync_engine, "before_cursor_execute", note)
            assert confirmed.total == shown.counts.changing
            return list(sent)

        await make_products(database, cast.alice, 1, name="Hammer")
        await make_products(database, cast.alice, 900)
        few, many = await confirm("search=hammer"), await confirm(ANVILS)
        assert [statement for statement, _ in few] == [statement for statement, _ in many]
        assert len(many) <= 6
        assert len(str([parameters for _, parameters in many])) < 4000
        assert await every(database, BulkItem) == []


class TestUndo:
    async def test_it_restores_what_nobody_touched_since_with_history_and_events_of_its_own(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 5)
        await change(database, ids[0], price=Decimal(7))
        one = await operations.start(cast.alice, "set_price", ids, {"price": "20"})
        await operations.run()
        await change(database, ids[1], price=Decimal("13.37"))
        undo = await operations.undo(cast.alice, one)
        await change(database, ids[2], description="Hers")
        await operations.run()
        assert await operations.outcomes(undo) == dict.fromkeys(ids, DONE) | {
            ids[1]: CHANGED,
        }
        operation = await operations.truth(undo)
        assert (operation.state, operation.undoes, operation.label) == (
            State.FINISHED,
            one,
            "Undo: Set price",
        )
        assert await prices(database) == {
            ids[0]: Decimal(7),
            ids[1]: Decimal("13.37"),
            ids[2]: Decimal(10),
            ids[3]: Decimal(10),
            ids[4]: Decimal(10),
        }
        [entry] = await every(database, AuditEntry, operation_id=undo, row_id=ids[0])
        assert entry.changes == {"price": ["20.00", "7.00"]}
        assert (entry.source, entry.action, entry.actor_id) == ("bulk", "updated", cast.alice.id)
        assert [product.description for product in await every(database, Product, id=ids[2])] == ["Hers"]
        assert len(await every(database, AuditEntry, operation_id=undo)) == 4
        assert (await operations.truth(one)).done == 5

    async def test_it_is_told_beforehand_what_it_would_do(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 4)
        one = await operations.start(cast.alice, "set_price", ids, {"price": "20"})
        await operations.run()
        await change(database, ids[1], price=Decimal("13.37"))
        async with database.transaction() as session:
            await session.execute(text("DELETE FROM products WHERE id = :id"), {"id": ids[3]})
        preview = await operations.preview(cast.alice, await operations.draft_of_undo(cast.alice, one))
        assert (preview.counts.total, preview.counts.changing) == (4, 2)
        assert preview.counts.skipped == [("changed meanwhile", 1), ("gone", 1)]
        assert [sample.values for sample in preview.samples] == [{"Price": (Decimal(20), Decimal(10))}] * 2

    async def test_what_was_taken_back_can_be_done_again_and_so_on(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 4)
        one = await operations.start(cast.alice, "change_price", ids, {"change": "50"})
        await operations.run()
        for price, word in ((10, "Undo"), (15, "Redo"), (10, "Undo")):
            one = await operations.undo(cast.alice, one)
            await operations.run()
            assert await prices(database) == dict.fromkeys(ids, Decimal(price))
            operation = await operations.truth(one)
            assert (operation.done, operation.label) == (4, f"{word}: Change price")

    async def test_deleted_products_come_back_and_go_again(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 4)
        one = await operations.start(cast.alice, "delete", ids)
        await operations.run()
        assert (await operations.truth(one)).done == 4
        deleted = {product.id: product.deleted_at for product in await every(database, Product)}
        assert None not in deleted.values()
        async with database.transaction() as session:
            await ProductService(session, cast.alice).restore(ids[0])
        undo = await operations.undo(cast.alice, one)
        await operations.run()
        assert await operations.outcomes(undo) == dict.fromkeys(ids[1:], DONE) | {
            ids[0]: (Outcome.SKIPPED, "not in the bin")
        }
        operation = await operations.truth(undo)
        assert {product.deleted_at for product in await every(database, Product)} == {None}
        entries = await every(database, AuditEntry, operation_id=undo)
        assert {entry.action for entry in entries} == {"restored"}
        events = await every(database, RecordedEvent, request_id=operation.request_id)
        assert {event.name for event in events} == {"ProductRestored"}

        again = await operations.undo(cast.alice, undo)
        await operations.run()
        operation = await operations.truth(again)
        assert operation.done == 3
        for product in await every(database, Product):
            assert product.deleted_at == (None if product.id == ids[0] else deleted[product.id])
        events = await every(database, RecordedEvent, request_id=operation.request_id)
        assert {event.name for event in events} == {"ProductDeleted"}

    async def test_only_a_superuser_takes_a_transfer_back_and_also_from_somebody_who_left(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 3)
        one = await operations.start(cast.alice, "transfer", ids, {"owner": cast.bob.label})
        await operations.run()
        with pytest.raises(Conflict, match="Only a superuser"):
            await operations.draft_of_undo(cast.alice, one)
        async with database.transaction() as session:
            assert cast.bob.id
            await UserService(session, cast.root).update(cast.bob.id, UserUpdate(is_active=False))
        undo = await operations.undo(cast.root, one)
        await operations.run()
        assert (await operations.truth(undo)).done == 3
        assert {product.owner_id for product in await every(database, Product)} == {cast.alice.id}

    async def test_nothing_is_given_back_to_somebody_who_left(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 2)
        one = await operations.start(cast.root, "transfer", ANVILS, {"owner": cast.bob.label})
        await operations.run()
        draft = await operations.draft_of_undo(cast.root, one)
        async with database.transaction() as session:
            assert cast.alice.id
            await UserService(session, cast.root).update(cast.alice.id, UserUpdate(role=Role.SUPPORT))
        preview = await operations.preview(cast.root, draft)
        assert preview.counts.skipped == [("the new owner cannot own products", 2)]

    @pytest.mark.parametrize("is_drafted", [False, True], ids=["not asked for yet", "asked for in time"])
    async def test_it_is_too_late_after_seven_days(
        self, is_drafted: bool, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 1)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        await operations.run()
        await finish(database, one, timedelta(days=7) - timedelta(minutes=1))
        draft = await operations.draft_of_undo(cast.alice, one)
        shown = await operations.preview(cast.alice, draft)
        await finish(database, one, timedelta(days=7))
        with pytest.raises(Conflict, match="too long ago"):
            if is_drafted:
                await operations.confirm(cast.alice, draft, shown=shown)
            else:
                await operations.draft_of_undo(cast.alice, one)
        await operations.run()
        assert {product.is_active for product in await every(database, Product)} == {False}

    async def test_it_is_taken_back_once(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        await operations.run()
        drafts = await asyncio.gather(*(operations.draft_of_undo(cast.alice, one) for _ in range(4)))
        assert len({draft.id for draft in drafts}) == 1
        undo = (await operations.confirm(cast.alice, drafts[0])).id
        for state in (State.WAITING, State.FINISHED):
            for actor in (cast.alice, cast.root):
                found = await operations.draft_of_undo(actor, one)
                assert (found.id, found.state) == (undo, state)
            await operations.run()
        assert (await operations.truth(undo)).done == 2

    async def test_a_draft_of_somebody_else_is_in_nobodys_way(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        await operations.run()
        first = await operations.draft_of_undo(cast.root, one)
        second = await operations.draft_of_undo(cast.alice, one)
        assert (second.actor_id, second.state) == (cast.alice.id, State.DRAFT)
        assert second.id != first.id
        await operations.confirm(cast.alice, second)
        with pytest.raises(Conflict, match=f"#{second.number} undoes it already"):
            await operations.confirm(cast.root, first)

    async def test_what_was_done_before_it_was_cancelled_can_be_taken_back(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 5)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(2)
        await operations.cancel(cast.alice, one)
        await operations.run()
        undo = await operations.undo(cast.alice, one)
        await operations.run()
        assert await operations.outcomes(undo) == dict.fromkeys(ids[:3], DONE)
        await operations.truth(undo)
        assert {product.is_active for product in await every(database, Product)} == {True}
        with pytest.raises(Conflict):
            await operations.retry(cast.alice, one)

    async def test_an_undo_that_was_cancelled_can_go_on(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 5)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run()
        undo = await operations.undo(cast.alice, one)
        await operations.run(2)
        await operations.cancel(cast.alice, undo)
        await operations.run()
        assert (await operations.truth(undo)).done == 3
        await operations.retry(cast.alice, undo)
        await operations.run()
        assert (await operations.truth(undo)).done == 5

    async def test_to_try_it_again_overwrites_nothing_either(
        self, database: Database, cast: Cast, operations: Operations, caplog: pytest.LogCaptureFixture
    ) -> None:
        ids = await make_products(database, cast.alice, 3)
        one = await operations.start(cast.alice, "set_price", ids, {"price": "20"})
        await operations.run()
        undo = await operations.undo(cast.alice, one)
        async with refusing(database, "OLD.name <> 'Anvil 0'"):
            await operations.run()
        assert (await operations.truth(undo)).failed == 2
        failed = [row_id for row_id, told in (await operations.outcomes(undo)).items() if told != DONE]
        await change(database, failed[0], price=Decimal("13.37"))
        await operations.retry(cast.alice, undo)
        await operations.run()
        assert await operations.outcomes(undo) == dict.fromkeys(ids, DONE) | {failed[0]: CHANGED}
        await operations.truth(undo)
        assert await prices(database) == dict.fromkeys(ids, Decimal(10)) | {failed[0]: Decimal("13.37")}

    async def test_what_is_not_over_or_changed_nothing_or_cannot_be_undone_is_refused(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 5)
        running = await operations.start(cast.alice, "deactivate", ANVILS)
        for _ in range(2):
            with pytest.raises(Conflict, match="nothing to undo"):
                await operations.draft_of_undo(cast.alice, running)
            await operations.run(2)
        cancelled = await operations.start(cast.alice, "set_price", ANVILS, {"price": "3"})
        await operations.cancel(cast.alice, cancelled)
        await operations.run()
        with pytest.raises(Conflict, match="nothing to undo"):
            await operations.draft_of_undo(cast.alice, cancelled)
        rebuilt = await operations.start(cast.alice, "rebuild_index", ANVILS)
        await operations.run()
        with pytest.raises(Conflict, match="cannot be undone"):
            await operations.draft_of_undo(cast.alice, rebuilt)


class TestRetry:
    async def test_without_anything_to_try_again_it_is_refused(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        await operations.retry(cast.alice, one)
        assert (await operations.get(one)).state is State.WAITING
        await operations.run()
        with pytest.raises(Conflict, match="nothing to try again"):
            await operations.retry(cast.alice, one)

    async def test_the_question_whether_to_undo_is_not_in_its_way_and_void_afterwards(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 5)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(2)
        await operations.cancel(cast.alice, one)
        await operations.run()
        draft = await operations.draft_of_undo(cast.alice, one)
        shown = await operations.preview(cast.alice, draft)
        await operations.retry(cast.alice, one)
        for steps in (0, 2):
            await operations.run(steps)
            with pytest.raises(Conflict):
                await operations.confirm(cast.alice, draft, shown=shown)
        await operations.run()
        assert (await operations.truth(one)).done == 5
        await operations.confirm(cast.alice, draft)
        await operations.run()
        assert (await operations.truth(draft.id)).done == 5

    async def test_it_waits_for_an_undo_that_is_being_confirmed(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        ids = await make_products(database, cast.alice, 5)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(2)
        await operations.cancel(cast.alice, one)
        await operations.run()
        draft = await operations.draft_of_undo(cast.alice, one)
        shown = await operations.preview(cast.alice, draft)
        async with database.transaction() as session:
            service = OperationService(session, cast.alice)
            await service.confirm(draft.id, {}, shown.counts.fingerprint, "")
            retry = asyncio.create_task(operations.retry(cast.alice, one))
            await waits_or_ends(retry, database)
            assert not retry.done()
        with pytest.raises(Conflict):
            await retry


Deed = Callable[[OperationService, UUID], Awaitable[Any]]
DEEDS: dict[str, Deed] = {
    "get": lambda service, one: service.get_by_id(one),
    "confirm": lambda service, one: service.confirm(one, {}, "", ""),
    "cancel": lambda service, one: service.cancel(one),
    "retry": lambda service, one: service.retry(one),
    "undo": lambda service, one: service.draft_of_undo(one),
}


class TestPermissions:
    @pytest.fixture
    async def finished(self, database: Database, cast: Cast, operations: Operations) -> UUID:
        """Of Alice; one row failed, so that everything could be done to it."""
        ids = await make_products(database, cast.alice, 2)
        one = await operations.start(cast.alice, "deactivate", ids)
        await operations.run(1)
        await change(database, ids[0], is_active=False)
        await change(database, ids[0], is_active=True)
        await operations.run()
        return one

    @pytest.mark.parametrize("deed", DEEDS)
    async def test_a_stranger_finds_nothing(
        self, deed: str, finished: UUID, database: Database, cast: Cast
    ) -> None:
        for operation_id in (finished, uuid4()):
            with pytest.raises(NotFound):
                async with database.transaction() as session:
                    await DEEDS[deed](OperationService(session, cast.bob), operation_id)
        assert len(await every(database, BulkOperation)) == 1

    @pytest.mark.parametrize("deed", sorted({*DEEDS} - {"get"}))
    async def test_support_may_look_and_not_touch(
        self, deed: str, finished: UUID, database: Database, cast: Cast
    ) -> None:
        async with database.transaction() as session:
            service = OperationService(session, cast.sam)
            assert (await service.get_by_id(finished)).id == finished
            with pytest.raises(Forbidden):
                await DEEDS[deed](service, finished)

    @pytest.mark.parametrize("name", ["alice", "root"])
    @pytest.mark.parametrize("deed", DEEDS)
    async def test_who_began_it_and_superusers_may(
        self, deed: str, name: str, finished: UUID, database: Database, cast: Cast
    ) -> None:
        async with database.transaction() as session:
            assert await DEEDS[deed](OperationService(session, getattr(cast, name)), finished)

    @pytest.mark.parametrize("name", ["bob", "sam", "root"])
    @pytest.mark.parametrize("deed", DEEDS)
    async def test_a_draft_is_nobody_elses(
        self, deed: str, name: str, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 1)
        draft = await operations.draft(cast.alice, "deactivate", ANVILS)
        expected = Forbidden if name == "sam" and deed != "get" else NotFound
        with pytest.raises(expected):
            async with database.transaction() as session:
                await DEEDS[deed](OperationService(session, getattr(cast, name)), draft.id)

    async def test_a_superuser_cancels_what_somebody_else_began(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 5)
        one = await operations.start(cast.alice, "deactivate", ANVILS)
        await operations.run(2)
        await operations.cancel(cast.root, one)
        await operations.run()
        assert (await operations.truth(one)).state is State.CANCELLED

    async def test_what_a_superuser_tries_again_is_still_done_as_who_began_it(
        self, finished: UUID, database: Database, cast: Cast, operations: Operations
    ) -> None:
        [row_id] = [product.id for product in await every(database, Product, is_active=True)]
        await change(database, row_id, owner_id=cast.bob.id)
        await operations.retry(cast.root, finished)
        await operations.run()
        assert (await operations.outcomes(finished))[row_id] == (Outcome.SKIPPED, "not yours")
        product = await load(database, Product, row_id)
        assert product is not None
        assert product.is_active

    async def test_who_lost_the_role_since_does_not_confirm(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 1)
        draft = await operations.draft(cast.root, "require_new_password", "", "user")
        shown = await operations.preview(cast.root, draft)
        demoted = Actor(cast.root.id, Role.ADMINISTRATOR, cast.root.label)
        with pytest.raises(Forbidden):
            await operations.confirm(demoted, draft, shown=shown)

    async def test_lists_hold_what_each_may_see_and_no_drafts(
        self, finished: UUID, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await operations.draft(cast.alice, "deactivate", ANVILS)
        seen = {"alice": [finished], "bob": [], "sam": [finished], "root": [finished]}
        for name, ids in seen.items():
            async with database.reading() as session:
                page = await OperationService(session, getattr(cast, name)).page(
                    ListQuery("created_at", descending=True)
                )
            assert [row.id for row in page.rows] == ids

    async def test_items_are_listed_by_outcome_and_reason_page_by_page(
        self, database: Database, cast: Cast, make_product: MakeProduct, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "ITEMS_PER_PAGE", 4)
        operations = Operations(database)
        ids = await make_products(database, cast.alice, 9)
        foreign = await make_products(database, cast.bob, 2)
        gone = uuid4()
        one = await operations.start(cast.alice, "deactivate", [*ids, *foreign, gone])
        await operations.run()
        async with database.reading() as session:
            operations_of = OperationService(session, cast.alice)
            shown = await operations_of.plan(await operations_of.get_by_id(one))
            found, after, has_more = [], None, True
            while has_more:
                rows, has_more = await operations_of.items(shown, Outcome.DONE, None, after)
                assert len(rows) == 4 or not has_more
                found += rows
                after = rows[-1].row_id
            assert [item.row_id for item in found] == ids
            rows, _ = await operations_of.items(shown, Outcome.SKIPPED, "not yours", None)
            assert [item.row_id for item in rows] == foreign
            [row], _ = await operations_of.items(shown, Outcome.SKIPPED, "gone", None)
            assert (row.row_id, row.title) == (gone, None)
