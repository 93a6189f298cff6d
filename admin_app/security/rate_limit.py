"""How much one person may ask of the API in a while."""

import time
from collections import Counter
from math import ceil
from uuid import UUID

from limits import parse

from admin_app.errors import TooMany


class RateLimit:
    """Each process counts for itself, in microseconds: asking Redis would take as long as reading a row."""

    def __init__(self, limit: str) -> None:
        """Such as "1200/minute". Everybody's minute begins at the same time."""
        parsed = parse(limit)
        self._amount, self._seconds = parsed.amount, parsed.get_expiry()
        self._spent: Counter[UUID] = Counter()
        self._ends_at = 0.0

    def spend(self, person_id: UUID) -> None:
        """One request of this person, by whichever of their tokens and sessions. Raises TooMany."""
        now = time.monotonic()
        if now >= self._ends_at:
            self._spent.clear()
            self._ends_at = now + self._seconds
        self._spent[person_id] += 1
        if self._spent[person_id] > self._amount:
            rest = max(1, ceil(self._ends_at - now))
            allowed = f"at most {self._amount:,} in {self._seconds:,} s"
            raise TooMany(f"Too many requests: {allowed}. Try again in {rest} s.", rest)
