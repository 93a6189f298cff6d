"""How values look in templates: numbers, times and initials."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from admin_app.security.devices import device

MINUTE, HOUR, DAY = 60, 3600, 86400
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def money(value: Decimal) -> str:
    return f"{value:,.2f}"


def exact_time(value: datetime) -> str:
    """To the second, in UTC, for hovering over the relative one."""
    return value.astimezone(UTC).isoformat(" ", "seconds")[:19] + " UTC"


def ago(value: datetime) -> str:
    """ "3 min ago" for the last day, then the date."""
    seconds = (datetime.now(UTC) - value).total_seconds()
    if seconds < MINUTE:
        return "just now"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min ago"
    if seconds < DAY:
        return f"{int(seconds // HOUR)} h ago"
    return day(value)


def until(value: datetime) -> str:
    """ "in 3 min" for the next hour, then the time; "now" for what is due."""
    seconds = (value - datetime.now(UTC)).total_seconds()
    if seconds <= 0:
        return "now"
    if seconds < MINUTE:
        return f"in {int(seconds) + 1} s"
    return f"in {int(seconds // MINUTE)} min" if seconds < HOUR else exact_time(value)


def clock(value: datetime) -> str:
    """ "14:03 UTC", with its day if that is not today."""
    value = value.astimezone(UTC)
    text = f"{value:%H:%M} UTC"
    return text if value.date() == datetime.now(UTC).date() else f"{day(value)}, {text}"


def day(value: datetime) -> str:
    value = value.astimezone(UTC)
    return f"{value.day} {MONTHS[value.month - 1]} {value.year}"


def initials(name: str) -> str:
    words = name.split()
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper() or "?"


FILTERS: dict[str, Callable[[Any], str]] = {
    "money": money,
    "exact_time": exact_time,
    "ago": ago,
    "clock": clock,
    "until": until,
    "day": day,
    "initials": initials,
    "device": device,
}
