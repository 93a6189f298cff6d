"""An export's file, written from beginning to end: for the background, and for the command line."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.database import limit_time
from admin_app.exports.copying import copying, statement_of
from admin_app.exports.exportable import ExportableService, ExportColumn
from admin_app.exports.models import Format
from admin_app.exports.workbook import Workbook
from admin_app.listing import ListQuery

WRITE_SECONDS = 3600.0
ROWS_AT_ONCE = 1000


@dataclass
class Progress:
    """`rows` written so far. While PostgreSQL copies, only it knows: its process is `server_pid`."""

    rows: int = 0
    size_bytes: int = 0
    server_pid: int | None = None


@dataclass(frozen=True)
class Writing:
    """What is to be written of which rows, and how far it is."""

    service: ExportableService
    query: ListQuery
    columns: Sequence[ExportColumn]
    format: Format
    progress: Progress

    @asynccontextmanager
    async def content(
        self, session: AsyncSession, folder: Path
    ) -> AsyncIterator[AsyncIterator[bytes] | Path]:
        """Pieces as they come, or a workbook that is complete, in this folder. The session: see `copying`."""
        if self.format is Format.EXCEL:
            path = folder / "export.xlsx"
            await self._write_workbook(session, path)
            self.progress.size_bytes = path.stat().st_size
            yield path
            return
        statement = await statement_of(self.service, self.query, self.columns, self.format)
        async with copying(session, statement, self.columns, self.format, WRITE_SECONDS) as copy:
            self.progress.server_pid = copy.server_pid

            async def counted() -> AsyncGenerator[bytes]:
                async with aclosing(copy.pieces()) as pieces:
                    async for piece in pieces:
                        self.progress.size_bytes += len(piece)
                        yield piece
                self.progress.rows, self.progress.server_pid = copy.rows, None

            async with aclosing(counted()) as pieces:
                yield pieces

    async def _write_workbook(self, session: AsyncSession, path: Path) -> None:
        await limit_time(session, WRITE_SECONDS)
        shown: list[Any] = [column.shown.label(column.name) for column in self.columns]
        statement = await self.service.export(self.query, shown)
        book = Workbook(path, self.service.noun, self.columns)
        rows = await session.stream(statement.execution_options(yield_per=ROWS_AT_ONCE))
        try:
            async for some in rows.partitions():
                await asyncio.to_thread(book.write, some)
                self.progress.rows += len(some)
            await asyncio.to_thread(book.finish)
        finally:
            await rows.close()
