"""`python -m bench.load [--people 50] [--seconds 60] [--products 1000000]`: many people at once.

They search, turn pages, read, and change their own products, each with an account and a connection of their
own, and a pause to think between two requests. First by themselves; then while 100,000 rows are exported and
100,000 are changed by a bulk operation, as long as that takes. They are held against what the
floor (bench/floor.py) answers one person on an idle machine.
"""

import argparse
import asyncio
import pickle
import random
import re
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import open_database
from admin_app.embedded import embedded_servers
from admin_app.exports.models import ExportState, Format
from admin_app.exports.service import ExportRequest, ExportService, exportable
from admin_app.security.sessions import open_session
from bench import data
from bench.bulk import Operator, copy_of, running
from bench.cases import EDIT, PRODUCTS, SAVE
from bench.client import Answer, Client
from bench.measure import one_side, serving
from bench.recording import Recording, record
from tests.admin.pages import fields_of, form_of, parse

MAX_FLOORS = 20.0
MAX_BESIDE = 2.0
ROWS = 100_000
THINKING_SECONDS = (1.0, 3.0)
FLOOR_ROUNDS = 60
STARTING_SECONDS = 4
LOOK_SECONDS = 0.2
SEED = 7
WORDS = ("walnut", "clock", "lamp", "linen", "oak table", "garden", "mug", "hand", data.COMMON_WORD)
QUICK = ("walnut wall clock", "lamp", "oak tabel", "linen towel", "garden chair")

FLOORS = {
    "list": "list, first page",
    "next page": "list, half way down",
    "search": "search, common",
    "filter": "filter + sort",
    "quick search": "quick search",
    "details": "details",
    "edit form": "edit form",
}
"""What people ask for -> the case of the floor with the same statements."""

NEXT = re.compile(r'href="([^"]+)"[^>]*rel="next"')
DETAILS = re.compile(r"/admin/product/details/[0-9a-f-]{36}")


@dataclass
class Times:
    """Milliseconds by what was asked for, and what went wrong."""

    taken: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    seconds: float = 0

    @property
    def all(self) -> list[float]:
        return [time for times in self.taken.values() for time in times]


class Crowd:
    """Threads, for what they do is to wait; `times` may be replaced while they run."""

    def __init__(self, port: int, people: Sequence["Person"]) -> None:
        self.times = Times()
        self._port = port
        self._people = people
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._live, args=[person]) for person in people]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def during(self, wait: Callable[[], object]) -> Times:
        """What they experience from now until `wait` returns."""
        self.times, started = Times(), time.monotonic()
        times = self.times
        wait()
        times.seconds = time.monotonic() - started
        self.times = Times()
        return times

    def _live(self, person: "Person") -> None:
        with Client(self._port, person.token) as client:
            person.client = client
            while not self._over.wait(person.dice.uniform(*THINKING_SECONDS)):
                times = self.times
                person.ask_into(times)


@dataclass
class Person:
    """Support reads; an administrator owns `products` and changes them, too."""

    token: str
    products: Sequence[str]
    dice: random.Random
    client: Client = field(init=False)
    page: str = ""

    def ask_into(self, times: Times) -> None:
        wish = self.dice.choices(
            (self._list, self._search, self._turn, self._filter, self._quick, self._read, self._edit),
            (2, 4, 3, 1, 2, 3, 4 if self.products else 0),
        )[0]
        try:
            wish(times)
        except (OSError, ValueError, LookupError) as error:
            times.errors.append(f"{wish.__name__}: {error!r}")
            self.client._connect()

    def _list(self, times: Times) -> None:
        self.page = self._get(times, "list", PRODUCTS)

    def _search(self, times: Times) -> None:
        words = quote_plus(self.dice.choice(WORDS))
        self.page = self._get(times, "search", f"{PRODUCTS}?search={words}")

    def _turn(self, times: Times) -> None:
        found = NEXT.search(self.page)
        if found is None:
            self._list(times)
        else:
            self.page = self._get(times, "next page", found[1].replace("&amp;", "&"))

    def _filter(self, times: Times) -> None:
        self.page = self._get(times, "filter", f"{PRODUCTS}?is_active=no&sortBy=price&sort=asc")

    def _quick(self, times: Times) -> None:
        self._get(times, "quick search", f"/admin/search?q={quote_plus(self.dice.choice(QUICK))}")

    def _read(self, times: Times) -> None:
        links = DETAILS.findall(self.page)
        if links:
            self._get(times, "details", self.dice.choice(links))
        else:
            self._list(times)

    def _edit(self, times: Times) -> None:
        address = EDIT.format(product=self.dice.choice(self.products))
        form = form_of(parse(httpx.Response(200, html=self._get(times, "edit form", address))))
        fields = fields_of(form)
        fields["price"] = f"{self.dice.randrange(100, 99_999) / 100:.2f}"
        answer = self.client.post(address, fields)
        self._note(times, SAVE, answer, 303)

    def _get(self, times: Times, kind: str, address: str) -> str:
        return self._note(times, kind, self.client.get(address), 200)

    def _note(self, times: Times, kind: str, answer: Answer, status: int) -> str:
        if answer.status == status:
            times.taken[kind].append(answer.milliseconds)
        else:
            times.errors.append(f"{kind}: answered {answer.status}")
        return answer.page.decode()


