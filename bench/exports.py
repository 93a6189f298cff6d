"""A large export against PostgreSQL's own COPY of the same query, and how soon a small one begins."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import psutil
from rich.table import Table

from admin_app.actor import Actor, Role
from admin_app.database import Database
from admin_app.domains import open_database
from admin_app.domains.users.service import UserService
from admin_app.exports.models import Format
from admin_app.exports.service import AT_ONCE, ExportRequest, ExportService, exportable
from admin_app.exports.streaming import stream
from admin_app.exports.tasks import write_export
from bench.data import SUPERUSER, dsn, settings_for

ROUNDS = 3
MAX_RATIO = 2.0
MAX_MEGABYTES = 60.0
MAX_FIRST_BYTE_MILLISECONDS = 200.0
EVERY_SECONDS = 0.05

SAME_QUERY = """
    COPY (
        SELECT p.name, p.price, p.is_active, u.email, p.created_at, p.updated_at
        FROM products p JOIN users u ON u.id = p.owner_id
        WHERE p.deleted_at IS NULL ORDER BY p.created_at DESC, p.id DESC
    ) TO STDOUT (FORMAT csv)
"""


@dataclass
class Exports:
    """Seconds, megabytes of growth, and milliseconds to the first byte."""

    rows: int = 0
    copies: list[float] = field(default_factory=list)
    tasks: list[float] = field(default_factory=list)
    commands: list[float] = field(default_factory=list)
    growth: float = 0
    command_growth: float = 0
    workbook: float = 0
    workbook_growth: float = 0
    streamed_rows: int = 0
    first_bytes: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return statistics.median(self.tasks) / statistics.median(self.copies)


async def measure(url: str, *, has_workbook: bool = True) -> Exports:
    found = Exports()
    for _ in range(ROUNDS):
        found.copies.append(await _copied(url))
        seconds, growth, found.rows = await _in_process(url, Format.CSV)
        found.tasks.append(seconds)
        found.growth = max(found.growth, growth)
        seconds, growth = await asyncio.to_thread(_commanded, url)
        found.commands.append(seconds)
        found.command_growth = max(found.command_growth, growth)
    if has_workbook:
        found.workbook, found.workbook_growth, _ = await _in_process(url, Format.EXCEL)
    await _first_bytes(url, found)
    return found


async def _copied(url: str) -> float:
    connection = await asyncpg.connect(dsn(url), server_settings={"jit": "off"})
    try:
        with tempfile.TemporaryFile() as file:
            started = time.perf_counter()
            await connection._copy_out(SAME_QUERY, file, None)
            return time.perf_counter() - started
    finally:
        await connection.close()


async def _in_process(url: str, form: Format) -> tuple[float, float, int]:
    """By a process of its own, as a worker is: seconds, megabytes of growth, and rows."""
    command = [sys.executable, "-m", "bench.exports", url, form.value]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    told, _ = await process.communicate()
    seconds, growth, rows = told.decode().split()
    return float(seconds), float(growth), int(rows)


async def write(url: str, form: Format) -> tuple[float, float, int]:
    """As a worker does it. Nothing of it is kept in the database."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(url).model_copy(update={"storage_url": Path(folder).as_uri()})
        database = open_database(settings)
        actor = await _superuser(database)
        async with database.transaction() as session:
            service = exportable(session, actor, "product")
            columns = [column.name for column in service.export_columns if column.is_usual]
            request = ExportRequest("product", form, service.listing.parse([]), columns)
            export = await ExportService(session, actor).request(request)
        try:
            with _Memory() as memory:
                started = time.perf_counter()
                async with database.transaction() as session:
                    await write_export(session, str(export.id))
                seconds = time.perf_counter() - started
            async with database.reading() as session:
                rows = (await ExportService(session, actor).get_by_id(export.id)).rows
        finally:
            async with database.transaction() as session:
                await session.delete(await ExportService(session, actor).get_by_id(export.id))
            await database.close()
    return seconds, memory.growth, rows


