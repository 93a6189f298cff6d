"""What an uploaded file is, told by its bytes: its container is walked, no pixel is decoded.

Each walk returns where the image ends. Formats: PNG (RFC 2083), JPEG (ITU T.81), WebP (RFC 9649),
AVIF (ISO 14496-12, 23008-12) and GIF89a.
"""

import re
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from struct import Struct, error

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 50_000_000
MAX_PARTS = 150_000
"""Chunks, segments and blocks of a file; real ones have far fewer, and each takes time to step over."""

DAMAGED = "This image cannot be read: it is damaged."
TAKEN = "Only PNG, JPEG, WebP, AVIF and GIF images are taken."

_PNG = b"\x89PNG\r\n\x1a\n"
_OTHERS = (
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"%!", "a PostScript or EPS file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript or EPS file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"8BPS", "a Photoshop file"),
    (b"PK\3\4", "a ZIP archive or an Office document"),
)
_HIGH_EFFICIENCY = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MARKUP = (
    b"<script",
    b"<html>",
    b"<html ",
    b"<html\n",
    b"<html\r",
    b"<html\t",
    b"<html/",
    b"<?php",
    b"<!doctype",
)
MAX_SCANS = 100
"""Of a JPEG: each is decoded from its first pixel to its last, however small it is."""
_ARCHIVES = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"PK\3\4")
# In the compressed data of a JPEG an FF that means something is followed by neither 00 nor a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NO_FRAME = {0xC4, 0xC8, 0xCC}  # between the markers of frames: tables and an extension
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9

_byte = Struct("B").unpack_from
_be16 = Struct(">H").unpack_from
_be32 = Struct(">I").unpack_from
_be64 = Struct(">Q").unpack_from
_le16 = Struct("<H").unpack_from
_le32 = Struct("<I").unpack_from
_tagged_be = Struct(">I4s").unpack_from
_tagged_le = Struct("<4sI").unpack_from


