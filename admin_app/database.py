"""The engine, the declarative base, the mixins every model shares, and the one way to open a transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    DateTime,
    Enum,
    ExceptionContext,
    MetaData,
    Select,
    SmallInteger,
    TypeDecorator,
    Uuid,
    event,
    func,
    text,
)
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.base import Executable

from admin_app.errors import OutcomeUnknown, TooSlow
from admin_app.glances import Glances, Question
from admin_app.pooler import through_pooler

# A plan made for any value takes the wrong index for most: 600 ms against 1 ms for a rare word in a million
# rows. Compiling a query to machine code costs more than any page's query takes.
# A process that froze inside a transaction must not keep its locks for ever; tasks have 300 s.
SERVER_SETTINGS = {
    "application_name": "admin_app",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "idle_in_transaction_session_timeout": "330s",
}

READ_SECONDS = 2.0
"""The longest a statement of a request may take that only looks; a page may set itself another limit."""

QUERY_CANCELED, LOCK_NOT_AVAILABLE = "57014", "55P03"
LOST_STATES = ("08", "57P")
"""The connection broke, or the server ended."""

_DATABASE = "database"


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012  # read by SQLAlchemy as declared


class Identified:
    """A time-ordered id made by PostgreSQL 18."""

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.uuidv7(), sort_order=-1)


class WrittenAt(TypeDecorator[datetime]):
    """The time an id was made, to compare it with: ids are in its order."""

    impl = Uuid
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> UUID | None:
        """The first id of that millisecond (RFC 9562, 5.7)."""
        return None if value is None else UUID(int=max(0, int(value.timestamp() * 1000)) << 80)


class Timestamped:
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=1)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now(), sort_order=1)


class IntEnumType(TypeDecorator[Any]):
    """A column type: members of an IntEnum, stored as small integers."""

    impl = SmallInteger
    cache_ok = True

    def __init__(self, kind: type[IntEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: int | None, dialect: Any) -> int | None:
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: Any) -> IntEnum | None:
        return None if value is None else self.kind(value)


def text_enum(kind: type[StrEnum], name: str) -> Enum:
    """A column type: the value as text, and a constraint of this name that allows no other."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        name=name,
        length=20,
        values_callable=lambda members: [member.value for member in members],
    )


