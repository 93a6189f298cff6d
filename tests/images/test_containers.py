"""What a file is, by its bytes, and everything that is refused before anything is decoded."""

import random
import struct
import zipfile
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from admin_app.images.containers import MAX_BYTES, MAX_PIXELS, ImageRefused, look_at
from tests.images.samples import BLUE, FORMATS, animation, chunk, encoded, noise, png, quarters

SMALL = {kind: encoded(quarters(), kind) for kind in FORMATS}
EXAMPLES = {
    **SMALL,
    "jpeg, progressive": encoded(noise(300, 200), "jpeg", progressive=True, comment=b"hello"),
    "jpeg, restart markers": encoded(noise(300, 200), "jpeg", restart_marker_rows=1),
    "jpeg, CMYK": encoded(quarters().convert("CMYK"), "jpeg"),
    "png, 16 bits": encoded(Image.new("I;16", (9, 7), 40_000), "png"),
    "png, animated": encoded(quarters(), "png", save_all=True, append_images=[noise(40, 30)]),
    "webp, lossless": encoded(quarters(), "webp", lossless=True),
    "webp, lossy with transparency": encoded(quarters().convert("RGBA"), "webp", exif=b"Exif\0\0odd"),
    "webp, animated": encoded(quarters(), "webp", save_all=True, append_images=[noise(40, 30)]),
    "avif, animated": encoded(quarters(), "avif", save_all=True, append_images=[noise(40, 30)]),
    "gif, animated": animation(3),
}


def refused(content: bytes) -> str:
    with pytest.raises(ImageRefused) as error:
        look_at(content)
    assert error.value.reason.endswith(".")
    return error.value.reason


def is_answered(content: bytes) -> bool:
    """By one of the kinds or a sentence; whatever else is raised gets through."""
    try:
        return look_at(content) in FORMATS
    except ImageRefused as error:
        return error.reason.endswith(".")


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_five_kinds_are_told_by_their_content(example: str) -> None:
    assert look_at(EXAMPLES[example]) == example.partition(",")[0]


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_file_cut_off_anywhere_is_refused(example: str) -> None:
    content = EXAMPLES[example]
    for length in {
        1,
        2,
        4,
        8,
        12,
        20,
        30,
        *range(0, len(content), max(1, len(content) // 200)),
        len(content) - 1,
    }:
        refused(content[:length])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_off_near_its_end_is_called_that(kind: str) -> None:
    assert "cut off" in refused(SMALL[kind][: len(SMALL[kind]) * 9 // 10])


def test_an_empty_file_is_called_that() -> None:
    assert refused(b"") == "This file is empty."


def test_the_largest_file_is_taken_and_one_byte_more_is_not() -> None:
    head, end = SMALL["png"][:-12], SMALL["png"][-12:]
    filler = MAX_BYTES - len(head) - len(end) - 12
    largest = head + chunk(b"teXt", bytes(filler)) + end
    assert len(largest) == MAX_BYTES
    assert look_at(largest) == "png"
    for larger in (head + chunk(b"teXt", bytes(filler + 1)) + end, bytes(21 * 1024 * 1024)):
        assert refused(larger).startswith("This file is larger than 20 MB.")


def jpeg_header(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame + b"\xff\xda\0\2\0\0\xff\xd9"


def gif_header(width: int, height: int, frame_width: int, frame_height: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0, 0, 0)
        + b"\x2c"
        + struct.pack("<HHHHB", 0, 0, frame_width, frame_height, 0)
        + b"\2\1\0\0\x3b"
    )


def webp_header(name: bytes, payload: bytes) -> bytes:
    padding = b"\0" * (len(payload) % 2)
    chunks = name + struct.pack("<I", len(payload)) + payload + padding + b"VP8L\0\0\0\0"
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def avif_header(width: int, height: int) -> bytes:
    size = box(b"ispe", bytes(4) + struct.pack(">II", width, height))
    meta = box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", size)))
    return box(b"ftyp", b"avif\0\0\0\0avifmif1") + meta + box(b"mdat", b"\0")


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (png(10_000, 5_000, b""), png(10_000, 5_001, b"")),
        (png(50_000_000, 1, b""), png(2**31 - 1, 2**31 - 1, b"")),
        (jpeg_header(10_000, 5_000), jpeg_header(65_535, 65_535)),
        (gif_header(10_000, 5_000, 1, 1), gif_header(10_001, 5_000, 1, 1)),
        (gif_header(1, 1, 10_000, 5_000), gif_header(1, 1, 10_000, 5_001)),
        (
            webp_header(b"VP8X", bytes(4) + (9_999).to_bytes(3, "little") + (4_999).to_bytes(3, "little")),
            webp_header(b"VP8X", bytes(4) + b"\xff" * 6),
        ),
        (
            webp_header(b"VP8L", b"\x2f" + struct.pack("<I", 9_999 | 4_999 << 14)),
            webp_header(b"VP8L", b"\x2f" + struct.pack("<I", 16_383 | 16_383 << 14)),
        ),
        (
            webp_header(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 10_000, 5_000)),
            webp_header(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383)),
        ),
        (avif_header(10_000, 5_000), avif_header(2**32 - 1, 2**32 - 1)),
    ],
    ids=["png", "png, extreme", "jpeg", "gif", "gif, frame", "webp, VP8X", "webp, VP8L", "webp, VP8", "avif"],
)
def test_fifty_million_pixels_are_taken_and_more_are_not(within: bytes, beyond: bytes) -> None:
    look_at(within)
    reason = refused(beyond)
    assert "at most 50 million are taken" in reason
    assert "×" in reason


