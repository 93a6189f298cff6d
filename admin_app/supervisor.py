"""The process tree of `admin-app up`: private servers, migrations, then web, relay and worker.

up ── serve    answers on a socket that `up` holds: nobody is refused while it restarts
 │├── relay
 │└── worker
 ├┄┄ postgres  not a child: outlives a killed `up`, and the next one adopts it
 └┄┄ valkey
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import IO

import typer

from admin_app import lifeline, migrations
from admin_app.config import ConfigurationError, Settings
from admin_app.domains import open_database
from admin_app.embedded import EmbeddedServers
from admin_app.embedded.data_directory import DataDirectory, try_lock
from admin_app.embedded.server import process_of
from admin_app.web import listen

TICK_SECONDS = 0.1
SERVER_CHECK_SECONDS = 1.0
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
SETTLED_SECONDS = 30.0  # a child that lived this long is restarted without delay growing
TRIES_BEFORE_READY = 4
STOP_SECONDS = lifeline.END_SECONDS + 0.5
END_SECONDS = 29
"""Children, and then the servers, end within it; whatever happens, the kernel ends this process then."""
LEFTOVER_SECONDS = lifeline.END_SECONDS + 5.0


class Child:
    """One subprocess that is started again, after a growing delay, whenever it ends."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], keep: Sequence[int]) -> None:
        self.name = arguments[0]
        self.failures = 0
        self._arguments = [sys.executable, "-m", "admin_app", *arguments]
        self._environment = {**environment, lifeline.VARIABLE: "1"}
        self._keep = tuple(keep)
        self._delay = FIRST_DELAY_SECONDS
        self._due = 0.0
        self._started = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def tend(self) -> None:
        now = time.monotonic()
        if self._process is None:
            if now >= self._due:
                self._start()
            return
        code = self._process.poll()
        if code is None:
            return
        self._process = None
        self.failures += 1
        if now - self._started > SETTLED_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        self._due = now + self._delay
        reason = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        tell(f"{self.name} ended {reason}; it starts again in {self._delay:g} s")
        self._delay = min(self._delay * 2, LONGEST_DELAY_SECONDS)

    def _start(self) -> None:
        self._started = time.monotonic()
        # Its own session, so that Ctrl-C reaches only the supervisor. Its standard input is the lifeline.
        self._process = subprocess.Popen(
            self._arguments,
            env=self._environment,
            stdin=subprocess.PIPE,
            pass_fds=self._keep,
            start_new_session=True,
        )

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        """Kills it when it has not ended by then."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def up(settings: Settings, *, host: str, port: int, demo: bool) -> None:
    """Until SIGINT, SIGTERM or SIGHUP.

    Raises ConfigurationError, before anything is started, when the data directory or the port is taken.
    """
    with (
        _claim(DataDirectory(settings.data_dir).path) as claim,
        listen(host, port) as listener,
    ):
        port = int(listener.getsockname()[1])
        claim.truncate(0)
        claim.write(f"{os.getpid()}\n")
        claim.flush()
        ending = _Ending()
        try:
            with EmbeddedServers(settings) as servers:
                _prepare(servers.settings, demo=demo)
                ending.may_interrupt = False
                children = _children(servers.settings, host, listener, claim)
                announcement = _Announcement(servers.settings, host, port, demo=demo)
                try:
                    _watch(children, servers, announcement, ending)
                finally:
                    ending.may_interrupt = False
                    listener.close()
                    _stop(children)
        except KeyboardInterrupt:
            return


def _claim(directory: Path) -> IO[str]:
    """The lock that makes this the only `up` of its data directory.

    The children inherit it: after a `kill -9` of their supervisor it stays locked until they have ended.
    """
    path = directory / "up.lock"
    file = path.open("a+")
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while not try_lock(file):
        owner = process_of(path, " up")
        if owner is not None or time.monotonic() > deadline:
            who = f"process {owner.pid}" if owner is not None else "another process"
            raise ConfigurationError(
                f"{directory} is already in use by `admin-app up` ({who}). "
                "Stop it, or choose another directory with --data-dir."
            )
        time.sleep(0.05)
    return file


class _Ending:
    """Whether a signal has said so. KeyboardInterrupt as well, while something long may be interrupted.

    Python drops what is raised within a destructor or a callback, and a child interrupted while it is being
    started would be nobody's: so the exception alone is not to be relied on.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self.may_interrupt = True
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._begin)

    def _begin(self, _number: int, _frame: FrameType | None) -> None:
        # Once is enough: a second signal must not interrupt the orderly end.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.has_begun = True
        signal.alarm(END_SECONDS)
        if self.may_interrupt:
            raise KeyboardInterrupt


