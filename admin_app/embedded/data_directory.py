"""The data directory: who uses it, whose turn it is to start or stop servers, the secret key, sockets."""

import fcntl
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from admin_app.config import MIN_SECRET_LENGTH, ConfigurationError

TURN_TIMEOUT_SECONDS = 90
# sun_path holds 108 bytes on Linux and 104 on macOS; the longest name in it is ".s.PGSQL.5432".
MAX_SOCKET_DIRECTORY_BYTES = 85
# Anything else (a space, a comma) needs quoting in a URL, in a PostgreSQL list and in asyncpg's host list.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")


class DataDirectory:
    """Processes that use the directory hold a shared lock on one file; the kernel drops it when they die."""

    def __init__(self, path: Path) -> None:
        """Makes the directory, private to its owner. Raises ConfigurationError when it cannot be written."""
        self.path = path.expanduser().resolve()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._users = (self.path / "users.lock").open("a")
        except OSError as error:
            raise unusable(self.path, error) from None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Only one process at a time starts or stops servers in this directory."""
        with (self.path / "turn.lock").open("a") as file:
            deadline = time.monotonic() + TURN_TIMEOUT_SECONDS
            while not try_lock(file):
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"Another process has been starting servers in {self.path} for too long."
                    )
                time.sleep(0.05)
            yield

    def join(self) -> None:
        """Call it in one's turn."""
        fcntl.flock(self._users, fcntl.LOCK_SH)

    def leave(self) -> bool:
        """Whether nobody else is left. Call it in one's turn: flock does not upgrade a lock atomically."""
        last = try_lock(self._users)
        self._users.close()
        return last

    def secret_key(self) -> str:
        """Made once; kept so that a restart signs nobody out."""
        path = self.path / "secret-key"
        try:
            if not path.exists():
                new = self.path / "secret-key.new"
                new.unlink(missing_ok=True)
                with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(secrets.token_urlsafe(48))
                new.rename(path)
            key = path.read_text().strip()
        except OSError as error:
            raise unusable(path, error) from None
        if len(key) < MIN_SECRET_LENGTH:
            raise ConfigurationError(
                f"{path} is damaged; delete it to get a new one (everybody signs in again)."
            )
        return key


def try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"DATA_DIR: {path} cannot be used ({error.strerror}). Choose a directory you may write."
    )


def socket_directory(home: Path, owner_id: int) -> Path:
    """`home` itself, or a short private directory in /tmp when a socket in `home` cannot be addressed.

    The name depends on path and inode: a directory made anew must not meet the servers of the old one.
    Not TMPDIR: it differs between sessions, and the next session must find the same socket.
    """
    if len(os.fsencode(home)) <= MAX_SOCKET_DIRECTORY_BYTES and PLAIN_PATH.fullmatch(str(home)):
        return home
    digest = hashlib.sha256(f"{home}:{home.stat().st_ino}".encode(errors="surrogateescape")).hexdigest()
    short = Path(f"/tmp/admin-app-{digest[:16]}")  # noqa: S108  # checked below: ours, and nobody else's
    try:
        short.mkdir(mode=0o700)
        os.chown(short, owner_id, -1)
    except FileExistsError:
        pass
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner_id or found.st_mode & 0o077:
        raise ConfigurationError(f"{short} exists but is not a private directory of this user. Remove it.")
    return short
