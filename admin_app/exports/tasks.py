"""Exports in the background: their files are written, and deleted when their time is over."""

import asyncio
import logging
import shutil
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.database import beside
from admin_app.errors import AppError, Forbidden, Unavailable
from admin_app.events import Tasks
from admin_app.exports.exportable import ExportableService
from admin_app.exports.files import MEDIA_TYPES
from admin_app.exports.handlers import WRITE_EXPORT
from admin_app.exports.models import KEPT_DAYS, UNDER_WAY, Export, ExportState
from admin_app.exports.service import chosen, exportable, note_exported
from admin_app.exports.writing import WRITE_SECONDS, Progress, Writing
from admin_app.outbox import Delivery
from admin_app.session_info import FIND_ROLE
from admin_app.storage import storage_of

PROGRESS_SECONDS = 1.0
SWEPT_AT_ONCE = 100
LOST_HOURS = 1
FORGOTTEN_DAYS = 90
"""After so long an export without a file is not remembered; that there was one, the history says."""

WENT_WRONG = (
    "The file could not be written. Try again; if that fails too, tell whoever runs this installation."
)
NO_STORAGE = "The file storage could not be reached for too long. Try again later."
MAY_NOT = "Your account may not do this any more."
ENDED = (ExportState.FAILED, ExportState.CANCELLED, ExportState.EXPIRED)
"""Nobody can fetch their file."""

logger = logging.getLogger(__name__)


class _Cancelled(Exception):
    """Its owner does not want it any more."""


async def write_export(session: AsyncSession, export_id: str) -> None:
    """Each attempt begins anew, under the same name. Raises Unavailable, to be tried again."""
    export = await session.get(Export, UUID(export_id))
    if export is None or export.state not in UNDER_WAY:
        return
    progress = Progress()
    await _allow_idleness(session)
    try:
        await _watched(session, export.id, progress, _write(session, export, progress))
    except Unavailable:
        if datetime.now(UTC) - export.created_at < timedelta(hours=LOST_HOURS):
            raise
        await _end(session, export.id, ExportState.FAILED, progress, NO_STORAGE)
    except _Cancelled:  # what is left of its file goes with the next sweep
        await _end(session, export.id, ExportState.CANCELLED, progress)
    except AppError as error:
        await _end(session, export.id, ExportState.FAILED, progress, error.message)
    except Exception as error:
        logger.exception("export %s failed", export.id, exc_info=error)
        await _end(session, export.id, ExportState.FAILED, progress, WENT_WRONG)
    else:
        await _end(session, export.id, ExportState.FINISHED, progress)


async def _write(session: AsyncSession, export: Export, progress: Progress) -> None:
    """As its owner, in the role they have now."""
    role = await session.info[FIND_ROLE](session, export.actor_id)
    if role is None:
        raise Forbidden(MAY_NOT)
    actor = Actor(
        export.actor_id, role, export.actor_label, address=export.address, request_id=export.request_id
    )
    storage = storage_of(session)
    await storage.delete(export.file)  # with what is left of an attempt that was killed
    # Read in a transaction of its own: one that breaks off takes its connection with it.
    async with beside(session) as reading:
        await _allow_idleness(reading)
        service = await _store(reading, actor, export, progress)
    note_exported(session, actor, service, export.format, rows=progress.rows, words=export.selection)
    await session.flush()


async def _store(
    session: AsyncSession, actor: Actor, export: Export, progress: Progress
) -> ExportableService:
    service = exportable(session, actor, export.kind)
    query = service.listing.parse(parse_qsl(export.query, keep_blank_values=True))
    writing = Writing(service, query, chosen(service, export.columns), export.format, progress)
    with _folder(export.id) as folder:
        async with writing.content(session, folder) as content:
            await storage_of(session).put_large(export.file, content, MEDIA_TYPES[export.format])
    return service


async def _allow_idleness(session: AsyncSession) -> None:
    """Nothing is asked of its transaction while others work."""
    milliseconds = int(WRITE_SECONDS * 1000)
    await session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds}"))


