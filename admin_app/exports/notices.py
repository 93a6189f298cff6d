"""That an export has ended: every page tells its owner, who is looked up in the same statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ScalarSelect, SQLColumnExpression, func, select, text

from admin_app.exports.models import Export, ExportState

# As in its index: of parameters the planner could not tell that the index covers them.
_UNSEEN = text("export.seen_at IS NULL AND export.state IN ('finished', 'failed')")


@dataclass(frozen=True)
class ExportNotice:
    id: UUID
    kind: str
    rows: int
    is_ready: bool


def newest_unseen(owner_id: SQLColumnExpression[UUID]) -> ScalarSelect[Any]:
    """What `read` makes a notice of; NULL if there is none."""
    told = func.jsonb_build_array(Export.id, Export.kind, Export.rows, Export.state)
    found = select(told).where(Export.actor_id == owner_id, _UNSEEN)
    return found.order_by(Export.finished_at.desc()).limit(1).scalar_subquery()


def read(told: Sequence[Any] | None) -> ExportNotice | None:
    if told is None:
        return None
    export_id, kind, rows, state = told
    return ExportNotice(UUID(export_id), kind, rows, state == ExportState.FINISHED.value)
