"""What a search server is sent, what is made of its answers, and that nobody waits for one that is away."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from uuid import UUID, uuid4

import pytest

from admin_app import search_meilisearch
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import open_database
from admin_app.domains.products.indexing import ProductIndex
from admin_app.domains.products.rebuilding import Rebuild
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.errors import AppError, InvalidInput, Unavailable
from admin_app.outbox import Delivery
from admin_app.search import ExactOnly
from admin_app.search_index import Known, SearchDocument, SearchRebuild
from admin_app.search_meilisearch import MeilisearchEngine, MeilisearchIndex, NotSetUp, read_synonyms
from tests.admin.rows import every
from tests.conftest import Cast, MakeProduct
from tests.crash.waiting import eventually
from tests.deliveries import work
from tests.search.meilisearch import RecordingServer, recording_server

KEY = "a-key-nobody-may-read"
DOCUMENTS = [
    SearchDocument(UUID(int=number), 1, f"Title {number}", "a@b.example", "Body") for number in (1, 2)
]


@pytest.fixture
async def server() -> AsyncIterator[RecordingServer]:
    async with recording_server() as server:
        yield server


@pytest.fixture
async def engine(server: RecordingServer) -> AsyncIterator[MeilisearchEngine]:
    engine = MeilisearchEngine(server.url, KEY)
    yield engine
    await engine.close()


@pytest.fixture
def index(engine: MeilisearchEngine) -> MeilisearchIndex:
    return MeilisearchIndex(engine, "products")


@pytest.fixture
async def elsewhere(
    database: Database, settings: Settings, server: RecordingServer
) -> AsyncIterator[Database]:
    """The application's database with search on that server."""
    configured = {"search_url": server.url, "search_key": Settings(search_key=KEY, _env_file=None).search_key}
    elsewhere = open_database(settings.model_copy(update=configured))
    yield elsewhere
    await elsewhere.close()


class TestIndex:
    async def test_documents_are_sent_whole_and_found_again(
        self, server: RecordingServer, index: MeilisearchIndex
    ) -> None:
        await index.upsert(DOCUMENTS)
        [request] = server.requests
        assert (request.method, request.path) == ("POST", "/indexes/products/documents")
        assert request.query == {"primaryKey": "id"}
        assert request.key == KEY
        assert request.body[0] == {
            "id": str(UUID(int=1)),
            "version": 1,
            "digest": DOCUMENTS[0].digest.hex(),
            "title": "Title 1",
            "keywords": "a@b.example",
            "body": "Body",
        }
        assert await index.known([UUID(int=1), UUID(int=9)]) == {UUID(int=1): Known(1, DOCUMENTS[0].digest)}
        assert [page async for page in index.ids(1)] == [[UUID(int=1)], [UUID(int=2)]]
        assert not await index.is_empty()

        await index.remove([UUID(int=1), UUID(int=2)])
        assert server.sent("POST", "/indexes/products/documents/delete-batch") == [
            [str(UUID(int=1)), str(UUID(int=2))]
        ]
        assert await index.is_empty()

    async def test_nothing_to_say_is_not_sent(self, server: RecordingServer, index: MeilisearchIndex) -> None:
        await index.upsert([])
        await index.remove([])
        assert server.requests == []

    async def test_a_search_asks_for_ids_and_scores(
        self, server: RecordingServer, index: MeilisearchIndex
    ) -> None:
        await index.upsert(DOCUMENTS)
        hits = await index.search("titel\0\ud800 1", limit=2)
        assert [(hit.id.int, round(hit.score, 2)) for hit in hits] == [(1, 0.9), (2, 0.8)]
        [body] = server.sent("POST", "/indexes/products/search")
        asked = {name: body[name] for name in ("q", "limit", "attributesToRetrieve", "showRankingScore")}
        assert asked == {
            "q": "titel  1",
            "limit": 2,
            "attributesToRetrieve": ["id"],
            "showRankingScore": True,
        }