def test_the_number_of_pixels_is_told() -> None:
    reason = refused(png(12_000, 9_000, b""))
    assert reason == "This image has 12,000 × 9,000 pixels, 108.0 million; at most 50 million are taken."
    assert MAX_PIXELS == 50_000_000


@pytest.mark.parametrize(
    "content", [png(0, 5, b""), jpeg_header(5, 0), gif_header(0, 0, 1, 1), avif_header(0, 1)]
)
def test_an_image_without_extent_is_damaged(content: bytes) -> None:
    assert "damaged" in refused(content)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b'\xef\xbb\xbf <?xml version="1.0"?><!DOCTYPE svg><SVG onload="alert(1)"/>', "an SVG drawing"),
        (b"<!DOCTYPE html><title>x</title>", "a web page"),
        (b"\n\n<HTML><body>", "a web page"),
        (b"<?php system($_GET[0]);", "a web page"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"junk before %PDF-1.4", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript or EPS file"),
        (b"\xc5\xd0\xd3\xc6" + bytes(28), "a PostScript or EPS file"),
        (b"BM" + bytes(60), "a BMP image"),
        (b"II*\0" + bytes(60), "a TIFF image"),
        (b"MM\0*" + bytes(60), "a TIFF image"),
        (b"\0\0\1\0\1\0" + bytes(60), "an icon (ICO)"),
        (b"PK\3\4" + bytes(60), "a ZIP archive or an Office document"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"\xff\x0a" + bytes(60), "a JPEG XL image"),
        (box(b"ftyp", b"heic\0\0\0\0mif1heic"), "a HEIC image"),
        (box(b"ftyp", b"isom\0\0\2\0isomiso2mp41"), "a film"),
        (b"hello", "no image, or of an unknown kind"),
        (bytes(4096), "no image, or of an unknown kind"),
        (b"RIFF\4\0\0\0WAVE", "no image, or of an unknown kind"),
    ],
)
def test_other_kinds_are_refused_by_their_name(content: bytes, what: str) -> None:
    assert refused(content) == f"This is {what}. Only PNG, JPEG, WebP, AVIF and GIF images are taken."


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "ICO", "EPS", "PDF", "PPM", "TGA"])
def test_images_of_other_kinds_are_refused(kind: str) -> None:
    written = BytesIO()
    quarters().save(written, kind)
    refused(written.getvalue())


def zipped() -> bytes:
    written = BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("index.html", "<b>hello</b>")
    return written.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("other", [zipped(), b"<script>alert(1)</script>", b"\0", b"MZ" + bytes(500)])
def test_nothing_may_follow_an_image_but_what_cameras_append(kind: str, other: bytes) -> None:
    is_harmless = kind == "jpeg" and other[:1] not in b"<P"
    if is_harmless:
        assert look_at(SMALL[kind] + other) == "jpeg"
    else:
        refused(SMALL[kind] + other)


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_may_precede_an_image(kind: str) -> None:
    refused(b" " + SMALL[kind])


@pytest.mark.parametrize(
    "archive", [b"Rar!\x1a\x07\x01\x00", b"7z\xbc\xaf\x27\x1c\0\4", b"PK\3\4cut off zip"]
)
def test_an_archive_after_a_jpeg_is_refused(archive: bytes) -> None:
    assert "something else" in refused(SMALL["jpeg"] + bytes(100) + archive)


