"""Operations that cannot go on: they stop with a sentence, and can be taken up again."""

import pytest

from admin_app.bulk import runner
from admin_app.bulk.actions import ACTIONS
from admin_app.bulk.models import State
from admin_app.bulk.service import OperationService
from admin_app.database import Database
from admin_app.domains.products.bulk import Deactivate
from tests.bulk.operations import Operations, make_products
from tests.conftest import Cast


async def test_when_row_after_row_fails_somebody_should_look(
    database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MAX_FAILED_IN_A_ROW", 3)
    await make_products(database, cast.alice, 10)
    operations = Operations(database, chunk=4)
    one = await operations.start(cast.alice, "deactivate", "")
    await operations.run(1)

    def broken(self: Deactivate, parameters: object) -> None:
        raise RuntimeError("SELECT secret FROM users")

    with monkeypatch.context() as patch:
        patch.setattr(Deactivate, "change", broken)
        await operations.run()
    stopped = await operations.get(one)
    assert (stopped.state, stopped.failed, stopped.left) == (State.CANCELLED, 3, 7)
    assert stopped.error == "3 rows in a row failed."
    assert stopped.reasons == {"failed": {runner.UNEXPECTED: 3}}
    async with database.transaction() as session:
        await OperationService(session, cast.alice).retry(one)
    await operations.run()
    ended = await operations.get(one)
    assert (ended.state, ended.done, ended.error) == (State.FINISHED, 10, None)


@pytest.mark.parametrize(("steps", "state"), [(0, State.BROKEN), (2, State.CANCELLED)])
async def test_an_action_that_is_no_more_ends_its_operations(
    steps: int, state: State, database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_products(database, cast.alice, 4)
    operations = Operations(database, chunk=2)
    one = await operations.start(cast.alice, "deactivate", "")
    await operations.run(steps)
    monkeypatch.setitem(database.info, ACTIONS, {"product": {}})
    await operations.run()
    ended = await operations.get(one)
    assert (ended.state, ended.done, ended.error) == (state, steps, "There is no such action.")
