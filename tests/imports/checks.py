"""Imports as tests make them: through the service and the worker's task, up to what each row would do."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

from sqlalchemy import select

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.imports.arriving import take_in
from admin_app.imports.models import Import, ImportRow
from admin_app.imports.service import ImportService
from tests.deliveries import work


async def upload(
    database: Database, actor: Actor, content: bytes | str, kind: str = "product", name: str = "rows.csv"
) -> Import:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "upload"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return await take_in(database, replace(actor, request_id=uuid4()), kind, path, name)


async def match(
    database: Database,
    actor: Actor,
    import_: Import,
    key: str | None = None,
    constants: Mapping[str, str] | None = None,
) -> Import:
    """As it was guessed, but for the key, if one is given."""
    matching = {int(place): field for place, field in import_.matching.items()}
    async with database.transaction() as session:
        service = ImportService(session, actor)
        chosen = import_.key if key is None else key
        return await service.match(import_.id, matching, chosen, constants or {})


async def checked(
    database: Database,
    actor: Actor,
    content: bytes | str,
    key: str | None = None,
    *,
    kind: str = "product",
    constants: Mapping[str, str] | None = None,
) -> tuple[Import, list[ImportRow]]:
    """The import of this file, and its rows."""
    import_ = await upload(database, actor, content, kind)
    await match(database, actor, import_, key, constants)
    await work(database)
    return await found(database, import_.id)


async def found(database: Database, import_id: UUID) -> tuple[Import, list[ImportRow]]:
    async with database.reading() as session:
        rows = select(ImportRow).where(ImportRow.import_id == import_id).order_by(ImportRow.line)
        import_ = await session.get_one(Import, import_id)
        return import_, list(await session.scalars(rows))
