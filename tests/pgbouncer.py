"""A real pgbouncer in transaction mode before the private PostgreSQL."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import make_url

from admin_app.config import Settings

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PORT = 6432
START_SECONDS = 10


class Pooler:
    """`settings` are those of an application behind it."""

    def __init__(self, settings: Settings, folder: Path, servers: int) -> None:
        direct = make_url(settings.database_url)
        self._folder = folder
        self._socket = folder / f".s.PGSQL.{PORT}"
        (folder / "pgbouncer.ini").write_text(f"""\
[databases]
{direct.database} = host={direct.query["host"]} port={direct.query["port"]} user={direct.username}
[pgbouncer]
listen_port = {PORT}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = {servers}
max_client_conn = 500
query_wait_timeout = 20
logfile = {folder}/pgbouncer.log
""")
        url = direct.set(query={"host": str(folder), "port": str(PORT)})
        self.settings = settings.model_copy(
            update={
                "database_url": url.render_as_string(hide_password=False),
                "database_direct_url": settings.database_url,
            }
        )
        # It refuses root, and PostgreSQL's socket is its owner's alone.
        owner = (settings.data_dir / "postgres").stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        self._account = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}

    def start(self) -> None:
        assert PROGRAM is not None
        command = [PROGRAM, "--quiet", str(self._folder / "pgbouncer.ini")]
        self._process = subprocess.Popen(command, cwd="/", stderr=subprocess.DEVNULL, **self._account)
        deadline = time.monotonic() + START_SECONDS
        while not self._socket.exists():
            assert time.monotonic() < deadline, "pgbouncer does not start"
            time.sleep(0.01)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(FileNotFoundError):
            self._socket.unlink()

    def restart(self) -> None:
        self.stop()
        self.start()


@contextmanager
def pooler(settings: Settings, *, servers: int) -> Iterator[Pooler]:
    """With so many connections to PostgreSQL for everybody."""
    if PROGRAM is None:
        assert os.environ.get("REQUIRE_POOLER") != "1", "There is no pgbouncer."
        pytest.skip("There is no pgbouncer (apt-get install pgbouncer).")
    # Not pytest's own folder: PostgreSQL's account could not enter it.
    with TemporaryDirectory(prefix="admin-app-") as folder:
        running = Pooler(settings, Path(folder), servers)
        running.start()
        try:
            yield running
        finally:
            running.stop()
