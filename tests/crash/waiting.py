"""Waiting for a condition instead of sleeping and hoping."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from sqlalchemy import text

from admin_app.database import Database


async def eventually(condition: Callable[[], Awaitable[bool]], *, within_seconds: float = 20) -> None:
    """Wait for a condition, looking often."""
    deadline = monotonic() + within_seconds
    while not await condition():
        assert monotonic() < deadline, f"not within {within_seconds} s: {condition}"
        await asyncio.sleep(0.02)


async def waits_or_ends(task: "asyncio.Task[Any]", database: Database) -> None:
    """Until the task waits for a lock in PostgreSQL, or has not had to."""

    async def does() -> bool:
        async with database.reading() as session:
            waiting = await session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            return task.done() or bool(waiting)

    await eventually(does)
