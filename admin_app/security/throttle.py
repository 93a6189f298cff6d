"""Bounds on guessing: how often passwords, codes and links may be tried. Counted in Redis, for all processes.

A try is counted before it is made, so that a hundred at once are no hundred guesses, and given back if it did
not fail. While Redis is away each process counts for itself.
"""

import asyncio
import hashlib
import logging
import time
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil

from limits import RateLimitItem, parse, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from admin_app.errors import TooMany, WrongCredential

KEY_PREFIX = "throttle"
REDIS_CONNECTIONS = 4
REDIS_TIMEOUT_SECONDS = 1
REDIS_AWAY_SECONDS = 10
"""So long a failing Redis is not asked again: a frozen one must not hold up every request."""

KNOWN = parse("1/30 days")
"""So long an account is known at an address from which somebody has got into it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Door:
    """Something to be guessed, and how often in a while it may be wrong.

    Each of several windows begins with the first failure in it: a longer one with little more in it makes the
    waits grow.
    """

    name: str
    both: Sequence[RateLimitItem] = ()
    """For one account from one address."""

    account: Sequence[RateLimitItem] = ()
    """For one account from wherever it is not known: strangers lock nobody out of where they usually are."""

    address: Sequence[RateLimitItem] = ()
    """For one address, behind which there may be many people."""

    failure: str = ""
    """What the history calls a try that failed."""

    behind: "Door | None" = None
    """The door before this one: who gets through here did not fail there either."""


GROWING_WAITS = parse_many("5/minute; 6/5 minutes; 7/15 minutes; 8/hour")

PASSWORD = Door(
    "password", GROWING_WAITS, parse_many("100/hour"), parse_many("100/hour"), failure="wrong password"
)
CODE = Door(
    "code",
    GROWING_WAITS,
    parse_many("20/hour"),
    parse_many("100/hour"),
    failure="wrong code",
    behind=PASSWORD,
)
"""Of a million codes three are right at a time. Only whoever knows the password gets to guess them."""

RESET_REQUEST = Door("reset request", parse_many("3/hour"), parse_many("6/hour"), parse_many("20/hour"))
"""Here every try counts: each may send an e-mail."""

RESET_LINK = Door("reset link", address=parse_many("30/hour"))


class TooManyTries(TooMany):
    def __init__(self, wait_seconds: int) -> None:
        super().__init__(f"Too many tries. Wait {_in_words(wait_seconds)}, then try again.", wait_seconds)


Count = tuple[RateLimitItem, tuple[str, str, str]]
"""A limit, and whose failures it is about."""

Counting = Callable[[FixedWindowRateLimiter], Awaitable[None]]


class Throttle:
    """One per process. It connects to Redis when something is tried."""

    def __init__(self, redis_url: str) -> None:
        """Without a Redis this process counts alone."""
        self._alone = FixedWindowRateLimiter(MemoryStorage())
        self._pool: ConnectionPool | None = None
        self._shared: FixedWindowRateLimiter | None = None
        self._away_until = 0.0
        self._turns = asyncio.Semaphore(REDIS_CONNECTIONS)
        if redis_url:
            self._pool = ConnectionPool.from_url(
                redis_url,
                socket_timeout=REDIS_TIMEOUT_SECONDS,
                socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
            storage = RedisStorage(
                "async+redis://",
                implementation="redispy",
                key_prefix=KEY_PREFIX,
                connection_pool=self._pool,  # type: ignore[arg-type]  # its annotation forgot this option
            )
            self._shared = FixedWindowRateLimiter(storage)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.disconnect()

    @asynccontextmanager
    async def attempt(self, door: Door, account: str | None, address: str | None) -> AsyncIterator[None]:
        """Around a try at this account: an e-mail address as typed, whether or not anybody has it.

        Raises TooManyTries before it. One that ends in WrongCredential has failed, in another error was none;
        else it has succeeded, and what this account failed at from this address is forgotten.
        """
        trial = _Trial(door, _account_name(account), _address_name(address))
        is_shared = await self._begin(trial)
        try:
            yield
        except WrongCredential:
            raise
        except Exception:
            await self._end(trial.void, is_shared)
            raise
        await self._end(trial.succeed, is_shared)

    async def count(self, door: Door, account: str | None, address: str | None) -> None:
        """A try that counts whatever comes of it. Raises TooManyTries."""
        await self._begin(_Trial(door, _account_name(account), _address_name(address)))

    async def _begin(self, trial: "_Trial") -> bool:
        """Whether Redis counted it."""
        is_shared = await self._share(trial.begin)
        if not is_shared:
            await trial.begin(self._alone)
        return is_shared

    async def _end(self, ending: Counting, is_shared: bool) -> None:
        if is_shared:
            await self._share(ending)
        else:
            await ending(self._alone)

    async def _share(self, counting: Counting) -> bool:
        """Whether Redis did it. If it fails, whoever waits for a turn behind it need not ask it again."""
        async with self._turns:
            if self._shared is None or time.monotonic() < self._away_until:
                return False
            try:
                await counting(self._shared)
            except (RedisError, OSError) as error:
                self._away_until = time.monotonic() + REDIS_AWAY_SECONDS
                logger.warning(
                    "Redis cannot be reached (%s): this process counts tries alone for %s seconds.",
                    type(error).__name__,
                    REDIS_AWAY_SECONDS,
                )
                return False
        return True


class _Trial:
    """The counts of one attempt. Names are empty for an account or an address that is not known."""

    def __init__(self, door: Door, account: str, address: str) -> None:
        self._known = ("known", account, address)
        self._both = [(limit, (door.name, account, address)) for limit in door.both if account]
        before = door.behind
        self._before = [(limit, (before.name, account, address)) for limit in before.both] if before else []
        self._account = [(limit, (door.name, account, "")) for limit in door.account if account]
        self._address = [(limit, (door.name, "", address)) for limit in door.address if address]

    async def begin(self, limiter: FixedWindowRateLimiter) -> None:
        """Counts a failure, or counts nothing and raises TooManyTries."""
        if self._account and not await limiter.test(KNOWN, *self._known):
            self._account = self._address = []
        counts = self._both + self._account + self._address
        for taken, (limit, names) in enumerate(counts, 1):
            if not await limiter.hit(limit, *names):
                await _give_back(limiter, counts[:taken])
                raise TooManyTries(await _wait_seconds(limiter, counts))

    async def succeed(self, limiter: FixedWindowRateLimiter) -> None:
        for limit, names in self._both + self._before:
            await limiter.clear(limit, *names)
        await _give_back(limiter, self._account + self._address)
        await limiter.hit(KNOWN, *self._known)

    async def void(self, limiter: FixedWindowRateLimiter) -> None:
        await _give_back(limiter, self._both + self._account + self._address)


async def _give_back(limiter: FixedWindowRateLimiter, counts: Sequence[Count]) -> None:
    for limit, names in counts:
        await limiter.hit(limit, *names, cost=-1)


async def _wait_seconds(limiter: FixedWindowRateLimiter, counts: Sequence[Count]) -> int:
    """Until another try is let through. Redis tells a rest of a window rounded to seconds, up or down."""
    rests = [2.0]
    for limit, names in counts:
        window = await limiter.get_window_stats(limit, *names)
        if window.remaining <= 0:
            rests.append(window.reset_time - time.time() + 1)
    return ceil(max(rests))


def _account_name(email: str | None) -> str:
    """One for all spellings PostgreSQL's lower() may take for the same, and of a short, harmless shape."""
    if not email:
        return ""
    letters = unicodedata.normalize("NFKD", email.strip())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()
    return hashlib.sha256(plain.encode(errors="replace")).hexdigest()


def _address_name(address: str | None) -> str:
    """Of IPv6 the network: whoever has one address there has all of them."""
    if not address:
        return ""
    try:
        parsed = ip_address(address)
    except ValueError:
        return hashlib.sha256(address.encode(errors="replace")).hexdigest()
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(IPv6Address(int(parsed) >> 64 << 64))
        return str(parsed.ipv4_mapped)
    return str(parsed)


def _in_words(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 120 else f"{ceil(seconds / 60)} minutes"
