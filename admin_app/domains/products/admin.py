"""Products in the admin: columns, form, and who sees which button."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from wtforms import Form, HiddenField, StringField
from wtforms.widgets import TextArea

from admin_app.actor import Actor
from admin_app.admin.base_view import Column, Line, Saved, ServiceView, validated
from admin_app.admin.pictures import IMAGES, as_text
from admin_app.domains.products import access, bulk
from admin_app.domains.products.image_service import ProductImageService
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductCreate, ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.service import UserService
from admin_app.filters import Filter
from admin_app.listing import ListQuery

OWNER = "owner"


class ProductForm(Form):
    """What the form has beyond the model's own columns."""

    images = HiddenField("Pictures", default="[]")
    owner = StringField("Owner")


class ProductAdmin(ServiceView, model=Product):
    name = "Product"
    name_plural = "Products"
    icon = "box"
    service = ProductService
    create_schema = ProductCreate
    update_schema = ProductUpdate
    actions = bulk.ACTIONS
    search_hint = "Name, description or owner"
    columns = (
        Column("name", "Name", "title"),
        Column("external_id", "External id", is_extra=True),
        Column("description", "Description", is_extra=True),
        Column("price", "Price", "money"),
        Column("is_active", "State", "state"),
        Column("owner", "Owner", value=lambda product: product.owner_email),
        Column("created_at", "Created", "time"),
        Column("updated_at", "Updated", "time"),
        Column("id", "Id", "id", is_extra=True),
    )
    thumbnail = "picture"
    excerpt_of = "description"
    inline_fields = {"name": "text", "price": "price", "is_active": "state"}  # noqa: RUF012
    details = (
        Column("description", "Description", "long"),
        Column("price", "Price", "money"),
        Column("is_active", "State", "state"),
        Column("owner", "Owner", value=lambda product: product.owner_email),
        Column("created_at", "Created", "time"),
        Column("updated_at", "Updated", "time"),
        Column("external_id", "External id"),
        Column("version", "Version"),
        Column("id", "Id"),
    )
    has_history = True
    past = ProductService
    bin = ProductService
    bin_columns = (
        Column("name", "Name", "title"),
        Column("price", "Price", "money"),
        Column("owner", "Owner", value=lambda product: product.owner_email),
    )
    form_columns = ("name", "description", "price", "is_active", "external_id")
    images = ProductImageService
    optional_fields = (IMAGES, "external_id")
    form_names = {"owner_id": OWNER}  # noqa: RUF012
    references = (OWNER,)
    side_fields = ("price", "is_active", OWNER, "external_id")
    form_overrides = {"price": StringField}  # noqa: RUF012  # text: the schema reads it, not the browser
    form_args = {  # noqa: RUF012
        "description": {"widget": TextArea()},  # sqladmin's own loses an empty first line
        "is_active": {"label": "Active"},
    }
    form_base_class = ProductForm

    def allows(self, actor: Actor, action: str, row: Any | None = None) -> bool:
        match action:
            case "list" | "details":
                return True
            case "create":
                return access.may_write(actor)
            case "edit" | "delete":
                return access.may_write(actor) if row is None else access.may_change(actor, row)
            case _:
                return False

    async def get_details(self, session: AsyncSession, actor: Actor, row_id: UUID) -> tuple[Any, list[Line]]:
        found = await ProductService(session, actor).get_details(row_id)
        if found.is_indexed is None:
            return found.product, []
        state = "Up to date" if found.is_indexed else "Being updated"
        return found.product, [Line("Search index", state)]

    async def create(self, session: AsyncSession, actor: Actor, values: Mapping[str, str]) -> Product:
        data = validated(ProductCreate, values)
        return await ProductService(session, actor).create(data, owner_email=_owner_of(values))

    async def update(
        self, session: AsyncSession, actor: Actor, row_id: UUID, values: Mapping[str, str], version: int
    ) -> Saved:
        data = validated(ProductUpdate, {name: text for name, text in values.items() if name != OWNER})
        service = ProductService(session, actor)
        row = await service.update(row_id, data, owner_email=_owner_of(values), expected_version=version)
        return Saved(row, service.kept)

    def form_fields(self, actor: Actor) -> tuple[str, ...]:
        fields = (*super().form_fields(actor), IMAGES)
        return (*fields, OWNER) if access.may_choose_owner(actor) else fields

    def hints(self, *, is_new: bool) -> Mapping[str, str]:
        who = "The e-mail address of a superuser or an administrator."
        return {
            OWNER: f"{who} Left empty, it is you." if is_new else who,
            "external_id": "What another system calls it. Imports find the product by it.",
        }

    def form_values(self, row: Any) -> dict[str, Any]:
        return super().form_values(row) | {IMAGES: as_text(row.images), OWNER: row.owner.email}

    async def lookup(
        self, session: AsyncSession, actor: Actor, name: str, term: str
    ) -> list[dict[str, str]] | None:
        if name != OWNER:
            return None
        query = ListQuery(sort="email", descending=False, search=term)
        page = await UserService(session, actor).page(query)
        owners = [user for user in page.rows if user.is_active and user.role in access.WRITERS]
        return [{"id": str(user.id), "text": user.email} for user in owners]

    def filters(self, actor: Actor) -> Sequence[Filter]:
        offered = super().filters(actor)
        return offered if access.may_write(actor) else [item for item in offered if item.name != "mine"]

    async def suggest(self, session: AsyncSession, actor: Actor, name: str, term: str) -> list[str] | None:
        return await ProductService(session, actor).owner_emails(term) if name == OWNER else None


def _owner_of(values: Mapping[str, str]) -> str:
    """Whom a superuser names by e-mail."""
    return values.get(OWNER, "").strip()
