"""Personal access tokens: how a script signs in to the API. Only the hash of a token is stored."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, String, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base, Identified, text_enum
from admin_app.security.sessions import end_sessions_of

PREFIX = "adm_"
"""Tells people, and programs that look for secrets in code, what such a text is."""

EXPIRED_DAYS = 30
"""How long one that expired is still listed, so that its owner sees why a script has stopped."""

PRUNED_AT_ONCE = 1_000


class Scope(StrEnum):
    READ = "read"
    WRITE = "write"


class AccessToken(Identified, Base):
    __tablename__ = "access_token"
    __table_args__ = (Index("ix_access_token_user_id", "user_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scope: Mapped[Scope] = mapped_column(text_enum(Scope, "scope"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    last_used_address: Mapped[str | None]


def new_token() -> str:
    """256 random bits, to be shown once."""
    return f"{PREFIX}{secrets.token_urlsafe(32)}"


async def tokens_of(session: AsyncSession, user_id: UUID) -> Sequence[AccessToken]:
    """The newest first; expired ones, too."""
    statement = select(AccessToken).where(AccessToken.user_id == user_id).order_by(AccessToken.id.desc())
    return (await session.scalars(statement)).all()


async def count_live(session: AsyncSession, user_id: UUID) -> int:
    live = (AccessToken.user_id == user_id, AccessToken.expires_at > func.now())
    return await session.scalar(select(func.count()).where(*live)) or 0


async def delete_token(session: AsyncSession, user_id: UUID, token_id: UUID) -> str | None:
    """Its name; None if this person has no such token."""
    statement = delete(AccessToken).where(AccessToken.user_id == user_id, AccessToken.id == token_id)
    return await session.scalar(statement.returning(AccessToken.name))


async def end_access_of(session: AsyncSession, user_ids: Sequence[UUID]) -> None:
    """Sign these people out everywhere and delete their tokens, in the transaction that demands it."""
    await end_sessions_of(session, user_ids)
    await session.execute(delete(AccessToken).where(AccessToken.user_id.in_(user_ids)))


async def prune(session: AsyncSession) -> int:
    """Forget some that expired long ago."""
    before = func.now() - timedelta(days=EXPIRED_DAYS)
    dead = select(AccessToken.id).where(AccessToken.expires_at < before).limit(PRUNED_AT_ONCE)
    gone = delete(AccessToken).where(AccessToken.id.in_(dead)).returning(AccessToken.id)
    return len((await session.scalars(gone)).all())
