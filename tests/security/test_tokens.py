"""Personal access tokens: made, shown once, listed, revoked, and what else ends them."""

import asyncio
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from admin_app.actor import Actor, Role
from admin_app.bulk.actions import NoParameters
from admin_app.bulk.changes import Change
from admin_app.database import Database
from admin_app.domains.users.bulk import Activate, Deactivate, RequireNewPassword
from admin_app.domains.users.callers import find_token
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.domains.users.token_service import MAX_TOKENS, AccessTokenService, Lifetime, TokenCreate
from admin_app.errors import Conflict, NotFound, ProofRequired
from admin_app.security.passwords import hashing_slot
from admin_app.security.tokens import AccessToken, Scope
from tests.admin.pages import errors_of, form_of, notices, open_form, parse, rows_of
from tests.admin.rows import every, history, load, traces
from tests.conftest import PASSWORD, Cast, SignIn

ACCOUNT, TOKENS, REVOKE = "/admin/account", "/admin/account/tokens", "/admin/account/tokens/revoke"
FORM = TokenCreate(name="deploy", scope=Scope.READ, days=Lifetime.MONTH)


async def make(database: Database, actor: Actor, data: TokenCreate = FORM) -> tuple[AccessToken, str]:
    async with database.transaction() as session:
        return await AccessTokenService(session, actor).create(data)


async def tokens_of(database: Database, actor: Actor) -> list[AccessToken]:
    return await every(database, AccessToken, user_id=actor.id)


def shown_in(response: httpx.Response) -> str:
    """The token on the page that shows it."""
    text: str = parse(response).one("input", id="token").attributes["value"]
    return text


@pytest.mark.parametrize("name", ["alice", "sam", "root"])
async def test_a_token_is_shown_once_and_stored_nowhere(
    name: str, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    client, actor = await sign_in(name), getattr(cast, name)
    fields = await open_form(client, TOKENS) | {"name": " Deploy <b>bot</b> ", "scope": "write", "days": "7"}
    response = await client.post(TOKENS, data=fields)
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    shown = shown_in(response)
    assert re.fullmatch(r"adm_[A-Za-z0-9_-]{43}", shown)
    assert response.text.count(shown) == 1
    [token] = await tokens_of(database, actor)
    assert token.token_hash == hashlib.sha256(shown.encode()).digest()
    assert (token.name, token.scope) == ("Deploy <b>bot</b>", Scope.WRITE)
    assert abs(token.expires_at - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)
    assert (token.last_used_at, token.last_used_address) == (None, None)
    entry = (await history(database, actor.id))[-1]
    assert (entry.action, entry.actor_id) == ("token created", actor.id)
    assert entry.note == "“Deploy <b>bot</b>”, to write, for 7 days"
    async with database.reading() as session:
        for table in ("access_token", "audit_entry", "event", "submission"):
            assert shown[4:] not in str((await session.execute(text(f"SELECT t::text FROM {table} t"))).all())
    page = await client.get(ACCOUNT)
    assert shown[4:] not in page.text
    assert "<b>bot" not in page.text
    [table] = parse(page).all("table", aria_label="Your access tokens")
    [cells] = [[cell.text for cell in row.all("td")] for row in rows_of(table)]
    day = token.expires_at.strftime("%-d %b %Y")
    assert cells == ["Deploy <b>bot</b>", "Active", "Read and write", "just now", day, "Never", "Revoke"]
    activity = await client.get("/admin/activity/list?action=token+created")
    assert "Access token created" in activity.text
    assert shown[4:] not in activity.text


async def test_two_tokens_have_nothing_in_common(cast: Cast, database: Database) -> None:
    shown = {(await make(database, cast.alice))[1] for _ in range(3)}
    assert len(shown) == len({text[4:12] for text in shown}) == 3


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x" * 60_000}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scope": "admin"}, "scope"),
        ({"scope": ""}, "scope"),
        ({"days": "8"}, "days"),
        ({"days": "-7"}, "days"),
        ({"days": "99999999999999999999"}, "days"),
        ({"days": "a week"}, "days"),
    ],
    ids=lambda value: str(value)[:30].replace("\0", "NUL"),
)
async def test_a_form_with_a_wrong_value_makes_no_token(
    wrong: dict[str, str], field: str, sign_in: SignIn, database: Database
) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, TOKENS) | {"name": "deploy"} | wrong
    before = await traces(database)
    response = await alice.post(TOKENS, data=fields)
    assert response.status_code == 422
    page = parse(response)
    assert notices(page) == ["Some values cannot be accepted. Correct the marked fields."]
    assert list(errors_of(form_of(page))) == [field]
    assert await every(database, AccessToken) == []
    assert await traces(database) == before


