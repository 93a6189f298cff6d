"""The index on a Meilisearch server (https://www.meilisearch.com), over its official client."""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit
from uuid import UUID

import httpx2
from meilisearch_python_sdk import AsyncClient
from meilisearch_python_sdk.errors import MeilisearchApiError, MeilisearchError
from meilisearch_python_sdk.models.settings import MeilisearchSettings, MinWordSizeForTypos, TypoTolerance
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.errors import AppError, InvalidInput, Unavailable
from admin_app.search_index import Hit, Known, SearchDocument, storable

CONNECT_SECONDS = 1
REQUEST_SECONDS = 5
SEARCH_SECONDS = 0.3
AWAY_SECONDS = 5
"""After a failure nobody waits for the server again for so long."""

POLL_SECONDS = 0.1
NEW = "_new"
"""What the index that a rebuild fills is called after."""

REFUSED = {400, 413, 415, 422}
"""Statuses about what was sent; all others are about the server, and pass."""

IS_MISSING = "index_not_found"

STRANGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""Of an answer that is no JSON, or not of the expected shape, such as a proxy's."""

AWAY = "The search server does not answer."

logger = logging.getLogger(__name__)


class NotSetUp(Unavailable):
    def __init__(self) -> None:
        super().__init__("The search server has no index yet: run `admin-app search rebuild`.")


class MeilisearchIndex:
    """One index of the server. Its tasks run in the order in which they were sent, so the newest wins."""

    def __init__(self, engine: "MeilisearchEngine", uid: str) -> None:
        self._engine = engine
        self._index = engine.client.index(uid)

    async def upsert(self, documents: Sequence[SearchDocument], *, anew: bool = False) -> None:
        """`anew` makes no difference: documents are always sent whole."""
        if not documents:
            return
        async with self._engine.asking():
            await self._index.add_documents([_sent(document) for document in documents], "id", compress=True)

    async def remove(self, ids: Iterable[UUID]) -> None:
        if not (gone := [str(row_id) for row_id in ids]):
            return
        async with self._engine.asking():
            await self._index.delete_documents(gone)

    async def search(self, text: str, *, limit: int) -> list[Hit]:
        async with self._engine.asking(SEARCH_SECONDS):
            found = await self._index.search(
                storable(text), limit=limit, attributes_to_retrieve=["id"], show_ranking_score=True
            )
            return [Hit(UUID(hit["id"]), float(hit["_rankingScore"])) for hit in found.hits]

    async def is_empty(self) -> bool:
        async with self._engine.asking(SEARCH_SECONDS):
            return (await self._index.get_stats()).number_of_documents == 0

    async def known(self, ids: Sequence[UUID]) -> dict[UUID, Known]:
        async with self._engine.asking():
            found = await self._index.get_documents(
                ids=[str(row_id) for row_id in ids], limit=len(ids), fields=["id", "version", "digest"]
            )
            return {
                UUID(row["id"]): Known(row["version"], bytes.fromhex(row["digest"])) for row in found.results
            }

    async def ids(self, limit: int) -> AsyncIterator[Sequence[UUID]]:
        """By offset, for the server has no other way: what is changed meanwhile may be left out."""
        offset = 0
        while True:
            async with self._engine.asking():
                found = await self._index.get_documents(offset=offset, limit=limit, fields=["id"])
                page = [UUID(row["id"]) for row in found.results]
            if not page:
                return
            yield page
            offset += limit


