"""The shapes of imports in the API: what comes in, and what is told of one."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from admin_app.api.answers import Moment
from admin_app.api.lists import text_like
from admin_app.imports.importer import Importer
from admin_app.imports.models import Import, ImportRow, Verdict
from admin_app.imports.reading import ENCODINGS, MAX_COLUMNS
from admin_app.text import reject_null

MAX_LISTED = 100
ROWS_PER_PAGE = 100
LAST_LINE = 2**63 - 1

Kind = Literal["product", "user"]
VerdictName = Literal["create", "update", "unchanged", "refused"]
VERDICTS = {verdict.name.lower(): verdict for verdict in Verdict}


class FieldRead(msgspec.Struct):
    name: str
    label: str
    hint: str
    is_required: bool


class KindRead(msgspec.Struct):
    """What columns may be, and by which of them rows are found."""

    kind: str
    fields: list[FieldRead]
    keys: list[str]


class KindList(msgspec.Struct):
    """Those the caller may import."""

    items: list[KindRead]


class ColumnRead(msgspec.Struct):
    """A column of the file, its first cells, and which field it is, if any."""

    name: str
    sample: list[str]
    field: str | None


class RefusalRead(msgspec.Struct):
    """Why how many rows are refused."""

    reason: str
    number: int


class ImportRead(msgspec.Struct):
    """`matching` waits to be told which column is what, `checking` ends in `checked`, or in `matching` again
    with an `error`. `confirmed`, it is done by the operation `operation_id`.

    `key` is the field that finds the row a line is about; empty, every line is a new row.
    """

    id: UUID
    number: int
    kind: str
    name: str
    size_bytes: int
    format: str
    encoding: str
    delimiter: str
    columns: list[ColumnRead]
    key: str
    actor_id: UUID | None
    actor_label: str
    state: str
    checked_bytes: int
    rows: int
    to_create: int
    to_update: int
    unchanged: int
    refused: int
    reasons: list[RefusalRead]
    error: str | None
    operation_id: UUID | None
    created_at: Moment
    checked_at: Moment | None


class ImportSummary(msgspec.Struct):
    id: UUID
    number: int
    kind: str
    name: str
    size_bytes: int
    state: str
    rows: int
    refused: int
    operation_id: UUID | None
    created_at: Moment


class ImportList(msgspec.Struct):
    """The caller's latest, without discarded ones."""

    items: list[ImportSummary]


class RowRead(msgspec.Struct):
    """`line` is where it starts in the file. `changes` has what would be different, by field: before, after.

    `row_id` is the row it would change, or the id the new one will have.
    """

    line: int
    verdict: str
    row_id: UUID | None
    label: str
    changes: dict[str, list[Any]]
    reason: str


class RowPage(msgspec.Struct):
    """In the order of the file. `next` is the cursor of the next page."""

    items: list[RowRead]
    next: int | None


class UploadQuery(BaseModel):
    """What the rows of the file are."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind


class ImportQuery(UploadQuery):
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 20


class RowQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    verdict: VerdictName | None = None
    limit: Annotated[int, Field(ge=1, le=ROWS_PER_PAGE)] = ROWS_PER_PAGE
    cursor: Annotated[int, Field(ge=0, le=LAST_LINE, description="`next` of another page.")] = 0


class ColumnMatching(BaseModel):
    """`matching` says which field a column is: its name -> the field's name. Other columns are left out.

    What is not sent stays as it is, at first as guessed. With an empty `key` every line is a new row.
    """

    model_config = ConfigDict(extra="forbid")

    matching: Annotated[dict[str, str], Field(max_length=MAX_COLUMNS)] | None = None
    key: str | None = None

    _no_null = reject_null()


class FileLayout(BaseModel):
    """How a CSV file is to be read."""

    model_config = ConfigDict(extra="forbid")

    encoding: text_like(f"({'|'.join(ENCODINGS)})", f"Choose one of: {', '.join(ENCODINGS)}.")  # type: ignore[valid-type]
    delimiter: text_like(r'[^"\r\n\x00]', "Send one character.")  # type: ignore[valid-type]


def import_of(row: Import) -> ImportRead:
    special: dict[str, Any] = {
        "columns": [
            ColumnRead(name, _sample(row.sample, place), row.matching.get(str(place)))
            for place, name in enumerate(row.columns)
        ],
        "reasons": [RefusalRead(reason, number) for reason, number in row.reasons.items()],
    }
    names = [name for name in ImportRead.__struct_fields__ if name not in special]
    return ImportRead(**{name: getattr(row, name) for name in names}, **special)


def summary_of(row: Import) -> ImportSummary:
    return ImportSummary(*(getattr(row, name) for name in ImportSummary.__struct_fields__))


def row_of(row: ImportRow) -> RowRead:
    return RowRead(row.line, row.verdict.name.lower(), row.row_id, row.label, row.changes, row.reason)


def kind_of(importer: Importer) -> KindRead:
    fields = [FieldRead(field.name, field.label, field.hint, field.is_required) for field in importer.fields]
    return KindRead(importer.kind, fields, [*importer.keys])


def _sample(rows: Sequence[Sequence[str]], place: int) -> list[str]:
    return [cells[place] for cells in rows if place < len(cells)]