def _commanded(url: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DATABASE_URL": url, "SECRET_KEY": "b" * 32, "DATA_DIR": folder}
        command = [sys.executable, "-m", "admin_app", "export", "product", f"{folder}/products.csv"]
        started = time.perf_counter()
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            watched, first, most = psutil.Process(process.pid), 0, 0
            while process.poll() is None:
                most = max(most, watched.memory_info().rss)
                if not first and (Path(folder) / ".products.csv.unfinished").exists():
                    first = most
                time.sleep(EVERY_SECONDS)
        assert process.returncode == 0
        return time.perf_counter() - started, (most - first) / 1_000_000


async def _first_bytes(url: str, found: Exports) -> None:
    database = open_database(settings_for(url))
    actor = await _superuser(database)
    try:
        async with database.reading() as session:
            service = exportable(session, actor, "product")
            columns = [column.name for column in service.export_columns if column.is_usual]
            nth = "SELECT price FROM products ORDER BY price, id OFFSET $1 LIMIT 1"
            connection = await asyncpg.connect(dsn(url))
            price = await connection.fetchval(nth, AT_ONCE - 1)
            await connection.close()
            bound = [("price_to", str(price - price.__class__("0.01")))]
            query = service.listing.parse(bound)
        request = ExportRequest("product", Format.CSV, query, columns)
        for _ in range(ROUNDS * 3):
            started = time.perf_counter()
            async with stream(database, actor, request) as sent:
                assert sent is not None
                await anext(sent.chunks)
                found.first_bytes.append((time.perf_counter() - started) * 1000)
                pieces = [piece async for piece in sent.chunks]
        found.streamed_rows = b"".join(pieces).count(b"\n")
    finally:
        await database.close()


async def _superuser(database: Database) -> Actor:
    async with database.reading() as session:
        [(_, owner)] = (await UserService(session, Actor.system()).ids_by_email([SUPERUSER])).items()
    return Actor(owner, Role.SUPERUSER, SUPERUSER)


class _Memory:
    """How much this process grew at most meanwhile, in megabytes."""

    def __enter__(self) -> "_Memory":
        self._process = psutil.Process()
        self._first = self._most = self._process.memory_info().rss
        self._task = asyncio.create_task(self._watch())
        return self

    async def _watch(self) -> None:
        while True:
            self._most = max(self._most, self._process.memory_info().rss)
            await asyncio.sleep(EVERY_SECONDS)

    def __exit__(self, *_: object) -> None:
        self._task.cancel()

    @property
    def growth(self) -> float:
        return (self._most - self._first) / 1_000_000


def table(found: Exports) -> Table:
    shown = Table(title=f"Exports of {found.rows:,} products")
    for heading in ("what", "found", "goal"):
        shown.add_column(heading, justify="left" if heading == "what" else "right")
    copy = statistics.median(found.copies)
    shown.add_row("COPY of the same query", f"{copy:.1f} s", "")
    for name, seconds, growth in (
        ("CSV in the background", statistics.median(found.tasks), found.growth),
        ("CSV by the command", statistics.median(found.commands), found.command_growth),
    ):
        shown.add_row(name, f"{seconds:.1f} s, {seconds / copy:.2f} x COPY", f"{MAX_RATIO:g} x")
        shown.add_row("  memory", f"+{growth:.0f} MB", f"{MAX_MEGABYTES:.0f} MB")
    shown.add_row("Excel in the background", f"{found.workbook:.0f} s, +{found.workbook_growth:.0f} MB", "")
    first = statistics.median(found.first_bytes)
    goal = f"{MAX_FIRST_BYTE_MILLISECONDS:.0f} ms"
    shown.add_row(f"first byte of {found.streamed_rows:,} rows at once", f"{first:.0f} ms", goal)
    return shown


def missed(found: Exports) -> int:
    return sum(
        [
            found.ratio > MAX_RATIO,
            found.growth > MAX_MEGABYTES,
            statistics.median(found.first_bytes) > MAX_FIRST_BYTE_MILLISECONDS,
        ]
    )


if __name__ == "__main__":
    print(*asyncio.run(write(sys.argv[1], Format(sys.argv[2]))))  # noqa: T201
