"""Who has been signed in for a while shows again who they are, before what a thief would do."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import httpx
import pytest
from sqlalchemy import insert, text

from admin_app.actor import Actor, Role
from admin_app.bulk.models import BulkOperation, State
from admin_app.bulk.service import OperationService
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserCreate, UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import ProofRequired
from admin_app.security import second_factor
from admin_app.security.sessions import PROOF_SECONDS, AuthSession
from tests.admin.pages import errors_of, fields_of, form_of, link, notices, open_form, parse
from tests.admin.rows import every, load, traces
from tests.bulk.operations import Operations
from tests.conftest import PASSWORD, SESSION_COOKIE, Cast, SignIn
from tests.security.test_second_factor import NOW, Factor, give

PAGE = "/admin/confirm"
CREATE = "/admin/user/create"
SOMEBODY = {"email": "new@demo.example", "name": "New", "role": "support", "is_active": "true"}


async def age(database: Database, seconds: float = PROOF_SECONDS + 60) -> None:
    """Everybody's last proof is so long ago."""
    async with database.transaction() as session:
        statement = text("UPDATE auth_session SET proved_at = now() - CAST(:past AS interval)")
        await session.execute(statement, {"past": timedelta(seconds=seconds)})


async def prove(client: httpx.AsyncClient, page: httpx.Response, **typed: str) -> httpx.Response:
    """What the question at the end of `page` answers to the right password."""
    fields = fields_of(form_of(parse(page))) | {"password": PASSWORD} | typed
    return await client.post(PAGE, data=fields)


async def test_half_an_hour_after_signing_in_it_is_asked(
    sign_in: SignIn, database: Database, cast: Cast
) -> None:
    root = await sign_in("root")
    fields = await open_form(root, CREATE) | SOMEBODY
    await age(database, PROOF_SECONDS - 60)
    assert (await root.post(CREATE, data=fields)).status_code == 303
    await age(database)
    fields = await open_form(root, CREATE) | SOMEBODY | {"email": "other@demo.example"}
    before = await traces(database)
    asked = await root.post(CREATE, data=fields)
    assert asked.status_code == 403
    assert parse(asked).one("h1").text == "Confirm that it is you"
    assert await traces(database) == before


async def test_a_form_comes_back_as_it_was_left_but_for_the_password(
    sign_in: SignIn, database: Database, cast: Cast
) -> None:
    root = await sign_in("root")
    await age(database)
    fields = await open_form(root, CREATE) | SOMEBODY
    asked = await root.post(CREATE, data=fields | {"password": "a secret that was typed"})
    assert "a secret that was typed" not in asked.text
    proven = await prove(root, asked)
    assert proven.status_code == 200
    way_back = form_of(parse(proven))
    assert parse(proven).one("h1").text == "Confirmed"
    assert way_back.attributes["action"] == CREATE
    again = await root.post(CREATE, data=fields_of(way_back))
    assert again.status_code == 200
    found = fields_of(form_of(parse(again)))
    assert found == fields
    assert (await root.post(CREATE, data=found)).status_code == 303


async def test_the_cookie_is_another_one_and_the_session_the_same(
    sign_in: SignIn, database: Database, cast: Cast
) -> None:
    root = await sign_in("root")
    await age(database)
    [before] = await every(database, AuthSession)
    old = root.cookies[SESSION_COOKIE]
    page = await root.get(PAGE, params={"next": "/admin/user/list"})
    proven = await prove(root, page)
    assert (proven.status_code, proven.headers["location"]) == (303, "/admin/user/list")
    assert root.cookies[SESSION_COOKIE] != old
    [after] = await every(database, AuthSession)
    assert (after.id, after.created_at) == (before.id, before.created_at)
    assert after.token_hash != before.token_hash
    assert after.proved_at > before.proved_at
    root.cookies.clear()
    stolen = {"Cookie": f"{SESSION_COOKIE}={old}"}
    assert (await root.get("/admin/", headers=stolen)).status_code == 302


