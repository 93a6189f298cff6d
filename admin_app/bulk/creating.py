"""Many new rows, with their history, in one statement."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, case, func, insert, literal, literal_column, null, select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.audit import CREATED, HOUSEKEEPING, kind_of, label_of
from admin_app.bulk.changes import Change, array_of, history, note_of, recorded
from admin_app.database import Base


async def create_rows(
    session: AsyncSession, actor: Actor, model: type[Base], ids: Collection[UUID], change: Change
) -> dict[UUID, str | None]:
    """Make the rows with these ids: id -> why not, or None. Ids that `change.beside` lacks are left out.

    Values, guards and refusals of the change are in terms of what is beside, for there is no row yet.
    """
    beside = change.beside
    assert beside is not None
    if not ids:
        return {}
    table: Any = model.__table__
    refusals = [*change.guards, *change.refusals]
    told = [(refusal.when, literal(refusal.reason, Text())) for refusal in refusals]
    judged = (
        select(
            beside.c.row_id.label("id"),
            (case(*told, else_=null()) if told else literal(None, Text())).label("reason"),
            note_of(change).label("note"),
            *(value.label(f"new_{name}") for name, value in change.values.items()),
        )
        .where(beside.c.row_id == func.any(array_of("ids", sorted(ids), Uuid())))
        .cte("judged")
    )
    wanted = (
        select(judged.c.id, *(judged.c[f"new_{name}"] for name in change.values))
        .where(judged.c.reason.is_(None))
        .order_by(judged.c.id)
    )
    made = (
        insert(table)
        .from_select(["id", *change.values], wanted, include_defaults=False)
        .returning(
            table.c.id, table.c.version, label_of(model).label("label"), _values(model).label("changes")
        )
        .cte("made")
    )
    noted = select(made, judged.c.note).join(judged, judged.c.id == made.c.id).cte("noted")
    statement = select(judged.c.id, judged.c.reason).add_cte(history(actor, kind_of(model), CREATED, noted))
    return {row.id: row.reason for row in await session.execute(statement)}


def _values(model: type[Base]) -> Any:
    """As `audit.diff` has them of a new row: field -> [null, value], of those that have one."""
    pairs: list[Any] = []
    for name in model.__mapper__.columns.keys():  # noqa: SIM118  # not of a dict
        column = model.__table__.c[name]
        if name not in HOUSEKEEPING:
            new: Any = literal_column(f"new.{column.name}", column.type)
            old = recorded(column, new) if column.info.get("secret") else null()
            shown = func.jsonb_build_array(old, recorded(column, new))
            pairs += [name, case((new.is_not(None), shown))]
    return func.jsonb_strip_nulls(func.jsonb_build_object(*pairs))
