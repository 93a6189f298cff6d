"""Every domain of this installation. A new one is added here: models, handlers, tasks, bulk actions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit, idempotency, preferences, presence, submissions, summaries, upkeep
from admin_app.actor import Actor, Role
from admin_app.bulk import models as bulk
from admin_app.bulk.actions import ACTIONS as ACTIONS_KEY
from admin_app.bulk.actions import Actions, table_of
from admin_app.bulk.pruning import prune
from admin_app.bulk.service import OperationService
from admin_app.config import ConfigurationError, Settings
from admin_app.database import Base, Database
from admin_app.domains.activity import models as activity
from admin_app.domains.activity.service import ActivityService
from admin_app.domains.deliveries.service import DeliveryService
from admin_app.domains.products import bulk as product_bulk
from admin_app.domains.products import handlers as product_handlers
from admin_app.domains.products import image_tasks
from admin_app.domains.products import models as products
from admin_app.domains.products import summaries as product_summaries
from admin_app.domains.products import tasks as product_tasks
from admin_app.domains.products.importing import ProductImporter
from admin_app.domains.products.indexing import POSTGRES
from admin_app.domains.products.service import BIN_DAYS, ProductService
from admin_app.domains.users import bulk as user_bulk
from admin_app.domains.users import handlers as user_handlers
from admin_app.domains.users import models as users
from admin_app.domains.users import tasks as user_tasks
from admin_app.domains.users.importing import UserImporter
from admin_app.domains.users.service import UserService
from admin_app.events import Event, Handler, Handlers, Tasks
from admin_app.exports import handlers as export_handlers
from admin_app.exports import models as export_models
from admin_app.exports import tasks as export_tasks
from admin_app.exports.exportable import EXPORTABLE as EXPORTABLE_KEY
from admin_app.exports.exportable import Exportables
from admin_app.imports import handlers as import_handlers
from admin_app.imports import models as import_models
from admin_app.imports import tasks as import_tasks
from admin_app.imports.importer import IMPORTERS as IMPORTERS_KEY
from admin_app.imports.importer import Importers
from admin_app.mail import MAIL, Mailer
from admin_app.outbox import HANDLERS as HANDLERS_KEY
from admin_app.outbox import KEPT_DAYS
from admin_app.search_index import SEARCH, SearchEngine
from admin_app.search_meilisearch import MeilisearchEngine
from admin_app.security import resets, second_factor, sessions, tokens
from admin_app.security.second_factor import SECOND_FACTORS, SecondFactors
from admin_app.security.sessions import SessionLimits
from admin_app.session_info import FIND_ROLE
from admin_app.storage import STORAGE, Storage
from admin_app.summaries import Summarize
from admin_app.upkeep import CHORES as CHORES_KEY
from admin_app.upkeep import Chores

MODELS = (
    users,
    products,
    bulk,
    audit,
    submissions,
    idempotency,
    sessions,
    tokens,
    second_factor,
    resets,
    preferences,
    activity,
    export_models,
    import_models,
    presence,
    summaries,
    upkeep,
)
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


HANDLERS: Handlers = merge(
    [product_handlers.HANDLERS, user_handlers.HANDLERS, export_handlers.HANDLERS, import_handlers.HANDLERS]
)
LONG: Tasks = {**export_tasks.TASKS, **import_tasks.TASKS}
TASKS: Tasks = {**product_tasks.TASKS, **image_tasks.TASKS, **user_tasks.TASKS, **LONG}
SLOW_TASKS = frozenset([*image_tasks.TASKS, *user_tasks.TASKS])
"""Those that take seconds, of a core or of a mail server, and wait in a queue of their own."""
LONG_TASKS = frozenset(LONG)
"""Those that take minutes."""

EXPORTABLE: Exportables = {
    "product": ProductService,
    "user": UserService,
    "operation": OperationService,
    "activity": ActivityService,
}
"""What can be exported, as the addresses of lists call it."""

IMPORTERS: Importers = {importer.kind: importer for importer in (ProductImporter(), UserImporter())}

ACTIONS: Actions = table_of(
    [*product_bulk.ACTIONS, *user_bulk.ACTIONS, *(importer.action for importer in IMPORTERS.values())]
)


async def purge_bin(session: AsyncSession) -> int:
    before = datetime.now(UTC) - timedelta(days=BIN_DAYS)
    return await ProductService(session, Actor.system()).purge(before, PURGED_AT_ONCE)


async def prune_deliveries(session: AsyncSession) -> int:
    return await DeliveryService(session, Actor.system()).prune()


CHORES: Chores = {
    "Empty the bin": purge_bin,
    "Forget drafts and rows of old operations": prune,
    "Delete files of old exports": export_tasks.sweep,
    "Delete files of old imports": import_tasks.sweep,
    "Delete unused pictures": image_tasks.sweep_images,
    "Delete old deliveries and events": prune_deliveries,
    "Forget answers kept for repeated requests": idempotency.prune,
    "Forget forms that were sent": submissions.prune,
    "End sessions that have expired": sessions.prune,
    "Delete access tokens that have expired": tokens.prune,
    "Delete links that have expired": resets.prune,
}


SUMMARIES: Mapping[str, Summarize] = {**product_summaries.SUMMARIES}
"""What the dashboard shows of very many rows, by name."""


async def find_role(session: AsyncSession, user_id: UUID) -> Role | None:
    """The role in which somebody may act now; None for who may not."""
    return await UserService(session, Actor.system()).role_of(user_id)


def open_storage(settings: Settings) -> Storage:
    """Raises ConfigurationError for what no such storage takes."""
    options = {name: value.get_secret_value() for name, value in settings.storage_options.items()}
    try:
        return Storage(settings.files_url, options, settings.cdn_url)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def open_search(settings: Settings) -> SearchEngine:
    if not settings.search_url:
        return POSTGRES
    key = settings.search_key.get_secret_value()
    return MeilisearchEngine(settings.search_url, key, settings.search_synonyms)


def open_mailer(settings: Settings) -> Mailer:
    return Mailer(settings.smtp_url, settings.mail_from, settings.public_url)


def open_database(settings: Settings, *, answer_seconds: float | None = None) -> Database:
    """The database, with what its sessions carry, such as handlers for the outbox and the file storage."""
    search = open_search(settings)
    return Database(
        settings.database_url,
        direct_url=settings.database_direct_url,
        pool_size=settings.database_pool_size,
        answer_seconds=answer_seconds,
        on_close=[search.close],
        session_info={
            HANDLERS_KEY: HANDLERS,
            KEPT_DAYS: settings.delivery_days,
            CHORES_KEY: tuple(CHORES),
            ACTIONS_KEY: ACTIONS,
            EXPORTABLE_KEY: EXPORTABLE,
            IMPORTERS_KEY: IMPORTERS,
            FIND_ROLE: find_role,
            STORAGE: open_storage(settings),
            SEARCH: search,
            MAIL: open_mailer(settings),
            sessions.LIMITS: SessionLimits(
                idle=timedelta(hours=settings.session_idle_hours),
                absolute=timedelta(hours=settings.session_absolute_hours),
            ),
            SECOND_FACTORS: SecondFactors(
                settings.secret_key.get_secret_value(), settings.second_factor_roles
            ),
        },
    )
