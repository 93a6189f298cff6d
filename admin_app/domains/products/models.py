"""The table of products, and the table their search index lives in."""

from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, String, Text, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from admin_app.database import Base, Identified, Timestamped
from admin_app.search import SearchDocumentColumns, search_indexes

if TYPE_CHECKING:
    from admin_app.domains.users.models import User


class Product(Identified, Timestamped, Base):
    __tablename__ = "products"

    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text, default="", server_default="")
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    version: Mapped[int] = mapped_column(server_default="1")

    owner: Mapped["User"] = relationship(lazy="raise")

    __mapper_args__ = {"version_id_col": version, "eager_defaults": True}  # noqa: RUF012

    __table_args__ = (
        # PostgreSQL takes NaN for greater than any number.
        CheckConstraint("price > 0 AND price <> 'NaN'", name="price_positive"),
        CheckConstraint("length(btrim(name)) > 0", name="name_given"),
        Index("ix_products_name_order", func.plain_text(name), "id"),
        Index("ix_products_price", "price", "id"),
        Index("ix_products_is_active", "is_active", "id"),
        Index("ix_products_created_at", "created_at", "id"),
        Index("ix_products_updated_at", "updated_at", "id"),
        Index("ix_products_owner_id", "owner_id", "id"),
        Index(
            "ix_products_name_words",
            func.plain_text(name).label("words"),
            postgresql_using="gin",
            postgresql_ops={"words": "gin_trgm_ops"},
        ),
        Index(
            "ix_products_description_words",
            func.plain_text(description).label("words"),
            postgresql_using="gin",
            postgresql_ops={"words": "gin_trgm_ops"},
        ),
    )

    def __str__(self) -> str:
        return self.name


class ProductSearchDocument(SearchDocumentColumns, Base):
    """No foreign key: the index follows the products by events, as one on another server would."""

    __tablename__ = "product_search_document"
    __table_args__ = search_indexes("product_search_document")
