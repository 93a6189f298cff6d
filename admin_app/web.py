"""The web process: one listening socket and uvicorn on it."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from admin_app.config import ConfigurationError
from admin_app.lifeline import END_SECONDS
from admin_app.web_protocol import WebProtocol

BACKLOG = 2048
SHUTDOWN_SECONDS = 20
"""So long requests under way may take yet. A second later the process has ended: see `lifeline`."""
UNREAD_SECONDS = 25
"""How long a client may leave an answer unread."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that is taken from now on. Raises ConfigurationError when it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host} port {port}: {error.strerror}. Choose another with --host and --port."
        ) from None
    return listener


class _Server(uvicorn.Server):
    """Ends without losing a request, however often it is told to."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None], drain_seconds: float) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own drops all requests at a second SIGINT, and afterwards dies of the signal it got.
        self.should_exit = True

    async def main_loop(self) -> None:
        await super().main_loop()
        self._on_stop()
        await asyncio.sleep(self._drain_seconds)
        signal.alarm(END_SECONDS)


def serve(
    app: ASGIApp,
    listener: socket.socket,
    refusal_headers: Mapping[str, str] | None = None,
    *,
    drain_seconds: float = 0,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Until SIGTERM or SIGINT: then it calls `on_stop`, and every answer closes its connection.

    For `drain_seconds` it goes on, so that whoever balances loads can go elsewhere. Afterwards nobody is let
    in any more, and requests under way get SHUTDOWN_SECONDS.
    What the server itself refuses, before there is a request for the application, carries `refusal_headers`.
    """
    # What is there now stays. Looking through it for garbage would stop every hundredth request for 0.1 s.
    gc.collect()
    gc.freeze()
    protocol: Any = partial(  # uvicorn asks for a class
        WebProtocol, refusal_headers=refusal_headers or {}, is_stopping=lambda: server.should_exit
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `security/proxies.py` does that
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server: _Server = _Server(config, on_stop, drain_seconds)
    server.run(sockets=[listener])