def _prepare(settings: Settings, *, demo: bool) -> None:
    migrations.upgrade(settings.direct_url)
    if demo:
        asyncio.run(_create_demo(settings))


async def _create_demo(settings: Settings) -> None:
    from admin_app.demo import create_demo  # noqa: PLC0415  # sample data is for demos only

    database = open_database(settings)
    try:
        await create_demo(database, accounts_file(settings))
    finally:
        await database.close()


def accounts_file(settings: Settings) -> Path:
    return settings.data_dir / "demo-accounts.json"


def _children(settings: Settings, host: str, listener: socket.socket, claim: IO[str]) -> list[Child]:
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "DATA_DIR": str(settings.data_dir),
        "ALLOWED_HOSTS": ",".join([*settings.allowed_hosts, host]),
        "LOG_FORMAT": settings.log_format,
        "DRAIN_SECONDS": "0",  # there is no other website to go to
    }
    url = settings.public_url or _url(host, listener)
    return [
        Child(["serve", "--fd", str(listener.fileno())], environment, [claim.fileno(), listener.fileno()]),
        Child(["relay"], environment, [claim.fileno()]),
        # The website asks the browser what it is called; links in mails must know it.
        Child(["worker"], {**environment, "PUBLIC_URL": url}, [claim.fileno()]),
    ]


def _url(host: str, listener: socket.socket) -> str:
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{listener.getsockname()[1]}"


def _watch(
    children: Sequence[Child], servers: EmbeddedServers, announcement: "_Announcement", ending: _Ending
) -> None:
    next_check = 0.0
    while not ending.has_begun:
        for child in children:
            child.tend()
            if child.failures >= TRIES_BEFORE_READY and not announcement.made:
                raise ConfigurationError(f"{child.name} does not start. What it said stands above.")
        announcement.make_when_live()
        if time.monotonic() >= next_check:
            _revive(servers, ending)
            next_check = time.monotonic() + SERVER_CHECK_SECONDS
        time.sleep(TICK_SECONDS)


def _revive(servers: EmbeddedServers, ending: _Ending) -> None:
    dead = servers.dead()
    if not dead:
        return
    tell(f"{' and '.join(dead)} died; starting again")
    ending.may_interrupt = True  # it may take a minute
    try:
        if not ending.has_begun:
            servers.revive()
    except ConfigurationError as error:
        tell(str(error))
    finally:
        ending.may_interrupt = False


def _stop(children: Sequence[Child]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        child.terminate()
    for child in children:
        child.wait(deadline)


class _Announcement:
    """Asks /live until it answers, beside the main loop; then says once where to go."""

    def __init__(self, settings: Settings, host: str, port: int, *, demo: bool) -> None:
        self.made = False
        self._settings = settings
        self._host = host
        self._port = port
        self._demo = demo
        self._live = threading.Event()
        threading.Thread(target=self._ask, name="readiness", daemon=True).start()

    def make_when_live(self) -> None:
        if self.made or not self._live.is_set():
            return
        self.made = True
        host = f"[{self._host}]" if ":" in self._host else self._host
        typer.echo(f"ready: http://{host}:{self._port}/admin")
        if self._demo:
            for account in json.loads(accounts_file(self._settings).read_text()):
                typer.echo(f"{account['role']}  {account['email']}  {account['password']}")

    def _ask(self) -> None:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        while True:
            # The socket listens already, so the first question simply waits until the web process answers.
            connection = HTTPConnection(host, self._port, timeout=30)
            try:
                connection.request("GET", "/live", headers={"Host": "localhost"})
                if connection.getresponse().status == 200:
                    self._live.set()
                    return
            except (OSError, HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(TICK_SECONDS)


def tell(sentence: str) -> None:
    typer.echo(f"admin-app: {sentence}", err=True)