class MeilisearchEngine:
    """One server, for all sessions of a process.

    After a failure it is given up for AWAY_SECONDS: whoever asks gets Unavailable at once.
    """

    is_in_database = False

    def __init__(self, url: str, key: str, synonyms: Path | None = None, *, name: str = "products") -> None:
        self.client = AsyncClient(url, key or None)
        self.client.http_client.timeout = httpx2.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS)
        parts = urlsplit(url)
        self.target = f"meilisearch {parts.hostname}:{parts.port or parts.scheme}{parts.path}/{name}"
        self._synonyms = synonyms
        self._name, self._new = name, f"{name}{NEW}"
        self._away_until = 0.0

    def index(self, session: AsyncSession) -> MeilisearchIndex:
        return MeilisearchIndex(self, self._name)

    def successor(self, session: AsyncSession) -> MeilisearchIndex:
        return MeilisearchIndex(self, self._new)

    async def set_up(self) -> str:
        settings = self._settings()
        await self._configure(self._name, settings)
        synonyms = len(settings.synonyms or {})
        return f"The index {self._name!r} is set up, with synonyms for {synonyms:,} words."

    async def begin(self, session: AsyncSession) -> None:
        settings = self._settings()
        await self._delete(self._new)
        await self._configure(self._new, settings)
        if not await self._exists(self._name):  # what takes over changes places with it
            await self._configure(self._name, settings)

    async def complete(self, session: AsyncSession) -> None:
        """Everything that was sent has been worked off, and nothing of it was refused."""
        async with self.asking():
            sent = await self.client.get_tasks(index_ids=[self._new], limit=1)
        await self._wait(sent.results[0].uid)
        async with self.asking():
            begun = await self.client.get_tasks(index_ids=[self._new], types=["settingsUpdate"], limit=1)
            failed = await self.client.get_tasks(
                index_ids=[self._new], types=["documentAdditionOrUpdate"], statuses=["failed"], limit=1
            )
        if failed.results and failed.results[0].uid > begun.results[0].uid:
            raise _refusal(failed.results[0].error)

    async def take_over(self, session: AsyncSession) -> None:
        async with self.asking():
            swap = await self.client.swap_indexes([(self._name, self._new)])
        await self._wait(swap.task_uid)

    async def tidy_up(self) -> None:
        await self._delete(self._new)

    async def version(self) -> str:
        async with self.asking():
            return (await self.client.get_version()).pkg_version

    async def close(self) -> None:
        await self.client.aclose()

    @asynccontextmanager
    async def asking(self, seconds: float = REQUEST_SECONDS) -> AsyncIterator[None]:
        """Raises Unavailable, or another AppError for a request that would be refused again."""
        if monotonic() < self._away_until:
            raise Unavailable(AWAY)
        try:
            async with asyncio.timeout(seconds):
                yield
        except MeilisearchApiError as error:
            if error.code == IS_MISSING:
                raise NotSetUp from error
            if error.status_code in REFUSED:
                raise AppError(f"The search server refuses this: {error.code}.") from error
            is_key = error.status_code in {401, 403}
            raise self._give_up("The search server refuses SEARCH_KEY." if is_key else AWAY) from error
        except (MeilisearchError, httpx2.HTTPError, TimeoutError, *STRANGE) as error:
            raise self._give_up(AWAY) from error

    def _give_up(self, reason: str) -> Unavailable:
        self._away_until = monotonic() + AWAY_SECONDS
        logger.warning("%s Nobody here asks it again for %d s.", reason, AWAY_SECONDS)
        return Unavailable(reason)

    async def _exists(self, uid: str) -> bool:
        try:
            async with self.asking():
                await self.client.index(uid).get_stats()
        except NotSetUp:
            return False
        return True

    async def _delete(self, uid: str) -> None:
        async with self.asking():
            deletion = await self.client.index(uid).delete()
        await self._wait(deletion.task_uid, {IS_MISSING})

    async def _configure(self, uid: str, settings: MeilisearchSettings) -> None:
        """Makes the index if there is none."""
        async with self.asking():
            change = await self.client.index(uid).update_settings(settings)
        await self._wait(change.task_uid)

    async def _wait(self, task_uid: int, forgiven: Collection[str] = ()) -> None:
        """Until the server has done it, however long that takes."""
        while True:
            async with self.asking():
                task = await self.client.get_task(task_uid)
            if task.status == "succeeded" or (task.error or {}).get("code") in forgiven:
                return
            if task.status in {"failed", "canceled"}:
                raise _refusal(task.error)
            await asyncio.sleep(POLL_SECONDS)

    def _settings(self) -> MeilisearchSettings:
        sizes = MinWordSizeForTypos(one_typo=4, two_typos=7)
        return MeilisearchSettings(
            searchable_attributes=["title", "keywords", "body"],  # the most important first
            displayed_attributes=["id", "version", "digest"],
            filterable_attributes=["keywords"],
            ranking_rules=["words", "typo", "proximity", "attribute", "sort", "exactness"],
            typo_tolerance=TypoTolerance(disable_on_attributes=["keywords"], min_word_size_for_typos=sizes),
            synonyms=read_synonyms(self._synonyms) if self._synonyms else {},
            search_cutoff_ms=int(SEARCH_SECONDS * 1000 * 0.8),  # it then answers with what it has
        )


def read_synonyms(path: Path) -> dict[str, list[str]]:
    """Each word with those that mean the same. Raises InvalidInput for any other kind of file."""
    form = 'a list of lists of words that mean the same, such as [["sofa", "couch"], ["tv", "television"]]'
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"SEARCH_SYNONYMS: {path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise InvalidInput(f"SEARCH_SYNONYMS: {path} is not JSON. It should hold {form}.") from None
    if not isinstance(groups, list) or not all(_is_group(group) for group in groups):
        raise InvalidInput(f"SEARCH_SYNONYMS: {path} should hold {form}.")
    same: dict[str, list[str]] = defaultdict(list)
    for group in groups:
        for word in group:
            same[word] += [other for other in group if other != word and other not in same[word]]
    return dict(same)


def _is_group(group: object) -> bool:
    return (
        isinstance(group, list)
        and len(group) > 1
        and all(isinstance(word, str) and word.strip() for word in group)
    )


def _sent(document: SearchDocument) -> dict[str, object]:
    return {
        "id": str(document.id),
        "version": document.version,
        "digest": document.digest.hex(),
        "title": document.title,
        "keywords": document.keywords,
        "body": document.body,
    }


def _refusal(error: object) -> AppError:
    message = error.get("message") if isinstance(error, dict) else None
    return AppError(f"The search server could not do it. {message or 'It does not say why.'}")
