"""Accounts from a file."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Role
from admin_app.domains.users import access
from admin_app.domains.users.import_action import ImportUsers
from admin_app.domains.users.import_repository import found, judged
from admin_app.domains.users.service import UserService
from admin_app.imports.importer import Field, Importer, Matching
from admin_app.imports.words import Email, State
from admin_app.text import Line


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


class UserRow(BaseModel):
    """What a row of a file may say: nothing about passwords."""

    id: UUID | None = None
    email: Email | None = None
    name: Line | None = None
    role: Annotated[Role, BeforeValidator(_lower)] | None = None
    is_active: State | None = None


class UserImporter(Importer):
    kind = "user"
    noun = "users"
    fields = (
        Field("id", "Id", "Only to find accounts by."),
        Field("email", "E-mail", is_required=True),
        Field("name", "Name", is_required=True),
        Field("role", "Role", "Superuser, administrator or support.", is_required=True),
        Field(
            "is_active", "State", "Active or inactive, yes or no, true or false.", also=("status", "active")
        ),
    )
    keys = {"email": "E-mail", "id": "Id"}  # noqa: RUF012
    label = "email"
    schema = UserRow
    action = ImportUsers()

    def may_import(self, actor: Actor) -> bool:
        return access.may_manage(actor)

    async def role_of(self, session: AsyncSession, user_id: UUID) -> Role | None:
        return await UserService(session, Actor.system()).role_of(user_id)

    def found(self, actor: Actor, matching: Matching) -> Select[Any]:
        return found(matching)

    def judged(self, actor: Actor, matching: Matching) -> Select[Any]:
        return judged(actor, matching)
