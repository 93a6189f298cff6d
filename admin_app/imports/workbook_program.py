"""The program a child process runs: `workbook_program.py PATH`. It writes the first visible sheet.

Each row is a line of JSON: its number in the sheet, counted from 1, and its cells as text. Rows without any
are left out, and so are empty cells at the end of one. How it ended is its exit code. It is run by its path
and imports nothing of ours.
"""

import json
import os
import resource
import sys
import threading
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from python_calamine import (
    CalamineError,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
    load_workbook,
)

MAX_MEMORY_BYTES = 2_000_000_000
MAX_CPU_SECONDS = 60
MAX_OUTPUT_BYTES = 250_000_000
"""Little more than a file of CSV may have."""
MAX_CELL_CHARACTERS = 131_072
MAX_ROW_CHARACTERS = 1_000_000
MAX_FILES = 16
NICENESS = 10

DAMAGED, TOO_LARGE, LOCKED, NO_SHEET = 10, 11, 12, 13


def write_rows(path: str) -> int:
    """The exit code."""
    try:
        workbook = load_workbook(path)
        name = _sheet(workbook)
        if name is None:
            return NO_SHEET
        sheet = workbook.get_sheet_by_name(name)
        left = sheet.start[1] if sheet.start else 0
        for number, values in enumerate(sheet.iter_rows(), 1):
            cells = [text(value) for value in values]
            while cells and not cells[-1].strip():
                cells.pop()
            if cells:
                row = json.dumps([number, *[""] * left, *cut(cells)], ensure_ascii=False)
                sys.stdout.buffer.write(f"{row}\n".encode())
        sys.stdout.flush()
    except PasswordError:
        return LOCKED
    except (CalamineError, ValueError, OverflowError):
        return DAMAGED
    except (MemoryError, OSError):
        return TOO_LARGE
    return 0


def _sheet(workbook: CalamineWorkbook) -> str | None:
    for sheet in workbook.sheets_metadata:
        if sheet.visible == SheetVisibleEnum.Visible and sheet.typ == SheetTypeEnum.WorkSheet:
            return sheet.name
    return None


def cut(cells: list[str]) -> list[str]:
    """So much that whoever reads them finds a row too long to be too long, but no more."""
    kept = []
    left = MAX_ROW_CHARACTERS + 1
    for cell in cells:
        kept.append(cell[: min(left, MAX_CELL_CHARACTERS + 1)])
        left -= len(kept[-1])
    return kept


def text(value: str | float | bool | date | time | timedelta) -> str:
    """As people see it in the cell; dates and times in ISO 8601.

    Errors such as #N/A are empty: the library does not tell them apart.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (int, float)):
        # The 15 digits Excel itself shows: what is behind them is noise of binary fractions.
        return format(Decimal(f"{value:.15g}"), "f")
    return str(value)


def _limit() -> None:
    """From here on this process cannot take a machine down, whatever is done to it."""
    for what, most in (
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_CPU, MAX_CPU_SECONDS),
        (resource.RLIMIT_FSIZE, MAX_OUTPUT_BYTES),
        (resource.RLIMIT_NOFILE, MAX_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, allowed = resource.getrlimit(what)
        limit = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(what, (limit, limit))
    os.nice(NICENESS)


def _end_with_parent() -> None:
    """It keeps the other end open as long as it lives; nothing is sent."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    _limit()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(write_rows(sys.argv[1]))
