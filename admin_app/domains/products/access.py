"""The ownership rule, once: as an answer for one product and as a WHERE for many.

Everybody signed in reads every product. Superusers change all, administrators what they own, support nothing.
"""

from sqlalchemy import ColumnElement, false, true

from admin_app.actor import Actor, Role
from admin_app.domains.products.models import Product, ProductImage

WRITERS = frozenset({Role.SUPERUSER, Role.ADMINISTRATOR})
"""Who may create products, and so own them."""


def may_write(actor: Actor) -> bool:
    """Whether this role changes any product at all. If not, the answer to a change is 403, not 404."""
    return actor.role in WRITERS


def may_change(actor: Actor, product: Product) -> bool:
    return actor.is_superuser or (may_write(actor) and product.owner_id == actor.id)


def changeable_by(actor: Actor) -> ColumnElement[bool]:
    """`may_change` as SQL: the rows for which it is true."""
    if actor.is_superuser:
        return true()
    return Product.owner_id == actor.id if may_write(actor) else false()


def in_bin_for(actor: Actor) -> ColumnElement[bool]:
    """What the bin shows: to those who may restore what they may, to those who only read everything."""
    return changeable_by(actor) if may_write(actor) else true()


def may_see_image(actor: Actor, image: ProductImage) -> bool:
    """One that no product has yet is only its uploader's."""
    return image.product_id is not None or (image.uploaded_by == actor.id and actor.id is not None)


def may_purge(actor: Actor) -> bool:
    """Only the installation itself, when the time in the bin is over."""
    return actor.id is None and actor.is_superuser


def may_choose_owner(actor: Actor) -> bool:
    return actor.is_superuser
