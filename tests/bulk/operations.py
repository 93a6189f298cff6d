"""Operations as tests make them: through the services, with a runner that is stepped by hand."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select, text

from admin_app.actor import Actor
from admin_app.audit import AuditEntry
from admin_app.bulk.items import NOT_FOUND
from admin_app.bulk.models import BulkItem, BulkOperation, Outcome
from admin_app.bulk.plan import Preview
from admin_app.bulk.runner import BulkRunner
from admin_app.bulk.service import OperationService
from admin_app.database import Database
from admin_app.domains import find_role
from admin_app.domains.products.models import Product
from admin_app.outbox import RecordedEvent
from tests.admin.rows import every

Told = dict[UUID, tuple[Outcome, str | None]]


class Operations:
    def __init__(self, database: Database, *, chunk: int = 1000) -> None:
        self.database = database
        self.runner = BulkRunner(database, find_role, chunk=chunk)

    async def draft(
        self, actor: Actor, action: str, rows: Sequence[UUID] | str, kind: str = "product"
    ) -> BulkOperation:
        """For the rows with these ids, or all that a list's query finds."""
        # As each request of a browser: so the events of an operation can be told from others.
        actor = replace(actor, request_id=uuid4())
        async with self.database.transaction() as session:
            service = OperationService(session, actor)
            if isinstance(rows, str):
                return await service.draft_of_query(kind, action, rows, "All that match")
            return await service.draft_of_rows(kind, action, rows)

    async def preview(
        self, actor: Actor, operation: BulkOperation, parameters: Mapping[str, Any] | None = None
    ) -> Preview:
        async with self.database.reading() as session:
            service = OperationService(session, actor)
            plan = await service.plan(await service.get_by_id(operation.id))
            return await service.preview(plan, parameters or {})

    async def confirm(
        self,
        actor: Actor,
        operation: BulkOperation,
        parameters: Mapping[str, Any] | None = None,
        *,
        shown: Preview | None = None,
    ) -> BulkOperation:
        """As it was `shown`, or as it stands; whatever the number."""
        shown = shown or await self.preview(actor, operation, parameters)
        counts = shown.counts
        async with self.database.transaction() as session:
            service = OperationService(session, actor)
            return await service.confirm(
                operation.id, parameters or {}, counts.fingerprint, str(counts.changing)
            )

    async def start(
        self,
        actor: Actor,
        action: str,
        rows: Sequence[UUID] | str,
        parameters: Mapping[str, Any] | None = None,
        *,
        kind: str = "product",
    ) -> UUID:
        operation = await self.draft(actor, action, rows, kind)
        return (await self.confirm(actor, operation, parameters)).id

    async def run(self, steps: int = 1000) -> None:
        """Until nothing is left to do, or for so many steps."""
        while steps and await self.runner.step():
            steps -= 1

    async def cancel(self, actor: Actor, operation_id: UUID) -> None:
        async with self.database.transaction() as session:
            await OperationService(session, actor).cancel(operation_id)

    async def retry(self, actor: Actor, operation_id: UUID) -> None:
        async with self.database.transaction() as session:
            await OperationService(session, actor).retry(operation_id)

    async def draft_of_undo(self, actor: Actor, operation_id: UUID) -> BulkOperation:
        actor = replace(actor, request_id=uuid4())
        async with self.database.transaction() as session:
            return await OperationService(session, actor).draft_of_undo(operation_id)

    async def undo(self, actor: Actor, operation_id: UUID) -> UUID:
        draft = await self.draft_of_undo(actor, operation_id)
        return (await self.confirm(actor, draft)).id

    async def get(self, operation_id: UUID) -> BulkOperation:
        async with self.database.reading() as session:
            statement = select(BulkOperation).where(BulkOperation.id == operation_id)
            return (await session.scalars(statement)).one()

    async def outcomes(self, operation_id: UUID) -> Told:
        async with self.database.reading() as session:
            statement = select(BulkItem).where(BulkItem.operation_id == operation_id)
            return {item.row_id: (item.outcome, item.reason) for item in await session.scalars(statement)}

    async def truth(self, operation_id: UUID) -> BulkOperation:
        """The operation, when what it tells is what was done.

        Its numbers are those of its rows; each row that is done has one audit entry and is in one event,
        and no other row has or is.
        """
        operation = await self.get(operation_id)
        told = await self.outcomes(operation_id)
        numbers = Counter(outcome for outcome, _ in told.values())
        # A search may have found more when it was confirmed than when its rows were written down.
        lost = max(0, operation.confirmed - len(told)) if operation.started_at else 0
        assert operation.reasons.get("skipped", {}).get(NOT_FOUND, 0) == lost
        assert (operation.total, operation.done, operation.skipped, operation.failed, operation.left) == (
            len(told) + lost,
            numbers[Outcome.DONE],
            numbers[Outcome.SKIPPED] + lost,
            numbers[Outcome.FAILED],
            numbers[Outcome.OPEN],
        )
        assert {
            (name, reason): number
            for name, reasons in operation.reasons.items()
            for reason, number in reasons.items()
            if reason != NOT_FOUND
        } == Counter((outcome.name.lower(), reason) for outcome, reason in told.values() if reason)
        once = Counter(row_id for row_id, (outcome, _) in told.items() if outcome is Outcome.DONE)
        async with self.database.reading() as session:
            changed = await session.scalars(
                select(AuditEntry.row_id).where(AuditEntry.operation_id == operation_id)
            )
            assert Counter(changed) == once
        assert await self.members(operation) == once
        return operation

    async def members(self, operation: BulkOperation) -> Counter[UUID]:
        """How many of the operation's events each row is in."""
        found: Counter[UUID] = Counter()
        for event in await every(self.database, RecordedEvent, request_id=operation.request_id):
            ids = event.payload.get("product_ids") or event.payload["user_ids"]
            assert len(ids) <= 500
            found.update(map(UUID, ids))
        return found


async def make_products(database: Database, owner: Actor, number: int, **fields: Any) -> list[UUID]:
    """Past the service, without history or events; in the order of their ids."""
    rows = [
        {"name": f"Anvil {at}", "price": Decimal(10), "owner_id": owner.id, **fields} for at in range(number)
    ]
    async with database.transaction() as session:
        return sorted(await session.scalars(insert(Product).returning(Product.id), rows))


@asynccontextmanager
async def refusing(
    database: Database, when: str, sqlstate: str = "23514", *, at_commit: bool = False
) -> AsyncIterator[None]:
    """PostgreSQL raises this error at each update of a product of which `when` is true."""
    trigger = "BEFORE UPDATE ON products"
    if at_commit:
        trigger = "AFTER UPDATE ON products DEFERRABLE INITIALLY DEFERRED"
    async with database.transaction() as session:
        await session.execute(
            text(
                "CREATE FUNCTION test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"RAISE EXCEPTION 'SELECT secret' USING ERRCODE = '{sqlstate}'; END $$"
            )
        )
        await session.execute(
            text(
                f"CREATE {'CONSTRAINT' if at_commit else ''} TRIGGER test_refuse {trigger} FOR EACH ROW "
                f"WHEN ({when}) EXECUTE FUNCTION test_refuse()"
            )
        )
    try:
        yield
    finally:
        async with database.transaction() as session:
            await session.execute(text("DROP FUNCTION test_refuse CASCADE"))
