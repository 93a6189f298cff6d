"""Who reads which part of the history: whoever may read a row reads its history, too."""

from sqlalchemy import ColumnElement, or_, true

from admin_app.actor import Actor, Role
from admin_app.audit import AuditEntry, kind_of
from admin_app.domains.users.models import User
from admin_app.outbox import Delivery

PRIVATE = frozenset({kind_of(User), kind_of(Delivery)})
"""Of these kinds an administrator reads only what is about themselves."""


def may_read_all(actor: Actor) -> bool:
    return actor.role in {Role.SUPERUSER, Role.SUPPORT}


def readable_by(actor: Actor) -> ColumnElement[bool]:
    """The entries this actor may read. Not by who made them: a refusal names a row that was refused."""
    if may_read_all(actor):
        return true()
    return or_(AuditEntry.kind.not_in(PRIVATE), AuditEntry.row_id == actor.id)


def may_read_addresses(actor: Actor) -> bool:
    """Where on the network others were."""
    return actor.is_superuser
