"""Exports, imports with the rows of their files, and what other systems call a product."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOW = sa.text("now()")


def upgrade() -> None:
    op.add_column("products", sa.Column("external_id", sa.String(255), nullable=True))
    op.create_check_constraint(
        op.f("ck_products_external_id_given"), "products", "length(btrim(external_id)) > 0"
    )
    op.create_index(
        "uq_products_external_id",
        "products",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL AND deleted_at IS NULL"),
    )
    op.create_index(
        "ix_audit_entry_changed_external_id",
        "audit_entry",
        ["id"],
        postgresql_where=sa.text("changes ? 'external_id' AND action IN ('updated', 'reverted')"),
    )
    op.alter_column("bulk_operation", "actor_id", nullable=True)
    op.create_table(
        "export",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("format", sa.String(20), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("columns", ARRAY(sa.Text()), nullable=False),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=False),
        sa.Column("actor_label", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(20), server_default="waiting", nullable=False),
        sa.Column("is_cancelling", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("expected", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rows", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("format IN ('csv', 'jsonl', 'xlsx')", name=op.f("ck_export_format")),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'finished', 'failed', 'cancelled', 'expired')",
            name=op.f("ck_export_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export")),
    )
    op.create_index("ix_export_actor", "export", ["actor_id", "id"])
    op.create_index(
        "ix_export_due",
        "export",
        ["finished_at", "id"],
        postgresql_where=sa.text("state = 'finished'"),
    )
    op.create_index(
        "ix_export_unseen",
        "export",
        ["actor_id"],
        postgresql_where=sa.text("seen_at IS NULL AND state IN ('finished', 'failed')"),
    )
    op.create_table(
        "import",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("encoding", sa.String(), nullable=False),
        sa.Column("delimiter", sa.String(), nullable=False),
        sa.Column("columns", ARRAY(sa.Text()), nullable=False),
        sa.Column("sample", JSONB(), server_default="[]", nullable=False),
        sa.Column("matching", JSONB(), server_default="{}", nullable=False),
        sa.Column("constants", JSONB(), server_default="{}", nullable=False),
        sa.Column("key", sa.Text(), server_default="", nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_label", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("checked_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rows", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("to_create", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("to_update", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unchanged", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refused", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reasons", JSONB(), server_default="{}", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("operation_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('uploading', 'matching', 'checking', 'checked', 'confirmed', 'discarded')",
            name=op.f("ck_import_state"),
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["bulk_operation.id"],
            name=op.f("fk_import_operation_id_bulk_operation"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import")),
        sa.UniqueConstraint("number", name=op.f("uq_import_number")),
    )
    op.create_index("ix_import_actor", "import", ["actor_id", "kind", "id"])
    op.create_index("ix_import_operation", "import", ["operation_id"], unique=True)
    op.create_index(
        "ix_import_open",
        "import",
        ["created_at"],
        postgresql_where=sa.text("state NOT IN ('confirmed', 'discarded')"),
    )
    op.create_table(
        "import_row",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.SmallInteger(), nullable=False),
        sa.Column("row_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("label", sa.Text(), server_default="", nullable=False),
        sa.Column("changes", JSONB(), server_default="{}", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("cells", ARRAY(sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("import_id", "line", name=op.f("pk_import_row")),
    )
    op.create_index("ix_import_row_verdict", "import_row", ["import_id", "verdict", "line"])
    op.create_index("ix_import_row_row", "import_row", ["import_id", "row_id"])


def downgrade() -> None:
    op.drop_table("import_row")
    op.drop_table("import")
    op.drop_table("export")
    # What the installation itself did has nobody to belong to in the schema before.
    op.execute("DELETE FROM bulk_operation WHERE actor_id IS NULL")
    op.alter_column("bulk_operation", "actor_id", nullable=False)
    op.drop_index("ix_audit_entry_changed_external_id", "audit_entry")
    op.drop_index("uq_products_external_id", "products")
    op.drop_constraint(op.f("ck_products_external_id_given"), "products", type_="check")
    op.drop_column("products", "external_id")
