"""Reads in one round trip, sign-in included: on connections of their own and without a transaction.

Asking who calls, BEGIN, ROLLBACK and the session take longer than to find a row. What is compiled once is
sent as it is; the connections refuse changes, and cancel a statement that takes too long.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Select, Uuid, func, literal_column, select, true
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from admin_app.errors import TooSlow
from admin_app.pooler import through_pooler

CALLER_ID: ColumnElement[UUID] = literal_column("caller.id", Uuid())
"""In a statement for a glance: the id of who calls."""

ACQUIRE_SECONDS = 10
GRACE_SECONDS = 3
"""How long after its own limit a server is given up that has not cancelled a statement."""

CALLER, IS_FOUND = "the_caller", "is_found"


@dataclass(frozen=True)
class Question:
    """Who calls: a statement that finds one row with an `id`, or none, and its values."""

    statement: Select[Any]
    values: Mapping[str, Any]


class _Compiled:
    """What is asked for, and in the same round trip who calls: without a caller there is no row at all."""

    def __init__(self, who: Select[Any], wanted: Select[Any]) -> None:
        known = who.subquery("known")
        told = func.to_jsonb(literal_column("known")).label(CALLER)
        caller = select(known.c.id, told).cte("caller").prefix_with("MATERIALIZED")
        # Of one caller at most, so that rows stay in the order of the statement.
        found = wanted.add_columns(true().label(IS_FOUND)).subquery("found").lateral()
        both = select(*found.c, caller.c[CALLER]).select_from(caller.outerjoin(found, true()))
        compiled = both.compile(dialect=dialect())  # type: ignore[no-untyped-call]
        self._sql = str(compiled)
        self._names: Sequence[str] = compiled.positiontup or ()
        self._fixed = compiled.params

    async def fetch(self, connection: Any, given: Mapping[str, Any]) -> list[Any]:
        values = [given[name] if name in given else self._fixed[name] for name in self._names]
        found: list[Any] = await connection.fetch(self._sql, *values)
        return found


_compiled = lru_cache(maxsize=2048)(_Compiled)  # more than there are


class GlanceRow(asyncpg.Record):  # type: ignore[misc]  # asyncpg has no types
    """With attributes, as SQLAlchemy's rows have them. Values are as asyncpg reads them: JSON is text."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Glances:
    """Connects when something is asked for; what is idle for minutes is closed."""

    def __init__(
        self,
        options: dict[str, Any],
        size: int,
        settings: dict[str, str],
        seconds: float,
        *,
        is_pooled: bool = False,
    ) -> None:
        """`options` as asyncpg takes them; `settings` are PostgreSQL's.

        Behind a pooler, where settings do not outlive a transaction, each look is in one.
        """
        settings = {
            **settings,
            "default_transaction_read_only": "on",
            "statement_timeout": str(int(seconds * 1000)),
        }
        self._is_pooled = is_pooled
        self._options = {
            **options,
            "min_size": 0,
            "max_size": size,
            "record_class": GlanceRow,
            "reset": _nothing,  # nothing here leaves anything behind
            "server_settings": settings,
            "command_timeout": seconds + GRACE_SECONDS,
            **(through_pooler(settings) if is_pooled else {}),
        }
        self._pool: asyncpg.Pool | None = None
        self.size = size
        self.on_answer: Callable[[float], None] | None = None
        """Is told how many seconds a statement took."""

    @property
    def in_use(self) -> int:
        """How many connections."""
        return self._pool.get_size() - self._pool.get_idle_size() if self._pool else 0

    async def look(
        self, question: Question, wanted: Select[Any], values: Mapping[str, Any]
    ) -> tuple[str | None, list[Any]]:
        """The caller's row as JSON, or None, and what is asked for as it is committed now; TooSlow."""
        async with self._connection() as connection:
            began = time.perf_counter()
            try:
                rows = await _compiled(question.statement, wanted).fetch(
                    connection, {**values, **question.values}
                )
            finally:
                if self.on_answer:
                    self.on_answer(time.perf_counter() - began)
        caller = rows[0][CALLER] if rows else None
        return caller, [row for row in rows if row[IS_FOUND]]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._pool is None:
            # Here, for it belongs to the event loop. With no connection yet there is nothing to wait for.
            self._pool = asyncpg.create_pool(**self._options)
            await self._pool
        try:
            async with (
                self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection,
                connection.transaction(readonly=True) if self._is_pooled else nullcontext(),
            ):
                yield connection
        except asyncpg.QueryCanceledError as error:
            raise TooSlow from error

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()


async def _nothing(_connection: Any) -> None:
    pass
