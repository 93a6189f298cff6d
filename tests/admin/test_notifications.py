"""The bell: what has ended of one's own operations and exports, until that has been seen."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects import postgresql

from admin_app.bulk.models import BulkItem, BulkOperation, Outcome, State
from admin_app.database import Database
from admin_app.domains.users.models import User
from admin_app.notifications import unseen_of
from admin_app.security.sessions import AuthSession
from tests.admin.pages import Element, bell, notices, parse
from tests.admin.rows import traces
from tests.bulk.operations import Operations, make_products
from tests.conftest import Cast, SignIn

PAGE, LIVE, SEEN = "/admin/notifications", "/admin/notifications/live", "/admin/notifications/seen"


async def page_of(client: httpx.AsyncClient, path: str) -> Element:
    response = await client.get(path)
    assert response.status_code == 200, response.text
    return parse(response)


async def told(client: httpx.AsyncClient) -> list[tuple[str, bool]]:
    """Each sentence, and whether it is new."""
    items = (await page_of(client, PAGE)).all("li", class_="notification")
    items += (await page_of(client, PAGE)).all("li", class_="notification is-unseen")
    return [
        (item.one("a", class_="notification-link").text, "is-unseen" in item.attributes["class"])
        for item in items
    ]


async def ended(database: Database, cast: Cast, number: int = 3) -> UUID:
    """An operation of Alice's, as her script might have begun it."""
    operations = Operations(database)
    rows = await make_products(database, cast.alice, number)
    operation_id = await operations.start(cast.alice, "deactivate", rows)
    await operations.run()
    return operation_id


