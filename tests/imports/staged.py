"""Imports as they are when they are confirmed, with rows staged by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, insert, select

from admin_app.actor import Actor
from admin_app.bulk.models import BulkOperation, State
from admin_app.database import Database
from admin_app.imports.models import Import, ImportRow, ImportState, Verdict

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Staged:
    """A row of a file: the row it is about and that one's version, or neither; and its new values."""

    values: Values
    row_id: UUID | None = None
    version: int = 0
    old: Values = field(default_factory=dict)


async def confirm(
    database: Database, actor: Actor, rows: Sequence[Staged], kind: str = "product"
) -> tuple[UUID, list[UUID], int]:
    """The operation that waits to carry it out, the ids of its rows, and the import's number."""
    actor = replace(actor, request_id=uuid4())
    who = {
        "kind": kind,
        "actor_id": actor.id,
        "actor_label": actor.label,
        "address": None,
        "request_id": actor.request_id,
    }
    async with database.transaction() as session:
        import_ = Import(
            name="file.csv",
            file=f"imports/{uuid4()}",
            size_bytes=1,
            format="csv",
            encoding="utf-8",
            delimiter=",",
            columns=["name"],
            state=ImportState.CONFIRMED,
            **who,
        )
        session.add(import_)
        await session.flush()
        new = list(
            await session.scalars(select(func.uuidv7()).select_from(func.generate_series(1, len(rows))))
        )
        ids = [row.row_id or made for row, made in zip(rows, sorted(new), strict=True)]
        staged = [
            {
                "import_id": import_.id,
                "line": 2 + at,
                "verdict": Verdict.UPDATE if row.row_id else Verdict.CREATE,
                "row_id": row_id,
                "version": row.version,
                "changes": {name: [row.old.get(name), value] for name, value in row.values.items()},
            }
            for at, (row, row_id) in enumerate(zip(rows, ids, strict=True))
        ]
        await session.execute(insert(ImportRow), staged)
        operation = BulkOperation(
            action="import",
            label="Import",
            selection=f"Import #{import_.number} of file.csv",
            parameters={"import_id": str(import_.id)},
            state=State.WAITING,
            confirmed_at=func.now(),
            total=len(rows),
            confirmed=len(rows),
            **who,
        )
        session.add(operation)
        await session.flush()
        import_.operation_id = operation.id
        return operation.id, ids, import_.number
