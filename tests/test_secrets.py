"""Nothing secret that goes in, or is given out, is ever written down: neither in a log nor in a table.

Real processes at LOG_LEVEL=DEBUG are given a secret of its own in every place where one can stand, in forms
that succeed and in forms that fail. Then everything they said, and every row of every table, is read.
"""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pyotp
import pytest
from redis.asyncio import Redis
from sqlalchemy import make_url, select, text

from admin_app import logs, web
from admin_app.actor import Actor, Role
from admin_app.api.app import API_URL
from admin_app.app import create_app
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import METADATA
from admin_app.domains.users.schemas import UserCreate
from admin_app.domains.users.service import UserService
from admin_app.outbox import Delivery
from admin_app.security import sessions
from tests.admin.pages import fields_of, form_of, parse
from tests.admin.test_fuzz import FIELDS, FORM, encode, spelled_out
from tests.conftest import PASSWORD, Cast, MakeProduct, forget_tries
from tests.crash.waiting import eventually
from tests.smtp import SENDER, Inbox, make_certificate, smtp_server

SECRET_FIELDS = {"password", "new", "repeated", "current", "code", "sealed", "ticket"}
GIVEN_OUT = re.compile(r"adm_[\w-]{43}|(?<=/reset/)[\w-]{43}\b|(?:[A-Z2-7]{4}-){5}[A-Z2-7]{4}")
"""Access tokens, links to a new password, and recovery codes."""


class Secrets:
    """What nobody may find afterwards, by what it was."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def new(self, what: str) -> str:
        return self.keep(what, f"{re.sub('[^a-z]', '', what)}-{uuid4().hex}")

    def keep(self, what: str, value: str) -> str:
        self.known[value] = what
        return value

    def of(self, response: httpx.Response) -> None:
        """Whatever this answer gives out."""
        for value in GIVEN_OUT.findall(response.text):
            self.keep(f"given out at {response.request.url.path}", value)
        for name, value in response.cookies.items():
            if name.startswith("session"):
                self.keep("cookie", value)

    def found_in(self, texts: dict[str, str]) -> list[str]:
        """Also as bytes are written, and as an address is."""
        return [
            f"{what} in {where}"
            for value, what in self.known.items()
            for where, told in texts.items()
            if value in told or value.encode().hex() in told
        ]


class Processes:
    """Of one installation, each with a log of its own."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, log_format: str, keep: tuple[int, ...] = ()) -> None:
        name = f"{arguments[0]} in {log_format}"
        with (self._folder / name).open("wb") as log:
            self._running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "admin_app", *arguments],
                    env=self._environment | {"LOG_FORMAT": log_format},
                    cwd=self._folder,
                    pass_fds=keep,
                    stdout=log,
                    stderr=log,
                )
            )

    def stop(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(30)

    def said(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self._folder.iterdir() if path.is_file()}


class Person(httpx.AsyncClient):
    """A browser at one of the websites; what is given out to it is kept in mind."""

    def __init__(self, port: int, known: Secrets) -> None:
        super().__init__(
            base_url=f"http://127.0.0.1:{port}", headers={"Sec-Fetch-Site": "same-origin"}, timeout=120
        )
        self.port = port
        self._known = known

    async def send(self, *arguments: Any, **options: Any) -> httpx.Response:
        response = await super().send(*arguments, **options)
        self._known.of(response)
        return response

    async def signed_in(self, database: Database, user_id: UUID) -> None:
        async with database.transaction() as session:
            token = await sessions.open_session(session, user_id, address=None, user_agent=None)
        self.cookies.set(f"session_{self.port}", self._known.keep("cookie", token), domain="127.0.0.1")


@pytest.fixture
def known() -> Secrets:
    known = Secrets()
    known.keep("password", PASSWORD)
    return known


@pytest.fixture
async def installation(
    settings: Settings, known: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Processes, tuple[int, int], Inbox]]:
    """Two websites, a relay and a worker, every setting of which that can hold a secret does."""
    certificate = make_certificate(tmp_path / "server.pem")
    mail_password, redis_password = known.new("mail"), known.new("redis")
    folder = tmp_path / "logs"
    folder.mkdir()
    async with Redis.from_url(settings.redis_url) as redis:
        await redis.execute_command("ACL", "SETUSER", "app", "on", f">{redis_password}", "~*", "&*", "+@all")
    with ExitStack() as stack:
        listeners = [stack.enter_context(web.listen("127.0.0.1", 0)) for _ in range(2)]
        ports = [listener.getsockname()[1] for listener in listeners]
        async with smtp_server(certificate, password=mail_password) as inbox:
            url = make_url(settings.database_url).set(drivername="postgresql", password=known.new("database"))
            environment = {
                **os.environ,
                "SSL_CERT_FILE": str(certificate),
                "DATABASE_URL": url.render_as_string(hide_password=False),
                "REDIS_URL": settings.redis_url.replace("unix://", f"unix://app:{redis_password}@"),
                "SECRET_KEY": known.new("secret key of the installation"),
                "DATA_DIR": str(settings.data_dir),
                "PUBLIC_URL": f"http://127.0.0.1:{ports[0]}",
                "SMTP_URL": f"smtp://shop:{mail_password}@127.0.0.1:{inbox.port}",
                "MAIL_FROM": SENDER,
                "STORAGE_URL": "s3://shop",
                "STORAGE_OPTIONS": json.dumps(
                    {
                        "endpoint": "http://127.0.0.1:9",
                        "access_key_id": "shop",
                        "secret_access_key": known.new("storage"),
                    }
                ),
                "SEARCH_URL": "http://127.0.0.1:9",
                "SEARCH_KEY": known.new("search"),
                "METRICS_TOKEN": known.new("metrics"),
                "LOG_LEVEL": "DEBUG",
            }
            processes = Processes(environment, folder)
            for listener, log_format in zip(listeners, ("json", "text"), strict=True):
                number = listener.fileno()
                processes.start("serve", "--fd", str(number), log_format=log_format, keep=(number,))
            processes.start("relay", log_format="json")
            processes.start("worker", log_format="json")
            try:
                yield processes, (ports[0], ports[1]), inbox
            finally:
                processes.stop()
    async with Redis.from_url(settings.redis_url) as redis:
        await redis.execute_command("ACL", "DELUSER", "app")


