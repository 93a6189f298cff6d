"""The columns in which the history is exported: those of its list, told as there, but nothing shortened."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    SQLColumnExpression,
    Text,
    case,
    cast,
    column,
    func,
    literal,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from admin_app.actor import Source
from admin_app.audit import (
    ACTIONS,
    AT_THE_DOOR,
    BY_IMPORT,
    BY_OPERATION,
    HIDDEN,
    IN_TITLE,
    NOUNS,
    SOURCES,
    AuditEntry,
)
from admin_app.bulk.models import BulkOperation
from admin_app.domains.activity.models import FIELDS, PEOPLE
from admin_app.domains.users.models import User
from admin_app.exports.exportable import ExportColumn


def _text(value: str) -> ColumnElement[str]:
    return literal(value, Text())


def _capitalized(text: SQLColumnExpression[str]) -> ColumnElement[str]:
    return func.upper(func.left(text, 1), type_=Text()) + func.substr(text, 2)


def _what() -> ColumnElement[str]:
    entry = AuditEntry
    verb = case(
        *((entry.action == action, shown) for action, shown in ACTIONS.items()),
        else_=_capitalized(entry.action),
    )
    is_at_door = entry.action.in_(AT_THE_DOOR)
    subject = case(
        *((entry.row_id.is_(None) & (entry.kind == kind), _text(shown)) for kind, shown in NOUNS.items()),
        (entry.row_id.is_(None), entry.kind + _text("s")),
        (entry.row_label != "", entry.kind + _text(" “") + entry.row_label + _text("”")),
        else_=entry.kind + _text(" ") + cast(entry.row_id, Text),
    )
    sign = case((is_at_door | (entry.action == "refused"), _text(": ")), else_=_text(" "))
    has_remark = entry.action.in_(IN_TITLE) & (entry.note != "")
    remark = case((has_remark, _text(" (") + entry.note + _text(")")), else_=_text(""))
    whole = func.concat(verb, sign, subject, remark, type_=Text())
    return case((is_at_door & (entry.actor_id == entry.row_id), verb), else_=whole)


def _side(name: ColumnElement[Any], pair: ColumnElement[Any], side: int) -> ColumnElement[str]:
    """What a field was (0) or is (1), as people know it."""
    json: ColumnElement[Any] = pair[side]
    text = func.jsonb_extract_path_text(pair, str(side), type_=Text())
    person = (
        select(User.email).where(name.in_(PEOPLE), cast(User.id, Text) == text).correlate_except(User)
    ).scalar_subquery()
    return case(
        (func.jsonb_typeof(json) == "array", func.jsonb_array_length(json).cast(Text)),
        (name == "is_active", case((text == "true", "Active"), else_="Inactive")),
        (text == "true", "Yes"),
        (text == "false", "No"),
        (name.in_(["role", "state"]), _capitalized(text)),
        else_=func.coalesce(person, func.nullif(text, ""), "nothing"),
    )


def _changes() -> ColumnElement[str]:
    """ "Name Teapot → Kettle, Price 10.00 → 12.00" after the note, if there is one."""
    entry = AuditEntry
    fields = (
        func.jsonb_each(entry.changes)
        .table_valued(column("key", Text()), column("value", JSONB()))
        .lateral("field")
    )
    name, pair = fields.c.key, fields.c.value
    label = case(*((name == key, shown) for key, (shown, _) in FIELDS.items()), else_=name)
    told = case(
        (pair[0].astext == HIDDEN, label + _text(" changed")),
        (func.jsonb_typeof(pair[0]) == "null", label + _text(" ") + _side(name, pair, 1)),
        (func.jsonb_typeof(pair[1]) == "null", label + _text(" ") + _side(name, pair, 0)),
        else_=label + _text(" ") + _side(name, pair, 0) + _text(" → ") + _side(name, pair, 1),
    )
    each = select(func.string_agg(told, ", ")).select_from(fields).correlate(entry).scalar_subquery()
    note = case((entry.action.in_(IN_TITLE), null()), else_=entry.note)
    return func.concat_ws(", ", note, each, type_=Text())


def _where() -> ColumnElement[str]:
    number = (
        select(cast(BulkOperation.number, Text))
        .where(BulkOperation.id == AuditEntry.operation_id)
        .correlate(AuditEntry)
        .scalar_subquery()
    )
    shown = case(
        *((AuditEntry.source == source.value, word) for source, word in SOURCES.items()),
        else_=_capitalized(AuditEntry.source),
    )
    by = case((AuditEntry.source == Source.IMPORT.value, _text(BY_IMPORT)), else_=_text(BY_OPERATION))
    return func.coalesce(by + number, shown, type_=Text())


COLUMNS: Sequence[ExportColumn] = (
    ExportColumn("what", "What", _what(), AuditEntry.action, key="action", is_typed=True),
    ExportColumn("changes", "Changes", _changes(), AuditEntry.changes, is_typed=True),
    ExportColumn("actor_label", "Who", AuditEntry.actor_label, is_typed=True),
    ExportColumn("source", "From where", _where(), AuditEntry.source),
    ExportColumn("at", "When", AuditEntry.at),
    ExportColumn("kind", "Kind", AuditEntry.kind, is_usual=False),
    ExportColumn("row_id", "Of", AuditEntry.row_id, is_usual=False),
    ExportColumn("row_label", "Name", AuditEntry.row_label, is_typed=True, is_usual=False),
    ExportColumn("note", "Note", AuditEntry.note, is_typed=True, is_usual=False),
    ExportColumn("id", "Id", AuditEntry.id, is_usual=False),
)
