"""One change of many rows, with their history, in one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Integer,
    Numeric,
    SQLColumnExpression,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.audit import HIDDEN, UPDATED, AuditEntry, kind_of, label_of
from admin_app.database import Base

NOT_YOURS = "not yours"
GONE = "gone"
CHANGED_MEANWHILE = "changed meanwhile"
NOTHING_TO_CHANGE = "nothing to change"


class Refusal(NamedTuple):
    """Why a row is left as it is, and the rows of which that is true."""

    reason: str
    when: SQLColumnExpression[bool]
    is_costly: bool = False
    """It takes a look-up a row."""


@dataclass(frozen=True)
class Change:
    """New values by column, in terms of the row as it is; no values means that rows are only touched.

    What others changed in other columns meanwhile is kept; but what is more than an update, a deletion, is
    of the row as it was seen. A row is left alone for the first reason that fits: `guards` are the
    service's (whose row it is), `refusals` the action's.
    """

    values: Mapping[str, ColumnElement[Any]]
    refusals: Sequence[Refusal] = ()
    guards: Sequence[Refusal] = ()
    word: str = UPDATED
    """What the history calls it."""
    is_strict: bool = False
    """Whatever others changed meanwhile, the row is left alone."""
    beside: FromClause | None = None
    """What the values are read from: it has a line for each row, found by its column `row_id`."""
    note: ColumnElement[str] | None = None
    """What the history adds, in terms of `beside`."""

    def reason(
        self, model: type[Base], version: ColumnElement[int] | None = None, *, is_brief: bool = False
    ) -> ColumnElement[str | None]:
        """Why a row is not changed, or NULL; since `version`, nobody else may have changed the same.

        In brief, what takes a look-up a row is not asked, nor whether the values are new.
        """
        reasons = [*self.guards]
        if version is not None and self.values:
            reasons.append(Refusal(CHANGED_MEANWHILE, self._is_changed(model, version)))
        reasons += self.refusals
        if self.values and not is_brief:
            same = and_(
                *(getattr(model, name).is_not_distinct_from(value) for name, value in self.values.items())
            )
            reasons.append(Refusal(NOTHING_TO_CHANGE, same))
        told = [
            (refusal.when, literal(refusal.reason, Text()))
            for refusal in reasons
            if not (is_brief and refusal.is_costly)
        ]
        return case(*told, else_=null()) if told else literal(None, Text())

    def _is_changed(self, model: Any, version: ColumnElement[int]) -> ColumnElement[bool]:
        """Whether any version since is about the same, or not on record."""
        if self.is_strict or self.word != UPDATED:
            differs: ColumnElement[bool] = model.version != version
            return differs
        others = (
            select(func.count())
            .where(
                AuditEntry.kind == kind_of(model),
                AuditEntry.row_id == model.id,
                AuditEntry.version > version,
                ~AuditEntry.changes.has_any(array(list(self.values))),
            )
            .correlate_except(AuditEntry)
            .scalar_subquery()
        )
        return case((model.version == version, false()), else_=others != model.version - version)


async def change_rows(
    session: AsyncSession, actor: Actor, model: type[Base], rows: Mapping[UUID, int], change: Change
) -> dict[UUID, str | None]:
    """Change the rows that are at these versions: id -> why not, or None. Ids without a row are left out.

    They are locked in the order of their ids, so that two such changes cannot wait for each other, and
    judged afterwards, by what they are then.
    """
    ids = sorted(rows)
    if not ids:
        return {}
    table: Any = model.__table__
    if change.values:
        lock = select(table.c.id).where(table.c.id == func.any(array_of("ids", ids, Uuid())))
        await session.execute(lock.order_by(table.c.id).with_for_update(key_share=True))
    versions = array_of("versions", [rows[row_id] for row_id in ids], Integer())
    wanted = (
        func.unnest(array_of("ids", ids, Uuid()), versions)
        .table_valued("row_id", "version")
        .render_derived("wanted")
    )
    found = wanted.join(table, table.c.id == wanted.c.row_id)
    if change.beside is not None:
        found = found.join(change.beside, change.beside.c.row_id == wanted.c.row_id)
    judged = (
        select(
            table.c.id,
            change.reason(model, wanted.c.version).label("reason"),
            note_of(change).label("note"),
            *(value.label(f"new_{name}") for name, value in change.values.items()),
        )
        .select_from(found)
        .cte("judged")
    )
    statement = select(judged.c.id, judged.c.reason)
    if change.values:
        changed = (
            update(table)
            .where(table.c.id == judged.c.id, judged.c.reason.is_(None))
            .values(
                {name: judged.c[f"new_{name}"] for name in change.values} | {"version": table.c.version + 1}
            )
            .returning(
                table.c.id,
                table.c.version,
                label_of(model).label("label"),
                _differences(model, change.values).label("changes"),
                judged.c.note,
            )
            .cte("changed")
        )
        statement = statement.add_cte(history(actor, kind_of(model), change.word, changed))
    return {row.id: row.reason for row in await session.execute(statement)}


def note_of(change: Change) -> ColumnElement[Any]:
    return literal(None, Text()) if change.note is None else change.note


def history(actor: Actor, kind: str, word: str, changed: Any) -> Any:
    """The entries of the rows in `changed`, as a part of the statement that changes them."""
    values: dict[str, ColumnElement[Any]] = {
        "actor_id": literal(actor.id, Uuid()),
        "actor_label": literal(actor.label),
        "source": literal(actor.source.value),
        "address": literal(actor.address, Text()),
        "request_id": literal(actor.request_id),
        "operation_id": literal(actor.operation_id, Uuid()),
        "action": literal(word),
        "kind": literal(kind),
        "row_id": changed.c.id,
        "row_label": changed.c.label,
        "version": changed.c.version,
        "note": changed.c.note,
        "changes": changed.c.changes,
    }
    return insert(AuditEntry).from_select(list(values), select(*values.values())).cte("history")


def _differences(model: type[Base], names: Mapping[str, Any]) -> ColumnElement[Any]:
    """As `audit.diff` has them: field -> [old, new], of those that differ."""
    pairs: list[Any] = []
    for name in names:
        column = model.__table__.c[name]
        old, new = (literal_column(f"{side}.{column.name}", column.type) for side in ("old", "new"))
        shown = [recorded(column, side) for side in (old, new)]
        pairs += [name, case((old.is_distinct_from(new), func.jsonb_build_array(*shown)))]
    return func.jsonb_strip_nulls(func.jsonb_build_object(*pairs))


def recorded(column: Any, value: ColumnElement[Any]) -> ColumnElement[Any]:
    """A value of this column as `audit.diff` writes it down: decimals are texts."""
    if column.info.get("secret"):
        return func.to_jsonb(literal(HIDDEN, Text()))
    return func.to_jsonb(cast(value, Text()) if isinstance(column.type, Numeric) else value)


def array_of(name: str, values: Sequence[Any], kind: Any) -> ColumnElement[Any]:
    return bindparam(name, list(values), ARRAY(kind))