async def test_a_wrong_password_proves_nothing(sign_in: SignIn, database: Database, cast: Cast) -> None:
    root = await sign_in("root")
    await age(database)
    for wrong in ("", "wrong", "x" * 60_000, f"{PASSWORD}\0"):
        answer = await root.post(PAGE, data={"password": wrong, "next": ""})
        assert answer.status_code == 422
        page = parse(answer)
        assert errors_of(form_of(page)) == {"password": "This is not your current password."}
        assert fields_of(form_of(page))["password"] == ""
    [session] = await every(database, AuthSession)
    assert session.proved_at < session.created_at
    assert (await root.post(PAGE, data={"next": ""})).status_code == 400


async def test_guessing_is_slowed_down(sign_in: SignIn, database: Database, cast: Cast) -> None:
    root = await sign_in("root")
    answers = [await root.post(PAGE, data={"password": f"wrong {n}", "next": ""}) for n in range(6)]
    assert [answer.status_code for answer in answers] == [422] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert "Too many tries" in notices(parse(answers[-1]))[0]
    right = await root.post(PAGE, data={"password": PASSWORD, "next": ""})
    assert right.status_code == 429


async def test_whoever_has_a_second_factor_shows_that_too(
    sign_in: SignIn, database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_factor, "time", SimpleNamespace(time=lambda: NOW))
    factor: Factor = await give(database, cast.root)
    root = await sign_in("root")
    await age(database)
    page = await root.get(PAGE)
    for code in ("", "000000"):
        refused = await prove(root, page, code=code)
        assert refused.status_code == 422
        assert list(errors_of(form_of(parse(refused)))) == ["code"]
    assert (await prove(root, page, code=factor.code())).status_code == 303
    assert (await prove(root, page, code=factor.code())).status_code == 422  # used before


async def test_a_new_password_alone_proves_nothing_where_there_is_a_second_factor(
    sign_in: SignIn, database: Database, cast: Cast
) -> None:
    new = "a quite unlikely sentence 7"
    fields = {"current": PASSWORD, "new": new, "repeated": new, "next": ""}
    await give(database, cast.root)
    for name, status in (("root", 302), ("alice", 200)):
        client = await sign_in(name)
        await age(database)
        assert (await client.post("/admin/password", data=fields)).status_code == 303
        answer = await client.get("/admin/account/tokens")
        assert answer.status_code == status


async def test_a_page_that_needs_it_is_reached_over_the_question(
    sign_in: SignIn, database: Database, cast: Cast
) -> None:
    alice = await sign_in("alice")
    await age(database)
    setting_up = "/admin/account/second-factor"
    detour = await alice.get(setting_up)
    assert (detour.status_code, detour.headers["location"]) == (302, f"{PAGE}?next={setting_up}")
    proven = await prove(alice, await alice.get(detour.headers["location"]))
    assert proven.headers["location"] == setting_up
    assert (await alice.get(setting_up)).status_code == 200


async def test_cancel_leads_back_to_where_one_was(sign_in: SignIn, database: Database, cast: Cast) -> None:
    root = await sign_in("root")
    await age(database)
    account, tokens = "/admin/account", "/admin/account/tokens"
    details, removing = f"/admin/user/details/{cast.bob.id}", f"/admin/user/second-factor/{cast.bob.id}"
    here = "http://127.0.0.1:8000"
    for target, referer, cancel in [
        (tokens, f"{here}{account}", account),
        (tokens, f"{here}{tokens}", account),
        (tokens, "", account),
        (removing, f"{here}{details}", details),
        (removing, f"{here}{removing}", "/admin/"),
        (removing, "https://evil.example/admin/user/list", "/admin/"),
        (removing, f"{here}{PAGE}", "/admin/"),
        (removing, f"{here}//[", "/admin/"),
        ("/admin/product/list", f"{here}{details}?a=b", f"{details}?a=b"),
    ]:
        page = parse(await root.get(PAGE, params={"next": target}, headers={"Referer": referer}))
        assert link(page, "Cancel") == cancel, (target, referer)
    fields = fields_of(form_of(page)) | {"password": "wrong"}
    page = parse(await root.post(PAGE, data=fields))
    assert link(page, "Cancel") == f"{details}?a=b"
    assert "autofocus" in page.one("input", id="password").attributes
    page = parse(await root.post(PAGE, data=fields | {"back": "https://evil.example/"}))
    assert link(page, "Cancel") == "/admin/"


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/admin/", "/admin/\\evil", "/x"])
async def test_it_leads_to_no_other_site(target: str, sign_in: SignIn, cast: Cast) -> None:
    alice = await sign_in("alice")
    page = await alice.get(PAGE, params={"next": target})
    assert fields_of(form_of(parse(page)))["next"] == "/admin/"
    assert (await prove(alice, page, next=target)).headers["location"] == "/admin/"


