"""A real S3 server on this machine: `rclone serve s3` on a folder."""

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from rclone_api import BINARY_PATH

HOST = "127.0.0.1"
BUCKET = "media"
KEY, SECRET = "a-key", "a-secret"
START_TIMEOUT_SECONDS = 30


class S3Server:
    """`stop` and `start` make an outage: the address and what is stored stay."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]
        self.bucket = folder / BUCKET
        self.bucket.mkdir()

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}"

    @property
    def options(self) -> Mapping[str, str]:
        return {
            "endpoint": f"http://{HOST}:{self.port}",
            "region": "us-east-1",
            "access_key_id": KEY,
            "secret_access_key": SECRET,
        }

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *(BINARY_PATH, "serve", "s3", self._folder),
                *("--addr", f"{HOST}:{self.port}", "--auth-key", f"{KEY},{SECRET}"),
                *("--config", "/dev/null", "--quiet", "--log-file", "/dev/null"),
            ],
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._is_listening():
            assert self._process.poll() is None, "rclone has ended"
            assert time.monotonic() < deadline, "rclone does not listen"
            time.sleep(0.02)

    def _is_listening(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def s3_server() -> Iterator[S3Server]:
    with TemporaryDirectory(prefix="admin-app-s3-") as folder:
        server = S3Server(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
