"""Named conditions of a list: what a URL may say, what it means, and what people choose from."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import ColumnElement, Numeric, SQLColumnExpression, literal

from admin_app.text import is_storable

MAX_TEXT_LENGTH = 200
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
PRICE = re.compile(r"[0-9]{1,10}(\.[0-9]{1,2})?")


@dataclass(frozen=True)
class Filter:
    """One named condition. `parse` raises ValueError with a sentence; `choices` are (value, label).

    Filters of one `group` stand together. `upper` names the filter that is this one's other end.
    """

    name: str
    label: str
    kind: Literal["choice", "date", "price", "person", "text"]
    parse: Callable[[str], Any]
    where: Callable[[Any], ColumnElement[bool]]
    choices: tuple[tuple[str, str], ...] = ()
    group: str = ""
    upper: str = ""
    fixed: Callable[[str], tuple[str, str]] | None = None
    """What a value that depends on today means today: the name of another filter, and its value."""


def choice(
    name: str, label: str, choices: Mapping[str, tuple[str, Any]], where: Callable[[Any], ColumnElement[bool]]
) -> Filter:
    """A filter by one of a few values; `choices` maps what the URL says to (label, value)."""

    def parse(text: str) -> Any:
        if text not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}.")
        return choices[text][1]

    options = tuple((value, shown) for value, (shown, _) in choices.items())
    return Filter(name, label, "choice", parse, where, options)


def moment(name: str, label: str, column: SQLColumnExpression[Any]) -> tuple[Filter, Filter, Filter]:
    """By period (`name`), from the start of a day and to the end of one (`name_from`, `name_to`), UTC.

    A period is read when the list is: "today" in a saved view is the day it is opened.
    """

    def within(start: Callable[[datetime], datetime]) -> ColumnElement[bool]:
        return column >= start(_today())

    def fixed(text: str) -> tuple[str, str]:
        return f"{name}_from", PERIODS[text][1](_today()).date().isoformat()

    period = replace(choice(name, label, PERIODS, within), fixed=fixed)
    first = Filter(f"{name}_from", f"{label} from", "date", _parse_day, lambda day: column >= day)
    last = Filter(
        f"{name}_to", f"{label} to", "date", _parse_day, lambda day: column < day + timedelta(days=1)
    )
    return _grouped(period, label), _grouped(first, label, last.name), _grouped(last, label)


def price(name: str, label: str, column: SQLColumnExpression[Decimal]) -> tuple[Filter, Filter]:
    """From one price to another, both included."""

    def bound(value: Decimal) -> ColumnElement[Decimal]:
        """Not of the column's own type, which would not hold every price one may ask for."""
        return literal(value, Numeric())

    first = Filter(
        f"{name}_from", f"{label} from", "price", _parse_price, lambda value: column >= bound(value)
    )
    last = Filter(f"{name}_to", f"{label} to", "price", _parse_price, lambda value: column <= bound(value))
    return _grouped(first, label, last.name), _grouped(last, label)


PERIODS: Mapping[str, tuple[str, Callable[[datetime], datetime]]] = {
    "today": ("Today", lambda today: today),
    "7d": ("Last 7 days", lambda today: today - timedelta(days=6)),
    "month": ("This month", lambda today: today.replace(day=1)),
}
"""What the URL says -> (label, the first moment, of the first moment of today)."""


def parse_text(text: str) -> str:
    """For text filters: short, and free of characters PostgreSQL cannot store."""
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError(f"use at most {MAX_TEXT_LENGTH} characters.")
    if not is_storable(text):
        raise ValueError("this text contains characters that cannot be searched for.")
    return text.strip()


def _today() -> datetime:
    """Its first moment."""
    return datetime.combine(datetime.now(UTC).date(), time_of_day(), tzinfo=UTC)


def _grouped(item: Filter, group: str, upper: str = "") -> Filter:
    return replace(item, group=group, upper=upper)


def _parse_day(text: str) -> datetime:
    try:
        if not DAY.fullmatch(text):
            raise ValueError(text)
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("enter a date such as 2026-01-31.") from None
    if not 1900 <= day.year <= 2999:
        raise ValueError("enter a date between the years 1900 and 2999.")
    return datetime.combine(day, time_of_day(), tzinfo=UTC)


def _parse_price(text: str) -> Decimal:
    text = text.strip()
    if not PRICE.fullmatch(text):
        raise ValueError("enter a price such as 12.50.")
    return Decimal(text)
