"""Choosing one's own password, and being made to."""

import asyncio

import httpx
import pytest
from sqlalchemy import update

from admin_app.app import Website
from admin_app.audit import HIDDEN
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.outbox import RecordedEvent
from admin_app.security.passwords import hashing_slot, verify_password
from admin_app.security.sessions import AuthSession, hash_token
from tests.admin.pages import errors_of, fields_of, form_of, link, notices, open_form, parse
from tests.admin.rows import every, history, load, traces
from tests.conftest import (
    PASSWORD,
    SESSION_COOKIE,
    Cast,
    MakeProduct,
    SignIn,
    admin_of,
    browser,
    forget_tries,
)

PAGE, LOGIN = "/admin/password", "/admin/login"
NEW = "ein neues Kennwort 🦈"
CHANGE = {"current": PASSWORD, "new": NEW, "repeated": NEW, "next": ""}
DUE = "Before you can go on, you must replace your password, because a superuser asked for it."
PEOPLE = ["alice", "sam", "root"]


async def demand(database: Database, *people: object) -> None:
    """They must choose a new password; unlike a superuser's demand, this ends no session."""
    async with database.transaction() as session:
        ids = [person.id for person in people]
        await session.execute(update(User).where(User.id.in_(ids)).values(must_change_password=True))


async def refusals(client: httpx.AsyncClient, **typed: str) -> dict[str, str]:
    """The sentence beside each field; nothing typed comes back."""
    response = await client.post(PAGE, data=CHANGE | typed)
    assert response.status_code == 422
    assert "set-cookie" not in response.headers
    page = parse(response)
    form = form_of(page)
    assert {name: value for name, value in fields_of(form).items() if name in CHANGE} == {
        "next": "/admin/",
        "current": "",
        "new": "",
        "repeated": "",
    }
    assert len(notices(page)) == 1
    return errors_of(form)


