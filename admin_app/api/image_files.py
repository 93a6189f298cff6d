"""The files made from a picture, as the API tells them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request


class ImageFile(msgspec.Struct):
    url: str
    format: str
    width: int
    height: int


def files_of(request: Request, files: Sequence[Mapping[str, Any]]) -> list[ImageFile]:
    """Of files as a picture's row has them."""
    url = request.app.state.media_url
    return [ImageFile(url(file["name"]), file["format"], file["width"], file["height"]) for file in files]
