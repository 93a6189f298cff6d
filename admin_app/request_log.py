"""The id of every request, in whatever is said and written in its course; and a line about each."""

import logging
import time
from collections.abc import Collection
from contextlib import suppress
from uuid import UUID, uuid4

from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from admin_app.security.proxies import Network, parse

HEADER = "X-Request-ID"
QUIET = frozenset({"/live", "/ready", "/metrics", "/admin/statics/{file}"})
"""Asked for all the time: they are said at DEBUG."""

logger = logging.getLogger(__name__)


class RequestLogMiddleware:
    """Outside everything, where `scope["client"]` is still who is connected.

    An id that a trusted proxy gave is kept. Addresses are said as their routes are declared: what stands
    in them, or behind a question mark, may be nobody's business.
    """

    def __init__(self, app: ASGIApp, trusted_proxies: Collection[Network] = ()) -> None:
        self._app = app
        self._networks = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(self._given(scope) or uuid4())
        header = (HEADER.lower().encode(), request_id.encode())
        status, size, began = None, 0, time.perf_counter()

        async def counting_send(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            else:
                size += len(message.get("body", b""))
            await send(message)

        bound = bind_contextvars(
            request_id=request_id, method=scope["method"], route=_Route(scope), actor_id=None
        )
        try:
            await self._app(scope, receive, counting_send)
        finally:
            level = logging.DEBUG if route_of(scope) in QUIET else logging.INFO
            if logger.isEnabledFor(level):
                took = round((time.perf_counter() - began) * 1000, 1)
                logger.log(level, "answered", extra={"status": status, "milliseconds": took, "bytes": size})
            reset_contextvars(**bound)

    def _given(self, scope: Scope) -> UUID | None:
        """The id a proxy of ours gave; None for anybody else's, and for what is no UUID."""
        client = scope.get("client")
        peer = parse(client[0]) if self._networks and client else None
        if peer is None or not any(peer in network for network in self._networks):
            return None
        given = Headers(scope=scope).getlist(HEADER)
        with suppress(ValueError):
            if len(given) == 1 and str(UUID(given[0])) == given[0].lower():
                return UUID(given[0])
        return None


def route_of(scope: Scope) -> str:
    """The address as its route is declared; "" where there is none, or not yet."""
    route = scope.get("route")
    return f"{scope.get('root_path', '')}{route.path}" if isinstance(route, Route) else ""


class _Route:
    """Bound when the request comes, and read when something is said: in between it finds its way."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __repr__(self) -> str:
        return route_of(self._scope)
