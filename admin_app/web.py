"""The web process: one listening socket and uvicorn on it."""

import gc
import os
import socket

import uvicorn
from starlette.types import ASGIApp

from admin_app.config import ConfigurationError

BACKLOG = 2048
SHUTDOWN_SECONDS = 5


def listen(host: str, port: int) -> socket.socket:
    """A socket that is taken from now on. Raises ConfigurationError when it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Until SIGTERM or SIGINT; requests under way get a few seconds to finish."""
    # What is there now stays. Looking through it for garbage would stop every hundredth request for 0.1 s.
    gc.collect()
    gc.freeze()
    # Who may say where a request came from is uvicorn's own variable; without it nobody may.
    trusted_proxies = os.environ.get("FORWARDED_ALLOW_IPS")
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=trusted_proxies,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])
