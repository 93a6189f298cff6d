"""Files of rows: what kind of file one is, its columns, and its rows one after the other.

Nothing here knows what the rows mean, or the database.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from admin_app.errors import InvalidInput
from admin_app.imports import shopify
from admin_app.imports.csv_rows import guess_delimiter, read_csv
from admin_app.imports.decoding import ENCODINGS, guess_encoding, open_text
from admin_app.imports.json_rows import read_json
from admin_app.imports.row_file import (
    EMPTY,
    MAX_CELL_CHARACTERS,
    MAX_COLUMNS,
    MAX_FILE_BYTES,
    FileFormat,
    Layout,
    Row,
    RowFile,
)
from admin_app.imports.workbook_rows import read_workbook
from admin_app.imports.workbook_zip import require_workbook
from admin_app.text import legible

__all__ = [
    "ENCODINGS",
    "MAX_CELL_CHARACTERS",
    "MAX_COLUMNS",
    "MAX_FILE_BYTES",
    "FileFormat",
    "Layout",
    "Row",
    "RowFile",
    "guess",
    "open_rows",
]

SAMPLE_CHARACTERS = 100_000
MAX_NAME_CHARACTERS = 100
ZIP = b"PK\x03\x04"
PICTURE = "This is a picture. Send a CSV file, JSON lines or an Excel workbook (.xlsx)."
PACKED = "This file is compressed. Unpack it, and send the file that is in it."
SIGNATURES = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "This is an old Excel file (.xls), or a workbook with a password. "
        "Save it as .xlsx or CSV, without a password.",
    ),
    (b"%PDF-", "This is a PDF. Send the table it was made from, as CSV or an Excel workbook (.xlsx)."),
    (b"\x89PNG", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
    (b"GIF8", PICTURE),
    (b"\x1f\x8b", PACKED),
    (b"BZh", PACKED),
    (b"7z\xbc\xaf\x27\x1c", PACKED),
    (b"\xfd7zXZ", PACKED),
    (b"Rar!", PACKED),
    (b"\x28\xb5\x2f\xfd", PACKED),
    (b"PK\x05\x06", "This ZIP archive is empty."),
)
BINARY = "This is not a file of text. Send a CSV file, JSON lines or an Excel workbook (.xlsx)."
ONE_ARRAY = (
    "This is one JSON array. Send JSON lines: one object a line, without brackets and commas around them."
)
WEB_PAGE = "This is a web page or another XML file. Save it as .xlsx or CSV."

_CONTROL = re.compile("[\x01-\x08\x0e-\x1f\x7f]")
_XML = re.compile(r"<(!doctype|html|head|table|\?xml)", re.IGNORECASE)
_ARRAY = re.compile(r"\[\s*([\[{]|$)")


def guess(path: Path, name: str) -> Layout:
    """What this file most likely is. Raises InvalidInput, with a sentence, for what cannot be imported."""
    with _opened(path, name) as raw:
        size = os.fstat(raw.fileno()).st_size
        if size == 0:
            raise InvalidInput(EMPTY)
        if size > MAX_FILE_BYTES:
            most = f"{MAX_FILE_BYTES / 1e6:,.0f} MB"
            raise InvalidInput(f"This file has {size / 1e6:,.0f} MB; at most {most} can be read. Split it.")
        start = raw.peek(16)
        for signature, sentence in SIGNATURES:
            if start.startswith(signature):
                raise InvalidInput(sentence)
        if start.startswith(ZIP):
            require_workbook(raw)
            return Layout(FileFormat.EXCEL)
        encoding = guess_encoding(raw)
        raw.seek(0)
        return _guess_text(open_text(raw, encoding).read(SAMPLE_CHARACTERS), encoding)


def _guess_text(sample: str, encoding: str) -> Layout:
    beginning = sample.lstrip()
    if not beginning:
        raise InvalidInput(EMPTY)
    if "\0" in sample or len(_CONTROL.findall(sample)) * 100 > len(sample):
        raise InvalidInput(BINARY)
    if _ARRAY.match(beginning):
        raise InvalidInput(ONE_ARRAY)
    if _XML.match(beginning):
        raise InvalidInput(WEB_PAGE)
    if beginning.startswith("{"):
        return Layout(FileFormat.JSON_LINES, encoding)
    return Layout(FileFormat.CSV, encoding, guess_delimiter(sample))


@contextmanager
def open_rows(path: Path, layout: Layout) -> Iterator[RowFile]:
    """Raises InvalidInput, with a sentence about the file."""
    with _opened(path, path.name) as raw:
        if layout.format is FileFormat.EXCEL:
            with read_workbook(raw, path) as rows:
                yield shopify.merged(rows)
            return
        # It closes `raw` when it goes, so it must stay until the end.
        with open_text(raw, layout.encoding) as text:
            if layout.format is FileFormat.JSON_LINES:
                yield read_json(raw, text, layout)
            else:
                yield shopify.merged(read_csv(raw, text, layout))


@contextmanager
def _opened(path: Path, name: str) -> Iterator[BufferedReader]:
    try:
        raw = path.open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not the name of a file"
        raise InvalidInput(f"{legible(name[:MAX_NAME_CHARACTERS])} cannot be read ({reason}).") from None
    with raw:
        yield raw
