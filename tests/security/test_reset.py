"""Forgotten passwords: one-time links by superusers and by e-mail, from asking to the new password."""

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.app import Website
from admin_app.audit import HIDDEN, AuditEntry
from admin_app.database import Database
from admin_app.domains.users.models import User
from admin_app.domains.users.reset_service import ResetService
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.second_factor_service import SecondFactorService
from admin_app.domains.users.service import UserService
from admin_app.errors import Conflict, Forbidden, NotFound, ProofRequired
from admin_app.mail import MAIL, Mailer
from admin_app.outbox import Delivery, RecordedEvent
from admin_app.security import second_factor
from admin_app.security.passwords import UNUSABLE, verify_password
from admin_app.security.resets import PasswordReset
from admin_app.security.second_factor import SecondFactor
from admin_app.security.sessions import AuthSession, hash_token
from admin_app.security.tokens import AccessToken, Scope
from tests.admin.pages import errors_of, form_of, notices, parse
from tests.admin.rows import every, history, load, traces
from tests.conftest import PASSWORD, Cast, SignIn, browser
from tests.deliveries import work
from tests.smtp import SENDER, Inbox, smtp_server

SITE = "https://admin.example.com"
LOGIN, FORGOT = "/admin/login", "/admin/forgot"
NEW = "seven otters share one boat"
CHOICE = {"new": NEW, "repeated": NEW}
LINK = re.compile(r"/admin/reset/([\w-]{43})\b")
DEAD = "This link does not work any more: it was used, replaced by a newer one, or too old."


@pytest.fixture
async def inbox(database: Database) -> Any:
    """Where the mails of this installation arrive."""
    async with smtp_server() as inbox:
        use(database, inbox)
        yield inbox


def use(database: Database, inbox: Inbox) -> None:
    database.info[MAIL] = Mailer(inbox.url, SENDER, SITE)


async def made(database: Database, cast: Cast, person: str = "bob") -> str:
    """A live link's path."""
    async with database.transaction() as session:
        _, token = await ResetService(session, cast.root).make_link(getattr(cast, person).id)
    return f"/admin/reset/{token}"


def links(texts: Sequence[str]) -> list[str]:
    return [f"/admin/reset/{token}" for text in texts for token in LINK.findall(text)]


async def change(database: Database, person: Any, **values: Any) -> None:
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == person.id).values(**values))


async def assert_dead(client: httpx.AsyncClient, path: str) -> None:
    for response in (await client.get(path), await client.post(path, data=CHOICE)):
        assert response.status_code == 404
        page = parse(response)
        assert notices(page) == [DEAD]
        assert page.one("title").text == "Ask for a new link · Admin"
        assert form_of(page).attributes["action"] == FORGOT


