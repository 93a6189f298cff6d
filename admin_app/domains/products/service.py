"""Everything that can be done to products. Each change writes its history and its event; nothing commits."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.actor import Actor
from admin_app.audit import CREATED, REVERTED, UPDATED
from admin_app.database import violated_constraint
from admin_app.domains.products import access
from admin_app.domains.products.events import (
    ProductCreated,
    ProductDeleted,
    ProductRestored,
    ProductUpdated,
)
from admin_app.domains.products.exporting import COLUMNS
from admin_app.domains.products.indexing import ProductIndex
from admin_app.domains.products.many_service import (
    DELETED,
    RESTORED,
    ManyProducts,
    chunks,
    taken_as_conflict,
)
from admin_app.domains.products.models import Product
from admin_app.domains.products.repository import BIN, LISTING
from admin_app.domains.products.schemas import ProductCreate, ProductUpdate
from admin_app.domains.users.repository import UserRepository
from admin_app.errors import Forbidden, InvalidInput, NotFound
from admin_app.listing import Count, ListQuery, Page
from admin_app.merging import Made, merge, require_version, state_at
from admin_app.search import EXACT_SCORE, ExactOnly
from admin_app.text import is_storable

BIN_DAYS = 30
"""How long what was deleted can be restored."""


@dataclass(frozen=True)
class ProductDetails:
    """`is_indexed`: search already knows the product as it is now. None: only another server knows that."""

    product: Product
    is_indexed: bool | None


class ProductService(ManyProducts):
    """Runs inside the caller's transaction, as the actor.

    Every change raises Forbidden for a role that never writes, and NotFound for a product this actor
    may not change, exactly as for one that does not exist.
    """

    listing: ClassVar = LISTING
    export_columns: ClassVar = COLUMNS
    noun: ClassVar = "products"
    bin_listing: ClassVar = BIN
    bin_days: ClassVar = BIN_DAYS

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        super().__init__(session, actor)
        self._index = ProductIndex(session)
        self.kept: Sequence[Made] = ()
        """What others changed since the version the last `update` was based on."""

    async def create(
        self, data: ProductCreate, owner_id: UUID | None = None, *, owner_email: str | None = None
    ) -> Product:
        """The actor becomes the owner, unless a superuser names another."""
        if owner_email:
            owner_id = await self._person_named(owner_email)
        owner_id = owner_id or self._actor.id
        if owner_id is None:
            raise InvalidInput("Choose who owns this product.", {"owner": "Choose an owner."})
        [product] = await self.create_many([(data, owner_id)])
        return product

    async def create_many(self, rows: Sequence[tuple[ProductCreate, UUID]]) -> list[Product]:
        """As `create`, in few statements, for products with their owners' ids."""
        self._require_writer()
        for owner_id in {owner_id for _, owner_id in rows} - {self._actor.id}:
            await self._require_owner(owner_id)
        products = [Product(**data.model_dump() | {"owner_id": owner_id}) for data, owner_id in rows]
        self._session.add_all(products)
        await self._flush()
        for product in products:
            await self._images.attach(product, [])
            audit.record(self._session, self._actor, CREATED, product)
        for chunk in chunks(product.id for product in products):
            self._events.publish(ProductCreated(chunk))
        return products

    async def get_by_id(self, product_id: UUID) -> Product:
        """With its owner. Raises NotFound."""
        product = await self._products.get(product_id)
        if product is None:
            raise NotFound
        return product

    async def read(self, product_id: UUID) -> Any:
        """The product with its pictures and what became of them, as plain columns. Raises NotFound."""
        row = await self._products.read(product_id)
        if row is None:
            raise NotFound
        return row

    async def glance(self, product_id: UUID) -> Any:
        """As `read`, outside this transaction: as it is committed, with images as JSON text."""
        row = await self._products.glance(product_id)
        if row is None:
            raise NotFound
        return row

    async def read_many(self, product_ids: Sequence[UUID]) -> list[Any]:
        """As `read`, in the order of the ids; ids without a product are left out."""
        return await self._products.read_many(product_ids)

    async def read_page(self, query: ListQuery) -> Page:
        """A page of rows as `read` gives them."""
        return await self._products.read_page(query)

    async def glance_page(self, query: ListQuery) -> Page | None:
        """As `read_page`, of what `glance` gives; None for a query that takes more than a glance."""
        return await self._products.glance_page(query)

    async def get_details(self, product_id: UUID) -> ProductDetails:
        """As `get_by_id`, with what the worker has made of it so far."""
        if not self._index.engine.is_in_database:
            return ProductDetails(await self.get_by_id(product_id), None)
        found = await self._products.get_with_index_state(product_id)
        if found is None:
            raise NotFound
        product, indexed_version = found
        return ProductDetails(product, indexed_version is not None and indexed_version >= product.version)

    async def get_in_bin(self, product_id: UUID) -> Product:
        """The product in the bin. Raises NotFound, also for one this actor does not see there."""
        product = await self._products.get_in_bin(product_id)
        if product is None:
            raise NotFound
        return product

    async def get_changeable(self, product_id: UUID) -> Product:
        """The product, if this actor may change it; for forms. It is not locked."""
        self._require_writer()
        product = await self._products.get(product_id)
        if product is None or not access.may_change(self._actor, product):
            raise NotFound
        return product

    async def at_version(self, product: Product, version: int) -> audit.Snapshot:
        """How the product was. Raises Conflict for a version it never had, or of which nothing is known."""
        return await state_at(self._session, product, version)

    def may_revert(self, product: Product, name: str) -> bool:
        """Whether this actor may give this field a value it had before."""
        is_open = name in ProductUpdate.model_fields and access.may_change(self._actor, product)
        return is_open and (name != "owner_id" or access.may_choose_owner(self._actor))

    async def emails_of(self, ids: Collection[UUID]) -> dict[str, str]:
        """id -> e-mail of people who own or owned products, as far as they are still here."""
        return await self._products.emails_of(ids)

    async def list_all(self, limit: int = 100, offset: int = 0, active_only: bool = True) -> list[Product]:
        """Newest first."""
        return await self._products.list_all(limit, offset, active_only=active_only)

    async def page(self, query: ListQuery) -> Page:
        return await self._products.page(query)

    async def count(self, query: ListQuery, *, exactly: bool = False) -> Count:
        return await self._products.count(query, exactly=exactly)

    def require_export(self) -> None:
        """Whoever reads the list may take it along."""

    async def export(self, query: ListQuery, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return await self._products.export(query, columns)

    async def facets(self, query: ListQuery) -> dict[str, dict[str, Count]]:
        return await self._products.facets(query)

    async def bin_page(self, query: ListQuery) -> Page:
        """What was deleted and can be restored; an administrator sees the own products there."""
        return await self._products.bin_page(query)

    async def own_states(self) -> dict[bool, int] | None:
        """Of the actor's own products, how many are active and how many are not; None for very many."""
        return await self._products.own_states()

    async def owner_emails(self, text: str, limit: int = 20) -> list[str]:
        """Of people who own products, those whose e-mail has this text in it; everybody may read these."""
        return await self._products.owner_emails(text, limit)

    async def get_user_products(self, user_id: UUID) -> list[Product]:
        return await self._products.get_by_owner(user_id)

    async def search_products(self, query: str, limit: int = 20) -> list[Product]:
        """The best matches first, tolerant of typing errors; new products appear once they are indexed."""
        return [product for product, _ in await self.rank(query, limit)]

    async def rank(self, text: str, limit: int) -> list[tuple[Product, float]]:
        """As `search_products`, each with how well it matches, from 1 to 0.

        ExactOnly while the index does not answer.
        """
        hits = await self._index.search(text, limit)
        if hits is None:
            return ExactOnly((product, EXACT_SCORE) for product in await self._products.search(text, limit))
        scores = {hit.id: hit.score for hit in hits}
        return [(product, scores[product.id]) for product in await self._products.get_many(list(scores))]

    async def update(
        self,
        product_id: UUID,
        data: ProductUpdate,
        *,
        owner_email: str | None = None,
        expected_version: int | None = None,
    ) -> Product:
        """Change the given fields. The same values again change nothing and record nothing.

        A new owner can also be named by e-mail. What others changed since `expected_version` is kept.
        Raises EditConflict for a field both changed.
        """
        product = await self._lock(product_id)
        values = data.model_dump(exclude_unset=True)
        if owner_email:
            values["owner_id"] = await self._person_named(owner_email)
        return await self._change(product, values, expected_version)

    async def revert(
        self, product_id: UUID, version: int, names: Collection[str], *, expected_version: int | None = None
    ) -> Product:
        """Give these fields the values they had at a version of the product.

        Raises InvalidInput, whose fields are theirs, for a value that would be refused today, and Conflict
        for a version the product never had; otherwise as `update`.
        """
        product = await self._lock(product_id)
        past = await state_at(self._session, product, version)
        try:
            data = ProductUpdate.model_validate({name: past[name] for name in names if name in past})
        except ValidationError as error:
            raise InvalidInput.from_validation(error) from None
        values = data.model_dump(exclude_unset=True)
        return await self._change(product, values, expected_version, REVERTED, note=f"to version {version}")

    async def delete(self, product_id: UUID, *, expected_version: int | None = None) -> Product:
        """Put the product into the bin. Raises Conflict when it is no longer at `expected_version`."""
        product = await self._lock(product_id)
        require_version(product, expected_version)
        await self._put(product, DELETED, datetime.now(UTC))
        self._events.publish(ProductDeleted((product_id,)))
        return product

    async def restore(self, product_id: UUID, *, expected_version: int | None = None) -> Product:
        """Take the product out of the bin. One that is not in it stays as it is, and nothing is recorded.

        Raises Conflict when it is in the bin, but no longer at `expected_version`, and when another product
        has its external id by now.
        """
        product = await self._lock(product_id, or_in_bin=True)
        if product.deleted_at is None:
            return product
        require_version(product, expected_version)
        await self._put(product, RESTORED, None)
        self._events.publish(ProductRestored((product_id,)))
        return product

    async def purge(self, before: datetime, limit: int) -> int:
        """Delete for good at most `limit` products that were put into the bin before, and tell how many.

        The history keeps every value. Raises Forbidden for everybody but the installation itself.
        """
        if not access.may_purge(self._actor):
            raise Forbidden
        products = await self._products.purge(before, limit)
        await audit.record_gone(self._session, self._actor, "purged", products)
        return len(products)

    async def selection(self, query: ListQuery) -> Select[Any]:
        return await self._products.selection(query)

    async def may_own(self, owner_id: UUID) -> bool:
        """Whether somebody is here to own products, and may."""
        return await self._products.owner_may_own(owner_id)

    async def _put(self, product: Product, action: str, deleted_at: datetime | None) -> None:
        before = audit.snapshot(product)
        product.deleted_at = deleted_at
        told = f"Another product has the external id “{product.external_id}”. Give that one another first."
        with taken_as_conflict(told):
            await self._session.flush()
        audit.record(self._session, self._actor, action, product, before)

    async def _change(
        self,
        product: Product,
        values: dict[str, Any],
        expected_version: int | None,
        action: str = UPDATED,
        *,
        note: str | None = None,
    ) -> Product:
        merged = await merge(self._session, product, values, expected_version)
        values, self.kept = merged.values, merged.kept
        if values.get("owner_id") not in {None, product.owner_id}:
            await self._require_owner(values["owner_id"])
        before = audit.snapshot(product)
        for name, value in values.items():
            setattr(product, name, value)
        if audit.snapshot(product) == before:
            return product
        await self._flush()
        await self._images.attach(product, before["images"])
        changes = audit.record(self._session, self._actor, action, product, before, note=note)
        self._events.publish(ProductUpdated((product.id,), tuple(changes)))
        return product

    async def lock_changeable(self, product_id: UUID) -> Product:
        """The product, if this actor may change it; nobody else does before this transaction ends."""
        return await self._lock(product_id)

    async def _lock(self, product_id: UUID, *, or_in_bin: bool = False) -> Product:
        self._require_writer()
        product = await self._products.lock_changeable(product_id, or_in_bin=or_in_bin)
        if product is None:
            raise NotFound
        return product

    async def _person_named(self, email: str) -> UUID:
        """Raises InvalidInput when there is nobody."""
        users = UserRepository(self._session, self._actor)
        found = await users.ids_by_email([email]) if is_storable(email) else {}
        if email.lower() not in found:
            raise InvalidInput("There is no such owner.", {"owner": "Nobody here has this e-mail address."})
        return found[email.lower()]

    async def _require_owner(self, owner_id: UUID) -> None:
        if not access.may_choose_owner(self._actor):
            raise Forbidden("Only superusers may choose who owns a product.")
        if not await self._products.owner_may_own(owner_id):
            raise _cannot_own()

    async def _flush(self) -> None:
        try:
            await self._session.flush()
        except IntegrityError as error:
            match violated_constraint(error):
                case "fk_products_owner_id_users":
                    # Asked above, but an owner can be deleted meanwhile; also the actor.
                    raise _cannot_own() from None
                case "uq_products_external_id":
                    told = {"external_id": "Another product has it already."}
                    raise InvalidInput("This external id is taken.", told) from None
                case _:
                    raise


def _cannot_own() -> InvalidInput:
    reason = "Choose an active superuser or administrator."
    return InvalidInput("This person cannot own products.", {"owner": reason})
