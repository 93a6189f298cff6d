"""Who calls: whose a session or an access token is, and what every page needs to know of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Interval, Text, bindparam, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import notifications, preferences
from admin_app.actor import Role
from admin_app.domains.users.models import User
from admin_app.glances import Question
from admin_app.notifications import Unseen
from admin_app.preferences import Preference, Preferences
from admin_app.security.second_factor import is_set_up, must_add
from admin_app.security.sessions import AuthSession, SessionLimits, hash_token
from admin_app.security.tokens import AccessToken, Scope


@dataclass(frozen=True)
class SignedIn:
    """Who a live session belongs to: what every page needs of them, in one statement."""

    id: UUID
    email: str
    name: str
    role: Role
    must_change_password: bool
    must_add_second_factor: bool
    has_second_factor: bool
    session_id: UUID
    last_seen_at: datetime
    proved_at: datetime
    preferences: Preferences
    unseen: Unseen


@dataclass(frozen=True)
class TokenHolder:
    """Who a valid access token belongs to, and what it is good for."""

    id: UUID
    email: str
    role: Role
    must_change_password: bool
    must_add_second_factor: bool
    token_id: UUID
    scope: Scope
    last_used_at: datetime | None


_SESSION = (
    select(
        User.id,
        User.email,
        User.name,
        User.role,
        User.must_change_password,
        is_set_up(User.id).label("has_second_factor"),
        AuthSession.id.label("session_id"),
        AuthSession.last_seen_at,
        AuthSession.proved_at,
        Preference.data,
        notifications.unseen_of(User).label("unseen"),
        func.set_config("statement_timeout", bindparam("milliseconds", type_=Text), true()),
    )
    .join(AuthSession, AuthSession.user_id == User.id)
    .outerjoin(Preference, Preference.user_id == User.id)
    .where(
        AuthSession.token_hash == bindparam("token_hash"),
        AuthSession.last_seen_at > func.now() - bindparam("idle", type_=Interval),
        AuthSession.created_at > func.now() - bindparam("absolute", type_=Interval),
        User.is_active,
    )
)


_TOKEN = (
    select(
        User.id,
        User.email,
        User.role,
        User.must_change_password,
        is_set_up(User.id).label("has_second_factor"),
        AccessToken.id.label("token_id"),
        AccessToken.scope,
        AccessToken.last_used_at,
        func.set_config("statement_timeout", bindparam("milliseconds", type_=Text), true()),
    )
    .join(AccessToken, AccessToken.user_id == User.id)
    .where(
        AccessToken.token_hash == bindparam("token_hash"),
        AccessToken.expires_at > func.now(),
        User.is_active,
    )
)


_WHOSE_SESSION = _SESSION.with_only_columns(*list(_SESSION.selected_columns)[:-3])
_WHOSE_TOKEN = _TOKEN.with_only_columns(*list(_TOKEN.selected_columns)[:-1])
"""Without what is only of use in a transaction, or to pages."""


class _ToldSession(msgspec.Struct):
    id: UUID
    email: str
    name: str
    role: Role
    must_change_password: bool
    has_second_factor: bool
    session_id: UUID
    last_seen_at: datetime
    proved_at: datetime


class _ToldToken(msgspec.Struct):
    id: UUID
    email: str
    role: Role
    must_change_password: bool
    has_second_factor: bool
    token_id: UUID
    scope: Scope
    last_used_at: datetime | None


async def find_session(
    session: AsyncSession, token: str, limits: SessionLimits, *, seconds: float = 0
) -> SignedIn | None:
    """Whose live session this is; None if it ended or the account is closed.

    In the same round trip: what follows in this transaction may take so many `seconds` a statement.
    """
    # Past the ORM, in a statement made once: every request begins with it.
    connection = await session.connection()
    values = {
        "token_hash": hash_token(token),
        "idle": limits.idle,
        "absolute": limits.absolute,
        "milliseconds": str(int(seconds * 1000)),
    }
    row = (await connection.execute(_SESSION, values)).one_or_none()
    return _signed_in(session, row, row.data, row.unseen) if row else None


async def find_token(session: AsyncSession, token: str, *, seconds: float = 0) -> TokenHolder | None:
    """Whose access token this is; None if it is unknown, revoked or expired, or the account is closed.

    `seconds` as in `find_session`.
    """
    connection = await session.connection()
    values = {"token_hash": hash_token(token), "milliseconds": str(int(seconds * 1000))}
    row = (await connection.execute(_TOKEN, values)).one_or_none()
    return _token_holder(session, row) if row else None


def question_of_session(token: str, limits: SessionLimits) -> Question:
    """As `find_session`, to be asked together with a glance; `session_told` reads the answer."""
    values = {"token_hash": hash_token(token), "idle": limits.idle, "absolute": limits.absolute}
    return Question(_WHOSE_SESSION, values)


def question_of_token(token: str) -> Question:
    """As `find_token`, to be asked together with a glance; `token_told` reads the answer."""
    return Question(_WHOSE_TOKEN, {"token_hash": hash_token(token)})


def session_told(session: AsyncSession, told: str | None) -> SignedIn | None:
    """Without preferences and notifications."""
    return _signed_in(session, msgspec.json.decode(told, type=_ToldSession)) if told else None


def token_told(session: AsyncSession, told: str | None) -> TokenHolder | None:
    return _token_holder(session, msgspec.json.decode(told, type=_ToldToken)) if told else None


def _signed_in(session: AsyncSession, row: Any, liked: Any = None, unseen: Any = None) -> SignedIn:
    return SignedIn(
        row.id,
        row.email,
        row.name,
        Role(row.role),
        row.must_change_password,
        must_add(session, row.role, has_one=row.has_second_factor),
        row.has_second_factor,
        row.session_id,
        row.last_seen_at,
        row.proved_at,
        preferences.read(liked),
        notifications.read(unseen),
    )


def _token_holder(session: AsyncSession, row: Any) -> TokenHolder:
    return TokenHolder(
        row.id,
        row.email,
        Role(row.role),
        row.must_change_password,
        must_add(session, row.role, has_one=row.has_second_factor),
        row.token_id,
        Scope(row.scope),
        row.last_used_at,
    )
