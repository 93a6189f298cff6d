"""Encodings of text: the ones to choose from, which one a file is in, and reading a file in it."""

import codecs
from io import BufferedReader, TextIOWrapper

from admin_app.errors import InvalidInput

ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-be": "UTF-16 (big-endian)",
    "cp1252": "Windows-1252 (Western Europe)",
    "iso-8859-15": "ISO 8859-15 (Western Europe)",
    "mac_roman": "Mac Roman (Western Europe)",
    "cp1250": "Windows-1250 (Central Europe)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "shift_jis": "Shift JIS (Japanese)",
    "gb18030": "GB 18030 (Chinese)",
}
"""Python's name -> people's."""

CHUNK_BYTES = 1 << 20
_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARK = "\udcff"


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return _MARK, error.end


codecs.register_error("admin_app.mark", _mark)


def open_text(raw: BufferedReader, encoding: str) -> TextIOWrapper:
    """Lone surrogates stand where bytes could not be decoded. Raises InvalidInput for an unknown encoding."""
    if encoding not in ENCODINGS:
        raise InvalidInput(f"Choose one of these encodings: {', '.join(ENCODINGS)}.")
    codec = encoding
    if encoding == "utf-8":
        codec = "utf-8-sig"
    elif encoding == "utf-16" and raw.peek(2)[:2] not in _BOMS:
        codec = "utf-16-le"  # Python's "utf-16" demands a BOM
    return TextIOWrapper(raw, codec, errors="admin_app.mark", newline="")


def undecodable(encoding: str) -> str:
    """What to say of a row with such a surrogate."""
    return (
        f"This is not valid {ENCODINGS[encoding]}. Choose another encoding, or save the file as “CSV UTF-8”."
    )


def guess_encoding(raw: BufferedReader) -> str:
    """Reads the file from its start to its end. Its text is UTF-8 if most of what could be is."""
    chunk = raw.read(CHUNK_BYTES)
    if chunk.startswith(_BOMS):
        return "utf-16"
    if (byte_order := _byte_order(chunk)) is not None:
        return byte_order
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    good = bad = 0
    while chunk:
        # A character that two chunks share must not count as two that are wrong.
        text = decoder.decode(chunk)
        if not text.isascii():
            wrong = text.count("\ufffd")
            bad += wrong
            good += len(text) - len(text.encode("ascii", "ignore")) - wrong
        chunk = raw.read(CHUNK_BYTES)
    return "cp1252" if bad > good else "utf-8"


def _byte_order(start: bytes) -> str | None:
    """Of UTF-16 without a BOM: in most texts every other byte is NUL."""
    pairs = len(start) // 2
    first, second = start[: pairs * 2 : 2].count(0), start[1 : pairs * 2 : 2].count(0)
    if second * 2 > pairs and first * 20 < pairs:
        return "utf-16"
    if first * 2 > pairs and second * 20 < pairs:
        return "utf-16-be"
    return None
