"""A rebuild in PostgreSQL: a new index without a gap, whatever goes on meanwhile; and what a check finds."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import DBAPIError

from admin_app import migrations
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products import indexing
from admin_app.domains.products.indexing import PARTS, Differences, ProductIndex, part_of
from admin_app.domains.products.models import ProductSearchDocument, ProductSearchWord
from admin_app.domains.products.rebuilding import Progress, Rebuild
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.errors import Conflict
from admin_app.search_index import SearchRebuild
from tests.admin.rows import every
from tests.conftest import Cast, MakeProduct
from tests.deliveries import work
from tests.search.conftest import Products
from tests.test_migrations import differences


async def rebuilt(database: Database, *, chunk: int = 2) -> list[int]:
    return [progress.done async for progress in Rebuild(database, chunk=chunk).run()]


async def compared(database: Database, limit: int = 2) -> Differences:
    """Everything that differs."""
    found = Differences([], [], [])
    async with database.reading() as session:
        async for _, some in ProductIndex(session).compare(limit):
            found = Differences(
                [*found.missing, *some.missing],
                [*found.outdated, *some.outdated],
                [*found.extra, *some.extra],
            )
    return found


async def _rest_of(rebuild: AsyncIterator[Progress]) -> None:
    async for _ in rebuild:
        pass


NOTHING = Differences([], [], [])


async def spoil(database: Database, statement: str, **values: object) -> None:
    async with database.transaction() as session:
        await session.execute(text(statement), values)


class TestRebuild:
    async def test_it_ends_with_the_index_as_the_products_are(
        self,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
        database: Database,
        settings: Settings,
    ) -> None:
        rows = [await make_product(cast.alice, name=f"Overkill {number}") for number in range(5)]
        await work(database)
        await spoil(database, "UPDATE product_search_document SET title = 'x', vector = 'x'")
        await spoil(database, "INSERT INTO product_search_word VALUES ('zzyzx')")
        await spoil(
            database,
            "INSERT INTO product_search_document (id, version, title, vector) VALUES (:id, 1, 'x', 'x')",
            id=UUID(int=7),
        )
        assert await rebuilt(database) == [0, 2, 4, 5, 5, 5]
        assert await compared(database) == NOTHING
        async with products(cast.sam) as service:
            found = await service.search_products("overkil")
            assert {row.id for row in found} == {row.id for row in rows}
        words = [word.word for word in await every(database, ProductSearchWord)]
        assert "overkill" in words
        assert "zzyzx" not in words
        assert await every(database, SearchRebuild) == []
        # Tables, keys and indexes are called as before, and nothing is left of the old ones.
        assert await asyncio.to_thread(migrations.on_connection, settings.database_url, differences) == []
        assert await asyncio.to_thread(migrations.on_connection, settings.database_url, _new_tables) == []
        assert await rebuilt(database) == [0, 2, 4, 5, 5, 5], "and once more"

    async def test_without_products_the_index_is_empty(self, database: Database) -> None:
        assert await rebuilt(database) == [0, 0, 0]
        assert await compared(database) == NOTHING

    async def test_what_is_saved_meanwhile_is_in_the_new_index_as_it_was_saved_last(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        first, second, third = [await make_product(cast.alice, name="Old") for _ in range(3)]
        gone = await make_product(cast.alice, name="Gone")
        await work(database)
        rebuild = Rebuild(database, chunk=1).run()
        await anext(rebuild)
        await anext(rebuild)  # the first is written
        async with products(cast.alice) as service:
            await service.update(first.id, ProductUpdate(name="Bomber"))
            await service.update(third.id, ProductUpdate(name="Overkill"))
            await service.delete(gone.id)
        await make_product(cast.alice, name="Later")
        await work(database)
        async with products(cast.sam) as service:
            assert [row.id for row in await service.search_products("bomber")] == [first.id], "found at once"
        async for _ in rebuild:
            pass
        assert await compared(database) == NOTHING
        titles = {row.title for row in await every(database, ProductSearchDocument)}
        assert titles == {"bomber", "old", "overkill", "later"}
        async with products(cast.sam) as service:
            assert [row.id for row in await service.search_products("bombre")] == [first.id]
            assert second.id in {row.id for row in await service.search_products("old")}

    async def test_one_cut_short_goes_on_where_it_was(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        for _ in range(4):
            await make_product(cast.alice)
        rebuild = Rebuild(database, chunk=1).run()
        assert [(await anext(rebuild)).done for _ in range(3)] == [0, 1, 2]
        await rebuild.aclose()
        assert await rebuilt(database) == [2, 4, 4, 4]
        assert await compared(database) == Differences([], [], [])

    async def test_a_second_one_is_refused_while_the_first_goes_on(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        await make_product(cast.alice)
        rebuild = Rebuild(database).run()
        await anext(rebuild)
        with pytest.raises(Conflict, match="being rebuilt already"):
            await rebuilt(database)
        async for _ in rebuild:
            pass
        assert await compared(database) == NOTHING

    async def test_the_change_over_lets_searches_pass(
        self,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        product = await make_product(cast.alice)
        await work(database)
        has_paused = asyncio.Event()
        try_to_take_over = Rebuild._try_to_take_over

        async def note_refusal(self: Rebuild) -> None:
            try:
                await try_to_take_over(self)
            except DBAPIError:
                has_paused.set()
                raise

        monkeypatch.setattr(Rebuild, "_try_to_take_over", note_refusal)
        rebuild = Rebuild(database).run()
        while (await anext(rebuild)).stage != "Changing over":
            pass
        async with database.reading() as searching:
            await searching.execute(select(ProductSearchDocument.id))  # its lock lasts to the end
            changing = asyncio.create_task(_rest_of(rebuild))
            async with asyncio.timeout(20):
                await has_paused.wait()
            async with asyncio.timeout(5), products(cast.sam) as service:
                assert [row.id for row in await service.search_products("balls")] == [product.id]
            assert not changing.done()
        await changing
        async with products(cast.sam) as service:
            assert [row.id for row in await service.search_products("balls")] == [product.id]
        assert await compared(database) == NOTHING
        assert await every(database, SearchRebuild) == []


class TestCheck:
    async def test_it_names_what_is_missing_outdated_and_too_much(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        same, missing, older, other = [await make_product(cast.alice) for _ in range(4)]
        gone = await make_product(cast.alice)
        binned = await make_product(cast.alice)
        await work(database)
        assert await compared(database) == NOTHING
        await spoil(database, "DELETE FROM product_search_document WHERE id = :id", id=missing.id)
        await spoil(database, "UPDATE product_search_document SET version = 0 WHERE id = :id", id=older.id)
        await spoil(database, "UPDATE product_search_document SET digest = 'x' WHERE id = :id", id=other.id)
        await spoil(database, "UPDATE product_search_document SET digest = NULL WHERE id = :id", id=same.id)
        await spoil(database, "DELETE FROM products WHERE id = :id", id=gone.id)
        await spoil(database, "UPDATE products SET deleted_at = now() WHERE id = :id", id=binned.id)
        assert await compared(database) == Differences(
            [missing.id], [older.id, other.id], [gone.id, binned.id]
        )

    async def test_asking_for_a_product_writes_it_anew_whatever_the_index_believes(
        self, cast: Cast, make_product: MakeProduct, products: Products, database: Database
    ) -> None:
        product = await make_product(cast.alice, name="Overkill")
        await work(database)
        await spoil(database, "UPDATE product_search_document SET title = 'x', vector = 'x'")
        async with database.transaction() as session:
            await ProductIndex(session).update([product.id])
        assert [row.title for row in await every(database, ProductSearchDocument)] == ["x"]
        async with database.transaction() as session:
            await ProductIndex(session).update([product.id], anew=True)
        assert [row.title for row in await every(database, ProductSearchDocument)] == ["overkill"]


class TestUpdate:
    async def test_saving_does_not_wait_for_the_index(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        async with database.transaction() as indexing:
            await ProductIndex(indexing).update([product.id])
            async with asyncio.timeout(5), database.transaction() as session:
                await ProductService(session, cast.alice).update(product.id, ProductUpdate(name="New"))
        await work(database)
        assert await compared(database) == NOTHING

    async def test_more_than_a_batch_is_written_in_batches(
        self,
        cast: Cast,
        make_product: MakeProduct,
        database: Database,
        statements: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(indexing, "BATCH", 2)
        ids = [(await make_product(cast.alice)).id for _ in range(5)]
        statements.clear()
        async with database.transaction() as session:
            await ProductIndex(session).update(ids)
        written = [line for line in statements if line.startswith("INSERT INTO product_search_document")]
        assert len(written) == 3
        assert await compared(database) == NOTHING

    async def test_many_at_once_over_the_same_products_do_not_wait_for_each_other_for_ever(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        ids = [(await make_product(cast.alice)).id for _ in range(20)]

        async def update(some: list[UUID]) -> None:
            async with database.transaction() as session:
                await ProductIndex(session).update(some)

        await asyncio.gather(*(update(ids[number:] + ids[:number]) for number in range(8)))
        assert await compared(database) == NOTHING

    async def test_however_many_ids_there_are_the_locks_are_few(self, database: Database) -> None:
        ids = [UUID(int=(number << 86) | number) for number in range(5000)]
        assert {part_of(row_id) for row_id in ids} == set(range(PARTS))
        async with database.transaction() as session:
            await ProductIndex(session).update(ids)
            held = text(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            )
            assert await session.scalar(held) == PARTS + 1


def _new_tables(connection: Connection) -> list[str]:
    names = inspect(connection).get_table_names()
    return [name for name in names if name.endswith("_new")]
