"""Messages shown once, on the next page. They travel in a signed cookie of their own."""

from typing import Literal

from starlette.requests import Request

KEY = "_messages"
"""Where sqladmin's `get_flashed_messages` looks."""

MAX_TITLE_LENGTH = 80
"""Browsers drop a cookie of more than 4096 bytes, and a character may take 16 of them."""


def flash(request: Request, message: str, level: Literal["success", "warning"] = "success") -> None:
    """sqladmin's own `flash` appends to a nested list, unnoticed by the session: the second is lost."""
    messages = request.session.get(KEY, [])
    request.session[KEY] = [*messages, {"category": level, "title": "", "message": message}]


def short(title: str) -> str:
    """A row's title, fit for a message."""
    return title if len(title) <= MAX_TITLE_LENGTH else f"{title[: MAX_TITLE_LENGTH - 1]}…"
