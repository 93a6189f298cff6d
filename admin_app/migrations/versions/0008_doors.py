"""What opens doors besides a password: second factors, access tokens and links to choose a new password."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOW = sa.text("now()")


def _moment(name: str, *, is_now: bool = False, nullable: bool = False) -> sa.Column[object]:
    kind = sa.DateTime(timezone=True)
    return sa.Column(name, kind, server_default=NOW if is_now else None, nullable=nullable)


def _person(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_user_id_users")
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    op.add_column(
        "auth_session", sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False)
    )
    op.create_unique_constraint(op.f("uq_auth_session_id"), "auth_session", ["id"])
    op.add_column("auth_session", _moment("proved_at", is_now=True))
    op.create_table(
        "access_token",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.String(length=20), nullable=False),
        _moment("created_at", is_now=True),
        _moment("expires_at"),
        _moment("last_used_at", nullable=True),
        sa.Column("last_used_address", sa.String(), nullable=True),
        sa.CheckConstraint("scope IN ('read', 'write')", name=op.f("ck_access_token_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_access_token_token_hash")),
        _person("access_token"),
    )
    op.create_index("ix_access_token_user_id", "access_token", ["user_id"])
    op.create_table(
        "second_factor",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        _moment("created_at", is_now=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factor")),
        _person("second_factor"),
    )
    op.create_table(
        "recovery_code",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        _moment("used_at", nullable=True),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name=op.f("pk_recovery_code")),
        _person("recovery_code"),
    )
    op.create_table(
        "password_reset",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("is_mailed", sa.Boolean(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        _moment("created_at", is_now=True),
        _moment("expires_at"),
        sa.PrimaryKeyConstraint("user_id", "is_mailed", name=op.f("pk_password_reset")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_password_reset_token_hash")),
        _person("password_reset"),
    )


def downgrade() -> None:
    for table in ("password_reset", "recovery_code", "second_factor", "access_token"):
        op.drop_table(table)
    op.drop_column("auth_session", "proved_at")
    op.drop_constraint(op.f("uq_auth_session_id"), "auth_session")
    op.drop_column("auth_session", "id")
