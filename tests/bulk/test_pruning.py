"""What of operations is not kept, and what is."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from admin_app.bulk import pruning
from admin_app.bulk.models import BulkItem, BulkOperation, State
from admin_app.bulk.pruning import prune
from admin_app.database import Database
from tests.admin.rows import every
from tests.bulk.operations import Operations, make_products
from tests.conftest import Cast


async def age(database: Database, operation_id: UUID, **values: Any) -> None:
    async with database.transaction() as session:
        changed = update(BulkOperation).where(BulkOperation.id == operation_id)
        await session.execute(changed.values(**values))


async def pruned(database: Database) -> int:
    async with database.transaction() as session:
        return await prune(session)


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


async def test_only_drafts_that_nobody_confirmed_for_a_day_go(
    database: Database, cast: Cast, operations: Operations
) -> None:
    await make_products(database, cast.alice, 1)
    old = await operations.draft(cast.alice, "deactivate", "")
    young = await operations.draft(cast.alice, "deactivate", "")
    waiting = await operations.start(cast.alice, "deactivate", "")
    await age(database, old.id, created_at=ago(1.01))
    await age(database, young.id, created_at=ago(0.99))
    await age(database, waiting, created_at=ago(100))
    assert await pruned(database) == 1
    assert {operation.id for operation in await every(database, BulkOperation)} == {young.id, waiting}
    await operations.run()
    assert (await operations.truth(waiting)).done == 1


async def test_of_operations_long_past_the_rows_go_in_portions_and_the_numbers_stay(
    database: Database, cast: Cast, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "PRUNED_AT_ONCE", 3)
    await make_products(database, cast.alice, 5)
    old = await operations.start(cast.alice, "deactivate", "")
    await operations.run()
    young = await operations.start(cast.alice, "activate", "")
    await operations.run()
    await age(database, old, finished_at=ago(30.01))
    await age(database, young, finished_at=ago(29.99))
    assert [await pruned(database) for _ in range(3)] == [3, 2, 0]
    assert {item.operation_id for item in await every(database, BulkItem)} == {young}
    await operations.truth(young)
    operation = await operations.get(old)
    assert (operation.state, operation.total, operation.done) == (State.FINISHED, 5, 5)


async def test_the_rows_of_one_that_is_tried_again_stay(
    database: Database, cast: Cast, operations: Operations
) -> None:
    await make_products(database, cast.alice, 5)
    one = await operations.start(cast.alice, "deactivate", "")
    await operations.run(2)
    await operations.cancel(cast.alice, one)
    await operations.run()
    await operations.retry(cast.alice, one)
    await age(database, one, finished_at=ago(31))
    assert await pruned(database) == 0
    await operations.run()
    assert (await operations.truth(one)).done == 5
