"""Files of rows as whoever imports them sees them: a layout, columns, and rows one after the other."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from admin_app.errors import InvalidInput

MAX_FILE_BYTES = 200_000_000
MAX_COLUMNS = 200
MAX_COLUMN_CHARACTERS = 100
MAX_CELL_CHARACTERS = 131_072
"""As the csv module has it."""
MAX_ROW_CHARACTERS = 1_000_000
KEPT_CHARACTERS = 10_000
"""Of a row that is too long. As one cell: so it is refused once more if nobody mends it."""

EMPTY = "This file is empty."
NO_ROWS = "This file has column names but no rows."
NOT_NAMES = "The first row of this file cannot be read as the names of its columns."
TOO_LONG = "This row is far too long; perhaps a quotation mark is missing."
NOT_STORABLE = "This row has characters that cannot be stored."

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
"""PostgreSQL has no NUL, and UTF-8 no surrogates; such also stand for bytes that could not be decoded."""


class FileFormat(StrEnum):
    CSV = "csv"
    JSON_LINES = "jsonl"
    EXCEL = "xlsx"


@dataclass(frozen=True)
class Layout:
    """How a file is to be read. Encoding and delimiter are of a CSV file."""

    format: FileFormat
    encoding: str = "utf-8"
    delimiter: str = ","


@dataclass(frozen=True, slots=True)
class Row:
    """The cells in the order of the columns, or the problem that kept the row from being read.

    `line` is where it starts in the file (in a workbook: its row), counted from 1. `note` is for whoever
    looks at it. Of a row with a problem, `cells` are what could be read, as many as there were. Every cell
    can be stored. `original` is what stood in the file, where the cells were made of that.
    """

    line: int
    cells: Sequence[str]
    problem: str = ""
    note: str = ""
    original: Sequence[str] = ()


class RowFile:
    """An open file, whose rows can be iterated once. Iterating raises InvalidInput for a hopeless file."""

    def __init__(
        self, columns: Sequence[str], rows: Iterator[Row], size_bytes: int, position: Callable[[], int]
    ) -> None:
        """Raises InvalidInput if there are no rows."""
        first = next(rows, None)
        if first is None:
            raise InvalidInput(NO_ROWS)
        self.columns = columns
        self.size_bytes = size_bytes
        self._rows = chain((first,), rows)
        self._position = position

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    def position_bytes(self) -> int:
        """How far it has been read, a little ahead of the rows handed out."""
        return self._position()


def column_names(cells: Iterable[str]) -> list[str]:
    """Names that can be shown, each of them once. Raises InvalidInput if they cannot be names of columns."""
    names: list[str] = []
    taken: set[str] = set()
    number = 0
    for number, cell in enumerate(cells, 1):
        if number > MAX_COLUMNS:
            continue
        if _NOT_STORABLE.search(cell):
            raise InvalidInput(f"{NOT_NAMES} Choose another encoding or format.")
        plain = "".join(character if character.isprintable() else " " for character in cell)
        name = " ".join(plain.split())[:MAX_COLUMN_CHARACTERS] or f"Column {number}"
        names.append(_once(name, taken))
        taken.add(names[-1])
    if number > MAX_COLUMNS:
        raise InvalidInput(f"This file has {number:,} columns; at most {MAX_COLUMNS} can be read.")
    return names


def _once(name: str, taken: set[str]) -> str:
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name} ({count})"
    return found


def checked(line: int, cells: Sequence[str], width: int, not_storable: str = NOT_STORABLE) -> Row:
    """The row, with the problem it has, if any."""
    problem = "" if len(cells) == width else _ragged(len(cells), width)
    text = "".join(cells)
    if "\0" in text or not text.isascii():
        unclean = _NOT_STORABLE.search(text)
        if unclean is not None:
            problem = problem or (NOT_STORABLE if unclean[0] == "\0" else not_storable)
            cells = storable(cells)
    if len(text) > MAX_CELL_CHARACTERS and (
        len(text) > MAX_ROW_CHARACTERS or any(len(cell) > MAX_CELL_CHARACTERS for cell in cells)
    ):
        problem = problem or TOO_LONG
        cells = ["".join(cells)[:KEPT_CHARACTERS]]
    return Row(line, cells if len(cells) <= width else cells[:MAX_COLUMNS], problem)


def storable(cells: Iterable[str]) -> list[str]:
    return [_NOT_STORABLE.sub("\ufffd", cell) for cell in cells]


def _ragged(count: int, width: int) -> str:
    return f"The row has {count:,} {'cell' if count == 1 else 'cells'}, the header has {width}."
