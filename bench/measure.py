"""The measuring itself: always both sides in turn, so that whatever else the machine does hits both."""

import os
import pickle
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Barrier
from types import MappingProxyType
from urllib.parse import quote

import psutil

from bench.cases import SAVE
from bench.client import HOST, Answer, Client
from bench.recording import Recording
from bench.server import HEADER

WARM_UP = 5
CLIENTS = 8
STARTS = 5
THROUGHPUT_ROUNDS = 5
THROUGHPUT_SECONDS = 1.0
START_TIMEOUT_SECONDS = 60
IDLE_SECONDS = 2


@dataclass
class Case:
    """Milliseconds of each request, and what the application's cost besides."""

    app: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    statements: list[int] = field(default_factory=list)
    sql: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)
    wire_bytes: int = 0
    page_bytes: int = 0

    def add(self, answer: Answer, reference: Answer) -> None:
        self.app.append(answer.milliseconds)
        self.floor.append(reference.milliseconds)
        number, total, slowest = answer.headers[HEADER].split()
        self.statements.append(int(number))
        self.sql.append(float(total))
        self.slowest.append(float(slowest))
        self.wire_bytes = max(self.wire_bytes, answer.wire_bytes)
        self.page_bytes = max(self.page_bytes, len(answer.page))

    @property
    def p50(self) -> float:
        return statistics.median(self.app)

    @property
    def ratio(self) -> float:
        return self.p50 / statistics.median(self.floor)


@dataclass
class Measured:
    """The pages of one database, and how many first pages a second a few clients got."""

    cases: dict[str, Case] = field(default_factory=dict)
    app_rates: list[float] = field(default_factory=list)
    floor_rates: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Process:
    """Milliseconds from its start to the first 200 of two pages, and its megabytes when idle after use."""

    live: float
    sign_in: float
    resident: float
    proportional: float


def pages(recordings: Mapping[str, Recording], rounds: int) -> dict[str, Measured]:
    """All databases at once, by URL: growth is told by requests that were made in turn as well."""
    measured = {url: Measured() for url in recordings}
    with ExitStack() as stack:
        sides = [(measured[url], Sides.start(stack, url, given)) for url, given in recordings.items()]
        for name in next(iter(recordings.values())).reads:
            _interleave(
                [(found.cases.setdefault(name, Case()), *both.reading(name)) for found, both in sides], rounds
            )
        _interleave([(found.cases.setdefault(SAVE, Case()), *both.saving()) for found, both in sides], rounds)
        for _ in range(THROUGHPUT_ROUNDS):
            for found, both in sides:
                both.add_rates(found)
    return measured


def process(url: str, redis_url: str, recording: Recording) -> Process:
    """`admin-app serve` as anybody would run it, started several times."""
    live, sign_in, sizes = [], [], []
    for _ in range(STARTS):
        started = time.perf_counter()
        with serving(url, redis_url) as (port, spawned):
            live.append((time.perf_counter() - started) * 1000)
            with Client(port, recording.token) as client:
                expect(200, client.get("/admin/login"))
                sign_in.append((time.perf_counter() - started) * 1000)
                for _ in range(WARM_UP):
                    for address in recording.reads.values():
                        expect(200, client.get(address))
            time.sleep(IDLE_SECONDS)
            sizes.append(psutil.Process(spawned.pid).memory_full_info())
    return Process(
        live=statistics.median(live),
        sign_in=statistics.median(sign_in),
        resident=statistics.median(size.rss for size in sizes) / 1e6,
        proportional=statistics.median(size.pss for size in sizes) / 1e6,
    )


Ask = Callable[[], Answer]


@dataclass(frozen=True)
class Sides:
    """The application and the floor on one database, each with a client."""

    recording: Recording
    app_port: int
    floor_port: int
    app: Client
    floor: Client

    @classmethod
    def start(cls, stack: ExitStack, url: str, recording: Recording) -> "Sides":
        app_port = stack.enter_context(one_side("app", url))
        floor_port = stack.enter_context(one_side("floor", url, pickle.dumps(recording.script)))
        app = stack.enter_context(Client(app_port, recording.token))
        return cls(recording, app_port, floor_port, app, stack.enter_context(Client(floor_port)))

    def reading(self, name: str) -> tuple[Ask, Ask]:
        address, reference = self.recording.reads[name], f"/{quote(name)}"
        return lambda: expect(200, self.app.get(address)), lambda: expect(200, self.floor.get(reference))

    def saving(self) -> tuple[Ask, Ask]:
        fields = dict(self.recording.form)

        def save() -> Answer:
            version = int(fields["version"])
            answer = self.app.post(self.recording.edit, fields | {"price": f"{version % 90 + 10}.75"})
            fields["version"] = str(version + 1)
            return expect(303, answer)

        return save, lambda: expect(303, self.floor.post("/save", fields))

    def add_rates(self, found: Measured) -> None:
        name, address = next(iter(self.recording.reads.items()))
        found.app_rates.append(_rate(self.app_port, self.recording.token, address))
        found.floor_rates.append(_rate(self.floor_port, "", f"/{quote(name)}"))


def _interleave(sides: Sequence[tuple[Case, Ask, Ask]], rounds: int) -> None:
    for turn in range(WARM_UP + rounds):
        for case, app, floor in sides:
            answer, reference = app(), floor()
            if turn >= WARM_UP:
                case.add(answer, reference)


def _rate(port: int, token: str, path: str) -> float:
    """Answers per second to a few clients at once, each on a connection of its own."""
    together = Barrier(CLIENTS)

    def ask() -> float:
        with Client(port, token) as client:
            expect(200, client.get(path))
            together.wait()
            started, answers = time.perf_counter(), 0
            while time.perf_counter() - started < THROUGHPUT_SECONDS:
                expect(200, client.get(path))
                answers += 1
            return answers / (time.perf_counter() - started)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(task.result() for task in [pool.submit(ask) for _ in range(CLIENTS)])


def expect(status: int, answer: Answer) -> Answer:
    assert answer.status == status, f"{answer.status} instead of {status}: {answer.page[:2000].decode()}"
    return answer


@contextmanager
def one_side(side: str, url: str, script: bytes = b"") -> Iterator[int]:
    port = _free_port()
    command = [sys.executable, "-m", "bench.server", side, url, str(port)]
    with _spawned(command, port, script, ready="/" if side == "floor" else "/live"):
        yield port


@contextmanager
def serving(url: str, redis_url: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = _free_port()
    environment = {"DATABASE_URL": url, "REDIS_URL": redis_url, "SECRET_KEY": "b" * 32}
    command = [sys.executable, "-m", "admin_app", "serve", "--port", str(port)]
    with _spawned(command, port, ready="/live", environment=environment) as spawned:
        yield port, spawned


@contextmanager
def _spawned(
    command: list[str],
    port: int,
    given: bytes = b"",
    *,
    ready: str,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[subprocess.Popen[bytes]]:
    """Until the block ends; begins when the process answers."""
    # What it logs costs it the same, wherever that goes.
    spawned = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        assert spawned.stdin is not None
        spawned.stdin.write(given)
        spawned.stdin.close()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not _answers(port, ready):
            if spawned.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} does not answer")
            time.sleep(0.002)
        yield spawned
    finally:
        spawned.terminate()
        spawned.wait()


def _answers(port: int, path: str) -> bool:
    try:
        with Client(port) as client:
            client.get(path)
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
