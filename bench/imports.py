"""An import of 100,000 new products and one of 100,000 changed ones, against bare SQL on the same rows.

Everything happens in a copy of the database, which is dropped afterwards. What is measured begins when the
import is confirmed; the floor is one INSERT ... SELECT, or UPDATE ... FROM, with no history and no events.
"""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import asyncpg
import psutil
from rich.table import Table
from sqlalchemy import func, text

from admin_app.bulk.models import BulkOperation, State
from admin_app.bulk.runner import BulkRunner
from admin_app.database import Database
from admin_app.domains import find_role, open_database
from admin_app.imports.models import Import, ImportState
from bench.bulk import copy_of
from bench.data import SUPERUSER, dsn, settings_for

ROWS = 100_000
ROUNDS = 3
GOAL = 3.0
"""So many times the floor."""

STAGE_NEW = """
    INSERT INTO import_row (import_id, line, verdict, row_id, version, changes)
    SELECT $1, number + 1, 1, id, 0, jsonb_build_object(
        'name', jsonb_build_array(NULL, name), 'description', jsonb_build_array(NULL, description),
        'price', jsonb_build_array(NULL, price::text), 'is_active', jsonb_build_array(NULL, is_active),
        'owner_id', jsonb_build_array(NULL, owner_id), 'external_id', jsonb_build_array(NULL, id::text))
    FROM (
        SELECT uuidv7() AS id, row_number() OVER () AS number, name, description, price, is_active, owner_id
        FROM products WHERE version = 1 LIMIT $2
    ) AS made
"""
STAGE_CHANGED = """
    INSERT INTO import_row (import_id, line, verdict, row_id, version, changes)
    SELECT $1, row_number() OVER (ORDER BY id) + 1, 2, id, version, jsonb_build_object(
        'price', jsonb_build_array(price::text, (price + 1)::text),
        'is_active', jsonb_build_array(is_active, NOT is_active))
    FROM (
        SELECT id, version, price, is_active FROM products
        WHERE deleted_at IS NULL AND price < 90000000 AND id > $3 ORDER BY id LIMIT $2
    ) AS known
"""
FLOOR_NEW = """
    INSERT INTO products (id, name, description, price, is_active, owner_id, external_id)
    SELECT row_id, changes -> 'name' ->> 1, changes -> 'description' ->> 1,
           (changes -> 'price' ->> 1)::numeric,
           (changes -> 'is_active' ->> 1)::boolean, (changes -> 'owner_id' ->> 1)::uuid,
           changes -> 'external_id' ->> 1
    FROM import_row WHERE import_id = $1
"""
FLOOR_CHANGED = """
    UPDATE products
    SET price = (changes -> 'price' ->> 1)::numeric, is_active = (changes -> 'is_active' ->> 1)::boolean,
        version = products.version + 1, updated_at = now()
    FROM import_row WHERE import_id = $1 AND products.id = row_id AND products.version = import_row.version
"""


@dataclass
class Times:
    """Seconds, and the megabytes by which this process grew meanwhile."""

    runs: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)
    grown: float = 0

    @property
    def ratio(self) -> float:
        return statistics.median(self.runs) / statistics.median(self.floors)


async def measure(url: str) -> dict[str, Times]:
    async with copy_of(url, "imports") as copied:
        return await compare(copied)


async def compare(url: str) -> dict[str, Times]:
    """In this database, which is another one afterwards."""
    found = {"new products": Times(), "changed products": Times()}
    database = open_database(settings_for(url))
    connection = await asyncpg.connect(dsn(url), server_settings={"jit": "off"})
    actor_id = await connection.fetchval("SELECT id FROM users WHERE email = $1", SUPERUSER)
    last = UUID(int=0)

    async def stage_new(import_id: UUID) -> None:
        await connection.execute(STAGE_NEW, import_id, ROWS)

    async def stage_changed(import_id: UUID) -> None:
        nonlocal last
        await connection.execute(STAGE_CHANGED, import_id, ROWS, last)
        last = await connection.fetchval(
            "SELECT row_id FROM import_row WHERE import_id = $1 ORDER BY row_id DESC LIMIT 1", import_id
        )

    try:
        for _ in range(ROUNDS):
            for times, stage, floor in (
                (found["new products"], stage_new, FLOOR_NEW),
                (found["changed products"], stage_changed, FLOOR_CHANGED),
            ):
                times.floors.append(await _floor(connection, stage, floor))
                await _run(database, actor_id, stage, times)
    finally:
        await connection.close()
        await database.close()
    return found


Stage = Callable[[UUID], Awaitable[None]]


async def _floor(connection: "asyncpg.Connection[asyncpg.Record]", stage: Stage, statement: str) -> float:
    import_id = uuid4()
    await stage(import_id)
    await connection.execute("ANALYZE import_row")
    started = time.perf_counter()
    assert await connection.execute(statement, import_id) in {f"INSERT 0 {ROWS}", f"UPDATE {ROWS}"}
    return time.perf_counter() - started


async def _run(database: Database, actor_id: UUID, stage: Stage, times: Times) -> None:
    who = {
        "kind": "product",
        "actor_id": actor_id,
        "actor_label": SUPERUSER,
        "address": None,
        "request_id": uuid4(),
    }
    async with database.transaction() as session:
        about_file = {"format": "csv", "encoding": "utf-8", "delimiter": ",", "columns": [], "size_bytes": 0}
        import_ = Import(
            name="bench.csv", file=str(uuid4()), state=ImportState.CONFIRMED, **about_file, **who
        )
        session.add(import_)
        await session.flush()
        import_id = import_.id
    await stage(import_id)
    async with database.transaction() as session:
        await session.execute(text("ANALYZE import_row"))
        operation = BulkOperation(
            action="import",
            label="Import products",
            selection="bench",
            parameters={"import_id": str(import_id)},
            state=State.WAITING,
            confirmed_at=func.now(),
            total=ROWS,
            confirmed=ROWS,
            **who,
        )
        session.add(operation)
    runner = BulkRunner(database, find_role)
    before = psutil.Process().memory_info().rss
    started = time.perf_counter()
    while await runner.step():
        times.grown = max(times.grown, (psutil.Process().memory_info().rss - before) / 1e6)
    times.runs.append(time.perf_counter() - started)
    async with database.reading() as session:
        done = await session.get(BulkOperation, operation.id)
        assert done is not None
        assert done.done == ROWS, done.reasons


def table(found: dict[str, Times]) -> Table:
    shown = Table(title=f"Imports of {ROWS:,} rows", title_justify="left")
    for heading in ("", "run s", "floor s", "ratio", "goal", "more memory MB"):
        shown.add_column(heading, justify="right" if heading else "left")
    for name, times in found.items():
        missed = " !" if times.ratio > GOAL else ""
        shown.add_row(
            name,
            f"{statistics.median(times.runs):.1f}",
            f"{statistics.median(times.floors):.1f}",
            f"{times.ratio:.2f}{missed}",
            f"{GOAL:.0f}",
            f"{times.grown:.0f}",
        )
    return shown


def missed(found: dict[str, Times]) -> int:
    return sum(times.ratio > GOAL for times in found.values())