class TestSetUp:
    async def test_it_sends_what_is_searched_filtered_and_forgiven(
        self, server: RecordingServer, tmp_path: Path
    ) -> None:
        synonyms = tmp_path / "synonyms.json"
        synonyms.write_text('[["sofa", "couch"], ["tv", "television", "telly"], ["couch", "settee"]]')
        engine = MeilisearchEngine(server.url, KEY, synonyms)
        said = await engine.set_up()
        await engine.close()
        assert said == "The index 'products' is set up, with synonyms for 6 words."
        [sent] = server.sent("PATCH", "/indexes/products/settings")
        assert sent["searchableAttributes"] == ["title", "keywords", "body"]
        assert sent["displayedAttributes"] == ["id", "version", "digest"]
        assert sent["filterableAttributes"] == ["keywords"]
        assert sent["rankingRules"] == ["words", "typo", "proximity", "attribute", "sort", "exactness"]
        assert sent["typoTolerance"] == {
            "enabled": True,
            "disableOnAttributes": ["keywords"],
            "minWordSizeForTypos": {"oneTypo": 4, "twoTypos": 7},
        }
        assert sent["synonyms"] == {
            "sofa": ["couch"],
            "couch": ["sofa", "settee"],
            "settee": ["couch"],
            "tv": ["television", "telly"],
            "television": ["tv", "telly"],
            "telly": ["tv", "television"],
        }
        assert sent["searchCutoffMs"] < search_meilisearch.SEARCH_SECONDS * 1000

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("[[", "is not JSON"),
            ("{}", "should hold"),
            ('["sofa"]', "should hold"),
            ('[["sofa"]]', "should hold"),
            ('[["sofa", 1]]', "should hold"),
            ('[["sofa", " "]]', "should hold"),
            (None, "cannot be read"),
        ],
    )
    def test_a_file_of_another_kind_is_one_sentence(
        self, content: str | None, sentence: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "synonyms.json"
        if content is not None:
            path.write_text(content)
        with pytest.raises(InvalidInput, match=sentence) as refused:
            read_synonyms(path)
        assert refused.value.message.startswith(f"SEARCH_SYNONYMS: {path}")

    async def test_what_the_server_cannot_do_is_told(
        self, server: RecordingServer, engine: MeilisearchEngine
    ) -> None:
        server.failing["settingsUpdate"] = "The disk is full."
        with pytest.raises(AppError, match=r"The disk is full\."):
            await engine.set_up()


class TestAway:
    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (500, "does not answer"),
            (503, "does not answer"),
            (429, "does not answer"),
            (401, "refuses SEARCH_KEY"),
            (403, "refuses SEARCH_KEY"),
        ],
    )
    async def test_an_error_of_the_server_is_no_fault_of_the_request(
        self, status: int, reason: str, server: RecordingServer, index: MeilisearchIndex, caplog
    ) -> None:
        caplog.set_level(logging.DEBUG)
        server.status = status
        with pytest.raises(Unavailable, match=reason):
            await index.upsert(DOCUMENTS)
        with pytest.raises(Unavailable):
            await index.search("x", limit=1)
        assert len(server.requests) == 1, "and nobody asks again for some seconds"
        assert KEY not in caplog.text

    async def test_a_request_that_is_refused_is_tried_only_so_often(
        self, server: RecordingServer, index: MeilisearchIndex
    ) -> None:
        server.status = 400
        with pytest.raises(Exception, match="The search server refuses this: ") as refused:
            await index.upsert(DOCUMENTS)
        assert not isinstance(refused.value, Unavailable)

    @pytest.mark.parametrize(
        "raw",
        [
            b"<html>a proxy's page</html>",
            b"[]",
            b'{"hits": 1}',
            b"",
            b'{"hits": [{"id": "01a20688-bd1b-7207-a6c7-faa6abfaa8a1"}], "query": "", "processingTimeMs": 1}',
            b'{"hits": [{"id": 1, "_rankingScore": 1}], "query": "", "processingTimeMs": 1}',
            b'{"hits": [{"_rankingScore": "x"}], "query": "", "processingTimeMs": 1}',
            b"[" * 100_000,
        ],
        ids=["page", "list", "number", "nothing", "no score", "odd id", "no id", "deep"],
    )
    async def test_an_answer_that_makes_no_sense_is_no_answer(
        self, raw: bytes, server: RecordingServer, index: MeilisearchIndex
    ) -> None:
        await index.upsert(DOCUMENTS)
        server.raw = raw
        with pytest.raises(Unavailable):
            await index.search("x", limit=1)

    async def test_an_index_that_is_not_there_says_what_to_do_and_others_are_asked_on(
        self, server: RecordingServer, index: MeilisearchIndex
    ) -> None:
        for _ in range(2):
            with pytest.raises(NotSetUp, match="admin-app search rebuild"):
                await index.search("x", limit=1)
        assert len(server.requests) == 2

    async def test_a_slow_server_is_not_waited_for(
        self, server: RecordingServer, index: MeilisearchIndex
    ) -> None:
        server.delay_seconds = 30
        began = monotonic()
        with pytest.raises(Unavailable):
            await index.search("x", limit=1)
        waited = monotonic() - began
        assert search_meilisearch.SEARCH_SECONDS <= waited < 3
        with pytest.raises(Unavailable):
            await index.upsert(DOCUMENTS)
        assert len(server.requests) == 1

    async def test_it_is_asked_again_after_a_while(
        self, server: RecordingServer, index: MeilisearchIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search_meilisearch, "AWAY_SECONDS", 0)
        server.status = 500
        with pytest.raises(Unavailable):
            await index.upsert(DOCUMENTS)
        server.status = None
        await index.upsert(DOCUMENTS)
        assert len(server.indexes["products"]) == 2

    async def test_nobody_listens(self) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            engine = MeilisearchEngine(f"http://127.0.0.1:{closed.getsockname()[1]}", KEY)
            with pytest.raises(Unavailable, match="does not answer"):
                await MeilisearchIndex(engine, "products").is_empty()
            await engine.close()


