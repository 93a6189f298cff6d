"""Throughput of the API against a bare endpoint: the same rows and fields, the same server and database.

Both in turn, in processes of their own, asked by clients on kept connections in another one.
"""

import asyncio
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import UUID

from rich.table import Table
from sqlalchemy import text

from admin_app.api.app import API_URL
from admin_app.domains import open_database
from admin_app.security.sessions import hash_token, open_session
from admin_app.security.tokens import AccessToken, Scope, new_token
from bench.bare_api import PAGE
from bench.client import HOST, Client
from bench.data import SUPERUSER, settings_for
from bench.measure import expect, one_side

CLIENTS = 8
ROUNDS = 15
SECONDS = 1.0
MAX_RATIO = 2.0


@dataclass
class Throughput:
    """Answers a second, round by round."""

    app: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return statistics.median(self.bare) / statistics.median(self.app)


@dataclass(frozen=True)
class Given:
    """An account's ways in, and a product."""

    token: str
    session: str
    product: UUID


class Script(Client):
    """Asks as a script does: with an access token or the cookie of a session, and not for gzip."""

    def __init__(self, port: int, given: Given | None = None, *, is_browser: bool = False) -> None:
        super().__init__(port)
        self._head = f"Host: {HOST}:{port}\r\n"
        if given is not None and is_browser:
            self._head += f"Cookie: session_{port}={given.session}\r\n"
        elif given is not None:
            self._head += f"Authorization: Bearer {given.token}\r\n"


def measure(url: str) -> dict[str, Throughput]:
    """By what is asked for, and how the application is signed in to."""
    given = asyncio.run(_let_in(url))
    cases = {
        "one product": (f"{API_URL}/products/{given.product}", f"/products/{given.product}"),
        f"a list of {PAGE}": (f"{API_URL}/products/?limit={PAGE}", "/products"),
    }
    found: dict[str, Throughput] = {}
    with one_side("api", url) as app, one_side("bare-api", url) as bare:
        for name, (address, reference) in cases.items():
            for way in ("token", "cookie"):
                throughput = found[f"{name}, by {way}"] = Throughput()
                for _ in range(ROUNDS):
                    throughput.app.append(_rate(app, address, given, is_browser=way == "cookie"))
                    throughput.bare.append(_rate(bare, reference))
    return found


def table(found: dict[str, Throughput]) -> Table:
    shown = Table(title=f"The API, answers a second to {CLIENTS} clients", title_justify="left")
    for heading in ("asked for", "application", "bare endpoint", "ratio"):
        shown.add_column(heading, justify="left" if heading == "asked for" else "right")
    for name, item in found.items():
        rates = [f"{statistics.median(rates):,.0f}" for rates in (item.app, item.bare)]
        is_missed = item.ratio > MAX_RATIO
        shown.add_row(name, *rates, f"[bold red]! {item.ratio:.2f}[/]" if is_missed else f"{item.ratio:.2f}")
    return shown


def missed(found: dict[str, Throughput]) -> int:
    return sum(item.ratio > MAX_RATIO for item in found.values())


async def _let_in(url: str) -> Given:
    database = open_database(settings_for(url))
    token = new_token()
    try:
        async with database.transaction() as session:
            person = await session.scalar(text("SELECT id FROM users WHERE email = :e"), {"e": SUPERUSER})
            product = await session.scalar(text("SELECT id FROM products WHERE deleted_at IS NULL LIMIT 1"))
            opened = await open_session(session, person, address=None, user_agent="bench")
            session.add(
                AccessToken(
                    user_id=person,
                    name="bench",
                    token_hash=hash_token(token),
                    scope=Scope.READ,
                    expires_at=datetime.now(UTC) + timedelta(days=1),
                )
            )
    finally:
        await database.close()
    return Given(token, opened, product)


def _rate(port: int, path: str, given: Given | None = None, *, is_browser: bool = False) -> float:
    """Answers a second to a few clients at once, each on a connection of its own."""
    together = Barrier(CLIENTS)

    def ask() -> float:
        with Script(port, given, is_browser=is_browser) as client:
            expect(200, client.get(path))
            together.wait()
            started, answers = time.perf_counter(), 0
            while time.perf_counter() - started < SECONDS:
                expect(200, client.get(path))
                answers += 1
            return answers / (time.perf_counter() - started)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(task.result() for task in [pool.submit(ask) for _ in range(CLIENTS)])
