"""Excel workbooks: cells as people see them, and archives that mean harm."""

import struct
from datetime import date, datetime, time
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import psutil
import pytest
from xlsxwriter import Workbook

from admin_app.imports import workbook_rows
from admin_app.imports.reading import FileFormat, Layout, guess
from tests.imports.files import problems, read, refusal

EXCEL = Layout(FileFormat.EXCEL)
TOO_LARGE = "This workbook is too large once unpacked. Save it as CSV, or split it."
DAMAGED = "This workbook is damaged. Save it again as .xlsx or CSV."


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "named.csv"


def workbook(rows: dict[int, list[Any]], *, hidden: bool = True) -> bytes:
    """Rows by their numbers, from 1, on the second sheet, the first one that is visible."""
    written = BytesIO()
    book = Workbook(written, {"default_date_format": "yyyy-mm-dd hh:mm", "strings_to_formulas": False})
    first, sheet = book.add_worksheet(), book.add_worksheet()
    first.write(0, 0, "not this one")
    if hidden:
        sheet.activate()
        sheet.set_first_sheet()
        first.hide()
    for number, cells in rows.items():
        for place, cell in enumerate(cells):
            if cell is not None:
                sheet.write(number - 1, place, cell)
    sheet.set_row(3, options={"hidden": True})
    sheet.write_formula(90, 0, "=1+1", None, 2)
    sheet.write_formula(90, 1, "=NA()", None, "#N/A")
    sheet.write_blank(2000, 30, None, book.add_format({"bold": True}))
    book.close()
    return written.getvalue()


def archive(**entries: bytes) -> bytes:
    written = BytesIO()
    with ZipFile(written, "w", ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return written.getvalue()


def test_cells_are_read_as_people_see_them(path: Path) -> None:
    content = workbook(
        {
            2: [None, "Name", "Price", "Price"],
            4: [None, "Hidden row", 12.5, 5.0],
            6: [None, "=1+1", 0.1 + 0.2, 4006381333931],
            7: [None, "'quoted\nlines", -0.00001, True],
            8: ["x", datetime(2026, 1, 2, 3, 4, 5), date(2026, 1, 2), time(3, 4, 5)],
            9: [None, "too", "many", "cells", "here"],
        }
    )
    columns, rows = read(path, content)
    assert guess(path, path.name) == EXCEL
    assert columns == ["Column 1", "Name", "Price", "Price (2)"]
    assert problems(rows) == {9: "The row has 5 cells, the header has 4."}
    assert {row.line: list(row.cells) for row in rows} == {
        4: ["", "Hidden row", "12.5", "5"],
        6: ["", "=1+1", "0.3", "4006381333931"],
        7: ["", "'quoted\nlines", "-0.00001", "true"],
        8: ["x", "2026-01-02T03:04:05", "2026-01-02", "03:04:05"],
        9: ["", "too", "many", "cells", "here"],
        91: ["2", "", "", ""],
    }


def test_a_zip_bomb_is_refused_without_being_unpacked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook_rows, "PROGRAM", path.with_name("nothing.py"))  # nothing may be started
    bomb = archive(**{"xl/workbook.xml": b"<a/>", "xl/worksheets/sheet1.xml": bytes(60_000_000)})
    assert len(bomb) < 100_000
    assert refusal(path, bomb) == TOO_LARGE
    many = bytearray(archive(**{"xl/workbook.xml": b"<a/>"}))
    at = many.rfind(b"PK\5\6")
    struct.pack_into("<HHL", many, at + 8, 60_000, 60_000, 3_000_000)
    assert refusal(path, bytes(many)) == TOO_LARGE


def test_a_workbook_that_repeats_a_long_text_stays_small(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = path.with_name("written")
    monkeypatch.setattr(workbook_rows, "TemporaryFile", lambda: written.open("w+b"))
    names, long = [f"c{place}" for place in range(100)], ["x" * 32_767] * 100
    _, rows = read(path, workbook({1: names, 2: ["A"], 3: long, 5: long}))
    said = "This row is far too long; perhaps a quotation mark is missing."
    assert problems(rows) == {3: said, 5: said}
    assert written.stat().st_size < 2_100_000
    assert max(sum(map(len, row.cells)) for row in rows) == 10_000


def test_two_cells_far_apart_take_no_memory_but_the_childs(path: Path) -> None:
    written = BytesIO()
    book = Workbook(written)
    sheet = book.add_worksheet()
    sheet.write(0, 0, "a")
    sheet.write(1_048_575, 16_383, "b")
    book.close()
    others = psutil.Process().children()
    assert refusal(path, written.getvalue()) == TOO_LARGE
    assert psutil.Process().children() == others


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (archive(**{"a.txt": b"x"}), "This is a ZIP archive. Unpack it, and send the file that is in it."),
        (archive(**{"content.xml": b"x"}), "This is an OpenDocument file (.ods). Save it as .xlsx or CSV."),
        (
            archive(**{"xl/workbook.bin": b""}),
            "This is a binary Excel file (.xlsb). Save it as .xlsx or CSV.",
        ),
        (archive(**{"xl/workbook.xml": b"<a/>"}), DAMAGED),
        (b"PK\3\4" + bytes(500), DAMAGED),
    ],
)
def test_other_archives_are_refused_in_a_sentence(path: Path, content: bytes, said: str) -> None:
    assert refusal(path, content) == said


def test_a_workbook_cut_off_or_without_rows_is_refused(path: Path) -> None:
    whole = workbook({1: ["name"], 2: ["A"]})
    assert refusal(path, whole[: len(whole) // 2]) == DAMAGED
    assert refusal(path, whole.replace(b"xl/worksheets/sheet2.xml", b"xl/worksheets/sheet9.xml")) == DAMAGED
    empty = BytesIO()
    book = Workbook(empty)
    book.add_worksheet()
    book.close()
    assert refusal(path, empty.getvalue()) == "This file is empty."


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", DAMAGED),
        ("import os; os.abort()", TOO_LARGE),
        ("import time; time.sleep(60)", TOO_LARGE),
        ("import sys; sys.exit(12)", "This workbook has a password. Save it without one, or as CSV."),
    ],
)
def test_whatever_happens_to_the_child_there_is_an_answer_and_nothing_is_left(
    path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    content = workbook({1: ["name"], 2: ["A"]})
    program = path.with_name("program.py")
    program.write_text(body)
    monkeypatch.setattr(workbook_rows, "PROGRAM", program)
    monkeypatch.setattr(workbook_rows, "TIMEOUT_SECONDS", 2)
    others = psutil.Process().children()
    assert refusal(path, content) == said
    assert psutil.Process().children() == others
