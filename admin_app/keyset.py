"""Where a page of a list begins: a cursor for URLs, and the rows beyond it."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, or_, tuple_

from admin_app.text import is_storable

SORT_KEY = "sort_key"

MAX_DIGITS = 8
"""Before the point, of the longest number in a list: PostgreSQL cannot cast a longer one to its column."""


@dataclass(frozen=True)
class Cursor:
    """Where a page begins: beyond the row with this sort value and id."""

    direction: Literal["after", "before"]
    value: Any
    id: UUID

    def encode(self, fingerprint: str) -> str:
        """For a URL; `fingerprint` ties it to the order and the conditions it was made under."""
        value = self.value.isoformat() if isinstance(self.value, datetime) else self.value
        value = str(value) if isinstance(value, Decimal | UUID) else value
        text = json.dumps([self.direction, value, str(self.id), fingerprint])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, fingerprint: str, kind: type) -> "Cursor":
        """Raises ValueError for anything but what `encode` wrote for this fingerprint."""
        try:
            decoded = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            direction, value, row_id, made_under = decoded
            if direction not in {"after", "before"} or made_under != fingerprint:
                raise ValueError(text)
            return cls(direction, _read(kind, value), UUID(row_id))
        except (TypeError, AttributeError, InvalidOperation, RecursionError) as error:
            raise ValueError(text) from error


Place = Cursor | Literal["last"] | None
"""Where a page is: beside a row, or at the end or the beginning of the list."""


def is_backwards(place: Place) -> bool:
    """The rows of the page are read from its end."""
    return place == "last" or (isinstance(place, Cursor) and place.direction == "before")


def at(
    statement: Select[Any],
    key: SQLColumnExpression[Any],
    row_id: SQLColumnExpression[UUID],
    place: Place,
    descending: bool,
) -> Select[Any]:
    """The rows from this place on, in the order they are read in, each with its sort value as SORT_KEY."""
    descending = descending != is_backwards(place)
    statement = statement.add_columns(key.label(SORT_KEY))
    if isinstance(place, Cursor):
        statement = statement.where(beyond(key, row_id, place, descending))
    return statement.order_by(*((key.desc(), row_id.desc()) if descending else (key.asc(), row_id.asc())))


def cut(
    found: Sequence[Any], size: int, place: Place, *, is_later: bool
) -> tuple[Sequence[Any], Cursor | None, Cursor | None]:
    """Of the rows read at a place, one more than asked, the page in its order, and where those beside it are.

    `is_later`: some rows before the place were left out.
    """
    more, found = len(found) > size, found[:size]
    if is_backwards(place):
        found = list(reversed(found))
        has_previous, has_next = more, place != "last"
    else:
        has_previous, has_next = place is not None or is_later, more
    return (
        found,
        Cursor("before", getattr(found[0], SORT_KEY), found[0].id) if found and has_previous else None,
        Cursor("after", getattr(found[-1], SORT_KEY), found[-1].id) if found and has_next else None,
    )


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
        if not number.is_finite() or not -MAX_DIGITS <= number.adjusted() < MAX_DIGITS:
            raise ValueError(value)
        return number
    return kind(value)
