"""The jobs page, a delivery's page, and what a superuser does there."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from saq import Status
from saq.utils import now

from admin_app.app import create_app
from admin_app.audit import AuditEntry
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import CHORES
from admin_app.domains.deliveries import service as deliveries
from admin_app.outbox import Delivery
from admin_app.presence import Process
from admin_app.queue import DELIVER, QUEUE_NAME, connect_queue, disconnect
from admin_app.queue_state import look
from admin_app.upkeep import ChoreRun
from tests.admin.pages import Element, fields_of, form_of, link, notices, parse, rows_of, titles_of
from tests.admin.rows import every, load
from tests.conftest import Cast, MakeProduct, SignIn, browser
from tests.deliveries import put

JOBS, LIST = "/admin/jobs", "/admin/delivery/list"
ERROR = "ConnectError: the search server is away"
PARKED = {"tries": 10, "last_error": ERROR, "dead_at": datetime.now(UTC)}


def table(page: Element, label: str) -> list[list[str]]:
    """The cells of this table's body."""
    [found] = [item for item in page.all("table") if item.attributes["aria-label"] == label]
    return [[cell.text for cell in row.all("td")] for row in rows_of(found)]


@pytest.fixture
async def worked_on(settings: Settings, database: Database) -> AsyncIterator[UUID]:
    """A delivery a worker is at; another one waits in the queue."""
    first, second = await put(database), await put(database)
    queue = connect_queue(settings.redis_url, QUEUE_NAME)
    await queue.redis.flushall()
    for delivery in (first, second):
        await queue.enqueue(DELIVER, delivery_id=str(delivery.id), tries=0)
    job = await queue.dequeue(timeout=1)
    assert job is not None
    job.started = now()
    await job.update(status=Status.ACTIVE)
    yield UUID(job.kwargs["delivery_id"])
    await queue.redis.flushall()
    await disconnect(queue)


async def test_the_overview_tells_what_waits_who_works_and_what_is_planned(
    sign_in: SignIn, database: Database, worked_on: UUID
) -> None:
    await put(database, task="write_export", **PARKED)
    await put(database, task="of_before", **PARKED)
    [first, second, *_] = CHORES
    async with database.transaction() as session:
        session.add(Process(kind="worker", host="here", pid=7, version="1.0"))
        past = datetime.now(UTC) - timedelta(minutes=50)
        session.add(Process(kind="web", host="there", pid=8, version="0.9", seen_at=past))
        session.add(ChoreRun(name=first, ran_at=datetime.now(UTC), took_seconds=1.25, rows=1200))
        session.add(ChoreRun(name=second, ran_at=past, took_seconds=0, rows=0, error="OSError: disk full"))
    sam = await sign_in("sam")
    page = parse(await sam.get(JOBS))
    assert table(page, "Deliveries by task and state") == [
        ["of_before", "0", "0", "0", "1", "0"],
        ["Send a notice of a changed account", "2", "0", "0", "0", "0"],
        ["Write an export", "0", "0", "0", "1", "0"],
    ]
    lists = {item.attributes["href"] for item in page.all("a") if LIST in item.attributes["href"]}
    assert len(lists) > 5
    for path in lists:
        assert (await sam.get(path)).status_code == 200, path
    assert table(page, "Queues")[0] == ["Quick tasks", "1", "1", "0"]
    assert table(page, "Being worked on") == [["Send a notice of a changed account", "just now", "0"]]
    assert link(page, "Send a notice of a changed account") is not None
    assert f"/admin/delivery/details/{worked_on}" in [item.attributes["href"] for item in page.all("a")]
    assert [row[:5] for row in table(page, "Processes")] == [
        ["Web", "Not seen", "there", "8", "0.9"],
        ["Worker", "Alive", "here", "7", "1.0"],
    ]
    chores = table(page, "Schedule")
    assert len(chores) == len(CHORES)
    assert chores[0] == [first, "Done", "just now", "1.25 s", "1,200", "in 9 min"]
    assert chores[1] == [f"{second}OSError: disk full", "Failed", "50 min ago", "0.00 s", "0", "Overdue"]
    assert chores[2][1:] == ["Not yet", "", "", "", "When a worker starts"]
    [entry] = [item for item in page.all("a", class_="menu-link") if item.text == "Jobs"]
    assert entry.attributes["aria-current"] == "page"


