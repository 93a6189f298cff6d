"""The program a child process runs: `conversion.py KIND LENGTH`, with an image on standard input.

It answers with a line of JSON (size and variants, or why it refused) and the variants' bytes after it. It is
run by its path and imports nothing of ours.
"""

import json
import os
import resource
import struct
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any, NamedTuple

from PIL import AvifImagePlugin, Image, ImageCms, WebPImagePlugin

SIDES = (1200, 480, 96)
"""Pixels of the longest side. Each size is made from the one before."""
MAX_PIXELS = 50_000_000
MAX_PROFILE_BYTES = 64 * 1024
MAX_MEMORY_BYTES = 1_500_000_000
MAX_CPU_SECONDS = 20
MAX_FILES = 16
NICENESS = 10
JPEG = {"format": "JPEG", "quality": 82, "optimize": True, "progressive": True}
WEBP = {"format": "WEBP", "quality": 80, "method": 4}

assert AvifImagePlugin
assert WebPImagePlugin  # imported here, Pillow does not import all its plugins to find them

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {5, 6, 7, 8}
_CONVERTIBLE = {("CMYK", "CMYK"), ("GRAY", "L"), ("RGB", "RGB"), ("RGB", "RGBA")}
"""Spaces of profiles, and modes of pictures they describe."""


class Variant(NamedTuple):
    format: str
    width: int
    height: int
    content: bytes


class TooManyPixels(Exception):
    pass


def convert(kind: str, content: bytes) -> tuple[int, int, list[Variant]]:
    """Width and height of the original, upright, and the variants, the smallest first."""
    image = Image.open(BytesIO(content), formats=[kind])
    size = image.size
    if size[0] * size[1] > MAX_PIXELS:
        raise TooManyPixels
    # A JPEG can be decoded at a half, a quarter or an eighth of its size, at a fraction of the cost.
    image.draft(None, _within(size, SIDES[0]))
    # Looking for metadata may read the pixels, too, and hide that it failed.
    image.load()
    orientation, profile = _orientation(image), image.info.get("icc_profile")
    picture = _resized(_resizable(image), _within(size, SIDES[0]))
    image.close()
    if orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[orientation])
    width, height = (size[1], size[0]) if orientation in _SIDEWAYS else size
    picture, profile = _in_rgb(picture, profile)
    variants: list[Variant] = []
    for side in _sides((width, height)):
        picture = _resized(picture, _within((width, height), side))
        variants = [*_encoded(picture, profile), *variants]
    return width, height, variants


def _sides(size: tuple[int, int]) -> Iterator[int]:
    """The largest first. An image between two of the sizes gives its own instead of the larger one."""
    longest = max(size)
    yield min(SIDES[0], longest)
    yield from (side for side in SIDES[1:] if side < longest)


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    width, height = size
    scale = min(side / max(size), 1)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return 1  # what is written beside the pixels may be damaged: that is no reason to refuse them


def _resizable(image: Image.Image) -> Image.Image:
    """As L, RGB, RGBA or CMYK, 8 bits each."""
    transparency = image.info.get("transparency")
    if image.mode.startswith("I"):
        # Pillow would cut off what is above 255.
        transparency = transparency // 256 if isinstance(transparency, int) else None
        image = image.point(lambda level: level * (1 / 256)).convert("L")
    if isinstance(transparency, tuple) and max(transparency) > 255:
        transparency = tuple(level // 256 for level in transparency)
    if transparency is not None:
        image.info["transparency"] = transparency
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in {"L", "RGB", "CMYK"} else image.convert("RGB")


def _in_rgb(picture: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None]:
    """As RGB or RGBA, and the profile its colours then have; without one they are sRGB."""
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        picture = picture.convert("RGB")
    space, known = _profile(profile)
    is_kept = (
        space == "RGB"
        and picture.mode != "CMYK"
        and profile is not None
        and len(profile) <= MAX_PROFILE_BYTES
    )
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    if known is not None and not is_kept and (space, picture.mode) in _CONVERTIBLE:
        with suppress(ImageCms.PyCMSError):  # then as if it had none
            srgb = ImageCms.createProfile("sRGB")
            picture = ImageCms.profileToProfile(picture, known, srgb, outputMode=mode) or picture
    picture = picture.convert(mode)
    picture.info.clear()
    return picture, profile if is_kept else None


def _profile(content: bytes | None) -> tuple[str, ImageCms.ImageCmsProfile | None]:
    """The colour space it is for, too."""
    try:
        found = ImageCms.ImageCmsProfile(BytesIO(content or b""))
    except OSError:
        return "", None
    return found.profile.xcolor_space.strip(), found


def _encoded(picture: Image.Image, profile: bytes | None) -> Iterator[Variant]:
    yield _saved(picture, profile, WEBP)
    if picture.mode == "RGBA":
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture.getchannel("A"))
        picture = white
    yield _saved(picture, profile, JPEG)


def _saved(picture: Image.Image, profile: bytes | None, options: dict[str, Any]) -> Variant:
    written = BytesIO()
    picture.save(written, icc_profile=profile, **options)
    return Variant(options["format"].lower(), *picture.size, written.getvalue())


def main() -> None:
    _limit()
    kind, length = sys.argv[1], int(sys.argv[2])
    content = sys.stdin.buffer.read(length)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    variants: list[Variant] = []
    try:
        width, height, variants = convert(kind, content)
        answer: dict[str, Any] = {
            "width": width,
            "height": height,
            "variants": [(*variant[:3], len(variant.content)) for variant in variants],
        }
    except Exception as error:  # whatever a decoder raises about a damaged image
        answer = {"refused": _reason(error)}
    for part in (json.dumps(answer).encode(), b"\n", *(variant.content for variant in variants)):
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def _reason(error: Exception) -> str:
    """Pillow says that memory was short by a MemoryError, or in the text of another error."""
    if isinstance(error, (TooManyPixels, Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return "pixels"
    return "memory" if isinstance(error, MemoryError) or "memory" in str(error).lower() else "damaged"


def _limit() -> None:
    """From here on this process cannot take a machine down, whatever is done to it."""
    for what, most in (
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_CPU, MAX_CPU_SECONDS),
        (resource.RLIMIT_NOFILE, MAX_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, allowed = resource.getrlimit(what)
        # Of time, the smaller one ends this process with a signal that says so.
        limits = (most, most + 1)
        if allowed != resource.RLIM_INFINITY:
            limits = (min(most, allowed), min(most + 1, allowed))
        resource.setrlimit(what, limits)
    os.nice(NICENESS)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def _end_with_parent() -> None:
    """It keeps the other end open as long as it lives; nothing more is sent."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    main()
