"""Both sides in one process, on two ports: the application, and the floor with the statements it is to run.

`python -m bench.server URL APP_PORT FLOOR_PORT` reads the floor's statements, pickled, from standard input.
"""

import asyncio
import pickle
import sys
import time
from contextvars import ContextVar

import uvicorn
from sqlalchemy import event
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_app.app import create_app
from admin_app.config import Settings
from bench.data import dsn
from bench.floor import create_floor

SPENT: ContextVar[list[float]] = ContextVar("SPENT")
HEADER = b"x-sql"
"""How many statements a request took, and their milliseconds, separated by a space."""


def counting(app: ASGIApp) -> ASGIApp:
    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        spent: list[float] = []
        SPENT.set(spent)

        async def send_with_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                value = f"{len(spent)} {sum(spent) * 1000:.2f}".encode()
                message["headers"] = [*message["headers"], (HEADER, value)]
            await send(message)

        await app(scope, receive, send_with_count)

    return counted


def main() -> None:
    url, app_port, floor_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    statements = pickle.load(sys.stdin.buffer)  # noqa: S301  # from our own parent
    app = create_app(Settings(database_url=url, secret_key="b" * 32, _env_file=None))  # type: ignore[call-arg]
    engine = app.state.database.engine.sync_engine
    event.listen(
        engine, "before_cursor_execute", lambda *a: setattr(a[4], "bench_start", time.perf_counter())
    )
    event.listen(
        engine,
        "after_cursor_execute",
        lambda *a: SPENT.get([]).append(time.perf_counter() - a[4].bench_start),
    )
    asyncio.run(_serve({app_port: counting(app), floor_port: create_floor(dsn(url), statements)}))


async def _serve(apps: dict[int, ASGIApp]) -> None:
    servers = [
        uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", access_log=False, loop="uvloop"))
        for port, app in apps.items()
    ]
    await asyncio.gather(*(server.serve() for server in servers))


if __name__ == "__main__":
    main()