async def _let_in(url: str, people: int, dice: random.Random) -> list[Person]:
    """Two of three are administrators, as far as their products go round; the others read."""
    database = open_database(data.settings_for(url))
    found = []
    try:
        async with database.transaction() as session:
            for role, number in (("administrator", people * 2 // 3), ("support", people - people * 2 // 3)):
                statement = text("SELECT id FROM users WHERE role = :role ORDER BY email LIMIT :number")
                for user_id in (await session.scalars(statement, {"role": role, "number": number})).all():
                    owned = text("SELECT id FROM products WHERE owner_id = :owner ORDER BY id LIMIT 100")
                    ids = [str(row_id) for row_id in await session.scalars(owned, {"owner": user_id})]
                    token = await open_session(session, user_id, address=None, user_agent="load")
                    found.append(Person(token, ids, random.Random(dice.random())))  # noqa: S311
    finally:
        await database.close()
    return found


def floor(url: str, recording: Recording) -> dict[str, list[float]]:
    """Milliseconds of one person's requests on an idle machine, by what people ask for."""
    with one_side("floor", url, pickle.dumps(recording.script)) as port, Client(port) as client:
        found: dict[str, list[float]] = defaultdict(list)
        for turn in range(FLOOR_ROUNDS + 5):
            for kind, case in FLOORS.items():
                answer = client.get(f"/{quote(case)}")
                assert answer.status == 200, answer.status
                if turn >= 5:
                    found[kind].append(answer.milliseconds)
            answer = client.post("/save", recording.form)
            if turn >= 5:
                found[SAVE].append(answer.milliseconds)
    return found


class Background:
    """An export and a bulk operation, by a worker in a process of its own."""

    def __init__(self, database: Database, operator: Operator, products: int) -> None:
        since = data.NEWEST - timedelta(seconds=data.SECONDS_BETWEEN * min(ROWS, products))
        self.query = f"created_from={since.date()}"
        self.changed = self.exported = 0
        self._database = database
        self._operator = operator

    async def work(self) -> None:
        """Both at once, until both have ended."""
        await asyncio.gather(self._change(), self._export())

    async def _change(self) -> None:
        operation = await self._operator.begin(self.query)
        while not await self._operator.is_over(operation):  # noqa: ASYNC110  # another process works
            await asyncio.sleep(LOOK_SECONDS)
        self.changed = await self._operator.done(operation)

    async def _export(self) -> None:
        actor = self._operator.actor
        async with self._database.transaction() as session:
            service = exportable(session, actor, "product")
            columns = [column.name for column in service.export_columns if column.is_usual]
            query = service.listing.parse([("created_from", self.query.partition("=")[2])])
            request = ExportRequest("product", Format.CSV, query, columns)
            export_id = (await ExportService(session, actor).request(request)).id
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            async with self._database.reading() as session:
                export = await ExportService(session, actor).get_by_id(export_id)
            if export.state in {ExportState.FINISHED, ExportState.FAILED}:
                break
        assert export.state is ExportState.FINISHED, export.error
        self.exported = export.rows


@dataclass
class Load:
    floors: Mapping[str, list[float]]
    alone: Times
    beside: Times
    changed: int
    exported: int

    @property
    def floor_of_all(self) -> list[float]:
        """The floor, asked for each thing as often as people did."""
        return [
            time
            for kind, times in self.floors.items()
            for time in times * len(self.alone.taken.get(kind, ()))
        ]


async def measure(url: str, redis_url: str, people: int, seconds: float, products: int) -> Load:
    dice = random.Random(SEED)  # noqa: S311  # the same wishes each time
    recording = await record(url)
    async with copy_of(url, "load") as copied:
        crowd = await _let_in(copied, people, dice)
        floors = await asyncio.to_thread(floor, copied, recording)
        database = open_database(data.settings_for(copied))
        try:
            background = Background(database, await Operator.of(database), products)
            with ExitStack() as stack:
                port, _ = stack.enter_context(serving(copied, redis_url))
                stack.enter_context(running("relay", copied, redis_url))
                stack.enter_context(running("worker", copied, redis_url))
                everybody = stack.enter_context(Crowd(port, crowd))
                await asyncio.sleep(STARTING_SECONDS)
                alone = await asyncio.to_thread(everybody.during, lambda: time.sleep(seconds))
                loop = asyncio.get_running_loop()
                work = background.work()
                beside = await asyncio.to_thread(
                    everybody.during, asyncio.run_coroutine_threadsafe(work, loop).result
                )
        finally:
            await database.close()
    return Load(floors, alone, beside, background.changed, background.exported)


def table(found: Load, people: int) -> Table:
    shown = Table(title=f"{people} people at once (milliseconds)", title_justify="left")
    for heading in (
        *("what", "requests", "p50", "p95", "idle floor p95", "floors"),
        *("p95 beside bulk and export", "times"),
    ):
        shown.add_column(heading, justify="left" if heading == "what" else "right")
    rows = [
        (kind, found.floors[kind], found.alone.taken[kind], found.beside.taken[kind]) for kind in found.floors
    ]
    rows.append(("all", found.floor_of_all, found.alone.all, found.beside.all))
    for name, floors, alone, beside in rows:
        ratio, growth = p95(alone) / p95(floors), p95(beside) / p95(alone)
        shown.add_row(
            name,
            f"{len(alone):,}",
            f"{statistics.median(alone):.1f}",
            f"{p95(alone):.1f}",
            f"{p95(floors):.1f}",
            f"[bold red]! {ratio:.1f}[/]" if ratio > MAX_FLOORS else f"{ratio:.1f}",
            f"{p95(beside):.1f}",
            f"[bold red]! {growth:.2f}[/]" if name == "all" and growth > MAX_BESIDE else f"{growth:.2f}",
        )
    shown.caption = (
        f"{len(found.alone.all) / found.alone.seconds:.0f} requests a second by themselves, "
        f"{len(found.beside.all) / found.beside.seconds:.0f} while {found.changed:,} rows were changed and "
        f"{found.exported:,} exported, in {found.beside.seconds:.0f} s."
    )
    shown.caption_justify = "left"
    return shown


def missed(found: Load) -> int:
    """How many goals are: no errors, 20 floors for each and for all, 2 times beside the work for all."""
    kinds = [p95(found.alone.taken[kind]) / p95(floors) for kind, floors in found.floors.items()]
    ratios = [*kinds, p95(found.alone.all) / p95(found.floor_of_all)]
    is_disturbed = p95(found.beside.all) / p95(found.alone.all) > MAX_BESIDE
    return sum(ratio > MAX_FLOORS for ratio in ratios) + is_disturbed + bool(_errors(found))


def _errors(found: Load) -> list[str]:
    return [*found.alone.errors, *found.beside.errors]


def p95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.load", description=__doc__)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60, help="by themselves")
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--data-dir", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    console = Console(width=130)
    with embedded_servers(Settings(data_dir=options.data_dir, _env_file=None)) as settings:  # type: ignore[call-arg]
        url = asyncio.run(data.ensure(settings.database_url, options.products))
        console.print("Measuring, for some minutes.", style="dim")
        found = asyncio.run(
            measure(url, settings.redis_url, options.people, options.seconds, options.products)
        )
    console.print(table(found, options.people))
    errors = _errors(found)
    console.print(f"errors: {len(errors)}", style="bold red" if errors else "")
    for error in sorted(set(errors)):
        console.print(f"  {errors.count(error)} x {error}")
    number = missed(found)
    console.print(f"{number} goals are missed, each marked with !" if number else "Every goal is met.")
    sys.exit(1 if number else 0)


if __name__ == "__main__":
    main()
