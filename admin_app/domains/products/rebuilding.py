"""Rebuilding the search index of all products: a successor is filled, completed, and takes over."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.database import Database
from admin_app.domains.products.indexing import NAME, ProductIndex
from admin_app.domains.products.models import Product
from admin_app.errors import AppError, Conflict
from admin_app.search_index import SearchDocument, SearchRebuild

CHUNK = 2000
WRITERS = 2
"""Finding the words of a document is work for one core of PostgreSQL's."""

CONNECTIONS = WRITERS + 2
"""What a rebuild needs of the pool: one for its lock, one for the chunk."""

REBUILD_LOCK = 0x73656174  # any constant but those of indexing.py: one rebuild at a time
CHANGES_SECONDS = 30
"""So long the change-over waits for changes of the index that are under way."""

TRIES = 300
PAUSE_SECONDS = 0.2
LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True)
class Progress:
    stage: str
    done: int
    total: int


class Rebuild:
    """Killed anywhere, it goes on where it was when it is run again.

    Saving and searching go on meanwhile, and what is saved is in the new index too.
    """

    def __init__(self, database: Database, *, chunk: int = CHUNK) -> None:
        self._database = database
        self._chunk = chunk

    async def run(self) -> AsyncIterator[Progress]:
        """Raises Conflict while another one is running."""
        async with self._alone():
            try:
                async for progress in self._run():
                    yield progress
            except AppError as error:
                if type(error) is AppError:  # the index refused something, and would again
                    await self._forget()
                raise

    async def _run(self) -> AsyncIterator[Progress]:
        done, total = await self._begin()
        yield Progress("Writing", done, total)
        while (done_now := await self._fill()) is not None:
            done = done_now
            yield Progress("Writing", done, max(total, done))
        yield Progress("Completing", done, done)
        async with self._database.reading() as session:
            await ProductIndex(session).engine.complete(session)
        yield Progress("Changing over", done, done)
        await self._take_over()

    async def _begin(self) -> tuple[int, int]:
        """Or go on. Returns how many are done, of how many."""
        async with self._database.transaction() as session:
            total = await session.scalar(select(func.count(Product.id)).where(Product.deleted_at.is_(None)))
            engine = ProductIndex(session).engine
            state = await session.get(SearchRebuild, NAME)
            if state is not None and state.target == engine.target and not state.is_taking_over:
                return state.done, total or 0
            if state is not None:
                await session.delete(state)
                await session.flush()
            await engine.begin(session)
            session.add(SearchRebuild(name=NAME, target=engine.target))
        return 0, total or 0

    async def _fill(self) -> int | None:
        """One chunk. Returns how many are done by now, or None when there are no more."""
        async with self._database.transaction() as session:
            state = await _locked(session)
            ids, documents = await ProductIndex(session).hold(state.after, self._chunk)
            if not ids:
                return None
            shares = [documents[number::WRITERS] for number in range(WRITERS)]
            await asyncio.gather(*(self._write(share) for share in shares))
            state.after, state.done = ids[-1], state.done + len(ids)
            return state.done

    async def _write(self, documents: Sequence[SearchDocument]) -> None:
        """On a connection of its own. Written but not counted, they are written once more."""
        async with self._database.transaction() as session:
            await ProductIndex(session).engine.successor(session).upsert(documents, anew=True)

    async def _take_over(self) -> None:
        async with self._database.transaction() as session:
            engine = ProductIndex(session).engine
            if not engine.is_in_database:
                (await _locked(session)).is_taking_over = True
        for tries_left in reversed(range(TRIES)):
            try:
                await self._try_to_take_over()
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE or not tries_left:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                break
        await engine.tidy_up()

    async def _try_to_take_over(self) -> None:
        async with self._database.transaction() as session:
            await session.execute(text(f"SET LOCAL lock_timeout = '{CHANGES_SECONDS}s'"))
            await ProductIndex(session).take_over()
            await session.delete(await _locked(session))

    async def _forget(self) -> None:
        async with self._database.transaction() as session:
            await session.execute(delete(SearchRebuild).where(SearchRebuild.name == NAME))

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """The lock is the connection's, and gone with it whatever becomes of this process."""
        async with self._database.direct.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            if not await connection.scalar(select(func.pg_try_advisory_lock(REBUILD_LOCK))):
                raise Conflict("The search index is being rebuilt already.")
            try:
                yield
            finally:
                await connection.invalidate()


async def _locked(session: AsyncSession) -> SearchRebuild:
    state = await session.get(SearchRebuild, NAME, with_for_update=True)
    if state is None:
        raise Conflict("Another rebuild of the search index has ended meanwhile.")
    return state
