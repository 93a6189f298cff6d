"""What can be done to many accounts at once."""

from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Select, case, false, literal, true
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.bulk.actions import BulkAction, NoParameters, state_texts
from admin_app.bulk.changes import Change, Refusal
from admin_app.domains.users import access
from admin_app.domains.users.models import User
from admin_app.domains.users.service import UserService


class UserAction(BulkAction[NoParameters]):
    model = User
    service = UserService

    def may_run(self, actor: Actor) -> bool:
        return access.may_manage(actor)


class Activate(UserAction):
    name = "activate"
    label = "Activate"
    needs_proof_above: ClassVar[int | None] = 0  # as one account does in its form

    def change(self, parameters: NoParameters) -> Change:
        return Change({"is_active": true()}, [Refusal("already active", User.is_active)])

    def compared(self, change: Change) -> dict[str, tuple[ColumnElement[Any], ColumnElement[Any]]]:
        return {"State": state_texts(User.is_active, change)}


class Deactivate(Activate):
    name = "deactivate"
    label = "Deactivate"
    is_dangerous = True

    def change(self, parameters: NoParameters) -> Change:
        return Change({"is_active": false()}, [Refusal("already inactive", ~User.is_active)])

    async def related(self, session: AsyncSession, changing: Select[Any]) -> list[str]:
        return ["They are signed out everywhere at once. What they own stays theirs."]


class RequireNewPassword(UserAction):
    name = "require_new_password"
    label = "Require new password"

    def change(self, parameters: NoParameters) -> Change:
        asked = Refusal("already asked for one", User.must_change_password)
        return Change({"must_change_password": true()}, [asked])

    def compared(self, change: Change) -> dict[str, tuple[ColumnElement[Any], ColumnElement[Any]]]:
        before, after = User.must_change_password, change.values["must_change_password"]
        return {"New password": (_asked(before), _asked(after))}

    async def related(self, session: AsyncSession, changing: Select[Any]) -> list[str]:
        return ["They are signed out everywhere at once, and choose a new password when they sign in again."]


ACTIONS: tuple[BulkAction[Any], ...] = (Activate(), Deactivate(), RequireNewPassword())


def _asked(is_asked: Any) -> ColumnElement[Any]:
    return case((is_asked, literal("Asked for")), else_=literal("Not asked for"))
