"""Rows as PostgreSQL's COPY sends them: formatted in SQL, piece by piece, in a session's own transaction."""

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy import DateTime, Label, Select, SQLColumnExpression, Text, cast, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.database import limit_time
from admin_app.errors import TooSlow
from admin_app.exports.exportable import ExportableService, ExportColumn
from admin_app.exports.models import Format
from admin_app.formula_cells import disarmed
from admin_app.listing import ListQuery

BOM = "\ufeff"
PIECES_AHEAD = 2
CANCEL_SECONDS = 5.0
"""How long PostgreSQL has to end a COPY that nobody wants any more, before its connection is cut."""

AS_CSV = {"format": "csv"}
AS_LINES = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}
"""No JSON text has one of these characters in it, so nothing is ever quoted."""

_END = b""


async def statement_of(
    service: ExportableService, query: ListQuery, columns: Sequence[ExportColumn], kind: Format
) -> Select[Any]:
    """The rows in this format: a CSV's cells, or a line of JSON."""
    if kind is Format.JSON_LINES:
        found = await service.export(query, [_value(column) for column in columns])
        rows = found.subquery("found")
        return select(func.row_to_json(rows.table_valued(), type_=Text()))
    return await service.export(query, [_cell(column) for column in columns])


class Copy:
    """Its pieces can be iterated once; `rows` is how many there were, when it has ended."""

    def __init__(
        self, head: bytes, pieces: asyncio.Queue[bytes], task: asyncio.Task[int], server_pid: int
    ) -> None:
        self._head = head
        self._queue = pieces
        self._task = task
        self.server_pid = server_pid
        self.rows = 0

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Raises TooSlow and DBAPIError."""
        if self._head:
            yield self._head
        while (piece := await self._queue.get()) != _END:
            yield piece
        if self._task.cancelled():
            raise TooSlow
        self.rows = await self._task


@asynccontextmanager
async def copying(
    session: AsyncSession,
    statement: Select[Any],
    columns: Sequence[ExportColumn],
    kind: Format,
    seconds: float,
) -> AsyncIterator[Copy]:
    """What `statement_of` gave, as CSV with a line of labels, or as lines of JSON, within so many seconds.

    When the context is left nothing is being copied any more. Unless it came to its end, the connection is
    gone, and the session with it: it can only be closed. So the session had better be for this alone.
    """
    await limit_time(session, seconds)  # which also begins the transaction
    server_pid = (await session.scalars(select(func.pg_backend_pid()))).one()  # a pooler's driver has another
    connection = await session.connection()
    driver: Any = (await connection.get_raw_connection()).driver_connection
    sql, values = _compiled(statement, connection.dialect)
    queue: asyncio.Queue[bytes] = asyncio.Queue(PIECES_AHEAD)
    is_csv = kind is Format.CSV

    async def copy() -> int:
        try:
            status = await driver.copy_from_query(
                sql, *values, output=queue.put, **(AS_CSV if is_csv else AS_LINES)
            )
            return int(status.split()[-1])
        except asyncpg.QueryCanceledError as error:
            raise TooSlow from error
        except asyncpg.PostgresError as error:
            raise DBAPIError("COPY", None, error, hide_parameters=True) from error

    async def copy_and_end() -> int:
        try:
            rows = await copy()
        except Exception:
            _end(queue)
            raise
        await queue.put(_END)
        return rows

    task = asyncio.create_task(copy_and_end())
    try:
        yield Copy(_head(columns) if is_csv else b"", queue, task, server_pid)
    finally:
        is_underway = task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        _end(queue)
        if is_underway:
            # asyncpg (0.32) sometimes takes the connection for free while it still reads what it cancelled.
            with suppress(Exception):
                # Which cancels the statement first, and waits for that without end: a cancellation that comes
                # before PostgreSQL has begun is lost.
                async with asyncio.timeout(CANCEL_SECONDS):
                    await driver.close()
            driver.terminate()
            await session.invalidate()


def _end(queue: asyncio.Queue[bytes]) -> None:
    """Without waiting for a reader, who is owed nothing of what breaks off."""
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(_END)


def _compiled(statement: Select[Any], dialect: Any) -> tuple[str, list[Any]]:
    """As asyncpg takes it, which has PostgreSQL quote the values: COPY takes none."""
    compiled: Any = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    given = compiled.params
    converted = compiled._bind_processors  # SQLAlchemy's own way to the values a driver takes
    values = [
        converted[name](given[name]) if name in converted else given[name]
        for name in compiled.positiontup or ()
    ]
    return str(compiled), values


def _head(columns: Sequence[ExportColumn]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([column.label for column in columns])
    return (BOM + line.getvalue()).encode()


def _cell(column: ExportColumn) -> Label[Any]:
    shown: Any = column.shown
    if column.is_typed:
        shown = disarmed(cast(shown, Text))
    elif isinstance(shown.type, DateTime):
        shown = _moment(shown, "")
    named: Label[Any] = shown.label(column.name)
    return named


def _value(column: ExportColumn) -> Label[Any]:
    value: Any = column.shown if column.value is None else column.value
    if isinstance(value.type, DateTime):
        value = _moment(value, ".US")
    named: Label[Any] = value.label(column.key or column.name)
    return named


def _moment(column: SQLColumnExpression[Any], fraction: str) -> SQLColumnExpression[str]:
    """In UTC, as ISO 8601 has it."""
    return func.to_char(func.timezone("UTC", column), f'YYYY-MM-DD"T"HH24:MI:SS{fraction}"Z"', type_=Text())
