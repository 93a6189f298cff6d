"""What an import of accounts does. Nobody can sign in to a new one before they get a password."""

from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, null, true

from admin_app.actor import Actor
from admin_app.bulk.actions import BulkAction, NoParameters
from admin_app.domains.users import access
from admin_app.domains.users.bulk import Deactivate
from admin_app.domains.users.models import User
from admin_app.domains.users.service import UserService
from admin_app.imports.action import ImportAction


class ImportUsers(ImportAction):
    label = "Import users"
    model = User
    service = UserService
    columns: ClassVar[Mapping[str, ColumnElement[Any]]] = {
        "email": null(),
        "name": null(),
        "role": null(),
        "is_active": true(),
    }
    takes_back_made: ClassVar[BulkAction[NoParameters] | None] = Deactivate()
    needs_proof_above: ClassVar[int | None] = 0  # as one account does in its form
    taken_back = "Accounts that the import made are closed, not deleted; to do it again opens them."

    def may_run(self, actor: Actor) -> bool:
        return access.may_manage(actor)