class Database:
    """One engine and its sessions.

    With a `direct_url`, `url` is a pooler in transaction mode. What outlives a transaction (a lock, LISTEN,
    a setting) needs a connection of `direct`, which is then an engine that keeps none open.

    `session_info` is laid on every session: the place where the application hands the outbox its
    table of event handlers without the database knowing any domain. `on_close` ends what was laid there.

    A server that has not answered a statement after `answer_seconds` is given up: TimeoutError.
    """

    def __init__(
        self,
        url: str,
        *,
        direct_url: str = "",
        pool_size: int = 10,
        answer_seconds: float | None = None,
        session_info: Mapping[str, Any] | None = None,
        on_close: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        usual = {"server_settings": SERVER_SETTINGS, "command_timeout": answer_seconds}
        pooled = {**usual, **through_pooler(SERVER_SETTINGS), "prepared_statement_cache_size": 0}
        self.engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            hide_parameters=True,  # values have no place in a log
            connect_args=pooled if direct_url else usual,
        )
        event.listen(self.engine.sync_engine, "handle_error", _on_error)
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self.direct = self.engine
        if direct_url:
            self.direct = create_async_engine(
                direct_url, poolclass=NullPool, hide_parameters=True, connect_args=usual
            )
        self.info = {**(session_info or {}), _DATABASE: self}
        self._sessions = self.sessionmaker()
        self.long_reads = asyncio.Semaphore(pool_size // 2)
        """Whoever reads for longer than an answer takes holds it, so that others find a connection."""
        self._on_close = on_close
        _, options = self.engine.dialect.create_connect_args(self.engine.url)
        # A glance finds rows by an index whatever its values are: planning it each time takes twice as long.
        settings = {**SERVER_SETTINGS, "plan_cache_mode": "auto"}
        self.glances = Glances(
            dict(options), max(1, pool_size // 2), settings, READ_SECONDS, is_pooled=bool(direct_url)
        )

    def sessionmaker(self) -> async_sessionmaker[AsyncSession]:
        """A new session maker, for a library that reconfigures the one it is given."""
        return async_sessionmaker(self.engine, expire_on_commit=False, info=self.info)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Commits once at the end, or rolls everything back when the block raises.

        Raises OutcomeUnknown when the connection is lost in between.
        """
        async with self._sessions() as session, session.begin() as whole:
            yield session
            await session.flush()
            try:
                if whole.is_active:
                    await whole.commit()
            except (DBAPIError, asyncpg.InterfaceError, OSError) as error:
                state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
                if state and not state.startswith(LOST_STATES):
                    raise  # PostgreSQL refused it
                raise OutcomeUnknown from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session whose work is thrown away; for pages that only look."""
        async with self._sessions() as session:
            yield session

    def glancing(self, question: Question, accept: Callable[[str | None], None]) -> "GlanceSession":
        """For services that are asked for what they call a glance. Raises TooSlow after READ_SECONDS.

        `accept` is told who calls, as JSON or None, before the service is told anything; it may raise.
        """
        return GlanceSession(self.info, self.glances, question, accept)

    async def close(self) -> None:
        for close in self._on_close:
            await close()
        await self.glances.close()
        await self.engine.dispose()
        await self.direct.dispose()


def beside(session: AsyncSession) -> AbstractAsyncContextManager[AsyncSession]:
    """A transaction of its own, which is committed whatever becomes of the session's."""
    database: Database = session.info[_DATABASE]
    return database.transaction()


def direct_engine(session: AsyncSession) -> AsyncEngine:
    """For connections that keep something for longer than a transaction: see Database."""
    database: Database = session.info[_DATABASE]
    return database.direct


class GlanceSession:
    """In the place of a session, for a service that is asked for a glance; it can do nothing else."""

    def __init__(
        self,
        info: Mapping[str, Any],
        glances: Glances,
        question: Question,
        accept: Callable[[str | None], None],
    ) -> None:
        self.info = info
        self._glances = glances
        self._question = question
        self._accept = accept

    async def look(self, statement: Select[Any], values: Mapping[str, Any]) -> list[Any]:
        caller, rows = await self._glances.look(self._question, statement, values)
        self._accept(caller)
        return rows


async def glance(session: AsyncSession, statement: Select[Any], **values: Any) -> list[Any]:
    """Rows as they are committed now. The session must be one of `Database.glancing`."""
    assert isinstance(session, GlanceSession)
    return await session.look(statement, values)


async def limit_time(session: AsyncSession, seconds: float) -> None:
    """From now to the end of its transaction, each statement of the session may take so long.

    One that takes longer is cancelled in the database and raises TooSlow.
    """
    milliseconds = max(1, int(seconds * 1000))  # 0 would be for ever
    await session.execute(text(f"SET LOCAL statement_timeout = {milliseconds}"))


async def estimated_rows(session: AsyncSession, statement: Select[Any]) -> int:
    """How many rows PostgreSQL's planner expects, from its statistics: quick, and roughly right."""
    plan = await session.scalar(_Explain(statement))
    return int(plan[0]["Plan"]["Plan Rows"])


class _Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(_Explain)
def _compile_explain(element: _Explain, compiler: Any, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """One whose end asyncpg has seen, after a restart of what is at the other, is replaced unasked."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _on_error(context: ExceptionContext) -> None:
    if getattr(context.original_exception, "sqlstate", None) == QUERY_CANCELED:
        raise TooSlow from context.original_exception


def violated_constraint(error: IntegrityError) -> str:
    """The name of the constraint PostgreSQL refused, or '' when it named none."""
    cause = getattr(error.orig, "__cause__", None)
    return str(getattr(cause, "constraint_name", None) or "")
