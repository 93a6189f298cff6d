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
    """They are in the bin. That they are gone for good some time later is no event: nobody shows them."""

    product_ids: tuple[UUID, ...]


@dataclass(frozen=True)
class ProductRestored(Event):
    product_ids: tuple[UUID, ...]


@dataclass(frozen=True)
class ProductImageAdded(Event):
    """By upload or by URL, maybe to a form that is never saved. One event each, for each is a job."""

    image_ids: tuple[UUID, ...]


@dataclass(frozen=True)
class ProductIndexRequested(Event):
    """Nothing changed; the search index is to be written anew."""

    product_ids: tuple[UUID, ...]
