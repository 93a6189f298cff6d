"""What the API answers: JSON, with a tag for a row and links for a page of a list."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

Moment = Annotated[datetime, msgspec.Meta(tz=True)]

_encoder = msgspec.json.Encoder()


def answer(
    value: Any, status: int = 200, *, tag: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    tags = {"ETag": tag} if tag else {}
    return Response(
        _encoder.encode(value), status, headers={**tags, **(headers or {})}, media_type="application/json"
    )


def location(request: Request, path: str) -> dict[str, str]:
    """The Location header of something new; `path` begins below the API."""
    return {"Location": f"{request.scope['root_path']}{path}"}


def links(request: Request, **cursors: str | None) -> dict[str, str]:
    """The Link header (RFC 8288) of a page: to the first one, and by relation to where these cursors lead."""
    given = [item for item in request.query_params.multi_items() if item[0] not in {"cursor", "offset"}]
    found = [("first", given)]
    found += [(rel, [*given, ("cursor", cursor)]) for rel, cursor in cursors.items() if cursor]
    return {"Link": ", ".join(f'<{_address(request, items)}>; rel="{rel}"' for rel, items in found)}


def _address(request: Request, items: list[tuple[str, str]]) -> str:
    query = urlencode(items)
    return f"{request.scope['path']}?{query}" if query else str(request.scope["path"])
