"""The website on its real server, less patient: `python -m tests.web_process [FD]`, which prints its port.

What to connect to comes from the environment, as for the application itself; FD is a socket that listens.
Beside the application it has /slow, which answers after SLOW_SECONDS, /stream, whose pieces take as long
together, /large, whose answer no buffer holds, and /boom, which fails.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import typer
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from admin_app import web, web_protocol
from admin_app.app import create_app
from admin_app.config import load_settings
from admin_app.security import body_limit
from admin_app.security.headers import security_headers
from tests.security.responses import add_failing_pages

HEAD_SECONDS = STALL_SECONDS = 1.0
LINGER_SECONDS = 0.5
UNREAD_SECONDS = 1
SLOW_SECONDS = 1.5
LARGE_BYTES = 50_000_000
PIECES = 15


async def _slow(_request: Request) -> Response:
    typer.echo("slow")
    await asyncio.sleep(SLOW_SECONDS)
    return PlainTextResponse("done")


async def _pieces() -> AsyncIterator[bytes]:
    for _ in range(PIECES):
        yield b"piece"
        await asyncio.sleep(SLOW_SECONDS / PIECES)


async def _stream(_request: Request) -> Response:
    return StreamingResponse(_pieces())


async def _large(_request: Request) -> Response:
    return PlainTextResponse("x" * LARGE_BYTES)


if __name__ == "__main__":
    web_protocol.HEAD_SECONDS, web_protocol.LINGER_SECONDS = HEAD_SECONDS, LINGER_SECONDS
    body_limit.STALL_SECONDS = STALL_SECONDS
    web.UNREAD_SECONDS = UNREAD_SECONDS
    settings = load_settings()
    app = create_app(settings)
    add_failing_pages(app)
    app.router.routes[:0] = [Route("/slow", _slow), Route("/stream", _stream), Route("/large", _large)]
    with socket.socket(fileno=int(sys.argv[1])) if sys.argv[1:] else web.listen("127.0.0.1", 0) as listener:
        typer.echo(listener.getsockname()[1])
        web.serve(
            app,
            listener,
            security_headers(is_https=settings.is_https),
            drain_seconds=settings.drain_seconds,
            on_stop=app.note_end,
        )
