"""A list page as plain values: everything the template prints is worked out here, without a query."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal
from urllib.parse import urlencode

from markupsafe import Markup

from admin_app.admin.base_view import Column, ServiceView
from admin_app.admin.rows import Rows
from admin_app.filters import Filter
from admin_app.keyset import Cursor
from admin_app.listing import PAGE_SIZES, Count, Listing, ListQuery, Page
from admin_app.preferences import ListPreference


@dataclass(frozen=True, slots=True)
class Heading:
    column: Column
    url: str | None
    direction: Literal["ascending", "descending", ""]


@dataclass(frozen=True)
class Chip:
    """A condition in force, and the address of the list without it."""

    text: str
    url: str


@dataclass(frozen=True)
class ListPage:
    headings: Sequence[Heading]
    rows: Markup | None
    """None when there are none."""
    shown_rows: int
    chips: Sequence[Chip]
    count: str | None
    """None when it is counted after the page."""
    is_exact: bool
    first_url: str | None
    previous_url: str | None
    next_url: str | None
    last_url: str | None
    size: int
    query_string: str
    conditions_string: str
    """The query without page and page size: what a saved view keeps, and what is counted."""
    conditions: str
    """The part of the query that decides which rows there are."""
    has_many_pages: bool


def with_preferences(query: ListQuery, liked: ListPreference, view: ServiceView) -> ListQuery:
    """What the address leaves open is as this person likes it, or else as the list has it."""
    known = [column.name for column in view.columns]
    usual = [column.name for column in view.columns if not column.is_extra]
    wanted = {
        view.columns[0].name,
        *(query.columns or [name for name in liked.columns if name in known] or usual),
    }
    size = query.size or (liked.size if liked.size in PAGE_SIZES else None) or PAGE_SIZES[0]
    return replace(query, size=size, columns=tuple(name for name in known if name in wanted))


def list_page(rows: Rows, asked: ListQuery, shown: ListQuery, page: Page, path: str) -> ListPage:
    """`asked` is what the address says, and what links repeat; `shown` has the person's likings in it."""
    listing = rows.view.service.listing

    def url(changed: ListQuery) -> str:
        return address(listing, changed, path)

    def page_url(cursor: Cursor | Literal["last"] | None) -> str:
        return url(replace(asked, cursor=cursor))

    assert shown.size is not None
    return ListPage(
        headings=[_heading(listing, asked, column, url) for column in rows.columns],
        rows=Markup(rows.html(page.rows)) if page.rows else None,  # noqa: S704  # escaped there
        shown_rows=len(page.rows),
        chips=_chips(listing, asked, url),
        count=spoken(page.count) if page.count else None,
        is_exact=page.count is not None and page.count.is_exact,
        first_url=page_url(None) if page.previous else None,
        previous_url=page_url(page.previous) if page.previous else None,
        next_url=page_url(page.next) if page.next else None,
        last_url=page_url("last") if page.next else None,
        size=shown.size,
        query_string=urlencode(parameters(listing, asked)),
        conditions_string=urlencode(parameters(listing, replace(asked, cursor=None, size=None))),
        conditions=urlencode(conditions(asked)),
        has_many_pages=bool(page.previous or page.next or shown.size != PAGE_SIZES[0]),
    )


def columns_of(view: ServiceView, shown: ListQuery) -> list[Column]:
    return [column for column in view.columns if column.name in shown.columns]


def filter_groups(filters: Sequence[Filter]) -> Iterator[tuple[str, list[Filter]]]:
    """Filters that belong together, under their common label."""
    for group, items in groupby(filters, key=lambda item: item.group or item.label):
        yield group, list(items)


def spoken(count: Count) -> str:
    """ "51,204" when it is exact, else "about 51,000": three digits are all an estimate has."""
    if count.is_exact:
        return f"{count.number:,}"
    scale = 10 ** max(0, len(str(count.number)) - 3)
    return f"about {round(count.number / scale) * scale:,}"


def address(listing: Listing[Any], query: ListQuery, path: str) -> str:
    text = urlencode(parameters(listing, query))
    return f"{path}?{text}" if text else path


def parameters(listing: Listing[Any], query: ListQuery) -> list[tuple[str, str]]:
    """The query as URL parameters; what is the default is left out."""
    found = conditions(query)
    if (query.sort, query.descending) != listing.default_sort:
        found += [("sortBy", query.sort), ("sort", "desc" if query.descending else "asc")]
    if query.columns:
        found.append(("columns", ".".join(query.columns)))
    if query.size is not None:
        found.append(("pageSize", str(query.size)))
    if query.cursor is not None:
        found.append(("cursor", listing.encode(query.cursor, query)))
    return found


def conditions(query: ListQuery) -> list[tuple[str, str]]:
    """Only what decides which rows there are."""
    return [*([("search", query.search)] if query.search else []), *query.filters.items()]


def spoken_conditions(view: ServiceView, query: ListQuery) -> str:
    """All rows these conditions find, in words."""
    parts = [chip.text for chip in _chips(view.service.listing, query, lambda _: "")]
    return " · ".join(parts) if parts else f"All {view.name_plural.lower()}"


def _heading(
    listing: Listing[Any], query: ListQuery, column: Column, url: Callable[[ListQuery], str]
) -> Heading:
    if column.name not in listing.sorts:
        return Heading(column, None, "")
    is_current = query.sort == column.name
    # The first click sorts times and prices from the top, texts from A.
    first_is_descending = column.kind in {"time", "money"}
    descending = not query.descending if is_current else first_is_descending
    target = url(replace(query, sort=column.name, descending=descending, cursor=None))
    direction: Literal["ascending", "descending", ""] = ""
    if is_current:
        direction = "descending" if query.descending else "ascending"
    return Heading(column, target, direction)


def _chips(listing: Listing[Any], query: ListQuery, url: Callable[[ListQuery], str]) -> list[Chip]:
    chips = []
    if query.search:
        chips.append(Chip(f"“{query.search}”", url(replace(query, search="", cursor=None))))
    for item in listing.filters:
        value = query.filters.get(item.name)
        if value:
            shown = dict(item.choices).get(value, value)
            rest = {name: text for name, text in query.filters.items() if name != item.name}
            chips.append(Chip(f"{item.label}: {shown}", url(replace(query, filters=rest, cursor=None))))
    return chips
