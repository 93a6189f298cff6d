"""Products as the API shows them: whole rows as plain columns, within a transaction or at a glance."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Numeric, Select, bindparam, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB

from admin_app.database import glance
from admin_app.domains.products.models import Product
from admin_app.domains.products.repository import IS_LIVE, LISTING, MINE, ProductRepository
from admin_app.glances import CALLER_ID
from admin_app.keyset import SORT_KEY, Cursor, cut
from admin_app.listing import PAGE_SIZES, ListQuery, Page, Rows

_IMAGES: ColumnElement[Any] = literal_column(
    """
    CASE WHEN jsonb_array_length(products.images) > 0 THEN (
        SELECT jsonb_agg(
            jsonb_build_object(
                'id', item.value -> 'id',
                'alt', item.value -> 'alt',
                'state', coalesce(product_image.state, 'gone'),
                'files', coalesce(product_image.files, '[]')
            )
            ORDER BY item.place
        )
        FROM jsonb_array_elements(products.images) WITH ORDINALITY AS item (value, place)
        LEFT JOIN product_image ON product_image.id = (item.value ->> 'id')::uuid
    ) END
    """,
    JSONB,
)
"""Of each picture what a person decided, what became of it, and its files; NULL for none.

Written out: built from expressions, each name in it would be a value to send with every request.
"""

_WHOLE: Rows = select(
    Product.id,
    Product.external_id,
    Product.name,
    Product.description,
    Product.price,
    Product.is_active,
    Product.owner_id,
    _IMAGES.label("images"),
    Product.version,
    Product.created_at,
    Product.updated_at,
)


_READ = _WHOLE.where(IS_LIVE, Product.id == bindparam("product_id"))

_GLANCED: Mapping[str, ColumnElement[bool]] = {
    "is_active": Product.is_active == bindparam("is_active"),
    MINE: Product.owner_id == CALLER_ID,
    # Not of the type of the column, which does not hold every price one may ask for.
    "price_from": Product.price >= bindparam("price_from", type_=Numeric()),
    "price_to": Product.price <= bindparam("price_to", type_=Numeric()),
}
"""Conditions that need nothing looked up, and have an index in most orders."""


@lru_cache(maxsize=512)  # more than there are
def _page_at_a_glance(sort: str, descending: bool, direction: Any, names: tuple[str, ...]) -> Select[Any]:
    """For each sort, place (a direction, "last" or None) and set of conditions one statement."""
    place = Cursor(direction, None, UUID(int=0)) if direction in {"after", "before"} else direction
    query = ListQuery(sort=sort, descending=descending, cursor=place)
    return LISTING.glance(_WHOLE, [_GLANCED[name] for name in names], query)


class WholeProductRepository(ProductRepository):
    async def read(self, product_id: UUID) -> Any:
        connection = await self._session.connection()
        return (await connection.execute(_READ, {"product_id": product_id})).one_or_none()

    async def glance(self, product_id: UUID) -> Any:
        rows = await glance(self._session, _READ, product_id=product_id)
        return rows[0] if rows else None

    async def read_many(self, product_ids: Sequence[UUID]) -> list[Any]:
        """In the order of the ids; ids without a row are left out."""
        found = await self._session.execute(_WHOLE.where(IS_LIVE, Product.id.in_(product_ids)))
        rows = {row.id: row for row in found}
        return [rows[product_id] for product_id in product_ids if product_id in rows]

    async def read_page(self, query: ListQuery) -> Page:
        """As `page`, with nothing counted."""
        known = await self.known(query)
        return await LISTING.page(self._session, _WHOLE, query, known, is_counted=False)

    async def glance_page(self, query: ListQuery) -> Page | None:
        """As `read_page`; None if these conditions take more than a glance."""
        if query.search or not query.filters.keys() <= _GLANCED.keys():
            return None
        place = query.cursor if isinstance(query.cursor, Cursor) else None
        direction = place.direction if place else query.cursor
        names = tuple(sorted(query.filters))
        statement = _page_at_a_glance(query.sort, query.descending, direction, names)
        size = query.size or PAGE_SIZES[0]
        values = {"rows": size + 1, "offset": query.offset, **LISTING.values(query)}
        if place is not None:
            values |= {SORT_KEY: place.value, "row_id": place.id}
        found = await glance(self._session, statement, **values)
        rows, previous, following = cut(found, size, query.cursor, is_later=query.offset > 0)
        return Page(rows, None, previous, following)
