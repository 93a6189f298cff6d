"""The account page: where one is signed in, and ending that; and a superuser who signs somebody out."""

from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text, update

from admin_app.actor import Actor
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import CHORES
from admin_app.domains.users.callers import find_session
from admin_app.domains.users.session_service import SHOWN, SessionService
from admin_app.errors import Forbidden
from admin_app.security import resets, sessions, tokens
from admin_app.security.devices import UNKNOWN, device
from admin_app.security.resets import PasswordReset
from admin_app.security.sessions import AuthSession, SessionLimits, hash_token
from admin_app.security.tokens import AccessToken, Scope
from admin_app.submissions import Submission
from tests.admin.pages import Element, link, notices, parse, rows_of
from tests.admin.rows import every, history
from tests.conftest import SESSION_COOKIE, Cast, SignIn

ACCOUNT, END = "/admin/account", "/admin/account/sessions/end"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0"
)
PIXEL = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Mobile Safari/537.36"
)
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.5 Safari/605.1.15"


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (FIREFOX, "Firefox on Linux"),
        (IPHONE, "Safari on iPhone"),
        (EDGE, "Edge on Windows"),
        (PIXEL, "Chrome on Android"),
        (MAC, "Safari on Mac"),
        ("Mozilla/5.0 (Haiku) Firefox/140.0", "Firefox"),
        ("Mozilla/5.0 (Linux) Something/1", "Linux"),
        ("Mozilla/5.0 (compatible)", UNKNOWN),
        ("curl/8.5.0 Firefox/1 Linux", UNKNOWN),
        ("<b>Firefox/1</b>", UNKNOWN),
        ("", UNKNOWN),
        (None, UNKNOWN),
    ],
    ids=str,
)
def test_a_device_is_named_by_what_its_browser_says_of_itself(user_agent: str | None, words: str) -> None:
    assert device(user_agent) == words


async def open_one(
    database: Database, actor: Actor, user_agent: str | None = FIREFOX, address: str | None = "192.0.2.7"
) -> AuthSession:
    """A session elsewhere."""
    async with database.transaction() as session:
        token = await sessions.open_session(session, actor.id, address=address, user_agent=user_agent)
    [found] = await every(database, AuthSession, token_hash=hash_token(token))
    return found


async def session_here(database: Database, client: httpx.AsyncClient) -> AuthSession:
    [found] = await every(database, AuthSession, token_hash=hash_token(client.cookies[SESSION_COOKIE]))
    return found


def sessions_in(page: Element, label: str = "Your sessions") -> list[list[str]]:
    [table] = [table for table in page.all("table") if table.attributes["aria-label"] == label]
    return [[cell.text for cell in row.all("td")] for row in rows_of(table)]


async def ids_of(database: Database, actor: Actor) -> set[object]:
    return {found.id for found in await every(database, AuthSession, user_id=actor.id)}


