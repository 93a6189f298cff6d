"""Every domain of this installation. A new one is added here: models, handlers, tasks, bulk actions."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit, preferences, submissions
from admin_app.actor import Actor, Role
from admin_app.bulk import models as bulk
from admin_app.bulk.actions import ACTIONS as ACTIONS_KEY
from admin_app.bulk.actions import Actions, table_of
from admin_app.bulk.pruning import prune
from admin_app.config import Settings
from admin_app.database import Base, Database
from admin_app.domains.activity import models as activity
from admin_app.domains.products import bulk as product_bulk
from admin_app.domains.products import handlers as product_handlers
from admin_app.domains.products import models as products
from admin_app.domains.products import tasks as product_tasks
from admin_app.domains.products.service import BIN_DAYS, ProductService
from admin_app.domains.users import bulk as user_bulk
from admin_app.domains.users import models as users
from admin_app.domains.users.service import UserService
from admin_app.events import Event, Handler, Handlers, Tasks
from admin_app.outbox import HANDLERS as HANDLERS_KEY
from admin_app.security import sessions
from admin_app.upkeep import Chore

MODELS = (users, products, bulk, audit, submissions, sessions, preferences, activity)
"""The modules that declare tables: imported here so that `METADATA` is complete wherever it is read."""

METADATA = Base.metadata

PURGED_AT_ONCE = 500


def merge(tables: Iterable[Handlers]) -> Handlers:
    """One table of who reacts to what; several domains may react to the same event."""
    merged: dict[type[Event], list[Handler]] = defaultdict(list)
    for table in tables:
        for event, handlers in table.items():
            merged[event].extend(handlers)
    return merged


HANDLERS: Handlers = merge([product_handlers.HANDLERS])
TASKS: Tasks = {**product_tasks.TASKS}
ACTIONS: Actions = table_of([*product_bulk.ACTIONS, *user_bulk.ACTIONS])


async def purge_bin(session: AsyncSession) -> int:
    before = datetime.now(UTC) - timedelta(days=BIN_DAYS)
    return await ProductService(session, Actor.system()).purge(before, PURGED_AT_ONCE)


CHORES: Sequence[Chore] = (purge_bin, prune)


async def find_role(session: AsyncSession, user_id: UUID) -> Role | None:
    """The role in which somebody may act now; None for who may not."""
    return await UserService(session, Actor.system()).role_of(user_id)


def open_database(settings: Settings) -> Database:
    """The database, with what its sessions carry: handlers for the outbox, actions for bulk operations."""
    return Database(
        settings.database_url,
        pool_size=settings.database_pool_size,
        session_info={HANDLERS_KEY: HANDLERS, ACTIONS_KEY: ACTIONS},
    )
