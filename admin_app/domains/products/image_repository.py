"""Queries on images: the only place that selects them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.domains.products.models import ImageState, Product, ProductImage

_UNUSED = ProductImage.product_id.is_(None)
_REMOVED = ProductImage.removed_at.is_not(None)
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

    async def discard(self, unused_since: datetime, removed_since: datetime, limit: int) -> int:
        """Of what no product shows since before, mark at most so many; none can be shown from then on.

        What is locked, because somebody is about to show it, waits for another time.
        """
        is_shown = exists().where(
            Product.id == ProductImage.product_id,
            Product.images.contains(func.jsonb_build_array(func.jsonb_build_object("id", ProductImage.id))),
        )
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
