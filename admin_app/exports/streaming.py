"""Exports that are sent at once, row by row, while PostgreSQL still reads."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text

from admin_app.actor import Actor
from admin_app.database import READ_SECONDS, Database, limit_time
from admin_app.errors import TooSlow
from admin_app.exports.copying import copying, statement_of
from admin_app.exports.files import MEDIA_TYPES, file_name
from admin_app.exports.models import Format
from admin_app.exports.service import (
    AT_ONCE,
    ExportRequest,
    chosen,
    count_at_most,
    exportable,
    note_exported,
    selection_of,
)

STREAM_SECONDS = 300.0
"""However slowly somebody reads, after so long the connection is free again."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportStream:
    file_name: str
    media_type: str
    chunks: AsyncGenerator[bytes]


_under_way: set[asyncio.Task[None]] = set()
"""The event loop itself holds tasks weakly."""


@asynccontextmanager
async def stream(
    database: Database, actor: Actor, request: ExportRequest
) -> AsyncIterator[ExportStream | None]:
    """Written into the history, and ready to be sent; None for what is to be written in the background.

    The connection is free as soon as the context is left, whatever has been sent.
    """
    if request.format is Format.EXCEL or database.long_reads.locked():
        yield None
        return
    await database.long_reads.acquire()  # at once: nobody came in between
    begun: asyncio.Future[ExportStream | None] = asyncio.get_running_loop().create_future()

    async def hold() -> None:
        try:
            async with _begin(database, actor, request) as found:
                begun.set_result(found)
                if found is not None:
                    # PostgreSQL itself does not end a statement while it waits for its client to read.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(STREAM_SECONDS):
                            await asyncio.Event().wait()  # until it is cancelled
        except Exception as error:
            if begun.done():
                raise
            begun.set_exception(error)

    # In a task of its own: the cancellation of a request strikes again at each await of its cleaning up.
    holder = asyncio.create_task(hold())
    _under_way.add(holder)
    holder.add_done_callback(_ended)
    holder.add_done_callback(lambda _: database.long_reads.release())  # even if it never began
    found = None
    try:
        found = await begun
        yield found
    finally:
        holder.cancel()
        try:
            await asyncio.wait({holder})
        finally:
            if found is not None:
                await found.chunks.aclose()


@asynccontextmanager
async def _begin(
    database: Database, actor: Actor, request: ExportRequest
) -> AsyncIterator[ExportStream | None]:
    async with database.reading() as session:
        await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        service = exportable(session, actor, request.kind)
        service.require_export()
        columns = chosen(service, request.columns)
        try:
            await limit_time(session, READ_SECONDS)
            statement = await statement_of(service, request.query, columns, request.format)
            counted = await service.export(request.query, [])
            rows = await count_at_most(session, counted, AT_ONCE + 1)
        except TooSlow:
            rows = AT_ONCE + 1
        if rows > AT_ONCE:
            yield None
            return
        async with database.transaction() as beside:
            words = selection_of(service, request.query)
            note_exported(beside, actor, service, request.format, rows=rows, words=words)
        name = file_name(service.noun, datetime.now(UTC), request.format)
        async with copying(session, statement, columns, request.format, STREAM_SECONDS) as copy:
            yield ExportStream(name, MEDIA_TYPES[request.format], copy.pieces())


def _ended(holder: asyncio.Task[None]) -> None:
    _under_way.discard(holder)
    if not holder.cancelled() and (error := holder.exception()):
        logger.warning("an export ended badly: %s", type(error).__name__)
