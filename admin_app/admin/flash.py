"""Messages shown once, on the next page. They travel in a signed cookie of their own."""

from typing import Literal

from starlette.requests import Request

KEY = "_messages"
"""Where sqladmin's `get_flashed_messages` looks."""


def flash(request: Request, message: str, level: Literal["success", "warning"] = "success") -> None:
    """sqladmin's own `flash` appends to a nested list, unnoticed by the session: the second is lost."""
    messages = request.session.get(KEY, [])
    request.session[KEY] = [*messages, {"category": level, "title": "", "message": message}]
