"""Rows of Excel workbooks, unpacked in a child process, which may take only so much memory and time.

What it writes lies in a temporary file, so that memory stays flat in this process.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from tempfile import TemporaryFile
from typing import IO

from admin_app.errors import InvalidInput
from admin_app.imports.row_file import EMPTY, Row, RowFile, checked, column_names
from admin_app.imports.workbook_zip import DAMAGED, TOO_LARGE, require_workbook

TIMEOUT_SECONDS = 300
PROGRAM = Path(__file__).with_name("workbook_program.py")

LOCKED = "This workbook has a password. Save it without one, or as CSV."
NO_SHEET = "This workbook has no visible sheet with cells."
_REASONS = {10: DAMAGED, 11: TOO_LARGE, 12: LOCKED, 13: NO_SHEET}
"""By the exit codes of the program."""
_OUT_OF_BOUNDS = {-signal.SIGABRT, -signal.SIGKILL, -signal.SIGXCPU, -signal.SIGXFSZ}
"""How it ends if it takes more memory, time or space than it may have."""

_logger = logging.getLogger(__name__)


@contextmanager
def read_workbook(raw: BufferedReader, path: Path) -> Iterator[RowFile]:
    """The first visible sheet of the file at `path`, which is open as `raw`. Raises InvalidInput."""
    require_workbook(raw)
    size_bytes = raw.seek(0, os.SEEK_END)
    with TemporaryFile() as written:
        _run(path, written)
        written_bytes = written.seek(0, os.SEEK_END)
        written.seek(0)
        header = written.readline()
        if not header:
            raise InvalidInput(EMPTY)
        columns = column_names(json.loads(header)[1:])

        def position() -> int:
            return size_bytes * written.tell() // written_bytes

        yield RowFile(columns, _rows(written, len(columns)), size_bytes, position)


def _run(path: Path, written: IO[bytes]) -> None:
    # By its path: it imports nothing of ours, whatever may be importable. -I: nor what lies in some folder.
    # The pipe stays open: that it closes is how the child learns that this process has died.
    child = Popen(
        [sys.executable, "-I", str(PROGRAM), str(path.absolute())],
        stdin=PIPE,
        stdout=written,
        stderr=DEVNULL,
        env={},
        start_new_session=True,
    )
    assert child.stdin is not None
    try:
        code = child.wait(TIMEOUT_SECONDS)
    except TimeoutExpired:
        raise InvalidInput(TOO_LARGE) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.stdin.close()
        child.wait()
    if code in _OUT_OF_BOUNDS:
        raise InvalidInput(TOO_LARGE)
    if code != 0:
        if code not in _REASONS:
            _logger.error("The reader of workbooks ended with %s.", code)
        raise InvalidInput(_REASONS.get(code, DAMAGED))


def _rows(written: IO[bytes], width: int) -> Iterator[Row]:
    for line in written:
        number, *cells = json.loads(line)
        yield checked(number, cells + [""] * (width - len(cells)), width)
