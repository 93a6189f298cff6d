"""Rows of CSV files. Lines are physical ones, so that an editor finds them."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader, StringIO, TextIOWrapper
from os import fstat

from admin_app import formula_cells
from admin_app.errors import InvalidInput
from admin_app.imports.decoding import undecodable
from admin_app.imports.row_file import (
    EMPTY,
    MAX_CELL_CHARACTERS,
    MAX_ROW_CHARACTERS,
    NOT_NAMES,
    TOO_LONG,
    Layout,
    Row,
    RowFile,
    checked,
    column_names,
    storable,
)

BROKEN_QUOTES = "The quotation marks of this row do not pair up."
MAX_REREAD_CHARACTERS = 20_000_000
DELIMITERS = (",", ";", "\t", "|", "^", "~")
SAMPLE_ROWS = 100


class RowTooLong(Exception):
    pass


class Lines:
    """The file's physical lines, numbered, for csv.reader; those of a row can be given back."""

    def __init__(self, file: TextIOWrapper) -> None:
        self.number = 0  # of the line handed out last
        self._file = file
        self._row: list[str] = []
        self._characters = 0
        self._again: list[str] = []
        self._reread_characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self._row.append(line)
        self._characters += len(line)
        if self._characters > MAX_ROW_CHARACTERS:
            raise RowTooLong
        return line

    def begin_row(self) -> int:
        """The number of the line the next row starts on."""
        self._row.clear()
        self._characters = 0
        return self.number + 1

    def give_back(self) -> str:
        """All lines of this row but the first, which is returned, are handed out once more.

        Raises InvalidInput when that has happened so often that the file would take forever.
        """
        first, *others = self._row
        self._reread_characters += self._characters
        if self._reread_characters > MAX_REREAD_CHARACTERS:
            raise InvalidInput(
                f"Up to line {self.number:,}, the quotation marks of too many rows do not pair up. "
                "Check how this file was saved."
            )
        self.number -= len(others)
        self._again.extend(reversed(others))
        return first

    def _read(self) -> str:
        line = self._file.readline(MAX_ROW_CHARACTERS + 1)
        rest = line
        while len(rest) > MAX_ROW_CHARACTERS and not rest.endswith(("\n", "\r")):
            rest = self._file.readline(MAX_ROW_CHARACTERS + 1)
        return line


def read_csv(raw: BufferedReader, text: TextIOWrapper, layout: Layout) -> RowFile:
    """`text` is what `raw` says. Raises InvalidInput."""
    if len(layout.delimiter) != 1 or layout.delimiter in '"\r\n\0':
        raise InvalidInput("Choose a single character that separates the cells.")
    lines = Lines(text)
    rows = _read_rows(lines, layout.delimiter)
    _, header, problem = next(rows, (0, [], EMPTY))
    if problem:
        raise InvalidInput(problem if problem == EMPTY else f"{NOT_NAMES} {problem}")
    columns = column_names(_restored(cell.removeprefix("\ufeff") for cell in header))
    fitted = _fitted(rows, lines, len(columns), undecodable(layout.encoding))
    return RowFile(columns, fitted, fstat(raw.fileno()).st_size, raw.tell)


def _read_rows(lines: Lines, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Line, cells and problem of each row; empty ones are passed over."""
    # strict: otherwise a forgotten quotation mark would melt two rows into one that looks good.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = lines.begin_row()
        try:
            cells = next(reader, None)
        except (csv.Error, RowTooLong) as error:
            # The rows such a quotation mark has swallowed are read again, each from its own line.
            first = lines.give_back().rstrip("\r\n")[:MAX_CELL_CHARACTERS]
            is_long = isinstance(error, RowTooLong) or "field limit" in str(error)
            yield line, storable([first]), TOO_LONG if is_long else BROKEN_QUOTES
            continue
        if cells is None:
            return
        if any(cells):
            yield line, cells, ""


def _fitted(
    rows: Iterable[tuple[int, list[str], str]], lines: Lines, width: int, not_storable: str
) -> Iterator[Row]:
    for line, cells, problem in rows:
        if problem:
            yield Row(line, cells, problem)
            continue
        row = checked(line, _restored(cells), width, not_storable)
        if len(cells) != width and lines.number > line:
            hint = f" It runs to line {lines.number}: check its quotation marks."
            row = Row(line, row.cells, row.problem + hint)
        yield row


def _restored(cells: Iterable[str]) -> list[str]:
    return [formula_cells.restore(cell) if cell[:1] == "'" else cell for cell in cells]


def guess_delimiter(text: str) -> str:
    """That by which most of the first rows have as many cells as the header, and the more the better."""
    lines = list(StringIO(text, newline=""))
    if len(lines) > 1 and not lines[-1].endswith(("\n", "\r")):
        lines.pop()  # it may have been cut

    def fitness(delimiter: str) -> tuple[float, int]:
        widths = list(_widths(lines, delimiter))
        width = next((width for width in widths if width), 0)
        return (widths.count(width) / len(widths), width) if width > 1 else (0, 0)

    return max(DELIMITERS, key=fitness)


def _widths(lines: Sequence[str], delimiter: str) -> Iterator[int]:
    """How many cells each of the first rows has; 0 is one whose quotation marks do not pair up."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    for _ in range(SAMPLE_ROWS):
        try:
            cells = next(reader, None)
        except csv.Error:
            yield 0
            continue
        if cells is None:
            return
        if cells:
            yield len(cells)
