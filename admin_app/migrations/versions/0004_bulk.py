"""Bulk operations, the bin, and passwords that must be replaced."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


LIVE_INDEXES: dict[str, list[str | sa.ColumnElement[Any]]] = {
    "ix_products_name_order": [sa.literal_column("plain_text(name)"), "id"],
    "ix_products_price": ["price", "id"],
    "ix_products_is_active": ["is_active", "id"],
    "ix_products_created_at": ["created_at", "id"],
    "ix_products_updated_at": ["updated_at", "id"],
    "ix_products_is_active_price": ["is_active", "price", "id"],
    "ix_products_owner_created_at": ["owner_id", "created_at", "id"],
}
"""What lists read: without the rows in the bin, of which there may be very many."""


def upgrade() -> None:
    op.create_table(
        "bulk_operation",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("query", sa.Text(), nullable=True),
        sa.Column("row_ids", sa.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("undoes", sa.Uuid(), nullable=True),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=False),
        sa.Column("actor_label", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "draft",
                "waiting",
                "retrying",
                "running",
                "finished",
                "cancelled",
                "broken",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            server_default="draft",
            nullable=False,
        ),
        sa.Column("is_cancelling", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("confirmed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("total", sa.Integer(), server_default="0", nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("cursor", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["undoes"],
            ["bulk_operation.id"],
            name=op.f("fk_bulk_operation_undoes_bulk_operation"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_operation")),
        sa.UniqueConstraint("number", name=op.f("uq_bulk_operation_number")),
    )
    op.create_index(
        "ix_bulk_operation_active",
        "bulk_operation",
        ["worked_at"],
        postgresql_where=sa.text("state IN ('waiting', 'retrying', 'running')"),
    )
    op.create_index("ix_bulk_operation_actor", "bulk_operation", ["actor_id", "id"])
    op.create_index(
        "uq_bulk_operation_undoes",
        "bulk_operation",
        ["undoes"],
        unique=True,
        postgresql_where=sa.text(
            "state <> 'draft' AND (done > 0 OR state NOT IN ('finished', 'cancelled', 'broken'))"
        ),
    )
    op.create_table(
        "bulk_item",
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("row_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("operation_id", "row_id", name=op.f("pk_bulk_item")),
    )
    op.create_index(
        "ix_bulk_item_not_done",
        "bulk_item",
        ["operation_id", "outcome", "row_id"],
        postgresql_where=sa.text("outcome IN (2, 3)"),
    )
    op.add_column("product_search_document", sa.Column("digest", sa.LargeBinary(), nullable=True))
    op.add_column("audit_entry", sa.Column("operation_id", sa.Uuid(), nullable=True))
    op.add_column(
        "users",
        sa.Column("must_change_password", sa.Boolean(), server_default="false", nullable=False),
    )
    op.add_column("products", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    _index_products(sa.text("deleted_at IS NULL"))
    op.create_index(
        "ix_products_bin",
        "products",
        ["deleted_at", "id"],
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.execute("ANALYZE products")


def downgrade() -> None:
    op.drop_index("ix_products_bin", table_name="products")
    _index_products(None)
    op.drop_column("products", "deleted_at")
    op.drop_column("users", "must_change_password")
    op.drop_column("audit_entry", "operation_id")
    op.drop_column("product_search_document", "digest")
    op.drop_table("bulk_item")
    op.drop_table("bulk_operation")


def _index_products(condition: sa.TextClause | None) -> None:
    for name, columns in LIVE_INDEXES.items():
        op.drop_index(name, table_name="products")
        op.create_index(name, "products", columns, postgresql_where=condition)
    op.drop_index("ix_products_search_text", table_name="products")
    op.create_index(
        "ix_products_search_text",
        "products",
        ["search_text"],
        postgresql_using="gin",
        postgresql_ops={"search_text": "gin_trgm_ops"},
        postgresql_where=condition,
    )
