"""What is said where, in which form, and under which request's id."""

import asyncio
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import ValidationError
from sqlalchemy import select, text

from admin_app import logs
from admin_app.actor import Actor
from admin_app.app import Website, create_app
from admin_app.audit import AuditEntry
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.users.schemas import UserCreate
from admin_app.outbox import Delivery, RecordedEvent
from admin_app.upkeep import Upkeep
from admin_app.worker import Deliverer
from tests.admin.pages import open_form
from tests.admin.rows import every
from tests.bulk.operations import Operations, make_products, refusing
from tests.conftest import Cast, MakeProduct, SignIn

SAYING = """
import logging, threading, warnings
from admin_app import logs
logs.configure({arguments})
logging.getLogger("admin_app.here").debug("quiet")
logging.getLogger("a.library").debug("rows and headers")
logging.getLogger("admin_app.here").info("two\\nlines", extra={{"status": 200}})
warnings.warn("old", stacklevel=1)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start(), thread.join()
raise LookupError("at the end")
"""


class Lines(logging.Handler):
    """Everything said, as it would stand on standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logs.formatter("web", "json"))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def of(self, name: str) -> list[dict[str, Any]]:
        said = [json.loads(line) for line in self.texts]
        return [line for line in said if line["logger"] == f"admin_app.{name}"]


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines, logger = Lines(), logging.getLogger("admin_app")
    logger.addHandler(lines)
    logger.setLevel(logging.DEBUG)
    yield lines
    logger.removeHandler(lines)
    logger.setLevel(logging.NOTSET)


def say(arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SAYING.format(arguments=arguments)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.splitlines()


def test_whatever_a_process_says_is_one_json_object_a_line_where_no_terminal_is() -> None:
    said = [json.loads(line) for line in say("'relay'")]
    assert [line["event"].partition(":")[0] for line in said] == [
        *("two\nlines", "<string>", "a thread ends by an error", "this process ends by an error")
    ]
    assert {line["process"] for line in said} == {"relay"}
    assert [line["level"] for line in said] == ["info", "warning", "critical", "critical"]
    assert (said[0]["logger"], said[0]["status"]) == ("admin_app.here", 200)
    assert said[0]["time"].endswith("Z")
    assert said[2]["exception"].endswith("ZeroDivisionError: division by zero")
    assert said[3]["exception"].endswith("LookupError: at the end")


def test_text_is_for_people_and_libraries_never_say_what_passes_through_them() -> None:
    said = "\n".join(say("'relay', 'DEBUG', 'text'"))
    assert "[info     ] two\nlines" in said
    assert "quiet" in said
    assert "rows and headers" not in said
    assert "\x1b" not in said


async def test_a_request_has_one_id_in_its_answer_history_events_tasks_and_log(
    sign_in: SignIn, database: Database, cast: Cast, lines: Lines
) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, "/admin/product/create")
    lines.texts.clear()
    response = await alice.post("/admin/product/create?q=x", data=fields | {"name": "Kettle", "price": "3"})
    assert response.status_code == 303
    request_id = response.headers["x-request-id"]
    [line] = lines.of("request_log")
    took = line.pop("milliseconds")
    assert 0 < took < 60_000
    assert line.pop("time")
    assert line == {
        "event": "answered",
        "process": "web",
        "level": "info",
        "logger": "admin_app.request_log",
        "request_id": request_id,
        "method": "POST",
        "route": "/admin/{identity}/create",
        "actor_id": str(cast.alice.id),
        "status": 303,
        "bytes": 0,
    }
    entries = await every(database, AuditEntry, actor_id=cast.alice.id)
    assert {str(entry.request_id) for entry in entries} == {request_id}
    [event] = await every(database, RecordedEvent, actor_id=cast.alice.id)
    assert str(event.request_id) == request_id

    acted: list[UUID] = []

    async def act_and_break(*_arguments: Any, **_options: Any) -> None:
        acted.append(Actor.system().request_id)
        raise RuntimeError("something nobody foresaw")

    async with database.reading() as session:
        delivery = (await session.scalars(select(Delivery).where(Delivery.event_id == event.id))).first()
    deliverer = Deliverer(database, {delivery.task: act_and_break}, max_tries=3, lease_seconds=60)
    await deliverer.deliver(delivery.id, delivery.tries)
    assert acted == [UUID(request_id)]
    [failed] = lines.of("worker")
    bound = {"request_id": request_id, "delivery_id": str(delivery.id), "task": delivery.task}
    assert bound.items() <= failed.items()
    assert "RuntimeError: something nobody foresaw" in failed["exception"]
    assert Actor.system().request_id != UUID(request_id)


async def test_the_api_says_who_called_too(sign_in: SignIn, cast: Cast, lines: Lines) -> None:
    sam = await sign_in("sam")
    response = await sam.get("/api/v1/products/")
    [line] = lines.of("request_log")
    assert (line["route"], line["actor_id"]) == ("/api/v1/products/", str(cast.sam.id))
    assert (line["request_id"], line["bytes"]) == (response.headers["x-request-id"], len(response.content))


async def test_an_address_is_said_as_its_route_is_declared_and_watching_is_quiet(
    client: httpx.AsyncClient, lines: Lines
) -> None:
    paths = ("/admin/reset/marker?q=marker", "/marker?q=marker", "/admin/marker/marker", "/live")
    for path in (*paths, "/admin/statics/admin.css"):
        await client.get(path)
    assert [(line["level"], line["route"]) for line in lines.of("request_log")] == [
        ("info", "/admin/reset/{token}"),
        ("info", ""),
        ("info", ""),
        ("debug", "/live"),
        ("debug", "/admin/statics/{file}"),
    ]
    assert "marker" not in "".join(lines.texts)


@pytest.mark.parametrize(
    ("peer", "given", "is_kept"),
    [
        ("10.0.0.1", ["6f1c2f0e-5d6b-4b5e-9d4e-1a2b3c4d5e6f"], True),
        ("10.0.0.1", ["6F1C2F0E-5D6B-4B5E-9D4E-1A2B3C4D5E6F"], True),
        ("10.0.0.1", ["urn:uuid:6f1c2f0e-5d6b-4b5e-9d4e-1a2b3c4d5e6f"], False),
        ("10.0.0.1", ["6f1c2f0e-5d6b-4b5e-9d4e-1a2b3c4d5e6f", str(uuid4())], False),
        ("10.0.0.1", ["x\x1b[31m"], False),
        ("10.0.0.1", [""], False),
        ("192.0.2.1", ["6f1c2f0e-5d6b-4b5e-9d4e-1a2b3c4d5e6f"], False),
    ],
)
async def test_only_a_trusted_proxy_names_a_request_and_only_by_a_uuid(
    peer: str, given: list[str], is_kept: bool, website: Website
) -> None:
    website.trusted_proxies = (ip_network("10.0.0.0/8"),)
    transport = httpx.ASGITransport(website, client=(peer, 1))
    headers = [("X-Request-ID", value) for value in given]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        answers = [await client.get("/live", headers=headers) for _ in range(2)]
    found = {answer.headers["x-request-id"] for answer in answers}
    assert (found == {given[0].lower()}) is is_kept
    assert len(found) == (1 if is_kept else 2)
    assert all(str(UUID(request_id)) == request_id for request_id in found)


async def test_every_answer_names_its_request_also_one_that_failed(settings: Settings, lines: Lines) -> None:
    url = "postgresql+asyncpg://nobody@127.0.0.1:1/nothing"
    website = create_app(settings.model_copy(update={"database_url": url}))
    transport = httpx.ASGITransport(website)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        client.cookies.set("session_8000", "token", domain="127.0.0.1")
        response = await client.get("/admin/product/list")
        refused = await client.get("/admin/", headers={"Host": "elsewhere.example"})
    assert (response.status_code, refused.status_code) == (503, 400)
    said = {line["request_id"] for line in lines.of("failures")}
    assert said == {response.headers["x-request-id"]}
    assert refused.headers["x-request-id"] not in said
    await website.state.database.close()


async def test_an_exception_is_told_with_its_causes_and_without_any_value(
    database: Database, lines: Lines
) -> None:
    marker = uuid4().hex  # not in the source either, whose lines a trace shows
    here = logging.getLogger("admin_app.here")
    async with database.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        for fault in (
            lambda: connection.execute(text("SELECT CAST(:value AS integer)"), {"value": marker}),
            lambda: connection.execute(text("SELECT CAST(CAST(:v AS text) AS integer)"), {"v": marker}),
            lambda: driver.fetch("SELECT $1::integer", marker),
            lambda: driver.fetch("SELECT $1::text::integer", marker),
        ):
            with pytest.raises(Exception, match=marker) as caught:
                await fault()
            await connection.rollback()
            try:
                raise ExceptionGroup("several", [caught.value]) from caught.value
            except ExceptionGroup:
                here.exception("failed")
    with pytest.raises(ValidationError, match=marker) as refused:
        UserCreate(email=marker, name="x", role="support")
    here.error("failed", exc_info=refused.value)
    *of_database, of_schema = [line["exception"] for line in lines.of("here")]
    assert len(of_database) == 4
    for exception in of_database:
        assert "test_logs.py" in exception
        assert re.search(r"Error: (SQLSTATE 22\w{3}|the database driver refused it)$", exception)
        assert "ExceptionGroup: several" in exception
    assert of_schema.endswith("ValidationError: email value_error")
    assert marker not in "".join(lines.texts)


async def test_an_operation_and_a_chore_are_named_where_something_is_said_about_them(
    database: Database, cast: Cast, make_product: MakeProduct, lines: Lines
) -> None:
    operations = Operations(database)
    ids = await make_products(database, cast.alice, 1)
    one = await operations.start(cast.alice, "deactivate", ids)
    async with refusing(database, "true"):
        await operations.run()
    operation = await operations.truth(one)
    [line] = lines.of("bulk.runner")
    assert (line["operation"], line["request_id"]) == (operation.number, str(operation.request_id))

    async def tidy(_session: Any) -> int:
        logging.getLogger("admin_app.here").info("tidying")
        stop.set()
        return 0

    stop = asyncio.Event()
    await Upkeep(database, {"tidy": tidy}).run(stop)
    assert [line["chore"] for line in lines.of("here")] == ["tidy"]
