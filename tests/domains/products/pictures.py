"""Pictures as forms add them, without the form."""

from uuid import UUID

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.domains.products.image_service import ProductImageService
from admin_app.domains.products.models import ProductImage
from admin_app.storage import storage_of
from tests.samples import png


async def add_picture(
    database: Database, actor: Actor, content: bytes | None = None, product_id: UUID | None = None
) -> dict[str, str]:
    """One that has arrived, as a product would name it."""
    async with database.transaction() as session:
        image = await ProductImageService(session, actor).begin(product_id)
    await storage_of(database).put(image.original, content or png(), "application/octet-stream")
    async with database.transaction() as session:
        await ProductImageService(session, actor).arrived(image.id)
    return {"id": str(image.id), "alt": ""}


async def load_picture(database: Database, picture: dict[str, str]) -> ProductImage | None:
    async with database.reading() as session:
        return await session.get(ProductImage, UUID(picture["id"]))
