"""The worker's deliveries, at once."""

from sqlalchemy import select

from admin_app.database import Database
from admin_app.domains import TASKS
from admin_app.outbox import Delivery
from admin_app.worker import Deliverer


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
