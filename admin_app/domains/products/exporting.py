"""The columns in which products are exported: those of their list, and what an import of them takes."""

from collections.abc import Sequence

from sqlalchemy import Text, case, cast

from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.exports.exportable import ExportColumn

COLUMNS: Sequence[ExportColumn] = (
    ExportColumn("name", "Name", Product.name, is_typed=True),
    ExportColumn("description", "Description", Product.description, is_typed=True, is_usual=False),
    ExportColumn("price", "Price", Product.price, cast(Product.price, Text)),
    ExportColumn(
        "is_active", "State", case((Product.is_active, "Active"), else_="Inactive"), Product.is_active
    ),
    ExportColumn("owner", "Owner", User.email, key="owner_email", is_typed=True),
    ExportColumn("created_at", "Created", Product.created_at),
    ExportColumn("updated_at", "Updated", Product.updated_at),
    ExportColumn("external_id", "External id", Product.external_id, is_typed=True, is_usual=False),
    ExportColumn("id", "Id", Product.id, is_usual=False),
)
