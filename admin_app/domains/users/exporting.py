"""The columns in which accounts are exported: those of their list, and nothing that opens a door."""

from collections.abc import Sequence

from sqlalchemy import case, func

from admin_app.domains.users.models import User
from admin_app.exports.exportable import ExportColumn

COLUMNS: Sequence[ExportColumn] = (
    ExportColumn("email", "E-mail", User.email, is_typed=True),
    ExportColumn("name", "Name", User.name, is_typed=True),
    ExportColumn("role", "Role", func.initcap(User.role), User.role),
    ExportColumn("is_active", "State", case((User.is_active, "Active"), else_="Inactive"), User.is_active),
    ExportColumn("created_at", "Created", User.created_at),
    ExportColumn("last_sign_in_at", "Last sign-in", User.last_sign_in_at),
    ExportColumn("id", "Id", User.id, is_usual=False),
)
