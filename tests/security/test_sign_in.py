"""Signing in and out, and every way a session ends."""

import asyncio
import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from http.cookies import Morsel, SimpleCookie

import httpx
import pytest
from sqlalchemy import text, update

from admin_app.actor import Actor
from admin_app.app import Website, create_app
from admin_app.audit import AuditEntry
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.security import passwords
from admin_app.security.passwords import UNUSABLE
from admin_app.security.sessions import AuthSession, hash_token
from tests.admin.pages import fields_of, form_of, notices, open_form, parse
from tests.admin.rows import every, history, load, traces
from tests.conftest import PASSWORD, SESSION_COOKIE, Cast, MakeProduct, SignIn, browser

LOGIN = "/admin/login"
ALICE = {"email": "alice@demo.example", "password": PASSWORD, "next": ""}


def session_cookie(response: httpx.Response, name: str = SESSION_COOKIE) -> Morsel[str]:
    cookies = SimpleCookie()
    for header in response.headers.get_list("set-cookie"):
        cookies.load(header)
    return cookies[name]


async def test_signing_in_gives_a_cookie_whose_token_is_stored_nowhere(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    account = await load(database, User, cast.alice.id)
    long_agent = {"User-Agent": "x" * 10_000}
    response = await client.post(LOGIN, data=ALICE | {"email": " Alice@DEMO.example "}, headers=long_agent)
    assert (response.status_code, response.headers["location"]) == (303, "/admin/")
    cookie = session_cookie(response)
    assert len(cookie.value) >= 43
    flags = {name: value for name, value in cookie.items() if value}
    assert flags.pop("expires", None) is None
    assert flags == {"httponly": True, "path": "/", "samesite": "lax", "max-age": str(7 * 24 * 3600)}
    [session] = await every(database, AuthSession)
    assert session.token_hash == hashlib.sha256(cookie.value.encode()).digest()
    assert (session.user_id, session.address, session.user_agent) == (cast.alice.id, "127.0.0.1", "x" * 255)
    async with database.reading() as reading:
        for table in ("auth_session", "audit_entry", "event"):
            rows = str((await reading.execute(text(f"SELECT t::text FROM {table} t"))).all())
            assert cookie.value not in rows
            assert cookie.value.encode().hex() not in rows
            assert PASSWORD not in rows
            assert "argon2" not in rows
    page = parse(await client.get("/admin/"))
    assert page.one("h1").text == "Hello, Alice"
    signed_in = await load(database, User, cast.alice.id)
    assert signed_in is not None
    assert account is not None
    assert signed_in.last_sign_in_at is not None
    assert (signed_in.version, signed_in.updated_at) == (account.version, account.updated_at)
    entry = (await history(database, cast.alice.id))[-1]
    assert (entry.action, entry.actor_id, entry.actor_label, entry.address, entry.changes) == (
        "signed in",
        cast.alice.id,
        "alice@demo.example",
        "127.0.0.1",
        {},
    )


async def test_over_https_the_cookie_is_bound_to_the_host(
    settings: Settings, database: Database, cast: Cast
) -> None:
    website = create_app(settings.model_copy(update={"public_url": "https://admin.example.com"}))
    async with browser(website) as client:
        client.base_url = "https://admin.example.com"  # type: ignore[assignment]
        response = await client.post(LOGIN, data=ALICE)
        assert response.status_code == 303
        cookie = session_cookie(response, "__Host-session")
        flags = {name for name, value in cookie.items() if value}
        assert flags == {"httponly", "secure", "path", "samesite", "max-age"}
        assert cookie["path"] == "/"
        assert response.headers["strict-transport-security"] == "max-age=31536000"
        assert (await client.get("/admin/")).status_code == 200
        response = await client.post("/admin/logout")
        assert session_cookie(response, "__Host-session")["max-age"] == "0"
        # A cookie of the plain name, which another host of the domain could have planted, opens nothing.
        token = cookie.value
        assert (await client.get("/admin/", headers={"Cookie": f"session_443={token}"})).status_code == 302
    await website.state.database.close()


async def test_signing_in_again_ends_the_session_before(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    client.cookies.set(SESSION_COOKIE, "planted", domain="127.0.0.1")
    first = session_cookie(await client.post(LOGIN, data=ALICE)).value
    assert first != "planted"
    second = session_cookie(await client.post(LOGIN, data=ALICE)).value
    assert second != first
    assert [session.token_hash for session in await every(database, AuthSession)] == [hash_token(second)]
    stale = {"Cookie": f"{SESSION_COOKIE}={first}"}
    client.cookies.clear()
    assert (await client.get("/admin/", headers=stale)).status_code == 302


async def test_signing_out_ends_this_session_and_no_other(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    here, there = await sign_in("alice"), await sign_in("alice")
    token = here.cookies[SESSION_COOKIE]
    response = await here.post("/admin/logout")
    assert (response.status_code, response.headers["location"]) == (303, LOGIN)
    assert session_cookie(response)["max-age"] == "0"
    assert SESSION_COOKIE not in here.cookies
    assert (await here.get("/admin/", headers={"Cookie": f"{SESSION_COOKIE}={token}"})).status_code == 302
    assert (await there.get("/admin/")).status_code == 200
    assert len(await every(database, AuthSession)) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_only_a_post_signs_out(method: str, sign_in: SignIn) -> None:
    alice = await sign_in("alice")
    assert (await alice.request(method, "/admin/logout")).status_code == 405
    assert (await alice.get("/admin/")).status_code == 200


async def move(database: Database, column: str, past: timedelta) -> None:
    async with database.transaction() as session:
        await session.execute(
            text(f"UPDATE auth_session SET {column} = now() - CAST(:past AS interval)"), {"past": past}
        )


async def test_a_session_ends_after_a_while_without_a_request_and_after_a_while_in_any_case(
    sign_in: SignIn, settings: Settings, database: Database
) -> None:
    minute = timedelta(minutes=1)
    limits = {
        "last_seen_at": timedelta(hours=settings.session_idle_hours),
        "created_at": timedelta(hours=settings.session_absolute_hours),
    }
    for column, limit in limits.items():
        alice = await sign_in("alice")
        await move(database, column, limit - minute)
        assert (await alice.get("/admin/")).status_code == 200
        await move(database, column, limit + minute)
        assert (await alice.get("/admin/")).status_code == 302
        assert (await alice.post("/admin/product/bulk")).status_code == 401


async def test_being_seen_prolongs_a_session_and_is_written_once_a_minute(
    sign_in: SignIn, database: Database
) -> None:
    alice = await sign_in("alice")

    async def seen() -> datetime:
        [session] = await every(database, AuthSession)
        return session.last_seen_at

    await move(database, "last_seen_at", timedelta(seconds=30))
    before = await seen()
    await alice.get("/admin/")
    assert await seen() == before
    await move(database, "last_seen_at", timedelta(seconds=70))
    await alice.get("/admin/")
    assert datetime.now(UTC) - await seen() < timedelta(seconds=30)


async def test_a_change_of_role_state_or_password_signs_the_person_out(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    address = f"/admin/user/edit/{cast.bob.id}"
    for change, stays in [
        ({"name": "Robert"}, True),
        ({"email": "robert@demo.example"}, True),
        ({"role": "support"}, False),
        ({"password": "another long password"}, False),
        ({"is_active": "false"}, False),
    ]:
        bob = await sign_in("bob")
        if change != {"is_active": "false"}:
            assert (await bob.get("/admin/")).status_code == 200
        fields = await open_form(root, address) | change
        assert (await root.post(address, data=fields)).status_code == 303
        assert (await bob.get("/admin/")).status_code == (200 if stays else 302), change
        assert len(await every(database, AuthSession, user_id=cast.bob.id)) == (
            2 if "email" in change else stays
        )


async def test_a_closed_or_deleted_account_is_out_at_once(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice, bob = await sign_in("alice"), await sign_in("bob")
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE users SET is_active = false WHERE id = :id"), {"id": cast.alice.id}
        )
    assert (await alice.get("/admin/")).status_code == 302
    root = await sign_in("root")
    address = f"/admin/user/delete/{cast.bob.id}"
    assert (await root.post(address, data=await open_form(root, address))).status_code == 303
    assert (await bob.get("/admin/")).status_code == 302
    assert await every(database, AuthSession, user_id=cast.bob.id) == []


async def test_a_new_password_opens_the_account_and_the_old_one_does_not(
    sign_in: SignIn, client: httpx.AsyncClient, cast: Cast
) -> None:
    root = await sign_in("root")
    address = f"/admin/user/edit/{cast.alice.id}"
    fields = await open_form(root, address) | {"password": "ein neues Kennwort 🦈"}
    assert (await root.post(address, data=fields)).status_code == 303
    assert (await client.post(LOGIN, data=ALICE)).status_code == 401
    assert (await client.post(LOGIN, data=ALICE | {"password": "ein neues Kennwort 🦈"})).status_code == 303


FOREIGN_TARGETS = [
    "",
    "/",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/admin\\..\\..\\evil",
    "/admin/\\evil.example",
    "https://evil.example/admin/",
    "https:evil.example",
    "https:/admin/",
    "http:///admin/",
    "javascript:alert(1)",
    "/adminevil",
    "/admin",
    "admin/",
    " /admin/",
    "/admin/\r\nSet-Cookie: a=b",
    "/admin/\nX: y",
    "/admin/\t",
    "/admin/\0",
    "/admin/\u2028",
    "//[",
    "//evil.example\u2100/admin/",
    "//admin/",
    "@evil.example",
    "x" * 60_000,
]


async def test_signing_in_leads_to_no_other_site(client: httpx.AsyncClient, cast: Cast) -> None:
    for target in FOREIGN_TARGETS:
        response = await client.get(LOGIN, params={"next": target})
        assert response.status_code == 200, target
        assert fields_of(form_of(parse(response)))["next"] == "/admin/", target
    for target in ("//evil.example", "/\\evil.example", "/admin/\r\nSet-Cookie: a=b", "//["):
        response = await client.post(LOGIN, data=ALICE | {"next": target})
        assert (response.status_code, response.headers["location"]) == (303, "/admin/"), target
        assert "a=b" not in str(response.headers)


async def test_after_signing_in_a_person_is_where_they_wanted_to_be(
    client: httpx.AsyncClient, cast: Cast
) -> None:
    wanted = "/admin/product/list?search=100%25+%26+%C3%A9&owner=alice%40demo.example"
    response = await client.get(wanted)
    assert response.status_code == 302
    page = await client.get(response.headers["location"])
    fields = fields_of(form_of(parse(page)))
    refused = await client.post(LOGIN, data=fields | {"email": "alice@demo.example", "password": "wrong"})
    assert refused.status_code == 401
    fields = fields_of(form_of(parse(refused)))
    assert fields == {"next": wanted, "email": "alice@demo.example", "password": ""}
    response = await client.post(LOGIN, data=fields | {"password": PASSWORD})
    assert (response.status_code, response.headers["location"]) == (303, wanted)
    assert (await client.get("/admin/")).status_code == 200


async def test_the_start_page_needs_no_way_back(client: httpx.AsyncClient) -> None:
    assert (await client.get("/admin/")).headers["location"] == LOGIN
    for path in ("/", "/admin"):
        assert (await client.get(path)).headers["location"] == "/admin/"


async def test_whoever_does_not_get_in_sees_the_same_page_after_the_same_work(
    client: httpx.AsyncClient,
    cast: Cast,
    database: Database,
    password_hash: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with database.transaction() as session:
        for name, values in {
            "bob": {"is_active": False},
            "sam": {"password_hash": UNUSABLE},
        }.items():
            person = getattr(cast, name)
            await session.execute(update(User).where(User.id == person.id).values(**values))
    before = await traces(database)
    work: list[str] = []
    verify = passwords._verify

    def watched(password: str, used_hash: str) -> bool:
        work.append(used_hash.rsplit("$", 2)[0])
        return verify(password, used_hash)

    monkeypatch.setattr(passwords, "_verify", watched)
    refused = {
        "unknown": ("unknown@demo.example", PASSWORD),
        "wrong password": ("alice@demo.example", "wrong"),
        "closed": ("bob@demo.example", PASSWORD),
        "no password": ("sam@demo.example", PASSWORD),
        "no password, and its mark": ("sam@demo.example", UNUSABLE),
        "NUL in the e-mail": ("alice@demo.example\0", PASSWORD),
        "NUL in the password": ("alice@demo.example", f"{PASSWORD}\0"),
        "long e-mail": ("a" * 10_000, PASSWORD),
        "long password": ("alice@demo.example", PASSWORD * 400),
        "wildcard": ("%@demo.example", PASSWORD),
        "empty": ("", ""),
    }
    pages = {}
    for why, (email, password) in refused.items():
        work.clear()
        response = await client.post(LOGIN, data={"email": email, "password": password, "next": ""})
        assert response.status_code == 401, why
        assert len(work) == 1, why
        assert work[0] == password_hash.rsplit("$", 2)[0], why
        page = parse(response)
        assert notices(page) == ["E-mail or password is wrong."]
        form = form_of(page)
        typed = form.one("input", name="email")
        assert typed.attributes["value"] in {email, ""}
        typed.attributes["value"] = ""
        pages[why] = page
        assert "set-cookie" not in response.headers
    assert all(page == pages["unknown"] for page in pages.values())
    assert await every(database, AuthSession) == []
    assert await traces(database) == before


async def test_an_account_with_a_broken_hash_stays_closed(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    async with database.transaction() as session:
        await session.execute(update(User).values(password_hash="no hash at all"))
    assert (await client.post(LOGIN, data=ALICE)).status_code == 401


async def test_a_sign_in_form_that_is_incomplete_or_doubled_opens_nothing(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    for data in ({}, {"email": "alice@demo.example"}, {"password": PASSWORD}):
        assert (await client.post(LOGIN, data=data)).status_code == 401
    for kind in ("application/json", "text/plain"):
        response = await client.post(LOGIN, content=b"{}", headers={"Content-Type": kind})
        assert response.status_code == 401
    assert await every(database, AuthSession) == []
    assert await every(database, AuditEntry, action="signed in") == []


async def test_an_expired_session_loses_no_change_in_a_redirect(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    edit, delete = (f"/admin/product/{action}/{product.id}" for action in ("edit", "delete"))
    fields = await open_form(alice, edit) | {
        "name": "Changed",
        "ids": str(product.id),
        "action": "deactivate",
    }
    create = await open_form(alice, "/admin/product/create") | fields
    await move(database, "last_seen_at", timedelta(days=1))
    before = await traces(database)
    response = await alice.get(f"{edit}?a=b")
    assert response.status_code == 302
    assert response.headers["location"] == f"{LOGIN}?next={edit}%3Fa%3Db"
    for address in (edit, delete, "/admin/product/create", "/admin/product/bulk", "/admin/user/create"):
        response = await alice.post(address, data=create)
        assert response.status_code == 401, address
        is_form = "/edit/" in address or address.endswith("/create")
        told = "Nothing was saved yet." if is_form else "You are not signed in any more, so nothing was"
        assert told in parse(response).text, address
    assert await traces(database) == before


async def test_a_cookie_that_is_no_session_opens_nothing(
    website: Website, cast: Cast, database: Database
) -> None:
    values = [
        "",
        "x",
        "x" * 60_000,
        "é",
        "'; DROP TABLE users --",
        "\\000",
        "%00",
        '"quoted"',
        "a=b",
        "=",
        "\x01",
    ]
    async with browser(website) as client:
        for value in values:
            header = {"Cookie": f"{SESSION_COOKIE}={value}".encode()}
            assert (await client.get("/admin/product/list", headers=header)).status_code == 302, value
            assert (await client.post("/admin/product/bulk", headers=header)).status_code == 401, value
            assert (await client.post("/admin/logout", headers=header)).status_code == 303, value
        hashed = hash_token("x").hex()
        assert (
            await client.get("/admin/", headers={"Cookie": f"{SESSION_COOKIE}={hashed}"})
        ).status_code == 302


async def test_a_longer_password_than_any_can_be_is_wrong_even_if_it_begins_right(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    longest = secrets.token_urlsafe(192)
    assert len(longest) == 256
    async with database.transaction() as session:
        await UserService(session, Actor.system()).update(cast.bob.id, UserUpdate(password=longest))
    for typed, status in ((longest + "p", 401), (longest, 303)):
        fields = {"email": "bob@demo.example", "password": typed}
        assert (await client.post("/admin/login", data=fields)).status_code == status


async def test_many_signing_in_at_once_leave_connections_to_others(
    website: Website, cast: Cast, sign_in: SignIn
) -> None:
    alice = await sign_in("alice")
    async with browser(website) as stranger:
        wrong = [
            {"email": f"person{number}@demo.example", "password": "wrong password for sure"}
            for number in range(30)
        ]
        waiting = [asyncio.create_task(stranger.post("/admin/login", data=fields)) for fields in wrong]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        # Two are hashing, and those before them write down that they failed.
        assert website.state.database.engine.pool.checkedout() <= 6
        assert (await alice.get("/admin/")).status_code == 200
        assert {response.status_code for response in await asyncio.gather(*waiting)} == {401}