async def test_only_who_may_see_jobs_finds_them_in_the_menu(sign_in: SignIn, cast: Cast) -> None:
    for name, may in (("alice", False), ("sam", True), ("root", True)):
        client = await sign_in(name)
        assert (link(parse(await client.get("/admin/account")), "Jobs") == JOBS) == may
        assert (JOBS in (await client.get("/admin/search?q=jobs")).text) == may
        assert (await client.get(JOBS)).status_code == (200 if may else 403)
    page = parse(await client.get(LIST))
    assert link(page, "Export") is None


@pytest.mark.parametrize("fault", ["dead", "frozen"])
async def test_without_the_queue_the_page_still_stands(
    fault: str, settings: Settings, database: Database, sign_in: SignIn, tmp_path: Path, cast: Cast
) -> None:
    silent = tmp_path / "redis.sock"
    server, connections = None, []
    if fault == "frozen":  # accepts, and says nothing

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            await reader.read()

        server = await asyncio.start_unix_server(wait, silent)
    assert await look(f"unix://{silent}") is None
    assert len(connections) == (1 if server else 0)
    signed_in = await sign_in("root")
    website = create_app(settings.model_copy(update={"redis_url": f"unix://{silent}"}))
    async with browser(website) as client:
        client.cookies = signed_in.cookies
        page = parse(await client.get(JOBS))
    assert any("The queue cannot be reached" in notice for notice in notices(page))
    assert len(table(page, "Schedule")) == len(CHORES)
    await website.state.throttle.close()
    await website.state.database.close()
    if server:
        server.close()


async def test_the_list_tells_each_delivery_in_words(sign_in: SignIn, database: Database, cast: Cast) -> None:
    hour = datetime.now(UTC) + timedelta(minutes=5)
    await put(database, task="check_import", tries=3, last_error=ERROR, next_try_at=hour)
    await put(database, task="of_before")
    client = await sign_in("sam")
    page = parse(await client.get(LIST))
    assert titles_of(page) == ["of_before", "Check an import"]
    assert [cell.text for cell in rows_of(page)[1].all("td")[:7]] == [
        "Check an import", "Credential changed", "Failing", "3 tries", ERROR, "just now", "in 4 min",
    ]  # fmt: skip
    assert titles_of(parse(await client.get(f"{LIST}?search=SEARCH+server&state=failing"))) == [
        "Check an import"
    ]
    assert page.all("summary") != []
    assert link(page, "Purge…") is None
    assert (await client.get(f"{LIST}?state=lost")).status_code == 400
    counted = await client.get("/admin/delivery/count?state=failing")
    assert counted.json() == {"text": "1", "exact": True}


