"""Password hashes (argon2id by pwdlib), computed in threads so that nobody else waits for them."""

import anyio.to_thread
from anyio import CapacityLimiter
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError

UNUSABLE = "!"
"""In place of a hash: no password opens this account until one is set."""

_hasher = PasswordHash.recommended()
# A hash takes tens of milliseconds and 64 MiB; two at a time keep both in bounds.
hashing_slot = CapacityLimiter(2)
"""Entered before the database is asked for the hash: who waits for a slot holds no connection."""

_decoy = _hasher.hash("a password nobody has")


async def hash_password(password: str) -> str:
    """To be called in a `hashing_slot`."""
    return await anyio.to_thread.run_sync(_hasher.hash, password)


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Takes as long for an account that does not exist, or has no password, as for one that has.

    To be called in a `hashing_slot`.
    """
    usable = password_hash if password_hash and password_hash != UNUSABLE else None
    matches = await anyio.to_thread.run_sync(_verify, password, usable or _decoy)
    return matches and usable is not None


def _verify(password: str, password_hash: str) -> bool:
    try:
        return _hasher.verify(password, password_hash)
    except UnknownHashError:
        return False
