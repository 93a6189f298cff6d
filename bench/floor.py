"""The floor: what no page on this machine can beat by much, and what the application is held against.

A bare Starlette endpoint runs the very statements the application was seen to send for the same address
(the look-up of the session among them), through asyncpg, and renders all it found with one plain Jinja
template. It knows no roles, no forms and no errors. What is honest about it:

- The same server on the same settings (uvicorn, httptools, uvloop), a process of its own, the same size
  of pool, the same PostgreSQL settings, and the same compression of its answers.
- Statements that only read run without a transaction around them; those of a save in one, as they did.
- asyncpg's pool is used as it comes: it resets a connection that is given back, one round trip, where
  SQLAlchemy sends BEGIN and ROLLBACK, two.
- The floor's page is smaller than the application's, which pays for its menu, form and links itself.
- A save repeats the statements of a recorded one on another product, with a version that goes on and the
  event id of this time; other values stay, which costs PostgreSQL the same.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from jinja2 import DictLoader, Environment
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route

from admin_app.admin.compression import CompressionMiddleware
from admin_app.database import SERVER_SETTINGS

POOL_SIZE = 10
PAGE = """<!doctype html><html lang=en><meta charset=utf-8><title>Rows</title><table>
{% for row in rows %}<tr><td><a href="/{{ row[0] }}">Open</a>{% for value in row %}<td>{{ value }}{% endfor %}
{% endfor %}</table>"""
environment = Environment(autoescape=True, loader=DictLoader({"page": PAGE}))


class Statement(NamedTuple):
    sql: str
    parameters: list[Any]


class Script(NamedTuple):
    """What the floor does: statements by page, and those of two saves of one product, one after the other."""

    reads: dict[str, list[Statement]]
    saves: tuple[list[Statement], list[Statement]]


def create_floor(url: str, script: Script) -> Starlette:
    """`GET /{page}` and `POST /save`."""
    replays = count(1)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with asyncpg.create_pool(
            url, min_size=POOL_SIZE, max_size=POOL_SIZE, server_settings=SERVER_SETTINGS
        ) as app.state.pool:
            yield

    async def read(request: Request) -> HTMLResponse:
        async with request.app.state.pool.acquire() as connection:
            _session, *results = [
                await connection.fetch(sql, *parameters)
                for sql, parameters in script.reads[request.path_params["page"]]
            ]
        # Others answer how many there are, or which owners a search means.
        rows = max(results, key=lambda found: len(found[0]) if found else 0, default=[])
        return HTMLResponse(environment.get_template("page").render(rows=rows))

    async def save(request: Request) -> RedirectResponse:
        await request.form()
        earlier, (look_up, *changes) = script.saves
        replay, event_id = next(replays), None
        async with request.app.state.pool.acquire() as connection:
            await connection.fetch(look_up.sql, *look_up.parameters)
            async with connection.transaction():
                for (sql, parameters), before in zip(changes, earlier[1:], strict=True):
                    refers_to = event_id if sql.startswith("INSERT INTO delivery ") else None
                    values = [
                        _as_now(new, old, replay, refers_to)
                        for new, old in zip(parameters, before.parameters, strict=True)
                    ]
                    found = await connection.fetch(sql, *values)
                    if sql.startswith("INSERT INTO event "):
                        event_id = found[0]["id"]
        return RedirectResponse("/", status_code=303)

    return Starlette(
        routes=[Route("/save", save, methods=["POST"]), Route("/{page}", read)],
        lifespan=lifespan,
        middleware=[Middleware(CompressionMiddleware)],
    )


def _as_now(new: Any, old: Any, replay: int, event_id: UUID | None) -> Any:
    """A recorded value as this replay must send it; `old` is what the save before sent in its place."""
    if new != old and isinstance(new, int):
        return new + replay
    if new != old and isinstance(new, UUID) and event_id is not None:
        return event_id
    return new
