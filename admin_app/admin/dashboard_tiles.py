"""What each tile of the start page shows: from a summary, or looked up while the page is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import outbox
from admin_app.actor import Actor
from admin_app.admin import charts
from admin_app.admin.charts import Bar
from admin_app.admin.formatting import MONTHS, money
from admin_app.admin.history import told
from admin_app.admin.operations import outcome_text, state_text
from admin_app.bulk.models import ACTIVE
from admin_app.bulk.service import OperationService
from admin_app.domains.activity.service import ActivityService
from admin_app.domains.products.handlers import UPDATE_OWNER_INDEX, UPDATE_PRODUCT_INDEX
from admin_app.domains.products.service import ProductService
from admin_app.listing import COUNT_LIMIT, ListQuery
from admin_app.outbox import BACKLOG_LIMIT

ENTRIES = 6
OPERATIONS = 4
MONTH_DAYS = 30
MANY_BARS = 8
"""Of more than these, only some bounds are written below."""
INDEX_TASKS = (UPDATE_PRODUCT_INDEX, UPDATE_OWNER_INDEX)


@dataclass(frozen=True)
class Look:
    """What a tile may look at: `data` of its summary, or the database, a short while for each statement."""

    session: AsyncSession
    actor: Actor
    base_url: str
    data: Mapping[str, Any]

    def products(self, **filters: str) -> str:
        """The list of products with these filters."""
        return f"{self.base_url}/product/list?{urlencode(filters)}".removesuffix("?")


Content = Mapping[str, Any]


async def by_state(look: Look) -> Content:
    return _by_state(look, look.data["active"], look.data["inactive"])


async def own(look: Look) -> Content:
    found = await ProductService(look.session, look.actor).own_states()
    if found is None:
        return {"many": COUNT_LIMIT, "url": look.products(mine="yes")}
    return _by_state(look, found.get(True, 0), found.get(False, 0), mine="yes")


async def by_day(look: Look) -> Content:
    numbers: Sequence[int] = look.data["numbers"]
    first = date.fromisoformat(look.data["first"])
    days = [first + timedelta(days=offset) for offset in range(len(numbers))]
    bars = [
        Bar(
            f"{_short(day)} {day.year}",
            number,
            look.products(created_from=day.isoformat(), created_to=day.isoformat()),
        )
        for day, number in zip(days, numbers, strict=True)
    ]
    gist = f"{_products(sum(numbers))} created in the last {len(numbers)} days"
    if any(numbers):
        most = max(bars, key=lambda bar: bar.number)
        gist += f", most of them on {most.label}: {most.number:,}"
    last = days[-1]
    # What was counted before midnight, or when a worker last ran, ends on the day of that.
    end = "Today" if last == datetime.now(UTC).date() else _short(last)
    marks = {at: _short(days[at]) for at in range(0, len(days), MONTH_DAYS)} | {len(days): end}
    return {
        "chart": charts.chart(f"{gist}.", "Day", bars, marks),
        "total": sum(numbers),
        "newest_first": True,
    }


async def by_price(look: Look) -> Content:
    bounds: Sequence[int] = look.data["bounds"]
    numbers: Sequence[int] = look.data["numbers"]
    places = [at for at, number in enumerate(numbers) if number]
    shown = range(places[0], places[-1] + 1) if places else range(0)
    bars = [_price_bar(look, bounds, at, numbers[at]) for at in shown]
    total = sum(numbers)
    gist = f"Prices of {_products(total)}"
    if bars:
        most = max(bars, key=lambda bar: bar.number)
        gist += f"; the most frequent are {most.label}: {100 * most.number // total} %"
    # A bar begins at the bound before it; what is below the first one begins at 0.
    starts = {place: ([0, *bounds])[at] for place, at in enumerate(shown)}
    if shown and shown[-1] < len(bounds):
        starts[len(bars)] = bounds[shown[-1]]
    is_few = len(bars) <= MANY_BARS
    marks = {
        place: charts.compact(start)
        for place, start in starts.items()
        if is_few or str(start).strip("0") in {"1", ""}
    }
    return {"chart": charts.chart(f"{gist}.", "Price", bars, marks), "total": total}


async def by_owner(look: Look) -> Content:
    owners = look.data["owners"]
    bars = [Bar(owner["email"], owner["number"], look.products(owner=owner["email"])) for owner in owners]
    longest = max((bar.number for bar in bars), default=0)
    return {"bars": charts.rows(bars, longest), "heading": "Owner"}


async def operations(look: Look) -> Content:
    """Those that run first, then what was begun last."""
    service = OperationService(look.session, look.actor)
    newest = ListQuery(sort="created_at", descending=True, size=OPERATIONS)
    active = ListQuery(sort="created_at", descending=True, size=OPERATIONS, filters={"state": "active"})
    found = {row.id: row for query in (active, newest) for row in (await service.page(query)).rows}
    return {
        "operations": [
            {
                "row": row,
                "state": state_text(row),
                "is_active": row.state in ACTIVE,
                "outcome": outcome_text(row),
                "processed": row.done + row.skipped + row.failed,
            }
            for row in list(found.values())[:OPERATIONS]
        ]
    }


async def deliveries(look: Look) -> Content:
    return await _backlog(look, ())


async def index_lag(look: Look) -> Content:
    return await _backlog(look, INDEX_TASKS)


async def activity(look: Look) -> Content:
    entries = await ActivityService(look.session, look.actor).latest(ENTRIES)
    return {"entries": [told(entry) for entry in entries]}


async def _backlog(look: Look, tasks: Sequence[str]) -> Content:
    found = await outbox.backlog(look.session, tasks)
    return {"backlog": found, "waiting": _bounded(found.waiting), "dead": _bounded(found.dead)}


def _by_state(look: Look, active: int, inactive: int, **filters: str) -> Content:
    bars = [
        Bar("Active", active, look.products(**filters, is_active="yes")),
        Bar("Inactive", inactive, look.products(**filters, is_active="no")),
    ]
    total = active + inactive
    return {
        "bars": charts.rows(bars, total),
        "heading": "State",
        "total": total,
        "url": look.products(**filters),
    }


def _price_bar(look: Look, bounds: Sequence[int], at: int, number: int) -> Bar:
    """The list's range includes both ends, and prices have two decimals."""
    filters: dict[str, str] = {}
    if at > 0:
        filters["price_from"] = f"{bounds[at - 1]}.00"
    if at < len(bounds):
        filters["price_to"] = f"{bounds[at] - 1}.99"
    low, high = (
        money(Decimal(filters[name])) if name in filters else "" for name in ("price_from", "price_to")
    )
    label = f"{low} to {high}" if low and high else f"{low} or more" if low else f"up to {high}"
    return Bar(label, number, look.products(**filters))


def _bounded(number: int) -> str:
    return f"over {BACKLOG_LIMIT:,}" if number > BACKLOG_LIMIT else f"{number:,}"


def _products(number: int) -> str:
    return f"{number:,} product{'' if number == 1 else 's'}"


def _short(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]}"