class ImageRefused(Exception):
    """`reason` is a sentence for whoever sent the image."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _CutOff(Exception):
    pass


def look_at(content: bytes) -> str:
    """ "png", "jpeg", "webp", "avif" or "gif"; raises ImageRefused for whatever else and nothing else.

    That the container is whole says nothing about the pixels in it.
    """
    if not content:
        raise ImageRefused("This file is empty.")
    if len(content) > MAX_BYTES:
        most = MAX_BYTES // 1024 // 1024
        raise ImageRefused(f"This file is larger than {most} MB. Save the image smaller, and send that.")
    kind, walk = _kind_of(content)
    _refuse_second_meaning(content)
    try:
        end = walk(content)
    except (_CutOff, error, IndexError):
        raise ImageRefused("This file is cut off: its end is missing. Send it again.") from None
    rest = content[end:]
    # Cameras append to a JPEG: a second picture, a short film.
    if rest and (kind != "jpeg" or any(archive in rest for archive in _ARCHIVES)):
        raise ImageRefused(
            "After the image, this file goes on with something else. Save the image anew and send that."
        )
    return kind


def _kind_of(content: bytes) -> tuple[str, Callable[[bytes], int]]:
    if content.startswith(_PNG):
        return "png", _walk_png
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg", _walk_jpeg
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif", _walk_gif
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp", _walk_webp
    if content[4:8] == b"ftyp":
        brands = {content[8:12], *(content[at : at + 4] for at in range(16, min(_size_at(content), 256), 4))}
        if brands & {b"avif", b"avis"}:
            return "avif", _walk_avif
        what = "a HEIC image" if brands & _HIGH_EFFICIENCY else "a film"
        raise ImageRefused(f"This is {what}. {TAKEN}")
    raise ImageRefused(f"This is {_other_kind(content)}. {TAKEN}")


def _size_at(content: bytes) -> int:
    return int.from_bytes(content[:4], "big")


def _other_kind(content: bytes) -> str:
    if b"%PDF-" in content[:1024]:
        return "a PDF document"
    for magic, what in _OTHERS:
        if content.startswith(magic):
            return what
    start = content[:4096].lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if _has_markup(start):
        return "a web page"
    return "no image, or of an unknown kind"


def _refuse_second_meaning(content: bytes) -> None:
    """Of files that are an image to one program, and a document, an archive or a script to another."""
    if b"%PDF-" in content[:1024]:
        raise ImageRefused(
            "This image is a PDF document at the same time. Save the image anew and send that."
        )
    if zipfile.is_zipfile(BytesIO(content)):
        raise ImageRefused("This image is a ZIP archive at the same time. Save the image anew and send that.")
    if _has_markup(content.lower()):
        raise ImageRefused("This image has a web page or a script in it. Save the image anew and send that.")


def _has_markup(content: bytes) -> bool:
    """Of what is in small letters. Not by a pattern: of nothing but "<", that takes a second."""
    return any(tag in content for tag in _MARKUP)


def _check_size(width: int, height: int) -> None:
    if not width or not height:
        raise _damaged()
    if width * height > MAX_PIXELS:
        raise ImageRefused(
            f"This image has {width:,} × {height:,} pixels, {width * height / 1e6:,.1f} million; "
            f"at most {MAX_PIXELS // 1_000_000} million are taken."
        )


def _damaged() -> ImageRefused:
    return ImageRefused(DAMAGED)


def _parts() -> Iterator[int]:
    """Counts the parts of a file, and ends it where there are too many."""
    yield from range(MAX_PARTS)
    raise _damaged()


def _walk_png(content: bytes) -> int:
    at, has_pixels = len(_PNG), False
    for number in _parts():
        length, name = _tagged_be(content, at)
        if number == 0:
            if name != b"IHDR" or length != 13:
                raise _damaged()
            _check_size(*_be32(content, at + 8), *_be32(content, at + 12))
        at += 12 + length
        has_pixels = has_pixels or name == b"IDAT"
        if at > len(content):
            raise _CutOff
        if name == b"IEND":
            break
        if not name.isalpha():
            raise _damaged()
    if not has_pixels:
        raise _damaged()
    return at


def _walk_jpeg(content: bytes) -> int:
    at, has_size, scans = 2, False, 0
    for _ in _parts():
        if content[at] != 0xFF:
            raise _damaged()
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        at += 2
        if marker == _END_OF_IMAGE:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # nothing follows these
            continue
        (length,) = _be16(content, at)
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            if has_size:
                raise _damaged()
            _check_size(*_be16(content, at + 5), *_be16(content, at + 3))
            has_size = True
        at += length
        if marker == _START_OF_SCAN:
            found = _MARKER.search(content, at)
            if found is None:
                raise _CutOff
            at, scans = found.start(), scans + 1
            if scans > MAX_SCANS:
                raise _damaged()
    if not has_size or not scans:
        raise _damaged()
    return at


def _walk_gif(content: bytes) -> int:
    width, height = *_le16(content, 6), *_le16(content, 8)
    _check_size(width, height)
    at = 13 + _palette(content[10])
    parts, has_pixels = _parts(), False
    for _ in parts:
        introducer = content[at]
        if introducer == 0x3B:
            at += 1
            break
        if introducer == 0x21:
            at += 2
        elif introducer == 0x2C:
            if not has_pixels:
                left, top = *_le16(content, at + 1), *_le16(content, at + 3)
                right, bottom = left + _le16(content, at + 5)[0], top + _le16(content, at + 7)[0]
                _check_size(max(width, right), max(height, bottom))
            at += 11 + _palette(content[at + 9])
            has_pixels = True
        else:
            raise _damaged()
        while length := content[at]:
            at += 1 + length
            next(parts)
        at += 1
    if not has_pixels:
        raise _damaged()
    return at


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _walk_webp(content: bytes) -> int:
    end: int = 8 + _le32(content, 4)[0]
    if end > len(content):
        raise _CutOff
    at, has_pixels = 12, False
    for number in _parts():
        if at >= end:
            break
        name, length = _tagged_le(content, at)
        if number == 0:
            _check_size(*_webp_size(content, name, at + 8))
        has_pixels = has_pixels or name in {b"VP8 ", b"VP8L", b"ANMF"}
        at += 8 + length + length % 2
    if at > end + 1 or not has_pixels:
        raise _damaged()
    return end


def _webp_size(content: bytes, name: bytes, at: int) -> tuple[int, int]:
    if name == b"VP8X":
        _byte(content, at + 9)
        return (
            int.from_bytes(content[at + 4 : at + 7], "little") + 1,
            int.from_bytes(content[at + 7 : at + 10], "little") + 1,
        )
    if name == b"VP8L":
        (bits,) = _le32(content, at + 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 ":
        return _le16(content, at + 6)[0] & 0x3FFF, _le16(content, at + 8)[0] & 0x3FFF
    raise _damaged()


def _walk_avif(content: bytes) -> int:
    parts = _parts()
    found = {name: (start, end) for name, start, end in _boxes(content, 0, len(content), parts)}
    if b"meta" not in found:
        raise _damaged()
    if b"mdat" not in found:
        raise _CutOff
    start, end = found[b"meta"]
    sizes = 0
    for properties, inner, inner_end in _boxes(content, start + 4, end, parts):
        if properties == b"iprp":
            for container, first, last in _boxes(content, inner, inner_end, parts):
                if container == b"ipco":
                    for name, at, _ in _boxes(content, first, last, parts):
                        if name == b"ispe":
                            _check_size(*_be32(content, at + 4), *_be32(content, at + 8))
                            sizes += 1
    if not sizes:
        raise _damaged()
    return len(content)


def _boxes(content: bytes, at: int, end: int, parts: Iterator[int]) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and end of the content of each box between."""
    while at < end:
        next(parts)
        size, name = _tagged_be(content, at)
        start = at + 8
        if size == 1:
            (size,) = _be64(content, start)
            start += 8
        elif size == 0:
            size = end - at
        if not name.isascii() or size < start - at:
            raise _damaged()
        if at + size > end:
            raise _CutOff
        yield name, start, at + size
        at += size
