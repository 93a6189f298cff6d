"""History: who changed what, from what to what. Written in the transaction of the change itself."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Index, Text, func, insert, inspect, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.actor import Actor, Source
from admin_app.database import Base, Identified

SECRET = {"secret": True}
"""`mapped_column(info=SECRET)`: the value never enters the history, only that it changed."""

LABEL = {"label": True}
"""`mapped_column(info=LABEL)`: the text by which the history calls a row."""


def called(name: str) -> dict[str, str]:
    """`mapped_column(info=called("State"))`: what people call the column, where its name does not say it."""
    return {"called": name}


CREATED, UPDATED, REVERTED = "created", "updated", "reverted"
"""Actions: a new row, other values, or those from before. Other actions have words of their own."""

HIDDEN = "[hidden]"
HOUSEKEEPING = frozenset({"id", "version", "created_at", "updated_at"})

ACTIONS = {
    "created": "Created",
    "updated": "Changed",
    "reverted": "Brought back",
    "deleted": "Deleted",
    "restored": "Restored",
    "purged": "Deleted for good",
    "retried": "Retried",
    "parked": "Parked",
    "signed in": "Signed in",
    "sign-in failed": "Sign-in failed",
    "signed out": "Signed out",
    "token created": "Access token created",
    "token revoked": "Access token revoked",
    "link made": "Link for a new password made",
    "link sent": "Link for a new password sent",
    "link used": "Link for a new password used",
    "second factor set up": "Second factor set up",
    "second factor removed": "Second factor removed",
    "recovery codes made": "Recovery codes made",
    "refused": "Refused",
    "imported": "Imported",
    "exported": "Exported",
}
"""What an entry calls what was done -> what people do."""

AT_THE_DOOR = frozenset(
    {
        *("signed in", "sign-in failed", "signed out", "token created", "token revoked"),
        *("link made", "link sent", "link used"),
        *("second factor set up", "second factor removed", "recovery codes made"),
    }
)
"""About an account, and no change of it: the title names whose it is if somebody else did it."""

IN_TITLE = frozenset({"refused", "reverted"})
"""Whose note belongs to what was done; of others it is all there is to tell."""

SOURCES = {
    Source.FORM: "Form",
    Source.INLINE: "In the list",
    Source.BULK: "Bulk operation",
    Source.IMPORT: "Import",
    Source.API: "API",
    Source.SYSTEM: "System",
}
"""From where it was done, for people."""

BY_OPERATION, BY_IMPORT = "Bulk #", "Import, operation #"
"""The same, with its number, of what an operation did."""

NOUNS = {
    "bulkoperation": "operations",
    "auditentry": "entries of the history",
    "delivery": "deliveries",
}
"""What people call many rows of a kind, where it is not the kind with an s."""

Snapshot = Mapping[str, Any]


class AuditEntry(Identified, Base):
    """`changes` maps a field to [old, new]. Actor and row are kept by value: both may be deleted later.

    `version` is the one the row has since; every version of a row has one entry. It is None where the row
    did not change: somebody signed in, or was refused. Without `row_id` it is about no row in particular.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (
        Index("ix_audit_entry_row", "kind", "row_id", "id"),
        # Ids are in the order of time.
        Index("ix_audit_entry_actor", text("lower(actor_label)"), "id"),
        Index("ix_audit_entry_kind", "kind", "id"),
        Index("ix_audit_entry_action", "action", "id"),
    )

    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor_id: Mapped[UUID | None]
    actor_label: Mapped[str]
    source: Mapped[str]
    address: Mapped[str | None]
    request_id: Mapped[UUID]
    operation_id: Mapped[UUID | None]
    action: Mapped[str]
    kind: Mapped[str]
    row_id: Mapped[UUID | None]
    row_label: Mapped[str] = mapped_column(Text, server_default="")
    version: Mapped[int | None]
    note: Mapped[str | None] = mapped_column(Text)
    changes: Mapped[dict[str, list[Any]]] = mapped_column(JSONB)


def kind_of(model: type[Base]) -> str:
    """What the history calls the rows of this model."""
    return model.__name__.lower()


def label_of(model: type[Base]) -> ColumnElement[Any]:
    """The column the rows of this model are called by."""
    [found] = [column for column in model.__table__.columns if column.info.get("label")]
    return found


def fields_of(model: type[Base]) -> dict[str, str]:
    """Everything an entry of this model's rows may say to have changed: column -> what people call it."""
    return {
        column.key: column.info.get("called") or column.key.replace("_", " ").capitalize()
        for column in inspect(model).columns
        if column.key not in HOUSEKEEPING
    }


def snapshot(row: Base) -> Snapshot:
    """The row's own columns as JSON values; secrets stay raw so that `diff` sees them change."""
    columns = inspect(type(row)).columns
    return {
        column.key: plain(getattr(row, column.key)) for column in columns if column.key not in HOUSEKEEPING
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
    row: Base,
    before: Snapshot | None = None,
    *,
    note: str | None = None,
) -> dict[str, list[Any]]:
    """Add the entry of a change, already flushed, to the session: committed with it, or not at all.

    Without `before` the row is new. Returns what changed.
    """
    changes = diff(type(row), before, snapshot(row))
    entry = _entry(actor, action, type(row), note)
    entry |= _row(row) | {"version": getattr(row, "version"), "changes": changes}  # noqa: B009
    session.add(AuditEntry(**entry))
    return changes


async def record_gone(session: AsyncSession, actor: Actor, action: str, rows: Sequence[Base]) -> None:
    """As `record`, in one statement for all these rows, of which nothing is left."""
    entries = [
        _entry(actor, action, type(row)) | _row(row) | {"changes": diff(type(row), snapshot(row), None)}
        for row in rows
    ]
    if entries:
        await session.execute(insert(AuditEntry), entries)


def note(
    session: AsyncSession,
    actor: Actor,
    action: str,
    subject: Base | type[Base],
    told: str | None = None,
) -> None:
    """Add an entry of what changed no row: somebody signed in, was refused, imported or exported rows.

    The subject is a row, or the model whose rows it was about.
    """
    if isinstance(subject, Base):
        entry = _entry(actor, action, type(subject), told) | _row(subject)
    else:
        entry = _entry(actor, action, subject, told)
    session.add(AuditEntry(**entry))


def _row(row: Base) -> dict[str, Any]:
    identity: UUID = getattr(row, "id")  # noqa: B009  # every recorded row is Identified
    return {"row_id": identity, "row_label": getattr(row, str(label_of(type(row)).key))}


def _entry(actor: Actor, action: str, model: type[Base], note: str | None = None) -> dict[str, Any]:
    return {
        "actor_id": actor.id,
        "actor_label": actor.label,
        "source": actor.source.value,
        "address": actor.address,
        "request_id": actor.request_id,
        "operation_id": actor.operation_id,
        "action": action,
        "kind": kind_of(model),
        "note": note,
        "changes": {},
    }


def plain(value: Any) -> Any:
    """As the history writes it down."""
    match value:
        case Enum():
            return value.value
        case UUID() | Decimal():
            return str(value)
        case datetime():
            return value.isoformat()
        case _:
            return value
