"""Password hashes (argon2id by pwdlib), computed in threads so that nobody else waits for them."""

import anyio.to_thread
from anyio import CapacityLimiter
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError

UNUSABLE = "!"
"""In place of a hash: no password opens this account until one is set."""

_hasher = PasswordHash.recommended()
# A verification takes tens of milliseconds and 64 MiB; two at a time keep both in bounds.
_limiter = CapacityLimiter(2)
_decoy = _hasher.hash("a password nobody has")


async def hash_password(password: str) -> str:
    return await anyio.to_thread.run_sync(_hasher.hash, password, limiter=_limiter)


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Takes as long for an account that does not exist, or has no password, as for one that has."""
    usable = password_hash if password_hash and password_hash != UNUSABLE else None
    matches = await anyio.to_thread.run_sync(_verify, password, usable or _decoy, limiter=_limiter)
    return matches and usable is not None


def _verify(password: str, password_hash: str) -> bool:
    try:
        return _hasher.verify(password, password_hash)
    except UnknownHashError:
        return False
