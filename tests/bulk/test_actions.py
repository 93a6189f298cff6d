"""What each action does, and why it leaves rows alone."""

import asyncio
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import select, text

from admin_app.actor import Actor, Role
from admin_app.audit import AuditEntry, label_of
from admin_app.bulk.models import BulkOperation, Outcome, State
from admin_app.bulk.plan import Preview
from admin_app.bulk.runner import BulkRunner
from admin_app.bulk.service import OperationService
from admin_app.database import Database
from admin_app.domains import ACTIONS, find_role
from admin_app.domains.products.bulk import ChangePrice, PriceChange, Rounding, Unit
from admin_app.domains.products.models import Product, ProductSearchDocument
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.domains.users.repository import UserRepository
from admin_app.domains.users.schemas import UserCreate, UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import InvalidInput
from admin_app.outbox import Delivery, RecordedEvent
from admin_app.security.sessions import AuthSession, open_session
from tests.admin.rows import every, load
from tests.bulk.operations import Operations, make_products
from tests.conftest import Cast, MakeProduct
from tests.crash.waiting import eventually

Given = Mapping[str, Any]


async def done(
    operations: Operations, actor: Actor, action: str, given: Given | None = None
) -> BulkOperation:
    """To all products."""
    one = await operations.start(actor, action, "", given)
    await operations.run()
    operation = await operations.truth(one)
    assert operation.state is State.FINISHED
    return operation


async def shown(
    operations: Operations, actor: Actor, action: str, given: Given | None = None, kind: str = "product"
) -> Preview:
    return await operations.preview(actor, await operations.draft(actor, action, "", kind), given)


async def refused(operations: Operations, actor: Actor, action: str, given: Given) -> Mapping[str, str]:
    """What is told beside the fields, by the question and by its answer alike; nothing has begun."""
    draft = await operations.draft(actor, action, "")
    with pytest.raises(InvalidInput) as asked:
        await operations.preview(actor, draft, given)
    with pytest.raises(InvalidInput) as answered:
        async with operations.database.transaction() as session:
            await OperationService(session, actor).confirm(draft.id, given, "", "")
    assert answered.value.fields == asked.value.fields
    assert (await operations.get(draft.id)).state is State.DRAFT
    return asked.value.fields