async def test_the_bell_tells_ones_own_operations_until_their_end_has_been_seen(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice, root = await sign_in("alice"), await sign_in("root")
    assert bell(await page_of(alice, "/admin/")) == "Notifications"
    assert "Nothing has ended yet." in (await alice.get(PAGE)).text
    first, second = await ended(database, cast), await ended(database, cast, 2)
    before = await traces(database)
    assert bell(await page_of(alice, "/admin/product/list")) == "Notifications, 2 new"
    assert await told(alice) == [("Deactivate: 2 done", True), ("Deactivate: 3 done", True)]

    # Somebody else who looks has not told her; nor has whoever asks for the head alone.
    assert bell(await page_of(root, f"/admin/operation/details/{first}")) == "Notifications"
    await alice.head(f"/admin/operation/details/{first}")
    assert bell(await page_of(alice, "/admin/")) == "Notifications, 2 new"
    assert bell(await page_of(alice, f"/admin/operation/details/{first}")) == "Notifications, 1 new"
    assert await told(alice) == [("Deactivate: 2 done", True), ("Deactivate: 3 done", False)]
    assert (await alice.get(f"/admin/operation/live/{second}")).status_code == 200
    assert bell(await page_of(alice, "/admin/")) == "Notifications"
    assert await traces(database) == before


async def test_what_ended_after_the_page_was_drawn_stays_new_when_all_are_marked_as_seen(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    await ended(database, cast)
    page = await page_of(alice, PAGE)
    until = page.one("input", name="until").attributes["value"]
    late = await ended(database, cast, 2)
    for _ in range(2):
        answer = await alice.post(SEEN, data={"until": until})
        assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
        assert await told(alice) == [("Deactivate: 2 done", True), ("Deactivate: 3 done", False)]
    over = ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59")
    for bad in ("", "yesterday", "2026-01-01", "2026-01-01T00:00:00", "\0", *over):
        refused = await alice.post(SEEN, data={"until": bad})
        assert refused.status_code == 422, bad
        assert "no moment in time" in refused.text
    for bad in ("x", *over):
        assert (await alice.get(LIVE, params={"since": bad})).status_code == 422, bad

    # Tried again, it is no news any more, until it has ended again.
    operations = Operations(database)
    async with database.transaction() as session:
        counts = {"failed": 1, "done": 1}
        await session.execute(update(BulkOperation).where(BulkOperation.id == late).values(counts))
        one = select(BulkItem.row_id).where(BulkItem.operation_id == late).limit(1).scalar_subquery()
        await session.execute(update(BulkItem).where(BulkItem.row_id == one).values(outcome=Outcome.FAILED))
    await operations.retry(cast.alice, late)
    assert bell(await page_of(alice, "/admin/")) == "Notifications"
    await operations.run()
    assert (await operations.get(late)).state is State.FINISHED
    assert bell(await page_of(alice, "/admin/")) == "Notifications, 1 new"


async def test_a_page_that_is_open_asks_what_has_ended_and_keeps_no_session_alive(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    async def sentences(**query: str) -> list[str]:
        response = await alice.get(LIVE, params=query)
        assert response.status_code == 200
        return [link.text for link in parse(response).all("a") if "data-bell" not in link.attributes]

    alice = await sign_in("alice")
    assert await sentences() == []
    for number in (2, 3):
        await ended(database, cast, number)
    assert await sentences() == ["Deactivate: 3 done", "Deactivate: 2 done"]
    link = next(item for item in (await page_of(alice, LIVE)).all("a") if "data-bell" in item.attributes)
    assert link.attributes["aria-label"] == "Notifications, 2 new"
    assert await sentences(since=link.attributes["data-since"]) == []
    async with database.transaction() as session:
        old = func.now() - timedelta(minutes=5)
        await session.execute(update(AuthSession).values(last_seen_at=old))
        seen_at = await session.scalar(select(AuthSession.last_seen_at))
    await sentences()
    async with database.reading() as session:
        assert await session.scalar(select(AuthSession.last_seen_at)) == seen_at

    # Many are not counted.
    async with database.transaction() as session:
        copied = """
            INSERT INTO bulk_operation (kind, action, label, selection, actor_id, actor_label, request_id,
                state, finished_at, total)
            SELECT kind, action, label, selection, actor_id, actor_label, request_id, state,
                finished_at + later * interval '1 second', total
            FROM bulk_operation, generate_series(1, 60) AS later
        """
        await session.execute(text(copied))
    assert bell(await page_of(alice, "/admin/")) == "Notifications, more than 9 new"
    assert len(await told(alice)) == 50
    assert len(await sentences()) == 3
    await alice.post(SEEN, data={"until": (datetime.now(UTC) + timedelta(hours=1)).isoformat()})
    assert bell(page := await page_of(alice, PAGE)) == "Notifications"
    assert notices(page) == []


async def test_the_bell_is_found_by_the_indexes_of_what_is_unseen(cast: Cast, database: Database) -> None:
    """Not among all that somebody ever did."""
    operations = """
        INSERT INTO bulk_operation (kind, action, label, selection, actor_id, actor_label, request_id, state,
            finished_at, seen_at)
        SELECT 'product', 'deactivate', '', '', :actor_id, '', uuidv7(), 'finished', now(), now()
        FROM generate_series(1, 2000) AS number
    """
    exports = """
        INSERT INTO export (kind, format, query, columns, selection, actor_id, actor_label, request_id, state,
            file, finished_at, seen_at)
        SELECT 'product', 'csv', '', '{}', '', :actor_id, '', uuidv7(), 'finished', number, now(), now()
        FROM generate_series(1, 2000) AS number
    """
    asked = select(unseen_of(User)).select_from(User).where(User.email == "alice@demo.example")
    compiled = asked.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    async with database.transaction() as session:
        for statement in (operations, exports):
            await session.execute(text(statement), {"actor_id": cast.alice.id})
        await session.execute(text("ANALYZE export, bulk_operation"))
        plan = "\n".join(await session.scalars(text(f"EXPLAIN {compiled}")))
        assert await session.scalar(asked) == [0, None]
        await session.execute(text("DELETE FROM export"))
        await session.execute(text("DELETE FROM bulk_operation"))
    assert "ix_export_unseen" in plan, plan
    assert "ix_bulk_operation_unseen" in plan, plan
