"""Images of products: which ones a product shows, and what became of each."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "products",
        sa.Column("images", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
    )
    op.create_check_constraint("images_few", "products", "jsonb_array_length(images) <= 12")
    op.create_table(
        "product_image",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=True),
        sa.Column("uploaded_by", sa.Uuid(), nullable=True),
        sa.Column(
            "state",
            sa.Enum(
                "uploading",
                "waiting",
                "processing",
                "ready",
                "failed",
                "discarded",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("original", sa.Text(), nullable=False),
        sa.Column("files", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["products.id"],
            name=op.f("fk_product_image_product_id_products"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product_image")),
    )
    op.create_index("ix_product_image_product_id", "product_image", ["product_id"])
    op.create_index(
        "ix_product_image_unused",
        "product_image",
        ["created_at", "id"],
        postgresql_where=sa.text("product_id IS NULL"),
    )
    op.create_index(
        "ix_product_image_removed",
        "product_image",
        ["removed_at", "id"],
        postgresql_where=sa.text("removed_at IS NOT NULL"),
    )
    op.create_index(
        "ix_audit_entry_changed_images",
        "audit_entry",
        ["id"],
        postgresql_where=sa.text("changes ? 'images' AND action IN ('updated', 'reverted')"),
    )


def downgrade() -> None:
    op.drop_index("ix_audit_entry_changed_images", table_name="audit_entry")
    op.drop_table("product_image")
    op.drop_constraint(op.f("ck_products_images_few"), "products")
    op.drop_column("products", "images")
