"""Queries on images: the only place that selects them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.domains.products.access import changeable_by
from admin_app.domains.products.models import ImageState, Product, ProductImage

_UNUSED = ProductImage.product_id.is_(None)
_REMOVED = ProductImage.removed_at.is_not(None)
_IS_SHOWN = Product.images.contains(func.jsonb_build_array(func.jsonb_build_object("id", ProductImage.id)))
"""By the product of the same row."""
_DISCARDED = (ProductImage.state == ImageState.DISCARDED, or_(_UNUSED, _REMOVED))


class ImageRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get_many(self, ids: Collection[UUID]) -> list[ProductImage]:
        """In any order; ids without a row are left out."""
        return list(await self._session.scalars(select(ProductImage).where(ProductImage.id.in_(ids))))

    async def lock(self, ids: Collection[UUID]) -> dict[UUID, ProductImage]:
        """Those of these ids that are here, as they are once they are locked."""
        statement = select(ProductImage).where(ProductImage.id.in_(ids)).order_by(ProductImage.id)
        locked = statement.with_for_update().execution_options(populate_existing=True)
        return {image.id: image for image in await self._session.scalars(locked)}

    async def count_unused(self, user_id: UUID | None) -> int:
        """Without those that failed, and will take up no room."""
        lost = (ImageState.FAILED, ImageState.DISCARDED)
        mine = (_UNUSED, ProductImage.uploaded_by == user_id, ProductImage.state.not_in(lost))
        statement = select(func.count()).where(*mine)
        return await self._session.scalar(statement) or 0

    async def add_addresses(self, pictures: Select[Any], actor: Actor) -> Sequence[UUID]:
        """Pictures to be downloaded, and the ids of those that are new.

        `pictures` has columns `product_id`, `id` and `url`; left out are those of products that this actor
        may not change.
        """
        wanted = pictures.subquery()
        random = cast(func.gen_random_uuid(), Text()) + cast(func.gen_random_uuid(), Text())
        values: dict[str, ColumnElement[Any]] = {
            "id": wanted.c.id,
            "product_id": wanted.c.product_id,
            "uploaded_by": literal(actor.id, Uuid()),
            "state": literal(ImageState.WAITING, ProductImage.state.type),
            "url": wanted.c.url,
            "original": literal("originals/") + func.replace(random, "-", ""),
        }
        found = (
            select(*values.values())
            .join_from(wanted, Product, Product.id == wanted.c.product_id)
            .where(changeable_by(actor), Product.deleted_at.is_(None))
        )
        statement = insert(ProductImage).from_select([*values], found, include_defaults=False)
        return (
            await self._session.scalars(statement.on_conflict_do_nothing().returning(ProductImage.id))
        ).all()

    async def settle(self, product_ids: Collection[UUID]) -> None:
        """Of these products' pictures, note since when they are not shown, or that they are again."""
        ids = bindparam("product_ids", list(product_ids), ARRAY(Uuid()))
        statement = (
            update(ProductImage)
            .where(
                Product.id == ProductImage.product_id,
                ProductImage.product_id == func.any(ids),
                _REMOVED == _IS_SHOWN,
            )
            .values(removed_at=case((_IS_SHOWN, null()), else_=func.now()))
        )
        await self._session.execute(statement, execution_options={"synchronize_session": False})

    async def discard(self, unused_since: datetime, removed_since: datetime, limit: int) -> int:
        """Of what no product shows since before, mark at most so many; none can be shown from then on.

        What is locked, because somebody is about to show it, waits for another time.
        """
        is_shown = exists().where(Product.id == ProductImage.product_id, _IS_SHOWN)
        due = (
            select(ProductImage.id)
            .where(
                ProductImage.state != ImageState.DISCARDED,
                or_(
                    _UNUSED & (ProductImage.created_at < unused_since),
                    _REMOVED & (ProductImage.removed_at < removed_since),
                ),
                ~is_shown,
            )
            .limit(limit)
            .with_for_update(skip_locked=True, of=ProductImage)
        )
        ids = (await self._session.scalars(due)).all()
        marked = update(ProductImage).where(ProductImage.id.in_(ids)).values(state=ImageState.DISCARDED)
        await self._session.execute(marked)
        return len(ids)

    async def lock_discarded(self, limit: int) -> Sequence[ProductImage]:
        statement = select(ProductImage).where(*_DISCARDED).order_by(ProductImage.id).limit(limit)
        return (await self._session.scalars(statement.with_for_update(skip_locked=True))).all()

    async def delete(self, ids: Collection[UUID]) -> None:
        await self._session.execute(delete(ProductImage).where(ProductImage.id.in_(ids)))
