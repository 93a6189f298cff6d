"""Chores: done in portions until nothing is left, by one at a time, and none keeps the others from theirs."""

import asyncio

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.database import Database
from admin_app.upkeep import LOCK, Upkeep
from tests.crash.waiting import eventually


class Dirt:
    """So many portions of something to do."""

    def __init__(self, portions: int) -> None:
        self.portions = portions

    async def clean(self, session: AsyncSession) -> int:
        await session.execute(select(1))
        self.portions -= 1
        return 1 if self.portions >= 0 else 0


async def failing(session: AsyncSession) -> int:
    raise RuntimeError("This chore never works.")


async def test_every_chore_is_done_to_its_end_whatever_becomes_of_the_others(database: Database) -> None:
    some, more = Dirt(3), Dirt(2)
    stop = asyncio.Event()
    running = asyncio.create_task(Upkeep(database, [some.clean, failing, more.clean]).run(stop))

    async def are_done() -> bool:
        return some.portions < 0 and more.portions < 0

    await eventually(are_done)
    stop.set()
    await running


async def test_what_somebody_else_is_at_is_left_to_them(database: Database) -> None:
    dirt = Dirt(1)
    upkeep = Upkeep(database, [])
    async with database.transaction() as session:
        await session.execute(select(func.pg_advisory_xact_lock(LOCK)))
        assert await upkeep.do(dirt.clean) == 0
    assert dirt.portions == 1
    assert await upkeep.do(dirt.clean) == 1
    assert dirt.portions == 0
