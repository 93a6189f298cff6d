"""Summaries for the dashboard, processes and chores seen, news of one's operations, old deliveries."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOW = sa.text("now()")


def upgrade() -> None:
    op.create_table(
        "summary",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("took_seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_summary")),
    )
    op.create_table(
        "process",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process")),
    )
    op.create_table(
        "chore_run",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("ran_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("took_seconds", sa.Float(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chore_run")),
    )
    op.add_column("bulk_operation", sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE bulk_operation SET seen_at = finished_at WHERE finished_at IS NOT NULL")
    op.create_index(
        "ix_bulk_operation_unseen",
        "bulk_operation",
        ["actor_id", "finished_at"],
        postgresql_where=sa.text("seen_at IS NULL AND finished_at IS NOT NULL"),
    )
    op.create_index(
        "ix_delivery_dead_at",
        "delivery",
        ["dead_at", "id"],
        postgresql_where=sa.text("dead_at IS NOT NULL"),
    )
    op.create_index(
        "ix_delivery_done_at",
        "delivery",
        ["done_at", "id"],
        postgresql_where=sa.text("done_at IS NOT NULL"),
    )
    op.create_index(
        "ix_delivery_error", "delivery", ["id"], postgresql_where=sa.text("last_error IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_error", "delivery")
    op.drop_index("ix_delivery_done_at", "delivery")
    op.drop_index("ix_delivery_dead_at", "delivery")
    op.drop_index("ix_bulk_operation_unseen", "bulk_operation")
    op.drop_column("bulk_operation", "seen_at")
    op.drop_table("chore_run")
    op.drop_table("process")
    op.drop_table("summary")
