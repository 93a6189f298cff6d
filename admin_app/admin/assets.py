"""Our static files, in memory: compressed once, and named after their content, so that browsers ask once."""

import gzip
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from admin_app.admin.compression import accepts_gzip

FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
# What Python 3.11 names otherwise, or not at all.
TYPES = {".js": "text/javascript", ".woff2": "font/woff2"}
REFERENCE = re.compile(r"""(url\("|\b(?:from |import |import\()"\./)([\w.-]+)(?=")""")
"""Where a file names another: a stylesheet in url("name"), a script in from "./name" or import "./name"."""
HASH = re.compile(r"\.[0-9a-f]{8}(?=\.\w+\Z)")


@dataclass(frozen=True)
class Asset:
    hashed_name: str
    media_type: str
    plain: bytes
    compressed: bytes | None
    """None when compressing does not make it smaller."""


class Assets:
    """The files of one flat folder. A reference to one that is not there raises, at the start."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self._assets: dict[str, Asset] = {}
        files = {path.name: path for path in folder.iterdir() if path.is_file()}
        for name in files:
            self._load(name, files)
        self._urls = {name: f"{base_url}/{asset.hashed_name}" for name, asset in self._assets.items()}

    def url(self, name: str) -> str:
        return self._urls[name]

    async def respond(self, request: Request) -> Response:
        """By its plain name, or one with another hash (an older or newer page), the file as it is now."""
        name = str(request.path_params["file"])
        asset = self._assets.get(HASH.sub("", name))
        if asset is None:
            raise HTTPException(404)
        content, coding = asset.plain, ""
        if asset.compressed is not None and accepts_gzip(request.headers.get("accept-encoding", "")):
            content, coding = asset.compressed, "gzip"
        etag = f'"{asset.hashed_name}{coding}"'
        headers = {
            "ETag": etag,
            "Vary": "Accept-Encoding",
            "Cache-Control": FOR_EVER if name == asset.hashed_name else ASK_AGAIN,
        }
        if _is_among(etag, request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        if coding:
            headers["Content-Encoding"] = coding
        return Response(content, media_type=asset.media_type, headers=headers)

    def _load(self, name: str, files: Mapping[str, Path]) -> Asset:
        """Those it refers to come first: their names are part of its content."""
        if name in self._assets:
            return self._assets[name]
        path = files[name]
        content = path.read_bytes()
        if path.suffix in {".css", ".js"}:
            content = REFERENCE.sub(
                lambda found: found[1] + self._load(found[2], files).hashed_name, content.decode()
            ).encode()
        compressed = gzip.compress(content, 9, mtime=0)
        asset = Asset(
            hashed_name=f"{path.stem}.{sha256(content).hexdigest()[:8]}{path.suffix}",
            media_type=TYPES.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream",
            plain=content,
            compressed=compressed if len(compressed) < len(content) else None,
        )
        self._assets[name] = asset
        return asset


def _is_among(etag: str, if_none_match: str) -> bool:
    known = [given.strip().removeprefix("W/") for given in if_none_match.split(",")]
    return etag in known or known == ["*"]
