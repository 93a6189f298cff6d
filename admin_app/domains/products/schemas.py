"""The shapes of a product at the edges: what may come in, what goes out. Prices are Decimal throughout."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from admin_app.text import Line, Paragraphs, reject_null

CENT = Decimal("0.01")
MAX_PRICE = Decimal(10) ** 8
"""Below it, that is."""


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


class ProductCreate(BaseModel):
    name: Line
    description: Paragraphs = ""
    price: Price
    is_active: bool = True


class ProductUpdate(BaseModel):
    """Fields left out stay as they are. `owner_id` is for superusers."""

    name: Line | None = None
    description: Paragraphs | None = None
    price: Price | None = None
    is_active: bool | None = None
    owner_id: UUID | None = None

    _no_null = reject_null()


class ProductRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
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
