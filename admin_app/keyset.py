"""Where a page of a list begins: a cursor for URLs, and the rows beyond it."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, or_, tuple_

from admin_app.text import is_storable

MAX_DIGITS = 1_000  # far beyond any column, far below what PostgreSQL can read


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
        if not number.is_finite() or not -MAX_DIGITS <= number.adjusted() <= MAX_DIGITS:
            raise ValueError(value)
        return number
    return kind(value)