async def test_the_longest_name_is_stored_and_shown(sign_in: SignIn, database: Database) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, TOKENS) | {"name": "é" * 100}
    assert (await alice.post(TOKENS, data=fields)).status_code == 201
    assert "é" * 100 in (await alice.get(ACCOUNT)).text


async def test_an_incomplete_form_makes_no_token(sign_in: SignIn, database: Database) -> None:
    alice = await sign_in("alice")
    whole = await open_form(alice, TOKENS) | {"name": "deploy"}
    for name in ("name", "scope", "days", "key"):
        fields = {key: value for key, value in whole.items() if key != name}
        assert (await alice.post(TOKENS, data=fields)).status_code == 400, name
    assert (await alice.post(TOKENS, data=whole | {"key": "x"})).status_code == 400
    assert await every(database, AccessToken) == []


async def test_a_form_sent_twice_makes_one_token(sign_in: SignIn, database: Database) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, TOKENS) | {"name": "deploy"}
    answers = await asyncio.gather(*(alice.post(TOKENS, data=fields) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    late = next(answer for answer in answers if answer.status_code == 409)
    assert "cannot be shown again" in notices(parse(late))[0]
    assert len(await every(database, AccessToken)) == 1


async def test_nobody_has_more_than_fifty_tokens_at_a_time(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    await make(database, cast.bob)
    for number in range(MAX_TOKENS - 1):
        await make(database, cast.alice, FORM.model_copy(update={"name": str(number)}))
    outcomes = await asyncio.gather(*(make(database, cast.alice) for _ in range(3)), return_exceptions=True)
    assert sorted(isinstance(outcome, Conflict) for outcome in outcomes) == [False, True, True]
    alice = await sign_in("alice")
    fields = await open_form(alice, TOKENS) | {"name": "one more"}
    response = await alice.post(TOKENS, data=fields)
    assert response.status_code == 409
    assert notices(parse(response))[0].startswith("You have 50 access tokens")
    async with database.transaction() as session:
        await session.execute(text("UPDATE access_token SET expires_at = now() WHERE name = '7'"))
    assert (await alice.post(TOKENS, data=fields)).status_code == 201
    badges = [badge.text for badge in parse(await alice.get(ACCOUNT)).all("span", class_="badge")]
    assert sorted(badges) == [*["Active"] * MAX_TOKENS, "Expired", "This one"]


async def test_whoever_has_not_shown_who_they_are_lately_makes_none_but_revokes(
    cast: Cast, database: Database
) -> None:
    token, _ = await make(database, cast.alice)
    alice = replace(cast.alice, needs_proof=True)
    with pytest.raises(ProofRequired):
        await make(database, alice)
    async with database.transaction() as session:
        assert len(await AccessTokenService(session, alice).own()) == 1
        await AccessTokenService(session, alice).revoke(token.id)
    assert await tokens_of(database, cast.alice) == []


async def test_a_revoked_token_is_gone(sign_in: SignIn, cast: Cast, database: Database) -> None:
    alice = await sign_in("alice")
    token, shown = await make(database, cast.alice)
    kept, _ = await make(database, cast.alice)
    response = await alice.get(REVOKE, params={"id": str(token.id)})
    assert response.status_code == 200
    assert "deploy" in form_of(parse(response)).text
    assert len(await tokens_of(database, cast.alice)) == 2
    response = await alice.post(REVOKE, data={"id": str(token.id)})
    assert (response.status_code, response.headers["location"]) == (303, f"{ACCOUNT}#tokens")
    assert notices(parse(await alice.get(ACCOUNT))) == ["Access token “deploy” was revoked."]
    assert [left.id for left in await tokens_of(database, cast.alice)] == [kept.id]
    entry = (await history(database, cast.alice.id))[-1]
    assert (entry.action, entry.note) == ("token revoked", "“deploy”")
    async with database.reading() as session:
        assert await find_token(session, shown) is None
    assert (await alice.post(REVOKE, data={"id": str(token.id)})).status_code == 404


async def test_tokens_of_others_do_not_exist(sign_in: SignIn, cast: Cast, database: Database) -> None:
    token, _ = await make(database, cast.bob)
    for name in ("alice", "root"):
        client = await sign_in(name)
        assert "deploy" not in (await client.get(ACCOUNT)).text
        for given in (str(token.id), str(uuid4()), "", "x", "\0", "x" * 10_000):
            assert (await client.get(REVOKE, params={"id": given})).status_code == 404, given
            assert (await client.post(REVOKE, data={"id": given})).status_code == 404, given
        assert (await client.get(REVOKE)).status_code == 404
        assert (await client.post(REVOKE)).status_code == 400
    assert len(await tokens_of(database, cast.bob)) == 1


async def test_a_superuser_sees_how_many_tokens_somebody_has_and_revokes_them_all(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    for _ in range(2):
        await make(database, cast.bob)
    await make(database, cast.alice)
    details, out = f"/admin/user/details/{cast.bob.id}", f"/admin/user/sign-out/{cast.bob.id}"
    assert "2 access tokens" in parse(await root.get(details)).text
    assert (await root.post(out)).status_code == 303
    assert len(await tokens_of(database, cast.bob)) == 2
    assert (await root.post(out, data={"tokens": "yes"})).status_code == 303
    assert await tokens_of(database, cast.bob) == []
    assert len(await tokens_of(database, cast.alice)) == 1
    entry = (await history(database, cast.bob.id))[-1]
    assert (entry.action, entry.note) == ("signed out", "everywhere, and access tokens revoked")
    assert "deploy" not in (await root.get(details)).text


async def by_form(database: Database, cast: Cast, values: dict[str, object]) -> None:
    async with database.transaction() as session:
        await UserService(session, cast.root).update(cast.bob.id, UserUpdate.model_validate(values))


async def in_bulk(database: Database, cast: Cast, change: Change) -> None:
    user = await load(database, User, cast.bob.id)
    assert user is not None
    async with database.transaction() as session:
        reasons = await UserService(session, cast.root).change_many({cast.bob.id: user.version}, change)
    assert reasons == {cast.bob.id: None}


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({"is_active": False}, 0),
        ({"password": "another long passphrase"}, 0),
        ({"role": Role.SUPPORT}, 1),
        ({"must_change_password": True}, 1),
        ({"name": "Robert"}, 1),
    ],
    ids=lambda value: str(*value) if isinstance(value, dict) else "",
)
async def test_closing_an_account_or_setting_its_password_ends_its_tokens(
    values: dict[str, object], left: int, cast: Cast, database: Database
) -> None:
    await make(database, cast.bob)
    await make(database, cast.alice)
    await by_form(database, cast, values)
    assert len(await tokens_of(database, cast.bob)) == left
    assert len(await tokens_of(database, cast.alice)) == 1


async def test_tokens_of_a_closed_account_do_not_come_back_with_it(cast: Cast, database: Database) -> None:
    nothing = NoParameters()
    await make(database, cast.bob)
    await in_bulk(database, cast, RequireNewPassword().change(nothing))
    assert len(await tokens_of(database, cast.bob)) == 1
    await in_bulk(database, cast, Deactivate().change(nothing))
    assert await tokens_of(database, cast.bob) == []
    await in_bulk(database, cast, Activate().change(nothing))
    assert await tokens_of(database, cast.bob) == []


async def test_a_token_is_found_while_it_is_valid_and_its_owner_may_sign_in(
    cast: Cast, database: Database
) -> None:
    token, shown = await make(database, cast.bob)

    async def found() -> tuple[UUID, Role] | None:
        async with database.reading() as session:
            holder = await find_token(session, shown)
        return (holder.token_id, holder.role) if holder else None

    assert await found() == (token.id, Role.ADMINISTRATOR)
    await by_form(database, cast, {"role": Role.SUPPORT})
    assert await found() == (token.id, Role.SUPPORT)
    async with database.transaction() as session:
        await session.execute(text("UPDATE users SET is_active = false WHERE id = :id"), {"id": cast.bob.id})
    assert await found() is None
    async with database.transaction() as session:
        await session.execute(text("UPDATE users SET is_active = true WHERE id = :id"), {"id": cast.bob.id})
        await session.execute(text("UPDATE access_token SET expires_at = now()"))
    assert await found() is None


async def test_whoever_changes_their_own_password_keeps_their_tokens(cast: Cast, database: Database) -> None:
    await make(database, cast.alice)
    async with hashing_slot, database.transaction() as session:
        service = UserService(session, cast.alice)
        await service.change_own_password(PASSWORD, "violet anvils sing at noon")
    assert len(await tokens_of(database, cast.alice)) == 1


async def test_an_account_closed_meanwhile_gets_no_token(cast: Cast, database: Database) -> None:
    """Whichever comes first."""
    for _ in range(5):
        outcomes = await asyncio.gather(
            make(database, cast.bob), by_form(database, cast, {"is_active": False}), return_exceptions=True
        )
        assert outcomes[1] is None
        assert isinstance(outcomes[0], tuple | NotFound)
        assert await tokens_of(database, cast.bob) == []
        await by_form(database, cast, {"is_active": True})


async def test_a_deleted_account_takes_its_tokens_along(cast: Cast, database: Database) -> None:
    await make(database, cast.bob)
    async with database.transaction() as session:
        await UserService(session, cast.root).delete(cast.bob.id)
    assert await every(database, AccessToken) == []


async def test_nothing_is_left_of_a_token_that_was_rolled_back(cast: Cast, database: Database) -> None:
    before = await traces(database)
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as session:
            await AccessTokenService(session, cast.alice).create(FORM)
            raise ZeroDivisionError
    assert await every(database, AccessToken) == []
    assert await traces(database) == before