async def test_wherever_it_says_it_comes_from_is_no_fault(
    sign_in: SignIn, database: Database, cast: Cast
) -> None:
    root = await sign_in("root")
    await age(database)
    response = await root.post(f"/admin/user/reset-link/{cast.bob.id}", headers={"Referer": "http://[bad"})
    assert response.status_code == 403


async def test_a_script_is_told_in_a_sentence(sign_in: SignIn, database: Database, cast: Cast) -> None:
    root = await sign_in("root")
    await age(database)
    changed = {"is_active": "false", "version": "1"}
    fetched = {"Sec-Fetch-Dest": "empty"}
    answer = await root.post(f"/admin/user/inline/{cast.bob.id}", data=changed, headers=fetched)
    assert answer.status_code == 403
    assert answer.json() == {"message": ProofRequired().message}
    named = {"name": "Robert", "version": "1"}
    answer = await root.post(f"/admin/user/inline/{cast.bob.id}", data=named, headers=fetched)
    assert answer.status_code == 200


async def test_asking_is_no_refusal_in_the_history(sign_in: SignIn, database: Database, cast: Cast) -> None:
    root = await sign_in("root")
    await age(database)
    fields = await open_form(root, f"/admin/user/edit/{cast.bob.id}") | {"role": "superuser"}
    assert (await root.post(f"/admin/user/edit/{cast.bob.id}", data=fields)).status_code == 403
    async with database.reading() as session:
        refused = "SELECT count(*) FROM audit_entry WHERE action = 'refused'"
        assert await session.scalar(text(refused)) == 0


class TestAccounts:
    @pytest.mark.parametrize(
        "change",
        [
            {"role": Role.SUPERUSER},
            {"password": "quite another long one"},
            {"email": "mine@demo.example"},
            {"is_active": False},
        ],
        ids=lambda change: next(iter(change)),
    )
    async def test_what_gives_power_needs_a_proof(
        self, change: dict[str, object], database: Database, cast: Cast
    ) -> None:
        stale = replace(cast.root, needs_proof=True)
        for actor, is_changed in ((stale, False), (cast.root, True)):
            try:
                async with database.transaction() as session:
                    await UserService(session, actor).update(cast.bob.id, UserUpdate(**change))
                assert is_changed
            except ProofRequired:
                assert not is_changed
            assert ((await load(database, User, cast.bob.id)).version > 1) == is_changed

    async def test_what_gives_none_needs_none(self, database: Database, cast: Cast) -> None:
        stale = replace(cast.root, needs_proof=True)
        same = {"role": Role.ADMINISTRATOR, "email": "bob@demo.example", "is_active": True}
        async with database.transaction() as session:
            data = UserUpdate(name="Robert", must_change_password=True, **same)
            await UserService(session, stale).update(cast.bob.id, data)
        assert (await load(database, User, cast.bob.id)).name == "Robert"

    async def test_deleting_an_account_needs_a_proof(
        self, sign_in: SignIn, database: Database, cast: Cast
    ) -> None:
        root, page = await sign_in("root"), f"/admin/user/delete/{cast.bob.id}"
        fields = await open_form(root, page)
        await age(database)
        asked = await root.post(page, data=fields)
        assert asked.status_code == 403
        assert "To delete an account, show once more who you are." in parse(asked).text
        assert await load(database, User, cast.bob.id) is not None
        assert (await prove(root, asked)).headers["location"] == page
        question = parse(await root.get(page))
        assert notices(question) == ["It is you. Nothing was changed yet: now do it again."]
        assert (await root.post(page, data=fields_of(form_of(question)))).status_code == 303
        assert await load(database, User, cast.bob.id) is None

    async def test_a_new_account_needs_a_proof(self, database: Database, cast: Cast) -> None:
        data = UserCreate(email="new@demo.example", name="New", role=Role.SUPPORT)
        with pytest.raises(ProofRequired):
            async with database.transaction() as session:
                await UserService(session, replace(cast.root, needs_proof=True)).create(data)
        assert len(await every(database, User)) == 4

    async def test_ones_own_password_asks_for_the_current_one_anyway(
        self, sign_in: SignIn, database: Database, cast: Cast
    ) -> None:
        alice = await sign_in("alice")
        await age(database)
        new = "a quite unlikely sentence 7"
        fields = {"current": PASSWORD, "new": new, "repeated": new, "next": ""}
        assert (await alice.post("/admin/password", data=fields)).status_code == 303


