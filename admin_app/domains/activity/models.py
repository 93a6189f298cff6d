"""Whose history can be read, and an index for each field of theirs, over the entries that changed it.

The history itself knows no fields. Without such an index, a field that changes seldom would be looked for
in all of it; a single index on all fields would not have them in the order of time.
"""

from collections.abc import Sequence

from sqlalchemy import DateTime, Index, text

from admin_app.audit import REVERTED, UPDATED, AuditEntry, fields_of, kind_of
from admin_app.database import Base
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User

MODELS: Sequence[type[Base]] = (Product, User)

PEOPLE = sorted(
    {
        column.key
        for model in MODELS
        for column in model.__table__.columns
        if any(key.target_fullname == "users.id" for key in column.foreign_keys)
    }
)
"""Fields whose values are ids of people."""

CHANGES = (UPDATED, REVERTED)
"""What changes single fields: of a row that is new or gone, all of them are others."""


def _fields() -> dict[str, tuple[str, list[str]]]:
    """Without moments: nobody fills them in, and what was done to the row tells as much."""
    found: dict[str, tuple[str, list[str]]] = {}
    for model in MODELS:
        for name, label in fields_of(model).items():
            if not isinstance(model.__table__.c[name].type, DateTime):
                found.setdefault(name, (label, []))[1].append(kind_of(model))
    return found


FIELDS = _fields()
"""What may change -> what people call it, and the kinds of rows that have it."""


def changed_sql(name: str) -> str:
    """Literally the same in an index and in a query that is to use it."""
    actions = ", ".join(f"'{action}'" for action in CHANGES)
    return f"audit_entry.changes ? '{name}' AND audit_entry.action IN ({actions})"


INDEXES = [
    Index(f"ix_audit_entry_changed_{name}", AuditEntry.id, postgresql_where=text(changed_sql(name)))
    for name in FIELDS
]
