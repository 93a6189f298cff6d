"""Queries on products: the only place that selects them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    Uuid,
    bindparam,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager

from admin_app import listing
from admin_app.actor import Actor
from admin_app.domains.products.access import WRITERS, changeable_by
from admin_app.domains.products.models import Product, ProductSearchDocument
from admin_app.domains.users.models import User
from admin_app.listing import Filter, Listing, ListQuery, Page
from admin_app.search import (
    PostgresSearchIndex,
    SearchDocument,
    SearchIndex,
    as_id,
    contains,
    every_word,
    plain,
    words,
)

MAX_OWNERS = 1000
"""More people than this are not looked up beforehand for one word of a search."""


def matches(text: str, owners: Mapping[str, Sequence[UUID]] | None = None) -> ColumnElement[bool]:
    """Every word somewhere in the name, the description or the owner's e-mail; an id finds its row.

    `owners` holds whom a word names, where that is known. It should be: of a subquery the planner assumes
    that it names ten people, hence most products of a small shop, and reads them all.
    """

    def word_matches(word: str) -> ColumnElement[bool]:
        texts = or_(contains(Product.name, word), contains(Product.description, word))
        named = (owners or {}).get(word)
        if named is None:
            return or_(texts, owned_by_email(word))
        return or_(texts, Product.owner_id == func.any(literal(named, ARRAY(Uuid())))) if named else texts

    row_id = as_id(text)
    return Product.id == row_id if row_id else every_word(text, word_matches)


def owned_by_email(text: str) -> ColumnElement[bool]:
    owners = select(User.id).where(contains(User.email, text)).scalar_subquery()
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
        listing.choice(
            "is_active", "State", {"yes": ("Active", True), "no": ("Inactive", False)}, Product.is_active
        ),
        Filter("owner", "Owner", "text", listing.parse_text, owned_by_email),
        listing.since("created_from", "Created from", Product.created_at),
        listing.until("created_to", "Created to", Product.created_at),
    ),
    matches=matches,
)


class ProductRepository:
    """Reads are open to every role; whatever is loaded to be changed passes the ownership rule here."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._index: SearchIndex = PostgresSearchIndex(session, ProductSearchDocument)

    async def get(self, product_id: UUID) -> Product | None:
        statement = _with_owner().where(Product.id == product_id)
        return (await self._session.scalars(statement)).one_or_none()

    async def get_with_index_state(self, product_id: UUID) -> tuple[Product, int | None] | None:
        """The product and the version of it that search knows, if any."""
        document = ProductSearchDocument
        statement = (
            _with_owner()
            .add_columns(document.version)
            .outerjoin(document, document.id == Product.id)
            .where(Product.id == product_id)
        )
        row = (await self._session.execute(statement)).one_or_none()
        return (row[0], row[1]) if row else None

    async def get_many(self, product_ids: Sequence[UUID]) -> list[Product]:
        """With their owners, in the order of the ids; ids without a row are left out."""
        statement = _with_owner().where(Product.id.in_(product_ids))
        found = {product.id: product for product in await self._session.scalars(statement)}
        return [found[product_id] for product_id in product_ids if product_id in found]

    async def lock_changeable(self, product_id: UUID) -> Product | None:
        """The product, locked, if this actor may change it.

        Without its owner: joined here, a product given away while we wait for its lock would not be found.
        """
        statement = select(Product).where(Product.id == product_id, changeable_by(self._actor))
        return (await self._session.scalars(_read_anew(statement.with_for_update()))).one_or_none()

    async def lock_many(self, product_ids: Sequence[UUID]) -> list[Product]:
        """Locked in the order of their ids, so that two bulk changes cannot wait for each other."""
        statement = select(Product).where(Product.id.in_(product_ids)).order_by(Product.id).with_for_update()
        return list(await self._session.scalars(_read_anew(statement)))

    async def set_active(self, product_ids: Sequence[UUID], active: bool) -> None:
        await self._session.execute(
            update(Product)
            .where(Product.id.in_(product_ids), changeable_by(self._actor))
            .values(is_active=active, version=Product.version + 1, updated_at=func.now())
        )

    async def list_all(self, limit: int, offset: int, *, active_only: bool) -> list[Product]:
        statement = _with_owner().order_by(Product.created_at.desc(), Product.id.desc())
        if active_only:
            statement = statement.where(Product.is_active)
        return list(await self._session.scalars(statement.limit(limit).offset(offset)))

    async def get_by_owner(self, owner_id: UUID) -> list[Product]:
        statement = _with_owner().where(Product.owner_id == owner_id).order_by(Product.id)
        return list(await self._session.scalars(statement))

    async def search(self, text: str, limit: int) -> list[Product]:
        """Every word matches somewhere; newest first; complete at once, without the index."""
        condition = matches(text, await self._owners_named(text))
        statement = _with_owner().where(condition).order_by(Product.created_at.desc(), Product.id.desc())
        return list(await self._session.scalars(statement.limit(limit)))

    async def get_price_range(self, low: Decimal, high: Decimal) -> list[Product]:
        """Products that cost from `low` to `high`, both included, cheapest first."""
        statement = _with_owner().where(Product.price.between(low, high)).order_by(Product.price, Product.id)
        return list(await self._session.scalars(statement))

    async def page(self, query: ListQuery) -> Page[Product]:
        """Two statements at most: whom the searched words name, and the page."""
        owners = await self._owners_named(query.search)
        return await LISTING.page(self._session, _with_owner(), query, lambda text: matches(text, owners))

    async def _owners_named(self, text: str) -> dict[str, list[UUID]]:
        """Each word with the ids of whose e-mail it is in; words that name too many people are left out."""
        searched = [] if as_id(text) else list(dict.fromkeys(words(text)))
        if not searched:
            return {}
        each = [
            select(literal(word).label("word"), User.id)
            .where(contains(User.email, word))
            .limit(MAX_OWNERS + 1)
            for word in searched
        ]
        found: dict[str, list[UUID]] = {word: [] for word in searched}
        for word, owner_id in await self._session.execute(union_all(*each)):
            found[word].append(owner_id)
        return {word: ids for word, ids in found.items() if len(ids) <= MAX_OWNERS}

    async def owner_may_own(self, owner_id: UUID) -> bool:
        statement = select(User.id).where(User.id == owner_id, User.is_active, User.role.in_(WRITERS))
        return await self._session.scalar(statement) is not None

    async def search_index(self, text: str, limit: int) -> list[Product]:
        """Ranked and typo-tolerant, as complete as the worker is up to date."""
        ids = await self._index.search(text, limit=limit)
        return await self.get_many(ids)

    async def update_index(self, product_ids: Sequence[UUID]) -> None:
        """Bring these products' index entries up to date, whatever order such calls arrive in.

        Locked first and read afterwards, in a statement of its own: whoever waited for the lock sees what
        the one before saw, or newer. Locked, a product cannot be deleted, so no entry outlives its product.
        """
        lock = select(Product.id).where(Product.id.in_(product_ids)).order_by(Product.id)
        await self._session.execute(lock.with_for_update(key_share=True))
        statement = (
            select(Product.id, Product.version, Product.name, Product.description, User.email)
            .join(Product.owner)
            .where(Product.id.in_(product_ids))
            .order_by(Product.id)
        )
        rows = (await self._session.execute(statement)).all()
        await self._index.upsert(
            [SearchDocument(row.id, row.version, row.name, row.email, row.description) for row in rows]
        )
        await self._index.remove(set(product_ids) - {row.id for row in rows})

    async def ids_of_owner(self, owner_id: UUID, after: UUID | None, limit: int) -> list[UUID]:
        statement = select(Product.id).where(Product.owner_id == owner_id).order_by(Product.id).limit(limit)
        if after is not None:
            statement = statement.where(Product.id > after)
        return list(await self._session.scalars(statement))

    async def find_identical(
        self, keys: Collection[tuple[UUID, str, str]]
    ) -> dict[tuple[UUID, str, str], list[Product]]:
        """The products of each (owner, name, description), oldest first; keys without any are left out."""
        wanted = (
            func.unnest(
                bindparam("owner_ids", [key[0] for key in keys], ARRAY(Uuid)),
                bindparam("names", [key[1] for key in keys], ARRAY(Text)),
                bindparam("descriptions", [key[2] for key in keys], ARRAY(Text)),
            )
            .table_valued("owner_id", "name", "description")
            .render_derived("wanted")
        )
        statement = (
            select(Product)
            # Only the plain text of a name is indexed, and one owner may have very many products.
            .join(wanted, plain(Product.name) == plain(wanted.c.name))
            .where(
                Product.owner_id == wanted.c.owner_id,
                Product.name == wanted.c.name,
                Product.description == wanted.c.description,
            )
            .order_by(Product.id)
        )
        found = defaultdict(list)
        for product in await self._session.scalars(statement):
            found[product.owner_id, product.name, product.description].append(product)
        return dict(found)


def _read_anew(statement: Select[Product]) -> Select[Product]:
    """What the session loaded before the lock may be older than the locked row."""
    return statement.execution_options(populate_existing=True)


def _with_owner() -> Select[Product]:
    owner = contains_eager(Product.owner).load_only(User.email, User.name)
    return select(Product).join(Product.owner).options(owner)