@pytest.mark.parametrize(
    "payload",
    [
        b"<script>alert(document.domain)</script>",
        b"<ScRiPt src=//evil.example>",
        b"<html><body>",
        b"<!DOCTYPE html>",
        b"<?php system($_GET['c']); ?>",
        b"%PDF-1.4",
    ],
)
def test_a_second_meaning_hidden_in_an_image_is_refused(payload: bytes) -> None:
    in_png = SMALL["png"][:33] + chunk(b"tEXt", b"Comment\0" + payload) + SMALL["png"][33:]
    in_jpeg = encoded(quarters(), "jpeg", comment=payload)
    in_gif = encoded(quarters(), "gif", comment=payload)
    in_webp = encoded(quarters(), "webp", exif=b"Exif\0\0" + payload)
    for content in (in_png, in_jpeg, in_gif, in_webp):
        assert payload in content
        assert "Save the image anew" in refused(content)


def test_the_second_picture_a_camera_appends_is_no_reason_to_refuse() -> None:
    assert look_at(encoded(noise(300, 200), "jpeg") + encoded(quarters(), "jpeg") + bytes(1000)) == "jpeg"


def test_a_thumbnail_within_a_jpeg_does_not_give_its_size() -> None:
    thumbnail = b"Exif\0\0" + jpeg_header(60_000, 60_000)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    assert look_at(SMALL["jpeg"][:2] + segment + SMALL["jpeg"][2:]) == "jpeg"


def test_a_jpeg_that_gives_its_size_twice_is_damaged() -> None:
    start = SMALL["jpeg"].index(b"\xff\xc0")
    frame = SMALL["jpeg"][start : start + 19]
    assert "damaged" in refused(SMALL["jpeg"][:start] + frame + SMALL["jpeg"][start:])


@pytest.mark.parametrize(
    "content",
    [
        SMALL["png"][:33] + bytes(12) * 1_500_000,
        SMALL["png"][:33] + chunk(b"aaAa", b"") * 1_500_000,
        gif_header(1, 1, 1, 1)[:-1] + b"\x21\xfe" + b"\1a" * 9_000_000,
        gif_header(1, 1, 1, 1)[:-1] + b"\x21\xfe\0" * 6_000_000,
        webp_header(b"VP8L", b"\x2f\0\0\0\0")[:4] + struct.pack("<I", 18_000_012) + b"WEBP"
        b"VP8L\5\0\0\0\x2f\0\0\0\0\0" + b"EXIF\0\0\0\0" * 2_250_000,
        SMALL["jpeg"][:2] + b"\xff\xe0\0\2" * 5_000_000,
        b"\xff\xd8" + b"\xff" * 20_000_000,
        SMALL["avif"] + box(b"free", b"") * 2_500_000,
    ],
    ids=["png, zeros", "png", "gif, sub-blocks", "gif, blocks", "webp", "jpeg", "jpeg, padding", "avif"],
)
def test_a_file_of_endless_parts_is_not_walked_to_its_end(content: bytes) -> None:
    assert "damaged" in refused(content)


@given(st.binary(max_size=400), st.sampled_from(sorted(SMALL)))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_anything_else(tail: bytes, kind: str) -> None:
    magic = random.Random(len(tail)).randint(2, 40)
    for content in (tail, SMALL[kind][:magic] + tail, avif_header(4, 4)[:40] + tail):
        assert is_answered(content)


@given(
    st.sampled_from(sorted(EXAMPLES)), st.lists(st.tuples(st.integers(0), st.binary(max_size=8)), max_size=5)
)
@settings(max_examples=500, deadline=None)
def test_no_change_to_a_real_image_raises_anything_else(
    example: str, changes: list[tuple[int, bytes]]
) -> None:
    content = bytearray(EXAMPLES[example])
    for place, other in changes:
        at = place % len(content)
        content[at : at + len(other)] = other
    assert is_answered(bytes(content))


def test_looking_does_not_depend_on_checksums_which_decoding_does() -> None:
    """So a photograph that is whole but wrong inside passes here, and fails in the sandbox."""
    content = bytearray(encoded(noise(60, 40), "png"))
    content[len(content) // 2] ^= 0xFF
    assert look_at(bytes(content)) == "png"


def test_a_picture_of_text_is_no_script() -> None:
    image = Image.new("RGB", (300, 40), BLUE)
    ImageDraw.Draw(image).text((5, 5), "<script>alert(1)</script>", fill="white")
    for kind in FORMATS:
        assert look_at(encoded(image, kind)) == kind
