"""docs/permissions.md is read line by line, and the application must answer as it says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pyotp
import pytest
from starlette.routing import BaseRoute, Mount, Route

from admin_app import audit
from admin_app.actor import Actor, Role
from admin_app.admin.site import VIEWS
from admin_app.api.app import API_URL
from admin_app.app import Website
from admin_app.audit import AuditEntry
from admin_app.bulk.models import BulkOperation, State
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.exports.models import Export, ExportState, Format
from admin_app.imports.models import Import, ImportRow, ImportState, Verdict
from admin_app.outbox import Delivery, RecordedEvent
from admin_app.security import resets, second_factor, sessions
from admin_app.security.tokens import AccessToken, Scope
from admin_app.storage import storage_of
from tests.admin.rows import traces
from tests.conftest import PASSWORD, SESSION_COOKIE, Cast, browser
from tests.samples import png

DOCUMENT = Path(__file__).parent.parent / "docs" / "permissions.md"
ROLES = ("nobody", "support", "administrator", "superuser")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MADE = {303}
MADE_IN_PLACE = {200}
ADDED = {201}
ADDS = re.compile("/images|/reset-link|/account/tokens$|/account/second-factor$|/recovery-codes$")
HAS_SECOND_FACTOR = re.compile("/login/code$|/account/second-factor/|/recovery-codes$|/user/second-factor/")
SECRET = second_factor.new_secret()
FILE = f"{'0' * 32}.webp"
"""Of a picture every product in the table has, stored under the product's id."""
FILE_OF_PRODUCTS = b"name,price\nClock,1\n"
KINDS = ("user", "operation", "activity", "delivery", "export", "import")
"""Of which a world has two rows, where the route names it; else they are products."""
STATES = {"confirm": State.DRAFT, "cancel": State.RUNNING, "park": State.WAITING}
"""In which an operation or a delivery must be for the route to change it; else it has ended."""
LEAVE_NO_TRACE = (
    "/admin/confirm",
    "/preferences",
    "/views",
    "/views/delete",
    "/bulk",
    "/undo/{own}",
    "/undo/{foreign}",
    "/export/cancel/{own}",
    "/notifications/seen",
    "/import",
    "/import/reread/{own}",
    "/import/discard/{own}",
)
"""Changes of nobody's rows, and questions: they are not history."""


@dataclass(frozen=True)
class Line:
    route: str
    method: str
    statuses: dict[str, int] = field(compare=False)


def documented(prefix: str = "/") -> list[Line]:
    """The lines of the tables about addresses that begin so, one per method."""
    lines = []
    for text in DOCUMENT.read_text().splitlines():
        if text.startswith(f"| `{prefix}"):
            cells = [cell.strip() for cell in text.strip("|").split("|")]
            statuses = dict(zip(ROLES, map(int, cells[2:]), strict=True))
            lines += [Line(cells[0].strip("`"), method, statuses) for method in cells[1].split(", ")]
    return lines


