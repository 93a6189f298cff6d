"""Real images, made when asked for."""

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms

FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF", "gif": "GIF"}
RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 180, 60), (30, 60, 200), (250, 250, 250)


def quarters(width: int = 40, height: int = 30) -> Image.Image:
    """Red and green above, blue and white below: it shows how it was turned."""
    image = Image.new("RGB", (width, height), RED)
    half = (width // 2, height // 2)
    image.paste(GREEN, (half[0], 0, width, half[1]))
    image.paste(BLUE, (0, half[1], half[0], height))
    image.paste(WHITE, (*half, width, height))
    return image


def noise(width: int, height: int) -> Image.Image:
    """Compresses about as badly as a photograph."""
    bands = [Image.effect_noise((width // 5 + 1, height // 5 + 1), 80) for _ in range(3)]
    return Image.merge("RGB", bands).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    written = BytesIO()
    image.save(written, FORMATS[kind], **options)
    return written.getvalue()


def decoded(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content))
    image.load()
    return image


def png(width: int, height: int, pixels: bytes, *, colour: int = 2, depth: int = 8) -> bytes:
    """A container of whatever: `pixels` are compressed as they are."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, content) for name, content in parts)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def animation(frames: int) -> bytes:
    """A GIF of a red frame, and then so many green ones."""
    first, other = Image.new("RGB", (64, 48), RED), Image.new("RGB", (64, 48), GREEN)
    content = encoded(first, "gif", save_all=True, append_images=[other], duration=20)
    # Each frame after the first is a control extension and an image: copied, not made 10,000 times.
    start = content.index(b"\x21\xf9", content.index(b"\x2c", content.index(b"\x21\xf9")))
    return content[:start] + content[start:-1] * (frames - 1) + content[-1:]


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
