"""What rows of a file would do to products: compared with the table by PostgreSQL, not row by row."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    SelectBase,
    Text,
    Uuid,
    and_,
    case,
    cast,
    column,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.orm import aliased

from admin_app.actor import Actor
from admin_app.domains.products.access import WRITERS, changeable_by, may_choose_owner
from admin_app.domains.products.models import Product, ProductImage
from admin_app.domains.users.models import User
from admin_app.imports.importer import Matching
from admin_app.imports.staging import (
    FOUND,
    STAGED,
    Changes,
    first_line,
    is_good,
    repeated,
    required,
    sentence,
)
from admin_app.search import plain

IS_LIVE = Product.deleted_at.is_(None)

OTHER = aliased(Product, name="other")
"""Whichever has the external id of a row."""

NO_SUCH = "There is no such product."
NOT_YOURS = "external_id: A product of somebody else has it."
TAKEN = "external_id: Another product has it already."
NOT_YOURS_TO_GIVE = "owner_email: Only superusers may choose who owns a product."
NOBODY = "owner_email: Nobody has the e-mail"
DIFFERS = (
    "There is such a product already, and something of it is different. "
    "To change it, give the file its id or external id."
)


def found(actor: Actor, matching: Matching) -> SelectBase:
    """As `Importer.found`: by the key; without one, the product that is just like it."""
    rows = _rows(actor, matching).cte("given_row")
    alike = _alike(rows)
    match matching.key:
        case "id":
            by_key = and_(Product.id == rows.c.id, changeable_by(actor))
        case "external_id":
            by_key = Product.external_id == rows.c.external_id
        case _:
            return alike
    return alike.union_all(select(rows.c.line, Product.id).join(Product, and_(by_key, IS_LIVE)))


def judged(actor: Actor, matching: Matching) -> Select[Any]:
    """As `Importer.judged`."""
    rows = _rows(actor, matching).cte("given_row")
    changes = Changes(rows.c.given, Product.id.is_(None))
    for name in ("name", "description", "is_active", "external_id"):
        changes.compare(name, getattr(Product, name))
    changes.compare("price", cast(Product.price, Text()))
    is_owned = or_(rows.c.owner_email.is_not(None), Product.id.is_(None))
    changes.add("owner_id", is_owned, cast(Product.owner_id, Text()), cast(rows.c.owner_id, Text()))
    joined = (
        rows.outerjoin(FOUND, FOUND.c.line == rows.c.line)
        .outerjoin(Product, Product.id == FOUND.c.row_id)
        .outerjoin(OTHER, and_(OTHER.external_id == rows.c.external_id, OTHER.deleted_at.is_(None)))
    )
    if "images" in matching.fields:
        images = _images(rows).cte("pictures")
        joined = joined.outerjoin(images, images.c.line == rows.c.line)
        changes.add("images", images.c.images.is_not(None), Product.images, images.c.images)
    changed = changes.built()
    return select(
        rows.c.line,
        Product.id.label("row_id"),
        Product.version,
        Product.name.label("label"),
        changed.label("changes"),
        case(*_refusals(rows, actor, matching, changed)).label("refusal"),
    ).select_from(joined)


def _rows(actor: Actor, matching: Matching) -> Select[Any]:
    """The staged rows, who owns what is new, and the `place` of those without a key among their like."""
    given: Any = STAGED.c.given
    owner = aliased(User, name="owner")
    row_id = given["id"].astext if matching.key == "id" else cast(null(), Text())
    external_id = given["external_id"].astext
    key = {"id": row_id, "external_id": external_id}.get(matching.key, cast(null(), Text()))
    email = given["owner_email"].astext
    owner_id = case((email.is_not(None), owner.id), else_=literal(actor.id, Uuid()))
    name = given["name"].astext
    description = func.coalesce(given["description"].astext, "")
    is_keyless = and_(is_good(), key.is_(None))
    like = (is_keyless, owner_id, name, description)
    return select(
        STAGED.c.line,
        STAGED.c.problem,
        given,
        cast(row_id, Uuid()).label("id"),
        external_id.label("external_id"),
        email.label("owner_email"),
        owner_id.label("owner_id"),
        owner.role.label("owner_role"),
        owner.is_active.label("owner_is_active"),
        name.label("name"),
        description.label("description"),
        is_keyless.label("is_keyless"),
        func.row_number().over(partition_by=like, order_by=STAGED.c.line).label("place"),
        first_line(row_id).label("first_of_id"),
        first_line(external_id).label("first_of_external_id"),
    ).select_from(STAGED.outerjoin(owner, func.lower(owner.email) == func.lower(email)))


def _alike(rows: Any) -> Select[Any]:
    """Rows without a key, and the products with their owner, name and description: k-th with k-th.

    They are put together by sorting, not by a join: thousands of either may be alike.
    """
    keyless = select(
        rows.c.owner_id, rows.c.name, rows.c.description, rows.c.place, rows.c.line, cast(null(), Text())
    ).where(rows.c.is_keyless)
    both = keyless.union_all(_namesakes(rows)).subquery("both")
    owner_id, name, description, place, line, product_id = both.c
    found: Any = cast(func.max(product_id), Uuid())
    return (
        select(func.max(line).label("line"), found.label("id"))
        .group_by(owner_id, name, description, place)
        .having(func.count(line) == 1, func.count(product_id) == 1)
    )


def _namesakes(rows: Any) -> Select[Any]:
    """Products called as rows without a key are, numbered among their like, the oldest first."""
    names = select(plain(rows.c.name).label("name")).where(rows.c.is_keyless).distinct().subquery("called")
    # Only the plain text of a name is indexed: OFFSET keeps PostgreSQL from working it out for each product.
    # Each name is looked up once, whatever the number of rows and owners that have it.
    same = (
        select(Product.id, Product.owner_id, Product.name, Product.description)
        .where(IS_LIVE, plain(Product.name) == names.c.name)
        .offset(0)
        .lateral("same")
    )
    like = (same.c.owner_id, same.c.name, same.c.description)
    place = func.row_number().over(partition_by=like, order_by=same.c.id)
    line = cast(null(), BigInteger())
    return select(*like, place, line, cast(same.c.id, Text())).select_from(names.join(same, true()))


def _images(rows: Any) -> Select[Any]:
    """What the product would show: pictures it has from these addresses already, and new ones."""
    addresses = func.jsonb_array_elements_text(rows.c.given["images"])
    address = addresses.table_valued("url", with_ordinality="place").render_derived("address")
    shown = func.jsonb_array_elements(Product.images).table_valued(column("image", JSONB())).render_derived()
    kept = (
        select(shown.c.image)
        .join(ProductImage, ProductImage.id == cast(shown.c.image["id"].astext, Uuid()))
        .where(ProductImage.url == address.c.url)
        .limit(1)
        .correlate(Product, address)
        .scalar_subquery()
    )
    new = func.jsonb_build_object("id", cast(func.uuidv7(), Text()), "alt", "", "url", address.c.url)
    image = func.coalesce(kept, new, type_=JSONB())
    joined = (
        rows.join(address, true())
        .outerjoin(FOUND, FOUND.c.line == rows.c.line)
        .outerjoin(Product, Product.id == FOUND.c.row_id)
    )
    images = func.jsonb_agg(aggregate_order_by(image, address.c.place)).label("images")
    return select(rows.c.line, images).select_from(joined).group_by(rows.c.line)


def _refusals(
    rows: Any, actor: Actor, matching: Matching, changed: ColumnElement[Any]
) -> list[tuple[ColumnElement[bool], ColumnElement[str]]]:
    """When, and the sentence: the first counts."""
    is_new, is_there = Product.id.is_(None), Product.id.is_not(None)
    email, owner_id = rows.c.owner_email, rows.c.owner_id
    # Whoever has it already keeps it, whatever became of them.
    is_another = or_(owner_id.is_(None), Product.owner_id.is_distinct_from(owner_id))
    is_given_away = and_(email.is_not(None), is_another)
    # Before what concerns the owner: `--create-owners` makes nobody for a row that lacks more than that.
    missing = [(is_new, sentence(required(matching.missing)))] if matching.missing else []
    return [
        (rows.c.problem != "", rows.c.problem),
        repeated("id", rows.c.first_of_id, rows.c.line),
        repeated("external_id", rows.c.first_of_external_id, rows.c.line),
        (and_(rows.c.id.is_not(None), is_new), sentence(NO_SUCH)),
        (and_(is_there, not_(changeable_by(actor))), sentence(NOT_YOURS)),
        (and_(OTHER.id.is_not(None), OTHER.id.is_distinct_from(Product.id)), sentence(TAKEN)),
        *missing,
        (
            and_(is_given_away, false() if may_choose_owner(actor) else owner_id.is_distinct_from(actor.id)),
            sentence(NOT_YOURS_TO_GIVE),
        ),
        (and_(is_given_away, owner_id.is_(None)), sentence(f"{NOBODY} ", email, ".")),
        (
            and_(is_given_away, rows.c.owner_role.not_in(WRITERS)),
            sentence(
                "owner_email: ", email, " has the role ", rows.c.owner_role, " and cannot own products."
            ),
        ),
        (
            and_(is_given_away, ~rows.c.owner_is_active),
            sentence("owner_email: ", email, " is not active and cannot own products."),
        ),
        (and_(is_new, owner_id.is_(None)), sentence("owner_email: This field is required.")),
        (and_(rows.c.is_keyless, is_there, changed != literal({}, JSONB())), sentence(DIFFERS)),
    ]