async def test_a_superuser_makes_a_link_and_its_holder_chooses_a_password(
    sign_in: SignIn, client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    root, bob = await sign_in("root"), await sign_in("bob")
    details = parse(await root.get(f"/admin/user/details/{cast.bob.id}"))
    [button] = [form for form in details.all("form") if "/reset-link/" in form.attributes.get("action", "")]
    response = await root.post(button.attributes["action"])
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    shown = parse(response).one("input", id="link").attributes["value"]
    assert shown.startswith("http://127.0.0.1:8000/admin/reset/")
    path = httpx.URL(shown).path
    [row] = await every(database, PasswordReset)
    assert row.token_hash == hash_token(path.rpartition("/")[2])
    assert timedelta(hours=23) < row.expires_at - datetime.now(UTC) <= timedelta(hours=24)
    async with database.transaction() as session:
        session.add(
            AccessToken(
                user_id=cast.bob.id,
                name="script",
                token_hash=b"x",
                scope=Scope.READ,
                expires_at=datetime.now(UTC) + timedelta(days=1),
            )
        )
        await session.execute(update(User).where(User.id == cast.bob.id).values(must_change_password=True))
    for _ in range(3):  # programs that look through mails open every link
        page = parse(await client.get(path))
        await client.head(path)
    assert "bob@demo.example" in page.text
    assert "every session and every access token" in page.text
    response = await client.post(path, data=CHOICE)
    assert (response.status_code, response.headers["location"]) == (303, LOGIN)
    assert notices(parse(await client.get(LOGIN))) == [
        "Your new password is set, and you were signed out everywhere. Sign in with it."
    ]
    saved = await load(database, User, cast.bob.id)
    assert saved is not None
    assert await verify_password(NEW, saved.password_hash)
    assert saved.must_change_password is False
    assert await every(database, AuthSession, user_id=cast.bob.id) == []
    assert await every(database, AccessToken) == []
    assert (await bob.get("/admin/")).status_code == 302
    assert (await root.get("/admin/")).status_code == 200
    typed = {"email": "bob@demo.example", "password": NEW, "next": ""}
    assert (await client.post(LOGIN, data=typed)).status_code == 303
    told = [(entry.action, entry.actor_id) for entry in await history(database, cast.bob.id)]
    assert told[1:] == [
        ("link made", cast.root.id),
        ("updated", cast.bob.id),
        ("link used", cast.bob.id),
        ("signed in", cast.bob.id),
    ]
    changes = next(entry for entry in await every(database, AuditEntry) if entry.action == "updated").changes
    assert changes == {"password_hash": [HIDDEN, HIDDEN], "must_change_password": [True, False]}
    await assert_dead(client, path)


async def test_a_second_factor_is_asked_for_after_a_reset(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    async with database.transaction() as session:
        session.add(SecondFactor(user_id=cast.bob.id, secret=b"sealed", last_step=0))
    assert (await client.post(await made(database, cast), data=CHOICE)).status_code == 303
    response = await client.post(LOGIN, data={"email": "bob@demo.example", "password": NEW, "next": ""})
    assert form_of(parse(response)).attributes["action"] == "/admin/login/code"
    assert await every(database, AuthSession) == []
    assert len(await every(database, SecondFactor)) == 1


async def test_the_history_tells_of_links_in_words(sign_in: SignIn, cast: Cast, database: Database) -> None:
    path = await made(database, cast)
    bob, root = await sign_in("nobody"), await sign_in("root")
    await bob.post(path, data=CHOICE)
    page = parse(await root.get(f"/admin/user/history/{cast.bob.id}")).text
    assert "Link for a new password made" in page
    assert "Link for a new password used" in page
    assert path.rpartition("/")[2] not in page


async def test_only_superusers_who_have_shown_who_they_are_make_links_for_open_accounts(
    cast: Cast, database: Database
) -> None:
    before = await traces(database)
    for actor, error in [
        (cast.alice, Forbidden),
        (cast.sam, Forbidden),
        (replace(cast.root, needs_proof=True), ProofRequired),
    ]:
        with pytest.raises(error):
            async with database.transaction() as session:
                await ResetService(session, actor).make_link(cast.bob.id)
    with pytest.raises(NotFound):
        async with database.transaction() as session:
            await ResetService(session, cast.root).make_link(cast.root.request_id)
    await change(database, cast.bob, is_active=False)
    with pytest.raises(Conflict, match="not active"):
        async with database.transaction() as session:
            await ResetService(session, cast.root).make_link(cast.bob.id)
    assert await traces(database) == before
    assert await every(database, PasswordReset) == []


async def test_a_proof_is_asked_for_before_a_link_is_made(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    async with database.transaction() as session:
        await session.execute(update(AuthSession).values(proved_at=func.now() - timedelta(hours=1)))
    response = await root.post(f"/admin/user/reset-link/{cast.bob.id}")
    assert response.status_code == 403
    assert parse(response).one("input", name="next").attributes["value"] == (
        f"/admin/user/details/{cast.bob.id}"
    )
    assert await every(database, PasswordReset) == []


@pytest.mark.parametrize(
    "end",
    ["used", "replaced", "expired", "closed", "deleted", "other e-mail", "password set", "altered", "short"],
)
async def test_a_link_that_does_not_work_leads_on(
    end: str, client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    path = await made(database, cast)
    async with database.transaction() as session:
        users = UserService(session, cast.root)
        match end:
            case "closed":
                await users.update(cast.bob.id, UserUpdate(is_active=False))
            case "deleted":
                await users.delete(cast.bob.id)
            case "other e-mail":
                await users.update(cast.bob.id, UserUpdate(email="robert@demo.example"))
            case "password set":
                await users.update(cast.bob.id, UserUpdate(password="six elks upon a pond"))
            case "expired":
                await session.execute(update(PasswordReset).values(expires_at=func.now()))
    match end:
        case "used":
            assert (await client.post(path, data=CHOICE)).status_code == 303
        case "replaced":
            await made(database, cast)
        case "altered":
            path = path[:-1] + ("A" if path[-1] != "A" else "B")
        case "short":
            path = path[:-1]
    before = await load(database, User, cast.bob.id)
    await assert_dead(client, path)
    after = await load(database, User, cast.bob.id)
    assert (after and after.password_hash) == (before and before.password_hash)


@pytest.mark.parametrize("token", ["x", "%00", "%ED%A0%80", "é" * 43, "A" * 5000, "{{7*7}}"])
async def test_whatever_stands_in_its_place_is_a_dead_link(token: str, client: httpx.AsyncClient) -> None:
    response = await client.get(f"/admin/reset/{token}")
    assert response.status_code in {404, 307}
    assert "49" not in parse(response).text


async def test_what_is_wrong_with_a_password_is_told_and_the_link_goes_on_working(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    path = await made(database, cast)
    before = await traces(database)
    for typed, field, reason in [
        ({"new": "short", "repeated": "short"}, "new", "Enter at least 12 characters."),
        ({"new": "x" * 257, "repeated": "x" * 257}, "new", "Use at most 256 characters."),
        (
            {"new": "bob-bob-bob-bob", "repeated": "bob-bob-bob-bob"},
            "new",
            "This password is too easy to guess",
        ),
        (
            {"new": NEW, "repeated": NEW.upper()},
            "repeated",
            "This is not the same as the new password above.",
        ),
    ]:
        response = await client.post(path, data=typed)
        assert response.status_code == 422
        form = form_of(parse(response))
        assert errors_of(form)[field].startswith(reason)
        assert typed["new"] not in response.text
    assert (await client.post(path, data={"new": NEW})).status_code == 400
    assert await traces(database) == before
    assert (await client.post(path, data=CHOICE)).status_code == 303


async def test_of_two_at_once_one_uses_the_link(website: Website, cast: Cast, database: Database) -> None:
    path = await made(database, cast)
    async with browser(website) as one, browser(website) as other:
        chosen = [NEW, "eight lynxes share no boat"]
        answers = await asyncio.gather(
            *(
                client.post(path, data={"new": text, "repeated": text})
                for client, text in zip((one, other), chosen, strict=True)
            )
        )
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [303, 404]
    saved = await load(database, User, cast.bob.id)
    assert saved is not None
    assert await verify_password(chosen[statuses.index(303)], saved.password_hash)


async def test_whoever_forgot_gets_a_mail_whose_link_works_for_an_hour(
    client: httpx.AsyncClient, cast: Cast, database: Database, inbox: Inbox
) -> None:
    assert parse(await client.get(LOGIN)).one("a", href=FORGOT).text == "Forgot your password?"
    response = await client.post(FORGOT, data={"email": " BOB@demo.example "})
    assert (response.status_code, response.headers["location"]) == (303, LOGIN)
    [event] = await every(database, RecordedEvent, name="PasswordResetRequested")
    assert event.payload == {"email": "BOB@demo.example", "address": "127.0.0.1"}
    await work(database)
    [message] = inbox.messages
    assert (message["To"], message["Subject"]) == ("bob@demo.example", "Choose a new password")
    [path] = links(inbox.texts())
    assert f"{SITE}{path}" in inbox.texts()[0]
    [row] = await every(database, PasswordReset)
    assert timedelta(minutes=59) < row.expires_at - datetime.now(UTC) <= timedelta(hours=1)
    entry = (await history(database, cast.bob.id))[-1]
    assert (entry.action, entry.actor_label, entry.address) == ("link sent", "system", "127.0.0.1")
    assert (await client.post(path, data=CHOICE)).status_code == 303
    await work(database)
    notice = inbox.messages[-1]
    assert (notice["To"], notice["Subject"]) == ("bob@demo.example", "Your password was changed")
    assert NEW not in inbox.texts()[-1]


async def test_a_notice_is_sent_when_somebody_changes_a_password(
    sign_in: SignIn, cast: Cast, database: Database, inbox: Inbox
) -> None:
    alice = await sign_in("alice")
    await alice.post("/admin/password", data=CHOICE | {"current": PASSWORD, "next": ""})
    async with database.transaction() as session:
        await UserService(session, cast.root).update(cast.bob.id, UserUpdate(password=NEW, name="Robert"))
        await UserService(session, cast.root).update(cast.sam.id, UserUpdate(name="Samuel"))
    await work(database)
    assert sorted(message["To"] for message in inbox.messages) == ["alice@demo.example", "bob@demo.example"]
    assert all("was changed" in message["Subject"] for message in inbox.messages)


async def test_a_notice_is_sent_when_an_e_mail_address_or_second_factor_changes(
    cast: Cast, database: Database, inbox: Inbox
) -> None:
    """To the address from before: whoever took the account over does not read it."""
    async with database.transaction() as session:
        data = UserUpdate(email="robert@demo.example")
        await UserService(session, cast.root).update(cast.bob.id, data)
        await second_factor.add(session, cast.alice.id, second_factor.new_secret(), 0)
    async with database.transaction() as session:
        await SecondFactorService(session, cast.alice).renew_recovery_codes()
    async with database.transaction() as session:
        await SecondFactorService(session, cast.root).remove_of(cast.alice.id)
    await work(database)
    assert [(message["To"], message["Subject"]) for message in inbox.messages] == [
        ("bob@demo.example", "Your e-mail address was changed"),
        ("alice@demo.example", "Your second factor was changed"),
        ("alice@demo.example", "Your second factor was changed"),
    ]


async def test_known_and_unknown_people_get_the_same_answer_and_cost_the_same(
    website: Website, cast: Cast, database: Database, inbox: Inbox, statements: list[str]
) -> None:
    """The same statements: nothing is looked up before the answer is sent."""
    await change(database, cast.sam, is_active=False)
    await change(database, cast.alice, password_hash=UNUSABLE)
    answers, before = set(), len(await every(database, RecordedEvent))
    for email in ("bob@demo.example", "sam@demo.example", "alice@demo.example", "eve@evil.example", "x@y"):
        async with browser(website) as client:
            response = await client.post(FORGOT, data={"email": email})
            page = await client.get(LOGIN)
        answers.add((response.status_code, response.headers["location"], page.text))
    assert len(answers) == 1
    assert len(await every(database, RecordedEvent)) == before + 5
    await work(database)
    assert [message["To"] for message in inbox.messages] == ["bob@demo.example"]
    assert len(await every(database, PasswordReset)) == 1


async def test_the_page_says_where_the_link_will_be(
    client: httpx.AsyncClient, website: Website, cast: Cast, inbox: Inbox
) -> None:
    assert (
        "No mail server is set up. Whoever runs this site finds the link in its log"
        in parse(await client.get(FORGOT)).text
    )
    await client.post(FORGOT, data={"email": "bob@demo.example"})
    assert "a link is in the log of this site" in notices(parse(await client.get(LOGIN)))[0]
    use(website.state.database, inbox)
    assert "You get a mail with a link" in parse(await client.get(FORGOT)).text
    await client.post(FORGOT, data={"email": "bob@demo.example"})
    assert "a mail with a link is on its way" in notices(parse(await client.get(LOGIN)))[0]


async def test_asking_looks_nobody_up(cast: Cast, database: Database, statements: list[str]) -> None:
    statements.clear()
    async with database.transaction() as session:
        ResetService(session, cast.bob).request_link("bob@demo.example")
    assert statements
    assert not [statement for statement in statements if "users" in statement]


@pytest.mark.parametrize("email", ["", "bob", "b\0b@demo.example", "a@" + "x" * 260, "@", "x" * 60_000])
async def test_what_is_no_address_is_refused(
    email: str, client: httpx.AsyncClient, database: Database
) -> None:
    response = await client.post(FORGOT, data={"email": email})
    assert response.status_code == 422
    page = parse(response)
    assert notices(page) == ["Enter an e-mail address."]
    kept = email[:254] if "\0" not in email else ""
    assert page.one("input", id="email").attributes["value"] == kept
    assert await every(database, RecordedEvent) == []


async def test_nobody_is_flooded_with_mails(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    before = len(await every(database, RecordedEvent))
    statuses = [(await client.post(FORGOT, data={"email": "bob@demo.example"})).status_code for _ in range(5)]
    assert statuses == [303, 303, 303, 429, 429]
    refused = await client.post(FORGOT, data={"email": "bob@demo.example"})
    assert int(refused.headers["retry-after"]) > 0
    assert "Too many tries" in notices(parse(refused))[0]
    assert parse(refused).one("input", id="email").attributes["value"] == "bob@demo.example"
    assert len(await every(database, RecordedEvent)) == before + 3


async def test_a_mailed_link_does_not_end_the_one_somebody_was_given(
    client: httpx.AsyncClient, cast: Cast, database: Database, inbox: Inbox
) -> None:
    given = await made(database, cast)
    await client.post(FORGOT, data={"email": "bob@demo.example"})
    await work(database)
    [mailed] = links(inbox.texts())
    for path in (given, mailed):
        assert (await client.get(path)).status_code == 200
    assert (await client.post(given, data=CHOICE)).status_code == 303
    await assert_dead(client, mailed)


async def test_a_mail_that_is_refused_for_good_is_not_sent_again(
    cast: Cast, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with smtp_server() as server:
        server.answer = "550 no such person"
        use(database, server)
        async with database.transaction() as session:
            ResetService(session, cast.bob).request_link("bob@demo.example")
        await work(database)
    [delivery] = await every(database, Delivery, task="send_password_link")
    assert (delivery.done_at is None, delivery.last_error) == (False, None)
    assert await every(database, PasswordReset) == []
    assert "was not sent" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_mail_that_cannot_be_sent_waits_and_leaves_no_link(cast: Cast, database: Database) -> None:
    async with smtp_server() as gone:
        use(database, gone)
    async with database.transaction() as session:
        ResetService(session, cast.bob).request_link("bob@demo.example")
    await work(database, until_done=False)
    [delivery] = await every(database, Delivery, task="send_password_link")
    assert (delivery.done_at, delivery.dead_at, delivery.tries) == (None, None, 0)
    assert delivery.last_error == "Unavailable: The mail server cannot be used just now."
    assert await every(database, PasswordReset) == []
    async with smtp_server() as inbox:
        use(database, inbox)
        await _again(database)
    assert len(links(inbox.texts())) == 1


async def _again(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(Delivery).values(last_error=None))
    await work(database)


class Killed(BaseException):
    """No worker hears of its own end."""


async def test_a_worker_killed_after_sending_sends_again_and_the_later_link_works(
    client: httpx.AsyncClient, cast: Cast, database: Database, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.transaction() as session:
        ResetService(session, cast.bob).request_link("bob@demo.example")

    async def kill(_session: AsyncSession, _delivery_id: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("admin_app.outbox.mark_done", kill)
        with pytest.raises(Killed):
            await work(database, until_done=False)
    await work(database)
    first, second = links(inbox.texts())
    await assert_dead(client, first)
    assert (await client.post(second, data=CHOICE)).status_code == 303


async def test_what_changes_while_a_mail_is_on_its_way_ends_its_link(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    """Or somebody could be let in by a mail to an address that is not theirs any more."""
    sent = []

    async def send(recipient: str, token: str) -> None:
        sent.append(f"/admin/reset/{token}")
        async with database.transaction() as other:
            await UserService(other, cast.root).update(cast.bob.id, UserUpdate(email="robert@demo.example"))

    async with database.transaction() as session:
        await ResetService(session, cast.root).send_link("bob@demo.example", send)
    await assert_dead(client, sent[0])


async def test_no_secret_is_written_anywhere(
    sign_in: SignIn,
    client: httpx.AsyncClient,
    cast: Cast,
    database: Database,
    inbox: Inbox,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    await client.post(FORGOT, data={"email": "bob@demo.example"})
    await work(database)
    [path] = links(inbox.texts())

    async def break_down(*_arguments: object) -> None:
        raise RuntimeError("something nobody foresaw")

    with monkeypatch.context() as patched:
        patched.setattr(ResetService, "choose_password", break_down)
        assert (await client.post(path, data=CHOICE)).status_code == 500
    assert (await client.post(path, data=CHOICE)).status_code == 303
    await work(database)
    token = path.rpartition("/")[2]
    rows = [*await every(database, RecordedEvent), *await every(database, Delivery)]
    logged = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("admin_app")
    )
    written = [logged, *(str(vars(row)) for row in [*rows, *await every(database, AuditEntry)])]
    assert "at POST /admin/reset/{token}" in logged
    for text in written:
        assert token not in text
        assert NEW not in text


async def test_pages_behind_a_link_load_nothing_from_elsewhere_and_are_not_kept(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    path = await made(database, cast)
    response = await client.get(path)
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cache-control"] == "no-store"
    assert path.rpartition("/")[2] not in response.text
    addresses = re.findall(r'(?:href|src|action)="([^"]*)"', response.text)
    assert addresses
    assert all(address.startswith("/") and not address.startswith("//") for address in addresses)
