"""Deliveries as they may be, and the worker's way with them, at once."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from admin_app.database import Database
from admin_app.domains import TASKS
from admin_app.outbox import Delivery, RecordedEvent
from admin_app.worker import Deliverer


async def put(
    database: Database,
    *,
    task: str = "send_notice",
    payload: Any = None,
    event_at: datetime | None = None,
    **values: Any,
) -> Delivery:
    """One of an event of its own, committed."""
    event = event_of("CredentialChanged", event_at or datetime.now(UTC), payload)
    async with database.transaction() as session:
        delivery = Delivery(event=event, task=task, **{"arguments": payload or {}, **values})
        session.add(delivery)
    return delivery


def event_of(name: str, at: datetime, payload: Any = None) -> RecordedEvent:
    """With the id of its time."""
    rest = uuid4().int & ((1 << 80) - 1)
    event_id = UUID(int=int(at.timestamp() * 1000) << 80 | rest)
    return RecordedEvent(id=event_id, name=name, payload=payload or {}, request_id=uuid4(), occurred_at=at)


async def work(database: Database, *, until_done: bool = True) -> None:
    """Deliver everything that is open, and what that asks for, as the worker does. Nothing may fail.

    Or once, whatever becomes of it.
    """
    deliverer = Deliverer(database, TASKS, max_tries=3, lease_seconds=60)
    open_ = select(Delivery.id, Delivery.tries).where(Delivery.done_at.is_(None)).order_by(Delivery.id)
    errors = select(Delivery.last_error).where(Delivery.last_error.is_not(None))
    while True:
        async with database.reading() as session:
            deliveries = (await session.execute(open_)).all()
        for delivery_id, tries in deliveries:
            await deliverer.deliver(delivery_id, tries)
        if not deliveries or not until_done:
            return
        async with database.reading() as session:
            assert (await session.scalars(errors)).all() == []
