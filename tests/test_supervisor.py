"""`admin-app up`: one process tree that gets ready, survives the death of any part, and ends completely."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

CHILDREN = ("serve", "relay", "worker")
SERVERS = {"postgres": "postgres/postmaster.pid", "valkey": "valkey/valkey.pid"}
UNSET = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DATA_DIR")


def eventually(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


class Up:
    """`admin-app up` in a data directory, on a free port."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, "-m", "admin_app", "up", "--port", "0", "--data-dir", str(data_dir), *options],
            env={name: value for name, value in os.environ.items() if name not in UNSET},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> "Up":
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.fullmatch(r"ready: http://127\.0\.0\.1:(\d+)/admin\n", line)
        assert match, (line, self.process.stderr and self.process.stderr.read())
        self.port = int(match[1])
        return self

    def live(self) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", "/live")
        return connection.getresponse().status

    def processes(self) -> dict[str, psutil.Process]:
        """The parts that run now, by name."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                arguments = child.cmdline()
            except (psutil.ZombieProcess, psutil.NoSuchProcess):
                continue
            found |= {name: child for name in CHILDREN if name in arguments}
        return found | servers(self.data_dir)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """How many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return time.monotonic() - started


def servers(data_dir: Path) -> dict[str, psutil.Process]:
    found = {}
    for name, file in SERVERS.items():
        try:
            process = psutil.Process(int((data_dir / file).read_text().split()[0]))
            if process.status() != psutil.STATUS_ZOMBIE:
                found[name] = process
        except (OSError, IndexError, psutil.Error):
            continue
    return found


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not pytest's own: each session closes /tmp/pytest-of-<user>, which PostgreSQL's account must pass."""
    with TemporaryDirectory(prefix="admin-app-test-") as name:
        yield Path(name).resolve()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started = []

    def start(name: str = "data", *options: str) -> Up:
        started.append(Up(tmp_path / name, *options))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.stop()
        for process in servers(up.data_dir).values():  # left over when a test failed half way
            process.kill()


@pytest.fixture(scope="module")
def running() -> Iterator[Up]:
    """One for all tests that kill a part of it: it must survive them one after the other."""
    with TemporaryDirectory(prefix="admin-app-test-") as name:
        up = Up(Path(name) / "data").wait_until_ready()
        yield up
        up.stop()
        assert servers(up.data_dir) == {}


@pytest.mark.crash
@pytest.mark.parametrize("name", [*CHILDREN, *SERVERS])
def test_a_killed_part_is_started_again(running: Up, name: str) -> None:
    eventually(lambda: len(running.processes()) == 5)
    before = running.processes()
    before[name].kill()
    eventually(lambda: name in (now := running.processes()) and now[name] != before[name])
    assert running.live() == 200
    after = running.processes()
    assert {part for part in before if after[part] != before[part]} == {name}


@pytest.mark.crash
def test_nobody_is_refused_while_the_website_restarts(running: Up) -> None:
    eventually(lambda: "serve" in running.processes())
    running.processes()["serve"].kill()
    assert running.live() == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_within_ten_seconds(
    start: Callable[..., Up], number: signal.Signals
) -> None:
    up = start().wait_until_ready()
    parts = up.processes()
    assert set(parts) == {*CHILDREN, *SERVERS}
    assert up.stop(number) < 10
    assert up.process.returncode == 0
    assert not any(process.is_running() for process in parts.values())


def test_a_signal_while_it_starts_ends_everything_too(start: Callable[..., Up]) -> None:
    up = start()
    eventually(lambda: "postgres" in servers(up.data_dir))
    assert up.stop() < 10
    assert up.process.returncode == 0
    assert servers(up.data_dir) == {}


@pytest.mark.crash
def test_the_next_start_adopts_what_a_killed_one_left(start: Callable[..., Up]) -> None:
    first = start().wait_until_ready()
    left = first.processes()
    first.process.kill()
    first.process.communicate()
    second = start().wait_until_ready()
    assert second.live() == 200
    found = second.processes()
    assert {name: found[name] for name in SERVERS} == {name: left[name] for name in SERVERS}
    assert not any(left[name].is_running() for name in CHILDREN)
    second.stop()
    assert servers(second.data_dir) == {}


def test_two_run_side_by_side(start: Callable[..., Up]) -> None:
    one, two = start("one"), start("two")
    one.wait_until_ready()
    two.wait_until_ready()
    assert one.port != two.port
    one.stop()
    assert two.live() == 200


def refusal(up: Up) -> str:
    out, error = up.process.communicate(timeout=30)
    assert (up.process.returncode, out) == (2, "")
    assert error.startswith("admin-app: ")
    assert error.count("\n") == 1
    return error


def test_a_second_up_on_the_same_data_dir_is_refused(running: Up) -> None:
    before = running.processes()
    assert f"already in use by `admin-app up` (process {running.process.pid})" in refusal(
        Up(running.data_dir)
    )
    assert running.processes() == before


def test_a_taken_port_is_refused_before_anything_starts(start: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        up = start("data", "--port", str(port))
        assert f"Cannot listen on 127.0.0.1 port {port}: Address already in use" in refusal(up)
    assert not (up.data_dir / "postgres").exists()


def test_an_unusable_data_dir_is_refused(start: Callable[..., Up], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be used" in refusal(start("file/below"))
