"""What every index promises, on each that there is: PostgreSQL, and Meilisearch at TEST_SEARCH_URL."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products.indexing import POSTGRES, ProductIndex
from admin_app.domains.products.rebuilding import Rebuild
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.search_index import SEARCH, Known, SearchDocument, SearchEngine
from admin_app.search_meilisearch import MeilisearchEngine
from tests.conftest import Cast, MakeProduct
from tests.deliveries import work
from tests.search.test_rebuild import NOTHING, compared

URL = os.environ.get("TEST_SEARCH_URL", "")
KEY = os.environ.get("TEST_SEARCH_KEY", "")
NO_SERVER = "needs a Meilisearch server at TEST_SEARCH_URL (and its TEST_SEARCH_KEY)"


@pytest.fixture(
    params=[
        "postgresql",
        pytest.param("meilisearch", marks=pytest.mark.skipif(not URL, reason=NO_SERVER)),
    ]
)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[SearchEngine]:
    if request.param == "postgresql":
        yield POSTGRES
        return
    name = f"test_{uuid4().hex}"
    engine = MeilisearchEngine(URL, KEY, name=name)
    await engine.set_up()
    yield engine
    await engine.tidy_up()
    await engine.client.index(name).delete()
    await engine.close()


@pytest.fixture
async def shop(settings: Settings, database: Database, engine: SearchEngine) -> AsyncIterator[Database]:
    """The application's database, with search on that engine."""
    shop = Database(settings.database_url, session_info={**database.info, SEARCH: engine})
    yield shop
    await shop.close()


Settle = Callable[[], Awaitable[None]]


@pytest.fixture
def settle(shop: Database, engine: SearchEngine) -> Settle:
    """Deliver everything, and wait until a server has worked it off."""

    async def settle() -> None:
        await work(shop)
        if isinstance(engine, MeilisearchEngine):
            tasks = await engine.client.get_tasks(limit=1)
            await engine.client.wait_for_task(tasks.results[0].uid, timeout_in_ms=60_000)

    return settle


async def found(shop: Database, cast: Cast, words: str) -> list[UUID]:
    async with shop.reading() as session:
        return [row.id for row in await ProductService(session, cast.sam).search_products(words)]


@pytest.mark.parametrize(
    "words", ["motorhead", "MOTÖRHEAD", "motorhed", "overk", "motorhead over", "overkill vinyl", "alice@demo"]
)
async def test_it_forgives_case_accents_mistakes_and_unfinished_words(
    words: str, shop: Database, settle: Settle, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Motörhead – Overkill", description="Vinyl")
    await make_product(cast.bob, name="Something else entirely")
    await settle()
    assert (await found(shop, cast, words))[0] == product.id


async def test_the_title_counts_more_than_the_rest_and_scores_are_from_0_to_1(
    shop: Database, settle: Settle, cast: Cast, make_product: MakeProduct
) -> None:
    second = await make_product(cast.alice, name="Greatest Hits", description="with Overkill")
    first = await make_product(cast.alice, name="Overkill")
    await settle()
    async with shop.reading() as session:
        hits = await ProductIndex(session).search("overkill", 5)
    assert hits is not None
    assert [hit.id for hit in hits] == [first.id, second.id]
    assert 1 >= hits[0].score > hits[1].score >= 0


async def test_it_follows_what_is_changed_deleted_restored_and_renamed(
    shop: Database, settle: Settle, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Overkill")
    other = await make_product(cast.bob, name="Ace of Spades")
    await settle()
    async with shop.transaction() as session:
        service = ProductService(session, cast.alice)
        await service.update(product.id, ProductUpdate(name="Bomber"))
    await settle()
    assert await found(shop, cast, "overkill") == []
    assert await found(shop, cast, "bomber") == [product.id]
    async with shop.transaction() as session:
        await UserService(session, cast.root).update(cast.alice.id, UserUpdate(email="lemmy@new.example"))
        await ProductService(session, cast.bob).delete(other.id)
    await settle()
    assert await found(shop, cast, "lemmy@new.example") == [product.id]
    assert await found(shop, cast, "spades") == []
    async with shop.transaction() as session:
        await ProductService(session, cast.bob).restore(other.id)
    await settle()
    assert await found(shop, cast, "spades") == [other.id]
    assert await compared(shop) == NOTHING


async def test_it_tells_what_it_has(shop: Database, engine: SearchEngine, settle: Settle) -> None:
    documents = [SearchDocument(UUID(int=number), number, f"Title {number}", "", "") for number in (1, 2, 3)]
    async with shop.transaction() as session:
        assert await engine.index(session).is_empty()
        await engine.index(session).upsert(documents)
    await settle()
    async with shop.transaction() as session:
        index = engine.index(session)
        assert not await index.is_empty()
        known = await index.known([UUID(int=1), UUID(int=3), UUID(int=9)])
        assert known == {UUID(int=n): Known(n, documents[n - 1].digest) for n in (1, 3)}
        pages = [list(page) async for page in index.ids(2)]
        assert sorted(row_id.int for page in pages for row_id in page) == [1, 2, 3]
        assert [len(page) for page in pages] == [2, 1]
        await index.remove([UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=9)])
        await index.upsert([])
        await index.remove([])
    await settle()
    async with shop.reading() as session:
        assert await engine.index(session).is_empty()


async def test_any_text_may_be_searched_for(
    shop: Database, settle: Settle, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice)
    await settle()
    async with shop.reading() as session:
        for words in ("⑴", "½", "a & b | !c <-> (d):* \\ '", "-- @ / + .", "\0", "\ud800", '"', "x" * 200):
            assert await ProductIndex(session).search(words, 5) is not None


async def test_a_rebuild_takes_along_what_is_saved_meanwhile(
    shop: Database, settle: Settle, cast: Cast, make_product: MakeProduct
) -> None:
    first, *_ = [await make_product(cast.alice, name="Old") for _ in range(3)]
    await settle()
    rebuild = Rebuild(shop, chunk=1).run()
    await anext(rebuild)
    await anext(rebuild)
    async with shop.transaction() as session:
        await ProductService(session, cast.alice).update(first.id, ProductUpdate(name="Bomber"))
    await settle()
    assert await found(shop, cast, "bomber") == [first.id]
    async for _ in rebuild:
        pass
    await settle()
    assert await found(shop, cast, "bomber") == [first.id]
    assert await compared(shop) == NOTHING
