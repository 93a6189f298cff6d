"""Small pictures, made here."""

from PIL import Image

from tests.images.samples import encoded


def png(width: int = 40, height: int = 30, colour: str = "teal") -> bytes:
    return encoded(Image.new("RGB", (width, height), colour), "png")


def jpeg(width: int = 40, height: int = 30, colour: str = "teal") -> bytes:
    return encoded(Image.new("RGB", (width, height), colour), "jpeg")
