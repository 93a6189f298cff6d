"""A bulk operation on a tenth of the products, against the same change as one statement; and who feels it.

Everything happens in a copy of the database, which is dropped afterwards.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import psutil
from sqlalchemy.engine import make_url

from admin_app.actor import Actor, Role, Source
from admin_app.bulk.models import BulkOperation, State
from admin_app.bulk.runner import BulkRunner
from admin_app.bulk.service import OperationService
from admin_app.database import Database
from admin_app.domains import find_role, open_database
from bench.cases import PRODUCTS
from bench.client import Client
from bench.data import NEWEST, SECONDS_BETWEEN, SUPERUSER, dsn, settings_for
from bench.measure import serving

ROUNDS = 3
PAGES = 200
STARTING_SECONDS = 3
PAUSE_SECONDS = 0.02
"""Between two pages of whoever works beside the operation."""

FLOOR = """
    WITH changed AS (
        UPDATE products SET is_active = NOT $3, version = version + 1, updated_at = now()
        WHERE created_at >= $1 AND is_active = $3 AND deleted_at IS NULL
        RETURNING id, new.version, jsonb_build_array(old.is_active, new.is_active) AS pair
    ), history AS (
        INSERT INTO audit_entry (actor_label, source, request_id, operation_id, action, kind, row_id, changes)
        SELECT 'floor', 'bulk', $2, $2, 'updated', 'product', id, jsonb_build_object('is_active', pair)
        FROM changed
    )
    INSERT INTO bulk_item (operation_id, row_id, version, outcome) SELECT $2, id, version, 1 FROM changed
