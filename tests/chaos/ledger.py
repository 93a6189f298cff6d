"""What people tried and what they were told: the books that the database is held against."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

MAX_FAULTS = 20


class Told(StrEnum):
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """By an answer that says why; nothing may have been changed."""
    UNKNOWN = "unknown"
    """At least once nobody answered, or only that the database is away: it is there, or it is not."""


@dataclass
class Try:
    """One change by one person, sent once or several times.

    `values` are as the history writes them down, each of them tried only once in a whole run.
    """

    what: str
    person: str
    values: dict[str, str] = field(default_factory=dict)
    row_id: UUID | None = None
    version: int | None = None
    """The version it was made on."""
    rows: list[dict[str, str]] = field(default_factory=list)
    """Of an import: what the rows of its file say."""
    told: Told = Told.UNKNOWN
    reason: str = ""
    sent: int = 0
    is_unanswered: bool = False
    """At least once; otherwise each answer said that nothing was changed."""


@dataclass
class Ledger:
    """`faults` are sentences about what must never happen, whatever is killed."""

    tries: list[Try] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    under_way: Counter[int] = field(default_factory=Counter)
    """Port -> changes that were sent there and not answered yet."""
    _numbers: int = 0

    def number(self) -> int:
        """Another one each time, to make values of that are tried only once."""
        self._numbers += 1
        return self._numbers

    def begin(self, what: str, person: str, **known: object) -> Try:
        one = Try(what, person, **known)  # type: ignore[arg-type]
        self.tries.append(one)
        return one

    def of(self, *what: str) -> Iterator[Try]:
        return (one for one in self.tries if one.what in what)

    def fault(self, sentence: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(sentence)