@pytest.mark.parametrize("name", ["alice", "sam", "root"])
async def test_the_account_page_says_who_one_is_and_where_one_is_signed_in(
    name: str, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    client, actor = await sign_in(name), getattr(cast, name)
    await open_one(database, actor, IPHONE)
    await open_one(database, cast.bob, EDGE, "198.51.100.1")
    page = parse(await client.get(ACCOUNT))
    facts = dict(zip([e.text for e in page.all("dt")], [e.text for e in page.all("dd")], strict=False))
    assert facts["Name"] == name.capitalize()
    assert facts["E-mail"] == f"{name}@demo.example"
    assert facts["Role"] == actor.role.value.capitalize()
    assert link(page, "Change password") == "/admin/password"
    whole = parse(await client.get(link(page, "History of your account") or ""))
    assert whole.one("h1").text == f"History of {name}@demo.example"
    here, there = sorted(sessions_in(page), key=lambda cells: "This one" not in cells[0])
    assert here == ["Unknown device This one", "Unknown", "just now", "Now", "Sign out"]
    assert there == ["Safari on iPhone", "192.0.2.7", "just now", "just now", "End"]
    assert "198.51.100.1" not in page.text


async def test_every_page_leads_to_the_account_page(sign_in: SignIn) -> None:
    alice = await sign_in("alice")
    page = parse(await alice.get("/admin/product/list"))
    assert link(page, "Alice, your account") == ACCOUNT
    found = parse(await alice.get("/admin/search", params={"q": "account"}))
    assert ACCOUNT in [element.attributes["href"] for element in found.all("a", class_="quick-result")]


async def test_nobody_is_shown_what_a_browser_says_of_itself_as_markup(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    odd = ['"><script>alert(1)</script>', "{{ 7 * 7 }}", "Mozilla/5.0 (" + "x" * 300, "É\u202e\x1b[31m 🦈"]
    for user_agent in odd:
        await open_one(database, cast.alice, user_agent, address="<i>::1</i>")
    response = await alice.get(ACCOUNT)
    assert "<script>alert" not in response.text
    assert "<i>" not in response.text
    page = parse(response)
    shown = [e.attributes["title"] for e in page.all("span", class_="row-link")]
    assert {agent[:255] for agent in odd} <= set(shown)
    assert {cells[0] for cells in sessions_in(page)} == {UNKNOWN, f"{UNKNOWN} This one"}


async def test_one_session_is_ended_and_no_other(sign_in: SignIn, cast: Cast, database: Database) -> None:
    here, there = await sign_in("alice"), await sign_in("alice")
    gone, kept = await session_here(database, there), await open_one(database, cast.alice)
    response = await here.post(END, data={"which": str(gone.id)})
    assert (response.status_code, response.headers["location"]) == (303, f"{ACCOUNT}#sessions")
    assert notices(parse(await here.get(ACCOUNT))) == ["That session has ended."]
    assert (await there.get("/admin/")).status_code == 302
    assert await ids_of(database, cast.alice) == {kept.id, (await session_here(database, here)).id}
    entry = (await history(database, cast.alice.id))[-1]
    assert (entry.action, entry.actor_id, entry.note) == ("signed out", cast.alice.id, UNKNOWN)
    assert (await here.post(END, data={"which": str(gone.id)})).status_code == 404


async def test_sessions_of_others_do_not_exist(sign_in: SignIn, cast: Cast, database: Database) -> None:
    theirs = await open_one(database, cast.bob)
    for name in ("alice", "root"):
        client = await sign_in(name)
        for which in (str(theirs.id), str(uuid4()), "", "x" * 60_000, "\0", "other", theirs.token_hash.hex()):
            assert (await client.post(END, data={"which": which})).status_code == 404, which
        assert (await client.post(END, data={})).status_code == 400
        assert (await client.get("/admin/")).status_code == 200
    assert await ids_of(database, cast.bob) == {theirs.id}


async def test_ending_ones_own_session_is_signing_out(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    other = await open_one(database, cast.alice)
    response = await alice.post(END, data={"which": str((await session_here(database, alice)).id)})
    assert (response.status_code, response.headers["location"]) == (303, "/admin/login")
    assert SESSION_COOKIE not in alice.cookies
    assert await ids_of(database, cast.alice) == {other.id}


async def test_all_others_or_all_sessions_are_ended_at_once(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice, bobs = await sign_in("alice"), await open_one(database, cast.bob)
    for _ in range(3):
        await open_one(database, cast.alice)
    here = (await session_here(database, alice)).id
    assert "Sign out everywhere else" in [b.text for b in parse(await alice.get(ACCOUNT)).all("button")]
    response = await alice.post(END, data={"which": "others"})
    assert response.headers["location"] == f"{ACCOUNT}#sessions"
    assert await ids_of(database, cast.alice) == {here}
    page = parse(await alice.get(ACCOUNT))
    assert notices(page) == ["Everywhere else you are signed out."]
    assert "Sign out everywhere else" not in [button.text for button in page.all("button")]
    await open_one(database, cast.alice)
    response = await alice.post(END, data={"which": "all"})
    assert (response.status_code, response.headers["location"]) == (303, "/admin/login")
    assert await ids_of(database, cast.alice) == set()
    assert await ids_of(database, cast.bob) == {bobs.id}
    assert [entry.note for entry in (await history(database, cast.alice.id))[-2:]] == [
        "everywhere else",
        "everywhere",
    ]


async def test_a_session_is_over_exactly_at_its_limits(
    cast: Cast, database: Database, settings: Settings
) -> None:
    limits = SessionLimits(
        idle=timedelta(hours=settings.session_idle_hours),
        absolute=timedelta(hours=settings.session_absolute_hours),
    )
    for column, limit in (("last_seen_at", limits.idle), ("created_at", limits.absolute)):
        for age, is_live in ((limit - timedelta(microseconds=1), True), (limit, False)):
            async with database.transaction() as session:  # in which it is always the same moment
                token = await sessions.open_session(session, cast.alice.id, address=None, user_agent=None)
                await session.flush()
                old = text(
                    f"UPDATE auth_session SET {column} = now() - CAST(:age AS interval) "
                    "WHERE token_hash = :hash"
                )
                await session.execute(old, {"age": age, "hash": hash_token(token)})
                found = await find_session(session, token, limits)
                assert (found is not None) == is_live, column
                listed = await SessionService(session, cast.alice).own()
                assert bool(listed) == is_live, column
                assert await sessions.prune(session) == (not is_live)
                await sessions.end_session(session, token)


async def test_a_long_list_of_sessions_is_cut(sign_in: SignIn, cast: Cast, database: Database) -> None:
    alice = await sign_in("alice")
    async with database.transaction() as session:
        for _ in range(SHOWN + 10):
            await sessions.open_session(session, cast.alice.id, address=None, user_agent=FIREFOX)
    assert len(sessions_in(parse(await alice.get(ACCOUNT)))) == SHOWN
    await alice.post(END, data={"which": "others"})
    assert len(await ids_of(database, cast.alice)) == 1


async def test_a_superuser_sees_where_somebody_is_signed_in_and_ends_it(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root, bob, alices = await sign_in("root"), await sign_in("bob"), await open_one(database, cast.alice)
    await open_one(database, cast.bob, EDGE)
    details, out = f"/admin/user/details/{cast.bob.id}", f"/admin/user/sign-out/{cast.bob.id}"
    page = parse(await root.get(details))
    shown = sessions_in(page, "Sessions of bob@demo.example")
    assert sorted(cells[0] for cells in shown) == ["Edge on Windows", UNKNOWN]
    assert all(cells[-1] == "" for cells in shown)
    response = await root.post(out)
    assert (response.status_code, response.headers["location"]) == (303, details)
    page = parse(await root.get(details))
    assert notices(page) == ["bob@demo.example is signed out everywhere."]
    assert page.all("table") == []
    assert (await bob.get("/admin/")).status_code == 302
    assert await ids_of(database, cast.alice) == {alices.id}
    entry = (await history(database, cast.bob.id))[-1]
    assert (entry.action, entry.actor_id, entry.note) == ("signed out", cast.root.id, "everywhere")
    activity = parse(await root.get("/admin/activity/list?action=signed+out"))
    assert "Signed out: user “bob@demo.example”" in activity.text


async def test_nobody_else_signs_people_out(sign_in: SignIn, cast: Cast, database: Database) -> None:
    theirs = await open_one(database, cast.bob)
    for name in ("alice", "sam"):
        client = await sign_in(name)
        assert (await client.post(f"/admin/user/sign-out/{cast.bob.id}")).status_code == 403
        assert "Sign out everywhere" not in (await client.get(f"/admin/user/details/{cast.bob.id}")).text
        async with database.reading() as session:
            for ask in (SessionService.access_of, SessionService.sign_out):
                options = {"with_tokens": True} if ask is SessionService.sign_out else {}
                with pytest.raises(Forbidden):
                    await ask(SessionService(session, getattr(cast, name)), cast.bob.id, **options)
    root = await sign_in("root")
    for pk in (uuid4(), "x", str(cast.bob.id).upper()):
        assert (await root.post(f"/admin/user/sign-out/{pk}")).status_code == 404
    assert await ids_of(database, cast.bob) == {theirs.id}


async def test_what_opens_nothing_any_more_is_forgotten_in_portions(
    cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sessions, tokens, resets):
        monkeypatch.setattr(module, "PRUNED_AT_ONCE", 2)
    kept = await open_one(database, cast.alice)
    async with database.transaction() as session:
        for actor in (cast.alice, cast.bob, cast.sam):
            await sessions.open_session(session, actor.id, address=None, user_agent="old")
            past, soon = text("now() - interval '1 second'"), text("now() + interval '1 minute'")
            at = soon if actor is cast.sam else past
            session.add(
                PasswordReset(user_id=actor.id, is_mailed=True, token_hash=uuid4().bytes, expires_at=at)
            )
            for days in (29, 31):
                ago = text(f"now() - interval '{days} days'")
                rest = {"name": str(days), "token_hash": uuid4().bytes, "scope": Scope.READ}
                session.add(AccessToken(user_id=actor.id, expires_at=ago, **rest))
                session.add(Submission(actor_id=actor.id, key=uuid4(), row_id=uuid4(), created_at=ago))
        await session.flush()
        old = update(AuthSession).where(AuthSession.user_agent == "old")
        await session.execute(old.values(last_seen_at=text("now() - interval '13 hours'")))
    done = {}
    for chore in CHORES.values():
        async with database.transaction() as session:
            done[chore] = [await chore(session) for _ in range(3)]
    assert done[sessions.prune] == done[tokens.prune] == [2, 1, 0]
    assert done[resets.prune] == [2, 0, 0]
    assert [found.id for found in await every(database, AuthSession)] == [kept.id]
    assert [found.user_id for found in await every(database, PasswordReset)] == [cast.sam.id]
    assert {token.name for token in await every(database, AccessToken)} == {"29"}
    assert len(await every(database, Submission)) == 3