async def test_the_page_of_a_delivery_shows_ids_only(
    sign_in: SignIn, database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    client = await sign_in("root")
    product = await make_product(cast.alice)
    [delivery] = await every(database, Delivery, task="update_product_index")
    page = parse(await client.get(f"/admin/delivery/details/{delivery.id}"))
    assert page.one("h1").text == "Update the search index"
    assert link(page, str(product.id)) == f"/admin/product/history/{product.id}"
    assert link(page, "alice@demo.example") == f"/admin/user/details/{cast.alice.id}"
    personal = {"email": "whose@secret.example", "address": "203.0.113.9", "token": "marker-secret"}
    mail = await put(database, task="send_password_link", payload=personal)
    for path in (f"/admin/delivery/details/{mail.id}", LIST, JOBS):
        text = (await client.get(path)).text
        assert not any(value in text for value in personal.values())
    assert "Not shown" in (await client.get(f"/admin/delivery/details/{mail.id}")).text
    many = {"image_ids": [str(uuid4()) for _ in range(12)], "anew": True}
    other = await put(database, task="process_product_images", payload=many)
    text = (await client.get(f"/admin/delivery/details/{other.id}")).text
    assert "and 2 more" in text
    assert many["image_ids"][9] in text


async def press(client: httpx.AsyncClient, page: str, action: str) -> httpx.Response:
    """The button of this form on the page."""
    found = parse(await client.get(page))
    [form] = [form for form in found.all("form") if form.attributes.get("action", "") == action]
    return await client.post(action, data=fields_of(form))


async def test_a_superuser_retries_parks_and_purges_one(
    sign_in: SignIn, database: Database, cast: Cast
) -> None:
    delivery = await put(database, **PARKED)
    page = f"/admin/delivery/details/{delivery.id}"
    client, support = await sign_in("root"), await sign_in("sam")
    assert [
        form.attributes["action"] for form in parse(await support.get(page)).all("form", data_submit_once="")
    ] == []
    for what, told in (("retry", "tried again"), ("park", "parked")):
        response = await press(client, page, f"/admin/delivery/{what}/{delivery.id}")
        assert (response.status_code, response.headers["location"]) == (303, page)
        assert notices(parse(await client.get(page))) == [f"The delivery was {told}."]
        await client.post(f"/admin/delivery/{what}/{delivery.id}")
        assert notices(parse(await client.get(page))) == [f"There was nothing to {what}."]
    question = f"/admin/delivery/purge/{delivery.id}"
    asked = parse(await client.get(question))
    assert "Nobody is told that something that opens their account was changed." in asked.text
    response = await client.post(question, data=fields_of(form_of(asked)))
    assert (response.status_code, response.headers["location"]) == (303, LIST)
    assert await load(database, Delivery, delivery.id) is None
    assert (await client.post(question)).status_code == 404
    entries = await every(database, AuditEntry, kind="delivery")
    assert [(entry.action, entry.actor_label, entry.source) for entry in entries] == [
        (action, "root@demo.example", "form") for action in ("retried", "parked", "purged")
    ]
    activity = titles_of(parse(await client.get("/admin/activity/list?action=parked")))
    assert activity == ["Parked delivery “send_notice”"]
    assert (await client.get(f"/admin/activity/details/{entries[0].id}")).status_code == 200
    for path in ("list?action=parked", f"details/{entries[0].id}"):
        response = await (await sign_in("alice")).get(f"/admin/activity/{path}")
        assert "send_notice" not in response.text


async def test_a_superuser_changes_all_that_the_list_finds(
    sign_in: SignIn, database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "TYPED_ABOVE", 1)
    monkeypatch.setattr("admin_app.admin.jobs_pages.TYPED_ABOVE", 1)
    for _ in range(3):
        await put(database, **PARKED)
    await put(database, task="write_export", **PARKED)
    client = await sign_in("root")
    here = f"{LIST}?state=parked&task=send_notice"
    path = link(parse(await client.get(here)), "Retry…")
    assert path == "/admin/delivery/retry?state=parked&task=send_notice"
    asked = parse(await client.get(path))
    assert asked.one("h1").text == "Retry 3 deliveries?"
    response = await client.post(path, data=fields_of(form_of(asked)))
    assert (response.status_code, response.headers["location"]) == (303, here)
    assert notices(parse(await client.get(here))) == ["3 deliveries were tried again."]
    park = "/admin/delivery/park?task=send_notice"
    await client.post(park)
    assert "nothing to park" in parse(await client.get(park)).text
    purge = "/admin/delivery/purge?task=send_notice"
    form = form_of(parse(await client.get(purge)))
    assert form.one("label").text == "Type 3 to confirm"
    await put(database, **PARKED)
    late = await client.post(purge, data={**fields_of(form), "typed": "3"})
    assert (late.status_code, "There are 4 by now" in late.text) == (422, True)
    again = form_of(parse(late))
    wrong = await client.post(purge, data={**fields_of(again), "typed": "5"})
    assert (wrong.status_code, "Type 4 to confirm that so many" in wrong.text) == (422, True)
    assert (await client.post(purge, data={**fields_of(again), "typed": "4"})).status_code == 303
    assert [item.task for item in await every(database, Delivery)] == ["write_export"]
    notes = [(entry.action, entry.note) for entry in await every(database, AuditEntry, kind="delivery")]
    words = "Task: Send a notice of a changed account"
    assert notes == [
        ("retried", f"3 deliveries: State: Parked · {words}"),
        ("parked", f"3 deliveries: {words}"),
        ("purged", f"4 deliveries: {words}"),
    ]
    assert (await client.get("/admin/delivery/retry?task=nothing")).status_code == 400
