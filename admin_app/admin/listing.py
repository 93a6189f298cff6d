"""A list page as plain values: everything the template prints is worked out here, without a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from admin_app.actor import Actor
from admin_app.admin.base_view import Column, ServiceView
from admin_app.listing import COUNT_LIMIT, PAGE_SIZES, Cursor, Listing, ListQuery, Page


@dataclass(frozen=True)
class Heading:
    column: Column
    url: str | None
    direction: Literal["ascending", "descending", ""]


@dataclass(frozen=True)
class TableRow:
    id: UUID
    title: str
    cells: Sequence[tuple[Column, Any]]
    may_edit: bool
    may_delete: bool


@dataclass(frozen=True)
class Chip:
    """A condition in force, and the address of the list without it."""

    text: str
    url: str


@dataclass(frozen=True)
class ListPage:
    headings: Sequence[Heading]
    rows: Sequence[TableRow]
    chips: Sequence[Chip]
    count: str
    first_url: str | None
    previous_url: str | None
    next_url: str | None
    last_url: str | None
    sizes: Sequence[tuple[int, str, bool]]
    query_string: str
    kept: Sequence[tuple[str, str]]
    """What the filter form carries along without showing it: order and page size."""


def list_page(view: ServiceView, actor: Actor, query: ListQuery, page: Page[Any], path: str) -> ListPage:
    listing = view.service.listing

    def url(changed: ListQuery) -> str:
        return address(listing, changed, path)

    def page_url(cursor: Cursor | Literal["last"] | None) -> str:
        return url(_with(query, cursor=cursor))

    return ListPage(
        headings=[_heading(listing, query, column, url) for column in view.columns],
        rows=[_row(view, actor, row) for row in page.rows],
        chips=_chips(listing, query, url),
        count=_count(page),
        first_url=page_url(None) if page.previous else None,
        previous_url=page_url(page.previous) if page.previous else None,
        next_url=page_url(page.next) if page.next else None,
        last_url=page_url("last") if page.next else None,
        sizes=[(size, url(_with(query, size=size)), size == query.size) for size in PAGE_SIZES],
        query_string=urlencode(parameters(listing, query)),
        kept=[
            (name, value)
            for name, value in parameters(listing, query)
            if name in {"sortBy", "sort", "pageSize"}
        ],
    )


def address(listing: Listing[Any], query: ListQuery, path: str) -> str:
    text = urlencode(parameters(listing, query))
    return f"{path}?{text}" if text else path


def parameters(listing: Listing[Any], query: ListQuery) -> list[tuple[str, str]]:
    """The query as URL parameters; what is the default is left out."""
    found: list[tuple[str, str]] = []
    if query.search:
        found.append(("search", query.search))
    found.extend(query.filters.items())
    if (query.sort, query.descending) != listing.default_sort:
        found += [("sortBy", query.sort), ("sort", "desc" if query.descending else "asc")]
    if query.size != PAGE_SIZES[0]:
        found.append(("pageSize", str(query.size)))
    if query.cursor is not None:
        found.append(("cursor", listing.encode(query.cursor, query)))
    return found


def _heading(listing: Listing[Any], query: ListQuery, column: Column, url: Any) -> Heading:
    if column.name not in listing.sorts:
        return Heading(column, None, "")
    is_current = query.sort == column.name
    # The first click sorts times and prices from the top, texts from A.
    first_is_descending = column.kind in {"time", "money"}
    descending = not query.descending if is_current else first_is_descending
    target = url(_with(query, sort=column.name, descending=descending))
    direction: Literal["ascending", "descending", ""] = ""
    if is_current:
        direction = "descending" if query.descending else "ascending"
    return Heading(column, target, direction)


def _row(view: ServiceView, actor: Actor, row: Any) -> TableRow:
    return TableRow(
        id=row.id,
        title=str(row),
        cells=[(column, column.of(row)) for column in view.columns],
        may_edit=view.allows(actor, "edit", row),
        may_delete=view.allows(actor, "delete", row),
    )


def _chips(listing: Listing[Any], query: ListQuery, url: Any) -> list[Chip]:
    chips = []
    if query.search:
        chips.append(Chip(f"“{query.search}”", url(_with(query, search=""))))
    for item in listing.filters:
        value = query.filters.get(item.name)
        if value:
            shown = dict(item.choices).get(value, value)
            rest = {name: text for name, text in query.filters.items() if name != item.name}
            chips.append(Chip(f"{item.label}: {shown}", url(_with(query, filters=rest))))
    return chips


def _count(page: Page[Any]) -> str:
    if page.count is None:
        return f"More than {COUNT_LIMIT:,}"
    return f"{page.count:,}"


def _with(query: ListQuery, **changes: Any) -> ListQuery:
    """The query changed; anything but another page starts from the first one."""
    values = {**vars(query), "cursor": None, **changes}
    return ListQuery(**values)
