"""The search index of products: what is asked of it, and how it is kept up to date."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from sqlalchemy import ARRAY, Integer, func, literal, select
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.domains.products.models import Product, ProductSearchDocument, ProductSearchWord
from admin_app.domains.users.models import User
from admin_app.errors import AppError
from admin_app.search import as_id
from admin_app.search_index import (
    SEARCH,
    Hit,
    Known,
    SearchDocument,
    SearchEngine,
    SearchIndex,
    SearchRebuild,
)
from admin_app.search_postgres import PostgresEngine

NAME = "products"
BATCH = 500
"""So many documents are sent at once."""

CHANGE_LOCK = 0x73656172  # any constant: the advisory lock between changes of the index and its change-over
ROW_LOCKS = 0x73656173  # any other: the space of the advisory locks on parts of the products
PARTS = 1024

POSTGRES = PostgresEngine(ProductSearchDocument, ProductSearchWord, "search_products")

_LIVE = Product.deleted_at.is_(None)


@dataclass(frozen=True)
class Differences:
    """Of some products, or of some of the index."""

    missing: Sequence[UUID] = ()
    outdated: Sequence[UUID] = ()
    extra: Sequence[UUID] = ()


class _Away(Exception):
    """The index cannot be searched."""


class ProductIndex:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self.engine: SearchEngine = session.info.get(SEARCH, POSTGRES)

    @cached_property
    def _index(self) -> SearchIndex:
        return self.engine.index(self._session)

    async def search(self, text: str, limit: int) -> list[Hit] | None:
        """Ranked from 1 to 0, typo-tolerant, as complete as the worker is up to date; an id finds its row.

        None when the index is away, too slow, or empty although there are products. Raises TooSlow when the
        database is that before it begins or after it has ended.
        """
        row_id = as_id(text)
        if row_id:
            return [Hit(row_id, 1.0)]
        try:
            async with self._session.begin_nested():  # else a search cut short would end the transaction
                await self._session.connection()  # now there is a savepoint to go back to
                try:
                    hits = await self._index.search(text, limit=limit)
                    is_lost = (
                        not hits and await self._index.is_empty() and await self._next_ids(None, 1) != []
                    )
                except (AppError, ProgrammingError) as error:  # PostgreSQL's: the index is not there
                    raise _Away from error
        except _Away:
            return None
        return None if is_lost else hits

    async def update(self, product_ids: Collection[UUID], *, anew: bool = False) -> None:
        """Bring these products' index entries up to date, whatever order such calls arrive in.

        `anew`: also entries that are believed to be so. At most once in a transaction, because of the locks.
        """
        ids = sorted(product_ids)
        await self._lock(ids)
        # Asked after the lock: a rebuild that began meanwhile reads these products when it is given up.
        indexes: list[tuple[SearchIndex, bool]] = [(self._index, anew)]
        if await self._is_being_rebuilt():
            indexes.append((self.engine.successor(self._session), True))
        for batch in (ids[start : start + BATCH] for start in range(0, len(ids), BATCH)):
            documents = await self.documents(batch)
            gone = set(batch) - {document.id for document in documents}
            for index, is_anew in indexes:
                await index.upsert(documents, anew=is_anew)
                await index.remove(gone)

    async def hold(self, after: UUID | None, limit: int) -> tuple[list[UUID], list[SearchDocument]]:
        """The next products, which nobody else indexes until the transaction ends; and as they are now."""
        ids = await self._next_ids(after, limit)
        await self._lock(ids)
        return ids, await self.documents(ids)

    async def take_over(self) -> None:
        """The successor becomes the index, between two changes of it."""
        await self._session.execute(select(func.pg_advisory_xact_lock(CHANGE_LOCK)))
        await self.engine.take_over(self._session)

    async def documents(self, ids: Sequence[UUID]) -> list[SearchDocument]:
        """Of those that are there, as they are now."""
        statement = (
            select(Product.id, Product.version, Product.name, Product.description, User.email)
            .join(Product.owner)
            .where(Product.id.in_(ids), _LIVE)
            .order_by(Product.id)
        )
        return [
            SearchDocument(row.id, row.version, row.name, row.email, row.description)
            for row in await self._session.execute(statement)
        ]

    async def ids_of_owner(self, owner_id: UUID) -> list[UUID]:
        statement = select(Product.id).where(Product.owner_id == owner_id, _LIVE).order_by(Product.id)
        return list(await self._session.scalars(statement))

    async def compare(self, limit: int) -> AsyncIterator[tuple[int, Differences]]:
        """First all products, then all of the index: how many products were looked at, and what differs."""
        ids = await self._next_ids(None, limit)
        while ids:
            documents = await self.documents(ids)
            known = await self._index.known(ids)
            yield (
                len(ids),
                Differences(
                    missing=[each.id for each in documents if each.id not in known],
                    outdated=[
                        each.id for each in documents if each.id in known and not _is_same(each, known)
                    ],
                ),
            )
            ids = await self._next_ids(ids[-1], limit)
        async for page in self._index.ids(limit):
            here = select(Product.id).where(Product.id.in_(page), _LIVE)
            there = set(await self._session.scalars(here))
            yield 0, Differences(extra=[row_id for row_id in page if row_id not in there])

    async def _next_ids(self, after: UUID | None, limit: int) -> list[UUID]:
        statement = select(Product.id).where(_LIVE).order_by(Product.id).limit(limit)
        if after is not None:
            statement = statement.where(Product.id > after)
        return list(await self._session.scalars(statement))

    async def _lock(self, ids: Iterable[UUID]) -> None:
        """To the end of the transaction nobody else changes what the index has of these.

        Not the rows themselves are locked, for the index may be slow and saving must not wait for it.
        Parts and not ids, so that the locks are few; in their order, so that no two wait for each other.
        """
        parts = literal(sorted({part_of(row_id) for row_id in ids}), ARRAY(Integer()))
        await self._session.execute(select(func.pg_advisory_xact_lock_shared(CHANGE_LOCK)))
        part = func.unnest(parts).column_valued("part")
        await self._session.execute(select(func.pg_advisory_xact_lock(ROW_LOCKS, part)))

    async def _is_being_rebuilt(self) -> bool:
        running = select(SearchRebuild).where(
            SearchRebuild.name == NAME, SearchRebuild.target == self.engine.target
        )
        return await self._session.scalar(select(running.exists())) or False


def part_of(row_id: UUID) -> int:
    """Ids begin with the time; what was made in the same 64 milliseconds, as by an import, is in one part."""
    return (row_id.int >> 86) % PARTS


def _is_same(document: SearchDocument, known: Mapping[UUID, Known]) -> bool:
    version, digest = known[document.id]
    return version == document.version and digest in {document.digest, None}
