"""What each row of a file would do: read and judged row by row, then compared with the table in one go."""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.database import beside
from admin_app.errors import InvalidInput
from admin_app.imports import staging
from admin_app.imports.importer import Field, Importer, Matching
from admin_app.imports.models import Import, ImportRow, ImportState, Verdict
from admin_app.imports.reading import FileFormat, Layout, Row, RowFile, open_rows
from admin_app.imports.staging import StagedRow

CHUNK = 2000
CHUNK_CHARACTERS = 8_000_000
"""A chunk of rows ends with the one that makes it as long as this."""
KEPT_CHARACTERS = 32_767
"""Of a cell of a refused row: as many as a spreadsheet can have, and more than any field takes, so that
what is cut is refused once more."""

PROGRESS_SECONDS = 0.5
REASONS = 20
"""So many of the most frequent sentences are told with an import."""

ID = "id"
"""This field finds rows and does nothing else."""

MAX_LABEL = 255


class Superseded(Exception):
    """Since this check began the import was discarded, or is to be checked in another way."""


class RowReader:
    """Judges rows for themselves: what each of them says, or why it cannot be accepted."""

    def __init__(self, importer: Importer, import_: Import) -> None:
        fields = {field.name: field for field in importer.fields}
        self._importer = importer
        self._columns = [
            (int(place), fields[name])
            for place, name in import_.matching.items()
            if name != ID or import_.key == ID
        ]
        self._constants = [(fields[name], text) for name, text in import_.constants.items()]

    @property
    def names(self) -> Collection[str]:
        """Of the fields that rows may say something of."""
        of_columns, constant = (field for _, field in self._columns), (field for field, _ in self._constants)
        return [field.name for field in (*of_columns, *constant)]

    def read(self, row: Row) -> StagedRow:
        cells = [cell[:KEPT_CHARACTERS] for cell in row.original or row.cells]
        if row.problem:
            return StagedRow(row.line, "", row.problem, "", cells, "{}")
        given: dict[str, str] = {}
        for place, field in self._columns:
            _add(given, field, row.cells[place])
        for field, text in self._constants:
            _add(given, field, text)
        label = given.get(self._importer.label, "").strip()[:MAX_LABEL]
        schema = self._importer.schema
        try:
            values = schema.model_validate(given).model_dump_json(exclude_unset=True)
        except ValidationError as error:
            problems = InvalidInput.from_validation(error).fields
            reason = " ".join(f"{name}: {sentence}" for name, sentence in problems.items())
            # Another row may repeat what this one is found by.
            keys = {name: given[name] for name in self._importer.keys if name in given.keys() - problems}
            values = schema.model_validate(keys).model_dump_json(exclude_unset=True)
            return StagedRow(row.line, label, reason, "", cells, values)
        return StagedRow(row.line, label, "", row.note, cells, values)


async def check(session: AsyncSession, importer: Importer, import_: Import, actor: Actor, path: Path) -> None:
    """Replace what is known of the rows of this import. Nothing is locked before the end of it.

    Raises InvalidInput for a file that cannot be read, and Superseded; what was written until then is to
    be rolled back.
    """
    reader = RowReader(importer, import_)
    await staging.begin(session)
    await _stage(session, reader, import_, path)
    await session.execute(delete(ImportRow).where(ImportRow.import_id == import_.id))
    missing = [name for name in importer.required(actor) if name not in reader.names]
    matching = Matching(reader.names, import_.key, missing)
    await staging.find(session, importer.found(actor, matching))
    await staging.store(session, import_.id, importer.judged(actor, matching))
    await _finish(session, import_)


async def lock_current(session: AsyncSession, import_id: UUID, attempt: int) -> Import:
    """Raises Superseded."""
    current = (Import.id == import_id, Import.attempt == attempt, Import.state == ImportState.CHECKING)
    statement = select(Import).where(*current).with_for_update().execution_options(populate_existing=True)
    found = (await session.scalars(statement)).one_or_none()
    if found is None:
        raise Superseded
    return found


async def _stage(session: AsyncSession, reader: RowReader, import_: Import, path: Path) -> None:
    """Every chunk is read in a thread, and in memory no longer than that."""
    layout = Layout(FileFormat(import_.format), import_.encoding, import_.delimiter)
    told_at = time.monotonic()
    with ExitStack() as stack:
        file = await asyncio.to_thread(stack.enter_context, open_rows(path, layout))
        if list(file.columns) != import_.columns:
            raise InvalidInput("The file has other columns than it had. Upload it again.")
        rows = iter(file)
        while chunk := await asyncio.to_thread(_read, reader, rows):
            await staging.fill(session, chunk)
            if time.monotonic() - told_at > PROGRESS_SECONDS:
                await _tell(session, import_, _position(file, import_))
                told_at = time.monotonic()


def _read(reader: RowReader, rows: Iterator[Row]) -> list[StagedRow]:
    chunk: list[StagedRow] = []
    length = 0
    for row in islice(rows, CHUNK):
        chunk.append(reader.read(row))
        length += sum(map(len, row.cells))
        if length >= CHUNK_CHARACTERS:
            break
    return chunk


def _position(file: RowFile, import_: Import) -> int:
    """Of a file that is unpacked to be read, as large a part."""
    share = file.position_bytes() / max(file.size_bytes, 1)
    return int(min(share, 1.0) * import_.size_bytes)


async def _tell(session: AsyncSession, import_: Import, position: int) -> None:
    """How far it is, for everybody to see. Raises Superseded."""
    current = (
        Import.id == import_.id,
        Import.attempt == import_.attempt,
        Import.state == ImportState.CHECKING,
    )
    async with beside(session) as other:
        told = update(Import).where(*current).values(checked_bytes=position).returning(Import.id)
        if await other.scalar(told) is None:
            raise Superseded


async def _finish(session: AsyncSession, import_: Import) -> None:
    of_import = ImportRow.import_id == import_.id
    counts = select(ImportRow.verdict, func.count()).where(of_import).group_by(ImportRow.verdict)
    numbers: Mapping[Verdict, int] = {row[0]: row[1] for row in await session.execute(counts)}
    number = func.count()
    # The same sentence of a thousand other lines is one reason.
    reason = func.regexp_replace(ImportRow.reason, "in line [0-9]+", "in an earlier line", "g").label("told")
    reasons = (
        select(reason, number)
        .where(of_import, ImportRow.verdict == Verdict.REFUSED)
        .group_by(reason)
        .order_by(number.desc(), reason)
        .limit(REASONS)
    )
    told = {row[0]: row[1] for row in await session.execute(reasons)}
    current = await lock_current(session, import_.id, import_.attempt)
    current.rows = sum(numbers.values())
    current.to_create = numbers.get(Verdict.CREATE, 0)
    current.to_update = numbers.get(Verdict.UPDATE, 0)
    current.unchanged = numbers.get(Verdict.UNCHANGED, 0)
    current.refused = numbers.get(Verdict.REFUSED, 0)
    current.reasons = told
    current.checked_bytes = current.size_bytes
    current.checked_at = await session.scalar(select(func.now()))
    current.error = None
    current.state = ImportState.CHECKED
    await session.flush()


def _add(given: dict[str, str], field: Field, cell: str) -> None:
    """Spaces around a number or a word are the habit of spreadsheets, and say nothing."""
    text = cell if field.is_text else cell.strip()
    if text or field.is_required or field.can_be_emptied:
        given[field.name] = text
