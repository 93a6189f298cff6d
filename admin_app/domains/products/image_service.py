"""Everything that can be done to images of products; nothing here touches the storage or commits."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.domains.products import access
from admin_app.domains.products.events import ProductImageAdded
from admin_app.domains.products.image_repository import ImageRepository
from admin_app.domains.products.models import ImageState, Product, ProductImage
from admin_app.domains.products.repository import ProductRepository
from admin_app.errors import Forbidden, InvalidInput, NotFound
from admin_app.events import EventBus
from admin_app.outbox import OutboxBus

MAX_UNUSED = 120
"""Of one person: ten products' worth of pictures in forms that were not saved yet."""

UNUSED_HOURS = 24
"""How long a picture waits for the form it was added to."""

REMOVED_DAYS = 30
"""How long a product can be taken back to showing a picture."""


class ProductImageService:
    """Runs inside the caller's transaction, as the actor.

    Adding a picture raises Forbidden for a role that never writes, and NotFound for a product this actor
    may not change, exactly as for one that does not exist.
    """

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._images = ImageRepository(session)
        self._events: EventBus = OutboxBus(session, actor)

    async def begin(self, product_id: UUID | None) -> ProductImage:
        """A place for a file that is about to be stored under `original`; None is a product to be made."""
        return await self._add(product_id, ImageState.UPLOADING)

    async def give_up(self, image_id: UUID) -> None:
        """Its file could not be stored."""
        image = (await self._images.lock([image_id])).get(image_id)
        if image is not None and image.uploaded_by == self._actor.id and image.state is ImageState.UPLOADING:
            image.state = ImageState.DISCARDED

    async def arrived(self, image_id: UUID) -> ProductImage:
        """Its file is stored now. A second time nothing happens. Raises NotFound if it took too long."""
        image = (await self._images.lock([image_id])).get(image_id)
        if image is None or image.uploaded_by != self._actor.id or image.state is ImageState.DISCARDED:
            raise NotFound
        if image.state is ImageState.UPLOADING:
            image.state = ImageState.WAITING
            self._events.publish(ProductImageAdded((image.id,)))
        return image

    async def add_url(self, product_id: UUID | None, url: str) -> ProductImage:
        """One to be downloaded. Whether this URL may be asked, the caller has found out."""
        image = await self._add(product_id, ImageState.WAITING, url)
        self._events.publish(ProductImageAdded((image.id,)))
        return image

    async def add_addresses(self, pictures: Select[Any]) -> None:
        """As `ImageRepository.add_addresses`; each is a job."""
        if not access.may_write(self._actor):
            raise Forbidden
        for image_id in await self._images.add_addresses(pictures, self._actor):
            self._events.publish(ProductImageAdded((image_id,)))

    async def settle(self, product_ids: Collection[UUID]) -> None:
        """Note which of their pictures these products, just changed, show and do not show any more."""
        await self._images.settle(product_ids)

    async def find(self, ids: Collection[UUID]) -> list[ProductImage]:
        """Those of these images this actor may see, in any order."""
        found = await self._images.get_many(ids) if ids else []
        return [image for image in found if access.may_see_image(self._actor, image)]

    async def attach(self, product: Product, before: Sequence[Mapping[str, str]]) -> None:
        """Let the product, flushed and locked, have the images it names, instead of those before.

        Raises InvalidInput for a picture that is another product's, somebody else's upload, gone, or one
        that could not be read.
        """
        old, new = _ids(before), _ids(product.images)
        changed = old ^ new
        if not changed:
            return
        images = await self._images.lock(changed)
        for image_id in changed & new:
            _require_usable(self._actor, product, images.get(image_id))
            images[image_id].product_id = product.id
            images[image_id].removed_at = None
        for image_id in (changed & old) & images.keys():
            images[image_id].removed_at = datetime.now(UTC)
        await self._session.flush()

    async def discard(self, limit: int) -> int:
        """Mark what nothing names any more, as many as `limit`. Only for the installation itself."""
        self._require_installation()
        now = datetime.now(UTC)
        return await self._images.discard(
            now - timedelta(hours=UNUSED_HOURS), now - timedelta(days=REMOVED_DAYS), limit
        )

    async def lock_discarded(self, limit: int) -> Sequence[ProductImage]:
        """What was marked, in an earlier transaction, and whose files can be deleted."""
        self._require_installation()
        return await self._images.lock_discarded(limit)

    async def delete(self, ids: Collection[UUID]) -> None:
        self._require_installation()
        await self._images.delete(ids)

    async def lock(self, image_id: UUID) -> ProductImage | None:
        """For tasks."""
        self._require_installation()
        return (await self._images.lock([image_id])).get(image_id)

    async def _add(self, product_id: UUID | None, state: ImageState, url: str | None = None) -> ProductImage:
        if not access.may_write(self._actor):
            raise Forbidden
        if product_id is not None:
            product = await ProductRepository(self._session, self._actor).get(product_id)
            if product is None or not access.may_change(self._actor, product):
                raise NotFound
        if await self._images.count_unused(self._actor.id) >= MAX_UNUSED:
            raise InvalidInput(
                f"You added {MAX_UNUSED} pictures to forms that are not saved. Save them first, or come back "
                "tomorrow."
            )
        image = ProductImage(
            state=state, url=url, original=f"originals/{token_hex(32)}", uploaded_by=self._actor.id
        )
        self._session.add(image)
        await self._session.flush()
        return image

    def _require_installation(self) -> None:
        if not access.may_purge(self._actor):
            raise Forbidden


def _ids(images: Sequence[Mapping[str, Any]]) -> set[UUID]:
    return {UUID(image["id"]) for image in images}


def _require_usable(actor: Actor, product: Product, image: ProductImage | None) -> None:
    reason = None
    if image is None or image.state is ImageState.DISCARDED:
        reason = "A picture is not stored any more. Remove it, or add it again."
    elif image.product_id != product.id and (image.product_id or not access.may_see_image(actor, image)):
        reason = "A picture was not added here. Remove it, and add it to this product."
    elif image.state is ImageState.UPLOADING:
        reason = "A picture has not arrived completely. Remove it, and add it again."
    elif image.state is ImageState.FAILED:
        reason = "Remove the pictures that could not be used."
    if reason:
        raise InvalidInput("Nothing is saved yet. Correct the marked fields.", {"images": reason})
