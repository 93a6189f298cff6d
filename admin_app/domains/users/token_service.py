"""Personal access tokens: making, listing and revoking one's own."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.actor import Actor
from admin_app.domains.users.models import User
from admin_app.domains.users.repository import UserRepository
from admin_app.errors import Conflict, NotFound
from admin_app.security import tokens
from admin_app.security.sessions import hash_token
from admin_app.security.tokens import AccessToken, Scope
from admin_app.text import Line

MAX_TOKENS = 50
"""Per person; those that expired do not count."""

MAX_TOKEN_NAME_LENGTH = 100


class Lifetime(IntEnum):
    """In days."""

    WEEK = 7
    MONTH = 30
    QUARTER = 90
    YEAR = 365


class TokenCreate(BaseModel):
    name: Annotated[Line, Field(max_length=MAX_TOKEN_NAME_LENGTH)]
    scope: Scope
    days: Lifetime


class AccessTokenService:
    """Runs inside the caller's transaction, as the actor."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._users = UserRepository(session, actor)

    async def own(self) -> Sequence[AccessToken]:
        """The newest first; those that expired lately, too."""
        assert self._actor.id is not None
        return await tokens.tokens_of(self._session, self._actor.id)

    async def create(self, data: TokenCreate) -> tuple[AccessToken, str]:
        """The token, and its text, which is stored nowhere.

        Raises ProofRequired, and Conflict when there are too many.
        """
        self._actor.require_proof()
        user = await self._user()
        if await tokens.count_live(self._session, user.id) >= MAX_TOKENS:
            raise Conflict(f"You have {MAX_TOKENS} access tokens, and that is the most. Revoke one first.")
        text = tokens.new_token()
        token = AccessToken(
            user_id=user.id,
            name=data.name,
            token_hash=hash_token(text),
            scope=data.scope,
            expires_at=datetime.now(UTC) + timedelta(days=data.days),
        )
        self._session.add(token)
        await self._session.flush()
        told = f"“{token.name}”, to {token.scope.value}, for {data.days.value} days"
        audit.note(self._session, self._actor, "token created", user, told)
        return token, text

    async def get_by_id(self, token_id: UUID) -> AccessToken:
        """One of the actor's own. Raises NotFound for any other."""
        for token in await self.own():
            if token.id == token_id:
                return token
        raise NotFound

    async def revoke(self, token_id: UUID) -> str:
        """The name of the actor's own token, which is gone. Raises NotFound for any other."""
        user = await self._user()
        name = await tokens.delete_token(self._session, user.id, token_id)
        if name is None:
            raise NotFound
        audit.note(self._session, self._actor, "token revoked", user, f"“{name}”")
        return name

    async def _user(self) -> User:
        """The actor's account, locked: who closes it now waits, and then deletes the new token, too."""
        user = await self._users.lock(self._actor.id) if self._actor.id else None
        if user is None or not user.is_active:
            raise NotFound
        return user
