"""Forms sent twice (a double click, a reload, a retry) make one row: each form carries a key of its own."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.actor import Actor
from admin_app.database import Base

KEPT_DAYS = 30
PRUNED_AT_ONCE = 1_000


class AlreadySubmitted(Exception):
    """This key was used before: roll back, and show what the first submission made."""


class Submission(Base):
    __tablename__ = "submission"

    actor_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[UUID] = mapped_column(primary_key=True)
    row_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


async def claim(session: AsyncSession, actor: Actor, key: UUID, row_id: UUID) -> None:
    """Tie the key to the row just made, in the same transaction.

    A concurrent twin waits here for the first to commit, then raises AlreadySubmitted.
    """
    statement = (
        insert(Submission)
        .values(actor_id=actor.id, key=key, row_id=row_id)
        .on_conflict_do_nothing()
        .returning(Submission.key)
    )
    if await session.scalar(statement) is None:
        raise AlreadySubmitted


async def find(session: AsyncSession, actor: Actor, key: UUID) -> UUID | None:
    """The row an earlier submission with this key made."""
    return await session.scalar(
        select(Submission.row_id).where(Submission.actor_id == actor.id, Submission.key == key)
    )


async def prune(session: AsyncSession) -> int:
    """Forget some keys so old that nobody sends their form again."""
    key = tuple_(Submission.actor_id, Submission.key)
    before = func.now() - timedelta(days=KEPT_DAYS)
    old = select(Submission.actor_id, Submission.key).where(Submission.created_at < before)
    gone = delete(Submission).where(key.in_(old.limit(PRUNED_AT_ONCE))).returning(Submission.key)
    return len((await session.scalars(gone)).all())
