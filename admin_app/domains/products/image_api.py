"""Pictures of products in the API: adding one, and what became of it.

Which of them a product shows, in which order and with which texts, is its own `images`.
"""

import asyncio
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from admin_app.actor import Actor
from admin_app.api.answers import answer, location
from admin_app.api.auth import doors_of
from admin_app.api.documentation import body, returns
from admin_app.api.image_files import ImageFile, files_of
from admin_app.api.requests import is_form, read_file, read_json
from admin_app.api.routing import PlainRoute
from admin_app.domains.products import access
from admin_app.domains.products.image_service import ProductImageService
from admin_app.domains.products.service import ProductService
from admin_app.errors import InvalidInput, NotFound, Unavailable
from admin_app.images.containers import MAX_BYTES, ImageRefused, look_at
from admin_app.images.downloads import MAX_ADDRESS_LENGTH, require_public
from admin_app.storage import storage_of

UPLOADS = r"/products/[^/]+/images|/images/"
"""Below the API: where a body may be as long as a picture."""

FILE, URL = "file", "url"

router = APIRouter(tags=["pictures"], route_class=PlainRoute)


class ImageRead(msgspec.Struct):
    """`waiting` and `processing` end in `ready`, with files, or in `failed`, for a `reason`."""

    id: UUID
    product_id: UUID | None
    state: str
    reason: str | None
    urls: list[ImageFile]


class ImageAddress(BaseModel):
    """From where to fetch the picture: an address everybody can open."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(min_length=1, max_length=MAX_ADDRESS_LENGTH)]


_BODY = body(ImageAddress, file=FILE)
_ANSWERS = returns(ImageRead, 201, has_location=True)


@router.get(
    "/images/{image_id:uuid}",
    summary="Read what became of a picture",
    responses=returns(ImageRead),
)
async def read_image(request: Request, image_id: UUID) -> Response:
    """Ask every second or so until it is `ready` or `failed`."""
    async with doors_of(request).reading(request) as (session, actor):
        found = await ProductImageService(session, actor).find([image_id])
    if not found:
        raise NotFound
    return answer(_told(request, found[0]))


@router.post(
    "/images/",
    status_code=201,
    summary="Add a picture for a new product",
    openapi_extra=_BODY,
    responses=_ANSWERS,
)
async def add_image(request: Request) -> Response:
    """Name its id in `images` when the product is created, within a day."""
    await doors_of(request).enter(request, access.may_write)
    return await _add(request, None)


@router.post(
    "/products/{product_id:uuid}/images",
    status_code=201,
    summary="Add a picture for a product",
    openapi_extra=_BODY,
    responses=_ANSWERS,
)
async def add_product_image(request: Request, product_id: UUID) -> Response:
    """The product shows it when its `images` name it: change the product within a day."""
    async with doors_of(request).reading(request) as (session, actor):
        await ProductService(session, actor).get_changeable(product_id)
    return await _add(request, product_id)


async def _add(request: Request, product_id: UUID | None) -> Response:
    try:
        if is_form(request):
            return await _upload(request, product_id, await _content(request))
        url = (await read_json(request, ImageAddress)).url.strip()
        await require_public(url)
    except ImageRefused as error:
        name = FILE if is_form(request) else URL
        raise InvalidInput(error.reason, {name: error.reason}) from None

    async def work(session: AsyncSession, actor: Actor) -> Response:
        return _added(request, await ProductImageService(session, actor).add_url(product_id, url))

    return await doors_of(request).change(request, work)


async def _upload(request: Request, product_id: UUID | None, content: bytes) -> Response:
    """Its row is written before the file and once more after it, so no file is without a row."""
    await asyncio.to_thread(look_at, content)
    doors = doors_of(request)
    async with doors.changing(request) as (session, actor):
        image = await ProductImageService(session, actor).begin(product_id)
        storage = storage_of(session)
    try:
        await storage.put(image.original, content, "application/octet-stream")
    except Unavailable:
        async with doors.changing(request) as (session, actor):
            await ProductImageService(session, actor).give_up(image.id)
        raise

    async def work(session: AsyncSession, actor: Actor) -> Response:
        return _added(request, await ProductImageService(session, actor).arrived(image.id))

    return await doors.change(request, work)


async def _content(request: Request) -> bytes:
    """One byte more than may be is enough to be refused."""
    given = await read_file(request, FILE)
    try:
        return await given.read(MAX_BYTES + 1)
    finally:
        await given.close()


def _added(request: Request, image: Any) -> Response:
    return answer(_told(request, image), 201, headers=location(request, f"/images/{image.id}"))


def _told(request: Request, image: Any) -> ImageRead:
    files = files_of(request, image.files or [])
    return ImageRead(image.id, image.product_id, image.state.value, image.reason, files)
