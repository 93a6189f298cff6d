"""Messages shown once, on the next page. They travel in a signed cookie of their own."""

from typing import Any, Literal

from starlette.requests import Request

KEY = "messages"

MAX_TITLE_LENGTH = 80
"""Browsers drop a cookie of more than 4096 bytes, and a character may take 16 of them."""


def flash(request: Request, message: str, level: Literal["success", "warning"] = "success") -> None:
    """The same is told once, however often a form was sent."""
    told = {"category": level, "message": message}
    messages = request.session.get(KEY, [])
    if told not in messages:
        # A new list: the session does not notice when one within it changes.
        request.session[KEY] = [*messages, told]


def flashed(request: Request) -> list[dict[str, Any]]:
    """What was not shown yet; it counts as shown from now on."""
    messages: list[dict[str, Any]] = request.session.pop(KEY, []) if "session" in request.scope else []
    return messages


def short(title: str) -> str:
    """A row's title, fit for a message."""
    return title if len(title) <= MAX_TITLE_LENGTH else f"{title[: MAX_TITLE_LENGTH - 1]}…"
