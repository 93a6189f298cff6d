"""Who looks after deliveries: support sees what is wrong, superusers mend it."""

from admin_app.actor import Actor, Role


def may_read(actor: Actor) -> bool:
    return actor.role in {Role.SUPERUSER, Role.SUPPORT}


def may_change(actor: Actor) -> bool:
    return actor.is_superuser
