"""Waiting for a condition instead of sleeping and hoping."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from sqlalchemy import text

from admin_app.database import Database

PATIENCE_SECONDS = 60  # for what takes one or two; machines can be busy


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, looking often."""
    deadline = monotonic() + PATIENCE_SECONDS
    while not await condition():
        assert monotonic() < deadline, f"still not so: {condition}"
        await asyncio.sleep(0.02)


async def waits_or_ends(task: "asyncio.Task[Any]", database: Database) -> None:
    """Until the task waits for a lock in PostgreSQL, or has not had to."""

    async def does() -> bool:
        async with database.reading() as session:
            waiting = await session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            return task.done() or bool(waiting)

    await eventually(does)