class TestBulk:
    async def _draft(self, database: Database, actor: Actor, action: str, number: int) -> BulkOperation:
        rows = [{"name": f"Thing {n}", "price": Decimal(1), "owner_id": actor.id} for n in range(number)]
        async with database.transaction() as session:
            ids = list(await session.scalars(insert(Product).returning(Product.id), rows))
            return await OperationService(session, actor).draft_of_rows("product", action, ids)

    async def _confirm(
        self, client: httpx.AsyncClient, draft: BulkOperation, **parameters: str
    ) -> httpx.Response:
        page = await client.get(f"/admin/operation/details/{draft.id}", params=parameters)
        shown = re.findall('name="shown" value="([^"]*)"', page.text)[0]
        fields = parameters | {"shown": shown, "back": "sortBy=name"}
        return await client.post(f"/admin/operation/confirm/{draft.id}", data=fields)

    @pytest.mark.parametrize(
        ("action", "parameters"), [("delete", {}), ("transfer", {"owner": "bob@demo.example"})]
    )
    async def test_more_than_a_hundred_rows_need_a_proof(
        self, action: str, parameters: dict[str, str], sign_in: SignIn, database: Database, cast: Cast
    ) -> None:
        alice = await sign_in("alice")
        await age(database)
        few = await self._draft(database, cast.alice, action, 100)
        many = await self._draft(database, cast.alice, action, 101)
        assert (await self._confirm(alice, few, **parameters)).status_code == 303
        asked = await self._confirm(alice, many, **parameters)
        assert asked.status_code == 403
        assert (await load(database, BulkOperation, many.id)).state is State.DRAFT
        proven = await prove(alice, asked)
        back = httpx.URL(proven.headers["location"])
        assert back.path == f"/admin/operation/details/{many.id}"
        assert dict(back.params) == parameters | {"back": "sortBy=name"}
        question = parse(await alice.get(str(back)))
        assert "101" in question.one("button", id="confirm").text
        assert (await self._confirm(alice, many, **parameters)).status_code == 303
        assert (await load(database, BulkOperation, many.id)).state is State.WAITING

    async def test_other_changes_of_as_many_need_none(
        self, sign_in: SignIn, database: Database, cast: Cast
    ) -> None:
        alice = await sign_in("alice")
        await age(database)
        draft = await self._draft(database, cast.alice, "activate", 101)
        page = await alice.get(f"/admin/operation/details/{draft.id}")
        assert "None of these rows would change" in page.text
        draft = await self._draft(database, cast.alice, "deactivate", 101)
        assert (await self._confirm(alice, draft)).status_code == 303

    @pytest.mark.parametrize("action", ["activate", "deactivate"])
    async def test_letting_people_in_or_keeping_them_out_needs_a_proof_for_one(
        self, action: str, sign_in: SignIn, database: Database, cast: Cast
    ) -> None:
        root = await sign_in("root")
        async with database.transaction() as session:
            data = UserUpdate(is_active=action == "deactivate")
            await UserService(session, cast.root).update(cast.bob.id, data)
            service = OperationService(session, cast.root)
            draft = await service.draft_of_rows("user", action, [cast.bob.id])
        await age(database)
        asked = await self._confirm(root, draft)
        assert asked.status_code == 403
        assert fields_of(form_of(parse(asked)))["next"] == (
            f"/admin/operation/details/{draft.id}?back=sortBy%3Dname"
        )

    async def test_taking_it_back_needs_one_too(self, database: Database, cast: Cast) -> None:
        operations, stale = Operations(database), replace(cast.root, needs_proof=True)
        done = await operations.start(cast.root, "deactivate", [cast.bob.id], kind="user")
        await operations.run()
        with pytest.raises(ProofRequired):
            await operations.undo(stale, done)
        await operations.undo(cast.root, done)
        await operations.run()
        assert (await load(database, User, cast.bob.id)).is_active