@asynccontextmanager
async def refusing(database: Database, table: str, condition: str) -> AsyncIterator[None]:
    """The database does not take such rows: a fault nobody foresaw, whose message repeats the row."""
    async with database.transaction() as session:
        await session.execute(text(f"ALTER TABLE {table} ADD CONSTRAINT fruit CHECK ({condition}) NOT VALID"))
    yield
    async with database.transaction() as session:
        await session.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT fruit"))


async def every_table(database: Database) -> dict[str, str]:
    async with database.reading() as session:
        found = {}
        for table in METADATA.tables:
            rows = await session.scalars(text(f"SELECT to_jsonb(given)::text FROM {table} given"))
            found[table] = "\n".join(rows)
        return found


async def fill_every_form(
    root: Person, known: Secrets, settings: Settings, product_id: UUID, user_id: UUID
) -> None:
    """As an honest browser would but for what is secret; those with a secret also with nonsense beside it."""
    for route, honest in FIELDS.items():
        if route == "/logout":
            continue
        for path, identity in spelled_out(route, product_id, user_id):
            if identity not in {"", "product", "user"}:
                continue
            address = path.replace("x" * 43, known.new(f"link {path}"))
            secret = {field: known.new(f"{field} {path}") for field in SECRET_FIELDS & set(honest)}
            if "repeated" in secret:
                secret["repeated"] = secret["new"]
            await root.post(address, content=encode(honest | secret), headers=FORM)
            if secret:
                nonsense = {field: f"{identity}-{field}" for field in honest}
                await root.post(address, content=encode(nonsense | secret), headers=FORM)
                await forget_tries(settings)


