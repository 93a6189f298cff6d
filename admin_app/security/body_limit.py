"""A bound on what a request may send."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_app.errors import AppError

MAX_BODY_BYTES = 1_000_000
MAX_ANONYMOUS_BODY_BYTES = 400_000
"""For pages open to everybody. Signing in may bring along a form that was being filled in: at most 350,000
and the names of its fields (`admin/sign_in_pages.py`). Of percent signs alone, the worst there is, as much
takes the form parser 0.2 seconds; of any real text 0.05.
"""

MAX_SELECTION_BYTES = 4_000_000
"""For a hundred thousand ids, one by one."""


MAX_UPLOAD_BYTES = 21 * 1024 * 1024
"""For one file of 20 MB, and what a form puts around it."""


class TooLarge(AppError):
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"This is too much at once: send at most {limit:,} bytes. Nothing was changed.")


class BodyLimitMiddleware:
    """Raises TooLarge by the announced length, or while reading a body that announced none."""

    def __init__(
        self,
        app: ASGIApp,
        anonymous_paths: Collection[str] = (),
        selection_paths: Collection[str] = (),
        upload_prefixes: Collection[str] = (),
    ) -> None:
        self._app = app
        self._upload_prefixes = tuple(upload_prefixes)
        self._limits = {
            **dict.fromkeys(anonymous_paths, MAX_ANONYMOUS_BODY_BYTES),
            **dict.fromkeys(selection_paths, MAX_SELECTION_BYTES),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit, headers = self._limits.get(scope["path"], MAX_BODY_BYTES), Headers(scope=scope)
        # Of any other kind of form, as much keeps the parser busy for half a minute.
        is_file = headers.get("content-type", "").lower().startswith("multipart/form-data")
        if is_file and self._upload_prefixes and scope["path"].startswith(self._upload_prefixes):
            limit = MAX_UPLOAD_BYTES
        announced = headers.get("content-length", "0")
        if not announced.isascii() or not announced.isdigit() or int(announced[:20]) > limit:
            raise TooLarge(limit)
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise TooLarge(limit)
            return message

        await self._app(scope, limited_receive, send)