class TestProducts:
    async def test_activate_and_deactivate(
        self, database: Database, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        await make_product(cast.alice, name="On")
        await make_product(cast.alice, name="Off", is_active=False)
        await make_product(cast.bob, name="His")
        preview = await shown(operations, cast.alice, "activate")
        assert [sample.values for sample in preview.samples] == [{"State": ("Inactive", "Active")}]
        operation = await done(operations, cast.alice, "activate")
        assert (operation.label, operation.done) == ("Activate", 1)
        assert operation.reasons == {"skipped": {"already active": 1, "not yours": 1}}
        operation = await done(operations, cast.alice, "deactivate")
        assert (operation.label, operation.done) == ("Deactivate", 2)
        operation = await done(operations, cast.root, "deactivate")
        assert operation.reasons == {"skipped": {"already inactive": 2}}
        assert {product.is_active for product in await every(database, Product)} == {False}

    async def test_set_price(
        self, database: Database, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        await make_product(cast.alice, price=Decimal("0.01"))
        await make_product(cast.alice, price=Decimal("12.50"))
        operation = await done(operations, cast.alice, "set_price", {"price": "12.5"})
        assert operation.parameters == {"price": "12.50"}
        assert operation.reasons == {"skipped": {"already at this price": 1}}
        assert {product.price for product in await every(database, Product)} == {Decimal("12.50")}

    @pytest.mark.parametrize(
        "price",
        [
            "",
            "0",
            "-1",
            "100000000",
            "1e999",
            "1e8",
            "NaN",
            "Infinity",
            "-Infinity",
            "1.234",
            "1,50",
            "x",
            "\0",
        ],
    )
    async def test_a_price_that_cannot_be_is_refused(
        self, price: str, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        await make_product(cast.alice)
        assert (await refused(operations, cast.alice, "set_price", {"price": price})).keys() == {"price"}

    async def test_change_price_by_percent_and_by_amount(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 1, price=Decimal("19.99"))
        for given_, price in (
            ({"change": "10"}, "21.99"),
            ({"unit": "amount", "change": "-21.98"}, "0.01"),
            ({"unit": "amount", "change": "99999999.98"}, "99999999.99"),
            ({"change": "-99.99"}, "10000.00"),
        ):
            await done(operations, cast.alice, "change_price", given_)
            [product] = await every(database, Product)
            assert product.price == Decimal(price)

    async def test_change_price_leaves_prices_alone_that_would_fall_to_nothing_or_rise_too_high_or_stay(
        self, database: Database, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        for price in ("0.01", "0.05", "50", "99999999.99"):
            await make_product(cast.alice, price=Decimal(price))
        down = await done(operations, cast.alice, "change_price", {"unit": "amount", "change": "-0.05"})
        assert (down.done, down.reasons) == (2, {"skipped": {"price would fall to 0": 2}})
        up = await done(operations, cast.alice, "change_price", {"change": "1", "rounding": "0.05"})
        assert (up.done, up.skipped) == (1, 3)
        assert up.reasons == {
            "skipped": {
                "price stays the same": 1,
                "price would be too high": 1,
                "price would fall to 0": 1,
            }
        }

    @pytest.mark.parametrize(
        ("field", "given_"),
        [
            *(
                ("change", {"change": change})
                for change in (
                    "",
                    "0",
                    "0.00",
                    "-0",
                    "x",
                    "1,5",
                    "NaN",
                    "sNaN",
                    "Infinity",
                    "-Infinity",
                    "1e999",
                )
            ),
            *(
                ("change", {"change": change})
                for change in ("-100", "-100.01", "-1e7", "1000.01", "12.345", "1e-3", "\0")
            ),
            *(
                ("change", {"unit": "amount", "change": change})
                for change in ("100000000", "-100000000", "1e999", "-1e999", "0", "0.001", "NaN")
            ),
            ("unit", {"unit": "per mille", "change": "1"}),
            ("rounding", {"rounding": "0.02", "change": "1"}),
            ("floor", {"floor": "0", "change": "1"}),
            ("floor", {"floor": "NaN", "change": "1"}),
            ("floor", {"floor": "1,5", "change": "1"}),
            ("ceiling", {"ceiling": "1e8", "change": "1"}),
            ("ceiling", {"ceiling": "1.234", "change": "1"}),
            ("ceiling", {"floor": "5", "ceiling": "4.99", "change": "1"}),
        ],
    )
    async def test_a_change_of_prices_that_cannot_be_is_refused(
        self, field: str, given_: Given, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        await make_product(cast.alice)
        fields = await refused(operations, cast.alice, "change_price", given_)
        assert fields.keys() == {field}
        assert fields[field].endswith(".")

    async def test_transfer(
        self, database: Database, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        mine = await make_product(cast.alice)
        his = await make_product(cast.bob)
        preview = await shown(operations, cast.root, "transfer", {"owner": cast.bob.label})
        assert [sample.values for sample in preview.samples] == [
            {"Owner": (cast.alice.label, cast.bob.label)}
        ]
        operation = await done(operations, cast.alice, "transfer", {"owner": "BOB@demo.example"})
        assert operation.reasons == {"skipped": {"not yours": 1}}
        [entry] = await every(database, AuditEntry, operation_id=operation.id)
        assert entry.changes == {"owner_id": [str(cast.alice.id), str(cast.bob.id)]}
        assert {product.id: product.owner_id for product in await every(database, Product)} == {
            mine.id: cast.bob.id,
            his.id: cast.bob.id,
        }
        preview = await shown(operations, cast.root, "transfer", {"owner": cast.bob.label})
        assert preview.counts.skipped == [("already theirs", 2)]

    @pytest.mark.parametrize(
        "owner",
        [
            "",
            "bob",
            "nobody@demo.example",
            "sam@demo.example",
            "carl@demo.example",
            "bob@demo.example\0",
            "b\0b@demo.example",
            "\ud800@demo.example",
            f"{'b' * 300}@demo.example",
            "%@demo.example",
        ],
    )
    async def test_nobody_else_than_an_active_superuser_or_administrator_is_given_anything(
        self, owner: str, database: Database, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        async with database.transaction() as session:
            closed = UserCreate(
                email="carl@demo.example", name="Carl", role=Role.ADMINISTRATOR, is_active=False
            )
            await UserService(session, cast.root).create(closed)
        await make_product(cast.alice)
        fields = await refused(operations, cast.alice, "transfer", {"owner": owner})
        assert fields.keys() == {"owner"}

    @pytest.mark.parametrize("loss", ["closed", "demoted", "renamed"])
    async def test_who_may_not_own_by_then_is_given_nothing(
        self, loss: str, database: Database, cast: Cast, operations: Operations
    ) -> None:
        await make_products(database, cast.alice, 4)
        one = await operations.start(cast.alice, "transfer", "", {"owner": cast.bob.label})
        await operations.run(2)
        changes = {
            "closed": UserUpdate(is_active=False),
            "demoted": UserUpdate(role=Role.SUPPORT),
            "renamed": UserUpdate(email="robert@demo.example"),
        }
        async with database.transaction() as session:
            assert cast.bob.id
            await UserService(session, cast.root).update(cast.bob.id, changes[loss])
        await operations.run()
        operation = await operations.truth(one)
        assert (operation.done, operation.skipped) == (3, 1)
        assert operation.reasons == {"skipped": {"the new owner cannot own products": 1}}

    async def test_delete(
        self, database: Database, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        mine, binned, his = [await make_product(owner) for owner in (cast.alice, cast.alice, cast.bob)]
        async with database.transaction() as session:
            await ProductService(session, cast.alice).delete(binned.id)
        one = await operations.start(cast.alice, "delete", [mine.id, binned.id, his.id])
        await operations.run()
        operation = await operations.truth(one)
        assert (operation.done, operation.reasons) == (1, {"skipped": {"gone": 1, "not yours": 1}})
        [entry] = await every(database, AuditEntry, operation_id=one)
        product = await load(database, Product, mine.id)
        assert product is not None
        assert product.deleted_at is not None
        assert (entry.action, entry.row_id) == ("deleted", mine.id)
        assert entry.changes.keys() == {"deleted_at"}
        [event] = await every(database, RecordedEvent, request_id=operation.request_id)
        assert (event.name, event.payload["product_ids"]) == ("ProductDeleted", [str(mine.id)])

    async def test_rebuild_index(
        self, database: Database, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        mine, his = await make_product(cast.alice), await make_product(cast.bob)
        one = await operations.start(cast.alice, "rebuild_index", [mine.id, his.id])
        await operations.run()
        operation = await operations.get(one)
        assert (operation.state, operation.done, operation.reasons) == (
            State.FINISHED,
            1,
            {"skipped": {"not yours": 1}},
        )
        [event] = await every(database, RecordedEvent, request_id=operation.request_id)
        assert (event.name, event.payload["product_ids"]) == ("ProductIndexRequested", [str(mine.id)])
        [delivery] = await every(database, Delivery, event_id=event.id)
        assert (delivery.task, delivery.arguments) == (
            "update_product_index",
            {"product_ids": [str(mine.id)], "anew": True},
        )
        assert await every(database, AuditEntry, operation_id=one) == []
        assert {product.version for product in await every(database, Product)} == {1}
        assert await every(database, ProductSearchDocument) == []

    async def test_the_question_tells_how_many_owners_there_are(
        self, cast: Cast, make_product: MakeProduct, operations: Operations
    ) -> None:
        await make_product(cast.alice)
        assert (await shown(operations, cast.root, "deactivate")).related == []
        await make_product(cast.bob)
        assert (await shown(operations, cast.root, "deactivate")).related == ["They belong to 2 people."]


def changed(price: Decimal, by: PriceChange) -> Decimal:
    """The rules once more, in Python's arithmetic."""
    price = price * (1 + by.change / 100) if by.unit is Unit.PERCENT else price + by.change
    if by.rounding is Rounding.NINETY_NINE:
        price = price.quantize(Decimal(1), ROUND_HALF_UP) - Decimal("0.01")
    else:
        step = Decimal(by.rounding.value)
        price = (price / step).quantize(Decimal(1), ROUND_HALF_UP) * step
    if by.floor is not None:
        price = max(price, by.floor)
    if by.ceiling is not None:
        price = min(price, by.ceiling)
    return price


async def in_postgresql(database: Database, price: Decimal, by: PriceChange) -> Decimal:
    """Of the only product."""
    async with database.transaction() as session:
        product = (await session.scalars(select(Product))).one()
        product.price = price
        await session.flush()
        return (await session.scalars(select(ChangePrice().change(by).values["price"]))).one()


class TestRounding:
    @pytest.mark.parametrize(
        ("price", "change", "rounding", "expected"),
        [
            ("10.00", "5.55", "0.01", "10.56"),  # 10.555
            ("10.00", "5.54", "0.01", "10.55"),
            ("0.10", "-5", "0.01", "0.10"),  # 0.095
            ("1.00", "2.4", "0.05", "1.00"),
            ("1.00", "2.5", "0.05", "1.05"),
            ("1.00", "7.5", "0.05", "1.10"),
            ("1.00", "4.99", "0.10", "1.00"),
            ("1.00", "5", "0.10", "1.10"),
            ("1.00", "15", "0.10", "1.20"),
            ("1.00", "49.99", "1.00", "1.00"),
            ("1.00", "50", "1.00", "2.00"),
            ("5.00", "-50", "1.00", "3.00"),
            ("1.00", "50", ".99", "1.99"),
            ("12.34", "1", ".99", "11.99"),
            ("12.50", "1", ".99", "12.99"),
            ("0.40", "1", ".99", "-0.01"),
        ],
    )
    async def test_it_is_to_the_nearest_halves_up(
        self,
        price: str,
        change: str,
        rounding: str,
        expected: str,
        database: Database,
        cast: Cast,
        make_product: MakeProduct,
    ) -> None:
        await make_product(cast.alice)
        by = PriceChange.model_validate({"change": change, "rounding": rounding})
        assert await in_postgresql(database, Decimal(price), by) == Decimal(expected)
        assert changed(Decimal(price), by) == Decimal(expected)

    @pytest.mark.parametrize(
        ("change", "expected"), [("-90", "5.00"), ("90", "12.00"), ("10", "11.00"), ("-50", "5.00")]
    )
    async def test_floor_and_ceiling_count_after_rounding(
        self, change: str, expected: str, database: Database, cast: Cast, make_product: MakeProduct
    ) -> None:
        await make_product(cast.alice)
        by = PriceChange.model_validate({"change": change, "rounding": "1.00", "floor": "5", "ceiling": "12"})
        assert await in_postgresql(database, Decimal(10), by) == Decimal(expected)

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        price=st.decimals("0.01", "99999999.99", places=2),
        percent=st.decimals("-99.99", "1000", places=2),
        amount=st.decimals("-99999999.99", "99999999.99", places=2),
        unit=st.sampled_from(Unit),
        rounding=st.sampled_from(Rounding),
        limits=st.lists(st.decimals("0.01", "99999999.99", places=2), max_size=2),
    )
    @example(
        price=Decimal("99999999.99"),
        percent=Decimal(1000),
        amount=Decimal(1),
        unit=Unit.PERCENT,
        rounding=Rounding.CENT,
        limits=[],
    )
    async def test_it_is_what_pythons_decimals_make_of_it(
        self,
        database: Database,
        cast: Cast,
        price: Decimal,
        percent: Decimal,
        amount: Decimal,
        unit: Unit,
        rounding: Rounding,
        limits: list[Decimal],
    ) -> None:
        if not await every(database, Product):
            await make_products(database, cast.alice, 1)
        change = percent if unit is Unit.PERCENT else amount
        floor, ceiling = [*sorted(limits), None, None][:2]
        try:
            by = PriceChange(unit=unit, change=change, rounding=rounding, floor=floor, ceiling=ceiling)
        except ValidationError:
            assert change == 0
            return
        assert await in_postgresql(database, price, by) == changed(price, by)


class TestUsers:
    async def test_deactivated_people_are_signed_out_and_nobody_else(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        people = [actor.id for actor in (cast.alice, cast.bob, cast.sam, cast.root)]
        async with database.transaction() as session:
            for user_id in people:
                assert user_id
                await open_session(session, user_id, address=None, user_agent=None)
        one = await operations.start(cast.root, "deactivate", [people[0], people[2], people[3]], kind="user")
        await operations.run()
        operation = await operations.truth(one)
        assert (operation.done, operation.reasons) == (2, {"skipped": {"this is you": 1}})
        assert {user.id: user.is_active for user in await every(database, User)} == {
            people[0]: False,
            people[1]: True,
            people[2]: False,
            people[3]: True,
        }
        assert {session.user_id for session in await every(database, AuthSession)} == {people[1], people[3]}
        [entry] = await every(database, AuditEntry, operation_id=one, row_id=people[0])
        assert entry.changes == {"is_active": [True, False]}
        [event] = await every(database, RecordedEvent, request_id=operation.request_id)
        assert (event.name, event.payload["fields"]) == ("UserUpdated", ["is_active"])

        preview = await shown(operations, cast.root, "deactivate", kind="user")
        assert preview.counts.skipped == [("already inactive", 2), ("this is you", 1)]
        one = await operations.start(cast.root, "activate", "", kind="user")
        await operations.run()
        operation = await operations.truth(one)
        assert (operation.done, operation.reasons) == (
            2,
            {"skipped": {"already active": 1, "this is you": 1}},
        )

    async def test_who_must_choose_a_new_password_is_signed_out_and_asked_once(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        async with database.transaction() as session:
            assert cast.alice.id
            await open_session(session, cast.alice.id, address=None, user_agent=None)
        one = await operations.start(cast.root, "require_new_password", [cast.alice.id], kind="user")
        await operations.run()
        assert (await operations.truth(one)).done == 1
        alice = await load(database, User, cast.alice.id)
        assert alice is not None
        assert alice.must_change_password
        assert await every(database, AuthSession) == []
        preview = await shown(operations, cast.root, "require_new_password", kind="user")
        assert preview.counts.skipped == [("already asked for one", 1), ("this is you", 1)]
        undo = await operations.undo(cast.root, one)
        await operations.run()
        assert (await operations.truth(undo)).done == 1
        alice = await load(database, User, cast.alice.id)
        assert alice is not None
        assert not alice.must_change_password

    @pytest.mark.parametrize("at_once", [False, True])
    async def test_two_superusers_who_shut_each_other_out_leave_one(
        self, at_once: bool, database: Database, cast: Cast, operations: Operations
    ) -> None:
        async def both_wait() -> bool:
            async with database.reading() as session:
                waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                return await session.scalar(waiting) == 2

        async with database.transaction() as session:
            data = UserCreate(email="eve@demo.example", name="Eve", role=Role.SUPERUSER)
            user = await UserService(session, Actor.system()).create(data)
        eve = Actor(user.id, Role.SUPERUSER, user.email)
        assert cast.root.id
        started = [
            await operations.start(cast.root, "deactivate", [user.id], kind="user"),
            await operations.start(eve, "deactivate", [cast.root.id], kind="user"),
        ]
        await operations.run(2)
        other = BulkRunner(database, find_role)
        if at_once:
            async with database.transaction() as elsewhere:
                # Both look their actor up before either changes anything.
                await UserRepository(elsewhere, Actor.system()).take_turn()
                steps = [asyncio.create_task(one.step()) for one in (operations.runner, other)]
                await eventually(both_wait)
            await asyncio.gather(*steps)
        await operations.run()
        ended = [await operations.truth(one) for one in started]
        assert sorted(operation.done for operation in ended) == [0, 1]
        assert {reason for operation in ended for reason in operation.reasons.get("failed", {})} == {
            "no longer allowed"
        }
        superusers = await every(database, User, role=Role.SUPERUSER)
        assert sorted(user.is_active for user in superusers) == [False, True]

    async def test_an_undo_never_shuts_out_who_takes_back(
        self, database: Database, cast: Cast, operations: Operations
    ) -> None:
        async with database.transaction() as session:
            data = UserCreate(email="eve@demo.example", name="Eve", role=Role.SUPERUSER, is_active=False)
            user = await UserService(session, Actor.system()).create(data)
        one = await operations.start(cast.root, "activate", [user.id], kind="user")
        await operations.run()
        eve = Actor(user.id, Role.SUPERUSER, user.email)
        preview = await operations.preview(eve, await operations.draft_of_undo(eve, one))
        assert preview.counts.skipped == [("this is you", 1)]


def test_every_action_can_be_told_and_shown() -> None:
    """A label in the imperative, a schema whose fields have titles, and a model whose rows have a name."""
    for kind, actions in ACTIONS.items():
        for name, action in actions.items():
            assert (action.kind, action.name) == (kind, name)
            assert action.label[0].isupper()
            assert label_of(action.model) is not None
            assert all(field.title for field in action.parameters.model_fields.values())


def test_outcomes_are_numbers_that_last() -> None:
    """They are stored, and named in an index."""
    assert {outcome.name: outcome.value for outcome in Outcome} == {
        "OPEN": 0,
        "DONE": 1,
        "SKIPPED": 2,
        "FAILED": 3,
    }
