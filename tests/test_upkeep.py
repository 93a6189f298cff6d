"""Chores: done in portions until nothing is left, by one at a time, and none keeps the others from theirs."""

import asyncio

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.database import Database
from admin_app.upkeep import CHORES, LOCK, ChoreRun, Upkeep, schedule
from tests.admin.rows import every
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
    chores = {"some": some.clean, "failing": failing, "more": more.clean}
    running = asyncio.create_task(Upkeep(database, chores).run(stop))

    async def are_done() -> bool:
        return len(await every(database, ChoreRun)) == 3

    await eventually(are_done)
    stop.set()
    await running
    found = {run.name: (run.rows, run.error) for run in await every(database, ChoreRun)}
    assert found == {
        "some": (3, None),
        "failing": (0, "RuntimeError: This chore never works."),
        "more": (2, None),
    }
    assert all(run.took_seconds > 0 for run in await every(database, ChoreRun))


async def test_what_somebody_else_is_at_is_left_to_them(database: Database) -> None:
    dirt = Dirt(1)
    upkeep = Upkeep(database, {"dirt": dirt.clean})
    async with database.transaction() as session:
        await session.execute(select(func.pg_advisory_xact_lock(LOCK)))
        assert await upkeep.do(dirt.clean) is None
        await upkeep.round("dirt", asyncio.Event())
    assert dirt.portions == 1
    assert await every(database, ChoreRun) == []
    assert await upkeep.do(dirt.clean) == 1
    assert dirt.portions == 0


async def test_a_round_replaces_the_one_before_and_the_schedule_knows_all_chores(database: Database) -> None:
    [name, *others] = database.info[CHORES]
    dirt = Dirt(2)
    upkeep = Upkeep(database, {name: dirt.clean})
    for rows in (2, 0):
        await upkeep.round(name, asyncio.Event())
        [run] = await every(database, ChoreRun)
        assert (run.name, run.rows) == (name, rows)
    async with database.reading() as session:
        found = await schedule(session)
    assert [item[0] for item in found] == [name, *others]
    assert [item[1] is not None for item in found] == [True, *(False for _ in others)]
