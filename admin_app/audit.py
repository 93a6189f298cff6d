"""History: who changed what, from what to what. Written in the transaction of the change itself."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import Index, func, insert, inspect
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.actor import Actor
from admin_app.database import Base, Identified

SECRET = {"secret": True}
"""`mapped_column(info=SECRET)`: the value never enters the history, only that it changed."""

HIDDEN = "[hidden]"
HOUSEKEEPING = frozenset({"id", "version", "created_at", "updated_at"})

Snapshot = Mapping[str, Any]


class AuditEntry(Identified, Base):
    """`changes` maps a field to [old, new]. Actor and row are kept by value: both may be deleted later."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_entry_row", "kind", "row_id", "id"),)

    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor_id: Mapped[UUID | None]
    actor_label: Mapped[str]
    source: Mapped[str]
    address: Mapped[str | None]
    request_id: Mapped[UUID]
    operation_id: Mapped[UUID | None]
    action: Mapped[str]
    kind: Mapped[str]
    row_id: Mapped[UUID]
    changes: Mapped[dict[str, list[Any]]] = mapped_column(JSONB)


def kind_of(model: type[Base]) -> str:
    """What the history calls the rows of this model."""
    return model.__name__.lower()


def snapshot(row: Base) -> Snapshot:
    """The row's own columns as JSON values; secrets stay raw so that `diff` sees them change."""
    columns = inspect(type(row)).columns
    return {
        column.key: _plain(getattr(row, column.key)) for column in columns if column.key not in HOUSEKEEPING
    }


def diff(model: type[Base], before: Snapshot | None, after: Snapshot | None) -> dict[str, list[Any]]:
    """The fields that differ, each as [old, new]; None stands for a row that does not exist."""
    secrets = {column.key for column in inspect(model).columns if column.info.get("secret")}
    changes: dict[str, list[Any]] = {}
    for name in after or before or {}:
        old, new = (before or {}).get(name), (after or {}).get(name)
        if old != new:
            changes[name] = [HIDDEN, HIDDEN] if name in secrets else [old, new]
    return changes


def record(
    session: AsyncSession,
    actor: Actor,
    action: str,
    model: type[Base],
    row_id: UUID,
    *,
    before: Snapshot | None = None,
    after: Snapshot | None = None,
) -> None:
    """Add the entry to the session: it is committed with the change, or not at all."""
    session.add(AuditEntry(**_entry(actor, action, model, row_id, diff(model, before, after))))


async def record_gone(session: AsyncSession, actor: Actor, action: str, rows: Mapping[UUID, Base]) -> None:
    """As `record`, in one statement for all these rows of one model, of which nothing is left."""
    entries = []
    for row_id, row in rows.items():
        changes = diff(type(row), snapshot(row), None)
        entries.append(_entry(actor, action, type(row), row_id, changes))
    if entries:
        await session.execute(insert(AuditEntry), entries)


def _entry(
    actor: Actor, action: str, model: type[Base], row_id: UUID, changes: dict[str, list[Any]]
) -> dict[str, Any]:
    return {
        "actor_id": actor.id,
        "actor_label": actor.label,
        "source": actor.source.value,
        "address": actor.address,
        "request_id": actor.request_id,
        "operation_id": actor.operation_id,
        "action": action,
        "kind": kind_of(model),
        "row_id": row_id,
        "changes": changes,
    }


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case UUID() | Decimal():
            return str(value)
        case datetime():
            return value.isoformat()
        case _:
            return value
