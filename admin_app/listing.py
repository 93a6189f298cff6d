"""Lists of any size: what may be sorted and filtered, the query a URL asks for, and keyset pages.

A page starts after (or before) a row, not at an offset: page 40,000 costs what page 1 costs, and rows
inserted or deleted meanwhile neither repeat nor hide others. PostgreSQL's own order of NULLs (last
ascending, first descending) is kept, so that one index on (column, id) serves both directions.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    SQLColumnExpression,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    func,
    null,
    select,
    table,
    true,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import True_

from admin_app.database import Base, estimated_rows, limit_time
from admin_app.errors import AppError, TooSlow
from admin_app.filters import Filter, parse_text
from admin_app.keyset import SORT_KEY, Cursor, Place, at, cut
from admin_app.search import MAX_WORDS, words

PAGE_SIZES = (25, 50, 100, 250)
COUNT_LIMIT = 10_000
FACET_SECONDS = 0.3

Row = TypeVar("Row", bound=Base)

_NOTHING: ColumnElement[Any] = cast(null(), Integer)
_BOUNDED, _ESTIMATE = "bounded_count", "estimated_count"
"""What a page reads beside its rows' own columns."""


class BadQuery(AppError):
    """The address asks for something this list cannot do. Shown with zero rows, never ignored."""

    def __init__(self, message: str, parameter: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter


Rows = Select[*tuple[Any, ...]]
"""Some columns of a model, its id among them."""

Conditions = Mapping[str, ColumnElement[bool]]
"""Conditions that whoever runs the query knows better than the listing: by filter name, or "search"."""


@dataclass(frozen=True)
class ListQuery:
    """What to show: plain values, so that a list, its count, an export and a bulk action can share it.

    `size` and `columns` are None and empty where the address leaves them to whoever looks.
    """

    sort: str
    descending: bool
    search: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    columns: tuple[str, ...] = ()
    cursor: Place = None
    offset: int = 0
    """Rows to leave out from where the page would begin. It takes time to count them."""

    def fingerprint(self) -> str:
        """Ties a cursor to the order and the conditions it was made under."""
        parts = [self.sort, self.descending, self.search, sorted(self.filters.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def first_page(self) -> "ListQuery":
        return replace(self, cursor=None)


@dataclass(frozen=True)
class Count:
    number: int
    is_exact: bool


@dataclass(frozen=True)
class Page:
    """`rows` are plain columns by name, no entities: a list reads many, and changes none.

    `count` is None where counting may take longer than the page: ask `Listing.count` afterwards."""

    rows: Sequence[Any]
    count: Count | None
    previous: Cursor | None
    next: Cursor | None


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """What one model's list can do. Every sort needs an index on (expression, id)."""

    model: type[Row]
    sorts: Mapping[str, SQLColumnExpression[Any]]
    default_sort: tuple[str, bool]
    filters: tuple[Filter, ...]
    matches: Callable[[str], ColumnElement[bool]]
    scope: ColumnElement[bool] = field(default_factory=true)
    """Rows outside it are not in this list, whatever is asked."""
    counted_by: str | None = None
    """The index over exactly the rows in scope, whose statistics tell how many there are; else the table."""

    def parse(self, parameters: Sequence[tuple[str, str]], columns: Sequence[str] = ()) -> ListQuery:
        """The query in a URL's parameters; raises BadQuery for anything unknown, repeated or unreadable."""
        given: dict[str, str] = {}
        known = {"search", "sortBy", "sort", "pageSize", "columns", "cursor"}
        known.update(item.name for item in self.filters)
        for name, value in parameters:
            if name not in known:
                raise BadQuery(f"This list has no filter named “{name[:40]}”.")
            if name in given:
                raise BadQuery(f"“{name}” is given more than once.")
            given[name] = value
        sort, descending = self._parse_sort(given)
        query = ListQuery(
            sort=sort,
            descending=descending,
            search=_parse_search(given.get("search", "")),
            filters={
                item.name: given[item.name] for item in self.filters if given.get(item.name, "").strip()
            },
            size=_parse_size(given.get("pageSize")),
            columns=_parse_columns(given.get("columns"), columns),
        )
        self._require_readable(query)
        return replace(query, cursor=self._parse_cursor(given.get("cursor", ""), query))

    def conditions(self, query: ListQuery, known: Conditions | None = None) -> list[ColumnElement[bool]]:
        """WHERE clauses for scope, search and filters; raises BadQuery for a value that cannot be read."""
        known = known or {}
        clauses = [self.scope]
        if query.search:
            clauses.append(known["search"] if "search" in known else self.matches(query.search))
        for item in self.filters:
            text = query.filters.get(item.name)
            if text:
                value = _parsed(item, text)
                clauses.append(known[item.name] if item.name in known else item.where(value))
        return clauses

    async def page(
        self,
        session: AsyncSession,
        base: Rows,
        query: ListQuery,
        known: Conditions | None = None,
        *,
        is_counted: bool = True,
    ) -> Page:
        """One statement: what `base` selects of the rows, one more than asked, and a count if it is wanted.

        Without conditions the count is one of at most COUNT_LIMIT index entries, or PostgreSQL's own
        estimate. With conditions it is only told when the first page shows all there is.
        """
        size = query.size or PAGE_SIZES[0]
        conditions = self.conditions(query, known)
        has_cheap_count = is_counted and not query.search and not query.filters
        bounded, estimate = self._counts(base) if has_cheap_count else (_NOTHING, _NOTHING)
        counts: Any = bounded.label(_BOUNDED), estimate.label(_ESTIMATE)
        statement = self._at(base.where(*conditions).add_columns(*counts), query)
        statement = statement.limit(size + 1).offset(query.offset or None)
        found = (await session.execute(statement)).all()
        is_all = len(found) <= size and not isinstance(query.cursor, Cursor) and not query.offset
        rows, previous, following = cut(found, size, query.cursor, is_later=query.offset > 0)
        return Page(rows, _count_of(rows, is_all=is_all), previous, following)

    def glance(self, base: Rows, conditions: Sequence[ColumnElement[bool]], query: ListQuery) -> Select[Any]:
        """The statement of `page`, nothing counted, for all queries of these conditions and this order.

        Its values: "rows", "offset", of a cursor "sort_key" and "row_id", and those of the conditions.
        """
        place = query.cursor
        if isinstance(place, Cursor):
            key: Any = self.sorts[query.sort]
            row_id: Any = bindparam("row_id", type_=Uuid())
            place = replace(place, value=bindparam(SORT_KEY, type_=key.type), id=row_id)
        statement = self._at(base.where(self.scope, *conditions), replace(query, cursor=place))
        return statement.limit(bindparam("rows", type_=Integer)).offset(bindparam("offset", type_=Integer))

    async def count(
        self,
        session: AsyncSession,
        base: Rows,
        query: ListQuery,
        known: Conditions | None = None,
        *,
        exactly: bool = False,
    ) -> Count:
        """How many rows match: up to COUNT_LIMIT exactly, beyond as the planner estimates.

        Raises TooSlow when counting `exactly` takes more than the session's time; else it estimates then.
        """
        ids = self._ids(base, self.conditions(query, known))
        if exactly:
            return Count(await _number(session, ids), is_exact=True)
        estimate = await estimated_rows(session, ids)
        try:
            return await _counted(session, ids, estimate)
        except TooSlow:
            return Count(estimate, is_exact=False)

    async def facets(
        self,
        session: AsyncSession,
        base: Rows,
        query: ListQuery,
        known: Conditions | None = None,
    ) -> dict[str, dict[str, Count]]:
        """For each filter with choices: how many rows each of them would show, the other conditions kept.

        What cannot be counted within FACET_SECONDS is left out. The session is of no use afterwards.
        """
        deadline = time.monotonic() + FACET_SECONDS
        found: dict[str, dict[str, Count]] = {}
        try:
            for item in self.filters:
                for value, _ in item.choices:
                    await limit_time(session, deadline - time.monotonic())
                    chosen = replace(query, filters={**query.filters, item.name: value})
                    ids = self._ids(base, self.conditions(chosen, known))
                    estimate = await estimated_rows(session, ids)
                    found.setdefault(item.name, {})[value] = await _counted(session, ids, estimate)
        except TooSlow:
            pass
        return found

    def selection(self, base: Rows, query: ListQuery, known: Conditions | None = None) -> Select[Any]:
        """The rows on all pages together, in columns `id` and `version`."""
        found = self._ids(base, self.conditions(query, known))
        return found.add_columns(getattr(self.model, "version"))  # noqa: B009  # as `_id`

    def values(self, query: ListQuery) -> dict[str, Any]:
        """What the filters of the query were given, as they read it."""
        return {
            item.name: _parsed(item, query.filters[item.name])
            for item in self.filters
            if item.name in query.filters
        }

    def fixed(self, query: ListQuery) -> ListQuery:
        """The query as it is meant now, whenever it is run: without words such as "today"."""
        filters = dict(query.filters)
        for item in self.filters:
            if item.fixed is not None and item.name in filters:
                name, value = item.fixed(filters.pop(item.name))
                filters[name] = max(value, filters.get(name, ""))  # days, as texts in the order of time
        return replace(query, filters=filters)

    def encode(self, cursor: Cursor | Literal["last"], query: ListQuery) -> str:
        return cursor if cursor == "last" else cursor.encode(query.fingerprint())

    def _at(self, rows: Select[Any], query: ListQuery) -> Select[Any]:
        return at(rows, self.sorts[query.sort], self._id, query.cursor, query.descending)

    @property
    def _id(self) -> SQLColumnExpression[UUID]:
        return self.model.id  # type: ignore[attr-defined,no-any-return]  # every listed model is Identified

    def _ids(self, base: Rows, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
        """What counts: without the joins that only serve to show a row."""
        scope = [] if base.whereclause is None else [base.whereclause]
        return select(self._id).where(*scope, *conditions)

    def _counts(self, base: Rows) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        """The count, if it is cheap, and an estimate, if there is one; either may be NULL."""
        if not _is_everything(base.whereclause):
            return _limited(self._ids(base, [self.scope])).scalar_subquery(), _NOTHING
        return self._counts_of_all

    @cached_property
    def _counts_of_all(self) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        statistics = table("pg_class", column("oid"), column("reltuples"))
        estimate = (
            select(cast(statistics.c.reltuples, Integer))
            .where(statistics.c.oid == func.to_regclass(self.counted_by or self.model.__tablename__))
            .scalar_subquery()
        )
        bounded = _limited(select(self._id).where(self.scope)).scalar_subquery()
        return case((estimate > 2 * COUNT_LIMIT, _NOTHING), else_=bounded), estimate

    def _require_readable(self, query: ListQuery) -> None:
        values = self.values(query)
        for item in self.filters:
            upper = item.upper
            if upper in values and item.name in values and values[item.name] > values[upper]:
                first, last = query.filters[item.name], query.filters[upper]
                raise BadQuery(f"{item.label}: {first} is beyond the end of the range, {last}.", item.name)

    def _parse_sort(self, given: Mapping[str, str]) -> tuple[str, bool]:
        name, direction = given.get("sortBy", ""), given.get("sort", "")
        if direction not in {"", "asc", "desc"}:
            raise BadQuery("The sort direction must be asc or desc.")
        if not name:
            name, descending = self.default_sort
            return name, direction == "desc" if direction else descending
        if name not in self.sorts:
            raise BadQuery(f"This list cannot be sorted by “{name[:40]}”.", "sort")
        return name, direction == "desc"

    def _parse_cursor(self, text: str, query: ListQuery) -> Place:
        if not text:
            return None
        if text == "last":
            return "last"
        kind = self.sorts[query.sort].type.python_type  # type: ignore[attr-defined]  # any SQL expression has one
        try:
            return Cursor.decode(text, query.fingerprint(), kind)
        except ValueError:
            message = "This page link is not valid any more. Start again from the first page."
            raise BadQuery(message, "cursor") from None


def _is_everything(where: ColumnElement[bool] | None) -> bool:
    """No condition, or one that is true of every row, which SQLAlchemy wraps."""
    return where is None or isinstance(getattr(where, "element", where), True_)


async def _counted(session: AsyncSession, ids: Select[Any], estimate: int) -> Count:
    """Exactly, unless there are plainly far too many."""
    if estimate <= 10 * COUNT_LIMIT:
        number = await session.scalar(_limited(ids)) or 0
        if number <= COUNT_LIMIT:
            return Count(number, is_exact=True)
    return Count(max(estimate, COUNT_LIMIT + 1), is_exact=False)


async def _number(session: AsyncSession, ids: Select[Any]) -> int:
    return await session.scalar(select(func.count()).select_from(ids.subquery())) or 0


def _limited(ids: Select[Any]) -> Select[int]:
    return select(func.count()).select_from(ids.limit(COUNT_LIMIT + 1).subquery())


def _count_of(found: Sequence[Any], *, is_all: bool) -> Count | None:
    if is_all:
        return Count(len(found), is_exact=True)
    bounded, estimate = (getattr(found[0], _BOUNDED), getattr(found[0], _ESTIMATE)) if found else (None, None)
    if bounded is not None and bounded <= COUNT_LIMIT:
        return Count(bounded, is_exact=True)
    return None if estimate is None else Count(max(estimate, COUNT_LIMIT + 1), is_exact=False)


def _parsed(item: Filter, text: str) -> Any:
    try:
        return item.parse(text)
    except ValueError as error:
        raise BadQuery(f"{item.label}: {error}", item.name) from None


def _parse_search(text: str) -> str:
    try:
        text = parse_text(text)
    except ValueError as error:
        raise BadQuery(f"Search: {error}", "search") from None
    if len(words(text)) > MAX_WORDS:
        raise BadQuery(f"Search: use at most {MAX_WORDS} words, or put some of them in quotes.", "search")
    return text if words(text) else ""


def _parse_columns(text: str | None, known: Sequence[str]) -> tuple[str, ...]:
    if not text:
        return ()
    names = text.split(".")
    for name in names:
        if name not in known:
            raise BadQuery(f"This list has no column named “{name[:40]}”.")
    return tuple(dict.fromkeys(names))


def _parse_size(text: str | None) -> int | None:
    if not text:
        return None
    if text not in {str(size) for size in PAGE_SIZES}:
        raise BadQuery(f"The page size must be one of {', '.join(map(str, PAGE_SIZES))}.")
    return int(text)
