"""An import in this process, from its file to its end: for the command line, which needs no worker."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import func, select

from admin_app.actor import Actor
from admin_app.bulk.models import ACTIVE, BulkOperation, Outcome
from admin_app.bulk.runner import BulkRunner, FindRole
from admin_app.bulk.service import OperationService
from admin_app.database import Database
from admin_app.errors import InvalidInput
from admin_app.imports.importer import Importer
from admin_app.imports.models import Import, ImportRow, ImportState, Verdict
from admin_app.imports.service import ImportService
from admin_app.imports.tasks import check_import

LOCK = 0x68657265  # any constant: whoever imports by the command line holds this advisory lock
ROWS_AT_ONCE = 1000
PROGRESS_SECONDS = 0.2
WAIT_SECONDS = 0.5

Tell = Callable[[str, int, int], None]
"""What is being done, how far it is, and how far it will get."""


class Stopped(Exception):
    """Before anything was imported."""


class ImportHere:
    """As the actor. A worker may do parts of the same at the same time, which does no harm."""

    def __init__(
        self,
        database: Database,
        actor: Actor,
        find_role: FindRole,
        *,
        tell: Tell,
        is_stopped: Callable[[], bool],
    ) -> None:
        self.database = database
        self.actor = actor
        self._find_role = find_role
        self._tell = tell
        self._is_stopped = is_stopped

    @asynccontextmanager
    async def turn(self, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """One at a time: two of the same file would both find that its rows are new. Raises Stopped."""
        async with self.database.direct.connect() as opened:
            connection = await opened.execution_options(isolation_level="AUTOCOMMIT")
            is_waiting = False
            while not await connection.scalar(select(func.pg_try_advisory_lock(LOCK))):
                if not is_waiting:
                    on_wait()
                is_waiting = True
                if self._is_stopped():
                    raise Stopped
                await asyncio.sleep(WAIT_SECONDS)
            try:
                yield
            finally:
                await connection.scalar(select(func.pg_advisory_unlock(LOCK)))

    async def importer(self, kind: str) -> Importer:
        """Raises Forbidden."""
        async with self.database.reading() as session:
            return ImportService(session, self.actor).importer(kind)

    async def unfinished(self, kind: str) -> list[Import]:
        """The actor's, which were confirmed and are not at their end, the oldest first."""
        async with self.database.reading() as session:
            return await ImportService(session, self.actor).under_way(kind)

    async def check(
        self, import_id: UUID, matching: Mapping[int, str], key: str, constants: Mapping[str, str]
    ) -> Import:
        """As `ImportService.match`, and the check itself. Raises InvalidInput, also for a file."""
        async with self.database.transaction() as session:
            matched = await ImportService(session, self.actor).match(import_id, matching, key, constants)
        checking = asyncio.create_task(self._check(matched))
        try:
            while not checking.done():
                await asyncio.wait([checking], timeout=PROGRESS_SECONDS)
                await self._look(import_id)
            await checking
        finally:
            checking.cancel()
            await asyncio.wait([checking])
        found = await self._look(import_id)
        while found.state is ImportState.CHECKING:  # by a worker
            await asyncio.sleep(PROGRESS_SECONDS)
            found = await self._look(import_id)
        if found.error:
            raise InvalidInput(found.error)
        return found

    async def rows(self, import_id: UUID, verdict: Verdict | None = None) -> AsyncIterator[ImportRow]:
        """In the order of the file."""
        line, has_more = 0, True
        while has_more:
            async with self.database.reading() as session:
                service = ImportService(session, self.actor)
                found, has_more = await service.rows(import_id, verdict, line, ROWS_AT_ONCE)
            for row in found:
                yield row
                line = row.line

    async def confirm(self, import_id: UUID) -> UUID:
        """The operation that does it; see `carry_out`."""
        async with self.database.transaction() as session:
            return (await ImportService(session, self.actor).confirm(import_id)).id

    async def carry_out(self, operation_id: UUID) -> BulkOperation:
        """To its end. Stopped, it is cancelled: it ends with the chunk at hand."""
        runner = BulkRunner(self.database, self._find_role)
        while True:
            async with self.database.transaction() as session:
                service = OperationService(session, self.actor)
                operation = await service.get_by_id(operation_id)
                if operation.state in ACTIVE and self._is_stopped() and not operation.is_cancelling:
                    await service.cancel(operation_id)
            self._tell("Importing", operation.total - operation.left, operation.total)
            if operation.state not in ACTIVE:
                return operation
            if not await runner.step(operation_id):
                await asyncio.sleep(WAIT_SECONDS)

    async def not_done(self, operation: BulkOperation) -> dict[UUID, str]:
        """Rows the operation has not changed -> why."""
        found: dict[UUID, str] = {}
        for outcome in (Outcome.SKIPPED, Outcome.FAILED):
            after, has_more = None, True
            while has_more:
                async with self.database.reading() as session:
                    service = OperationService(session, self.actor)
                    plan = await service.plan(await service.get_by_id(operation.id))
                    items, has_more = await service.items(plan, outcome, None, after)
                found |= {item.row_id: item.reason or "" for item in items}
                after = items[-1].row_id if items else None
        return found

    async def discard(self, import_id: UUID) -> None:
        async with self.database.transaction() as session:
            await ImportService(session, self.actor).discard(import_id)

    async def _check(self, matched: Import) -> None:
        async with self.database.transaction() as session:
            await check_import(session, str(matched.id), matched.attempt)

    async def _look(self, import_id: UUID) -> Import:
        """Raises Stopped."""
        if self._is_stopped():
            raise Stopped
        async with self.database.reading() as session:
            found = await ImportService(session, self.actor).get_by_id(import_id)
        self._tell("Checking", found.checked_bytes, found.size_bytes)
        return found
