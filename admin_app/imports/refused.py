"""The refused rows of an import as a CSV file: as they stood in theirs, with why, to be mended."""

import csv
from collections.abc import AsyncIterator, Sequence
from io import StringIO
from pathlib import PurePath

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.formula_cells import disarm
from admin_app.imports.matching import REASON
from admin_app.imports.models import Import, Verdict
from admin_app.imports.service import ImportService

BOM = "\ufeff"
ROWS_AT_ONCE = 200


def file_name(name: str) -> str:
    """Of the refused rows of a file with this name."""
    return f"{PurePath(name).stem}-refused.csv"


async def refused_rows(database: Database, actor: Actor, import_: Import) -> AsyncIterator[bytes]:
    """The file, piece by piece. Nothing is held open between two of them: whoever reads may be slow.

    The reason comes first: a row with too many cells has all of them.
    """
    yield f"{BOM}{_line([REASON, *import_.columns])}".encode()
    line, has_more = 0, True
    while has_more:
        async with database.reading() as session:
            rows, has_more = await ImportService(session, actor).rows(
                import_.id, Verdict.REFUSED, line, ROWS_AT_ONCE
            )
        if rows:
            yield "".join(_line([row.reason, *(row.cells or [])]) for row in rows).encode()
            line = rows[-1].line


def _line(cells: Sequence[str]) -> str:
    text = StringIO()
    csv.writer(text).writerow([disarm(cell) for cell in cells])
    return text.getvalue()
