"""Files on their way in: looked at, then a row, then the storage, so that no file is stored unknown."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path, PurePath
from tempfile import NamedTemporaryFile

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.errors import InvalidInput, Unavailable
from admin_app.imports.models import Import
from admin_app.imports.reading import Layout, guess, open_rows
from admin_app.imports.service import Arrival, ImportService
from admin_app.session_info import Carrier
from admin_app.storage import storage_of

SAMPLE_ROWS = 5
SAMPLE_CHARACTERS = 200
MAX_NAME = 200

_LOOKING = ThreadPoolExecutor(2, "look-at-import")
"""Unpacking a workbook takes memory and processor: no more of them at once, however many arrive."""


async def take_in(  # noqa: PLR0917  # each says what it is
    database: Database, actor: Actor, kind: str, path: Path, name: str, layout: Layout | None = None
) -> Import:
    """A file to be imported, ready to be matched. `layout` is how to read it, where that is known.

    Raises InvalidInput for a file that cannot be imported, before anything is written, and Unavailable.
    """
    async with database.reading() as session:
        ImportService(session, actor).importer(kind)
    arrival = await _looked_at(path, name, layout)
    async with database.transaction() as session:
        import_ = await ImportService(session, actor).begin(kind, arrival)
    try:
        await storage_of(database).put_large(import_.file, path, "application/octet-stream")
    except Unavailable:
        async with database.transaction() as session:
            await ImportService(session, actor).discard(import_.id)
        raise
    async with database.transaction() as session:
        return await ImportService(session, actor).arrived(import_.id)


async def read_again(database: Database, actor: Actor, import_: Import, layout: Layout) -> Import:
    """The stored file of an import, read in another way. Raises as `take_in`."""
    async with fetched(database, import_) as path:
        arrival = await _looked_at(path, import_.name, layout)
    async with database.transaction() as session:
        return await ImportService(session, actor).relaid(import_.id, arrival)


@asynccontextmanager
async def fetched(carrier: Carrier, import_: Import) -> AsyncIterator[Path]:
    """The stored file, on this machine. Raises InvalidInput when it is not there any more."""
    found = await storage_of(carrier).get_large(import_.file) if import_.file else None
    if found is None:
        raise InvalidInput("The file is not stored any more. Upload it again.")
    with NamedTemporaryFile(prefix="import-") as file:
        async for piece in found.pieces:
            await asyncio.to_thread(file.write, piece)
        file.flush()
        yield Path(file.name)


async def _looked_at(path: Path, name: str, layout: Layout | None) -> Arrival:
    return await asyncio.get_running_loop().run_in_executor(_LOOKING, look_at, path, name, layout)


def look_at(path: Path, name: str, layout: Layout | None = None) -> Arrival:
    """Reads as little as need be, which may take a second. Raises InvalidInput."""
    name = _shown(name)
    layout = layout or guess(path, name)
    with open_rows(path, layout) as file:
        columns = list(file.columns)
        sample = [[cell[:SAMPLE_CHARACTERS] for cell in row.cells] for row in islice(file, SAMPLE_ROWS)]
    return Arrival(name, path.stat().st_size, layout, columns, sample)


def _shown(name: str) -> str:
    """What the file is called, without where it was."""
    name = PurePath(name.replace("\\", "/")).name
    return "".join(character for character in name if character.isprintable())[-MAX_NAME:] or "file"
