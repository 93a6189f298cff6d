"""The worker's deliveries at once, and an index of its own to search in."""

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.domains.products.indexing import POSTGRES
from admin_app.search_postgres import PostgresIndex
from tests.deliveries import work
from tests.domains.products.conftest import Products, products

__all__ = ["Products", "product_index", "products", "work"]


def product_index(session: AsyncSession) -> PostgresIndex:
    return POSTGRES.index(session)
