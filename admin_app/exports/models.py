"""An export that is written in the background: what it is of, how far it is, and where its file lies."""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base, Identified, text_enum

KEPT_DAYS = 7
"""How long its owner can fetch the file."""


class Format(StrEnum):
    CSV = "csv"
    JSON_LINES = "jsonl"
    EXCEL = "xlsx"


class ExportState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Its file is gone, or about to be."""


UNDER_WAY = (ExportState.WAITING, ExportState.RUNNING)


class Export(Identified, Base):
    """The rows a list's `query` finds when it is written, in its order, in these `columns`."""

    __tablename__ = "export"
    __table_args__ = (
        Index("ix_export_actor", "actor_id", "id"),
        Index("ix_export_due", "finished_at", "id", postgresql_where=text("state = 'finished'")),
        # A notice on every page asks for these.
        Index(
            "ix_export_unseen",
            "actor_id",
            postgresql_where=text("seen_at IS NULL AND state IN ('finished', 'failed')"),
        ),
    )

    kind: Mapped[str]
    format: Mapped[Format] = mapped_column(text_enum(Format, "format"))
    query: Mapped[str] = mapped_column(Text)
    """As in the list's address, without words such as "today"."""
    columns: Mapped[list[str]] = mapped_column(ARRAY(Text))
    selection: Mapped[str] = mapped_column(Text)
    """The query in words."""

    actor_id: Mapped[UUID]
    actor_label: Mapped[str]
    address: Mapped[str | None]
    request_id: Mapped[UUID]

    state: Mapped[ExportState] = mapped_column(
        text_enum(ExportState, "state"), server_default=ExportState.WAITING.value
    )
    is_cancelling: Mapped[bool] = mapped_column(server_default="false")
    expected: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """How many rows there were about when it was asked for."""
    rows: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Written so far."""
    file: Mapped[str] = mapped_column(Text)
    """Its name in the storage: random, and shown to nobody."""
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]
    """Since when its owner knows that it has ended."""

    @property
    def open_until(self) -> datetime | None:
        """As long as its file can be fetched."""
        return self.finished_at and self.finished_at + timedelta(days=KEPT_DAYS)
