"""Everything that runs: the private servers, and web, relay and worker processes that are started again."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from admin_app import lifeline, migrations
from admin_app.config import ConfigurationError, Settings
from admin_app.embedded import EmbeddedServers
from admin_app.web import listen
from tests.conftest import _spare_the_disk

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 3
TEND_SECONDS = 0.1
STOP_SECONDS = 15


class Part:
    """One process of ours, which is started again whenever it ends."""

    def __init__(self, name: str, command: str, settings: Settings, log: Path, port: int | None) -> None:
        self.name = name
        self.port = port
        self.ends: list[int] = []
        """Exit codes, minus the signal of who was killed."""
        options = ["--port", str(port)] if port else []
        self._command = [sys.executable, "-m", "admin_app", command, *options]
        self._log = log
        self._process: psutil.Popen | None = None
        self._environment = {
            **os.environ,
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "SECRET_KEY": settings.secret_key.get_secret_value(),
            "DATA_DIR": str(settings.data_dir),
            "DELIVERY_LEASE_SECONDS": str(LEASE_SECONDS),
            lifeline.VARIABLE: "1",
        }

    @property
    def process(self) -> psutil.Popen:
        assert self._process is not None
        return self._process

    def tend(self) -> None:
        code = None if self._process is None else self._process.poll()
        if code is not None:
            self.ends.append(code)
        if self._process is None or code is not None:
            with self._log.open("ab") as log:
                # Its standard input is its lifeline: should this process be killed, it ends, too.
                self._process = psutil.Popen(
                    self._command,
                    cwd=ROOT,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(STOP_SECONDS)
            except psutil.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Stage:
    def __init__(
        self, servers: EmbeddedServers, ports: Sequence[int], logs: Path, relays: int, workers: int
    ) -> None:
        self.settings = servers.settings
        self.ports = ports
        self._logs = logs
        self._servers = servers
        kinds: list[tuple[str, int | None]] = [("serve", port) for port in ports]
        kinds += [("relay", None)] * relays + [("worker", None)] * workers
        self.parts = [
            Part(f"{kind}-{number}", kind, self.settings, logs / f"{kind}-{number}.log", port)
            for number, (kind, port) in enumerate(kinds)
        ]
        self._ended: set[str] = set()

    def those(self, kind: str) -> list[Part]:
        return [part for part in self.parts if part.name.startswith(kind)]

    async def tend(self) -> None:
        """Until it is cancelled."""
        while True:
            for part in self.parts:
                if part.name not in self._ended:
                    part.tend()
            if self._servers.dead():
                with suppress(ConfigurationError):  # what a killed one left may be in the way for a while
                    await asyncio.to_thread(self._servers.revive)
            await asyncio.sleep(TEND_SECONDS)

    async def end(self, *kinds: str) -> None:
        """Politely, and for good."""
        parts = [part for kind in kinds for part in self.those(kind)]
        self._ended |= {part.name for part in parts}
        await asyncio.gather(*(asyncio.to_thread(part.end) for part in parts))

    def server(self, name: str) -> psutil.Process:
        file = {"valkey": "valkey/valkey.pid", "postgres": "postgres/postmaster.pid"}[name]
        return psutil.Process(int((self.settings.data_dir / file).read_text().split()[0]))

    def keep_logs(self) -> str:
        """Where they are from now on."""
        kept = tempfile.mkdtemp(prefix="admin-app-chaos-")
        for log in (*self._logs.glob("*.log"), *self.settings.data_dir.glob("*.log")):
            shutil.copy(log, kept)
        return kept

    def kill_all(self) -> None:
        for part in self.parts:
            part.end(signal.SIGKILL)


@contextmanager
def stage(*, webs: int = 2, relays: int = 1, workers: int = 2) -> Iterator[Stage]:
    """A migrated installation in a directory of its own, which is gone afterwards with all that ran in it."""
    with (
        tempfile.TemporaryDirectory(prefix="admin-app-") as data_dir,
        EmbeddedServers(Settings(data_dir=Path(data_dir), _env_file=None)) as servers,
    ):
        asyncio.run(_spare_the_disk(servers.settings.database_url))
        migrations.upgrade(servers.settings.database_url)
        logs = Path(data_dir) / "logs"
        logs.mkdir()
        found = Stage(servers, _free_ports(webs), logs, relays, workers)
        try:
            yield found
        finally:
            found.kill_all()


def _free_ports(number: int) -> list[int]:
    listeners = [listen("127.0.0.1", 0) for _ in range(number)]
    try:
        return [int(listener.getsockname()[1]) for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


def freeze(root: psutil.Process) -> list[psutil.Process]:
    """The process and all below it, the parents first so that nothing new begins. Returns who is frozen."""
    frozen: list[psutil.Process] = []
    while True:
        with suppress(psutil.Error):
            new = [each for each in (root, *root.children(recursive=True)) if each not in frozen]
            for each in new:
                with suppress(psutil.Error):
                    each.suspend()
            frozen += new
            if new:
                continue
        return frozen


def thaw(frozen: Sequence[psutil.Process]) -> None:
    for each in reversed(frozen):
        with suppress(psutil.Error):
            each.resume()
