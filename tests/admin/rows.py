"""What is in the tables, for tests that look behind a page."""

from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import inspect, select

from admin_app.audit import AuditEntry
from admin_app.bulk.models import BulkOperation, State
from admin_app.database import Base, Database
from admin_app.outbox import RecordedEvent

Row = TypeVar("Row", bound=Base)


async def load(database: Database, model: type[Row], row_id: UUID) -> Row | None:
    async with database.reading() as session:
        return await session.get(model, row_id)


async def every(database: Database, model: type[Row], **values: Any) -> list[Row]:
    """In the order they were made."""
    async with database.reading() as session:
        return list(
            await session.scalars(select(model).filter_by(**values).order_by(*inspect(model).primary_key))
        )


async def history(database: Database, row_id: UUID) -> list[AuditEntry]:
    """What was done to a row; not what was refused."""
    entries = await every(database, AuditEntry, row_id=row_id)
    return [entry for entry in entries if entry.action != "refused"]


async def traces(database: Database) -> list[Any]:
    """Everything a change leaves behind: equal before and after means nothing was changed or begun.

    That something was refused is on record, but nothing is changed by it.
    """
    recorded = await every(database, AuditEntry)
    entries = [entry.id for entry in recorded if entry.action not in {"refused", "sign-in failed"}]
    events = [event.id for event in await every(database, RecordedEvent)]
    operations = [
        (item.id, item.state, item.is_cancelling)
        for item in await every(database, BulkOperation)
        if item.state is not State.DRAFT
    ]
    return entries + events + operations
