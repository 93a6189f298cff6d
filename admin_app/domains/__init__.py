"""Every domain of this installation. A new one is added here: its models, handlers and tasks."""

from collections import defaultdict
from collections.abc import Iterable

from admin_app import audit, preferences, submissions
from admin_app.config import Settings
from admin_app.database import Base, Database
from admin_app.domains.products import handlers as product_handlers
from admin_app.domains.products import models as products
from admin_app.domains.products import tasks as product_tasks
from admin_app.domains.users import models as users
from admin_app.events import Event, Handler, Handlers, Tasks
from admin_app.outbox import HANDLERS as HANDLERS_KEY
from admin_app.security import sessions

MODELS = (users, products, audit, submissions, sessions, preferences)
"""The modules that declare tables: imported here so that `METADATA` is complete wherever it is read."""

METADATA = Base.metadata


def merge(tables: Iterable[Handlers]) -> Handlers:
    """One table of who reacts to what; several domains may react to the same event."""
    merged: dict[type[Event], list[Handler]] = defaultdict(list)
    for table in tables:
        for event, handlers in table.items():
            merged[event].extend(handlers)
    return merged


HANDLERS: Handlers = merge([product_handlers.HANDLERS])
TASKS: Tasks = {**product_tasks.TASKS}


def open_database(settings: Settings) -> Database:
    """The database, with the handlers laid on every session for the outbox."""
    return Database(
        settings.database_url,
        pool_size=settings.database_pool_size,
        session_info={HANDLERS_KEY: HANDLERS},
    )
