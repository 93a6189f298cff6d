"""Queries on products: the only place that selects them.

A product in the bin is not there, for whoever does not ask for the bin by name.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Uuid,
    delete,
    false,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager, joinedload

from admin_app import filters
from admin_app.actor import Actor
from admin_app.domains.products.access import WRITERS, changeable_by, in_bin_for
from admin_app.domains.products.models import (
    SEARCH_TEXT,
    Product,
    ProductImage,
    ProductSearchDocument,
    main_image_id,
)
from admin_app.domains.users.models import User
from admin_app.exports.exportable import all_rows
from admin_app.filters import Filter
from admin_app.listing import COUNT_LIMIT, Conditions, Count, Listing, ListQuery, Page, Rows
from admin_app.search import (
    as_id,
    begins_id,
    contains,
    every_word,
    plain,
    words,
)

MAX_OWNERS = 1000
"""More people than this are not looked up beforehand for one word of a search."""

MINE = "mine"
OWNER = "owner"

IS_LIVE = Product.deleted_at.is_(None)


def matches(text: str, owners: Mapping[str, Sequence[UUID]] | None = None) -> ColumnElement[bool]:
    """Every word somewhere in the name, the description or the owner's e-mail; an id finds its row.

    `owners` holds whom a word names, where that is known. It should be: of a subquery the planner assumes
    that it names ten people, hence most products of a small shop, and reads them all.
    """

    def word_matches(word: str) -> ColumnElement[bool]:
        texts = contains(SEARCH_TEXT, word)
        named = (owners or {}).get(word)
        if named is None:
            return or_(texts, owned_by_email(word))
        return or_(texts, owned_by(named)) if named else texts

    row_id = as_id(text)
    if row_id:
        return Product.id == row_id
    found = every_word(text, word_matches)
    ids = begins_id(text)
    return or_(found, Product.id.between(*ids)) if ids else found


def owned_by(owner_ids: Sequence[UUID]) -> ColumnElement[bool]:
    if len(owner_ids) == 1:
        return Product.owner_id == owner_ids[0]
    return Product.owner_id == func.any(literal(list(owner_ids), ARRAY(Uuid())))


def owned_by_email(text: str) -> ColumnElement[bool]:
    owners = select(User.id).where(contains(plain(User.email), text)).scalar_subquery()
    return Product.owner_id == func.any(func.array(owners))


LISTING = Listing(
    model=Product,
    sorts={
        "name": plain(Product.name),
        "price": Product.price,
        "is_active": Product.is_active,
        "created_at": Product.created_at,
        "updated_at": Product.updated_at,
    },
    default_sort=("created_at", True),
    filters=(
        filters.choice(
            "is_active",
            "State",
            {"yes": ("Active", True), "no": ("Inactive", False)},
            lambda value: Product.is_active == value,
        ),
        # Whose "mine" is, the repository knows; to nobody in particular nothing belongs.
        filters.choice(MINE, "Whose", {"yes": ("My products", True)}, lambda _: false()),
        Filter(OWNER, "Owner", "person", filters.parse_text, owned_by_email),
        Filter(
            "external_id", "External id", "text", filters.parse_text, lambda text: Product.external_id == text
        ),
        *filters.price("price", "Price", Product.price),
        *filters.moment("created", "Created", Product.created_at),
        *filters.moment("updated", "Updated", Product.updated_at),
    ),
    matches=matches,
    scope=IS_LIVE,
    counted_by="ix_products_created_at",
)

BIN = Listing(
    model=Product,
    sorts={"deleted_at": Product.deleted_at},
    default_sort=("deleted_at", True),
    filters=(),
    matches=matches,
    scope=Product.deleted_at.is_not(None),
    counted_by="ix_products_bin",
)


_OWNED = (
    select(Product)
    .join(Product.owner)
    .options(
        contains_eager(Product.owner).load_only(User.email, User.name),
        joinedload(Product.main_image).load_only(ProductImage.files),
    )
)
_WITH_OWNER = _OWNED.where(IS_LIVE)


_ROWS: Rows = select(
    Product.id,
    Product.external_id,
    Product.name,
    Product.description,
    Product.price,
    Product.is_active,
    Product.owner_id,
    Product.version,
    Product.created_at,
    Product.updated_at,
    User.email.label("owner_email"),
    # Looked up for the rows of a page, after the others are left out.
    select(ProductImage.files)
    .where(ProductImage.id == main_image_id())
    .scalar_subquery()
    .label("main_files"),
).join(Product.owner)


def may_own(owner_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    """Whether somebody is here to own products, and may."""
    return select(User.id).where(User.id == owner_id, User.is_active, User.role.in_(WRITERS)).exists()


class ProductRepository:
    """Reads are open to every role; whatever is loaded to be changed passes the ownership rule here."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    async def get(self, product_id: UUID) -> Product | None:
        statement = _WITH_OWNER.where(Product.id == product_id)
        return (await self._session.scalars(statement)).one_or_none()

    async def get_in_bin(self, product_id: UUID) -> Product | None:
        """If this actor may see it there."""
        statement = _OWNED.where(Product.id == product_id, BIN.scope, in_bin_for(self._actor))
        return (await self._session.scalars(statement)).one_or_none()

    async def get_with_index_state(self, product_id: UUID) -> tuple[Product, int | None] | None:
        """The product and the version of it that search knows, if any."""
        document = ProductSearchDocument
        statement = (
            _WITH_OWNER.add_columns(document.version)
            .outerjoin(document, document.id == Product.id)
            .where(Product.id == product_id)
        )
        row = (await self._session.execute(statement)).one_or_none()
        return (row[0], row[1]) if row else None

    async def get_many(self, product_ids: Sequence[UUID]) -> list[Product]:
        """With their owners, in the order of the ids; ids without a row are left out."""
        statement = _WITH_OWNER.where(Product.id.in_(product_ids))
        found = {product.id: product for product in await self._session.scalars(statement)}
        return [found[product_id] for product_id in product_ids if product_id in found]

    async def lock_changeable(self, product_id: UUID, *, or_in_bin: bool = False) -> Product | None:
        """The product, locked, if this actor may change it.

        Without its owner: joined here, a product given away while we wait for its lock would not be found.
        """
        statement = select(Product).where(Product.id == product_id, changeable_by(self._actor))
        if not or_in_bin:
            statement = statement.where(IS_LIVE)
        return (await self._session.scalars(_read_anew(statement.with_for_update()))).one_or_none()

    async def list_all(self, limit: int, offset: int, *, active_only: bool) -> list[Product]:
        statement = _WITH_OWNER.order_by(Product.created_at.desc(), Product.id.desc())
        if active_only:
            statement = statement.where(Product.is_active)
        return list(await self._session.scalars(statement.limit(limit).offset(offset)))

    async def get_by_owner(self, owner_id: UUID) -> list[Product]:
        statement = _WITH_OWNER.where(Product.owner_id == owner_id).order_by(Product.id)
        return list(await self._session.scalars(statement))

    async def search(self, text: str, limit: int) -> list[Product]:
        """Every word matches somewhere; newest first; complete at once, without the index."""
        condition = matches(text, _ids_of(await self._owners_named(_searched(text))))
        statement = _WITH_OWNER.where(condition).order_by(Product.created_at.desc(), Product.id.desc())
        return list(await self._session.scalars(statement.limit(limit)))

    async def get_price_range(self, low: Decimal, high: Decimal) -> list[Product]:
        """Products that cost from `low` to `high`, both included, cheapest first."""
        statement = _WITH_OWNER.where(Product.price.between(low, high)).order_by(Product.price, Product.id)
        return list(await self._session.scalars(statement))

    async def page(self, query: ListQuery) -> Page:
        """Two statements at most: whom the words and the owner filter name, and the page."""
        known = await self.known(query)
        return await LISTING.page(self._session, _ROWS, query, known)

    async def count(self, query: ListQuery, *, exactly: bool) -> Count:
        known = await self.known(query)
        return await LISTING.count(self._session, _ROWS, query, known, exactly=exactly)

    async def selection(self, query: ListQuery) -> Select[Any]:
        """What `page` shows on all pages together, in columns `id` and `version`."""
        return LISTING.selection(_ROWS, query, await self.known(query))

    async def export(self, query: ListQuery, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return all_rows(LISTING, _ROWS, query, columns, await self.known(query))

    async def facets(self, query: ListQuery) -> dict[str, dict[str, Count]]:
        known = await self.known(query)
        return await LISTING.facets(self._session, _ROWS, query, known)

    async def own_states(self) -> dict[bool, int] | None:
        """Of the actor's own products, how many are active and how many are not; None above COUNT_LIMIT."""
        own = select(Product.is_active).where(IS_LIVE, Product.owner_id == self._actor.id)
        some = own.limit(COUNT_LIMIT + 1).subquery()
        counted = select(some.c.is_active, func.count()).group_by(some.c.is_active)
        found: dict[bool, int] = dict((await self._session.execute(counted)).all())
        return found if sum(found.values()) <= COUNT_LIMIT else None

    async def bin_page(self, query: ListQuery) -> Page:
        """As `page`, of the products in the bin this actor may see there."""
        rows = _ROWS.add_columns(Product.deleted_at).where(in_bin_for(self._actor))
        return await BIN.page(self._session, rows, query, await self.known(query))

    async def purge(self, before: datetime, limit: int) -> list[Product]:
        """Delete for good, the oldest first, what was put into the bin before; what is locked waits."""
        due = select(Product).where(Product.deleted_at < before).order_by(Product.deleted_at, Product.id)
        locked = due.limit(limit).with_for_update(skip_locked=True)
        products = list(await self._session.scalars(_read_anew(locked)))
        ids = literal([product.id for product in products], ARRAY(Uuid()))
        await self._session.execute(
            delete(Product).where(Product.id == func.any(ids)),
            execution_options={"synchronize_session": False},
        )
        return products

    async def emails_of(self, ids: Collection[UUID]) -> dict[str, str]:
        people = await self._session.execute(select(User.id, User.email).where(User.id.in_(ids)))
        return {str(person.id): person.email for person in people}

    async def owner_emails(self, text: str, limit: int) -> list[str]:
        """Of people who own products, those whose e-mail has this text in it."""
        owns = select(Product.id).where(Product.owner_id == User.id, IS_LIVE).exists()
        statement = (
            select(User.email)
            .where(every_word(text, lambda word: contains(plain(User.email), word)), owns)
            .order_by(plain(User.email), User.id)
            .limit(limit)
        )
        return list(await self._session.scalars(statement))

    async def known(self, query: ListQuery) -> Conditions:
        """What the conditions of this query mean, as far as it depends on who asks and on who is there."""
        known: dict[str, ColumnElement[bool]] = {MINE: owned_by([self._actor.id] if self._actor.id else [])}
        owner = query.filters.get(OWNER, "").strip()
        found = await self._owners_named([*_searched(query.search), *([owner] if owner else [])])
        if query.search:
            known["search"] = matches(query.search, _ids_of(found))
        if owner and len(found[owner]) <= MAX_OWNERS:
            # Somebody's whole e-mail names nobody else whose e-mail it is a part of.
            whole = [owner_id for owner_id, is_whole in found[owner] if is_whole]
            known[OWNER] = owned_by(whole or [owner_id for owner_id, _ in found[owner]])
        return known

    async def _owners_named(self, texts: Sequence[str]) -> dict[str, list[tuple[UUID, bool]]]:
        """Each text with the ids of whose e-mail it is in, and whether it is the whole of it.

        MAX_OWNERS + 1 of them stand for any number more.
        """
        found: dict[str, list[tuple[UUID, bool]]] = {text: [] for text in texts}
        if not found:
            return found
        each = [
            select(literal(text).label("text"), User.id, func.lower(User.email) == func.lower(text))
            .where(contains(plain(User.email), text))
            .limit(MAX_OWNERS + 1)
            for text in found
        ]
        connection = await self._session.connection()
        for text, owner_id, is_whole in await connection.execute(union_all(*each)):
            found[text].append((owner_id, is_whole))
        return found

    async def owner_may_own(self, owner_id: UUID) -> bool:
        return await self._session.scalar(select(may_own(literal(owner_id)))) or False


def _searched(text: str) -> list[str]:
    """The words that may name an owner."""
    return [] if as_id(text) else words(text)


def _ids_of(found: Mapping[str, Sequence[tuple[UUID, bool]]]) -> dict[str, list[UUID]]:
    """Without the texts that name too many people."""
    few = {text: people for text, people in found.items() if len(people) <= MAX_OWNERS}
    return {text: [owner_id for owner_id, _ in people] for text, people in few.items()}


def _read_anew(statement: Select[Product]) -> Select[Product]:
    """What the session loaded before the lock may be older than the locked row."""
    return statement.execution_options(populate_existing=True)
