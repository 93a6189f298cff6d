"""A database that is there and does not answer: nobody waits for ever, and it is used again when it does."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from admin_app import app, glances
from admin_app.config import Settings
from admin_app.database import Database
from tests.api.conftest import MakeToken
from tests.conftest import Cast, browser

PATIENCE = 0.5


@asynccontextmanager
async def frozen(database: Database) -> AsyncIterator[None]:
    """Every connection to the database but one of this one's own."""
    others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with database.transaction() as session:
        pids = list(await session.scalars(text(others)))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


async def test_pages_and_the_api_say_so_and_come_back(
    settings: Settings,
    cast: Cast,
    database: Database,
    make_token: MakeToken,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "ANSWER_SECONDS", PATIENCE)
    monkeypatch.setattr(glances, "GRACE_SECONDS", PATIENCE - 2)
    token = {"Authorization": f"Bearer {await make_token('alice')}"}
    website = app.create_app(settings)
    try:
        async with browser(website) as client:
            assert (await client.get("/api/v1/products/", headers=token)).status_code == 200
            assert (await client.get("/api/v1/users/me", headers=token)).status_code == 200
            async with frozen(database), asyncio.timeout(20):
                for path in ("/api/v1/products/", "/api/v1/users/me"):
                    response = await client.get(path, headers=token)
                    assert response.status_code == 503
                    assert int(response.headers["retry-after"]) > 0

            for path in ("/api/v1/products/", "/api/v1/users/me"):
                async with asyncio.timeout(20):
                    while (await client.get(path, headers=token)).status_code != 200:
                        pass  # each try takes its time
    finally:
        await website.state.throttle.close()
        await website.state.database.close()
