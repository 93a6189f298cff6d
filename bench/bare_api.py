"""A bare endpoint that answers what the API answers: what the API is held against.

Starlette, asyncpg's pool and msgspec, with one statement written by hand. It asks nobody who they are, checks
no parameter and has no pictures to look up: all that is the application's.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from admin_app.database import SERVER_SETTINGS

POOL_SIZE = 10
PAGE = 100

COLUMNS = "id, name, description, price, is_active, owner_id, images, version, created_at, updated_at"
ONE = f"SELECT {COLUMNS} FROM products WHERE deleted_at IS NULL AND id = $1"  # noqa: S608
MANY = f"""
    SELECT {COLUMNS} FROM products WHERE deleted_at IS NULL AND is_active
    ORDER BY created_at DESC, id DESC LIMIT $1
"""  # noqa: S608


class BareProduct(msgspec.Struct):
    id: UUID
    name: str
    description: str
    price: Decimal
    is_active: bool
    owner_id: UUID
    images: msgspec.Raw
    version: int
    created_at: datetime
    updated_at: datetime


class BarePage(msgspec.Struct):
    items: list[BareProduct]
    limit: int
    offset: int
    next: str | None
    previous: str | None


def create_bare(url: str) -> Starlette:
    """`GET /products/{id}` and `GET /products`."""
    encoder = msgspec.json.Encoder()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with asyncpg.create_pool(
            url, min_size=POOL_SIZE, max_size=POOL_SIZE, server_settings=SERVER_SETTINGS
        ) as app.state.pool:
            yield

    async def one(request: Request) -> Response:
        async with request.app.state.pool.acquire() as connection:
            row = await connection.fetchrow(ONE, UUID(request.path_params["id"]))
        return Response(encoder.encode(_bare(row)), media_type="application/json")

    async def many(request: Request) -> Response:
        async with request.app.state.pool.acquire() as connection:
            rows = await connection.fetch(MANY, PAGE)
        page = BarePage([_bare(row) for row in rows], PAGE, 0, None, None)
        return Response(encoder.encode(page), media_type="application/json")

    routes = [Route("/", lambda _: Response()), Route("/products/{id}", one), Route("/products", many)]
    return Starlette(routes=routes, lifespan=lifespan)


def _bare(row: asyncpg.Record) -> BareProduct:
    values = list(row)
    values[6] = msgspec.Raw(values[6].encode())
    return BareProduct(*values)
