"""Lists of any size: what may be sorted and filtered, the query a URL asks for, and keyset pages.

A page starts after (or before) a row, not at an offset: page 40,000 costs what page 1 costs, and rows
inserted or deleted meanwhile neither repeat nor hide others. PostgreSQL's own order of NULLs (last
ascending, first descending) is kept, so that one index on (column, id) serves both directions.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.database import Base
from admin_app.errors import AppError

PAGE_SIZES = (25, 50, 100, 250)
COUNT_LIMIT = 10_000
MAX_SEARCH_LENGTH = 200
MAX_DIGITS = 1_000  # far beyond any column, far below what PostgreSQL can read

Row = TypeVar("Row", bound=Base)


class BadQuery(AppError):
    """The address asks for something this list cannot do. Shown with zero rows, never ignored."""


@dataclass(frozen=True)
class Filter:
    """One named condition. `parse` raises ValueError with a sentence; `choices` are (value, label)."""

    name: str
    label: str
    kind: Literal["choice", "date", "text"]
    parse: Callable[[str], Any]
    where: Callable[[Any], ColumnElement[bool]]
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Cursor:
    """Where a page begins: beyond the row with this sort value and id."""

    direction: Literal["after", "before"]
    value: Any
    id: UUID


@dataclass(frozen=True)
class ListQuery:
    """What to show: plain values, so that a list, its count, an export and a bulk action can share it."""

    sort: str
    descending: bool
    search: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    size: int = PAGE_SIZES[0]
    cursor: Cursor | Literal["last"] | None = None

    def fingerprint(self) -> str:
        """Ties a cursor to the order and the conditions it was made under."""
        parts = [self.sort, self.descending, self.search, sorted(self.filters.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def first_page(self) -> "ListQuery":
        return replace(self, cursor=None)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """`count` is exact up to COUNT_LIMIT; None means more than that."""

    rows: Sequence[Row]
    count: int | None
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

    def parse(self, parameters: Sequence[tuple[str, str]]) -> ListQuery:
        """The query in a URL's parameters; raises BadQuery for anything unknown, repeated or unreadable."""
        given: dict[str, str] = {}
        known = {"search", "sortBy", "sort", "pageSize", "cursor", *(item.name for item in self.filters)}
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
            filters={item.name: given[item.name] for item in self.filters if given.get(item.name)},
            size=_parse_size(given.get("pageSize")),
        )
        self.conditions(query)
        return replace(query, cursor=self._parse_cursor(given.get("cursor", ""), query))

    def conditions(
        self, query: ListQuery, matches: Callable[[str], ColumnElement[bool]] | None = None
    ) -> list[ColumnElement[bool]]:
        """WHERE clauses for search and filters; raises BadQuery for a value that cannot be read."""
        clauses = [(matches or self.matches)(query.search)] if query.search else []
        for item in self.filters:
            text = query.filters.get(item.name)
            if text:
                try:
                    clauses.append(item.where(item.parse(text)))
                except ValueError as error:
                    raise BadQuery(f"{item.label}: {error}") from None
        return clauses

    async def page(
        self,
        session: AsyncSession,
        base: Select[Row],
        query: ListQuery,
        matches: Callable[[str], ColumnElement[bool]] | None = None,
    ) -> Page[Row]:
        """One statement: the rows (one more than asked, to know whether there is a next page) and a count.

        The count stops at COUNT_LIMIT + 1 rows, so it costs the same at ten thousand rows and at ten million.
        `matches` may stand in for the listing's own, when it knows more.
        """
        matching = base.where(*self.conditions(query, matches))
        key, row_id = self.sorts[query.sort], self._id
        backwards = query.cursor == "last" or (
            isinstance(query.cursor, Cursor) and query.cursor.direction == "before"
        )
        descending = query.descending != backwards
        limited = matching.with_only_columns(row_id).order_by(None).limit(COUNT_LIMIT + 1).subquery()
        total = select(func.count()).select_from(limited).scalar_subquery()
        statement = matching.add_columns(key, total)
        if isinstance(query.cursor, Cursor):
            statement = statement.where(beyond(key, row_id, query.cursor, descending))
        order = (key.desc(), row_id.desc()) if descending else (key.asc(), row_id.asc())
        found = (await session.execute(statement.order_by(*order).limit(query.size + 1))).all()
        more = len(found) > query.size
        found = found[: query.size]
        if backwards:
            found = list(reversed(found))
        count = found[0][2] if found else 0
        has_previous = more if backwards else query.cursor is not None
        has_next = (query.cursor != "last") if backwards else more
        return Page(
            rows=[row[0] for row in found],
            count=count if count <= COUNT_LIMIT else None,
            previous=_cursor("before", found[0]) if found and has_previous else None,
            next=_cursor("after", found[-1]) if found and has_next else None,
        )

    def encode(self, cursor: Cursor | Literal["last"], query: ListQuery) -> str:
        if cursor == "last":
            return "last"
        value = cursor.value.isoformat() if isinstance(cursor.value, datetime) else cursor.value
        value = str(value) if isinstance(value, Decimal) else value
        text = json.dumps([cursor.direction, value, str(cursor.id), query.fingerprint()])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @property
    def _id(self) -> SQLColumnExpression[UUID]:
        return self.model.id  # type: ignore[attr-defined,no-any-return]  # every listed model is Identified

    def _parse_sort(self, given: Mapping[str, str]) -> tuple[str, bool]:
        name, direction = given.get("sortBy", ""), given.get("sort", "")
        if direction not in {"", "asc", "desc"}:
            raise BadQuery("The sort direction must be asc or desc.")
        if not name:
            name, descending = self.default_sort
            return name, direction == "desc" if direction else descending
        if name not in self.sorts:
            raise BadQuery(f"This list cannot be sorted by “{name[:40]}”.")
        return name, direction == "desc"

    def _parse_cursor(self, text: str, query: ListQuery) -> Cursor | Literal["last"] | None:
        if not text:
            return None
        if text == "last":
            return "last"
        broken = BadQuery("This page link is not valid any more. Start again from the first page.")
        try:
            decoded = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            direction, value, row_id, fingerprint = decoded
            if direction not in {"after", "before"} or fingerprint != query.fingerprint():
                raise broken
            kind = self.sorts[query.sort].type.python_type  # type: ignore[attr-defined]  # any SQL expression has one
            return Cursor(direction, _read(kind, value), UUID(row_id))
        except (ValueError, TypeError, AttributeError, InvalidOperation, binascii.Error, RecursionError):
            raise broken from None


