"""Many products at once: created or changed in a few statements, with their history and events."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from admin_app.actor import Actor
from admin_app.bulk.changes import GONE, NOT_YOURS, Change, Refusal, change_rows
from admin_app.bulk.creating import create_rows
from admin_app.database import violated_constraint
from admin_app.domains.products import access
from admin_app.domains.products.events import (
    ProductCreated,
    ProductDeleted,
    ProductIndexRequested,
    ProductRestored,
    ProductUpdated,
)
from admin_app.domains.products.image_service import ProductImageService
from admin_app.domains.products.models import Product
from admin_app.domains.products.repository import may_own
from admin_app.domains.products.whole_repository import WholeProductRepository
from admin_app.errors import Conflict, Forbidden
from admin_app.events import EventBus
from admin_app.outbox import OutboxBus

CHUNK = 500
"""The most products one event speaks of."""

DELETED, RESTORED, INDEXED = "deleted", "restored", "indexed"
"""What a change of many products can be besides an update of some fields."""

TAKEN = "another product has this external id"

_EVENTS = {DELETED: ProductDeleted, RESTORED: ProductRestored, INDEXED: ProductIndexRequested}


class ManyProducts:
    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._products = WholeProductRepository(session, actor)
        self._images = ProductImageService(session, actor)
        self._events: EventBus = OutboxBus(session, actor)

    def guarded(self, change: Change) -> Change:
        in_bin = Product.deleted_at.is_not(None)
        guards = [
            Refusal("not in the bin", ~in_bin) if change.word == RESTORED else Refusal(GONE, in_bin),
            Refusal(NOT_YOURS, ~access.changeable_by(self._actor)),
        ]
        if "owner_id" in change.values:
            owner_id = change.values["owner_id"]
            cannot = and_(owner_id.is_distinct_from(Product.owner_id), ~may_own(owner_id))
            guards.append(Refusal("the new owner cannot own products", cannot, is_costly=True))
        if change.word == RESTORED:
            guards.append(Refusal(TAKEN, is_taken(Product.external_id, Product.id), is_costly=True))
        elif "external_id" in change.values:
            taken = is_taken(change.values["external_id"], Product.id)
            guards.append(Refusal(TAKEN, taken, is_costly=True))
        return replace(change, guards=guards)

    async def change_many(self, rows: Mapping[UUID, int], change: Change) -> dict[UUID, str | None]:
        self._require_writer()
        with taken_as_conflict():
            reasons = await change_rows(self._session, self._actor, Product, rows, self.guarded(change))
        changed = [product_id for product_id, reason in reasons.items() if reason is None]
        if "images" in change.values:
            await self._images.settle(changed)
        for chunk in chunks(changed):
            event = _EVENTS.get(change.word)
            self._events.publish(event(chunk) if event else ProductUpdated(chunk, tuple(change.values)))
        return reasons

    async def create_rows(self, ids: Collection[UUID], change: Change) -> dict[UUID, str | None]:
        """New products with these ids, as `creating.create_rows`; they are not the pictures they name yet."""
        self._require_writer()
        owner_id, external_id = change.values["owner_id"], change.values["external_id"]
        guards = [Refusal("nobody is named who is to own it", owner_id.is_(None))]
        if not access.may_choose_owner(self._actor):
            guards.append(Refusal("only a superuser may choose its owner", owner_id != self._actor.id))
        guards += [
            Refusal("its owner cannot own products", ~may_own(owner_id)),
            Refusal(TAKEN, is_taken(external_id)),
        ]
        with taken_as_conflict():
            reasons = await create_rows(
                self._session, self._actor, Product, ids, replace(change, guards=guards)
            )
        for chunk in chunks(product_id for product_id, reason in reasons.items() if reason is None):
            self._events.publish(ProductCreated(chunk))
        return reasons

    def _require_writer(self) -> None:
        if not access.may_write(self._actor):
            raise Forbidden


def is_taken(external_id: Any, own_id: Any = None) -> Any:
    """Whether a product that is not in the bin has it, other than the own one."""
    other = aliased(Product)
    found = select(other.id).where(other.external_id == external_id, other.deleted_at.is_(None))
    return (found if own_id is None else found.where(other.id != own_id)).exists()


@contextmanager
def taken_as_conflict(told: str = "Another product has this external id.") -> Iterator[None]:
    """Somebody can take an external id after it was asked for; raises Conflict then."""
    try:
        yield
    except IntegrityError as error:
        if violated_constraint(error) == "uq_products_external_id":
            raise Conflict(told) from None
        raise


def chunks(ids: Iterable[UUID]) -> list[tuple[UUID, ...]]:
    found = list(ids)
    return [tuple(found[start : start + CHUNK]) for start in range(0, len(found), CHUNK)]
