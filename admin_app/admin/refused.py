"""What people were refused, written into the history. They themselves are told no more than before."""

import logging
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from admin_app.actor import Actor, Source
from admin_app.admin.base_view import ServiceView
from admin_app.database import READ_SECONDS, Base, Database, limit_time
from admin_app.domains.activity.service import ActivityService
from admin_app.errors import AppError, Forbidden, NotFound

WISHES = {
    "details": "to see",
    "show": "to see the history",
    "compare": "to compare",
    "create": "to create",
    "ajax_lookup": "to create",
    "pictures": "to create",
    "edit": "to edit",
    "add_to_row": "to edit",
    "inline": "to edit in the list",
    "revert": "to bring back",
    "delete": "to delete",
    "restore": "to restore",
    "bulk": "to change many",
    "upload": "to import",
}
"""What an endpoint is asked for, by its name."""

logger = logging.getLogger(__name__)


async def write_down(
    database: Database,
    actor: Actor,
    view: ServiceView,
    error: Forbidden | NotFound,
    *,
    wish: str,
    row_id: UUID | None,
) -> None:
    """In a transaction of its own. Only of a row that is there, or of a role that may never do such a thing.

    It stays a refusal if it cannot be written down.
    """
    needed = {"restore": view.bin, "compare": view.past, "revert": view.past}
    if wish not in WISHES or not view.has_history or needed.get(wish, view) is None:
        return

    def is_refused(row: Base) -> bool:
        """What lies in the bin is gone for everybody."""
        is_live = getattr(row, "deleted_at", None) is None
        return isinstance(error, Forbidden) or (is_live and not view.allows(actor, "edit", row))

    by = actor.acting_by(Source.INLINE) if wish == "inline" else actor
    try:
        async with database.transaction() as session:
            await limit_time(session, READ_SECONDS)
            activity = ActivityService(session, by)
            if row_id is not None:
                row = await activity.find_row(view.model, row_id)
                if row is not None and is_refused(row):
                    await activity.note_refusal(row, WISHES[wish])
            elif isinstance(error, Forbidden):
                await activity.note_refusal(view.model, WISHES[wish])
    except (AppError, SQLAlchemyError, OSError) as failure:
        logger.warning("A refusal was not written down: %s", type(failure).__name__)
