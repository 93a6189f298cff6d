"""What becomes of an image, in a real child process: its sizes, turning and colours, and nothing else."""

from io import BytesIO

import pytest
from PIL import Image, ImageCms

from admin_app.images.containers import ImageRefused, look_at
from admin_app.images.sandbox import Converted, Variant, convert
from tests.images.samples import (
    BLUE,
    FORMATS,
    GREEN,
    RED,
    WHITE,
    animation,
    chunk,
    decoded,
    encoded,
    noise,
    png,
    quarters,
    srgb_profile,
)

TOLERANCE = 12
"""Of a colour after two lossy codecs."""


def sizes(converted: Converted) -> list[tuple[str, int, int]]:
    return [(variant.format, variant.width, variant.height) for variant in converted.variants]


def largest(converted: Converted, kind: str) -> Variant:
    return [variant for variant in converted.variants if variant.format == kind][-1]


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Clockwise from the upper left one."""
    width, height = image.size
    near, right, bottom = min(width, height) // 5, width - width // 5 - 1, height - height // 5 - 1
    places = [(near, near), (right, near), (right, bottom), (near, bottom)]
    return [image.getpixel(place) for place in places]  # type: ignore[misc]


def alike(found: tuple[int, ...], wanted: tuple[int, ...], tolerance: int = TOLERANCE) -> bool:
    return len(found) == len(wanted) and all(
        abs(a - b) <= tolerance for a, b in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("kind", FORMATS)
async def test_every_kind_comes_in_three_sizes_and_two_formats(kind: str) -> None:
    converted = await convert(encoded(quarters(1600, 1200), kind))
    assert (converted.width, converted.height) == (1600, 1200)
    assert sizes(converted) == [
        ("webp", 96, 72),
        ("jpeg", 96, 72),
        ("webp", 480, 360),
        ("jpeg", 480, 360),
        ("webp", 1200, 900),
        ("jpeg", 1200, 900),
    ]
    for variant in converted.variants:
        image = decoded(variant.content)
        assert image.format == variant.format.upper()
        assert image.size == (variant.width, variant.height)
        for found, wanted in zip(corners(image), [RED, GREEN, WHITE, BLUE], strict=True):
            assert alike(found, wanted)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((1, 1), [(1, 1)]),
        ((96, 40), [(96, 40)]),
        ((97, 40), [(96, 40), (97, 40)]),
        ((300, 200), [(96, 64), (300, 200)]),
        ((480, 480), [(96, 96), (480, 480)]),
        ((700, 1000), [(67, 96), (336, 480), (700, 1000)]),
        ((1200, 1), [(96, 1), (480, 1), (1200, 1)]),
        ((30_000, 10), [(96, 1), (480, 1), (1200, 1)]),
        ((10, 3001), [(1, 96), (2, 480), (4, 1200)]),
    ],
)
async def test_nothing_is_enlarged(size: tuple[int, int], wanted: list[tuple[int, int]]) -> None:
    converted = await convert(encoded(Image.new("RGB", size, RED), "png"))
    assert [(width, height) for _, width, height in sizes(converted)[::2]] == wanted
    assert [(width, height) for _, width, height in sizes(converted)[1::2]] == wanted
    assert (converted.width, converted.height) == size


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize(
    ("orientation", "wanted"),
    [
        (1, [RED, GREEN, WHITE, BLUE]),
        (2, [GREEN, RED, BLUE, WHITE]),
        (3, [WHITE, BLUE, RED, GREEN]),
        (4, [BLUE, WHITE, GREEN, RED]),
        (5, [RED, BLUE, WHITE, GREEN]),
        (6, [BLUE, RED, GREEN, WHITE]),
        (7, [WHITE, GREEN, RED, BLUE]),
        (8, [GREEN, WHITE, BLUE, RED]),
        (9, [RED, GREEN, WHITE, BLUE]),
    ],
)
async def test_an_image_is_turned_as_the_camera_was_held(
    kind: str, orientation: int, wanted: list[tuple[int, int, int]]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    converted = await convert(encoded(quarters(400, 200), kind, exif=exif))
    upright = (200, 400) if orientation in {5, 6, 7, 8} else (400, 200)
    assert (converted.width, converted.height) == upright
    for variant in (largest(converted, "webp"), largest(converted, "jpeg")):
        image = decoded(variant.content)
        assert image.size == upright == (variant.width, variant.height)
        assert "exif" not in image.info
        assert [alike(*pair) for pair in zip(corners(image), wanted, strict=True)] == [True] * 4


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
async def test_damaged_camera_data_is_no_reason_to_refuse(exif: bytes) -> None:
    assert (await convert(encoded(quarters(), "jpeg", exif=exif))).width == 40


async def test_nothing_about_the_camera_or_its_place_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Secret Maker"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 29: "2024:05:06"})
    xmp = b"<x:xmpmeta>Secret Place</x:xmpmeta>"
    options = {"exif": exif, "xmp": xmp, "comment": b"Secret Remark", "dpi": (300, 300)}
    original = encoded(quarters(), "jpeg", **options)
    assert original.count(b"Secret") == 3
    for content in (
        original,
        encoded(quarters(), "webp", exif=exif, xmp=xmp),
        encoded(quarters(), "avif", exif=exif),
    ):
        for variant in (await convert(content)).variants:
            image = decoded(variant.content)
            assert b"Secret" not in variant.content
            assert b"Exif" not in variant.content
            assert b"http" not in variant.content
            assert dict(image.getexif()) == {}
            assert not {"comment", "xmp", "exif", "XML:com.adobe.xmp"} & set(image.info)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif"])
async def test_a_colour_profile_is_kept(kind: str) -> None:
    profile = srgb_profile()
    for variant in (await convert(encoded(quarters(), kind, icc_profile=profile))).variants:
        assert decoded(variant.content).info["icc_profile"] == profile


@pytest.mark.parametrize("profile", [b"no profile at all", srgb_profile()[:100]], ids=["none", "cut off"])
async def test_a_damaged_colour_profile_is_dropped(profile: bytes) -> None:
    for variant in (await convert(encoded(quarters(), "jpeg", icc_profile=profile))).variants:
        assert "icc_profile" not in decoded(variant.content).info


async def test_a_huge_colour_profile_is_applied_and_dropped() -> None:
    profile = bytearray(srgb_profile() + bytes(70_000))
    profile[:4] = len(profile).to_bytes(4, "big")
    ImageCms.ImageCmsProfile(BytesIO(bytes(profile)))
    for image in (quarters(200, 150), quarters(200, 150).convert("RGBA")):
        converted = await convert(encoded(image, "png", icc_profile=bytes(profile)))
        shown = decoded(largest(converted, "jpeg").content)
        assert "icc_profile" not in shown.info
        assert [alike(*pair) for pair in zip(corners(shown), [RED, GREEN, WHITE, BLUE], strict=True)] == [
            True
        ] * 4


async def test_a_profile_for_another_kind_of_colours_is_dropped() -> None:
    for mode, profile in (("L", srgb_profile()), ("CMYK", srgb_profile())):
        converted = await convert(encoded(quarters().convert(mode), "jpeg", icc_profile=profile))
        image = decoded(largest(converted, "webp").content)
        assert image.mode == "RGB"
        assert ("icc_profile" in image.info) == (mode == "L")
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    converted = await convert(encoded(quarters(), "png", icc_profile=lab))
    assert "icc_profile" not in decoded(largest(converted, "webp").content).info


async def test_grey_colours_with_a_grey_profile_become_what_they_look_like() -> None:
    converted = await convert(
        encoded(Image.new("L", (50, 50), 128), "png", icc_profile=grey_profile(gamma=1.0))
    )
    image = decoded(largest(converted, "webp").content)
    assert image.mode == "RGB"
    assert "icc_profile" not in image.info
    assert alike(image.getpixel((25, 25)), (188, 188, 188))  # type: ignore[arg-type]  # half the light, in sRGB


def grey_profile(gamma: float) -> bytes:
    """The least that is one (ICC.1:2010): a white point and a curve."""
    white = b"XYZ \0\0\0\0" + b"".join(
        round(value * 65536).to_bytes(4, "big") for value in (0.9642, 1.0, 0.8249)
    )
    curve = b"curv\0\0\0\0\0\0\0\1" + round(gamma * 256).to_bytes(2, "big") + bytes(2)
    tags = [(b"wtpt", white), (b"kTRC", curve)]
    start = 128 + 4 + 12 * len(tags)
    table, body = len(tags).to_bytes(4, "big"), b""
    for name, content in tags:
        table += name + (start + len(body)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        body += content
    header = bytearray(128)
    header[:4] = (start + len(body)).to_bytes(4, "big")
    header[8:40] = b"\x02\x10\0\0mntrGRAYXYZ " + bytes(12) + b"acsp"
    header[68:80] = white[8:]
    return bytes(header) + table + body


async def test_printing_colours_become_colours_of_a_screen() -> None:
    converted = await convert(encoded(quarters().convert("CMYK"), "jpeg"))
    image = decoded(largest(converted, "webp").content)
    assert image.mode == "RGB"
    assert [alike(*pair) for pair in zip(corners(image), [RED, GREEN, WHITE, BLUE], strict=True)] == [
        True
    ] * 4


@pytest.mark.parametrize(
    ("mode", "level", "shown"),
    [("I;16", 40_000, 156), ("L", 156, 156), ("1", 1, 255), ("LA", (156, 255), 156)],
)
async def test_grey_of_any_depth_keeps_its_lightness(mode: str, level: int, shown: int) -> None:
    converted = await convert(encoded(Image.new(mode, (60, 40), level), "png"))
    image = decoded(largest(converted, "webp").content)
    assert alike(image.getpixel((30, 20)), (shown,) * 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("depth", "colour", "transparent"), [(16, 0, b"\xff\xff"), (16, 2, b"\xff\xff" * 3), (8, 0, b"\0\xff")]
)
async def test_a_colour_may_stand_for_transparency_at_any_depth(
    depth: int, colour: int, transparent: bytes
) -> None:
    sample = depth // 8 * (3 if colour == 2 else 1)
    row = b"\0" + b"\0" * sample * 30 + b"\xff" * sample * 30
    plain = png(60, 40, row * 40, colour=colour, depth=depth)
    converted = await convert(plain[:33] + chunk(b"tRNS", transparent) + plain[33:])
    image = decoded(largest(converted, "webp").content)
    assert image.mode == "RGBA"
    assert [image.getpixel((x, 20))[3] for x in (10, 50)] == [255, 0]  # type: ignore[index]
    shown = decoded(largest(converted, "jpeg").content)
    assert alike(shown.getpixel((10, 20)), (0, 0, 0))  # type: ignore[arg-type]
    assert alike(shown.getpixel((50, 20)), (255, 255, 255))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["png", "webp", "avif", "gif"])
async def test_transparency_is_kept_in_webp_and_white_in_jpeg(kind: str) -> None:
    image = quarters(200, 200).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 100, 100))
    converted = await convert(encoded(image, kind))
    kept = decoded(largest(converted, "webp").content)
    assert [pixel[3] for pixel in corners(kept)] == [0, 255, 255, 255]
    shown = decoded(largest(converted, "jpeg").content)
    wanted = [(255, 255, 255), GREEN, WHITE, BLUE]
    assert [alike(*pair) for pair in zip(corners(shown), wanted, strict=True)] == [True] * 4


async def test_a_palette_with_half_transparent_colours_keeps_them() -> None:
    image = Image.new("P", (60, 40), 1)
    image.putpalette([*RED, *GREEN])
    converted = await convert(encoded(image, "png", transparency=bytes([255, 128])))
    found = decoded(largest(converted, "webp").content).getpixel((30, 20))
    assert alike(found, (*GREEN, 128))  # type: ignore[arg-type]


async def test_transparency_that_hides_nothing_is_left_out() -> None:
    converted = await convert(encoded(quarters().convert("RGBA"), "png"))
    assert decoded(largest(converted, "webp").content).mode == "RGB"


async def test_of_ten_thousand_frames_the_first_is_taken() -> None:
    converted = await convert(animation(10_000))
    image = decoded(largest(converted, "webp").content)
    assert image.size == (64, 48)
    assert getattr(image, "n_frames", 1) == 1
    assert alike(image.getpixel((30, 20)), RED)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
async def test_of_other_animations_too(kind: str) -> None:
    other = Image.new("RGB", (64, 48), GREEN)
    content = encoded(Image.new("RGB", (64, 48), RED), kind, save_all=True, append_images=[other] * 3)
    image = decoded(largest(await convert(content), "webp").content)
    assert getattr(image, "n_frames", 1) == 1
    assert alike(image.getpixel((30, 20)), RED)  # type: ignore[arg-type]


async def test_the_same_image_gives_the_same_bytes() -> None:
    content = encoded(noise(700, 500), "jpeg")
    assert await convert(content) == await convert(content)


async def test_a_jpeg_is_progressive() -> None:
    converted = await convert(encoded(noise(700, 500), "png"))
    assert decoded(largest(converted, "jpeg").content).info.get("progressive")


async def test_one_colour_in_almost_fifty_million_pixels_is_converted() -> None:
    width, height = 7_071, 7_071
    content = png(width, height, (b"\0" + bytes(RED) * width) * height)
    assert len(content) < 200_000
    converted = await convert(content)
    assert (converted.width, converted.height) == (width, height)
    assert alike(decoded(largest(converted, "webp").content).getpixel((9, 9)), RED)  # type: ignore[arg-type]


def without_pixels(kind: str) -> bytes:
    """A container that is whole, about a picture that is not there."""
    content = encoded(noise(200, 150), kind)
    if kind == "png":
        return png(200, 150, bytes(50_000))
    if kind == "jpeg":  # its decoder takes any pixels, but not without the tables to read them by
        return content[: content.index(b"\xff\xdb")] + content[content.index(b"\xff\xc0") :]
    if kind == "gif":
        start = content.index(b"\x2c\0\0\0\0") + 11
        return content[:start] + b"\0\x3b"
    if kind == "webp":
        content = encoded(noise(200, 150), kind, lossless=True)
    start = 25 if kind == "webp" else content.index(b"mdat") + 4
    return content[:start] + b"\xff" * (len(content) - start)


@pytest.mark.parametrize("kind", FORMATS)
async def test_an_image_without_its_pixels_is_damaged(kind: str) -> None:
    content = without_pixels(kind)
    assert look_at(content) == kind
    with pytest.raises(ImageRefused) as refused:
        await convert(content)
    assert refused.value.reason == "This image cannot be read: it is damaged."
