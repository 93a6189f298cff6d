"""The tables of products and of their images, and the table their search index lives in."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Computed,
    ForeignKey,
    Index,
    Numeric,
    String,
    Text,
    Uuid,
    cast,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, foreign, mapped_column, relationship

from admin_app.audit import LABEL, called
from admin_app.database import Base, Identified, Timestamped, text_enum
from admin_app.search_postgres import (
    SearchDocumentColumns,
    SearchWordColumns,
    document_indexes,
    word_indexes,
)

if TYPE_CHECKING:
    from admin_app.domains.users.models import User


# What list search looks into. Stored, because unaccenting costs 10 microseconds a row; not an attribute of
# Product, because only PostgreSQL reads it. A line break parts the two, so that no phrase spans them.
SEARCH_TEXT: Column[str] = Column(
    "search_text",
    Text,
    Computed("plain_text(name || chr(10) || description)", persisted=True),
    nullable=False,
)

# What lists and searches read is without the rows in the bin, of which there may be very many.
LIVE = text("deleted_at IS NULL")


class Product(Identified, Timestamped, Base):
    __tablename__ = "products"

    name: Mapped[str] = mapped_column(String(255), info=LABEL)
    description: Mapped[str] = mapped_column(Text, default="", server_default="")
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true", info=called("State"))
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), info=called("Owner"))
    images: Mapped[list[dict[str, str]]] = mapped_column(
        JSONB, default=list, server_default="[]", info=called("Pictures")
    )
    """What a person decides of them, in their order: {"id", "alt"}. The first one is the main one.

    One value of the row, so that it is merged, recorded and taken back like every other; what became of a
    picture's file is no change of the product, and stands in ProductImage.
    """
    external_id: Mapped[str | None] = mapped_column(String(255), info=called("External id"))
    """What another system calls it: no two products that are not in the bin have the same."""
    deleted_at: Mapped[datetime | None] = mapped_column(info=called("In the bin since"))
    """Since when it has been in the bin."""
    version: Mapped[int] = mapped_column(server_default="1")

    owner: Mapped["User"] = relationship(lazy="raise")
    main_image: Mapped["ProductImage | None"] = relationship(
        primaryjoin=lambda: main_image_id() == foreign(ProductImage.id), viewonly=True, lazy="raise"
    )

    __mapper_args__ = {  # noqa: RUF012
        "version_id_col": version,
        "eager_defaults": True,
        "exclude_properties": [SEARCH_TEXT.name],
    }

    __table_args__ = (
        SEARCH_TEXT,
        # PostgreSQL takes NaN for greater than any number.
        CheckConstraint("price > 0 AND price <> 'NaN'", name="price_positive"),
        CheckConstraint("length(btrim(name)) > 0", name="name_given"),
        CheckConstraint("length(btrim(external_id)) > 0", name="external_id_given"),
        CheckConstraint("jsonb_array_length(images) <= 12", name="images_few"),
        Index("ix_products_name_order", func.plain_text(name), "id", postgresql_where=LIVE),
        Index("ix_products_price", "price", "id", postgresql_where=LIVE),
        Index("ix_products_is_active", "is_active", "id", postgresql_where=LIVE),
        Index("ix_products_created_at", "created_at", "id", postgresql_where=LIVE),
        Index("ix_products_updated_at", "updated_at", "id", postgresql_where=LIVE),
        Index("ix_products_owner_id", "owner_id", "id"),
        Index(
            "uq_products_external_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id IS NOT NULL AND deleted_at IS NULL"),
        ),
        Index("ix_products_bin", "deleted_at", "id", postgresql_where=text("deleted_at IS NOT NULL")),
        # The most usual filters with the orders they are read in.
        Index("ix_products_is_active_price", "is_active", "price", "id", postgresql_where=LIVE),
        Index("ix_products_owner_created_at", "owner_id", "created_at", "id", postgresql_where=LIVE),
        Index(
            "ix_products_search_text",
            "search_text",
            postgresql_using="gin",
            postgresql_ops={"search_text": "gin_trgm_ops"},
            postgresql_where=LIVE,
        ),
    )

    def __str__(self) -> str:
        return self.name

    @property
    def owner_email(self) -> str:
        """Needs the owner loaded."""
        return self.owner.email

    @property
    def main_files(self) -> Sequence[dict[str, Any]]:
        """Of the main image, as far as they are ready. Needs that loaded."""
        return self.main_image.files if self.main_image else []


def main_image_id() -> ColumnElement[UUID]:
    return cast(Product.images[0]["id"].astext, Uuid())


class ImageState(StrEnum):
    UPLOADING = "uploading"
    """Its original may be in the storage already, or not yet, or never."""
    WAITING = "waiting"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    DISCARDED = "discarded"
    """Nothing can name it any more; its files are about to be deleted."""


class ProductImage(Identified, Base):
    """A picture on its way from an upload or a URL to its files in several sizes.

    It is written before anything is stored, so that nothing is ever stored of which nobody knows.
    """

    __tablename__ = "product_image"
    __table_args__ = (
        Index("ix_product_image_product_id", "product_id"),
        Index("ix_product_image_unused", "created_at", "id", postgresql_where=text("product_id IS NULL")),
        Index(
            "ix_product_image_removed", "removed_at", "id", postgresql_where=text("removed_at IS NOT NULL")
        ),
    )

    product_id: Mapped[UUID | None] = mapped_column(ForeignKey("products.id", ondelete="SET NULL"))
    """Whose it became when a form with it was saved; it can be no other's."""
    uploaded_by: Mapped[UUID | None]
    state: Mapped[ImageState] = mapped_column(text_enum(ImageState, "state"))
    reason: Mapped[str | None] = mapped_column(Text)
    """A sentence for people: why it failed."""
    url: Mapped[str | None] = mapped_column(Text)
    """Where it is to be downloaded from."""
    original: Mapped[str] = mapped_column(Text)
    """The name of the file as it came: random, and shown to nobody."""
    files: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list, server_default="[]")
    """{"format", "width", "height", "name"} of each, as far as it is ready."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    removed_at: Mapped[datetime | None]
    """Since when its product does not show it any more."""

    @property
    def folder(self) -> str:
        """Where its files are, and nothing else."""
        return f"images/{self.id}/"


class ProductSearchDocument(SearchDocumentColumns, Base):
    """No foreign key: the index follows the products by events, as one on another server would."""

    __tablename__ = "product_search_document"
    __table_args__ = document_indexes("product_search_document")


class ProductSearchWord(SearchWordColumns, Base):
    __tablename__ = "product_search_word"
    __table_args__ = word_indexes("product_search_word")
