"""An import, and what each row of its file would do."""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base, Identified, IntEnumType, text_enum

KEPT_DAYS = 7
"""How long the file of an import is kept that nobody confirms."""


class ImportState(StrEnum):
    UPLOADING = "uploading"
    MATCHING = "matching"
    """Its file is here; which column is what has to be said, or said again."""
    CHECKING = "checking"
    CHECKED = "checked"
    """What each row would do is known; nothing is done before it is confirmed."""
    CONFIRMED = "confirmed"
    """The operation does it, or has done it."""
    DISCARDED = "discarded"


class Verdict(IntEnum):
    """What a row would do."""

    CREATE = 1
    UPDATE = 2
    UNCHANGED = 3
    REFUSED = 4


class Import(Identified, Base):
    """`matching` says which field each column is: the column's place, from 0 -> the field's name."""

    __tablename__ = "import"
    __table_args__ = (
        Index("ix_import_actor", "actor_id", "kind", "id"),
        Index("ix_import_operation", "operation_id", unique=True),
        Index(
            "ix_import_open", "created_at", postgresql_where=text("state NOT IN ('confirmed', 'discarded')")
        ),
    )

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    kind: Mapped[str]
    name: Mapped[str] = mapped_column(Text)
    """Of the file, as it was called where it came from."""
    file: Mapped[str] = mapped_column(Text)
    """Its name in the storage: random, and shown to nobody."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    format: Mapped[str]
    encoding: Mapped[str]
    delimiter: Mapped[str]
    columns: Mapped[list[str]] = mapped_column(ARRAY(Text))
    sample: Mapped[list[list[str]]] = mapped_column(JSONB, server_default="[]")
    """The first rows, to recognise the columns by."""
    matching: Mapped[dict[str, str]] = mapped_column(JSONB, server_default="{}")
    constants: Mapped[dict[str, str]] = mapped_column(JSONB, server_default="{}")
    """What every row says of fields that no column is: the field's name -> as a cell would say it."""
    key: Mapped[str] = mapped_column(Text, server_default="")
    """The field that finds the row a line is about; '': every line is a new row."""

    actor_id: Mapped[UUID | None]
    actor_label: Mapped[str]
    address: Mapped[str | None]
    request_id: Mapped[UUID]

    state: Mapped[ImportState] = mapped_column(text_enum(ImportState, "state"))
    attempt: Mapped[int] = mapped_column(server_default="0")
    """How often it was asked to be checked: what is under way for an earlier one is of no use."""
    checked_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rows: Mapped[int] = mapped_column(BigInteger, server_default="0")
    to_create: Mapped[int] = mapped_column(BigInteger, server_default="0")
    to_update: Mapped[int] = mapped_column(BigInteger, server_default="0")
    unchanged: Mapped[int] = mapped_column(BigInteger, server_default="0")
    refused: Mapped[int] = mapped_column(BigInteger, server_default="0")
    reasons: Mapped[dict[str, int]] = mapped_column(JSONB, server_default="{}")
    """Why rows are refused: sentence -> number, the most frequent only."""
    error: Mapped[str | None] = mapped_column(Text)
    """Why the file could not be checked. It can be matched again."""
    operation_id: Mapped[UUID | None] = mapped_column(ForeignKey("bulk_operation.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    checked_at: Mapped[datetime | None]


class ImportRow(Base):
    """What a row of the file would do, as it was when the file was checked. As items, without foreign keys.

    `line` is where it starts in the file, counted from 1. `row_id` is the row it would change, or the id
    the new one will have, and `version` what that was at; 0 is a new one. `changes` has what would be
    different: field -> [old, new], as the history writes values down.
    """

    __tablename__ = "import_row"
    __table_args__ = (
        Index("ix_import_row_verdict", "import_id", "verdict", "line"),
        Index("ix_import_row_row", "import_id", "row_id"),
    )

    import_id: Mapped[UUID] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    verdict: Mapped[Verdict] = mapped_column(IntEnumType(Verdict))
    row_id: Mapped[UUID | None]
    version: Mapped[int | None]
    label: Mapped[str] = mapped_column(Text, server_default="")
    """What the row is called."""
    changes: Mapped[dict[str, list[Any]]] = mapped_column(JSONB, server_default="{}")
    reason: Mapped[str] = mapped_column(Text, server_default="")
    """Why it is refused, field by field; of others, what to know of it."""
    cells: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """As they stood in the file, of a refused row."""
