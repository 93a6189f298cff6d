"""What can happen to accounts."""

from dataclasses import dataclass
from enum import StrEnum
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


class Credential(StrEnum):
    """What an account is opened with, as its owner is told."""

    PASSWORD = "password"  # noqa: S105  # a word
    EMAIL = "e-mail address"
    SECOND_FACTOR = "second factor"


@dataclass(frozen=True)
class CredentialChanged(Event):
    """`email` is the account's address, or was until this happened."""

    email: str
    credential: Credential


@dataclass(frozen=True)
class PasswordResetRequested(Event):
    """Somebody at this network address forgot their password, and typed this e-mail, whoever has it."""

    email: str
    address: str | None
