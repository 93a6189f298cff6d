"""A stored text to search in, indexes for filtered orders, and what each person likes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "preference",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_preference_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_preference")),
    )
    op.drop_index("ix_products_name_words", table_name="products")
    op.drop_index("ix_products_description_words", table_name="products")
    op.add_column(
        "products",
        sa.Column(
            "search_text",
            sa.Text(),
            sa.Computed("plain_text(name || chr(10) || description)", persisted=True),
            nullable=False,
        ),
    )
    op.create_index(
        "ix_products_search_text",
        "products",
        ["search_text"],
        postgresql_using="gin",
        postgresql_ops={"search_text": "gin_trgm_ops"},
    )
    op.create_index("ix_products_is_active_price", "products", ["is_active", "price", "id"])
    op.create_index("ix_products_owner_created_at", "products", ["owner_id", "created_at", "id"])
    # How common a word is, the planner guesses from samples: the usual hundred tell nothing below 1 %.
    op.execute("ALTER TABLE products ALTER COLUMN search_text SET STATISTICS 500")
    op.execute("ANALYZE products")


def downgrade() -> None:
    op.drop_index("ix_products_owner_created_at", table_name="products")
    op.drop_index("ix_products_is_active_price", table_name="products")
    op.drop_index("ix_products_search_text", table_name="products")
    op.drop_column("products", "search_text")
    for name in ("name", "description"):
        op.create_index(
            f"ix_products_{name}_words",
            "products",
            [sa.literal_column(f"plain_text({name})").label("words")],
            postgresql_using="gin",
            postgresql_ops={"words": "gin_trgm_ops"},
        )
    op.drop_table("preference")
