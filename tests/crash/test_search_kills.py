"""A rebuild of the search index that is killed goes on, and ends with the index as the products are."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import psutil
import pytest
from sqlalchemy import select

from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from tests.bulk.operations import make_products
from tests.conftest import Cast, MakeProduct
from tests.crash.conftest import ROOT
from tests.deliveries import work
from tests.search.test_rebuild import NOTHING, compared

PRODUCTS = 1000


class Rebuilding:
    """The process, and what it said last."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def reaches(self, stage: str, done: int = 0) -> None:
        async with asyncio.timeout(60):
            while True:
                said = (await self._line()).rsplit(" ", 1)
                assert len(said) == 2, "it ended before"
                if said[0] == stage and int(said[1]) >= done:
                    return

    async def first(self) -> int:
        """How far it was when it began or went on."""
        return int((await self._line()).rsplit(" ", 1)[1])

    async def is_killed(self) -> int:
        """Its exit code."""
        with suppress(ProcessLookupError):
            self._process.kill()
        return await self._process.wait()

    async def ends(self) -> None:
        await asyncio.wait_for(self._process.communicate(), 60)
        assert self._process.returncode == 0

    async def _line(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def rebuilding(settings: Settings) -> AsyncIterator[Rebuilding]:
    variables = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.crash.rebuild"),
        **{"cwd": ROOT, "env": variables, "stdout": asyncio.subprocess.PIPE},
    )
    try:
        yield Rebuilding(process)
    finally:
        if process.returncode is None:
            psutil.Process(process.pid).kill()
            await process.wait()


async def change_some(database: Database, cast: Cast, make_product: MakeProduct) -> None:
    """A new product, a changed one and one that is deleted."""
    await make_product(cast.alice, name="Later")
    async with database.transaction() as session:
        ids: list[UUID] = list(
            await session.scalars(select(Product.id).where(Product.deleted_at.is_(None)).limit(PRODUCTS))
        )
        changed, gone = random.sample(ids, 2)
        service = ProductService(session, cast.root)
        await service.update(changed, ProductUpdate(name=f"Changed {random.random()}"))
        await service.delete(gone)
    await work(database)


async def test_it_goes_on_after_each_kill_and_takes_along_what_was_saved(
    settings: Settings, database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    await make_products(database, cast.alice, PRODUCTS)
    killed_at = sorted(random.sample(range(20, PRODUCTS // 2), 3))
    at_least = 0
    for number in killed_at:
        async with rebuilding(settings) as process:
            assert await process.first() >= at_least
            await process.reaches("Writing", number)
            await change_some(database, cast, make_product)
            await asyncio.sleep(random.uniform(0, 0.1))  # anywhere in the chunk
            assert await process.is_killed() == -signal.SIGKILL
        at_least = number
        await change_some(database, cast, make_product)
    async with rebuilding(settings) as process:
        assert await process.first() >= at_least
        await process.ends()
    await work(database)
    assert await compared(database, 500) == NOTHING


@pytest.mark.parametrize("stage", ["Completing", "Changing over"])
async def test_it_may_be_killed_at_any_moment_of_its(
    stage: str, settings: Settings, database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    await make_products(database, cast.alice, 60)
    for _ in range(4):
        async with rebuilding(settings) as process:
            await process.reaches(stage)
            await asyncio.sleep(random.uniform(0, 0.1))
            assert await process.is_killed() in {-signal.SIGKILL, 0}
        await change_some(database, cast, make_product)
        async with database.reading() as session:
            assert await ProductService(session, cast.sam).search_products("later") != []
    async with rebuilding(settings) as process:
        await process.ends()
    assert await compared(database, 500) == NOTHING
