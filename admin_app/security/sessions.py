"""Signed-in sessions in PostgreSQL: only the hash of a token is stored; a row deleted is a session ended."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, String, delete, func, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base


class AuthSession(Base):
    __tablename__ = "auth_session"
    __table_args__ = (Index("ix_auth_session_user_id", "user_id"),)

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    address: Mapped[str | None]
    user_agent: Mapped[str | None] = mapped_column(String(255))


@dataclass(frozen=True)
class SessionLimits:
    """A session ends after so long without a request, and after so long in any case."""

    idle: timedelta
    absolute: timedelta


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def open_session(
    session: AsyncSession, user_id: UUID, *, address: str | None, user_agent: str | None
) -> str:
    """A new session's token: 256 random bits, for the cookie only."""
    token = secrets.token_urlsafe(32)
    agent = (user_agent or "")[:255]
    session.add(AuthSession(token_hash=hash_token(token), user_id=user_id, address=address, user_agent=agent))
    return token


async def end_session(session: AsyncSession, token: str) -> None:
    await session.execute(delete(AuthSession).where(AuthSession.token_hash == hash_token(token)))


async def end_sessions_of(session: AsyncSession, user_ids: Sequence[UUID]) -> None:
    """Sign these people out everywhere, in the transaction of the change that demands it."""
    await session.execute(delete(AuthSession).where(AuthSession.user_id.in_(user_ids)))


async def touch(session: AsyncSession, token: str) -> None:
    await session.execute(
        update(AuthSession).where(AuthSession.token_hash == hash_token(token)).values(last_seen_at=func.now())
    )
