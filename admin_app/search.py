"""Text search: words that must all match, and the ranked, typo-tolerant index the worker maintains."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Index,
    SQLColumnExpression,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base

MAX_WORDS = 10

_SIMPLE: ColumnElement[Any] = literal_column("'simple'::regconfig")


def plain(text: Any) -> ColumnElement[str]:
    """Lower case without accents: the SQL function `plain_text` of the first migration, indexable."""
    return func.plain_text(text, type_=Text())


def words(text: str) -> list[str]:
    """Words, and "quoted phrases" whole; at most MAX_WORDS of them."""
    found = (phrase or word for phrase, word in re.findall(r'"([^"]+)"|(\S+)', text))
    return [word.strip('"') for word in found if word.strip('" ')][:MAX_WORDS]


def contains(column: SQLColumnExpression[str], word: str) -> ColumnElement[bool]:
    """Substring, without regard to case or accents; %, _ and \\ are literal."""
    pattern: ColumnElement[str] = plain(literal(word))
    for special in ("\\", "%", "_"):  # after plain_text, which makes a "%" of a full-width one
        pattern = func.replace(pattern, special, f"\\{special}")
    # || and not concat(): that is only STABLE, and the planner would not see which word it is.
    return plain(column).like(literal("%").concat(pattern).concat("%"))


def as_id(text: str) -> UUID | None:
    """The id this text is, written as ids are; searching for one means that row and nothing else."""
    try:
        row_id = UUID(text.strip())
    except ValueError:
        return None
    return row_id if str(row_id) == text.strip().lower() else None


def every_word(text: str, matches_word: Any) -> ColumnElement[bool]:
    """`matches_word(word)` for each word of the text. No words match nothing in particular: everything."""
    return and_(True, *(matches_word(word) for word in words(text)))


@dataclass(frozen=True)
class SearchDocument:
    """What the index knows of one row. A higher version replaces a lower one, in any order of arrival."""

    id: UUID
    version: int
    title: str
    keywords: str
    body: str


class SearchIndex(Protocol):
    """Eventually complete: rows appear in it when the worker has seen their event."""

    async def upsert(self, documents: Sequence[SearchDocument]) -> None: ...

    async def remove(self, ids: Iterable[UUID]) -> None: ...

    async def search(self, text: str, *, limit: int) -> list[UUID]:
        """Ids, best first. Tolerates typing errors, missing accents and unfinished words."""


class SearchDocumentColumns:
    """The table shape PostgresSearchIndex works on; a domain declares its own table from it."""

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    vector: Mapped[str] = mapped_column(TSVECTOR)
    indexed_at: Mapped[datetime] = mapped_column(server_default=func.now())


def search_indexes(table: str) -> tuple[Index, Index]:
    """The two indexes a table of SearchDocumentColumns needs."""
    return (
        Index(f"ix_{table}_vector", "vector", postgresql_using="gin"),
        Index(f"ix_{table}_title", "title", postgresql_using="gin", postgresql_ops={"title": "gin_trgm_ops"}),
    )


def _weighted(parameter: str, weight: Literal["A", "B", "D"]) -> ColumnElement[Any]:
    # literal_column: setweight wants the internal type "char", which no bound parameter has.
    words = func.to_tsvector(_SIMPLE, plain(bindparam(parameter)))
    return func.setweight(words, literal_column(f"'{weight}'"), type_=TSVECTOR())


def _prefixes(typed: ColumnElement[str]) -> ColumnElement[Any]:
    """A query for documents with words that begin like each of these; for no words one that finds nothing.

    From the words PostgreSQL itself finds, as it does in documents: to_tsquery has a syntax, and plain_text
    makes "(1)" of one character.
    """
    word = func.unnest(func.tsvector_to_array(func.to_tsvector(_SIMPLE, typed))).column_valued("word")
    quoted = func.concat("'", func.replace(func.replace(word, "\\", "\\\\"), "'", "''"), "':*")
    query = func.coalesce(func.string_agg(quoted, " & "), "")
    return select(cast(query, TSQUERY)).scalar_subquery()


class PostgresSearchIndex:
    """Weighted, unaccented words for ranking; trigrams of the title for typing errors."""

    def __init__(self, session: AsyncSession, table: type[Base]) -> None:
        self._session = session
        self._table: Any = table  # a Base with SearchDocumentColumns

    async def upsert(self, documents: Sequence[SearchDocument]) -> None:
        if not documents:
            return
        table = self._table
        vector = (
            _weighted("p_title", "A").concat(_weighted("p_keywords", "B")).concat(_weighted("p_body", "D"))
        )
        statement = insert(table).values(
            id=bindparam("p_id"),
            version=bindparam("p_version"),
            title=plain(bindparam("p_title")),
            vector=vector,
            indexed_at=func.now(),
        )
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=[table.id],
            set_={name: new[name] for name in ("version", "title", "vector", "indexed_at")},
            where=table.version <= new.version,
        )
        values = [{f"p_{name}": value for name, value in vars(document).items()} for document in documents]
        connection = await self._session.connection()
        await connection.execute(statement, values)

    async def remove(self, ids: Iterable[UUID]) -> None:
        if not (ids := list(ids)):
            return
        await self._session.execute(delete(self._table).where(self._table.id.in_(ids)))

    async def search(self, text: str, *, limit: int) -> list[UUID]:
        terms = re.findall(r"[\w@./+-]+", text)[:MAX_WORDS]
        if not terms:
            return []
        table = self._table
        typed = plain(literal(" ".join(terms)))
        prefixes = _prefixes(typed)
        similarity = func.word_similarity(typed, table.title)
        statement = (
            select(table.id)
            .where(or_(table.vector.op("@@")(prefixes), typed.op("<%")(table.title)))
            .order_by(
                (
                    func.ts_rank_cd(table.vector, prefixes) + similarity + func.similarity(typed, table.title)
                ).desc(),
                table.id,
            )
            .limit(limit)
        )
        return list(await self._session.scalars(statement))