def routed(routes: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every (route, method) the application answers, models and owners spelled out as in the table."""
    for route in routes:
        if isinstance(route, Mount) and route.path == API_URL:
            continue
        if isinstance(route, Mount) and route.routes:
            yield from routed(route.routes, prefix + route.path)
        elif isinstance(route, Mount):
            yield from ((f"{prefix}{route.path}/{{file}}", method) for method in ("GET", "HEAD"))
        else:
            assert isinstance(route, Route), f"{route} is neither a route nor a mount"
            for identity in [view.identity for view in VIEWS] if "{identity}" in route.path else [""]:
                path = prefix + route.path.replace("{identity}", identity)
                rows = ("{own}", "{foreign}") if "{pk}" in path else ("",)
                for row in rows:
                    yield from ((path.replace("{pk}", row), method) for method in route.methods or METHODS)


LINES = [line for line in documented() if not line.route.startswith(API_URL)]
"""Those of the API are walked by tests/api/test_permissions.py."""


def test_every_route_and_method_is_in_the_table_once(website: Website) -> None:
    listed = [(line.route, line.method) for line in LINES]
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) == set(routed(website.routes))


async def test_every_view_of_the_site_is_walked(website: Website) -> None:
    admin = next(route.app for route in website.routes if getattr(route, "name", "") == "admin")
    assert admin.debug is False
    assert {view.identity for view in VIEWS} == {"product", "user", "operation", "activity", "delivery"}


@dataclass(frozen=True)
class World:
    """Somebody in a role with a browser, a row of their own and one of somebody else, all new."""

    browser: httpx.AsyncClient
    email: str
    own: UUID
    foreign: UUID
    foreign_email: str
    token: str
    """Of a link with which the other one may choose a new password."""
    access_token: UUID


class WorldMaker:
    def __init__(self, website: Website, database: Database, cast: Cast, password_hash: str) -> None:
        self._website = website
        self._database = database
        self._cast = cast
        self._password_hash = password_hash
        self._numbers = count()

    async def __call__(
        self,
        role: str,
        kind: str,
        *,
        in_bin: bool = False,
        has_past: bool = False,
        has_second_factor: bool = False,
        state: State = State.FINISHED,
    ) -> World:
        number = next(self._numbers)
        person = User(
            email=f"{role}{number}@demo.example",
            name=role,
            password_hash=self._password_hash,
            role=Role(role) if role != "nobody" else Role.ADMINISTRATOR,
        )
        other = User(
            email=f"other{number}@demo.example", name="Other", password_hash="!", role=Role.ADMINISTRATOR
        )
        client = browser(self._website)
        async with self._database.transaction() as session:
            session.add_all([person, other])
            await session.flush()
            for account in (person, other) if has_second_factor else ():
                await second_factor.add(session, account.id, SECRET, 0)
            access_token = AccessToken(
                user_id=person.id,
                name="script",
                token_hash=uuid4().bytes,
                scope=Scope.READ,
                expires_at=datetime.now(UTC) + timedelta(days=1),
            )
            session.add(access_token)
            await session.flush()
            link = resets.new_token()
            await resets.keep_link(session, other.id, link, timedelta(hours=1), is_mailed=False)
            rows: list[Product | User | BulkOperation | AuditEntry | Delivery | Export | Import]
            rows = [person, other]
            if kind == "product":
                # Support owns one too: somebody who was an administrator once.
                since = datetime.now(UTC) if in_bin else None
                rows = [
                    Product(name="Thing", price=1, owner_id=owner.id, deleted_at=since)
                    for owner in (person, other)
                ]
                session.add_all(rows)
                await session.flush()
                for product in rows:
                    await storage_of(session).put(f"images/{product.id}/{FILE}", b"a picture", "image/webp")
            if has_past:
                for product in rows:
                    before = audit.snapshot(product)
                    product.name = "Thing again"
                    await session.flush()
                    audit.record(session, Actor.system(), "updated", product, before)
            if kind == "operation":
                thing = Product(name="Thing", price=1, owner_id=person.id)
                session.add(thing)
                await session.flush()
                rows = [_operation(actor, thing.id, state) for actor in (person, other)]
                session.add_all(rows)
                await session.flush()
            if kind == "export":
                rows = [_export(actor, state) for actor in (person, other)]
                session.add_all(rows)
                await session.flush()
                for export in rows:
                    await storage_of(session).put(export.file, b"a file", "text/csv")
            if kind == "import":
                rows = [_import(actor) for actor in (person, other)]
                session.add_all(rows)
                await session.flush()
                for import_ in rows:
                    session.add(_new_row(import_))
                    await storage_of(session).put(import_.file, FILE_OF_PRODUCTS, "text/csv")
            if kind == "delivery":
                rows = [_delivery(state) for _ in range(2)]
                session.add_all(rows)
                await session.flush()
            if kind == "activity":
                rows = [_entry(about) for about in (person, other)]
                session.add_all(rows)
                await session.flush()
            if role != "nobody":
                token = await sessions.open_session(session, person.id, address=None, user_agent=None)
                client.cookies.set(SESSION_COOKIE, token, domain="127.0.0.1")
        return World(client, person.email, rows[0].id, rows[1].id, other.email, link, access_token.id)


def _entry(about: User) -> AuditEntry:
    """That somebody signed in."""
    return AuditEntry(
        actor_label=about.email,
        source="form",
        request_id=uuid4(),
        action="signed in",
        kind="user",
        row_id=about.id,
        row_label=about.email,
        changes={},
    )


def _operation(actor: User, row_id: UUID, state: State) -> BulkOperation:
    """With rows done, and some that failed."""
    return BulkOperation(
        kind="product",
        action="deactivate",
        label="Deactivate",
        row_ids=[row_id],
        selection="1 selected row",
        actor_id=actor.id,
        actor_label=actor.email,
        request_id=uuid4(),
        state=state,
        started_at=datetime.now(UTC),
        finished_at=datetime.now(UTC) if state is State.FINISHED else None,
        total=1 if state is State.DRAFT else 3,
        done=0 if state is State.DRAFT else 2,
        failed=0 if state is State.DRAFT else 1,
    )


def _delivery(state: State) -> Delivery:
    """Which waits, or is parked."""
    is_parked = state is State.FINISHED
    return Delivery(
        event=RecordedEvent(name="CredentialChanged", payload={}, request_id=uuid4()),
        task="send_notice",
        arguments={},
        dead_at=datetime.now(UTC) if is_parked else None,
        last_error="It never works." if is_parked else None,
    )


def _export(actor: User, state: State) -> Export:
    """Which has ended, or is being written."""
    has_ended = state is State.FINISHED
    return Export(
        kind="product",
        format=Format.CSV,
        query="",
        columns=["name"],
        selection="All products",
        actor_id=actor.id,
        actor_label=actor.email,
        request_id=uuid4(),
        state=ExportState.FINISHED if has_ended else ExportState.RUNNING,
        file=f"exports/{uuid4()}",
        size_bytes=6 if has_ended else None,
        started_at=datetime.now(UTC),
        finished_at=datetime.now(UTC) if has_ended else None,
    )


def _import(actor: User) -> Import:
    """Which would create a product."""
    return Import(
        kind="product",
        name="products.csv",
        file=f"imports/{uuid4()}",
        size_bytes=len(FILE_OF_PRODUCTS),
        format="csv",
        encoding="utf-8",
        delimiter=",",
        columns=["name", "price"],
        matching={"0": "name", "1": "price"},
        actor_id=actor.id,
        actor_label=actor.email,
        request_id=uuid4(),
        state=ImportState.CHECKED,
        attempt=1,
        rows=1,
        to_create=1,
        checked_at=datetime.now(UTC),
    )


def _new_row(import_: Import) -> ImportRow:
    changes = {"name": [None, "Clock"], "price": [None, "1.00"], "owner_id": [None, str(import_.actor_id)]}
    return ImportRow(
        import_id=import_.id,
        line=2,
        verdict=Verdict.CREATE,
        row_id=uuid4(),
        version=0,
        label="Clock",
        changes=changes,
    )


def names_of(world: World, route: str) -> dict[str, object]:
    """What stands in the places of a route."""
    file = FILE if "{picture}" in route else "admin.css"
    return {
        "own": world.own,
        "foreign": world.foreign,
        "picture": world.foreign,
        "file": file,
        "token": world.token,
        "tile": "products",
    }


@pytest.fixture
def make_world(website: Website, database: Database, cast: Cast, password_hash: str) -> WorldMaker:
    return WorldMaker(website, database, cast, password_hash)


def body_of(line: Line, role: str, world: World) -> dict[str, str | list[str]]:
    """What an honest form would post."""
    if line.route == "/admin/login":
        return {"email": world.email, "password": PASSWORD if role != "nobody" else "wrong", "next": ""}
    if line.route == "/admin/confirm":
        return {"password": PASSWORD, "next": ""}
    if line.route == "/admin/password":
        chosen = "another long password"
        return {"current": PASSWORD, "new": chosen, "repeated": chosen, "next": ""}
    if line.route == "/admin/forgot":
        return {"email": world.foreign_email}
    if line.route == "/admin/reset/{token}":
        return {"new": "another long password", "repeated": "another long password"}
    if line.route.startswith("/admin/account/"):
        made = {"name": "script", "scope": "read", "days": "7", "key": str(uuid4())}
        return made | {"which": "others", "id": str(world.access_token)}
    if line.route.endswith("/export"):
        return {"format": "csv", "every": "yes", "key": str(uuid4())}
    if line.route == "/admin/notifications/seen":
        return {"until": datetime.now(UTC).isoformat()}
    if line.route == "/admin/delivery/purge":
        return {"shown": "999"}
    if line.route.startswith("/admin/import/"):
        return {"column-0": "name", "column-1": "price", "key": "", "encoding": "utf-8", "delimiter": "comma"}
    selected = [str(world.own), str(world.foreign)]
    shared = {"key": str(uuid4()), "version": "1", "ids": selected, "action": "deactivate"}
    shared |= {"size": "50", "id": str(uuid4())}
    if "/revert/" in line.route:
        return {"past": "1", "version": "2", "fields": "name"}
    if "/product/" in line.route:
        owner = world.email if role == "superuser" else ""
        return {
            "name": "Changed",
            "description": "",
            "price": "2",
            "is_active": "true",
            "owner": owner,
        } | shared
    email = world.email if "{own}" in line.route else world.foreign_email
    if line.route.endswith("/create"):
        email = f"new-{email}"
    account = {"email": email, "name": "Changed", "role": role, "password": "", "is_active": "true"}
    account["must_change_password"] = "false"
    return account | shared


async def with_code(client: httpx.AsyncClient, route: str, role: str, world: World) -> dict[str, str]:
    """What the page before gives, and the code an app would show."""
    if route == "/admin/login/code":
        password = PASSWORD if role != "nobody" else "wrong"
        page = await client.post("/admin/login", data={"email": world.email, "password": password})
        secret = SECRET
    else:
        page = await client.get(route)
        secret = "".join(re.findall("secret=([A-Z2-7]{32})", page.text)[:1]) or SECRET
    given = re.findall('name="(ticket|sealed)" value="([^"]*)"', page.text)
    return {"next": "", "sealed": "", "code": pyotp.TOTP(secret).now(), **dict(given)}


@pytest.mark.parametrize("role", ROLES)
async def test_every_line_of_the_table_is_true(role: str, make_world: WorldMaker, database: Database) -> None:
    answers, changed_though_refused, unchanged_though_made = {}, [], []
    for line in LINES:
        kind, verb = [*line.route.split("/"), "", ""][2:4]
        kind = kind if kind in KINDS else "product"
        state = STATES.get(verb, State.FINISHED)
        has_past = kind == "product" and verb == "revert"
        world = await make_world(
            role,
            kind,
            in_bin=verb == "restore",
            has_past=has_past,
            has_second_factor=HAS_SECOND_FACTOR.search(line.route) is not None,
            state=state,
        )
        path = line.route.format(**names_of(world, line.route))
        asked = "who" if kind == "activity" else "owner"
        path += f"?name={asked}&term=demo" if path.endswith(("/lookup", "/suggest")) else ""
        path += "?version=1" if verb == "compare" else ""
        path += f"?id={world.access_token}" if path.endswith("/tokens/revoke") else ""
        before = await traces(database)
        async with world.browser as client:
            data = body_of(line, role, world) if line.method == "POST" else None
            if data and verb == "confirm" and (page := await client.get(path.replace(verb, "details"))):
                data = {**data, "shown": "".join(re.findall('name="shown" value="([^"]*)"', page.text))}
            if data and line.route in {"/admin/login/code", "/admin/account/second-factor"}:
                data |= await with_code(client, line.route, role, world)
            files = None
            if data and verb == "images":
                data, files = None, {"file": ("a.png", png())}
            if data and verb == "import":
                data, files = None, {"file": ("a.csv", FILE_OF_PRODUCTS)}
            response = await client.request(line.method, path, data=data, files=files)
        answers[line] = response.status_code
        is_changed = await traces(database) != before
        is_change = line.method == "POST" and not line.route.endswith(LEAVE_NO_TRACE)
        is_change = is_change and (role, line.route) != ("nobody", "/admin/logout")  # who never came in
        is_in_place = "/inline/" in line.route or line.route.endswith("/export")
        made = MADE_IN_PLACE if is_in_place else ADDED if ADDS.search(line.route) else MADE
        if is_changed and not (is_change and response.status_code in made):
            changed_though_refused.append(line)
        if not is_changed and is_change and response.status_code in made:
            unchanged_though_made.append(line)
    assert answers == {line: line.statuses[role] for line in LINES}
    assert changed_though_refused == []
    assert unchanged_though_made == []


@pytest.mark.parametrize("role", ["nobody", "superuser"])
async def test_every_other_method_answers_405(role: str, make_world: WorldMaker, database: Database) -> None:
    allowed: dict[str, set[str]] = {}
    for line in LINES:
        allowed.setdefault(line.route, set()).add(line.method)
    world = await make_world(role, "product")
    before = await traces(database)
    wrong = []
    async with world.browser as client:
        for route, methods in allowed.items():
            path = route.format(**names_of(world, route))
            for method in set(METHODS) - methods:
                response = await client.request(method, path)
                given = set(re.split(", *", response.headers.get("allow", "")))
                if response.status_code != 405 or given != methods:
                    wrong.append((method, route, response.status_code, given))
    assert wrong == []
    assert await traces(database) == before
