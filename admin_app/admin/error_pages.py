"""Every error a person can meet, as a page: one sentence, the right status, never SQL or a trace."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from admin_app.failures import failure_of

Render = Callable[[Request, int, str], Awaitable[Response]]


async def respond(render: Render, request: Request, error: Exception) -> Response:
    """The page for an error."""
    failure = failure_of(request, error)
    response = await render(request, failure.status, failure.message)
    response.headers.update(failure.headers)
    return response