class TestApplication:
    async def test_changes_reach_the_server(
        self, cast: Cast, make_product: MakeProduct, elsewhere: Database, server: RecordingServer
    ) -> None:
        product = await make_product(cast.alice, name="Overkill")
        await work(elsewhere)
        assert server.indexes["products"][str(product.id)]["title"] == "Overkill"
        async with elsewhere.transaction() as session:
            service = ProductService(session, cast.alice)
            assert [row.id for row in await service.search_products("over")] == [product.id]
            assert (await service.get_details(product.id)).is_indexed is None
            await service.update(product.id, ProductUpdate(name="Bomber"))
        await work(elsewhere)
        document = server.indexes["products"][str(product.id)]
        assert (document["title"], document["version"]) == ("Bomber", 2)
        async with elsewhere.transaction() as session:
            await ProductService(session, cast.alice).delete(product.id)
        await work(elsewhere)
        assert server.indexes["products"] == {}

    async def test_saving_never_waits_and_the_index_catches_up(
        self,
        cast: Cast,
        make_product: MakeProduct,
        elsewhere: Database,
        server: RecordingServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(search_meilisearch, "AWAY_SECONDS", 0)
        product = await make_product(cast.alice, name="Overkill")
        server.delay_seconds = 30

        async def update_index() -> None:
            async with elsewhere.transaction() as session:
                await ProductIndex(session).update([product.id])

        updating = asyncio.create_task(update_index())

        async def has_been_asked() -> bool:
            return bool(server.requests)

        await eventually(has_been_asked)
        async with asyncio.timeout(2), elsewhere.transaction() as session:
            await ProductService(session, cast.alice).update(product.id, ProductUpdate(name="Bomber"))
        updating.cancel()
        await asyncio.gather(updating, return_exceptions=True)
        server.delay_seconds, server.status = 0, 503
        await work(elsewhere, until_done=False)
        for delivery in await every(elsewhere, Delivery):
            assert (delivery.tries, delivery.done_at, delivery.dead_at) == (0, None, None)
            assert delivery.last_error == "Unavailable: The search server does not answer."
        server.status = None
        await work(elsewhere)
        assert server.indexes["products"][str(product.id)]["title"] == "Bomber"

    @pytest.mark.parametrize("trouble", ["slow", "broken", "missing", "empty"])
    async def test_search_falls_back_on_exact_words(
        self,
        trouble: str,
        cast: Cast,
        make_product: MakeProduct,
        elsewhere: Database,
        server: RecordingServer,
    ) -> None:
        product = await make_product(cast.alice, name="Overkill")
        await make_product(cast.alice, name="Bomber")
        match trouble:
            case "slow":
                server.delay_seconds = 30
            case "broken":
                server.status = 500
            case "empty":
                server.indexes["products"] = {}
        async with elsewhere.reading() as session:
            service = ProductService(session, cast.sam)
            found = await service.rank("overkill", 5)
            assert isinstance(found, ExactOnly)
            assert [row.id for row, _ in found] == [product.id]
            assert [row.id for row in await service.search_products("overkill")] == [product.id]
            assert await service.rank("overkil1", 5) == []


class TestRebuild:
    async def test_a_new_index_is_filled_and_changes_places_with_the_old(
        self, cast: Cast, make_product: MakeProduct, elsewhere: Database, server: RecordingServer
    ) -> None:
        products = [await make_product(cast.alice, name=f"Product {number}") for number in range(5)]
        server.indexes["products"] = {str(uuid4()): {"id": "of old"}}
        stages = [progress.stage async for progress in Rebuild(elsewhere, chunk=2).run()]
        assert stages == ["Writing"] * 4 + ["Completing", "Changing over"]
        assert set(server.indexes["products"]) == {str(product.id) for product in products}
        assert "products_new" not in server.indexes
        first, last = server.lines[0], server.lines[-1]
        assert (first, last.rpartition("/")[0]) == ("DELETE /indexes/products_new", "GET /tasks")
        assert server.sent("POST", "/swap-indexes") == [[{"indexes": ["products", "products_new"]}]]
        assert server.lines.index("POST /swap-indexes") < server.lines.index(
            "DELETE /indexes/products_new", 1
        )
        assert await every(elsewhere, SearchRebuild) == []

    async def test_what_is_saved_meanwhile_is_written_to_both(
        self, cast: Cast, make_product: MakeProduct, elsewhere: Database, server: RecordingServer
    ) -> None:
        first, second, third = [await make_product(cast.alice, name="Old") for _ in range(3)]
        await work(elsewhere)
        rebuild = Rebuild(elsewhere, chunk=1).run()
        await anext(rebuild)
        await anext(rebuild)  # the first is written
        async with elsewhere.transaction() as session:
            service = ProductService(session, cast.alice)
            await service.update(first.id, ProductUpdate(name="New"))
            await service.delete(third.id)
        await work(elsewhere)
        assert server.indexes["products"][str(first.id)]["title"] == "New"
        assert server.indexes["products_new"][str(first.id)]["title"] == "New"
        assert [progress.done async for progress in rebuild][-1] == 2
        titles = {row_id: document["title"] for row_id, document in server.indexes["products"].items()}
        assert titles == {str(first.id): "New", str(second.id): "Old"}

    async def test_a_document_the_server_could_not_take_stops_it_before_the_change_over(
        self, cast: Cast, make_product: MakeProduct, elsewhere: Database, server: RecordingServer
    ) -> None:
        await make_product(cast.alice)
        server.failing["documentAdditionOrUpdate"] = "The disk is full."
        with pytest.raises(AppError, match="disk is full"):
            async for _ in Rebuild(elsewhere).run():
                pass
        assert "POST /swap-indexes" not in server.lines
        assert await every(elsewhere, SearchRebuild) == [], "the next one begins anew"

    async def test_one_cut_short_goes_on_but_not_from_within_the_change_over(
        self, cast: Cast, make_product: MakeProduct, elsewhere: Database, server: RecordingServer
    ) -> None:
        for _ in range(3):
            await make_product(cast.alice)
        rebuild = Rebuild(elsewhere, chunk=1).run()
        await anext(rebuild)
        await anext(rebuild)
        await rebuild.aclose()
        server.requests.clear()
        again = Rebuild(elsewhere, chunk=1).run()
        assert (await anext(again)).done == 1
        assert server.requests == []
        await again.aclose()
        async with elsewhere.transaction() as session:
            (await session.get_one(SearchRebuild, "products")).is_taking_over = True
        anew = Rebuild(elsewhere, chunk=1).run()
        assert (await anext(anew)).done == 0
        assert server.lines[0] == "DELETE /indexes/products_new"
        await anew.aclose()


def test_the_place_of_a_rebuild_holds_no_secret() -> None:
    engine = MeilisearchEngine("http://someone:secret@search.example:7700/at", KEY)
    assert engine.target == "meilisearch search.example:7700/at/products"
    assert KEY not in json.dumps(engine.target)
