"""Who sees and manages accounts: superusers manage, support reads all, an administrator sees their own."""

from sqlalchemy import ColumnElement, true

from admin_app.actor import Actor, Role
from admin_app.domains.users.models import User


def may_manage(actor: Actor) -> bool:
    return actor.is_superuser


def may_read(actor: Actor, user: User) -> bool:
    return actor.role in {Role.SUPERUSER, Role.SUPPORT} or user.id == actor.id


def readable_by(actor: Actor) -> ColumnElement[bool]:
    """`may_read` as SQL: the rows for which it is true."""
    return true() if actor.role in {Role.SUPERUSER, Role.SUPPORT} else User.id == actor.id