async def _watched(
    session: AsyncSession, export_id: UUID, progress: Progress, work: Coroutine[Any, Any, None]
) -> None:
    """Tells everybody how far it is, and ends it when it is cancelled."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            if await _is_cancelled(session, export_id, progress):
                raise _Cancelled
            await asyncio.wait({task}, timeout=PROGRESS_SECONDS)
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _is_cancelled(session: AsyncSession, export_id: UUID, progress: Progress) -> bool:
    """Notes how far it is, too."""
    async with beside(session) as other:
        rows: int | None = progress.rows
        if progress.server_pid is not None:
            copied = text("SELECT tuples_processed FROM pg_stat_progress_copy WHERE pid = :pid")
            rows = await other.scalar(copied, {"pid": progress.server_pid})
        going_on = update(Export).where(Export.id == export_id, Export.state.in_(UNDER_WAY))
        values: dict[str, Any] = {
            "state": ExportState.RUNNING,
            "started_at": func.coalesce(Export.started_at, func.now()),
        }
        if rows is not None:
            values["rows"] = rows
        found = await other.scalar(going_on.values(values).returning(Export.is_cancelling))
        return found is not False


async def _end(
    session: AsyncSession, export_id: UUID, state: ExportState, progress: Progress, error: str | None = None
) -> None:
    """One that broke off keeps the number of rows that was noted last."""
    written = {"rows": progress.rows, "size_bytes": progress.size_bytes}
    await session.execute(
        update(Export)
        .where(Export.id == export_id)
        .values(
            state=state,
            error=error,
            finished_at=func.clock_timestamp(),
            **(written if state is ExportState.FINISHED else {}),
        )
        .execution_options(synchronize_session=False)
    )


@contextmanager
def _folder(export_id: UUID) -> Iterator[Path]:
    """For what cannot be stored piece by piece. Always the same one: what a killed attempt left goes."""
    folder = Path(gettempdir()) / f"admin-app-export-{export_id}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)  # raises if it is somebody else's
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def sweep(session: AsyncSession) -> int:
    """Delete a portion of the files nobody can fetch any more, and give up what no worker survived.

    A file is deleted when it is known that nobody can fetch it: in a portion after the one that says so.
    """
    deleted = await _delete_files(session)
    old = Export.created_at < func.now() - timedelta(days=FORGOTTEN_DAYS)
    await session.execute(delete(Export).where(Export.state.in_(ENDED), Export.file == "", old))
    due = (
        select(Export.id)
        .where(
            Export.state == ExportState.FINISHED,
            Export.finished_at < func.now() - timedelta(days=KEPT_DAYS),
        )
        .order_by(Export.finished_at)
        .limit(SWEPT_AT_ONCE)
    )
    expired = update(Export).where(Export.id.in_(due)).values(state=ExportState.EXPIRED)
    marked = list(await session.scalars(expired.returning(Export.id)))
    return deleted + len(marked) + await _give_up_lost(session)


async def _delete_files(session: AsyncSession) -> int:
    over = select(Export.id, Export.file).where(Export.state.in_(ENDED), Export.file != "")
    found = (await session.execute(over.limit(SWEPT_AT_ONCE))).all()
    for row in found:
        await storage_of(session).delete(row.file)
    await session.execute(update(Export).where(Export.id.in_([row.id for row in found])).values(file=""))
    return len(found)


async def _give_up_lost(session: AsyncSession) -> int:
    """Those whose delivery is parked."""
    since = func.now() - timedelta(hours=LOST_HOURS)
    waiting = select(Export.id).where(Export.state.in_(UNDER_WAY), Export.created_at < since)
    ids = [str(found) for found in await session.scalars(waiting)]
    if not ids:
        return 0
    asked_for = Delivery.arguments["export_id"].astext
    parked = select(asked_for).where(
        Delivery.task == WRITE_EXPORT, Delivery.dead_at.is_not(None), asked_for.in_(ids)
    )
    lost = [UUID(found) for found in await session.scalars(parked)]
    for export_id in lost:
        await _end(session, export_id, ExportState.FAILED, Progress(), WENT_WRONG)
    return len(lost)


TASKS: Tasks = {WRITE_EXPORT: write_export}
