"""Conditional requests (RFC 9110, 13): the tag of a row begins with its version, and If-Match is strict."""

import re
from hashlib import blake2b
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from admin_app.api.requests import BadRequest
from admin_app.errors import AppError

TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
END = re.compile(r"[ \t]*(,|$)")


class PreconditionFailed(AppError):
    """Nothing was changed."""

    status = 412

    def __init__(self) -> None:
        super().__init__("This was changed after you read it, so nothing was done. Read it again.")


def etag(version: int, beside: Any = None) -> str:
    """`beside` is what is told with the row and changes without a new version; None or empty for nothing."""
    if not beside:
        return f'"{version}"'
    return f'"{version}-{blake2b(msgspec.json.encode(beside), digest_size=4).hexdigest()}"'


def require_unchanged(request: Request, version: int) -> None:
    """Raises PreconditionFailed. To be called when the row is known to be there, before it is changed.

    What is told beside the row does not count: that is nothing a change could overwrite.
    """
    _require_match(request, version)
    if_none_match = _tags(request, "if-none-match")
    if if_none_match and any(_is_of(tag.removeprefix("W/"), version) for tag in if_none_match):
        raise PreconditionFailed


def not_modified(request: Request, version: int, tag: str) -> Response | None:
    """The answer 304 if the caller has this already; None to go on. Raises PreconditionFailed."""
    _require_match(request, version)
    if_none_match = _tags(request, "if-none-match")
    if if_none_match and any(item == "*" or item.removeprefix("W/") == tag for item in if_none_match):
        return Response(status_code=304, headers={"ETag": tag})
    return None


def _require_match(request: Request, version: int) -> None:
    if_match = _tags(request, "if-match")
    if if_match is not None and not any(_is_of(tag, version) for tag in if_match):
        raise PreconditionFailed


def _is_of(tag: str, version: int) -> bool:
    """Whether the row has this version; "*" is any. Compared strongly: a weak tag is of none."""
    return tag == "*" or tag.strip('"').partition("-")[0] == str(version)


def _tags(request: Request, name: str) -> list[str] | None:
    """The tags of a list, in one line or in several; a comma may be part of one. Raises BadRequest.

    Empty items mean nothing (RFC 9110, 5.6.1).
    """
    lines = request.headers.getlist(name)
    if not lines:
        return None
    text = ", ".join(lines).strip()
    if text == "*":
        return [text]
    found, at = [], 0
    while True:
        while at < len(text) and text[at] in ", \t":
            at += 1
        if at == len(text):
            break
        item = TAG.match(text, at)
        if item is None or not END.match(text, item.end()):
            raise _unreadable(name)
        found.append(item[0])
        at = item.end()
    if not found:
        raise _unreadable(name)
    return found


def _unreadable(name: str) -> BadRequest:
    return BadRequest(f'{name.title()} must be a list of tags such as "7", or *.')
