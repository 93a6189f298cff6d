"""Password hashes (argon2id by pwdlib), computed in threads so that nobody else waits for them."""

import unicodedata
from functools import cache

import anyio.to_thread
from anyio import CapacityLimiter
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError

from admin_app.errors import Unavailable

UNUSABLE = "!"
"""In place of a hash: no password opens this account until one is set."""

_hasher = PasswordHash.recommended()
# A hash takes tens of milliseconds and 64 MiB; two at a time keep both in bounds.
MAX_WAITING = 50
"""Some seconds of hashing."""


class HashingSlot:
    """A turn among few. Raises Unavailable when too many wait for theirs already."""

    def __init__(self, slots: int) -> None:
        self._limiter = CapacityLimiter(slots)

    @property
    def waiting(self) -> int:
        return self._limiter.statistics().tasks_waiting

    async def __aenter__(self) -> None:
        if self.waiting >= MAX_WAITING:
            raise Unavailable("Too many people are signing in at once. Try again in a moment.")
        await self._limiter.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._limiter.release()


hashing_slot = HashingSlot(2)
"""Entered before the database is asked for the hash: who waits for a slot holds no connection."""


def normal(password: str) -> str:
    """One form of letters that keyboards send as one sign or as two (NFC, as NIST SP 800-63B-4 says)."""
    return unicodedata.normalize("NFC", password)


async def hash_password(password: str) -> str:
    """To be called in a `hashing_slot`."""
    return await anyio.to_thread.run_sync(_hasher.hash, normal(password))


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Takes as long for an account that does not exist, or has no password, as for one that has.

    To be called in a `hashing_slot`.
    """
    usable = password_hash if password_hash and password_hash != UNUSABLE else None
    decoy = await anyio.to_thread.run_sync(_decoy)  # the first one waits for it, whatever the account
    matches = await anyio.to_thread.run_sync(_verify, password, usable or decoy)
    return matches and usable is not None


@cache
def _decoy() -> str:
    return _hasher.hash("a password nobody has")


def _verify(password: str, password_hash: str) -> bool:
    # As it was typed, too: older hashes are of that.
    try:
        return any(
            _hasher.verify(form, password_hash) for form in dict.fromkeys((normal(password), password))
        )
    except UnknownHashError:
        return False
