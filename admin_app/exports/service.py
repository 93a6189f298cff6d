"""Everything that can be done to exports. Each is its actor's alone: to everybody else it is not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID, uuid4

from sqlalchemy import Select, false, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.actor import Actor
from admin_app.database import READ_SECONDS, estimated_rows, limit_time
from admin_app.errors import InvalidInput, NotFound, TooSlow
from admin_app.exports.events import ExportRequested
from admin_app.exports.exportable import EXPORTABLE, Exportables, ExportableService, ExportColumn
from admin_app.exports.models import KEPT_DAYS, UNDER_WAY, Export, ExportState, Format
from admin_app.listing import Count, ListQuery
from admin_app.outbox import OutboxBus

AT_ONCE = 50_000
"""Of so many rows, CSV and JSON lines are sent at once; of more, and Excel always, in the background."""

FORMAT_NAMES = {Format.CSV: "CSV", Format.JSON_LINES: "JSON lines", Format.EXCEL: "Excel"}
EXPORTED = "exported"


@dataclass(frozen=True)
class ExportRequest:
    """`query` is what the list shows; `columns` are names of columns."""

    kind: str
    format: Format
    query: ListQuery
    columns: Sequence[str]


def exportable(session: AsyncSession, actor: Actor, kind: str) -> ExportableService:
    """Raises NotFound for a kind that cannot be exported."""
    services: Exportables = session.info[EXPORTABLE]
    if kind not in services:
        raise NotFound
    return services[kind](session, actor)


def chosen(service: ExportableService, names: Sequence[str]) -> list[ExportColumn]:
    """These columns, in this order. Raises InvalidInput for one there is not, and for none at all."""
    known = {column.name: column for column in service.export_columns}
    for name in names:
        if name not in known:
            raise InvalidInput(
                f"There is no column named “{name[:40]}”.", {"columns": "Choose other columns."}
            )
    if not names:
        raise InvalidInput("Choose at least one column.", {"columns": "Choose at least one."})
    return [known[name] for name in dict.fromkeys(names)]


async def count_at_most(session: AsyncSession, rows: Select[tuple[object, ...]], limit: int) -> int:
    return await session.scalar(select(func.count()).select_from(rows.limit(limit).subquery())) or 0


def note_exported(
    session: AsyncSession, actor: Actor, service: ExportableService, kind: Format, *, rows: int, words: str
) -> None:
    """Add what was taken out, by whom, to the history."""
    number = "1 row" if rows == 1 else f"{rows:,} rows"
    told = f"{number} as {FORMAT_NAMES[kind]}: {words}" if words else f"{number} as {FORMAT_NAMES[kind]}"
    audit.note(session, actor, EXPORTED, service.listing.model, told)


class ExportService:
    """Runs inside the caller's transaction, as the actor. Raises NotFound for what is not this actor's."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    def columns(self, kind: str) -> Sequence[ExportColumn]:
        """Those there are. Raises NotFound for a kind that cannot be exported."""
        return exportable(self._session, self._actor, kind).export_columns

    async def count(self, kind: str, query: ListQuery) -> Count:
        """Exact up to AT_ONCE, beyond as PostgreSQL's planner estimates."""
        service = exportable(self._session, self._actor, kind)
        rows = await service.export(query, [])
        estimate = await estimated_rows(self._session, rows)
        await limit_time(self._session, READ_SECONDS)
        try:
            async with self._session.begin_nested():
                number = await count_at_most(self._session, rows, AT_ONCE + 1)
        except TooSlow:
            return Count(estimate, is_exact=False)
        if number <= AT_ONCE:
            return Count(number, is_exact=True)
        return Count(max(estimate, number), is_exact=False)

    async def request(self, request: ExportRequest) -> Export:
        """To be written in the background; the history has it when its file is there.

        Raises Forbidden and ProofRequired.
        """
        assert self._actor.id is not None
        service = exportable(self._session, self._actor, request.kind)
        service.require_export()
        columns = chosen(service, request.columns)
        expected = await self.count(request.kind, request.query)
        export = Export(
            kind=request.kind,
            format=request.format,
            query=address_of(service, request.query),
            columns=[column.name for column in columns],
            selection=selection_of(service, request.query),
            actor_id=self._actor.id,
            actor_label=self._actor.label,
            address=self._actor.address,
            request_id=self._actor.request_id,
            expected=expected.number,
            file=f"exports/{uuid4()}.{request.format.value}",
        )
        self._session.add(export)
        await self._session.flush()
        OutboxBus(self._session, self._actor).publish(ExportRequested(export.id))
        return export

    async def get_by_id(self, export_id: UUID) -> Export:
        found = (await self._session.scalars(self._own().where(Export.id == export_id))).one_or_none()
        if found is None:
            raise NotFound
        return found

    async def get_file(self, export_id: UUID) -> Export:
        """Of which the file can be fetched. Raises NotFound, and what `request` raises."""
        export = await self.get_by_id(export_id)
        if export.state is not ExportState.FINISHED:
            raise NotFound
        exportable(self._session, self._actor, export.kind).require_export()
        return export

    async def recent(self, limit: int = 50) -> list[Export]:
        """The actor's, the newest first."""
        return list(await self._session.scalars(self._own().order_by(Export.id.desc()).limit(limit)))

    async def cancel(self, export_id: UUID) -> Export:
        """One that has ended stays as it is."""
        export = await self.get_by_id(export_id)
        await self._session.execute(
            update(Export)
            .where(Export.id == export.id, Export.state.in_(UNDER_WAY))
            .values(is_cancelling=True)
            .execution_options(synchronize_session=False)
        )
        await self._session.refresh(export)
        return export

    async def note_seen(self, export_id: UUID) -> None:
        """The actor knows that it has ended: no more notices of it."""
        export = await self.get_by_id(export_id)
        await self._session.execute(
            update(Export)
            .where(Export.id == export.id, Export.seen_at.is_(None), Export.state.not_in(UNDER_WAY))
            .values(seen_at=func.now())
            .execution_options(synchronize_session=False)
        )

    def _own(self) -> Select[Export]:
        """But for those whose file is gone, or about to be."""
        too_old = Export.finished_at <= func.now() - timedelta(days=KEPT_DAYS)
        is_gone = (Export.state == ExportState.EXPIRED) | ((Export.state == ExportState.FINISHED) & too_old)
        return select(Export).where(Export.actor_id == self._actor.id, ~func.coalesce(is_gone, false()))


def selection_of(service: ExportableService, query: ListQuery) -> str:
    """The rows in words."""
    told = [f"“{query.search}”"] if query.search else []
    for item in service.listing.filters:
        if value := query.filters.get(item.name):
            told.append(f"{item.label}: {dict(item.choices).get(value, value)}")
    return " · ".join(told) or f"All {service.noun}"


def address_of(service: ExportableService, query: ListQuery) -> str:
    """As in the list's address, and as it is meant now."""
    fixed = service.listing.fixed(query)
    direction = "desc" if fixed.descending else "asc"
    order = {"sortBy": fixed.sort, "sort": direction}
    return urlencode({**({"search": fixed.search} if fixed.search else {}), **fixed.filters, **order})
