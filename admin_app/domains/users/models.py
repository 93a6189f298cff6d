"""The table of people who may sign in."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, String, func
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.actor import Role
from admin_app.audit import LABEL, SECRET, called
from admin_app.database import Base, Identified, Timestamped, text_enum


class User(Identified, Timestamped, Base):
    __tablename__ = "users"

    email: Mapped[str] = mapped_column(String(254), info=LABEL | called("E-mail"))
    name: Mapped[str] = mapped_column(String(255))
    password_hash: Mapped[str] = mapped_column(String(255), info=SECRET | called("Password"))
    role: Mapped[Role] = mapped_column(text_enum(Role, "role"))
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true", info=called("State"))
    must_change_password: Mapped[bool] = mapped_column(
        default=False, server_default="false", info=called("New password demanded")
    )
    last_sign_in_at: Mapped[datetime | None] = mapped_column(info=called("Last sign-in"))
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version, "eager_defaults": True}  # noqa: RUF012

    __table_args__ = (
        CheckConstraint("length(btrim(name)) > 0", name="name_given"),
        Index("uq_users_email", func.lower(email), unique=True),
        Index("ix_users_email_order", func.plain_text(email), "id"),
        Index("ix_users_name_order", func.plain_text(name), "id"),
        Index("ix_users_created_at", "created_at", "id"),
        Index("ix_users_last_sign_in_at", "last_sign_in_at", "id"),
        Index("ix_users_role", "role", "id"),
        Index(
            "ix_users_email_words",
            func.plain_text(email).label("words"),
            postgresql_using="gin",
            postgresql_ops={"words": "gin_trgm_ops"},
        ),
        Index(
            "ix_users_name_words",
            func.plain_text(name).label("words"),
            postgresql_using="gin",
            postgresql_ops={"words": "gin_trgm_ops"},
        ),
    )

    def __str__(self) -> str:
        return self.email
