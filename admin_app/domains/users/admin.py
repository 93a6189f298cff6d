"""Accounts in the admin: columns, form, and who sees which button. No password or hash is ever shown."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from wtforms import Form, PasswordField, SelectField

from admin_app.actor import Actor, Role
from admin_app.admin.base_view import Column, Saved, ServiceView
from admin_app.domains.users import access, bulk
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import MIN_PASSWORD_LENGTH, UserCreate, UserUpdate
from admin_app.domains.users.second_factor_service import SecondFactorService
from admin_app.domains.users.service import UserService
from admin_app.domains.users.session_service import SessionService

PASSWORD = "password"  # noqa: S105  # the field's name


def _demanded(user: User) -> str:
    return "Required at the next sign-in" if user.must_change_password else "Not required"


class UserForm(Form):
    """What the form has beyond the model's own columns."""

    role = SelectField("Role", choices=[(role.value, role.value.capitalize()) for role in reversed(Role)])
    password = PasswordField("Password")


class UserAdmin(ServiceView, model=User):
    name = "User"
    name_plural = "Users"
    icon = "people"
    service = UserService
    create_schema = UserCreate
    update_schema = UserUpdate
    actions = bulk.ACTIONS
    has_history = True
    search_hint = "Name or e-mail"
    columns = (
        Column("email", "E-mail", "title"),
        Column("name", "Name"),
        Column("role", "Role", "role"),
        Column("is_active", "State", "state"),
        Column("created_at", "Created", "time"),
        Column("last_sign_in_at", "Last sign-in", "time"),
        Column("id", "Id", "id", is_extra=True),
    )
    inline_fields = {"name": "text", "is_active": "state"}  # noqa: RUF012
    details = (
        Column("name", "Name"),
        Column("email", "E-mail"),
        Column("role", "Role", "role"),
        Column("is_active", "State", "state"),
        Column("must_change_password", "New password", value=_demanded),
        Column("last_sign_in_at", "Last sign-in", "time"),
        Column("created_at", "Created", "time"),
        Column("updated_at", "Updated", "time"),
        Column("version", "Version"),
        Column("id", "Id"),
    )
    part = "_access.html"
    form_columns = ("email", "name", "is_active", "must_change_password")
    form_names = {"password_hash": PASSWORD}  # noqa: RUF012
    side_fields = ("role", "is_active", "must_change_password")
    form_args = {  # noqa: RUF012
        "email": {"label": "E-mail", "render_kw": {"autocomplete": "off"}},
        "name": {"render_kw": {"autocomplete": "off"}},
        "is_active": {"label": "Active"},
        "must_change_password": {"label": "Must choose a new password at the next sign-in"},
    }
    form_base_class = UserForm

    def allows(self, actor: Actor, action: str, row: Any | None = None) -> bool:
        match action:
            case "list":
                return True
            case "details":
                return row is None or access.may_read(actor, row)
            case "create" | "edit" | "delete":
                return access.may_manage(actor)
            case _:
                return False

    async def get_part(self, session: AsyncSession, actor: Actor, row: Any) -> Mapping[str, Any] | None:
        if not access.may_manage(actor) or row.id == actor.id:  # whose own are on the account page
            return None
        return {
            "access": await SessionService(session, actor).access_of(row.id),
            "second_factor": await SecondFactorService(session, actor).status_of(row.id),
        }

    async def create(self, session: AsyncSession, actor: Actor, values: Mapping[str, str]) -> User:
        return await super().create(session, actor, _without_empty_password(values))  # type: ignore[no-any-return]

    async def update(
        self, session: AsyncSession, actor: Actor, row_id: UUID, values: Mapping[str, str], version: int
    ) -> Saved:
        return await super().update(session, actor, row_id, _without_empty_password(values), version)

    def form_fields(self, actor: Actor) -> tuple[str, ...]:
        return ("email", "name", "role", PASSWORD, "is_active", "must_change_password")

    def hints(self, *, is_new: bool) -> Mapping[str, str]:
        length = f"At least {MIN_PASSWORD_LENGTH} characters."
        if is_new:
            return {PASSWORD: f"{length} Without one nobody can sign in to the account yet."}
        rest = "Left empty, it stays as it is. A new one signs the person out everywhere."
        return {
            PASSWORD: f"{length} {rest}",
            "must_change_password": "Demanding it signs the person out everywhere.",
        }

    def form_values(self, row: Any) -> dict[str, Any]:
        return super().form_values(row) | {"role": row.role.value}


def _without_empty_password(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name != PASSWORD or value}
