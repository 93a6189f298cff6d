"""Excel workbooks from the outside: which kind of ZIP archive a file is, and whether it may be unpacked."""

import struct
from io import BufferedReader
from os import SEEK_END
from zipfile import BadZipFile, ZipFile

from admin_app.errors import InvalidInput

MAX_ENTRIES = 5_000
MAX_DIRECTORY_BYTES = 2_000_000
MAX_UNPACKED_BYTES = 2_000_000_000
MAX_RATIO = 200
"""How often larger than the file its content may be, beyond what is small anyway."""
SMALL_BYTES = 50_000_000

DAMAGED = "This workbook is damaged. Save it again as .xlsx or CSV."
TOO_LARGE = "This workbook is too large once unpacked. Save it as CSV, or split it."
OTHERS = (
    ("xl/workbook.bin", "This is a binary Excel file (.xlsb). Save it as .xlsx or CSV."),
    ("content.xml", "This is an OpenDocument file (.ods). Save it as .xlsx or CSV."),
    ("index/document.iwa", "This is a Numbers or Pages document. Export it as .xlsx or CSV."),
    ("word/document.xml", "This is a Word document. Send a workbook (.xlsx) or CSV."),
    ("ppt/presentation.xml", "This is a PowerPoint file. Send a workbook (.xlsx) or CSV."),
)
NO_WORKBOOK = "This is a ZIP archive. Unpack it, and send the file that is in it."

_END = struct.Struct("<4s4H2LH")
_END_64_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")


def require_workbook(raw: BufferedReader) -> None:
    """Raises InvalidInput for anything but a workbook (.xlsx, .xlsm) of reasonable size. Unpacks nothing."""
    try:
        _require_small_directory(raw)
        raw.seek(0)
        with ZipFile(raw) as archive:
            entries = archive.infolist()
    except (BadZipFile, struct.error, OSError, ValueError, NotImplementedError):
        raise InvalidInput(DAMAGED) from None
    names = {entry.filename.lower().replace("\\", "/") for entry in entries}
    if not any(name.startswith("xl/workbook") and name.endswith(".xml") for name in names):
        raise InvalidInput(next((sentence for name, sentence in OTHERS if name in names), NO_WORKBOOK))
    unpacked = sum(entry.file_size for entry in entries)
    packed = raw.seek(0, SEEK_END)
    if unpacked > MAX_UNPACKED_BYTES or unpacked > max(SMALL_BYTES, packed * MAX_RATIO):
        raise InvalidInput(TOO_LARGE)


def _require_small_directory(raw: BufferedReader) -> None:
    """Before it is read: ZipFile reads all of it, however large it is.

    APPNOTE.TXT of PKWARE, 4.3.14 to 4.3.16.
    """
    size = raw.seek(0, SEEK_END)
    tail_start = max(0, size - _END.size - 0xFFFF)
    raw.seek(tail_start)
    tail = raw.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        raise BadZipFile
    _, _, _, _, entries, directory_bytes, _, _ = _END.unpack_from(tail, at)
    locator = at - _END_64_LOCATOR.size
    if locator >= 0 and tail.startswith(b"PK\6\7", locator):
        raw.seek(_END_64_LOCATOR.unpack_from(tail, locator)[2])
        _, _, _, _, _, _, _, entries, directory_bytes, _ = _END_64.unpack(raw.read(_END_64.size))
    if entries > MAX_ENTRIES or directory_bytes > MAX_DIRECTORY_BYTES:
        raise InvalidInput(TOO_LARGE)