"""


@dataclass
class Bulk:
    """Seconds, but for the pages' p95 in milliseconds and the worker's megabytes."""

    rows: int = 0
    runs: list[float] = field(default_factory=list)
    undos: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)
    all_rows: int = 0
    asking: float = 0
    confirming: float = 0
    freezing: float = 0
    with_worker: float = 0
    idle_p95: float = 0
    busy_p95: float = 0
    worker_before: float = 0
    worker_most: float = 0

    @property
    def ratio(self) -> float:
        return statistics.median(self.runs) / statistics.median(self.floors)


async def measure(url: str, redis_url: str, token: str, products: int) -> Bulk:
    found = Bulk()
    async with copy_of(url, "bulk") as copied:
        database = open_database(settings_for(copied))
        try:
            operator = await Operator.of(database)
            since = NEWEST - timedelta(seconds=SECONDS_BETWEEN * products // 10)
            query = f"created_from={since.date()}"
            connection = await asyncpg.connect(dsn(copied), server_settings={"jit": "off"})
            for _ in range(ROUNDS):
                operation, seconds = await operator.complete(await operator.begin(query))
                found.runs.append(seconds)
                found.rows = await operator.done(operation)
                found.undos.append((await operator.complete(await operator.begin_undo(operation)))[1])
                midnight = since.replace(hour=0, minute=0, second=0)
                started = time.perf_counter()
                await connection.execute(FLOOR, midnight, uuid4(), True)
                found.floors.append(time.perf_counter() - started)
                # Back again, but only what was active: the rest is left as the engine finds it.
                await operator.reset(connection, midnight)
            await connection.close()
            await _all_rows(operator, found)
            with (
                serving(copied, redis_url) as (port, _),
                running("relay", copied, redis_url),
                running("worker", copied, redis_url) as worker,
                Client(port, token) as client,
            ):
                await _beside_others(operator, found, client, worker, query)
        finally:
            await database.close()
    return found


@dataclass(frozen=True)
class Operator:
    """A superuser who deactivates products."""

    database: Database
    actor: Actor

    @classmethod
    async def of(cls, database: Database) -> "Operator":
        async with database.reading() as session:
            connection = await session.connection()
            user_id = (
                await connection.exec_driver_sql("SELECT id FROM users WHERE email = $1", (SUPERUSER,))
            ).scalar_one()
        return cls(database, Actor(user_id, Role.SUPERUSER, SUPERUSER, Source.FORM))

    async def begin(self, query: str) -> UUID:
        async with self.database.transaction() as session:
            draft = await OperationService(session, self.actor).draft_of_query(
                "product", "deactivate", query, "bench"
            )
        return await self._confirm(draft.id)

    async def begin_undo(self, operation_id: UUID) -> UUID:
        async with self.database.transaction() as session:
            draft = await OperationService(session, self.actor).draft_of_undo(operation_id)
        return await self._confirm(draft.id)

    async def ask(self, operation_id: UUID) -> tuple[str, int]:
        """What the page shows: its fingerprint, and how many rows would change."""
        async with self.database.reading() as session:
            service = OperationService(session, self.actor)
            plan = await service.plan(await service.get_by_id(operation_id))
            counts = (await service.preview(plan, {})).counts
        return counts.fingerprint, counts.changing

    async def answer(self, operation_id: UUID, shown: tuple[str, int]) -> None:
        async with self.database.transaction() as session:
            await OperationService(session, self.actor).confirm(operation_id, {}, shown[0], str(shown[1]))

    async def complete(self, operation_id: UUID) -> tuple[UUID, float]:
        """In this process; the seconds are those after its rows were written down."""
        runner = BulkRunner(self.database, find_role)
        await runner.step()
        started = time.perf_counter()
        while await runner.step():
            pass
        return operation_id, time.perf_counter() - started

    async def done(self, operation_id: UUID) -> int:
        return (await self._get(operation_id)).done

    async def is_over(self, operation_id: UUID) -> bool:
        return (await self._get(operation_id)).state is State.FINISHED

    async def cancel(self, operation_id: UUID) -> None:
        async with self.database.transaction() as session:
            await OperationService(session, self.actor).cancel(operation_id)
        await self.complete(operation_id)

    async def reset(self, connection: "asyncpg.Connection[asyncpg.Record]", since: object) -> None:
        await connection.execute(
            """
            UPDATE products SET is_active = true FROM audit_entry AS entry
            WHERE entry.actor_label = 'floor' AND entry.row_id = products.id AND products.created_at >= $1
              AND NOT is_active
            """,
            since,
        )

    async def _confirm(self, operation_id: UUID) -> UUID:
        await self.answer(operation_id, await self.ask(operation_id))
        return operation_id

    async def _get(self, operation_id: UUID) -> BulkOperation:
        async with self.database.reading() as session:
            return await OperationService(session, self.actor).get_by_id(operation_id)


async def _all_rows(operator: Operator, found: Bulk) -> None:
    async with operator.database.transaction() as session:
        draft = await OperationService(session, operator.actor).draft_of_query(
            "product", "deactivate", "", "bench"
        )
    started = time.perf_counter()
    shown = await operator.ask(draft.id)
    found.asking, started = time.perf_counter() - started, time.perf_counter()
    await operator.answer(draft.id, shown)
    found.confirming, started = time.perf_counter() - started, time.perf_counter()
    await BulkRunner(operator.database, find_role).step()
    found.freezing = time.perf_counter() - started
    found.all_rows = shown[1]
    await operator.cancel(draft.id)


async def _beside_others(
    operator: Operator, found: Bulk, client: Client, worker: psutil.Process, query: str
) -> None:
    """What pages take while a worker is at it."""
    await asyncio.sleep(STARTING_SECONDS)
    found.worker_before = worker.memory_info().rss / 1e6
    idle = [_page(client) for _ in range(PAGES)]
    started = time.perf_counter()
    operation = await operator.begin(query)
    busy = []
    while not await operator.is_over(operation):
        busy += [_page(client) for _ in range(10)]
        found.worker_most = max(found.worker_most, worker.memory_info().rss / 1e6)
    found.with_worker = time.perf_counter() - started
    found.idle_p95, found.busy_p95 = _p95(idle), _p95(busy)


def _page(client: Client) -> float:
    answer = client.get(PRODUCTS)
    assert answer.status == 200, answer.status
    time.sleep(PAUSE_SECONDS)
    return answer.milliseconds


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


@contextmanager
def running(command: str, url: str, redis_url: str) -> Iterator[psutil.Process]:
    environment = {"DATABASE_URL": url, "REDIS_URL": redis_url, "SECRET_KEY": "b" * 32}
    spawned = subprocess.Popen(
        [sys.executable, "-m", "admin_app", command],
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(spawned.pid)
    finally:
        spawned.terminate()
        spawned.wait()


@asynccontextmanager
async def copy_of(url: str, purpose: str) -> AsyncIterator[str]:
    """The URL of a copy of the database, which is gone afterwards."""
    original = make_url(url)
    name = f"{original.database}_{purpose}"
    server = await asyncpg.connect(
        dsn(original.set(database="postgres").render_as_string(hide_password=False))
    )
    try:
        await server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{original.database}"')
        yield original.set(database=name).render_as_string(hide_password=False)
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await server.close()
