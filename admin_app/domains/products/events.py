"""What can happen to products. Each event speaks of a list: one product, or a chunk of a bulk change."""

from dataclasses import dataclass
from uuid import UUID

from admin_app.events import Event


@dataclass(frozen=True)
class ProductCreated(Event):
    product_ids: tuple[UUID, ...]


@dataclass(frozen=True)
class ProductUpdated(Event):
    """`fields` names what changed, in any of them."""

    product_ids: tuple[UUID, ...]
    fields: tuple[str, ...]


@dataclass(frozen=True)
class ProductDeleted(Event):
    product_ids: tuple[UUID, ...]
