"""The ranked, typo-tolerant index: what it is asked, wherever it is kept, and how far a rebuild of it is."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import Text, func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base

SEARCH = "search_engine"
"""The key under which a session carries the engine, where it is not PostgreSQL."""


@dataclass(frozen=True)
class SearchDocument:
    """What the index knows of one row. A higher version replaces a lower one, in any order of arrival."""

    id: UUID
    version: int
    title: str
    keywords: str
    body: str

    @property
    def digest(self) -> bytes:
        """Of its words, whatever the version."""
        parts = (self.title, self.keywords, self.body)
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Hit:
    """`score` is from 0 to 1, so that hits of different indexes make one list."""

    id: UUID
    score: float


class Known(NamedTuple):
    """Which state of a row the index has. Without a digest it is not known what the words were."""

    version: int
    digest: bytes | None


class SearchIndex(Protocol):
    """Eventually complete: rows appear in it when the worker has seen their event.

    Everything raises Unavailable while the index cannot be reached.
    """

    async def upsert(self, documents: Sequence[SearchDocument], *, anew: bool = False) -> None:
        """`anew`: also those that the index believes to have."""

    async def remove(self, ids: Iterable[UUID]) -> None: ...

    async def search(self, text: str, *, limit: int) -> list[Hit]:
        """Best first. Tolerates typing errors, missing accents, swapped and unfinished words."""

    async def is_empty(self) -> bool: ...

    async def known(self, ids: Sequence[UUID]) -> dict[UUID, Known]:
        """Of these rows, those the index has."""

    def ids(self, limit: int) -> AsyncIterator[Sequence[UUID]]:
        """Everything in the index, so many at a time."""


class SearchEngine(Protocol):
    """Where an index is kept, and beside it the successor that a rebuild fills."""

    target: str
    """By which a rebuild knows that it goes on where it began. Holds no secret."""

    is_in_database: bool
    """Then taking over is part of the transaction, and the versions can be joined to the rows."""

    def index(self, session: AsyncSession) -> SearchIndex: ...

    def successor(self, session: AsyncSession) -> SearchIndex: ...

    async def set_up(self) -> str:
        """Settings and synonyms. Returns a sentence on what was done."""

    async def begin(self, session: AsyncSession) -> None:
        """Make an empty successor, in place of one that may be there."""

    async def complete(self, session: AsyncSession) -> None:
        """Whatever takes long once everything is in the successor; it is written to meanwhile."""

    async def take_over(self, session: AsyncSession) -> None:
        """The successor becomes the index. Nobody writes meanwhile; searches go on."""

    async def tidy_up(self) -> None:
        """Remove what the index was, after the change-over was committed."""

    async def close(self) -> None: ...


class SearchRebuild(Base):
    """A rebuild that has not ended. While it is here, changes are written to the successor too."""

    __tablename__ = "search_rebuild"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    target: Mapped[str] = mapped_column(Text)
    after: Mapped[UUID | None]
    """The last row that is in the successor; rows are taken in the order of their ids."""
    done: Mapped[int] = mapped_column(server_default="0")
    is_taking_over: Mapped[bool] = mapped_column(server_default="false")
    """Set before a change-over that no transaction covers: of one cut short nobody knows how far it got."""
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())


def storable(text: str) -> str:
    """The text without what neither PostgreSQL nor JSON can carry."""
    return text.replace("\0", " ").encode(errors="ignore").decode()
