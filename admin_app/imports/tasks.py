"""Imports in the background: their files are checked, and deleted when they are of no more use."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Source
from admin_app.bulk.models import ACTIVE, BulkOperation
from admin_app.bulk.pruning import ITEM_DAYS, PRUNED_AT_ONCE
from admin_app.errors import Forbidden, InvalidInput
from admin_app.events import Tasks
from admin_app.imports.arriving import fetched
from admin_app.imports.checking import Superseded, check, lock_current
from admin_app.imports.handlers import CHECK_IMPORT
from admin_app.imports.importer import IMPORTERS, Importer
from admin_app.imports.models import KEPT_DAYS, Import, ImportRow, ImportState
from admin_app.storage import storage_of

FILES_AT_ONCE = 20
LOCKS = 0x63686563  # any constant: the space of the advisory locks, by import

_ROWS = select(ImportRow.line).where(ImportRow.import_id == Import.id)


async def check_import(session: AsyncSession, import_id: str, attempt: int) -> None:
    """As the actor, in the role they have now. For an earlier attempt than the last, nothing happens.

    Nor a second time: of two at once, one waits for the other's end and finds it checked.
    """
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(import_id, LOCKS))))
    import_ = await session.get(Import, UUID(import_id))
    if import_ is None or import_.attempt != attempt or import_.state is not ImportState.CHECKING:
        return
    importer: Importer = session.info[IMPORTERS][import_.kind]
    try:
        try:
            async with session.begin_nested(), fetched(session, import_) as path:
                actor = await _actor(session, importer, import_)
                await check(session, importer, import_, actor, path)
        except (InvalidInput, Forbidden) as error:
            current = await lock_current(session, import_.id, attempt)
            current.state, current.error = ImportState.MATCHING, error.message
            await session.flush()
    except Superseded:
        return


async def sweep(session: AsyncSession) -> int:
    """A portion of what is not kept: files, rows and imports nobody confirmed.

    A file goes first and then what knows of it, so that none is left behind that nobody knows.
    """
    return await _discard_old(session) + await _prune_rows(session) + await _delete_files(session)


TASKS: Tasks = {CHECK_IMPORT: check_import}


async def _actor(session: AsyncSession, importer: Importer, import_: Import) -> Actor:
    """Raises Forbidden."""
    if import_.actor_id is None:
        return Actor.system(Source.IMPORT)
    role = await importer.role_of(session, import_.actor_id)
    if role is None:
        raise Forbidden
    actor = Actor(
        import_.actor_id, role, import_.actor_label, Source.IMPORT, import_.address, import_.request_id
    )
    if not importer.may_import(actor):
        raise Forbidden
    return actor


async def _discard_old(session: AsyncSession) -> int:
    old = Import.created_at < func.now() - timedelta(days=KEPT_DAYS)
    ended = (ImportState.CONFIRMED, ImportState.DISCARDED)
    statement = update(Import).where(Import.state.not_in(ended), old).values(state=ImportState.DISCARDED)
    return len((await session.scalars(statement.returning(Import.id))).all())


async def _prune_rows(session: AsyncSession) -> int:
    """Of imports that were discarded, and of those done long ago."""
    over = (
        select(Import.id)
        .outerjoin(BulkOperation, BulkOperation.id == Import.operation_id)
        .where(or_(Import.state == ImportState.DISCARDED, _ended(timedelta(days=ITEM_DAYS))))
        .where(_ROWS.exists())
        .limit(1)
    )
    import_id = await session.scalar(over)
    if import_id is None:
        return 0
    some = select(ImportRow.line).where(ImportRow.import_id == import_id).limit(PRUNED_AT_ONCE)
    gone = delete(ImportRow).where(ImportRow.import_id == import_id, ImportRow.line.in_(some))
    return len((await session.execute(gone.returning(ImportRow.line))).all())


async def _delete_files(session: AsyncSession) -> int:
    """Of imports that were discarded, which go with them, and of those that are done."""
    is_discarded = (Import.state == ImportState.DISCARDED) & ~_ROWS.exists()
    statement = (
        select(Import)
        .outerjoin(BulkOperation, BulkOperation.id == Import.operation_id)
        .where(or_(is_discarded, _ended(timedelta()) & (Import.file != "")))
        .limit(FILES_AT_ONCE)
        .with_for_update(of=Import, skip_locked=True)
    )
    imports = (await session.scalars(statement)).all()
    for import_ in imports:
        await storage_of(session).delete(import_.file)
        if import_.state is ImportState.DISCARDED:
            await session.delete(import_)
        else:
            import_.file = ""
    return len(imports)


def _ended(ago: timedelta) -> ColumnElement[bool]:
    is_over = BulkOperation.state.not_in(ACTIVE)
    return is_over & (BulkOperation.finished_at <= func.now() - ago) & (Import.state == ImportState.CONFIRMED)
