"""The web process: one listening socket and uvicorn on it."""

import gc
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from admin_app.config import ConfigurationError
from admin_app.web_protocol import WebProtocol

BACKLOG = 2048
SHUTDOWN_SECONDS = 5
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


def serve(app: ASGIApp, listener: socket.socket, refusal_headers: Mapping[str, str] | None = None) -> None:
    """Until SIGTERM or SIGINT; requests under way get a few seconds to finish.

    What the server itself refuses, before there is a request for the application, carries `refusal_headers`.
    """
    # What is there now stays. Looking through it for garbage would stop every hundredth request for 0.1 s.
    gc.collect()
    gc.freeze()
    protocol: Any = partial(WebProtocol, refusal_headers=refusal_headers or {})  # uvicorn asks for a class
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
    uvicorn.Server(config).run(sockets=[listener])
