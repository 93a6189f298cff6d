"""One-time links with which somebody who forgot the password chooses a new one."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, ForeignKey, LargeBinary, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base
from admin_app.security.sessions import hash_token

TOKEN_LENGTH = 43
PRUNED_AT_ONCE = 1_000


class PasswordReset(Base):
    """One of each kind per account: a new link ends the one before. Only the hash of what it holds is stored.

    Anybody can have a link mailed. That must not end the one somebody was given.
    """

    __tablename__ = "password_reset"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    is_mailed: Mapped[bool] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


async def keep_link(
    session: AsyncSession, user_id: UUID, token: str, lifetime: timedelta, *, is_mailed: bool
) -> None:
    """From the commit on it works, and the one before does not. The account must be locked."""
    values = {
        "token_hash": hash_token(token),
        "created_at": func.now(),
        "expires_at": func.now() + lifetime,
    }
    statement = insert(PasswordReset).values(user_id=user_id, is_mailed=is_mailed, **values)
    await session.execute(
        statement.on_conflict_do_update(index_elements=["user_id", "is_mailed"], set_=values)
    )


async def owner_of(session: AsyncSession, token: str) -> UUID | None:
    """Whose link this is; None if it was used, replaced or expired, or never was."""
    return await session.scalar(select(PasswordReset.user_id).where(*_live(token)))


async def use_link(session: AsyncSession, token: str) -> bool:
    """It can be used once: False for the second of two at the same time. The account must be locked."""
    used = delete(PasswordReset).where(*_live(token)).returning(PasswordReset.user_id)
    return await session.scalar(used) is not None


async def end_links_of(session: AsyncSession, user_ids: Sequence[UUID]) -> None:
    await session.execute(delete(PasswordReset).where(PasswordReset.user_id.in_(user_ids)))


async def prune(session: AsyncSession) -> int:
    """Forget some links that expired."""
    dead = select(PasswordReset.token_hash).where(PasswordReset.expires_at < func.now()).limit(PRUNED_AT_ONCE)
    gone = delete(PasswordReset).where(PasswordReset.token_hash.in_(dead)).returning(PasswordReset.user_id)
    return len((await session.scalars(gone)).all())


def _live(token: str) -> tuple[ColumnElement[bool], ...]:
    # Whatever stands in an address, a lone surrogate perhaps, which cannot be hashed.
    plausible = token if token.isascii() and len(token) == TOKEN_LENGTH else ""
    return PasswordReset.token_hash == hash_token(plausible), PasswordReset.expires_at > func.now()
