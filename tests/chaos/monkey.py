"""The monkey: kills and freezes one part after the other, and measures how long each takes to recover."""

import asyncio
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import psutil
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.domains.products.events import ProductIndexRequested
from admin_app.outbox import Delivery, OutboxBus, RecordedEvent
from tests.chaos.client import POLL_SECONDS, Browser
from tests.chaos.ledger import Ledger
from tests.chaos.stage import Stage, freeze, thaw

FROZEN_SECONDS = (1.0, 8.0)
PAUSE_SECONDS = (0.5, 3.0)
WORK_SECONDS = 3
MOMENT_SECONDS = 0.05
RECOVERY_SECONDS = 90
ANSWERS = "/admin/product/list"


@dataclass(frozen=True)
class Blow:
    target: str
    means: str

    def __str__(self) -> str:
        return f"{self.means} {self.target}"


KILLS = tuple(Blow(target, "kill") for target in ("serve", "relay", "worker", "valkey", "postgres"))
FREEZES = tuple(Blow(blow.target, "freeze") for blow in KILLS)
BLOWS = (*KILLS, *FREEZES, Blow("postgres", "quit"))
"""A postmaster that is killed leaves its children to notice; one that gets SIGQUIT ends them at once."""


@dataclass
class Monkey:
    stage: Stage
    database: Database
    browser: Browser
    """To ask with, as somebody who is signed in."""
    ledger: Ledger
    chance: random.Random
    recoveries: dict[Blow, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def rage(self, seconds: float) -> None:
        """For so long, each blow about as often as any other; all is well afterwards."""
        deadline = time.monotonic() + seconds
        for blow in self._endless():
            if time.monotonic() >= deadline:
                return
            await self.strike(blow)
            await asyncio.sleep(self.chance.uniform(*PAUSE_SECONDS))

    async def strike(self, blow: Blow) -> None:
        try:
            await self._hit(blow)
        except (psutil.Error, OSError, ValueError):  # it is just starting
            return
        began = time.monotonic()
        if await self.well():
            self.recoveries[blow].append(time.monotonic() - began)
        else:
            self.ledger.fault(f"not well {RECOVERY_SECONDS} s after: {blow}")

    async def well(self) -> bool:
        """Every web process answers, and what is recorded now is done; False if that takes too long."""
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                for port in self.stage.ports:
                    await self.browser.wait_for(port, ANSWERS)
                await self._wait_for_effect()
        except TimeoutError:
            return False
        return True

    def _endless(self) -> Iterator[Blow]:
        while True:
            yield from self.chance.sample(BLOWS, len(BLOWS))

    async def _hit(self, blow: Blow) -> None:
        parts = self.stage.those(blow.target)
        part = self.chance.choice(parts) if parts else None
        process = part.process if part else self.stage.server(blow.target)
        await self._wait_for_work(part.port if part else None)
        match blow.means:
            case "kill":
                process.send_signal(signal.SIGKILL)
            case "quit":
                process.send_signal(signal.SIGQUIT)
            case _:
                frozen = freeze(process)
                await asyncio.sleep(self.chance.uniform(*FROZEN_SECONDS))
                thaw(frozen)

    async def _wait_for_work(self, port: int | None) -> None:
        """Until somebody is just saving something, there or anywhere, and a moment longer."""
        busy = self.ledger.under_way
        with suppress(TimeoutError):
            async with asyncio.timeout(WORK_SECONDS):
                while not (busy[port] if port else busy.total()):  # noqa: ASYNC110  # there is no event
                    await asyncio.sleep(0.002)
        await asyncio.sleep(self.chance.uniform(0, MOMENT_SECONDS))

    async def _wait_for_effect(self) -> None:
        """Of an event about no product at all, whose delivery goes the way of all others."""
        event_id: UUID | None = None
        while True:
            with suppress(SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                event_id = event_id or await self._recorded()
                async with self.database.reading() as session:
                    done = select(Delivery.done_at).where(Delivery.event_id == event_id)
                    if await session.scalar(done) is not None:
                        return
            await asyncio.sleep(POLL_SECONDS)

    async def _recorded(self) -> UUID | None:
        actor = Actor.system()
        async with self.database.transaction() as session:
            OutboxBus(session, actor).publish(ProductIndexRequested(()))
            await session.flush()
            mine = RecordedEvent.request_id == actor.request_id
            return await session.scalar(select(RecordedEvent.id).where(mine))
