"""Exports as tests ask for them, and what comes out."""

import csv
import io
import json
from collections.abc import Sequence

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.exports.models import Export, Format
from admin_app.exports.service import ExportRequest, ExportService, exportable
from admin_app.exports.streaming import stream
from admin_app.storage import storage_of
from tests.deliveries import work


async def asked(
    database: Database,
    actor: Actor,
    kind: str,
    form: Format,
    columns: Sequence[str] = (),
    /,
    **conditions: str,
) -> ExportRequest:
    """Without columns, the usual ones."""
    async with database.reading() as session:
        service = exportable(session, actor, kind)
        usual = [column.name for column in service.export_columns if column.is_usual]
        query = service.listing.parse(list(conditions.items()))
    return ExportRequest(kind, form, query, columns or usual)


async def streamed(
    database: Database, actor: Actor, kind: str, form: Format, /, *columns: str, **conditions: str
) -> bytes:
    request = await asked(database, actor, kind, form, columns, **conditions)
    async with stream(database, actor, request) as found:
        assert found is not None
        return b"".join([piece async for piece in found.chunks])


def cells(content: bytes) -> list[list[str]]:
    """Of a CSV file, its header left out."""
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))[1:]


def objects(content: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in content.splitlines()]


async def requested(database: Database, actor: Actor, request: ExportRequest) -> Export:
    async with database.transaction() as session:
        return await ExportService(session, actor).request(request)


async def written(database: Database, actor: Actor, request: ExportRequest) -> tuple[Export, bytes | None]:
    """By the worker; the export as it is then, and its file."""
    export = await requested(database, actor, request)
    await work(database)
    async with database.reading() as session:
        export = await ExportService(session, actor).get_by_id(export.id)
    return export, await storage_of(database).get(export.file)
