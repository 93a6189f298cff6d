"""What an import of products does: new ones, changed ones and pictures to be downloaded."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Select,
    String,
    Text,
    Uuid,
    bindparam,
    cast,
    column,
    func,
    literal,
    null,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.bulk.actions import BulkAction, NoParameters
from admin_app.bulk.changes import Change
from admin_app.domains.products import access
from admin_app.domains.products.bulk import Delete
from admin_app.domains.products.image_service import ProductImageService
from admin_app.domains.products.models import Product
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.imports.action import ImportAction, ImportParameters
from admin_app.imports.models import ImportRow

IMAGES = "images"


class ImportProducts(ImportAction):
    label = "Import products"
    taken_back = "Products that the import made go into the bin; to do it again takes them out."
    model = Product
    service = ProductService
    columns: ClassVar[Mapping[str, ColumnElement[Any]]] = {
        "external_id": null(),
        "name": null(),
        "description": literal("", Text()),
        "price": null(),
        "is_active": true(),
        "owner_id": null(),
        IMAGES: literal([], JSONB()),
    }
    takes_back_made: ClassVar[BulkAction[NoParameters] | None] = Delete()

    def may_run(self, actor: Actor) -> bool:
        return access.may_write(actor)

    async def apply(
        self, session: AsyncSession, actor: Actor, rows: Mapping[UUID, int], parameters: ImportParameters
    ) -> dict[UUID, str | None]:
        reasons = await super().apply(session, actor, rows, parameters)
        done = [row_id for row_id, reason in reasons.items() if reason is None]
        await ProductImageService(session, actor).add_addresses(_addresses(parameters, done))
        return reasons

    def creation(self, parameters: ImportParameters, actor: Actor) -> Change:
        """Whoever imports owns what has no owner."""
        change = super().creation(parameters, actor)
        owner_id = func.coalesce(change.values["owner_id"], literal(actor.id, Uuid()))
        return replace(change, values={**change.values, "owner_id": owner_id})

    def given(self, staged: FromClause, name: str) -> ColumnElement[Any]:
        if name != IMAGES:
            return super().given(staged, name)
        # Of each picture, the address is not the product's.
        image = _elements(staged.c.changes)
        without = aggregate_order_by(image.c.value.op("-")(literal("url", Text())), image.c.place)
        return select(func.coalesce(func.jsonb_agg(without), literal([], JSONB()))).scalar_subquery()

    def text_of(self, name: str, value: ColumnElement[Any]) -> ColumnElement[Any]:
        match name:
            case "owner_id":
                return select(User.email).where(User.id == value).scalar_subquery()
            case "images":
                return cast(func.jsonb_array_length(value), String())
            case _:
                return super().text_of(name, value)


def _elements(changes: Any) -> Any:
    """The pictures a product is to have, in their order."""
    found = func.jsonb_array_elements(changes[IMAGES][1])
    return found.table_valued(column("value", JSONB()), with_ordinality="place").render_derived("image")


def _addresses(parameters: ImportParameters, product_ids: Collection[UUID]) -> Select[Any]:
    """In columns `product_id`, `id` and `url`: those that come with these rows."""
    image = _elements(ImportRow.changes)
    ids = bindparam("product_ids", sorted(product_ids), ARRAY(Uuid()))
    return (
        select(
            ImportRow.row_id.label("product_id"),
            cast(image.c.value["id"].astext, Uuid()).label("id"),
            image.c.value["url"].astext.label("url"),
        )
        .join_from(ImportRow, image, true())
        .where(
            ImportRow.import_id == parameters.import_id,
            ImportRow.row_id == func.any(ids),
            ImportRow.changes.has_key(IMAGES),
            image.c.value.has_key("url"),
        )
    )
