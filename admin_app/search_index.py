"""The ranked, typo-tolerant index: what it is asked, and the PostgreSQL one, which the worker maintains."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Float,
    Index,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    bindparam,
    column,
    delete,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import TSVECTOR, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base


@dataclass(frozen=True)
class SearchDocument:
    """What the index knows of one row. A higher version replaces a lower one, in any order of arrival."""

    id: UUID
    version: int
    title: str
    keywords: str
    body: str

    @property
    def digest(self) -> bytes:
        """Of its words, whatever the version."""
        parts = (self.title, self.keywords, self.body)
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Hit:
    """`score` is from 0 to 1, so that hits of different indexes make one list."""

    id: UUID
    score: float


class SearchIndex(Protocol):
    """Eventually complete: rows appear in it when the worker has seen their event."""

    async def upsert(self, documents: Sequence[SearchDocument]) -> None: ...

    async def remove(self, ids: Iterable[UUID]) -> None: ...

    async def search(self, text: str, *, limit: int) -> list[Hit]:
        """Best first. Tolerates typing errors, missing accents, swapped and unfinished words."""


class SearchDocumentColumns:
    """The table of documents a PostgresSearchIndex works on; a domain declares its own from it.

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
    """The table of all words it corrects towards. None is ever taken out: one too many finds nothing."""

    word: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)


NO_PENDING = {"fastupdate": "off"}
"""Entries not yet sorted in are read by every search: hundreds of milliseconds after an import."""


def document_indexes(table: str) -> tuple[Index, Index]:
    return (
        Index(f"ix_{table}_vector", "vector", postgresql_using="gin", postgresql_with=NO_PENDING),
        Index(f"ix_{table}_title", "title"),
    )


def word_indexes(table: str) -> tuple[Index]:
    deletions = text("search_deletions(word)")
    return (Index(f"ix_{table}_deletions", deletions, postgresql_using="gin", postgresql_with=NO_PENDING),)


class PostgresSearchIndex:
    """Looks for titles that begin so, then for all words, then for words that are spelled nearly so.

    How, stands in SQL: `function` in the migrations, which takes one statement and a bounded time.
    """

    def __init__(
        self, session: AsyncSession, documents: type[Base], words: type[Base], function: str
    ) -> None:
        self._session = session
        self._documents: Any = documents  # a Base with SearchDocumentColumns
        self._words: Any = words  # a Base with SearchWordColumns
        self._function = function

    async def upsert(self, documents: Sequence[SearchDocument]) -> None:
        known = await self._raise_versions(documents)
        documents = [document for document in documents if document.id not in known]
        if not documents:
            return
        table = self._documents
        title, rest = bindparam("p_title", type_=Text()), bindparam("p_rest", type_=Text())
        statement = insert(table).values(
            id=bindparam("p_id"),
            version=bindparam("p_version"),
            title=func.search_title(title),
            vector=func.search_vector(title, rest),
            digest=bindparam("p_digest"),
            indexed_at=func.now(),
        )
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=[table.id],
            set_={name: new[name] for name in ("version", "title", "vector", "digest", "indexed_at")},
            where=table.version <= new.version,
        )
        values = [
            {
                "p_id": document.id,
                "p_version": document.version,
                "p_title": document.title,
                "p_rest": f"{document.keywords} {document.body}",
                "p_digest": document.digest,
            }
            for document in documents
        ]
        connection = await self._session.connection()
        await connection.execute(statement, values)
        await self._learn_words([document.id for document in documents])

    async def _raise_versions(self, documents: Sequence[SearchDocument]) -> set[UUID]:
        """Of those whose words are as they were; what changed is something else of their rows."""
        table = self._documents.__table__
        new = (
            func.unnest(
                literal([document.id for document in documents], ARRAY(Uuid())),
                literal([document.version for document in documents], ARRAY(Integer())),
                literal([document.digest for document in documents], ARRAY(LargeBinary())),
            )
            .table_valued("id", "version", "digest")
            .render_derived("new")
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
        await self._session.execute(delete(self._documents).where(self._documents.id.in_(ids)))

    async def search(self, text: str, *, limit: int) -> list[Hit]:
        storable = text.replace("\0", " ").encode(errors="ignore").decode()
        found = getattr(func, self._function)(literal(storable, Text()), limit)
        hits = found.table_valued(column("id", Uuid()), column("score", Float()))
        rows = await self._session.execute(select(hits.c.id, hits.c.score))
        return [Hit(row.id, row.score) for row in rows]

    async def _learn_words(self, ids: Sequence[UUID]) -> None:
        """In their order, so that two that learn the same new words cannot wait for each other."""
        documents, words = self._documents, self._words
        lexemes = func.unnest(func.tsvector_to_array(documents.vector)).label("lexeme")
        lexeme = select(lexemes).where(documents.id.in_(ids)).subquery().c.lexeme
        new = (
            select(lexeme)
            .where(func.search_is_spelled(lexeme), ~select(words.word).where(words.word == lexeme).exists())
            .distinct()
            .order_by(lexeme)
        )
        await self._session.execute(insert(words).from_select(["word"], new).on_conflict_do_nothing())
