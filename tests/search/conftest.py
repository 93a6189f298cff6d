"""The worker's deliveries at once, and an index of its own to search in."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.database import Database
from admin_app.domains import TASKS
from admin_app.domains.products.models import ProductSearchDocument, ProductSearchWord
from admin_app.outbox import Delivery
from admin_app.search_index import PostgresSearchIndex
from admin_app.worker import Deliverer
from tests.domains.products.conftest import Products, products

__all__ = ["Products", "product_index", "products", "work"]


async def work(database: Database) -> None:
    """Deliver everything that is open, as the worker does."""
    deliverer = Deliverer(database, TASKS, max_tries=3, lease_seconds=60)
    async with database.reading() as session:
        open_ = select(Delivery.id, Delivery.tries).where(Delivery.done_at.is_(None)).order_by(Delivery.id)
        deliveries = (await session.execute(open_)).all()
    for delivery_id, tries in deliveries:
        await deliverer.deliver(delivery_id, tries)
    async with database.reading() as session:
        errors = select(Delivery.last_error).where(Delivery.last_error.is_not(None))
        assert (await session.scalars(errors)).all() == []


def product_index(session: AsyncSession) -> PostgresSearchIndex:
    return PostgresSearchIndex(session, ProductSearchDocument, ProductSearchWord, "search_products")