async def call_the_api(root: Person, known: Secrets, user_id: UUID) -> None:
    response = await root.post(
        "/admin/account/tokens",
        data={"name": "script", "scope": "write", "days": "7", "key": str(uuid4())},
    )
    token = re.findall(r"adm_[\w-]{43}", response.text)[0]
    users = f"{API_URL}/users/"
    for number in range(2):
        account = {"name": "x", "email": f"api{number}@demo.example", "role": "support"}
        key = {"Idempotency-Key": str(uuid4())}
        for email in (account["email"], account["email"], "no address"):
            body = account | {"email": email, "password": known.new("password of the api")}
            await root.post(users, json=body, headers=key if email != "no address" else {})
            change = {"password": known.new("changed by the api"), "nonsense": email}
            await root.patch(f"{users}{user_id}", json=change)
            await root.patch(f"{users}{user_id}", json={"password": change["password"]})
    async with httpx.AsyncClient(base_url=str(root.base_url)) as script:
        for bearer in (token, known.new("bearer"), f"adm_{known.new('another bearer')}"):
            headers = {"Authorization": f"Bearer {bearer}"}
            await script.get(
                f"{API_URL}/products/?q={known.new('nothing of a query is said')}", headers=headers
            )
            await script.post(users, json={"password": known.new("by bearer")}, headers=headers)
            await script.get("/metrics", headers=headers)


async def go_through_the_doors(person: Person, known: Secrets, inbox: Inbox, settings: Settings) -> None:
    """Second factor, signing in by it, proving who one is, and a forgotten password: all as it should be."""
    page, login = "/admin/account/second-factor", "/admin/login"
    offered = await person.get(page)
    fields = fields_of(form_of(parse(offered)))
    known.keep("sealed", fields["sealed"])
    shown = known.keep("secret for codes", parse(offered).one("textarea", id="secret").text)
    secret = known.keep("secret for codes", shown.replace(" ", ""))
    done = await person.post(page, data=fields | {"code": pyotp.TOTP(secret).now()})
    codes = [found for found in GIVEN_OUT.findall(done.text) if "-" in found]
    assert len(codes) > 2
    halfway = await person.post(login, data={"email": "alice@demo.example", "password": PASSWORD, "next": ""})
    fields = fields_of(form_of(parse(halfway)))
    known.keep("ticket", fields["ticket"])
    entered = await person.post(f"{login}/code", data=fields | {"code": codes[0]})
    assert entered.status_code == 303
    proof = {"password": PASSWORD, "code": codes[1], "next": ""}
    assert (await person.post("/admin/confirm", data=proof)).status_code == 303
    chosen = known.new("own new password")
    changed = {"current": PASSWORD, "new": chosen, "repeated": chosen, "next": ""}
    assert (await person.post("/admin/password", data=changed)).status_code == 303
    await forget_tries(settings)
    await person.post("/admin/forgot", data={"email": "sam@demo.example"})
    opening: list[str] = []

    async def has_come() -> bool:
        tokens = {found for mail in inbox.texts() for found in GIVEN_OUT.findall(mail)}
        links = [f"/admin/reset/{known.keep('link of a mail', token)}" for token in tokens]
        opening.extend([link for link in links if (await person.get(link)).status_code == 200])
        return bool(opening)

    await eventually(has_come)
    [address] = opening
    chosen = known.new("password by link")
    assert (await person.post(address, data={"new": chosen, "repeated": chosen})).status_code == 303
    assert (await person.post(address, data={"new": chosen, "repeated": chosen})).status_code == 404
    await person.post("/admin/logout")


