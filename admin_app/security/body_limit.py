"""A bound on what a request may send, and on how long it may take over it."""

import asyncio
import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_app.errors import AppError

MAX_BODY_BYTES = 1_000_000
MAX_ANONYMOUS_BODY_BYTES = 400_000
"""For pages open to everybody. Signing in may bring along a form that was being filled in: at most 350,000
and the names of its fields (`admin/kept_forms.py`).
"""

MAX_SELECTION_BYTES = 4_000_000
"""For a hundred thousand ids, one by one."""

MAX_UPLOAD_BYTES = 21 * 1024 * 1024
"""For one file of 20 MB, and what a form puts around it."""

MAX_IMPORT_BYTES = 201_000_000
"""For one file of 200 MB, likewise."""

STALL_SECONDS = 20.0
"""The longest a body may make no progress."""

MIN_BYTES_PER_SECOND = 8_000
"""On average, after the first STALL_SECONDS: 20 MB from a bad mobile connection may take 45 minutes."""


class TooLarge(AppError):
    status = 413

    def __init__(self, limit: int) -> None:
        most = "200 MB" if limit == MAX_IMPORT_BYTES else f"{limit:,} bytes"
        super().__init__(f"This is too much at once: send at most {most}. Nothing was changed.")


class TooLong(AppError):
    status = 408

    def __init__(self) -> None:
        super().__init__("This took too long to arrive. Nothing was changed; try again.")


class BodyLimitMiddleware:
    """Raises TooLarge by the announced length, or while reading a body that announced none; else TooLong.

    `upload_paths` are regular expressions of the paths whose forms may carry a file, and `import_paths` of
    those where it may be one of many rows.
    """

    def __init__(
        self,
        app: ASGIApp,
        anonymous_paths: Collection[str] = (),
        selection_paths: Collection[str] = (),
        upload_paths: Collection[str] = (),
        import_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._takes_file = re.compile("|".join(upload_paths) or "(?!)").fullmatch
        self._takes_rows = re.compile("|".join(import_paths) or "(?!)").fullmatch
        self._limits = {
            **dict.fromkeys(anonymous_paths, MAX_ANONYMOUS_BODY_BYTES),
            **dict.fromkeys(selection_paths, MAX_SELECTION_BYTES),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit, headers = self._limits.get(scope["path"], MAX_BODY_BYTES), Headers(scope=scope)
        is_file = headers.get("content-type", "").lower().startswith("multipart/form-data")
        if is_file and self._takes_file(scope["path"]):
            limit = MAX_UPLOAD_BYTES
        if is_file and self._takes_rows(scope["path"]):
            limit = MAX_IMPORT_BYTES
        announced = headers.get("content-length", "0")
        if not announced.isascii() or not announced.isdigit() or int(announced[:20]) > limit:
            raise TooLarge(limit)
        started, received, is_complete = asyncio.get_running_loop().time(), 0, False

        async def limited_receive() -> Message:
            nonlocal received, is_complete
            if is_complete:  # waits for the client to leave
                return await receive()
            now = asyncio.get_running_loop().time()
            latest = started + STALL_SECONDS + received / MIN_BYTES_PER_SECOND
            try:
                async with asyncio.timeout_at(min(now + STALL_SECONDS, latest)):
                    message = await receive()
            except TimeoutError:
                raise TooLong from None
            received += len(message.get("body", b""))
            if received > limit:
                raise TooLarge(limit)
            is_complete = not message.get("more_body", False)
            return message

        await self._app(scope, limited_receive, send)
