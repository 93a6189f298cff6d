"""The product service: who may do what, what each change leaves behind, and what a refusal does not."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import false, select, true, update

from admin_app.actor import Actor, Role, Source
from admin_app.audit import AuditEntry
from admin_app.bulk.changes import CHANGED_MEANWHILE, NOT_YOURS, NOTHING_TO_CHANGE, Change
from admin_app.database import Database
from admin_app.domains.products import many_service
from admin_app.domains.products.handlers import UPDATE_PRODUCT_INDEX
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductCreate, ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.domains.users.service import UserService
from admin_app.errors import AppError, Conflict, Forbidden, InvalidInput, NotFound
from admin_app.merging import EditConflict
from admin_app.outbox import Delivery, RecordedEvent
from tests.conftest import Cast, MakeProduct, count
from tests.crash.waiting import waits_or_ends
from tests.domains.products.conftest import Products

ACTIVATE, DEACTIVATE = Change({"is_active": true()}), Change({"is_active": false()})

PEOPLE = ("alice", "bob", "sam", "root")
NEW = ProductCreate(name="Restless and Wild", price=Decimal("0.99"))

Action = Callable[[ProductService, UUID, int], Awaitable[object]]

CHANGES: dict[str, Action] = {
    "update": lambda service, row, _: service.update(row, ProductUpdate(name="Changed")),
    "update nothing": lambda service, row, _: service.update(row, ProductUpdate()),
    "update from an old version": lambda service, row, version: service.update(
        row, ProductUpdate(name="Changed"), expected_version=version - 1
    ),
    "give away": lambda service, row, _: service.update(row, ProductUpdate(owner_id=uuid4())),
    "delete": lambda service, row, _: service.delete(row),
    "delete from an old version": lambda service, row, version: service.delete(
        row, expected_version=version - 1
    ),
    "open the edit form": lambda service, row, _: service.get_changeable(row),
}


async def entries(database: Database, action: str, row_id: UUID) -> list[AuditEntry]:
    async with database.reading() as session:
        found = select(AuditEntry).where(AuditEntry.row_id == row_id, AuditEntry.action == action)
        return list(await session.scalars(found))


async def written(database: Database) -> tuple[int, ...]:
    """How much history, and how many events and deliveries there are."""
    async with database.reading() as session:
        return tuple([await count(session, table) for table in ("audit_entry", "event", "delivery")])


async def load(database: Database, product_id: UUID) -> Product:
    async with database.reading() as session:
        return await session.get_one(Product, product_id)


class TestRefusals:
    @pytest.mark.parametrize("action", CHANGES)
    async def test_a_stranger_gets_the_answer_for_a_product_that_does_not_exist(
        self, action: str, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        before = await written(database)
        answers = []
        for row_id in (product.id, uuid4()):
            with pytest.raises(AppError) as refused:
                async with products(cast.bob) as service:
                    await CHANGES[action](service, row_id, product.version)
            answers.append((type(refused.value), vars(refused.value), str(refused.value)))
        assert answers[0] == answers[1]
        assert answers[0][0] is NotFound
        assert await written(database) == before
        assert (await load(database, product.id)).name == product.name

    @pytest.mark.parametrize("action", CHANGES)
    async def test_support_may_change_nothing_and_learns_nothing(
        self, action: str, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        before = await written(database)
        for row_id in (product.id, uuid4()):
            with pytest.raises(Forbidden):
                async with products(cast.sam) as service:
                    await CHANGES[action](service, row_id, product.version)
        assert await written(database) == before

    @pytest.mark.parametrize("person", ["alice", "root"])
    @pytest.mark.parametrize("action", ["update", "update nothing", "delete", "open the edit form"])
    async def test_owner_and_superuser_may(
        self, action: str, person: str, cast: Cast, make_product: MakeProduct, products: Products
    ) -> None:
        product = await make_product(cast.alice)
        async with products(getattr(cast, person)) as service:
            await CHANGES[action](service, product.id, product.version)

    @pytest.mark.parametrize("person", ["alice", "bob", "root"])
    @pytest.mark.parametrize("action", CHANGES)
    async def test_what_does_not_exist_is_not_found(
        self, action: str, person: str, cast: Cast, products: Products
    ) -> None:
        with pytest.raises(NotFound):
            async with products(getattr(cast, person)) as service:
                await CHANGES[action](service, uuid4(), 1)

    async def test_support_may_not_create(self, cast: Cast, products: Products, database: Database) -> None:
        before = await written(database)
        with pytest.raises(Forbidden):
            async with products(cast.sam) as service:
                await service.create(NEW)
        assert await written(database) == before

    @pytest.mark.parametrize("person", PEOPLE)
    async def test_every_role_reads_every_product(
        self, person: str, cast: Cast, make_product: MakeProduct, products: Products
    ) -> None:
        product = await make_product(cast.alice)
        async with products(getattr(cast, person)) as service:
            assert (await service.get_by_id(product.id)).owner.email == "alice@demo.example"
            assert [row.id for row in await service.list_all()] == [product.id]
            assert [row.id for row in await service.get_user_products(cast.alice.id)] == [product.id]
            assert not (await service.get_details(product.id)).is_indexed

    async def test_reading_what_does_not_exist_is_not_found(self, cast: Cast, products: Products) -> None:
        async with products(cast.root) as service:
            with pytest.raises(NotFound):
                await service.get_by_id(uuid4())
            with pytest.raises(NotFound):
                await service.get_details(uuid4())


class TestOwner:
    @pytest.mark.parametrize("person", ["alice", "root"])
    async def test_who_creates_a_product_owns_it(self, person: str, cast: Cast, products: Products) -> None:
        actor = getattr(cast, person)
        async with products(actor) as service:
            assert (await service.create(NEW)).owner_id == actor.id

    async def test_a_superuser_may_choose_the_owner(self, cast: Cast, products: Products) -> None:
        async with products(cast.root) as service:
            product = await service.create(NEW, cast.alice.id)
            assert product.owner_id == cast.alice.id
            moved = await service.update(product.id, ProductUpdate(owner_id=cast.bob.id))
            assert moved.owner_id == cast.bob.id

    async def test_an_administrator_may_not_create_for_somebody_else(
        self, cast: Cast, products: Products
    ) -> None:
        with pytest.raises(Forbidden):
            async with products(cast.alice) as service:
                await service.create(NEW, cast.bob.id)
        async with products(cast.alice) as service:
            assert (await service.create(NEW, cast.alice.id)).owner_id == cast.alice.id

    async def test_an_administrator_may_not_give_a_product_away(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        with pytest.raises(Forbidden):
            async with products(cast.alice) as service:
                await service.update(product.id, ProductUpdate(owner_id=cast.bob.id))
        async with products(cast.alice) as service:
            await service.update(product.id, ProductUpdate(owner_id=cast.alice.id, name="Mine"))
        assert (await load(database, product.id)).name == "Mine"

    @pytest.mark.parametrize("candidate", ["sam", "disabled bob", "nobody"])
    async def test_only_an_active_superuser_or_administrator_may_own(
        self,
        candidate: str,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
        database: Database,
    ) -> None:
        product = await make_product(cast.alice)
        async with database.transaction() as session:
            await session.execute(update(User).where(User.id == cast.bob.id).values(is_active=False))
        owner_id = {"sam": cast.sam.id, "disabled bob": cast.bob.id, "nobody": uuid4()}[candidate]
        for change in (
            lambda service: service.create(NEW, owner_id),
            lambda service: service.update(product.id, ProductUpdate(owner_id=owner_id)),
        ):
            with pytest.raises(InvalidInput) as refused:
                async with products(cast.root) as service:
                    await change(service)
            assert set(refused.value.fields) == {"owner"}

    async def test_the_system_owns_nothing_and_must_name_an_owner(
        self, cast: Cast, products: Products
    ) -> None:
        with pytest.raises(InvalidInput):
            async with products(Actor.system()) as service:
                await service.create(NEW)
        async with products(Actor.system()) as service:
            assert (await service.create(NEW, cast.alice.id)).owner_id == cast.alice.id

    @pytest.mark.parametrize("person", ["bob", "root"])
    async def test_an_owner_deleted_at_the_same_moment_is_a_clean_refusal(
        self, person: str, cast: Cast, products: Products, database: Database
    ) -> None:
        """Bob is deleted while he, or root for him, saves a new product."""

        async def save() -> None:
            async with products(getattr(cast, person)) as service:
                await service.create(NEW, cast.bob.id)

        async with database.transaction() as session:
            await UserService(session, cast.root).delete(cast.bob.id)
            saving = asyncio.create_task(save())
            await waits_or_ends(saving, database)
        with pytest.raises(InvalidInput):
            await saving

    async def test_a_new_owner_deleted_at_the_same_moment_is_a_clean_refusal(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)

        async def give() -> None:
            async with products(cast.root) as service:
                await service.update(product.id, ProductUpdate(owner_id=cast.bob.id))

        async with database.transaction() as session:
            await UserService(session, cast.root).delete(cast.bob.id)
            giving = asyncio.create_task(give())
            await waits_or_ends(giving, database)
        with pytest.raises(InvalidInput):
            await giving
        assert (await load(database, product.id)).owner_id == cast.alice.id


class TestVersions:
    async def test_a_change_of_what_somebody_changed_since_is_a_conflict(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        async with products(cast.root) as service:
            await service.update(product.id, ProductUpdate(price=Decimal(5)), expected_version=1)
        before = await written(database)
        with pytest.raises(EditConflict):
            async with products(cast.alice) as service:
                await service.update(product.id, ProductUpdate(name="Mine", price=6), expected_version=1)
        with pytest.raises(Conflict):
            async with products(cast.alice) as service:
                await service.delete(product.id, expected_version=1)
        assert await written(database) == before
        stored = await load(database, product.id)
        assert (stored.name, stored.price, stored.version) == (product.name, Decimal("5.00"), 2)

    async def test_without_an_expected_version_the_last_one_wins(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        for name in ("One", "Two"):
            async with products(cast.alice) as service:
                await service.update(product.id, ProductUpdate(name=name))
        stored = await load(database, product.id)
        assert (stored.name, stored.version) == ("Two", 3)

    async def test_the_same_values_again_change_nothing_and_record_nothing(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice, price=Decimal("1.50"), description="Heavy")
        before = await written(database)
        same = ProductUpdate(name=product.name, description="Heavy", price="1.5", is_active=True)
        for expected_version in (None, 1):
            async with products(cast.alice) as service:
                await service.update(product.id, same, expected_version=expected_version)
        assert await written(database) == before
        stored = await load(database, product.id)
        assert (stored.version, stored.updated_at) == (1, product.updated_at)

    async def test_of_two_changes_at_once_from_the_same_version_one_is_a_conflict(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)

        async def rename(name: str) -> None:
            async with products(cast.alice) as service:
                await service.update(product.id, ProductUpdate(name=name), expected_version=1)

        outcomes = await asyncio.gather(rename("One"), rename("Two"), return_exceptions=True)
        assert [type(outcome) for outcome in sorted(outcomes, key=str)].count(EditConflict) == 1
        assert outcomes.count(None) == 1
        assert len(await entries(database, "updated", product.id)) == 1

    async def test_a_product_read_before_it_is_locked_is_read_again(
        self, cast: Cast, make_product: MakeProduct, products: Products
    ) -> None:
        product = await make_product(cast.alice)
        with pytest.raises(Conflict):
            async with products(cast.alice) as service:
                opened = await service.get_by_id(product.id)
                async with products(cast.root) as other:
                    await other.update(product.id, ProductUpdate(name="One"))
                await service.update(product.id, ProductUpdate(name="Two"), expected_version=opened.version)

    async def test_a_bulk_change_sees_rows_as_they_are_not_as_they_were_read(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        async with products(cast.alice) as service:
            opened = await service.get_by_id(product.id)
            async with products(cast.root) as other:
                await other.update(product.id, ProductUpdate(is_active=False))
            assert opened.is_active
            rows = {product.id: opened.version}
            assert await service.change_many(rows, DEACTIVATE) == {product.id: CHANGED_MEANWHILE}

    async def test_a_product_deleted_while_it_is_edited_is_not_found(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)

        async def rename() -> None:
            async with products(cast.alice) as service:
                await service.update(product.id, ProductUpdate(name="Late"), expected_version=1)

        async with database.transaction() as session:
            await ProductService(session, cast.root).delete(product.id)
            renaming = asyncio.create_task(rename())
            await waits_or_ends(renaming, database)
        with pytest.raises(NotFound):
            await renaming

    async def test_a_product_given_away_while_its_old_owner_edits_it_is_not_found(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)

        async def rename() -> None:
            async with products(cast.alice) as service:
                await service.update(product.id, ProductUpdate(name="Late"))

        async with database.transaction() as session:
            await ProductService(session, cast.root).update(product.id, ProductUpdate(owner_id=cast.bob.id))
            renaming = asyncio.create_task(rename())
            await waits_or_ends(renaming, database)
        with pytest.raises(NotFound):
            await renaming

    async def test_a_superuser_edits_a_product_that_is_given_away_at_the_same_moment(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)

        async def rename() -> Product:
            async with products(cast.root) as service:
                return await service.update(product.id, ProductUpdate(name="Late"))

        async with database.transaction() as session:
            await ProductService(session, cast.root).update(product.id, ProductUpdate(owner_id=cast.bob.id))
            renaming = asyncio.create_task(rename())
            await waits_or_ends(renaming, database)
        changed = await renaming
        assert (changed.name, changed.owner_id) == ("Late", cast.bob.id)


class TestTraces:
    """What a change leaves behind, in the same transaction."""

    async def test_creation_is_in_the_history_with_who_and_every_value(
        self, cast: Cast, products: Products, database: Database
    ) -> None:
        actor = Actor(cast.alice.id, Role.ADMINISTRATOR, "alice@demo.example", Source.FORM, "192.0.2.7")
        async with products(actor) as service:
            product = await service.create(NEW)
        [entry] = await entries(database, "created", product.id)
        assert (entry.actor_id, entry.actor_label) == (actor.id, actor.label)
        assert (entry.source, entry.address, entry.request_id) == ("form", "192.0.2.7", actor.request_id)
        assert entry.kind == "product"
        assert entry.changes == {
            "name": [None, "Restless and Wild"],
            "description": [None, ""],
            "price": [None, "0.99"],
            "is_active": [None, True],
            "images": [None, []],
            "owner_id": [None, str(actor.id)],
        }

    async def test_a_change_is_in_the_history_from_old_to_new(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        change = ProductUpdate(price="12.5", is_active=False, name=product.name)
        async with products(cast.root) as service:
            await service.update(product.id, change)
        [entry] = await entries(database, "updated", product.id)
        assert entry.actor_id == cast.root.id
        assert entry.changes == {"price": ["0.99", "12.50"], "is_active": [True, False]}

    async def test_each_change_publishes_its_event_and_asks_for_the_index_task(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        async with products(cast.alice) as service:
            await service.update(product.id, ProductUpdate(name="New"))
            await service.delete(product.id)
        about = {"product_ids": [str(product.id)]}
        async with database.reading() as session:
            happened = select(RecordedEvent).where(RecordedEvent.name.like("Product%")).order_by("id")
            events = list(await session.scalars(happened))
            deliveries = list(await session.scalars(select(Delivery)))
        assert [(event.name, event.payload) for event in events] == [
            ("ProductCreated", about),
            ("ProductUpdated", {**about, "fields": ["name"]}),
            ("ProductDeleted", about),
        ]
        assert {event.actor_id for event in events} == {cast.alice.id}
        assert {delivery.event_id for delivery in deliveries} == {event.id for event in events}
        assert [(delivery.task, delivery.arguments) for delivery in deliveries] == [
            (UPDATE_PRODUCT_INDEX, about)
        ] * 3

    async def test_after_a_rollback_there_is_no_product_no_history_and_no_event(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        class ChangedMyMind(Exception):
            pass

        product = await make_product(cast.alice)
        before = await written(database)
        with pytest.raises(ChangedMyMind):
            async with products(cast.alice) as service:
                await service.create(NEW)
                await service.update(product.id, ProductUpdate(name="New"))
                await service.change_many({product.id: 2}, DEACTIVATE)
                await service.delete(product.id)
                raise ChangedMyMind
        assert await written(database) == before
        stored = await load(database, product.id)
        assert (stored.name, stored.version, stored.is_active) == (product.name, 1, True)

    async def test_a_change_raises_version_and_time(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        async with products(cast.alice) as service:
            changed = await service.update(product.id, ProductUpdate(name="New"))
            assert changed.version == 2
        stored = await load(database, product.id)
        assert stored.updated_at > product.updated_at
        assert stored.created_at == product.created_at

    async def test_prices_are_decimals_of_two_places_wherever_they_are_read(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice, price=Decimal("0.1"))
        stored = await load(database, product.id)
        for price in (product.price, stored.price):
            assert isinstance(price, Decimal)
            assert str(price) == "0.10"


class TestManyAtOnce:
    async def test_a_mixed_selection_changes_own_rows_and_counts_the_rest(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        mine = [await make_product(cast.alice) for _ in range(2)]
        already = await make_product(cast.alice, is_active=False)
        foreign = await make_product(cast.bob)
        selection = dict.fromkeys([*(row.id for row in mine), already.id, foreign.id, uuid4()], 1)
        async with products(cast.alice) as service:
            reasons = await service.change_many(selection, DEACTIVATE)
        expected = {already.id: NOTHING_TO_CHANGE, foreign.id: NOT_YOURS}
        assert reasons == expected | dict.fromkeys(row.id for row in mine)
        for row in mine:
            stored = await load(database, row.id)
            assert (stored.is_active, stored.version) == (False, 2)
            assert stored.updated_at > row.updated_at
            [entry] = await entries(database, "updated", row.id)
            assert entry.changes == {"is_active": [True, False]}
        for row in (already, foreign):
            stored = await load(database, row.id)
            assert (stored.is_active, stored.version, stored.updated_at) == (row.is_active, 1, row.updated_at)
            assert await entries(database, "updated", row.id) == []

    async def test_a_superuser_changes_every_row(
        self, cast: Cast, make_product: MakeProduct, products: Products
    ) -> None:
        rows = [await make_product(owner) for owner in (cast.alice, cast.bob)]
        async with products(cast.root) as service:
            reasons = await service.change_many({row.id: 1 for row in rows}, DEACTIVATE)
        assert reasons == {row.id: None for row in rows}

    async def test_support_may_not(self, cast: Cast, make_product: MakeProduct, products: Products) -> None:
        product = await make_product(cast.alice)
        with pytest.raises(Forbidden):
            async with products(cast.sam) as service:
                await service.change_many({product.id: 1}, DEACTIVATE)

    async def test_an_empty_selection_does_nothing(
        self, cast: Cast, products: Products, database: Database
    ) -> None:
        before = await written(database)
        async with products(cast.alice) as service:
            assert await service.change_many({}, ACTIVATE) == {}
        assert await written(database) == before

    async def test_events_speak_of_chunks(
        self,
        cast: Cast,
        products: Products,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(many_service, "CHUNK", 2)
        async with products(cast.alice) as service:
            rows = await service.create_many([(NEW, cast.alice.id)] * 5)
            await service.change_many({row.id: 1 for row in rows}, DEACTIVATE)
        async with database.reading() as session:
            for name in ("ProductCreated", "ProductUpdated"):
                payloads = await session.scalars(
                    select(RecordedEvent.payload).where(RecordedEvent.name == name)
                )
                assert sorted(len(payload["product_ids"]) for payload in payloads) == [1, 2, 2]
            assert not (await session.scalars(select(Product.id).where(Product.is_active))).all()
            assert await count(session, "audit_entry WHERE kind = 'product'") == 10

    async def test_opposite_changes_of_the_same_rows_at_once_both_end_well(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        ids = [(await make_product(cast.alice)).id for _ in range(6)]

        async def change(selection: list[UUID], change: Change) -> dict[UUID, str | None]:
            async with products(cast.alice) as service:
                return await service.change_many(dict.fromkeys(selection, 1), change)

        outcomes = await asyncio.gather(
            *(
                change(ids[::-1] if turn % 2 else ids, DEACTIVATE if turn % 3 else ACTIVATE)
                for turn in range(8)
            )
        )
        for row_id in ids:
            told = sorted(str(outcome[row_id]) for outcome in outcomes)
            assert told.count("None") == 1
            assert set(told) <= {"None", CHANGED_MEANWHILE, NOTHING_TO_CHANGE}

    async def test_of_many_created_at_once_one_bad_owner_refuses_all(
        self, cast: Cast, products: Products, database: Database
    ) -> None:
        with pytest.raises(InvalidInput):
            async with products(cast.root) as service:
                await service.create_many([(NEW, cast.alice.id), (NEW, cast.sam.id)])
        async with database.reading() as session:
            assert await count(session, "products") == 0


class TestReading:
    async def test_list_all_is_newest_first_active_only_and_paged(
        self, cast: Cast, make_product: MakeProduct, products: Products
    ) -> None:
        rows = [await make_product(cast.alice, is_active=number != 2) for number in range(5)]
        newest = [row.id for row in reversed(rows)]
        async with products(cast.sam) as service:
            assert [row.id for row in await service.list_all(active_only=False)] == newest
            assert [row.id for row in await service.list_all()] == [
                row_id for row_id in newest if row_id != rows[2].id
            ]
            page = await service.list_all(limit=2, offset=1, active_only=False)
            assert [row.id for row in page] == newest[1:3]
            assert await service.list_all(offset=99) == []

    async def test_get_user_products_gives_everything_somebody_owns(
        self, cast: Cast, make_product: MakeProduct, products: Products
    ) -> None:
        mine = [await make_product(cast.alice, is_active=active) for active in (True, False)]
        await make_product(cast.bob)
        async with products(cast.bob) as service:
            assert [row.id for row in await service.get_user_products(cast.alice.id)] == [
                row.id for row in mine
            ]
            assert await service.get_user_products(uuid4()) == []
