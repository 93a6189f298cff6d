"""`python -m bench [--sizes 10000,1000000]`: medians of the application and of the floor, interleaved."""

import argparse
import asyncio
import pickle
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, func, select

from admin_app.actor import Actor, Role
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import open_database
from admin_app.domains.products.models import Product
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.embedded import embedded_servers
from admin_app.listing import Cursor
from admin_app.security.passwords import UNUSABLE
from admin_app.security.sessions import open_session
from bench import data
from bench.cases import DEEP, LISTS, PAGES

WARM_UP = 5
LIST = "/admin/product/list"


@dataclass
class Measured:
    app: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    sql: str = ""
    size: int = 0

    @property
    def ratio(self) -> float:
        return statistics.median(self.app) / statistics.median(self.floor)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--sizes", default="10000,1000000", help="numbers of products, separated by commas")
    parser.add_argument("--rounds", type=int, default=40, help="counted requests per case and side")
    parser.add_argument("--data-dir", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    console = Console(width=120)
    medians: dict[int, dict[str, float]] = {}
    with embedded_servers(Settings(data_dir=options.data_dir, _env_file=None)) as settings:  # type: ignore[call-arg]
        for size in sizes:
            console.print(f"{size:,} products: making sure the data is there", style="dim")
            url = await data.ensure(settings.database_url, size)
            measured = await measure(url, options.rounds)
            medians[size] = {name: statistics.median(item.app) for name, item in measured.items()}
            console.print(report(size, measured))
    if len(sizes) > 1:
        console.print(growth(medians))


async def measure(url: str, rounds: int) -> dict[str, Measured]:
    database = open_database(Settings(database_url=url, secret_key="b" * 32, _env_file=None))  # type: ignore[call-arg]
    try:
        token, product_id = await _prepare(database)
        queries = {**LISTS, DEEP: await _deep(database)}
        statements = {name: await _statements(database, query) for name, query in queries.items()}
    finally:
        await database.close()
    paths = {name: (f"{LIST}?{query}", f"/list/{name}") for name, query in queries.items()}
    paths |= {page: (f"/admin/product/{page}/{product_id}", f"/details/{product_id}") for page in PAGES}
    with _server(url, statements) as (app_url, floor_url):
        app_cookie = {f"session_{httpx.URL(app_url).port}": token}
        with (
            httpx.Client(base_url=app_url, cookies=app_cookie, timeout=60) as app,
            httpx.Client(base_url=floor_url, cookies={"token": token}, timeout=60) as floor,
        ):
            return {name: _interleaved(app, floor, *both, rounds) for name, both in paths.items()}


def _interleaved(
    app: httpx.Client, floor: httpx.Client, app_path: str, floor_path: str, rounds: int
) -> Measured:
    measured = Measured()
    for turn in range(WARM_UP + rounds):
        for client, path, times in ((app, app_path, measured.app), (floor, floor_path, measured.floor)):
            started = time.perf_counter()
            response = client.get(path)
            elapsed = (time.perf_counter() - started) * 1000
            response.raise_for_status()
            if turn >= WARM_UP:
                times.append(elapsed)
            if client is app:
                measured.sql, measured.size = response.headers["x-sql"], len(response.content)
    return measured


async def _prepare(database: Database) -> tuple[str, UUID]:
    """A superuser's session, and a product in the middle."""
    async with database.transaction() as session:
        user = await session.scalar(select(User).where(User.role == Role.SUPERUSER))
        if user is None:
            user = User(email="root@bench.example", name="Root", password_hash=UNUSABLE, role=Role.SUPERUSER)
            session.add(user)
            await session.flush()
        token = await open_session(session, user.id, address=None, user_agent="bench")
        total = await session.scalar(select(func.count()).select_from(Product)) or 0
        middle = select(Product.id).order_by(Product.created_at, Product.id).offset(total // 2).limit(1)
        product_id = await session.scalar(middle)
        assert product_id is not None
        return token, product_id


async def _deep(database: Database) -> str:
    """The address of the page that begins with the middle product."""
    listing = ProductService.listing
    async with database.reading() as session:
        total = await session.scalar(select(func.count()).select_from(Product)) or 0
        middle = select(Product).order_by(Product.created_at, Product.id).offset(total // 2).limit(1)
        product = (await session.scalars(middle)).one()
    query = listing.parse([])
    cursor = Cursor("after", product.created_at, product.id)
    return urlencode({"cursor": listing.encode(cursor, replace(query, cursor=cursor))})


async def _statements(database: Database, query: str) -> list[tuple[str, list[Any]]]:
    """What the application sends for a list page; the rows come last."""
    sent: list[tuple[str, list[Any]]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        sent.append((statement, list(parameters)))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        async with database.reading() as session:
            service = ProductService(session, Actor.system())
            await service.page(service.listing.parse(parse_qsl(query)))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return sent


@contextmanager
def _server(url: str, statements: dict[str, list[tuple[str, list[Any]]]]) -> Iterator[tuple[str, str]]:
    ports = [_free_port(), _free_port()]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.server", url, *map(str, ports)], stdin=subprocess.PIPE
    )
    try:
        assert process.stdin is not None
        pickle.dump(statements, process.stdin)
        process.stdin.close()
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        _wait_for(f"{urls[0]}/live")
        yield urls[0], urls[1]
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def report(size: int, measured: dict[str, Measured]) -> Table:
    table = Table(title=f"{size:,} products, milliseconds", title_justify="left")
    for heading in ("page", "p50", "p95", "floor p50", "ratio", "SQL", "SQL ms", "bytes"):
        table.add_column(heading, justify="left" if heading == "page" else "right")
    for name, item in measured.items():
        count, milliseconds = item.sql.split()
        p95 = statistics.quantiles(item.app, n=20)[-1]
        floor = statistics.median(item.floor)
        table.add_row(
            name,
            f"{statistics.median(item.app):.1f}",
            f"{p95:.1f}",
            f"{floor:.1f}",
            f"{item.ratio:.1f}",
            count,
            milliseconds,
            f"{item.size:,}",
        )
    return table


def growth(medians: dict[int, dict[str, float]]) -> Table:
    smallest, largest = min(medians), max(medians)
    table = Table(
        title=f"Growth of the median from {smallest:,} to {largest:,} products", title_justify="left"
    )
    table.add_column("page")
    table.add_column("times", justify="right")
    for name, small in medians[smallest].items():
        table.add_row(name, f"{medians[largest][name] / small:.2f}")
    return table


asyncio.run(main())
