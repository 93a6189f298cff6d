"""An operation, and the rows it was confirmed for."""

from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ForeignKey,
    Identity,
    Index,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base, Identified, IntEnumType, text_enum

UNDO = "undo"
"""The action of an operation that takes another one back."""

UNDOING = "state <> 'draft' AND (done > 0 OR state NOT IN ('finished', 'cancelled', 'broken'))"

OPEN_DAYS = 7
"""So long after its end an operation can be undone, or what failed be tried again."""


class State(StrEnum):
    DRAFT = "draft"
    WAITING = "waiting"
    """Confirmed; its rows are about to be written down."""
    RETRYING = "retrying"
    """What failed is about to be marked as open again."""
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    BROKEN = "broken"
    """It could not begin. Nothing was changed."""


ACTIVE = (State.WAITING, State.RETRYING, State.RUNNING)


class Outcome(IntEnum):
    """What became of one row."""

    OPEN = 0
    DONE = 1
    SKIPPED = 2
    FAILED = 3
    """May succeed when tried again."""


class BulkOperation(Identified, Base):
    """The selection is `row_ids`, or what the list's `query` finds, or what the operation `undoes` changed.

    `reasons` counts the rows that were not changed: outcome -> sentence -> number. `cursor` is the last
    row id worked on: rows are taken in the order of their ids.
    """

    __tablename__ = "bulk_operation"
    __table_args__ = (
        Index(
            "ix_bulk_operation_active",
            "worked_at",
            postgresql_where=text("state IN ('waiting', 'retrying', 'running')"),
        ),
        Index("ix_bulk_operation_actor", "actor_id", "id"),
        Index(
            "ix_bulk_operation_unseen",
            "actor_id",
            "finished_at",
            postgresql_where=text("seen_at IS NULL AND finished_at IS NOT NULL"),
        ),
        # Drafts, and what ended without undoing anything, do not keep others from undoing it.
        Index("uq_bulk_operation_undoes", "undoes", unique=True, postgresql_where=text(UNDOING)),
    )

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    kind: Mapped[str]
    action: Mapped[str]
    label: Mapped[str]
    """The action in words, as it was called then."""
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    query: Mapped[str | None] = mapped_column(Text)
    row_ids: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid), deferred=True)
    undoes: Mapped[UUID | None] = mapped_column(ForeignKey("bulk_operation.id", ondelete="SET NULL"))
    selection: Mapped[str] = mapped_column(Text)
    """In words."""

    actor_id: Mapped[UUID | None]
    """None is the installation itself: its command line."""
    actor_label: Mapped[str]
    address: Mapped[str | None]
    request_id: Mapped[UUID]

    state: Mapped[State] = mapped_column(
        text_enum(State, "state"),
        server_default=State.DRAFT.value,
    )
    is_cancelling: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    confirmed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    worked_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]
    """Since when its actor knows that it has ended."""
    error: Mapped[str | None] = mapped_column(Text)

    confirmed: Mapped[int] = mapped_column(server_default="0")
    """How many rows there were then. Those a search did not find any more when they were written down count
    as skipped."""
    total: Mapped[int] = mapped_column(server_default="0")
    done: Mapped[int] = mapped_column(server_default="0")
    skipped: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    reasons: Mapped[dict[str, dict[str, int]]] = mapped_column(JSONB, server_default="{}")
    cursor: Mapped[UUID | None]

    @property
    def left(self) -> int:
        return self.total - self.done - self.skipped - self.failed

    @property
    def open_until(self) -> datetime | None:
        """As long as it can be undone, or what failed be tried again."""
        return self.finished_at and self.finished_at + timedelta(days=OPEN_DAYS)


class BulkItem(Base):
    """One row of an operation, with the version it had when the operation was confirmed.

    No foreign keys: checking a million of them takes longer than writing them.
    """

    __tablename__ = "bulk_item"
    __table_args__ = (
        Index(
            "ix_bulk_item_not_done",
            "operation_id",
            "outcome",
            "row_id",
            postgresql_where=text("outcome IN (2, 3)"),
        ),
    )

    operation_id: Mapped[UUID] = mapped_column(primary_key=True)
    row_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    outcome: Mapped[Outcome] = mapped_column(IntEnumType(Outcome))
    reason: Mapped[str | None] = mapped_column(Text)
