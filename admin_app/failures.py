"""What a request that fails is told, by page or API: a status and one sentence, never SQL or a trace."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_app.errors import AppError, NotFound
from admin_app.request_log import route_of

UNAVAILABLE = "The database cannot be reached right now. Nothing was changed; try again in a moment."
BUSY = "Somebody else was changing the same rows. Nothing was changed; try again."
RACE_STATES = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock not available
GONE_STATES = ("08", "53", "57P")  # connection lost, out of resources, shutting down or starting up
RETRY_SECONDS = 5

Respond = Callable[[Request, Exception], Awaitable[Response]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """`incident` names a fault of ours in the log."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    incident: UUID | None = None


def failure_of(request: Request, error: Exception) -> Failure:
    """What to answer. A fault of ours is logged with an id, and the answer names only the id."""
    explained = explain(error)
    if explained is None:
        incident = uuid4()
        logger.error(
            "incident %s at %s %s", incident, request.method, route_of(request.scope), exc_info=error
        )
        message = f"Something went wrong on our side. Nothing was changed. Incident {incident}."
        return Failure(500, message, incident=incident)
    status, message = explained
    # Such as Allow, which a 405 must carry (RFC 9110, 15.5.6).
    headers = dict(error.headers or {}) if isinstance(error, HTTPException | AppError) else {}
    if status == 503:
        logger.warning("%s %s: %s", request.method, route_of(request.scope), type(error).__name__)
        headers.setdefault("Retry-After", str(RETRY_SECONDS))
    return Failure(status, message, headers)


def explain(error: Exception) -> tuple[int, str] | None:
    """Status and sentence for an error people can do something about; None for a fault of ours."""
    match error:
        case AppError():
            return error.status, error.message
        case HTTPException(status_code=404):
            return 404, NotFound().message
        case HTTPException(status_code=405):
            return 405, "This address cannot be used in this way."
        case HTTPException():
            return error.status_code, error.detail
        case ClientDisconnect():
            return 400, "The request ended before it was complete."
        case PoolTimeout():
            return 503, "Too many people are using this right now. Try again in a moment."
        case DBAPIError():
            state = str(getattr(error.orig, "sqlstate", None) or "")
            if state in RACE_STATES:
                return 409, BUSY
            is_gone = error.connection_invalidated or isinstance(error, InterfaceError | OperationalError)
            if is_gone or state.startswith(GONE_STATES):
                return 503, UNAVAILABLE
            return None
        case (
            asyncpg.InterfaceError() | asyncpg.PostgresConnectionError() | asyncpg.OperatorInterventionError()
        ):
            return 503, UNAVAILABLE
        case OSError():
            # asyncpg lets a refused or broken connection through as it is.
            return 503, UNAVAILABLE
        case _:
            return None


class ErrorsMiddleware:
    """Catches whatever the layers inside raise, middleware included, before the server sees it."""

    def __init__(self, app: ASGIApp, respond: Respond) -> None:
        self._app = app
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except Exception as error:
            # The outermost edge: nothing behind it could answer.
            if started:
                raise
            response = await self._respond(Request(scope, receive), error)
            await response(scope, receive, send)
