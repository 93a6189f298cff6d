"""The ranked index: what the worker puts in, in any order, and what is found."""

import asyncio
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, false, select, update

from admin_app.bulk.changes import Change
from admin_app.database import Database, limit_time
from admin_app.domains.products import tasks
from admin_app.domains.products.indexing import ProductIndex
from admin_app.domains.products.models import ProductSearchDocument
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import TooSlow
from admin_app.search import ExactOnly
from admin_app.search_index import SearchDocument
from admin_app.search_postgres import PostgresIndex
from tests.conftest import Cast, MakeProduct
from tests.crash.waiting import waits_or_ends
from tests.search.conftest import Products, product_index, work


class TestIndex:
    async def test_the_worker_indexes_what_was_created_changed_and_deleted(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice, name="Overkill")
        async with products(cast.sam) as service:
            assert isinstance(await service.rank("overkill", 5), ExactOnly)
            assert not (await service.get_details(product.id)).is_indexed
        await work(database)
        async with products(cast.sam) as service:
            assert [row.id for row in await service.search_products("overkill")] == [product.id]
            assert (await service.get_details(product.id)).is_indexed

        async with products(cast.alice) as service:
            await service.update(product.id, ProductUpdate(name="Bomber"))
            assert not (await service.get_details(product.id)).is_indexed
        await work(database)
        async with products(cast.sam) as service:
            assert await service.search_products("overkill") == []
            assert [row.name for row in await service.search_products("bomber")] == ["Bomber"]

        async with products(cast.alice) as service:
            await service.delete(product.id)
        await work(database)
        async with database.reading() as session:
            assert (await session.scalars(select(ProductSearchDocument))).all() == []

    async def test_a_bulk_change_is_indexed_too(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        rows = [await make_product(cast.alice) for _ in range(3)]
        async with products(cast.alice) as service:
            change = Change({"is_active": false()})
            await service.change_many({row.id: row.version for row in rows}, change)
        await work(database)
        async with products(cast.sam) as service:
            for row in rows:
                assert (await service.get_details(row.id)).is_indexed

    async def test_words_are_not_looked_for_again_where_they_have_not_changed(
        self,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
        database: Database,
        statements: list[str],
    ) -> None:
        product = await make_product(cast.alice, name="Overkill")
        await work(database)
        changes = ((ProductUpdate(price=Decimal(7)), False), (ProductUpdate(name="Bomber"), True))
        for change, is_read in changes:
            async with products(cast.alice) as service:
                await service.update(product.id, change)
            statements.clear()
            await work(database)
            assert any("search_vector" in statement for statement in statements) is is_read
            async with products(cast.sam) as service:
                assert (await service.get_details(product.id)).is_indexed
                found = await service.search_products("Bomber" if is_read else "Overkill")
                assert [row.id for row in found] == [product.id]

    @pytest.mark.parametrize(
        "words",
        [
            "motorhead",
            "MOTÖRHEAD",
            "motorhed",
            "overk",
            "motor over",
            "vinyl",
            "alice@demo.example",
            "½",
            "ov",
            "o",
        ],
    )
    async def test_tolerates_case_accents_typing_errors_and_unfinished_words(
        self, words: str, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice, name="Motörhead – Overkill ½", description="Vinyl")
        await make_product(cast.bob, name="Something else entirely")
        await work(database)
        async with products(cast.sam) as service:
            assert [row.id for row in await service.search_products(words)] == [product.id]

    async def test_the_name_counts_more_than_the_description(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        second = await make_product(cast.alice, name="Greatest Hits", description="with Overkill")
        first = await make_product(cast.alice, name="Overkill")
        await work(database)
        async with products(cast.sam) as service:
            assert [row.id for row in await service.search_products("overkill")] == [first.id, second.id]
            assert [row.id for row in await service.search_products("overkill", limit=1)] == [first.id]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(words=st.text(max_size=60))
    @example(words="⑴")
    @example(words="½")
    @example(words="ŉ")
    @example(words="a & b | !c <-> (d):* \\ '")
    @example(words="-- @ / + .")
    @example(words="\0")
    @example(words="\ud800")
    async def test_any_text_may_be_searched_for(self, database: Database, words: str) -> None:
        async with database.reading() as session:
            assert await ProductIndex(session).search(words, 5) == []

    async def test_a_late_delivery_does_not_bring_an_older_version_back(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        product = await make_product(cast.alice)

        async with database.transaction() as session:
            index = product_index(session)
            for version, title in ((3, "new"), (2, "old"), (3, "new again")):
                await index.upsert([SearchDocument(product.id, version, title, "", "")])
                document = await session.get_one(ProductSearchDocument, product.id, populate_existing=True)
                assert (document.version, document.title) == (3, title if version == 3 else "new")

    async def test_indexing_again_gives_the_same(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        documents = []
        for _ in range(2):
            async with database.transaction() as session:
                await tasks.update_product_index(session, [str(product.id)])
            async with database.reading() as session:
                document = await session.get_one(ProductSearchDocument, product.id)
                documents.append((document.version, document.title, document.vector))
        assert documents[0] == documents[1]

    async def test_a_new_e_mail_of_the_owner_is_indexed_for_everything_they_own(
        self,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(tasks, "BATCH", 2)  # three deliveries
        rows = {(await make_product(cast.alice)).id for _ in range(5)}
        await work(database)
        async with database.transaction() as session:
            await UserService(session, cast.root).update(cast.alice.id, UserUpdate(email="al@new.example"))
        await work(database)
        async with products(cast.sam) as service:
            assert {row.id for row in await service.search_products("al@new.example")} == rows
            assert await service.search_products("alice@demo.example") == []

    async def test_a_task_that_read_an_old_e_mail_does_not_overwrite_the_new_one(
        self,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Two tasks index the same product at once; the one that read first writes last."""
        product = await make_product(cast.alice)
        has_read, may_write = asyncio.Event(), asyncio.Event()
        upsert = PostgresIndex.upsert

        async def hesitate(self, documents, **options) -> None:
            if not has_read.is_set():
                has_read.set()
                await may_write.wait()
            await upsert(self, documents, **options)

        monkeypatch.setattr(PostgresIndex, "upsert", hesitate)

        async def index() -> None:
            async with database.transaction() as session:
                await tasks.update_product_index(session, [str(product.id)])

        first = asyncio.create_task(index())
        await has_read.wait()

        async def rename_and_index() -> None:
            async with database.transaction() as session:
                values = update(User).where(User.id == cast.alice.id).values(email="al@new.example")
                await session.execute(values)
            await index()

        second = asyncio.create_task(rename_and_index())
        await waits_or_ends(second, database)
        may_write.set()
        await asyncio.gather(first, second)
        async with products(cast.sam) as service:
            assert [row.id for row in await service.search_products("al@new.example")] == [product.id]

    async def test_no_entry_outlives_a_product_deleted_while_it_is_indexed(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice)

        async def delete() -> None:
            async with products(cast.alice) as service:
                await service.delete(product.id)

        async with database.transaction() as session:
            await tasks.update_product_index(session, [str(product.id)])
            deleting = asyncio.create_task(delete())
            await waits_or_ends(deleting, database)
        await deleting
        await work(database)
        async with database.reading() as session:
            assert (await session.scalars(select(ProductSearchDocument.id))).all() == []

    async def test_what_is_gone_is_skipped(self, database: Database) -> None:
        async with database.transaction() as session:
            await tasks.update_product_index(session, [str(UUID(int=1))])
            await tasks.update_owner_index(session, [str(UUID(int=1))])


async def test_a_search_cut_short_before_it_began_is_too_slow_and_no_fault_of_ours(
    database: Database, cast: Cast
) -> None:
    def linger(connection: Connection, _name: str | None) -> None:
        """As long as a frozen server would, at the statement before the search."""
        connection.exec_driver_sql("SELECT pg_sleep(5)")

    event.listen(database.engine.sync_engine, "savepoint", linger)
    async with database.reading() as session:
        await limit_time(session, 0.02)
        with pytest.raises(TooSlow):
            await ProductService(session, cast.sam).rank("overkill", 5)
