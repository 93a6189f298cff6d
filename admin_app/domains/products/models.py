"""The table of products, and the table their search index lives in."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Computed, ForeignKey, Index, Numeric, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from admin_app.audit import LABEL, called
from admin_app.database import Base, Identified, Timestamped
from admin_app.search_index import (
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
    deleted_at: Mapped[datetime | None] = mapped_column(info=called("In the bin since"))
    """Since when it has been in the bin."""
    version: Mapped[int] = mapped_column(server_default="1")

    owner: Mapped["User"] = relationship(lazy="raise")

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
        Index("ix_products_name_order", func.plain_text(name), "id", postgresql_where=LIVE),
        Index("ix_products_price", "price", "id", postgresql_where=LIVE),
        Index("ix_products_is_active", "is_active", "id", postgresql_where=LIVE),
        Index("ix_products_created_at", "created_at", "id", postgresql_where=LIVE),
        Index("ix_products_updated_at", "updated_at", "id", postgresql_where=LIVE),
        Index("ix_products_owner_id", "owner_id", "id"),
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


class ProductSearchDocument(SearchDocumentColumns, Base):
    """No foreign key: the index follows the products by events, as one on another server would."""

    __tablename__ = "product_search_document"
    __table_args__ = document_indexes("product_search_document")


class ProductSearchWord(SearchWordColumns, Base):
    __tablename__ = "product_search_word"
    __table_args__ = word_indexes("product_search_word")
