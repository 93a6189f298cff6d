"""The shapes of an account at the edges. A password comes in, and nothing about it ever goes out."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, StringConstraints

from admin_app.actor import Role
from admin_app.text import EmailAddress, Line, is_storable, reject_null

MIN_PASSWORD_LENGTH = 12
MAX_PASSWORD_LENGTH = 256


def _can_be_hashed(password: SecretStr) -> SecretStr:
    """Sign-in turns away what cannot be stored, too."""
    if not is_storable(password.get_secret_value()):
        raise ValueError("This password contains characters that cannot be used.")
    return password


Password = Annotated[
    SecretStr,
    StringConstraints(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH),
    AfterValidator(_can_be_hashed),
]


class UserCreate(BaseModel):
    """Without a password nobody can sign in to the account until one is set."""

    email: EmailAddress
    name: Line
    role: Role
    is_active: bool = True
    must_change_password: bool = False
    password: Password | None = None


class UserUpdate(BaseModel):
    """Fields left out stay as they are; a password left out too."""

    email: EmailAddress | None = None
    name: Line | None = None
    role: Role | None = None
    is_active: bool | None = None
    must_change_password: bool | None = None
    password: Password | None = None

    _no_null = reject_null()


class OwnPassword(BaseModel):
    """The password somebody chooses for their own account."""

    new: Password


class UserRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    name: str
    role: Role
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime
    last_sign_in_at: datetime | None
