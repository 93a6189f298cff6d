"""One side in a process of its own: the application, or the floor with the statements it is to run.

`python -m bench.server app|bare|floor|api|bare-api URL PORT`; bare is the application that writes no history,
the floor reads its statements, pickled, from standard input, api is the application as it is, and bare-api
what that is held against.
Both are served by the application's own `web.serve`.
"""

import pickle
import sys
import time
from contextvars import ContextVar
from typing import Any

from sqlalchemy import event
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_app import audit, web
from admin_app.app import create_app
from admin_app.database import Base
from bench.bare_api import create_bare
from bench.client import HOST
from bench.data import dsn, settings_for
from bench.floor import create_floor

SPENT: ContextVar[list[float]] = ContextVar("SPENT")
HEADER = "x-sql"
"""How many statements a request took, their milliseconds, and those of the slowest, separated by spaces."""


def counting(app: ASGIApp) -> ASGIApp:
    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        spent: list[float] = []
        SPENT.set(spent)

        async def send_with_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                value = f"{len(spent)} {sum(spent) * 1000:.2f} {max(spent, default=0) * 1000:.2f}"
                message["headers"] = [*message["headers"], (HEADER.encode(), value.encode())]
            await send(message)

        await app(scope, receive, send_with_count)

    return counted


def application(url: str) -> ASGIApp:
    """The application, saying of each answer what it cost in SQL."""
    app = create_app(settings_for(url))
    engine = app.state.database.engine.sync_engine
    event.listen(
        engine, "before_cursor_execute", lambda *a: setattr(a[4], "bench_start", time.perf_counter())
    )
    event.listen(
        engine,
        "after_cursor_execute",
        lambda *a: SPENT.get([]).append(time.perf_counter() - a[4].bench_start),
    )
    return counting(app)


def forget_history() -> None:
    """From now on changes are still found out, for the events are about them, but not written down."""

    def found_out(
        _session: Any, _actor: Any, _action: str, row: Base, before: Any = None, **_rest: Any
    ) -> dict[str, list[Any]]:
        return audit.diff(type(row), before, audit.snapshot(row))

    audit.record = found_out


if __name__ == "__main__":
    side, url, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if side == "bare":
        forget_history()
    match side:
        case "floor":
            app: ASGIApp = create_floor(dsn(url), pickle.load(sys.stdin.buffer))  # noqa: S301
        case "bare-api":
            app = create_bare(dsn(url))
        case "api":
            app = create_app(settings_for(url).model_copy(update={"api_rate_limit": "1000000/second"}))
        case _:
            app = application(url)
    with web.listen(HOST, port) as listener:
        web.serve(app, listener)
