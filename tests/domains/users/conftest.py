"""The user service as somebody, in a transaction of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.domains.users.service import UserService

Users = Callable[[Actor], AbstractAsyncContextManager[UserService]]


@pytest.fixture
def users(database: Database) -> Users:
    """`async with users(actor) as service`: committed at the end of the block."""

    @asynccontextmanager
    async def acting(actor: Actor) -> AsyncIterator[UserService]:
        async with database.transaction() as session:
            yield UserService(session, actor)

    return acting
