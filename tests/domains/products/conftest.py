"""The product service as somebody, in a transaction of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.domains.products.service import ProductService

Products = Callable[[Actor], AbstractAsyncContextManager[ProductService]]


@pytest.fixture
def products(database: Database) -> Products:
    """`async with products(actor) as service`: committed at the end of the block."""

    @asynccontextmanager
    async def acting(actor: Actor) -> AsyncIterator[ProductService]:
        async with database.transaction() as session:
            yield ProductService(session, actor)

    return acting