def beyond(
    key: SQLColumnExpression[Any], row_id: SQLColumnExpression[UUID], cursor: Cursor, descending: bool
) -> ColumnElement[bool]:
    """Rows strictly beyond the cursor when reading in this direction."""
    here = tuple_(key, row_id)
    if cursor.value is None:
        if descending:
            return or_(and_(key.is_(None), row_id < cursor.id), key.is_not(None))
        return and_(key.is_(None), row_id > cursor.id)
    there = tuple_(cursor.value, cursor.id)
    if descending:
        return here < there
    nullable = getattr(key, "nullable", False)
    return or_(here > there, key.is_(None)) if nullable else here > there


def choice(
    name: str, label: str, choices: Mapping[str, tuple[str, Any]], column: SQLColumnExpression[Any]
) -> Filter:
    """A filter by one of a few values; `choices` maps what the URL says to (label, value)."""

    def parse(text: str) -> Any:
        if text not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}.")
        return choices[text][1]

    options = tuple((value, shown) for value, (shown, _) in choices.items())
    return Filter(name, label, "choice", parse, lambda value: column == value, options)


def since(name: str, label: str, column: SQLColumnExpression[datetime]) -> Filter:
    """From the start of a day, UTC."""
    return Filter(name, label, "date", _parse_day, lambda day: column >= day)


def until(name: str, label: str, column: SQLColumnExpression[datetime]) -> Filter:
    """To the end of a day, UTC."""
    return Filter(name, label, "date", _parse_day, lambda day: column < day + timedelta(days=1))


def _parse_day(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("enter a date such as 2026-01-31.") from None
    if not 1900 <= day.year <= 2999:
        raise ValueError("enter a date between the years 1900 and 2999.")
    return datetime.combine(day, time(), tzinfo=UTC)


def parse_text(text: str) -> str:
    """For text filters: short, and free of characters PostgreSQL cannot store."""
    if len(text) > MAX_SEARCH_LENGTH:
        raise ValueError(f"use at most {MAX_SEARCH_LENGTH} characters.")
    if not is_storable(text):
        raise ValueError("this text contains characters that cannot be searched for.")
    return text.strip()


def is_storable(text: str) -> bool:
    """False for NUL and for lone surrogates, which UTF-8 cannot carry."""
    return "\0" not in text and not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def _parse_search(text: str) -> str:
    try:
        return parse_text(text)
    except ValueError as error:
        raise BadQuery(f"Search: {error}") from None


def _parse_size(text: str | None) -> int:
    if not text:
        return PAGE_SIZES[0]
    if text not in {str(size) for size in PAGE_SIZES}:
        raise BadQuery(f"The page size must be one of {', '.join(map(str, PAGE_SIZES))}.")
    return int(text)


def _cursor(direction: Literal["after", "before"], found: Any) -> Cursor:
    row, value, _ = found
    return Cursor(direction, value, row.id)


def _read(kind: type, value: Any) -> Any:
    """A sort value out of a cursor, which anybody can forge: only what PostgreSQL can compare with."""
    if value is None:
        return None
    if kind is bool:
        if not isinstance(value, bool):
            raise TypeError(value)
        return value
    if not isinstance(value, str) or not is_storable(value):
        raise TypeError(value)
    if kind is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None or not 1900 <= moment.year <= 2999:
            raise ValueError(value)
        return moment
    if kind is Decimal:
        number = Decimal(value)
        if not number.is_finite() or not -MAX_DIGITS <= number.adjusted() <= MAX_DIGITS:
            raise ValueError(value)
        return number
    return kind(value)
