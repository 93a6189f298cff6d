"""Scripts of the cast: clients of the API with an access token each."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from admin_app.actor import Actor
from admin_app.app import Website
from admin_app.database import Database
from admin_app.security.sessions import hash_token
from admin_app.security.tokens import AccessToken, Scope, new_token
from tests.conftest import Cast

MISSING = "01980000-0000-7000-8000-000000000000"
"""An id that was never given out."""

MakeToken = Callable[..., Awaitable[str]]
Call = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
def make_token(database: Database, cast: Cast) -> MakeToken:
    """`await make_token("alice", scope=..., days=...)`: the text of a new token of hers."""

    async def make(name: str, scope: Scope = Scope.WRITE, days: float = 1) -> str:
        actor: Actor = getattr(cast, name)
        text = new_token()
        expires_at = datetime.now(UTC) + timedelta(days=days)
        async with database.transaction() as session:
            session.add(
                AccessToken(
                    user_id=actor.id,
                    name="a script",
                    token_hash=hash_token(text),
                    scope=scope,
                    expires_at=expires_at,
                )
            )
        return text

    return make


def script(website: Website, token: str | None = None) -> httpx.AsyncClient:
    """Not a browser: it sends nothing it is not told to."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(website, raise_app_exceptions=False),
        base_url="http://127.0.0.1:8000/api/v1",
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )


@pytest.fixture
async def call(website: Website, make_token: MakeToken) -> AsyncIterator[Call]:
    """`await call("alice")`: a client with a token of hers. "nobody" has none."""
    async with AsyncExitStack() as stack:

        async def call(name: str, scope: Scope = Scope.WRITE) -> httpx.AsyncClient:
            token = await make_token(name, scope) if name != "nobody" else None
            return await stack.enter_async_context(script(website, token))

        yield call
