"""Reading the history, and adding what no service sees: refusals.

Of changes, every service writes its own entries, with the change. Nobody changes an entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.actor import Actor
from admin_app.database import Base
from admin_app.domains.activity.exporting import COLUMNS
from admin_app.domains.activity.repository import LISTING, REFUSED, ActivityRepository
from admin_app.errors import NotFound
from admin_app.listing import Count, ListQuery, Page


@dataclass(frozen=True)
class RowHistory:
    """A piece of the history of one row, the newest first."""

    entries: Sequence[Any]
    has_more: bool


class ActivityService:
    """Entries are plain columns by name: AuditEntry's, `operation_number`, and `people`, id -> e-mail."""

    listing: ClassVar = LISTING
    export_columns: ClassVar = COLUMNS
    noun: ClassVar = "entries"

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._entries = ActivityRepository(session, actor)

    async def page(self, query: ListQuery) -> Page:
        return await self._entries.page(query)

    async def latest(self, limit: int) -> Sequence[Any]:
        """What was done last, the newest first; without who came and went."""
        return await self._entries.latest(limit)

    async def count(self, query: ListQuery, *, exactly: bool = False) -> Count:
        return await self._entries.count(query, exactly=exactly)

    def require_export(self) -> None:
        """Whoever reads the list may take it along."""

    async def export(self, query: ListQuery, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return await self._entries.export(query, columns)

    async def facets(self, query: ListQuery) -> dict[str, dict[str, Count]]:
        return await self._entries.facets(query)

    async def rank(self, text: str, limit: int) -> list[tuple[Any, float]]:
        """Quick search is about rows, not about what was done to them."""
        return []

    async def get_by_id(self, entry_id: UUID) -> Any:
        """Raises NotFound, also for an entry this actor may not read."""
        entry = await self._entries.get(entry_id)
        if entry is None:
            raise NotFound
        return entry

    async def find_row(self, model: type[Base], row_id: UUID) -> Base | None:
        """Whoever asks, and in the bin, too: to say what somebody was refused, not to be shown."""
        return await self._entries.find_row(model, row_id)

    async def note_refusal(self, subject: Base | type[Base], wish: str) -> None:
        """That the actor may not do this to a row, or to a model's rows at all; repeated soon, once."""
        model = type(subject) if isinstance(subject, Base) else subject
        row_id = getattr(subject, "id", None) if isinstance(subject, Base) else None
        if not await self._entries.was_just_refused(audit.kind_of(model), row_id, wish):
            audit.note(self._session, self._actor, REFUSED, subject, wish)

    async def of_row(
        self,
        kind: str,
        row_id: UUID,
        *,
        limit: int = 25,
        before: UUID | None = None,
        only_changes: bool = False,
    ) -> RowHistory:
        """What happened to one row; `before` is the id of the last entry of the piece before this one."""
        found = await self._entries.of_row(kind, row_id, limit + 1, before, only_changes=only_changes)
        return RowHistory(found[:limit], has_more=len(found) > limit)
