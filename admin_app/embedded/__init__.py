"""A private PostgreSQL and Valkey for whoever configured none.

Both come from wheels and listen on Unix sockets only. They outlive a process that was killed: the next
one to use the data directory adopts them. Whoever leaves a data directory last stops them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from pydantic import SecretStr

from admin_app.config import Settings
from admin_app.embedded.data_directory import DataDirectory
from admin_app.embedded.postgres import Postgres
from admin_app.embedded.server import Server, stop_servers
from admin_app.embedded.valkey import Valkey

__all__ = ["EmbeddedServers", "embedded_servers"]


class EmbeddedServers:
    """A context manager; inside it `settings` is complete and the servers run.

    When everything is configured it does nothing at all, not even make the data directory.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._directory: DataDirectory | None = None
        self._servers: list[Server] = []

    def __enter__(self) -> Self:
        """Raises ConfigurationError with one sentence when a server cannot run."""
        settings = self.settings
        if settings.database_url and settings.redis_url and settings.secret_key.get_secret_value():
            return self
        directory = self._directory = DataDirectory(settings.data_dir)
        found: dict[str, Any] = {"data_dir": directory.path}
        try:
            with directory.turn():
                directory.join()
                if not settings.secret_key.get_secret_value():
                    found["secret_key"] = SecretStr(directory.secret_key())
                if not settings.database_url:
                    found["database_url"] = self._start(Postgres(directory.path))
                if not settings.redis_url:
                    found["redis_url"] = self._start(Valkey(directory.path))
        except BaseException:
            self._leave()
            raise
        self.settings = settings.model_copy(update=found)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def dead(self) -> list[str]:
        """Names of the servers that no longer run; cheap enough to ask every second."""
        return [server.name for server in self._servers if not server.is_running()]

    def revive(self) -> None:
        """Starts again what has died. Raises ConfigurationError when that fails."""
        if self._directory is None:
            return
        with self._directory.turn():
            for server in self._servers:
                if not server.is_running():
                    server.start()

    def _start(self, server: Server) -> str:
        self._servers.append(server)
        server.start()
        return server.url

    def _leave(self) -> None:
        if self._directory is None:
            return
        with self._directory.turn():
            if self._directory.leave():
                stop_servers(self._servers)


@contextmanager
def embedded_servers(settings: Settings) -> Iterator[Settings]:
    """The settings with `database_url`, `redis_url` and `secret_key` filled in where they were empty."""
    with EmbeddedServers(settings) as servers:
        yield servers.settings
