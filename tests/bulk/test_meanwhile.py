"""Between the confirmation and the worker's turn: what was confirmed counts, not what is found by then."""

from datetime import UTC, datetime

from sqlalchemy import text

from admin_app.bulk.items import NO_LONGER, NOT_FOUND
from admin_app.bulk.models import Outcome, State
from admin_app.bulk.service import OperationService
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.products.repository import LISTING
from tests.admin.rows import every
from tests.bulk.operations import Operations
from tests.conftest import Cast, MakeProduct

RENAME = text("UPDATE products SET name = :name, version = version + 1, updated_at = now() WHERE id = :id")


async def test_who_comes_and_who_goes_is_told_and_never_touched(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    names = ("Anvil one", "Anvil two", "Anvil three", "Anvil four", "Hammer")
    rows = [await make_product(cast.alice, name=name) for name in names]
    operations = Operations(database)
    one = await operations.start(cast.alice, "deactivate", "search=anvil")
    async with database.transaction() as session:
        await session.execute(RENAME, {"name": "Saw", "id": rows[0].id})
        await session.execute(RENAME, {"name": "Plane", "id": rows[1].id})
        await session.execute(RENAME, {"name": "Anvil five", "id": rows[4].id})
    await operations.run()
    ended = await operations.get(one)
    assert (ended.confirmed, ended.total, ended.done, ended.left) == (4, 4, 2, 0)
    assert ended.reasons == {"skipped": {"changed meanwhile": 1, NOT_FOUND: 1}}
    assert await operations.outcomes(one) == {
        rows[2].id: (Outcome.DONE, None),
        rows[3].id: (Outcome.DONE, None),
        rows[4].id: (Outcome.SKIPPED, "changed meanwhile"),
    }
    assert {row.name for row in await every(database, Product, is_active=False)} == {
        "Anvil three",
        "Anvil four",
    }


def test_today_is_the_day_of_the_confirmation() -> None:
    today = datetime.now(UTC).date().isoformat()
    fixed = LISTING.fixed(LISTING.parse([("created", "today"), ("updated", "month"), ("is_active", "yes")]))
    assert fixed.filters == {"is_active": "yes", "created_from": today, "updated_from": f"{today[:8]}01"}
    both = LISTING.fixed(LISTING.parse([("created", "today"), ("created_from", "2020-01-01")]))
    assert both.filters == {"created_from": today}
    later = LISTING.fixed(LISTING.parse([("created", "month"), ("created_from", "2999-01-01")]))
    assert later.filters == {"created_from": "2999-01-01"}


async def test_who_must_choose_a_new_password_changes_nothing_before(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    operations = Operations(database)
    one = await operations.start(cast.alice, "deactivate", [product.id])
    required = text("UPDATE users SET must_change_password = :is_required WHERE id = :id")
    async with database.transaction() as session:
        await session.execute(required, {"is_required": True, "id": cast.alice.id})
    await operations.run()
    assert await operations.outcomes(one) == {product.id: (Outcome.FAILED, NO_LONGER)}
    async with database.transaction() as session:
        await session.execute(required, {"is_required": False, "id": cast.alice.id})
        await OperationService(session, cast.alice).retry(one)
    await operations.run()
    ended = await operations.get(one)
    assert (ended.state, ended.done) == (State.FINISHED, 1)
