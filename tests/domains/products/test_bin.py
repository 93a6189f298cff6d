"""The bin: what lies in it is not there for anybody else, can come back, and is gone for good in the end."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update

from admin_app import listing
from admin_app.actor import Actor, Role
from admin_app.audit import AuditEntry
from admin_app.database import Database
from admin_app.domains.products import tasks
from admin_app.domains.products.handlers import UPDATE_PRODUCT_INDEX
from admin_app.domains.products.indexing import ProductIndex
from admin_app.domains.products.models import Product, ProductSearchDocument
from admin_app.domains.products.repository import ProductRepository
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import BIN_DAYS, ProductService
from admin_app.domains.users.service import UserService
from admin_app.errors import AppError, Conflict, Forbidden, NotFound
from admin_app.listing import ListQuery
from admin_app.outbox import Delivery, RecordedEvent
from tests.admin.rows import every, history, load, traces
from tests.conftest import Cast, MakeProduct
from tests.crash.waiting import waits_or_ends
from tests.deliveries import work
from tests.domains.products.conftest import Products

NEWEST = ListQuery("deleted_at", True)
LONG_AGO = timedelta(days=BIN_DAYS, seconds=1)


async def deleted(product: Product, database: Database, *, ago: timedelta = timedelta()) -> Product:
    """The product, put into the bin so long ago."""
    async with database.transaction() as session:
        await ProductService(session, Actor.system()).delete(product.id)
        if ago:
            await session.execute(
                update(Product)
                .where(Product.id == product.id)
                .values(deleted_at=datetime.now(UTC) - ago, updated_at=Product.updated_at)
            )
    found = await load(database, Product, product.id)
    assert found is not None
    return found


async def in_bin(products: Products, actor: Actor, query: ListQuery = NEWEST) -> list[UUID]:
    async with products(actor) as service:
        return [row.id for row in (await service.bin_page(query)).rows]


class TestDelete:
    async def test_it_goes_to_the_bin_with_history_and_event(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        async with products(cast.alice) as service:
            gone = await service.delete(product.id, expected_version=1)
            assert (gone.name, gone.version) == (product.name, 2)
        stored = await load(database, Product, product.id)
        assert stored is not None
        assert stored.deleted_at is not None
        assert abs(stored.deleted_at - datetime.now(UTC)) < timedelta(minutes=1)
        entry = (await history(database, product.id))[-1]
        assert (entry.action, entry.actor_id) == ("deleted", cast.alice.id)
        assert entry.changes == {"deleted_at": [None, stored.deleted_at.isoformat()]}
        [event] = await every(database, RecordedEvent, name="ProductDeleted")
        assert event.payload == {"product_ids": [str(product.id)]}

    async def test_a_second_time_there_is_nothing(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.alice), database)
        before = await traces(database)
        for version in (None, 1, 2):
            with pytest.raises(NotFound):
                async with products(cast.alice) as service:
                    await service.delete(product.id, expected_version=version)
        assert await traces(database) == before


class TestNotThere:
    @pytest.mark.parametrize("person", ["alice", "root", "sam"])
    async def test_nothing_but_the_bin_shows_it(
        self,
        person: str,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        stays = await make_product(cast.alice, name="Overkill", price=Decimal("5"))
        product = await make_product(cast.alice, name="Overkill", price=Decimal("5"))
        await work(database)
        await deleted(product, database)  # and the worker has not heard of it yet
        query = ListQuery("created_at", True)
        async with products(getattr(cast, person)) as service:
            found = {
                "list": await service.list_all(active_only=False),
                "of owner": await service.get_user_products(cast.alice.id),
                "ranked": await service.search_products("overkill"),
                "page": (await service.page(query)).rows,
                "page of a search": (await service.page(ListQuery("price", False, "overkill"))).rows,
            }
            wrong = {name: rows for name, rows in found.items() if [row.id for row in rows] != [stays.id]}
            assert wrong == {}
            assert await service.search_products(str(product.id)) == []
            for exactly in (False, True):
                assert (await service.count(query, exactly=exactly)).number == 1
            for by_id in (
                ListQuery("price", True, str(product.id)),
                ListQuery("price", True, str(product.id)[:20]),
            ):
                assert product.id not in [row.id for row in (await service.page(by_id)).rows]
            with pytest.raises(NotFound):
                await service.get_by_id(product.id)
            with pytest.raises(NotFound):
                await service.get_details(product.id)
            monkeypatch.setattr(listing, "FACET_SECONDS", 30)
            assert (await service.facets(query))["is_active"]["yes"].number == 1

    async def test_the_repositorys_other_queries_pass_it_over(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.bob, name="Overkill", price=Decimal("5")), database)
        async with database.reading() as session:
            repository = ProductRepository(session, cast.root)
            assert await repository.get_many([product.id]) == []
            assert await repository.search("overkill", 10) == []
            assert await repository.get_price_range(Decimal(1), Decimal(9)) == []
            assert await ProductIndex(session).ids_of_owner(cast.bob.id) == []
            assert await repository.owner_emails("bob", 10) == []

    @pytest.mark.parametrize("person", ["alice", "bob", "root"])
    async def test_it_can_be_changed_no_more_than_what_never_was(
        self, person: str, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.alice), database)
        before = await traces(database)
        answers = []
        for row_id in (product.id, uuid4()):
            for change in (
                lambda service, row_id: service.update(row_id, ProductUpdate(name="New")),
                lambda service, row_id: service.update(row_id, ProductUpdate()),
                lambda service, row_id: service.delete(row_id, expected_version=2),
                lambda service, row_id: service.get_changeable(row_id),
            ):
                with pytest.raises(NotFound) as refused:
                    async with products(getattr(cast, person)) as service:
                        await change(service, row_id)
                answers.append((vars(refused.value), str(refused.value)))
        assert answers[:4] == answers[4:]
        assert await traces(database) == before


class TestRestore:
    @pytest.mark.parametrize("person", ["alice", "root"])
    async def test_the_owner_and_superusers_bring_it_back_as_it_was(
        self, person: str, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        actor = getattr(cast, person)
        product = await make_product(cast.alice, description="As it was")
        since = (await deleted(product, database)).deleted_at
        assert since is not None
        async with products(actor) as service:
            assert (await service.restore(product.id, expected_version=2)).version == 3
        async with products(cast.sam) as service:
            back = await service.get_by_id(product.id)
        same = ("id", "name", "description", "price", "is_active", "owner_id", "created_at")
        assert {name: getattr(back, name) for name in same} == {name: getattr(product, name) for name in same}
        assert await in_bin(products, cast.root) == []
        entries = await history(database, product.id)
        assert [entry.action for entry in entries] == ["created", "deleted", "restored"]
        assert entries[-1].actor_id == actor.id
        assert entries[-1].changes == {"deleted_at": [since.isoformat(), None]}
        [event] = await every(database, RecordedEvent, name="ProductRestored")
        about = {"product_ids": [str(product.id)]}
        assert event.payload == about
        [delivery] = await every(database, Delivery, event_id=event.id)
        assert (delivery.task, delivery.arguments) == (UPDATE_PRODUCT_INDEX, about)

    async def test_a_stranger_gets_the_answer_for_what_never_was_and_support_is_refused(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.alice), database)
        before = await traces(database)
        answers = []
        for actor in (cast.bob, cast.sam):
            for row_id in (product.id, uuid4()):
                for version in (None, 1):
                    with pytest.raises(AppError) as refused:
                        async with products(actor) as service:
                            await service.restore(row_id, expected_version=version)
                    answers.append((type(refused.value), vars(refused.value), str(refused.value)))
        assert len(set(map(str, answers[:4]))) == len(set(map(str, answers[4:]))) == 1
        assert (answers[0][0], answers[4][0]) == (NotFound, Forbidden)
        assert await traces(database) == before

    async def test_again_or_without_need_it_changes_nothing(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        never = await make_product(cast.alice)
        again = await deleted(await make_product(cast.alice), database)
        async with products(cast.alice) as service:
            await service.restore(again.id, expected_version=2)
        before = await traces(database)
        async with products(cast.alice) as service:
            assert (await service.restore(again.id, expected_version=2)).version == 3
            assert (await service.restore(never.id)).version == 1
        with pytest.raises(NotFound):
            async with products(cast.bob) as service:
                await service.restore(never.id)
        assert await traces(database) == before

    async def test_twice_at_once_it_is_restored_once(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.alice), database)

        async def restore() -> None:
            async with products(cast.alice) as service:
                await service.restore(product.id)

        async with products(cast.root) as service:
            await service.restore(product.id)
            second = asyncio.create_task(restore())
            await waits_or_ends(second, database)
        await second
        assert [entry.action for entry in await history(database, product.id)] == [
            "created",
            "deleted",
            "restored",
        ]

    async def test_one_deleted_anew_since_is_a_conflict(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.alice), database)
        async with products(cast.root) as service:
            await service.restore(product.id)
            await service.delete(product.id)
        with pytest.raises(Conflict):
            async with products(cast.alice) as service:
                await service.restore(product.id, expected_version=2)
        assert await in_bin(products, cast.alice) == [product.id]


class TestIndex:
    async def test_search_follows_it_into_the_bin_and_back(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice, name="Overkill")
        await work(database)
        await deleted(product, database)
        await work(database)
        assert await every(database, ProductSearchDocument) == []
        async with products(cast.alice) as service:
            await service.restore(product.id)
        await work(database)
        async with products(cast.sam) as service:
            assert [row.id for row in await service.search_products("overkill")] == [product.id]
            assert (await service.get_details(product.id)).is_indexed

    async def test_a_late_delivery_does_not_bring_it_back(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.alice), database)
        async with database.transaction() as session:
            await tasks.update_product_index(session, [str(product.id)])
            await tasks.update_owner_index(session, [str(cast.alice.id)])
        assert await every(database, ProductSearchDocument) == []

    async def test_who_indexes_it_does_not_wait_for_who_restores_it(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.alice, name="Overkill"), database)
        async with products(cast.alice) as service:
            await service.restore(product.id)
            async with database.transaction() as session:
                await tasks.update_product_index(session, [str(product.id)])
            assert await every(database, ProductSearchDocument) == []
        await work(database)
        assert [row.id for row in await every(database, ProductSearchDocument)] == [product.id]


class TestBinPage:
    async def test_everybody_sees_what_the_role_allows(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        await make_product(cast.alice, name="Stays")
        hers = await deleted(await make_product(cast.alice), database)
        his = await deleted(await make_product(cast.bob), database)
        was = await make_product(cast.alice)
        await deleted(was, database)
        async with database.transaction() as session:
            # Somebody who is in support now may have owned products before.
            await session.execute(update(Product).where(Product.id == was.id).values(owner_id=cast.sam.id))
        assert await in_bin(products, cast.alice) == [hers.id]
        assert await in_bin(products, cast.bob) == [his.id]
        assert await in_bin(products, cast.root) == [was.id, his.id, hers.id]
        assert await in_bin(products, cast.sam) == [was.id, his.id, hers.id]

    async def test_it_is_walked_newest_first_and_searched(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        ids = [
            (await deleted(await make_product(cast.alice, name=f"Disc {number}"), database)).id
            for number in range(5)
        ]
        query, seen = ListQuery("deleted_at", True, size=2), []
        while True:
            async with products(cast.root) as service:
                page = await service.bin_page(query)
            seen += [row.id for row in page.rows]
            assert all(row.deleted_at is not None for row in page.rows)
            if page.next is None:
                break
            query = ListQuery("deleted_at", True, size=2, cursor=page.next)
        assert seen == ids[::-1]
        async with products(cast.root) as service:
            assert (await service.bin_page(ListQuery("deleted_at", True, size=2))).count.number == 5
        assert await in_bin(products, cast.root, ListQuery("deleted_at", True, "disc 3")) == [ids[3]]
        assert await in_bin(products, cast.root, ListQuery("deleted_at", True, "alice disc 3")) == [ids[3]]
        assert await in_bin(products, cast.root, ListQuery("deleted_at", True, "bob")) == []
        assert await in_bin(products, cast.bob, ListQuery("deleted_at", True, str(ids[3]))) == []

    async def test_a_large_list_and_a_large_bin_tell_their_own_estimates_and_read_their_own_index(
        self, cast: Cast, database: Database
    ) -> None:
        async with database.transaction() as session:
            await session.execute(
                text(
                    "INSERT INTO products (name, price, owner_id, deleted_at) "
                    "SELECT 'x', 1, :owner, CASE WHEN n % 3 = 0 THEN now() END "
                    "FROM generate_series(1, 69000) n"
                ),
                {"owner": cast.alice.id},
            )
            await session.execute(text("ANALYZE products"))
        async with database.reading() as session:
            service = ProductService(session, cast.root)
            listed = (await service.page(ListQuery("created_at", True))).count
            binned = (await service.bin_page(NEWEST)).count
            assert listed is not None
            assert binned is not None
            assert (listed.is_exact, binned.is_exact) == (False, False)
            assert abs(listed.number - 46_000) < 2000
            assert abs(binned.number - 23_000) < 2000
            for order, condition, index in (
                ("created_at DESC", "IS NULL", "ix_products_created_at"),
                ("price", "IS NULL", "ix_products_price"),
                ("plain_text(name)", "IS NULL", "ix_products_name_order"),
                ("deleted_at DESC", "IS NOT NULL", "ix_products_bin"),
            ):
                explain = (
                    f"EXPLAIN SELECT * FROM products WHERE deleted_at {condition} "
                    f"ORDER BY {order}, id{' DESC' if 'DESC' in order else ''} LIMIT 26"
                )
                plan = "\n".join(await session.scalars(text(explain)))
                assert f"using {index}" in plan, plan


class TestPurge:
    async def test_what_is_due_is_gone_for_good_and_its_values_are_in_the_history(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        stays = await make_product(cast.alice)
        young = await deleted(await make_product(cast.alice), database)
        due = await deleted(
            await make_product(cast.bob, name="Overkill", description="1979", is_active=False),
            database,
            ago=LONG_AGO,
        )
        assert due.deleted_at is not None
        events = len(await every(database, RecordedEvent))
        async with products(Actor.system()) as service:
            before = datetime.now(UTC) - timedelta(days=BIN_DAYS)
            assert await service.purge(before, 10) == 1
            assert await service.purge(before, 10) == 0
        assert {product.id for product in await every(database, Product)} == {stays.id, young.id}
        entry = (await history(database, due.id))[-1]
        assert (entry.action, entry.kind, entry.actor_label) == ("purged", "product", "system")
        assert entry.changes == {
            "name": ["Overkill", None],
            "description": ["1979", None],
            "price": ["0.99", None],
            "is_active": [False, None],
            "images": [[], None],
            "owner_id": [str(cast.bob.id), None],
            "deleted_at": [due.deleted_at.isoformat(), None],
        }
        assert len(await every(database, RecordedEvent)) == events
        with pytest.raises(NotFound):
            async with products(cast.bob) as service:
                await service.restore(due.id)

    async def test_it_takes_the_oldest_first_and_no_more_than_asked(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        ids = [
            (await deleted(await make_product(cast.alice), database, ago=LONG_AGO * (4 - number))).id
            for number in range(3)
        ]
        left = []
        async with products(Actor.system()) as service:
            for _ in range(3):
                assert await service.purge(datetime.now(UTC), 1) == 1
                left.append(await in_bin(products, cast.root))
        assert await every(database, Product) == []
        assert len([entry for entry in await every(database, AuditEntry) if entry.action == "purged"]) == 3
        assert left[0] == ids[::-1]  # not committed before the end

    async def test_many_take_as_few_statements_as_one(
        self,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
        database: Database,
        statements: list[str],
    ) -> None:
        for _ in range(21):
            await deleted(await make_product(cast.alice), database, ago=LONG_AGO)
        numbers = []
        for limit in (1, 20):
            async with products(Actor.system()) as service:
                statements.clear()
                assert await service.purge(datetime.now(UTC), limit) == limit
            numbers.append(len(statements))
        assert numbers[0] == numbers[1]

    @pytest.mark.parametrize("person", ["alice", "bob", "sam", "root"])
    async def test_nobody_may_do_it_by_hand(
        self, person: str, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.alice), database, ago=LONG_AGO)
        with pytest.raises(Forbidden):
            async with products(getattr(cast, person)) as service:
                await service.purge(datetime.now(UTC), 10)
        with pytest.raises(Forbidden):
            async with products(Actor(None, Role.ADMINISTRATOR, "nobody")) as service:
                await service.purge(datetime.now(UTC), 10)
        assert await load(database, Product, product.id) is not None

    async def test_what_somebody_is_restoring_is_left_alone(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.alice), database, ago=LONG_AGO)
        async with products(cast.alice) as restoring:
            await restoring.restore(product.id)
            async with products(Actor.system()) as service:
                assert await service.purge(datetime.now(UTC), 10) == 0
        async with products(cast.alice) as service:
            assert (await service.get_by_id(product.id)).deleted_at is None

    async def test_after_a_rollback_it_is_still_there(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await deleted(await make_product(cast.alice), database, ago=LONG_AGO)
        before = await traces(database)
        with pytest.raises(InterruptedError):
            async with products(Actor.system()) as service:
                assert await service.purge(datetime.now(UTC), 10) == 1
                raise InterruptedError
        assert await traces(database) == before
        assert await in_bin(products, cast.alice) == [product.id]


async def test_the_owner_of_a_product_in_the_bin_stays_until_it_is_gone(
    cast: Cast, make_product: MakeProduct, products: Products, database: Database
) -> None:
    product = await deleted(await make_product(cast.bob), database, ago=LONG_AGO)
    with pytest.raises(Conflict, match="bin"):
        async with database.transaction() as session:
            await UserService(session, cast.root).delete(cast.bob.id)
    async with products(Actor.system()) as service:
        await service.purge(datetime.now(UTC), 1)
    async with database.transaction() as session:
        await UserService(session, cast.root).delete(cast.bob.id)
    async with database.reading() as session:
        kept = select(AuditEntry.action).where(AuditEntry.row_id == product.id).order_by(AuditEntry.id)
        assert list(await session.scalars(kept)) == ["created", "deleted", "purged"]
