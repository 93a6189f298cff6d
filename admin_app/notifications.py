"""That one's own operations and exports have ended: what is news of it, and what has been seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ScalarSelect, Select, func, select, text, union, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.bulk.models import ACTIVE, BulkOperation
from admin_app.exports.models import Export, ExportState

MANY = 10
"""So many unseen ones, and more, are not counted."""
RECENT = 50

# As in their indexes: of parameters the planner could not tell that the indexes cover them.
_UNSEEN_OPERATION = text("bulk_operation.seen_at IS NULL AND bulk_operation.finished_at IS NOT NULL")
_UNSEEN_EXPORT = text("export.seen_at IS NULL AND export.state IN ('finished', 'failed')")
_ENDED_OPERATION = BulkOperation.finished_at.is_not(None) & BulkOperation.state.not_in(ACTIVE)
_ENDED_EXPORT = Export.state.in_((ExportState.FINISHED, ExportState.FAILED))

Ended = BulkOperation | Export


@dataclass(frozen=True)
class Unseen:
    """How many there are, MANY at most, and when the newest ended."""

    number: int = 0
    newest_at: datetime | None = None

    def without_one(self) -> "Unseen":
        return replace(self, number=self.number - 1) if 0 < self.number < MANY else self


def unseen_of(person: Any) -> ScalarSelect[Any]:
    """What `read` makes Unseen of, within a statement that selects from this mapped class."""
    news = [
        select(model.finished_at)
        .where(model.actor_id == person.id, unseen)
        .order_by(model.finished_at.desc())
        .limit(MANY)
        .correlate(person)
        for model, unseen in ((BulkOperation, _UNSEEN_OPERATION), (Export, _UNSEEN_EXPORT))
    ]
    ended = union_all(*news).subquery()
    number, newest_at = func.count(ended.c.finished_at), func.max(ended.c.finished_at)
    return select(func.jsonb_build_array(number, newest_at)).scalar_subquery()


def read(told: Sequence[Any] | None) -> Unseen:
    if told is None:
        return Unseen()
    number, newest_at = told
    return Unseen(min(number, MANY), datetime.fromisoformat(newest_at) if newest_at else None)


class NotificationService:
    """Runs inside the caller's transaction, about what is the actor's own."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    async def recent(self) -> list[Ended]:
        """What has ended, the newest first; the unseen ones among them, however long they took."""
        found: list[Ended] = []
        for model, unseen, ended in self._kinds():
            own = select(model.id).where(model.actor_id == self._actor.id)
            news = own.where(unseen).order_by(model.finished_at.desc()).limit(RECENT)
            others = own.where(ended).order_by(model.id.desc()).limit(RECENT)
            found += await self._load(select(model).where(model.id.in_(union(news, others))))
        return sorted(found, key=_ended_at, reverse=True)[:RECENT]

    async def news(self, since: datetime | None, limit: int) -> list[Ended]:
        """The newest that ended after that and have not been seen."""
        found: list[Ended] = []
        for model, unseen, _ in self._kinds():
            statement = select(model).where(model.actor_id == self._actor.id, unseen)
            if since is not None:
                statement = statement.where(model.finished_at > since)
            found += await self._load(statement.order_by(model.finished_at.desc()).limit(limit))
        return sorted(found, key=_ended_at, reverse=True)[:limit]

    async def mark_seen(self, until: datetime) -> None:
        """All that had ended by then."""
        for model, unseen, _ in self._kinds():
            statement = update(model).where(
                model.actor_id == self._actor.id, unseen, model.finished_at <= until
            )
            statement = statement.values(seen_at=func.now()).execution_options(synchronize_session=False)
            await self._session.execute(statement)

    async def note_seen(self, operation_id: UUID) -> None:
        """That this operation has ended, if it has."""
        ended = (BulkOperation.actor_id == self._actor.id, _UNSEEN_OPERATION, _ENDED_OPERATION)
        statement = update(BulkOperation).where(BulkOperation.id == operation_id, *ended)
        statement = statement.values(seen_at=func.now()).execution_options(synchronize_session=False)
        await self._session.execute(statement)

    async def _load(self, statement: Select[Any]) -> Sequence[Ended]:
        return (await self._session.scalars(statement)).all()

    def _kinds(self) -> Sequence[tuple[Any, Any, Any]]:
        return (
            (BulkOperation, _UNSEEN_OPERATION, _ENDED_OPERATION),
            (Export, _UNSEEN_EXPORT, _ENDED_EXPORT),
        )


def _ended_at(item: Ended) -> datetime:
    assert item.finished_at is not None
    return item.finished_at
