"""Background work on images: making the files pages show, and deleting those nobody can see any more."""

from hashlib import blake2b
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.database import beside
from admin_app.domains.products.handlers import PROCESS_PRODUCT_IMAGES
from admin_app.domains.products.image_service import ProductImageService
from admin_app.domains.products.models import ImageState, ProductImage
from admin_app.errors import Unavailable
from admin_app.events import Tasks
from admin_app.images.containers import ImageRefused, look_at
from admin_app.images.downloads import download
from admin_app.images.sandbox import Converted, convert
from admin_app.storage import storage_of

SWEPT_AT_ONCE = 20

MEDIA_TYPES = {"webp": "image/webp", "jpeg": "image/jpeg"}

OPEN = (ImageState.WAITING, ImageState.PROCESSING)


async def process_product_images(session: AsyncSession, image_ids: list[str]) -> None:
    """Download each if need be, and store it in all sizes, under names made of their content."""
    for image_id in map(UUID, image_ids):
        await _process(session, image_id)


async def sweep_images(session: AsyncSession) -> int:
    """One portion; returns how many pictures it was about.

    What nothing names is marked first and committed, so that nobody can show it again; its files go after
    that, its row last: whatever is killed in between is found by its row again.
    """
    service, storage = ProductImageService(session, Actor.system()), storage_of(session)
    discarded = await service.lock_discarded(SWEPT_AT_ONCE)
    for image in discarded:
        await storage.delete_all(image.folder)
        await storage.delete(image.original)
    await service.delete([image.id for image in discarded])
    return len(discarded) + await service.discard(SWEPT_AT_ONCE)


TASKS: Tasks = {PROCESS_PRODUCT_IMAGES: process_product_images}


async def _process(session: AsyncSession, image_id: UUID) -> None:
    image = await _begin(session, image_id)
    if image is None:
        await _clear(session, image_id)
        return
    if image.state not in OPEN:
        return
    try:
        converted = await convert(await _original(session, image))
        files = await _store(session, image, converted)
    except ImageRefused as error:
        await _fail(session, image_id, error.reason)
        return
    except Unavailable:
        await _wait(session, image_id)
        raise
    ready = await ProductImageService(session, Actor.system()).lock(image_id)
    if ready is None:
        await _clear(session, image_id)
    elif ready.state in OPEN:
        ready.files, ready.state, ready.reason = files, ImageState.READY, None
        await session.flush()


async def _begin(session: AsyncSession, image_id: UUID) -> ProductImage | None:
    """The image, and everybody can see that it is being worked on."""
    async with beside(session) as other:
        image = await ProductImageService(other, Actor.system()).lock(image_id)
        if image is not None and image.state is ImageState.WAITING:
            image.state, image.reason = ImageState.PROCESSING, None
    return image


async def _clear(session: AsyncSession, image_id: UUID) -> None:
    """It was swept. A worker that was slow, or killed, may have stored some files after that."""
    await storage_of(session).delete_all(ProductImage(id=image_id).folder)


async def _original(session: AsyncSession, image: ProductImage) -> bytes:
    """Raises ImageRefused. What is downloaded is kept as if it had been uploaded."""
    storage = storage_of(session)
    content = await storage.get(image.original)
    if content is None and image.url is not None:
        content = await download(image.url)
        look_at(content)
        await storage.put(image.original, content, "application/octet-stream")
    if content is None:
        raise ImageRefused("The file is not stored any more. Add it again.")
    return content


async def _store(session: AsyncSession, image: ProductImage, converted: Converted) -> list[dict[str, Any]]:
    storage, files = storage_of(session), []
    for variant in converted.variants:
        digest = blake2b(variant.content, digest_size=16).hexdigest()
        name = f"{image.folder}{digest}.{variant.format}"
        await storage.put(name, variant.content, MEDIA_TYPES[variant.format])
        files.append(
            {"format": variant.format, "width": variant.width, "height": variant.height, "name": name}
        )
    return files


async def _fail(session: AsyncSession, image_id: UUID, reason: str) -> None:
    """For good. Said and committed before the original goes, for a second try would not find it."""
    async with beside(session) as other:
        image = await ProductImageService(other, Actor.system()).lock(image_id)
        if image is None:
            return
        if image.state in OPEN:
            image.state, image.reason = ImageState.FAILED, reason
    await storage_of(session).delete(image.original)


async def _wait(session: AsyncSession, image_id: UUID) -> None:
    async with beside(session) as other:
        image = await ProductImageService(other, Actor.system()).lock(image_id)
        if image is not None and image.state is ImageState.PROCESSING:
            image.state = ImageState.WAITING
            image.reason = "The file storage cannot be reached just now. This goes on by itself."
