"""Products in the API: the same service, the same rules, in JSON. A price is text, a time is UTC."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from admin_app.actor import Actor
from admin_app.api.answers import Moment, answer, links, location
from admin_app.api.auth import CALLER, doors_of
from admin_app.api.documentation import body, returns
from admin_app.api.image_files import ImageFile, files_of
from admin_app.api.lists import (
    MAX_LIMIT,
    STORABLE,
    Amount,
    Conditions,
    Cursor,
    Day,
    Limit,
    PageQuery,
    Period,
    Words,
    cursors,
    sort_by,
)
from admin_app.api.preconditions import etag, not_modified, require_unchanged
from admin_app.api.requests import read_json
from admin_app.api.routing import PlainRoute
from admin_app.domains.products import access
from admin_app.domains.products.schemas import Price, ProductCreate, ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.errors import InvalidInput
from admin_app.listing import BadQuery, Listing, ListQuery
from admin_app.text import reject_null

MAX_OFFSET = 1_000_000
MAX_HITS = 50

BOUNDS = {"price_from": "min", "price_to": "max"}
"""What is called otherwise where lists are by price."""

PRICE = re.compile(r"(?!0+(\.0+)?$)[0-9]{1,8}(\.[0-9]{1,2})?")

router = APIRouter(prefix="/products", tags=["products"], route_class=PlainRoute)


class ProductImageRead(msgspec.Struct):
    """What became of a picture: `waiting` and `processing` end in `ready` or `failed`."""

    id: UUID
    alt: str
    state: str
    urls: list[ImageFile]


class ProductRead(msgspec.Struct):
    """`external_id` is what another system calls it."""

    id: UUID
    external_id: str | None
    name: str
    description: str
    price: Decimal
    is_active: bool
    owner_id: UUID
    images: list[ProductImageRead]
    version: int
    created_at: Moment
    updated_at: Moment


class ProductPage(msgspec.Struct):
    """`next` and `previous` are cursors of the pages beside this one."""

    items: list[ProductRead]
    limit: int
    offset: int
    next: str | None
    previous: str | None


class ProductHits(msgspec.Struct):
    """The best match first."""

    items: list[ProductRead]
    limit: int


def _of_text(value: object) -> Decimal:
    if not isinstance(value, str) or not PRICE.fullmatch(value):
        raise ValueError("Write the price as text, with a point and at most 2 decimals, such as “12.50”.")
    return Decimal(value)


PriceText = Annotated[
    Price,
    BeforeValidator(_of_text),
    WithJsonSchema({"type": "string", "pattern": f"^{PRICE.pattern}$", "examples": ["12.50"]}),
]


class NewProduct(ProductCreate):
    """Whoever sends it becomes the owner; a superuser may name another one."""

    model_config = ConfigDict(extra="forbid")

    price: PriceText
    owner_id: UUID | None = None

    _no_null = reject_null("name", "description", "is_active", "images", "owner_id")


class ProductChanges(ProductUpdate):
    """Fields left out stay as they are. Only superusers may change the owner."""

    model_config = ConfigDict(extra="forbid")

    price: PriceText | None = None


class ProductConditions(Conditions):
    """`owner` is an e-mail address or a part of one."""

    search: Words = ""
    is_active: bool | None = None
    mine: bool = False
    external_id: str = ""
    owner: str = ""
    price_from: Amount = ""
    price_to: Amount = ""
    created: Period = ""
    created_from: Day = ""
    created_to: Day = ""
    updated: Period = ""
    updated_from: Day = ""
    updated_to: Day = ""


class ProductQuery(ProductConditions, PageQuery):
    """Conditions, order and place of a list of products; every condition must hold."""

    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    active_only: bool = True
    sort: sort_by([*ProductService.listing.sorts]) = "-created_at"  # type: ignore[valid-type]

    def texts(self) -> dict[str, str]:
        given = super().texts()
        if self.active_only and self.is_active is None:
            given["is_active"] = "yes"
        return {name: given[name] for name in given if name not in {"offset", "active_only"}}

    def parsed(self, listing: Listing[Any]) -> ListQuery:
        if self.cursor and self.offset:
            raise BadQuery("Use either cursor or offset, not both.", "offset")
        return replace(super().parsed(listing), offset=self.offset)


class OwnProductQuery(ProductQuery):
    """As of all products, of which inactive ones are left out only if that is asked for."""

    active_only: bool = False


class PriceRangeQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    min: Amount
    max: Amount
    limit: Limit = MAX_LIMIT
    cursor: Cursor = ""


class SearchQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    q: Annotated[str, Field(min_length=1, max_length=200, pattern=STORABLE)]
    limit: Annotated[int, Field(ge=1, le=MAX_HITS)] = 20


@router.get(
    "/{product_id:uuid}",
    summary="Read a product",
    responses=returns(ProductRead, has_tag=True),
)
async def read_product(request: Request, product_id: UUID) -> Response:
    """With If-None-Match only if it changed since."""
    async with doors_of(request).glancing(request) as session:
        row = await ProductService(session, CALLER).glance(product_id)
    product = _whole(request, row)
    tag = _tag(product)
    return not_modified(request, row.version, tag) or answer(product, tag=tag)


@router.get(
    "/",
    summary="List products",
    responses=returns(ProductPage, has_links=True),
)
async def list_products(request: Request, query: Annotated[ProductQuery, Query()]) -> Response:
    """The newest first, unless `sort` is given. A late page is quick by `cursor`, slow by `offset`."""
    return await _page(request, query)


@router.get(
    "/mine",
    summary="List my products",
    responses=returns(ProductPage, has_links=True),
)
async def list_own_products(request: Request, query: Annotated[OwnProductQuery, Query()]) -> Response:
    """Those the caller owns."""
    return await _page(request, query.model_copy(update={"mine": True}))


@router.get(
    "/price-range",
    summary="List products by price",
    responses=returns(ProductPage, has_links=True),
)
async def list_price_range(request: Request, query: Annotated[PriceRangeQuery, Query()]) -> Response:
    """Those that cost from `min` to `max`, both included, the cheapest first."""
    price = {"price_from": query.min, "price_to": query.max}
    place = {"limit": query.limit, "cursor": query.cursor, "sort": "price"}
    try:
        return await _page(request, ProductQuery(**place, **price, active_only=False))
    except BadQuery as error:
        raise BadQuery(error.message, BOUNDS.get(error.parameter, error.parameter)) from None


@router.get("/search", summary="Search products", responses=returns(ProductHits))
async def search_products(request: Request, query: Annotated[SearchQuery, Query()]) -> Response:
    """The best matches first, tolerant of typing errors. What changed just now may not be found yet."""
    async with doors_of(request).reading(request) as (session, actor):
        service = ProductService(session, actor)
        found = await service.search_products(query.q, query.limit)
        rows = await service.read_many([product.id for product in found])
    return answer(ProductHits([_whole(request, row) for row in rows], query.limit))


@router.post(
    "/",
    status_code=201,
    summary="Create a product",
    openapi_extra=body(NewProduct),
    responses=returns(ProductRead, 201, has_tag=True, has_location=True),
)
async def create_product(request: Request) -> Response:
    """Pictures are added beforehand, and named here by their ids."""
    await doors_of(request).enter(request, access.may_write)
    data = await read_json(request, NewProduct)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        service = ProductService(session, actor)
        with _owner_by_id():
            product = await service.create(data, data.owner_id)
        found = _whole(request, await service.read(product.id))
        return answer(found, 201, tag=_tag(found), headers=location(request, f"/products/{found.id}"))

    return await doors_of(request).change(request, work)


@router.patch(
    "/{product_id:uuid}",
    summary="Change a product",
    openapi_extra=body(ProductChanges, is_patch=True),
    responses=returns(ProductRead, has_tag=True),
)
async def change_product(request: Request, product_id: UUID) -> Response:
    """Only the given fields. With If-Match only if nobody changed the product since."""
    await doors_of(request).enter(request, access.may_write)
    data = await read_json(request, ProductChanges)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        service = ProductService(session, actor)
        require_unchanged(request, (await service.lock_changeable(product_id)).version)
        with _owner_by_id():
            await service.update(product_id, data)
        found = _whole(request, await service.read(product_id))
        return answer(found, tag=_tag(found))

    return await doors_of(request).change(request, work)


@router.delete(
    "/{product_id:uuid}",
    status_code=204,
    summary="Delete a product",
)
async def delete_product(request: Request, product_id: UUID) -> Response:
    """Into the bin, for 30 days. With If-Match only if nobody changed it since."""
    await doors_of(request).enter(request, access.may_write)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        service = ProductService(session, actor)
        require_unchanged(request, (await service.lock_changeable(product_id)).version)
        await service.delete(product_id)
        return Response(status_code=204)

    return await doors_of(request).change(request, work)


@contextmanager
def _owner_by_id() -> Iterator[None]:
    """What forms call "owner" is an id here."""
    try:
        yield
    except InvalidInput as error:
        names = {"owner": "owner_id"}
        fields = {names.get(name, name): told for name, told in error.fields.items()}
        raise InvalidInput(error.message, fields) from None


async def _page(request: Request, asked: ProductQuery) -> Response:
    query = asked.parsed(ProductService.listing)
    async with doors_of(request).glancing(request) as session:
        page = await ProductService(session, CALLER).glance_page(query)
    if page is None:
        async with doors_of(request).reading(request) as (session, actor):
            page = await ProductService(session, actor).read_page(query)
    beside = cursors(ProductService.listing, query, page)
    items = [_whole(request, row) for row in page.rows]
    found = ProductPage(items, asked.limit, asked.offset, beside["next"], beside["prev"])
    return answer(found, headers=links(request, **beside))


_COLUMNS = len(ProductRead.__struct_fields__)
_IMAGES = ProductRead.__struct_fields__.index("images")


def _whole(request: Request, row: Any) -> ProductRead:
    """Of columns as the service reads them, in their order."""
    values = list(row[:_COLUMNS])
    images = values[_IMAGES] or []
    if isinstance(images, str):
        images = msgspec.json.decode(images)
    values[_IMAGES] = [
        ProductImageRead(UUID(image["id"]), image["alt"], image["state"], files_of(request, image["files"]))
        for image in images
    ]
    return ProductRead(*values)


def _tag(product: ProductRead) -> str:
    """Of the version, and of what became of the pictures, which is no change of the product."""
    return etag(product.version, product.images)
