"""An import whose worker is killed: each row of its file is done once, in rows, history and events."""

import asyncio
import random
from collections import Counter
from decimal import Decimal
from functools import partial
from uuid import UUID

from sqlalchemy import select

from admin_app.audit import AuditEntry
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.outbox import RecordedEvent
from tests.admin.rows import every
from tests.bulk.operations import Operations, make_products
from tests.conftest import Cast
from tests.crash.conftest import Spawn, has_been_killed
from tests.crash.test_bulk_kills import CHUNK, Watched
from tests.crash.waiting import eventually
from tests.imports.staged import Staged, confirm

NEW, KNOWN = 600, 600


async def test_each_row_is_imported_once_though_workers_are_killed_at_any_moment(
    database: Database, cast: Cast, spawn: Spawn
) -> None:
    known = await make_products(database, cast.alice, KNOWN)
    rows = [Staged({"name": f"Bell {at}", "price": "2.00", "external_id": f"B-{at}"}) for at in range(NEW)]
    rows += [Staged({"price": "3.00"}, row_id, 1, {"price": "10.00"}) for row_id in known]
    operation_id, ids, number = await confirm(database, cast.alice, rows)
    operation = Watched(Operations(database), operation_id)
    process = await spawn("worker", BULK_CHUNK=CHUNK)
    for at in sorted(random.sample(range(NEW + KNOWN - 200), 2)):
        await eventually(partial(operation.is_beyond, at))
        await asyncio.sleep(random.uniform(0, 0.02))  # anywhere in the chunk
        process.kill()
        await has_been_killed(process)
        process = await spawn("worker", BULK_CHUNK=CHUNK)
        await operation.goes_on()
    await operation.was_done_once(NEW + KNOWN)

    async with database.reading() as session:
        found = await session.execute(select(Product.id, Product.name, Product.price, Product.version))
        products = {row.id: tuple(row)[1:] for row in found}
        lines = await session.execute(
            select(AuditEntry.row_id, AuditEntry.note).where(AuditEntry.operation_id == operation_id)
        )
        notes = Counter(map(tuple, lines))
    assert len(products) == NEW + KNOWN
    assert {products[row_id][1:] for row_id in known} == {(Decimal("3.00"), 2)}
    assert {products[row_id] for row_id in ids[:NEW]} == {
        (f"Bell {at}", Decimal("2.00"), 1) for at in range(NEW)
    }
    assert notes == Counter((row_id, f"import #{number}, line {2 + at}") for at, row_id in enumerate(ids))
    assert await _told(database, "ProductCreated") == Counter(ids[:NEW])
    assert await _told(database, "ProductUpdated") == Counter(known)


async def _told(database: Database, name: str) -> Counter[UUID]:
    """How many events of this name each product is in."""
    events = await every(database, RecordedEvent, name=name)
    return Counter(UUID(row_id) for event in events for row_id in event.payload["product_ids"])
