"""The floor: the same SQL through bare asyncpg, the same rows through one plain template. Nothing else.

It looks the session up as the application does, but knows no roles, no forms and no errors.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
from jinja2 import DictLoader, Environment
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from admin_app.database import SERVER_SETTINGS
from admin_app.security.sessions import hash_token

SESSION = """
    SELECT u.id, u.email, u.name, u.role FROM auth_session s JOIN users u ON u.id = s.user_id
    WHERE s.token_hash = $1 AND s.last_seen_at > now() - interval '12 hours'
      AND s.created_at > now() - interval '7 days' AND u.is_active
"""
ROW = """
    SELECT p.id, p.name, p.description, p.price, p.is_active, p.owner_id, p.version, p.created_at,
           p.updated_at, u.email
    FROM products p JOIN users u ON u.id = p.owner_id WHERE p.id = $1
"""
environment = Environment(
    autoescape=True,
    loader=DictLoader(
        {
            "list": """<!doctype html><meta charset=utf-8><title>Products</title><p>{{ count }}</p><table>
{% for row in rows %}<tr><td><input type=checkbox name=ids value="{{ row.id }}">
<td><a href="/{{ row.id }}">{{ row.name }}</a><td>{{ row.price }}
<td>{{ "Active" if row.is_active else "Inactive" }}<td>{{ row.email }}
<td>{{ row.created_at }}<td>{{ row.updated_at }}</tr>{% endfor %}</table>""",
            "details": """<!doctype html><meta charset=utf-8><title>{{ row.name }}</title><dl>
{% for name, value in row.items() %}<dt>{{ name }}<dd>{{ value }}{% endfor %}</dl>""",
        }
    ),
)


def create_floor(url: str, statements: dict[str, list[tuple[str, list[Any]]]]) -> Starlette:
    """`/list/{case}` runs the statements the application was seen to send for that case."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with asyncpg.create_pool(
            url, min_size=10, max_size=10, server_settings=SERVER_SETTINGS
        ) as app.state.pool:
            yield

    async def show_list(request: Request) -> HTMLResponse:
        *before, (sql, parameters) = statements[request.path_params["case"]]
        async with request.app.state.pool.acquire() as connection:
            await connection.fetchrow(SESSION, hash_token(request.cookies["token"]))
            for statement in before:
                await connection.fetch(statement[0], *statement[1])
            rows = await connection.fetch(sql, *parameters)
        count = rows[0][-1] if rows else 0
        return HTMLResponse(environment.get_template("list").render(rows=rows, count=count))

    async def show_details(request: Request) -> HTMLResponse:
        async with request.app.state.pool.acquire() as connection:
            await connection.fetchrow(SESSION, hash_token(request.cookies["token"]))
            row = await connection.fetchrow(ROW, UUID(request.path_params["pk"]))
        return HTMLResponse(environment.get_template("details").render(row=row))

    return Starlette(
        routes=[Route("/list/{case}", show_list), Route("/details/{pk}", show_details)], lifespan=lifespan
    )
