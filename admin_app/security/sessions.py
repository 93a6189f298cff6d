"""Signed-in sessions in PostgreSQL: only the hash of a token is stored; a row deleted is a session ended."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    and_,
    delete,
    func,
    not_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base

TOUCH_SECONDS = 60
"""How exact "last seen" is; more exact would write on every request."""

PROOF_SECONDS = 30 * 60
"""So long after showing who they are somebody may do what a stolen session should not be able to."""


class AuthSession(Base):
    __tablename__ = "auth_session"
    __table_args__ = (Index("ix_auth_session_user_id", "user_id"),)

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    id: Mapped[UUID] = mapped_column(server_default=func.uuidv7(), unique=True)
    """What the session is called where its owner sees it; it opens nothing."""

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    proved_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When its owner last showed who they are: password, and second factor if they have one."""

    address: Mapped[str | None]
    user_agent: Mapped[str | None] = mapped_column(String(255))


@dataclass(frozen=True)
class SessionLimits:
    """A session ends after so long without a request, and after so long in any case."""

    idle: timedelta
    absolute: timedelta

    @property
    def is_live(self) -> ColumnElement[bool]:
        return and_(
            AuthSession.last_seen_at > func.now() - self.idle,
            AuthSession.created_at > func.now() - self.absolute,
        )


LIMITS = "session_limits"
"""Where a database session carries the SessionLimits of this installation."""

PRUNED_AT_ONCE = 1_000


def cookie_name(*, is_https: bool, port: int) -> str:
    # Browsers share cookies between the ports of a host; two instances side by side must not.
    return "__Host-session" if is_https else f"session_{port}"


def needs_proof(proved_at: datetime) -> bool:
    """Whether that was too long ago for what a stolen session should not be able to do."""
    return datetime.now(UTC) - proved_at > timedelta(seconds=PROOF_SECONDS)


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def open_session(
    session: AsyncSession,
    user_id: UUID,
    *,
    address: str | None,
    user_agent: str | None,
    proved_at: datetime | None = None,
) -> str:
    """A new session's token: 256 random bits, for the cookie only. Without `proved_at`, that is now."""
    token = secrets.token_urlsafe(32)
    opened = AuthSession(token_hash=hash_token(token), user_id=user_id, address=address)
    opened.user_agent = (user_agent or "")[:255]
    if proved_at is not None:
        opened.proved_at = proved_at
    session.add(opened)
    return token


async def end_session(session: AsyncSession, token: str) -> None:
    await session.execute(delete(AuthSession).where(AuthSession.token_hash == hash_token(token)))


async def end_sessions_of(session: AsyncSession, user_ids: Sequence[UUID]) -> None:
    """Sign these people out everywhere, in the transaction of the change that demands it."""
    await session.execute(delete(AuthSession).where(AuthSession.user_id.in_(user_ids)))


async def renew_proven(session: AsyncSession, token: str) -> str | None:
    """The new token of the same session, whose owner has just shown who they are; None if it has ended."""
    new = secrets.token_urlsafe(32)
    statement = (
        update(AuthSession)
        .where(AuthSession.token_hash == hash_token(token))
        .values(token_hash=hash_token(new), proved_at=func.now())
        .returning(AuthSession.id)
    )
    return None if await session.scalar(statement) is None else new


async def touch(session: AsyncSession, token: str) -> None:
    await session.execute(
        update(AuthSession).where(AuthSession.token_hash == hash_token(token)).values(last_seen_at=func.now())
    )


async def sessions_of(session: AsyncSession, user_id: UUID, limit: int) -> Sequence[AuthSession]:
    """Those that open something now, the one used last first."""
    limits: SessionLimits = session.info[LIMITS]
    statement = (
        select(AuthSession)
        .where(AuthSession.user_id == user_id, limits.is_live)
        .order_by(AuthSession.last_seen_at.desc(), AuthSession.id.desc())
        .limit(limit)
    )
    return (await session.scalars(statement)).all()


async def end_session_by_id(session: AsyncSession, user_id: UUID, session_id: UUID) -> str | None:
    """The user agent of the session that ended; None if this person had no such session."""
    statement = (
        delete(AuthSession)
        .where(AuthSession.user_id == user_id, AuthSession.id == session_id)
        .returning(func.coalesce(AuthSession.user_agent, ""))
    )
    return await session.scalar(statement)


async def end_other_sessions(session: AsyncSession, user_id: UUID, kept_id: UUID) -> None:
    others = (AuthSession.user_id == user_id, AuthSession.id != kept_id)
    await session.execute(delete(AuthSession).where(*others))


async def prune(session: AsyncSession) -> int:
    """Forget some that open nothing any more."""
    limits: SessionLimits = session.info[LIMITS]
    dead = select(AuthSession.token_hash).where(not_(limits.is_live)).limit(PRUNED_AT_ONCE)
    gone = delete(AuthSession).where(AuthSession.token_hash.in_(dead)).returning(AuthSession.id)
    return len((await session.scalars(gone)).all())
