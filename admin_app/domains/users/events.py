"""What can happen to accounts."""

from dataclasses import dataclass
from uuid import UUID

from admin_app.events import Event


@dataclass(frozen=True)
class UserCreated(Event):
    user_ids: tuple[UUID, ...]


@dataclass(frozen=True)
class UserUpdated(Event):
    """`fields` names what changed; `password_hash` says only that the password did."""

    user_ids: tuple[UUID, ...]
    fields: tuple[str, ...]


@dataclass(frozen=True)
class UserDeleted(Event):
    user_ids: tuple[UUID, ...]
