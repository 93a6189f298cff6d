"""Background work on the search index. Each task runs in the transaction that marks its delivery done."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.domains.products.events import ProductIndexRequested
from admin_app.domains.products.handlers import UPDATE_OWNER_INDEX, UPDATE_PRODUCT_INDEX
from admin_app.domains.products.indexing import BATCH, ProductIndex
from admin_app.events import Tasks
from admin_app.outbox import OutboxBus


async def update_product_index(session: AsyncSession, product_ids: list[str], anew: bool = False) -> None:
    """Write the products as they are now into the search index, or take them out if they are gone."""
    await ProductIndex(session).update([UUID(product_id) for product_id in product_ids], anew=anew)


async def update_owner_index(session: AsyncSession, user_ids: list[str]) -> None:
    """Ask for everything these people own, in deliveries that are done and tried again one by one."""
    events = OutboxBus(session, Actor.system())
    for user_id in user_ids:
        ids = await ProductIndex(session).ids_of_owner(UUID(user_id))
        for start in range(0, len(ids), BATCH):
            events.publish(ProductIndexRequested(tuple(ids[start : start + BATCH])))


TASKS: Tasks = {
    UPDATE_PRODUCT_INDEX: update_product_index,
    UPDATE_OWNER_INDEX: update_owner_index,
}