@pytest.mark.parametrize("name", PEOPLE)
async def test_everybody_changes_their_own_password(
    name: str, sign_in: SignIn, client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    person = getattr(cast, name)
    here = await sign_in(name)
    before = await load(database, User, person.id)
    page = parse(await here.get("/admin/"))
    assert link(page, "Change password") == PAGE
    page = parse(await here.get(PAGE))
    assert notices(page) == []
    form = form_of(page)
    kinds = {
        field.attributes["name"]: field.attributes["autocomplete"]
        for field in form.all("input", type="password")
    }
    assert kinds == {"current": "current-password", "new": "new-password", "repeated": "new-password"}
    assert form.one("input", autocomplete="username").attributes["value"] == person.label
    response = await here.post(PAGE, data=fields_of(form) | CHANGE)
    assert (response.status_code, response.headers["location"]) == (303, "/admin/")
    told = notices(parse(await here.get("/admin/")))
    assert told == ["Your password was changed. Everywhere else you were signed out."]
    saved = await load(database, User, person.id)
    assert saved is not None
    assert before is not None
    assert await verify_password(NEW, saved.password_hash)
    assert saved.version == before.version + 1
    entry = (await history(database, person.id))[-1]
    assert (entry.action, entry.actor_id, entry.source) == ("updated", person.id, "form")
    assert entry.changes == {"password_hash": [HIDDEN, HIDDEN]}
    event = (await every(database, RecordedEvent))[-1]
    assert (event.name, event.payload) == (
        "UserUpdated",
        {"user_ids": [str(person.id)], "fields": ["password_hash"]},
    )
    typed = {"email": person.label, "next": ""}
    assert (await client.post(LOGIN, data=typed | {"password": PASSWORD})).status_code == 401
    assert (await client.post(LOGIN, data=typed | {"password": NEW})).status_code == 303


async def test_every_other_session_ends_and_the_one_in_use_gets_a_new_token(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    here, there, bob = await sign_in("alice"), await sign_in("alice"), await sign_in("bob")
    old = here.cookies[SESSION_COOKIE]
    response = await here.post(PAGE, data=CHANGE)
    cookie = response.headers.get_list("set-cookie")[0].lower()
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    for flag in ("httponly", "path=/", "samesite=lax"):
        assert flag in cookie
    new = here.cookies[SESSION_COOKIE]
    assert new != old
    [session] = await every(database, AuthSession, user_id=cast.alice.id)
    assert session.token_hash == hash_token(new)
    assert (await here.get("/admin/")).status_code == 200
    assert (await there.get("/admin/")).status_code == 302
    assert (await bob.get("/admin/")).status_code == 200
    here.cookies.clear()
    stolen = {"Cookie": f"{SESSION_COOKIE}={old}"}
    assert (await here.get("/admin/", headers=stolen)).status_code == 302
    assert (await here.post(PAGE, data=CHANGE, headers=stolen)).status_code == 401


async def test_what_is_wrong_is_told_beside_its_field_and_changes_nothing(
    sign_in: SignIn, cast: Cast, database: Database, settings: Settings
) -> None:
    alice = await sign_in("alice")
    before = await traces(database)
    known = (await load(database, User, cast.alice.id)).password_hash
    wrong = {"current": "This is not your current password."}
    for current in ("", "wrong", PASSWORD.upper(), f"{PASSWORD} ", f"{PASSWORD}\0", "x" * 60_000, "!"):
        assert await refusals(alice, current=current) == wrong, current[:40]
        await forget_tries(settings)
    for new, reason in [
        ("", "Enter at least 12 characters."),
        ("x" * 11, "Enter at least 12 characters."),
        ("x" * 257, "Use at most 256 characters."),
        ("x" * 12 + "\0", "This password contains characters that cannot be used."),
        (PASSWORD, "This is your current password. Choose another one."),
    ]:
        assert await refusals(alice, new=new, repeated=new) == {"new": reason}
    reason = {"repeated": "This is not the same as the new password above."}
    for repeated in ("", NEW.upper(), f"{NEW} "):
        assert await refusals(alice, repeated=repeated) == reason
    assert await traces(database) == before
    assert (await load(database, User, cast.alice.id)).password_hash == known
    assert len(await every(database, AuthSession)) == 1


@pytest.mark.parametrize("missing", ["current", "new", "repeated"])
async def test_an_incomplete_form_changes_nothing(
    missing: str, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    before = await traces(database)
    response = await alice.post(PAGE, data={name: CHANGE[name] for name in CHANGE if name != missing})
    assert response.status_code == 400
    assert f"“{missing}” is missing" in parse(response).text
    assert await traces(database) == before


async def test_a_form_sent_five_times_at_once_changes_the_password_once(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    token = {"Cookie": f"{SESSION_COOKIE}={alice.cookies[SESSION_COOKIE]}"}
    alice.cookies.clear()
    responses = await asyncio.gather(*(alice.post(PAGE, data=CHANGE, headers=token) for _ in range(5)))
    statuses = sorted(response.status_code for response in responses)
    assert statuses[0] == 303
    assert set(statuses[1:]) <= {401, 422}
    assert [entry.action for entry in await history(database, cast.alice.id)] == ["created", "updated"]
    [session] = await every(database, AuthSession)
    assert session.token_hash == hash_token(alice.cookies[SESSION_COOKIE])


async def test_many_who_change_it_at_once_leave_connections_to_others(
    website: Website, sign_in: SignIn
) -> None:
    alice, bob = await sign_in("alice"), await sign_in("bob")
    wrong = CHANGE | {"current": "wrong password for sure"}
    is_free = asyncio.Event()

    async def hash_slowly() -> None:
        async with hashing_slot:
            await is_free.wait()

    busy = [asyncio.create_task(hash_slowly()) for _ in range(2)]
    waiting = [asyncio.create_task(alice.post(PAGE, data=wrong)) for _ in range(20)]
    for _ in range(500):
        if sum(task.done() for task in waiting) + hashing_slot.waiting == 20:
            break
        await asyncio.sleep(0.01)
    assert hashing_slot.waiting == 5, "the others were too many tries"
    assert website.state.database.engine.pool.checkedout() == 0
    assert (await bob.get("/admin/")).status_code == 200
    is_free.set()
    await asyncio.gather(*busy)
    assert {response.status_code for response in await asyncio.gather(*waiting)} == {422, 429}


def addresses(website: Website, method: str) -> list[str]:
    """Of every page behind the door but the one for the password."""
    open_to_all = {"statics", "login", "login_code", "logout", "password", "forgot", "reset"}
    routes = [route for route in admin_of(website).admin.router.routes if route.name not in open_to_all]
    return [
        "/admin"
        + route.path_format.format(**dict.fromkeys(route.param_convertors, "1") | {"identity": "product"})
        for route in routes
        if method in route.methods
    ]


@pytest.mark.parametrize("name", PEOPLE)
async def test_whoever_must_choose_a_new_one_sees_no_other_page(
    name: str, website: Website, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    person = await sign_in(name)
    await demand(database, getattr(cast, name))
    pages = addresses(website, "GET")
    assert {"/admin/", "/admin/product/list", "/admin/product/edit/1"} <= set(pages)
    for path in [*pages, "/admin/product/list?search=100%25+%26"]:
        for method in ("GET", "HEAD"):
            response = await person.request(method, path)
            assert response.status_code == 302, path
            location = httpx.URL(response.headers["location"])
            assert location.path == PAGE
            assert location.params.get("next", "/admin/") == path
    assert (await person.get("/admin/statics/admin.css")).status_code == 200
    page = parse(await person.get(PAGE))
    assert notices(page) == [DUE]
    assert link(page, "Cancel") is None
    assert (await person.post("/admin/logout")).status_code == 303


async def test_a_change_elsewhere_is_refused_and_not_redirected(
    website: Website, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.root)
    root = await sign_in("root")
    edit = f"/admin/product/edit/{product.id}"
    fields = await open_form(root, edit) | {"name": "Changed"}
    await demand(database, cast.root)
    before = await traces(database)
    changes = addresses(website, "POST")
    assert {"/admin/product/create", "/admin/product/delete/1", "/admin/product/inline/1"} <= set(changes)
    for path in [edit, *changes]:
        response = await root.post(path, data=fields)
        assert response.status_code == 403, path
        assert "You must choose a new password first, so nothing was changed." in parse(response).text
    assert await traces(database) == before


async def test_a_demand_that_comes_while_a_form_is_on_its_way_counts(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    path = f"/admin/product/edit/{product.id}"
    body = str(httpx.QueryParams(await open_form(alice, path) | {"name": "Changed"})).encode()
    before = await traces(database)

    async def slowly():
        yield body[:10]
        await demand(database, cast.alice)
        yield body[10:]

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await alice.post(path, content=slowly(), headers=form)
    assert response.status_code == 403
    assert await traces(database) == before


async def test_after_signing_in_one_chooses_a_password_and_then_gets_where_one_wanted_to(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    await demand(database, cast.alice)
    wanted = "/admin/product/list?search=100%25+%26+%C3%A9"
    page = await client.get((await client.get(wanted)).headers["location"])
    typed = {"email": "alice@demo.example", "password": PASSWORD}
    response = await client.post(LOGIN, data=fields_of(form_of(parse(page))) | typed)
    assert response.headers["location"] == wanted
    response = await client.get(wanted)
    assert response.status_code == 302
    fields = fields_of(form_of(parse(await client.get(response.headers["location"]))))
    assert fields["next"] == wanted
    refused = await client.post(PAGE, data=fields | CHANGE | {"next": wanted, "current": "wrong"})
    page = parse(refused)
    assert DUE in notices(page)
    response = await client.post(PAGE, data=CHANGE | {"next": fields_of(form_of(page))["next"]})
    assert (response.status_code, response.headers["location"]) == (303, wanted)
    assert (await client.get(wanted)).status_code == 200
    saved = await load(database, User, cast.alice.id)
    assert saved is not None
    assert saved.must_change_password is False
    assert (await history(database, cast.alice.id))[-1].changes == {
        "password_hash": [HIDDEN, HIDDEN],
        "must_change_password": [True, False],
    }


async def test_from_the_account_page_one_gets_back_to_it(sign_in: SignIn) -> None:
    alice = await sign_in("alice")
    account = "/admin/account"
    head = parse(await alice.get(account)).one("header", class_="page-head")
    page = parse(await alice.get(link(head, "Change password") or ""))
    assert link(page, "Your account") == link(page, "Cancel") == account
    response = await alice.post(PAGE, data=fields_of(form_of(page)) | CHANGE | {"next": account})
    assert response.headers["location"] == account


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/admin/", "/admin/\\evil", "/x"])
async def test_it_leads_to_no_other_site(target: str, sign_in: SignIn) -> None:
    alice = await sign_in("alice")
    page = parse(await alice.get(PAGE, params={"next": target}))
    assert fields_of(form_of(page))["next"] == link(page, "Cancel") == "/admin/"
    response = await alice.post(PAGE, data=CHANGE | {"next": target})
    assert (response.status_code, response.headers["location"]) == (303, "/admin/")


async def test_the_same_password_does_not_do(sign_in: SignIn, cast: Cast, database: Database) -> None:
    alice = await sign_in("alice")
    await demand(database, cast.alice)
    response = await alice.post(PAGE, data=CHANGE | {"new": PASSWORD, "repeated": PASSWORD})
    assert response.status_code == 422
    assert (await alice.get("/admin/")).status_code == 302


async def test_a_superuser_demands_it_in_the_form_and_takes_it_back(
    sign_in: SignIn, cast: Cast, website: Website, database: Database
) -> None:
    root, bob = await sign_in("root"), await sign_in("bob")
    address = f"/admin/user/edit/{cast.bob.id}"
    fields = await open_form(root, address)
    assert fields["must_change_password"] == "false"
    asked = await root.post(address, data=fields | {"must_change_password": "true"})
    assert asked.status_code == 303
    assert "Required at the next sign-in" in parse(await root.get(f"/admin/user/details/{cast.bob.id}")).text
    assert (await bob.get("/admin/")).headers["location"] == LOGIN  # a stolen session ends with it
    async with browser(website) as again:
        await again.post(LOGIN, data={"email": "bob@demo.example", "password": PASSWORD, "next": ""})
        assert (await again.get("/admin/")).headers["location"] == PAGE
        fields = await open_form(root, address)
        assert fields["must_change_password"] == "true"
        taken_back = await root.post(address, data=fields | {"must_change_password": "false"})
        assert taken_back.status_code == 303
        assert (await again.get("/admin/")).status_code == 200
    changes = [entry.changes for entry in await history(database, cast.bob.id)]
    assert {"must_change_password": [False, True]} in changes
    assert {"must_change_password": [True, False]} in changes


async def test_a_password_set_by_a_superuser_meanwhile_is_not_replaced(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    """It ended the session; a form that was open in it changes nothing."""
    bob = await sign_in("bob")
    fields = await open_form(bob, PAGE)
    async with database.transaction() as session:
        await UserService(session, cast.root).update(cast.bob.id, UserUpdate(password="set by somebody else"))
    before = await traces(database)
    assert (await bob.post(PAGE, data=fields | CHANGE)).status_code == 401
    assert await traces(database) == before
