"""History: what each entry is about by name, which version it made, and indexes for the activity page."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FIELDS = (
    *("name", "description", "price", "is_active", "owner_id"),
    *("email", "password_hash", "role", "must_change_password"),
)

# Which version each entry made: of a row that is here, counted back from the one it has now; of one that is
# gone, counted from 1. What changed no row made none.
FILL = """
    WITH made AS (
        SELECT id,
               row_number() OVER (PARTITION BY kind, row_id ORDER BY id) AS forth,
               row_number() OVER (PARTITION BY kind, row_id ORDER BY id DESC) AS back
        FROM audit_entry
        WHERE action IN ('created', 'updated', 'restored') OR (action = 'deleted' AND kind = 'product')
    ), known AS (
        SELECT 'product' AS kind, id, version, name AS label FROM products
        UNION ALL
        SELECT 'user', id, version, email FROM users
    ), named AS (
        SELECT DISTINCT ON (kind, row_id) kind, row_id,
               coalesce(changes->'name'->>0, changes->'name'->>1) AS name,
               coalesce(changes->'email'->>0, changes->'email'->>1) AS email
        FROM audit_entry WHERE changes ? 'name' AND (kind = 'product' OR changes ? 'email')
        ORDER BY kind, row_id, id DESC
    )
    UPDATE audit_entry SET
        version = CASE WHEN known.id IS NULL THEN made.forth ELSE known.version - made.back + 1 END,
        row_label = coalesce(
            known.label, CASE audit_entry.kind WHEN 'user' THEN named.email ELSE named.name END, ''
        )
    FROM audit_entry AS entry
    LEFT JOIN made ON made.id = entry.id
    LEFT JOIN known ON known.kind = entry.kind AND known.id = entry.row_id
    LEFT JOIN named ON named.kind = entry.kind AND named.row_id = entry.row_id
    WHERE entry.id = audit_entry.id
"""


def upgrade() -> None:
    op.add_column("audit_entry", sa.Column("row_label", sa.Text(), server_default="", nullable=False))
    op.add_column("audit_entry", sa.Column("version", sa.Integer(), nullable=True))
    op.add_column("audit_entry", sa.Column("note", sa.Text(), nullable=True))
    op.alter_column("audit_entry", "row_id", existing_type=sa.Uuid(), nullable=True)
    op.execute(FILL)
    op.create_index("ix_audit_entry_actor", "audit_entry", [sa.text("lower(actor_label)"), "id"])
    op.create_index("ix_audit_entry_kind", "audit_entry", ["kind", "id"])
    op.create_index("ix_audit_entry_action", "audit_entry", ["action", "id"])
    for field in FIELDS:
        op.create_index(
            f"ix_audit_entry_changed_{field}",
            "audit_entry",
            ["id"],
            postgresql_where=sa.text(f"changes ? '{field}' AND action IN ('updated', 'reverted')"),
        )


def downgrade() -> None:
    for name in (*(f"changed_{field}" for field in FIELDS), "action", "kind", "actor"):
        op.drop_index(f"ix_audit_entry_{name}", table_name="audit_entry")
    # What is about no row, earlier releases do not know.
    op.execute("DELETE FROM audit_entry WHERE row_id IS NULL")
    op.alter_column("audit_entry", "row_id", existing_type=sa.Uuid(), nullable=False)
    for name in ("note", "version", "row_label"):
        op.drop_column("audit_entry", name)
