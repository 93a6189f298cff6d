"""Background work on products. Each task runs in the transaction that marks its delivery done."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.domains.products.handlers import UPDATE_OWNER_INDEX, UPDATE_PRODUCT_INDEX
from admin_app.domains.products.repository import ProductRepository
from admin_app.events import Tasks

BATCH = 500


async def update_product_index(session: AsyncSession, product_ids: list[str]) -> None:
    """Write the products as they are now into the search index, or take them out if they are gone."""
    repository = ProductRepository(session, Actor.system())
    await repository.update_index([UUID(product_id) for product_id in product_ids])


async def update_owner_index(session: AsyncSession, user_ids: list[str]) -> None:
    """Index again everything these people own."""
    repository = ProductRepository(session, Actor.system())
    for user_id in user_ids:
        batch = await repository.ids_of_owner(UUID(user_id), None, BATCH)
        while batch:
            await repository.update_index(batch)
            batch = await repository.ids_of_owner(UUID(user_id), batch[-1], BATCH)


TASKS: Tasks = {
    UPDATE_PRODUCT_INDEX: update_product_index,
    UPDATE_OWNER_INDEX: update_owner_index,
}
