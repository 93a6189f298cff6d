"""The index in PostgreSQL: two tables and a function in SQL, which the migrations define."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Float,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    column,
    delete,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import TSVECTOR, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import TypeEngine

from admin_app.database import Base, direct_engine
from admin_app.search_index import Hit, Known, SearchDocument, storable


class SearchDocumentColumns:
    """The table of documents of an index; a domain declares its own from it.

    `vector` holds the words of everything, and those of the title once more with a "=" before them.
    """

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    title: Mapped[str] = mapped_column(Text(collation="C"))
    vector: Mapped[str] = mapped_column(TSVECTOR)
    digest: Mapped[bytes | None]
    """By which a document is known to say what it says already: finding its words anew is what costs."""
    indexed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SearchWordColumns:
    """The table of all words it corrects towards. Only a rebuild takes any out: one too many does no harm."""

    word: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)


NO_PENDING = {"fastupdate": "off"}
"""Entries not yet sorted in are read by every search: hundreds of milliseconds after an import."""

NEW = "_new"
"""What the tables and indexes of a successor are called after."""


def document_indexes(table: str) -> tuple[Index, Index]:
    return (
        Index(f"ix_{table}_vector", "vector", postgresql_using="gin", postgresql_with=NO_PENDING),
        Index(f"ix_{table}_title", "title"),
    )


def word_indexes(table: str) -> tuple[Index]:
    deletions = text("search_deletions(word)")
    return (Index(f"ix_{table}_deletions", deletions, postgresql_using="gin", postgresql_with=NO_PENDING),)


class PostgresIndex:
    """Looks for titles that begin so, then for all words, then for words that are spelled nearly so.

    How, stands in SQL: `function` in the migrations, which takes one statement and a bounded time.
    """

    def __init__(self, session: AsyncSession, documents: Table, words: Table, function: str) -> None:
        self._session = session
        self._documents = documents  # with SearchDocumentColumns
        self._words = words  # with SearchWordColumns
        self._function = function

    async def upsert(self, documents: Sequence[SearchDocument], *, anew: bool = False) -> None:
        if not anew:
            known = await self._raise_versions(documents)
            documents = [document for document in documents if document.id not in known]
        if not documents:
            return
        table = self._documents
        new = _rows(
            id=([document.id for document in documents], Uuid()),
            version=([document.version for document in documents], Integer()),
            title=([document.title for document in documents], Text()),
            rest=([f"{document.keywords} {document.body}" for document in documents], Text()),
            digest=([document.digest for document in documents], LargeBinary()),
        )
        values = {
            "id": new.c.id,
            "version": new.c.version,
            "title": func.search_title(new.c.title),
            "vector": func.search_vector(new.c.title, new.c.rest),
            "digest": new.c.digest,
            "indexed_at": func.now(),
        }
        statement = insert(table).from_select(list(values), select(*values.values()))
        statement = statement.on_conflict_do_update(
            index_elements=[table.c.id],
            set_={name: statement.excluded[name] for name in values if name != "id"},
            where=table.c.version <= statement.excluded.version,
        )
        await self._session.execute(statement)
        await self._learn_words([document.id for document in documents])

    async def _raise_versions(self, documents: Sequence[SearchDocument]) -> set[UUID]:
        """Of those whose words are as they were; what changed is something else of their rows."""
        table = self._documents
        new = _rows(
            id=([document.id for document in documents], Uuid()),
            version=([document.version for document in documents], Integer()),
            digest=([document.digest for document in documents], LargeBinary()),
        )
        statement = (
            update(table)
            .where(table.c.id == new.c.id, table.c.digest == new.c.digest, table.c.version <= new.c.version)
            .values(version=new.c.version, indexed_at=func.now())
            .returning(table.c.id)
        )
        return set(await self._session.scalars(statement))

    async def remove(self, ids: Iterable[UUID]) -> None:
        if not (ids := list(ids)):
            return
        await self._session.execute(delete(self._documents).where(self._documents.c.id.in_(ids)))

    async def search(self, text: str, *, limit: int) -> list[Hit]:
        found = getattr(func, self._function)(literal(storable(text), Text()), limit)
        hits = found.table_valued(column("id", Uuid()), column("score", Float()))
        rows = await self._session.execute(select(hits.c.id, hits.c.score))
        return [Hit(row.id, row.score) for row in rows]

    async def is_empty(self) -> bool:
        return not await self._session.scalar(select(select(self._documents.c.id).exists()))

    async def known(self, ids: Sequence[UUID]) -> dict[UUID, Known]:
        table = self._documents
        statement = select(table.c.id, table.c.version, table.c.digest).where(table.c.id.in_(ids))
        return {row.id: Known(row.version, row.digest) for row in await self._session.execute(statement)}

    async def ids(self, limit: int) -> AsyncIterator[Sequence[UUID]]:
        statement = select(self._documents.c.id).order_by(self._documents.c.id).limit(limit)
        page = (await self._session.scalars(statement)).all()
        while page:
            yield page
            page = (await self._session.scalars(statement.where(self._documents.c.id > page[-1]))).all()

    async def _learn_words(self, ids: Sequence[UUID]) -> None:
        """In their order, so that two that learn the same new words cannot wait for each other."""
        documents, words = self._documents.c, self._words
        lexemes = func.unnest(func.tsvector_to_array(documents.vector)).label("lexeme")
        lexeme = select(lexemes).where(documents.id.in_(ids)).subquery().c.lexeme
        is_known = select(words.c.word).where(words.c.word == lexeme).exists()
        new = select(lexeme).where(func.search_is_spelled(lexeme), ~is_known).distinct().order_by(lexeme)
        await self._session.execute(insert(words).from_select(["word"], new).on_conflict_do_nothing())


class PostgresEngine:
    """An index beside the rows it is about. Its successor is a pair of tables that take the names over."""

    target = "postgresql"
    is_in_database = True

    def __init__(self, documents: type[Base], words: type[Base], function: str) -> None:
        tables = Base.metadata.tables
        self._tables = (tables[documents.__tablename__], tables[words.__tablename__])
        documents_table, words_table = self._tables
        self._new = (_renamed(documents_table), _renamed(words_table))
        self._function = function

    def index(self, session: AsyncSession) -> PostgresIndex:
        return PostgresIndex(session, *self._tables, self._function)

    def successor(self, session: AsyncSession) -> PostgresIndex:
        return PostgresIndex(session, *self._new, self._function)

    async def set_up(self) -> str:
        return "Search runs in PostgreSQL: there is nothing to set up."

    async def begin(self, session: AsyncSession) -> None:
        for table in self._new:
            await session.execute(text(f"DROP TABLE IF EXISTS {table.name}"))
            await session.execute(CreateTable(table))

    async def complete(self, session: AsyncSession) -> None:
        """Indexes are cheaper to make at the end. CONCURRENTLY, for the worker goes on writing."""
        async with direct_engine(session).connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            try:
                await self._complete(connection)
            finally:
                await connection.invalidate()  # with the settings made here

    async def _complete(self, connection: AsyncConnection) -> None:
        await connection.execute(text("SET maintenance_work_mem = '512MB'"))
        for table in self._new:
            for index in table.indexes:
                name = f"{index.name}{NEW}"
                # One that was cut short is there, and of no use.
                await connection.execute(text(f"DROP INDEX IF EXISTS {name}"))
                made = str(CreateIndex(index).compile(dialect=connection.dialect))
                await connection.execute(
                    text(made.replace(f"INDEX {index.name} ", f"INDEX CONCURRENTLY {name} ", 1))
                )
                if not index.columns:  # it is on an expression
                    # Nothing is planned by statistics of it, and making them takes seconds.
                    await connection.execute(text(f"ALTER INDEX {name} ALTER COLUMN 1 SET STATISTICS 0"))
            await connection.execute(text(f"VACUUM ANALYZE {table.name}"))

    async def take_over(self, session: AsyncSession) -> None:
        # Only searches are in the way, which are quick. While this waits, new ones wait behind it.
        await session.execute(text("SET LOCAL lock_timeout = '100ms'"))
        for old, new in zip(self._tables, self._new, strict=True):
            await session.execute(text(f"DROP TABLE {old.name}"))
            await session.execute(text(f"ALTER TABLE {new.name} RENAME TO {old.name}"))
            for index in old.indexes:
                await session.execute(text(f"ALTER INDEX {index.name}{NEW} RENAME TO {index.name}"))
            await session.execute(text(f"ALTER INDEX pk_{new.name} RENAME TO pk_{old.name}"))

    async def tidy_up(self) -> None:
        """The old tables went with the change-over."""

    async def close(self) -> None:
        """The sessions' connections are not its own."""


def _renamed(table: Table) -> Table:
    new = table.to_metadata(MetaData(), name=f"{table.name}{NEW}")
    new.primary_key.name = f"pk_{new.name}"
    return new


def _rows(**columns: tuple[Sequence[Any], TypeEngine[Any]]) -> FromClause:
    """A table of these values, each column given as one array."""
    arrays = [literal(values, ARRAY(kind)) for values, kind in columns.values()]
    return func.unnest(*arrays).table_valued(*columns).render_derived("new")
