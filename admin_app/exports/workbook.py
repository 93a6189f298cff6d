"""An Excel workbook, written row by row in little memory; dates and prices are what Excel takes for such."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from admin_app.exports.exportable import ExportColumn
from admin_app.formula_cells import disarm

MAX_ROWS = 1_048_575
"""Of a sheet, its heading left out: https://support.microsoft.com/office/1672b34d-7043-467e-8e27-269d656771c3"""
MAX_CHARACTERS = 32_767
"""Of a cell. What is longer is cut."""
WIDTHS = (10, 40)
LOOKED_AT = 200
"""Rows that decide how wide a column is."""

_LIKE_AN_ESCAPE = re.compile("_(?=x[0-9a-fA-F]{4}_)")
_NO_XML = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")


class _Sheet(Worksheet):  # type: ignore[misc]  # XlsxWriter has no types
    """Every text is only a text. XlsxWriter (3.3) itself passes over each second one of adjacent escapes, and
    takes what begins with <r> and ends with </r> for XML.
    """

    @staticmethod
    def _escape_control_characters(data: str) -> str:
        escaped = _LIKE_AN_ESCAPE.sub("_x005F_", data)
        return _NO_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", escaped)

    def _xml_rich_inline_string(self, string: str, attributes: Any) -> None:
        self._xml_inline_string(string, preserve=False, attributes=attributes)


class Workbook:
    """Given rows and finished, its file is there. One that is never finished leaves parts in the same folder.

    Takes its time: not for an event loop's thread.
    """

    def __init__(self, path: Path, title: str, columns: Sequence[ExportColumn]) -> None:
        self._columns = columns
        self._title = title
        self._book = xlsxwriter.Workbook(
            str(path),
            {
                "constant_memory": True,
                "tmpdir": str(path.parent),
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
                "use_zip64": True,
            },
        )
        self._bold = self._book.add_format({"bold": True})
        self._text = self._book.add_format({"quote_prefix": True})
        self._price = self._book.add_format({"num_format": "#,##0.00"})
        self._time = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._sheet: Any = None
        self._sheets = 0
        self._row = 0

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            if self._sheet is None or self._row > MAX_ROWS:
                self._end_sheet()
                self._begin_sheet(rows)
            for place, (column, value) in enumerate(zip(self._columns, row, strict=True)):
                self._write_cell(place, value, is_typed=column.is_typed)
            self._row += 1

    def finish(self) -> None:
        if self._sheet is None:
            self._begin_sheet([])
        self._end_sheet()
        self._book.close()

    def _write_cell(self, place: int, value: Any, *, is_typed: bool) -> None:
        match value:
            case None | "":
                return
            case datetime():
                moment = value.astimezone(UTC).replace(tzinfo=None)
                self._sheet.write_datetime(self._row, place, moment, self._time)
            case Decimal():
                self._sheet.write_number(self._row, place, value, self._price)
            case int():
                self._sheet.write_number(self._row, place, value)
            case _:
                text = str(value)[:MAX_CHARACTERS]
                is_armed = is_typed and disarm(text) != text
                self._sheet.write_string(self._row, place, text, self._text if is_armed else None)

    def _begin_sheet(self, rows: Iterable[Sequence[Any]]) -> None:
        self._sheets += 1
        name = self._title if self._sheets == 1 else f"{self._title} {self._sheets}"
        self._sheet = self._book.add_worksheet(name.capitalize(), worksheet_class=_Sheet)
        self._sheet.freeze_panes(1, 0)
        sample = list(rows)[:LOOKED_AT]
        for place, column in enumerate(self._columns):
            longest = max([len(column.label), *(len(_shown(row[place])) for row in sample)])
            self._sheet.set_column(place, place, min(max(longest + 2, WIDTHS[0]), WIDTHS[1]))
            self._sheet.write_string(0, place, column.label, self._bold)
        self._row = 1

    def _end_sheet(self) -> None:
        if self._sheet is not None:
            self._sheet.autofilter(0, 0, max(self._row - 1, 1), len(self._columns) - 1)


def _shown(value: Any) -> str:
    return "2026-01-31 12:00:00" if isinstance(value, datetime) else str(value or "")
