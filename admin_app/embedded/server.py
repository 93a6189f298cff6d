"""What the private PostgreSQL and Valkey share: found by pid file, started, awaited, stopped."""

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from admin_app.config import ConfigurationError

START_TIMEOUT_SECONDS = 60  # crash recovery and loading a large append-only file take their time
RETRY_SECONDS = 10  # a server whose predecessor was killed may find it not quite gone yet
STOP_TIMEOUT_SECONDS = 3
MAX_LOG_BYTES = 10_000_000


class Server(ABC):
    name: str
    stop_signal: signal.Signals
    force_signal: signal.Signals

    def __init__(self, home: Path, log: Path) -> None:
        self.home = home
        self.socket_directory = home
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def process(self) -> psutil.Process | None:
        """The running server of this home, whoever started it."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers queries. It may run and still be recovering."""

    @abstractmethod
    def command(self) -> tuple[list[str], dict[str, Any]]:
        """The program with its arguments, and what Popen needs to know."""

    def is_running(self) -> bool:
        if self._child is not None:
            if self._child.poll() is None:
                return True
            self._child = None
        return self.process() is not None

    def start(self) -> None:
        """Adopts a server that already runs here. Raises ConfigurationError."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        give_up = time.monotonic() + RETRY_SECONDS
        pause_seconds = 0.0
        while time.monotonic() < deadline:
            if self.is_running():
                if self.is_ready():
                    return
                time.sleep(0.02)
            elif time.monotonic() > give_up:
                raise ConfigurationError(f"The private {self.name} does not start: {self._last_words()}")
            else:
                time.sleep(pause_seconds)
                self._launch()
                pause_seconds = 0.3
        raise ConfigurationError(f"The private {self.name} does not answer. See {self._log}.")

    def _launch(self) -> None:
        if self._log.exists() and self._log.stat().st_size > MAX_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.old"))
        arguments, options = self.command()
        self._log.touch(mode=0o600)  # PostgreSQL writes down statements that failed
        with self._log.open("ab") as log:
            # Its own session: Ctrl-C in the terminal must reach only whoever stops the servers in order.
            self._child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        telling = [line for line in lines[-50:] if "FATAL" in line or "rror" in line] or lines
        return f"{telling[-1].strip() if telling else 'it said nothing'} (see {self._log})"


def stop_servers(servers: Sequence[Server]) -> None:
    """All at once, politely first. PostgreSQL and an append-only Valkey lose nothing when forced."""
    running = [(server, process) for server in servers if (process := server.process())]
    for attempt in ("stop_signal", "force_signal"):
        for server, process in running:
            _send(process, getattr(server, attempt))
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while any(server.is_running() for server, _ in running) and time.monotonic() < deadline:
            time.sleep(0.02)
        running = [(server, process) for server, process in running if server.is_running()]
    for server in servers:
        if server.socket_directory != server.home:
            with suppress(OSError):
                server.socket_directory.rmdir()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.Error):
        process.send_signal(number)


def process_of(pid_file: Path, mark: str) -> psutil.Process | None:
    """The live process a pid file names, if `mark` stands in its command line.

    After a reboot, or in a new container, the same pid belongs to somebody else. The command line and not
    the working directory, because root in a container may not look into another user's process.
    """
    try:
        process = psutil.Process(int(pid_file.read_text().split(maxsplit=1)[0]))
        if process.status() != psutil.STATUS_ZOMBIE and mark in " ".join(process.cmdline()):
            return process
    except (OSError, ValueError, IndexError, psutil.Error):
        pass
    return None


def package_directory(name: str) -> Path:
    """Where a wheel was installed, without importing it: that takes 0.3 s, and only its files are needed."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            f"The package {name} is not installed. Install it, or configure your own servers."
        )
    return Path(spec.origin).parent