async def break_down(root: Person, known: Secrets, database: Database, user_id: UUID) -> None:
    """Forms, a body of the API and a task that the database refuses."""
    form = {"version": "1", "email": "forbidden@demo.example", "name": "Forbidden", "role": "support"}
    async with refusing(database, "users", "name <> 'Forbidden'"):
        for address in (f"/admin/user/edit/{user_id}", "/admin/user/create"):
            fields = fields_of(form_of(parse(await root.get(address))))
            fields |= form | {
                "version": fields.get("version", ""),
                "password": known.new(f"refused {address}"),
            }
            assert (await root.post(address, data=fields)).status_code == 500
        body = {key: form[key] for key in ("email", "name", "role")}
        response = await root.post(f"{API_URL}/users/", json=body | {"password": known.new("refused body")})
        assert response.status_code == 500
    async with refusing(database, "password_reset", "false"):
        await root.post("/admin/forgot", data={"email": "bob@demo.example"})

        async def has_failed() -> bool:
            async with database.reading() as session:
                errors = await session.scalars(select(Delivery.last_error))
                return any("fruit" in (error or "") for error in errors)

        await eventually(has_failed)


@contextmanager
def listening(known: list[str]) -> Iterator[None]:
    """What is said in this process, in both forms."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            known.extend(logs.formatter("web", form).format(record) for form in ("json", "text"))

    listener, logger = Listener(), logging.getLogger("admin_app")
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    yield
    logger.removeHandler(listener)
    logger.setLevel(logging.NOTSET)


async def without_a_database(settings: Settings, known: Secrets) -> str:
    said: list[str] = []
    url = f"postgresql+asyncpg://nobody:{known.new('database that is away')}@127.0.0.1:1/nothing"
    website = create_app(settings.model_copy(update={"database_url": url}))
    transport = httpx.ASGITransport(website)
    with listening(said):
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            client.headers["Sec-Fetch-Site"] = "same-origin"
            client.cookies.set("session_8000", known.new("cookie"), domain="127.0.0.1")
            for address, honest in (
                ("/admin/login", FIELDS["/login"]),
                ("/admin/password", FIELDS["/password"]),
            ):
                secret = {field: known.new(f"{field} {address}") for field in SECRET_FIELDS & set(honest)}
                response = await client.post(address, data=honest | secret)
                assert response.status_code == 503
            token = {"Authorization": f"Bearer adm_{known.new('bearer')}"}
            assert (await client.get(f"{API_URL}/products/", headers=token)).status_code == 503
    await website.state.database.close()
    return "\n".join(said)


async def test_no_secret_is_ever_written_down(
    installation: tuple[Processes, tuple[int, int], Inbox],
    known: Secrets,
    settings: Settings,
    database: Database,
    cast: Cast,
    make_product: MakeProduct,
) -> None:
    processes, ports, inbox = installation
    for number, port in enumerate(ports):
        product = await make_product(cast.alice)
        async with database.transaction() as session:
            data = UserCreate(email=f"victim{number}@demo.example", name="Victim", role=Role.SUPPORT)
            victim = await UserService(session, Actor.system()).create(data)
        async with Person(port, known) as root:
            await root.signed_in(database, cast.root.id)
            await fill_every_form(root, known, settings, product.id, victim.id)
            await root.signed_in(database, cast.root.id)
            await call_the_api(root, known, cast.bob.id)
            await break_down(root, known, database, cast.bob.id)
    async with Person(ports[0], known) as alice:
        await alice.signed_in(database, cast.alice.id)
        await go_through_the_doors(alice, known, inbox, settings)
    away = await without_a_database(settings, known)
    tables = await every_table(database)
    processes.stop()
    said = processes.said() | {"without a database": away}

    assert known.found_in(said | tables) == []

    # All this was heard.
    assert len(known.known) > 200
    for name in ("serve in json", "serve in text"):
        assert "incident" in said[name]
        assert "CheckViolationError: fruit" in said[name]
        assert "/admin/reset/{token}" in said[name]
        assert "debug" in said[name]
    assert "CheckViolationError: fruit" in said["worker in json"]
    assert "status=503" in away
    for name in ("serve in json", "relay in json", "worker in json"):
        for line in said[name].splitlines():
            assert json.loads(line)["process"] == name.split()[0].replace("serve", "web")
    assert "Forbidden" not in "".join(said.values())
    for table in ("audit_entry", "event", "delivery", "idempotency_key"):
        assert tables[table]
