"""The shapes of a product at the edges: what may come in, what goes out. Prices are Decimal throughout."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from admin_app.text import Caption, Line, Paragraphs, reject_null

CENT = Decimal("0.01")
MAX_PRICE = Decimal(10) ** 8
"""Below it, that is."""

MAX_IMAGES = 12


def without_comma(value: object) -> object:
    """Not guessed: in "1,250" it may stand before decimals or thousands."""
    if isinstance(value, str) and "," in value:
        raise ValueError("Use a point for decimals and no comma, such as 1250.50.")
    return value


Price = Annotated[
    Decimal,
    Field(gt=0, lt=MAX_PRICE, decimal_places=2, allow_inf_nan=False),
    AfterValidator(lambda price: price.quantize(CENT)),
    BeforeValidator(without_comma),  # last: before it, the limits would not be the decimal's own
]


def _from_form(value: object) -> object:
    """A form carries its images as one text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("The pictures arrived damaged. Open the form again.") from None


def _few(images: object) -> object:
    """Counted before each is looked at: of a hundred thousand wrong ones, none is told."""
    if isinstance(images, list) and len(images) > MAX_IMAGES:
        raise ValueError(f"A product has at most {MAX_IMAGES} pictures, and these are {len(images):,}.")
    return images


def _once(images: list["ImageRef"]) -> list["ImageRef"]:
    if len({image.id for image in images}) < len(images):
        raise ValueError("The same picture is here twice. Remove one of them.")
    return images


def _canonical_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError("The pictures arrived damaged. Open the form again.") from None


class ImageRef(BaseModel):
    """A picture of a product, and what it shows, for who cannot see it. The id is a canonical UUID."""

    id: Annotated[str, AfterValidator(_canonical_id)]
    alt: Caption = ""


Images = Annotated[
    list[ImageRef],
    Field(max_length=MAX_IMAGES),
    AfterValidator(_once),
    BeforeValidator(_few),
    BeforeValidator(_from_form),
]


def _or_none(value: object) -> object:
    """Of a form, in which nothing is an empty text."""
    return None if isinstance(value, str) and not value.strip() else value


ExternalId = Annotated[Line | None, BeforeValidator(_or_none)]
"""What another system calls it."""


class ProductCreate(BaseModel):
    name: Line
    external_id: ExternalId = None
    description: Paragraphs = ""
    price: Price
    is_active: bool = True
    images: Images = []


class ProductUpdate(BaseModel):
    """Fields left out stay as they are; null takes the external id away. `owner_id` is for superusers."""

    name: Line | None = None
    external_id: ExternalId = None
    description: Paragraphs | None = None
    price: Price | None = None
    is_active: bool | None = None
    images: Images | None = None
    owner_id: UUID | None = None

    _no_null = reject_null("name", "description", "price", "is_active", "images", "owner_id")


class ProductRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    external_id: str | None
    name: str
    description: str
    price: Decimal
    is_active: bool
    owner_id: UUID
    version: int
    created_at: datetime
    updated_at: datetime


class ProductList(BaseModel):
    items: list[ProductRead]
    limit: int
    offset: int
