"""The columns in which operations are exported: those of their list, worded as there."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, SQLColumnExpression, Text, case, cast, func, literal, null, type_coerce

from admin_app.bulk.listing import IS_UNDONE, STATES
from admin_app.bulk.models import ACTIVE, BulkOperation
from admin_app.exports.exportable import ExportColumn


def _text(value: str) -> ColumnElement[str]:
    return literal(value, Text())


def _number(column: SQLColumnExpression[int], word: str) -> ColumnElement[str]:
    """ "1,234 done", or NULL for none."""
    number = func.to_char(column, "FM999,999,999,999")
    return case((column > 0, number + _text(f" {word}")), else_=null())


_NUMBER = cast(BulkOperation.number, Text)
_KIND = func.initcap(BulkOperation.kind)
_OUTCOME = func.coalesce(
    func.nullif(
        func.concat_ws(
            ", ",
            _number(BulkOperation.done, "done"),
            _number(BulkOperation.skipped, "skipped"),
            _number(BulkOperation.failed, "failed"),
        ),
        "",
    ),
    "nothing done",
)
_STATE = case(
    (BulkOperation.is_cancelling & BulkOperation.state.in_(ACTIVE), "Cancelling"),
    (IS_UNDONE, "Undone"),
    *((BulkOperation.state == state, shown) for state, shown in STATES.items()),
)

COLUMNS: Sequence[ExportColumn] = (
    ExportColumn(
        "label",
        "What",
        _text("#") + _NUMBER + _text(" ") + BulkOperation.label,
        BulkOperation.label,
        is_typed=True,
    ),
    ExportColumn(
        "selection",
        "Rows",
        type_coerce(_KIND, Text) + _text(" · ") + BulkOperation.selection,
        BulkOperation.selection,
        is_typed=True,
    ),
    ExportColumn("total", "How many", BulkOperation.total),
    ExportColumn("state", "State", _STATE, BulkOperation.state),
    ExportColumn("outcome", "Outcome", _OUTCOME),
    ExportColumn("actor_label", "Who", BulkOperation.actor_label, is_typed=True),
    ExportColumn("created_at", "Started", BulkOperation.created_at),
    ExportColumn("id", "Id", BulkOperation.id, is_usual=False),
)
