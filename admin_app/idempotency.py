"""Requests sent twice change something once: a key of the sender's own choice, and the answer it got.

After draft-ietf-httpapi-idempotency-key-header-07. Key and answer are committed with the change itself. What
was refused left nothing behind, so its key is free again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Index, LargeBinary, Text, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.actor import Actor
from admin_app.database import LOCK_NOT_AVAILABLE, Base
from admin_app.errors import AppError, Conflict

KEPT_HOURS = 24
PRUNED_AT_ONCE = 10_000
WAIT_SECONDS = 5
"""How long a twin waits for the first to end. It holds a connection meanwhile."""


class KeyReused(AppError):
    status = 422

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was sent with another request before. Choose a new one.")


class StillRunning(Conflict):
    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is still running. Ask again in a moment.")


class IdempotencyKey(Base):
    __tablename__ = "idempotency_key"
    __table_args__ = (Index("ix_idempotency_key_created_at", "created_at"),)

    actor_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int | None]
    headers: Mapped[dict[str, str]] = mapped_column(JSONB, server_default="{}")
    body: Mapped[bytes] = mapped_column(LargeBinary, server_default=text("''"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


async def claim(session: AsyncSession, actor: Actor, key: str, request_hash: bytes) -> Answer | None:
    """None if the key is new; else what was answered to the request that brought it first.

    A twin that is under way is waited for. Raises KeyReused for another request, and StillRunning.
    """
    mine = (IdempotencyKey.actor_id == actor.id, IdempotencyKey.key == key)
    new = (
        insert(IdempotencyKey)
        .values(actor_id=actor.id, key=key, request_hash=request_hash)
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    )
    await session.execute(text(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"))
    try:
        is_new = await session.scalar(new) is not None
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise StillRunning from None
        raise
    await session.execute(text("SET LOCAL lock_timeout = 0"))
    if is_new:
        return None
    row: Any = (await session.execute(select(IdempotencyKey).where(*mine))).scalar_one()
    if row.request_hash != request_hash:
        raise KeyReused
    return Answer(row.status, row.headers, row.body)


async def keep(session: AsyncSession, actor: Actor, key: str, answer: Answer) -> None:
    """The answer to the request that claimed the key, in its transaction."""
    mine = (IdempotencyKey.actor_id == actor.id, IdempotencyKey.key == key)
    values = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}
    await session.execute(update(IdempotencyKey).where(*mine).values(values))


async def prune(session: AsyncSession) -> int:
    """Forget the keys nobody will send again."""
    old = IdempotencyKey.created_at < func.now() - timedelta(hours=KEPT_HOURS)
    some = select(IdempotencyKey.actor_id, IdempotencyKey.key).where(old).limit(PRUNED_AT_ONCE)
    due = some.with_for_update(skip_locked=True).cte("due")
    gone = delete(IdempotencyKey).where(
        IdempotencyKey.actor_id == due.c.actor_id, IdempotencyKey.key == due.c.key
    )
    return len((await session.execute(gone.returning(IdempotencyKey.key))).all())
