"""The second factor: setting it up, signing in with it, losing it, and being made to have one."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from uuid import UUID

import httpx
import pyotp
import pytest
from sqlalchemy import text

from admin_app.actor import Actor, Role
from admin_app.app import Website, create_app
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import open_database
from admin_app.domains.users.schemas import UserCreate, UserUpdate
from admin_app.domains.users.second_factor_service import (
    NOT_SET_UP,
    REQUIRED,
    SET_UP_ALREADY,
    WRONG_CODE,
    WRONG_FIRST_CODE,
    SecondFactorService,
)
from admin_app.domains.users.service import UserService
from admin_app.errors import Conflict, Forbidden, ProofRequired
from admin_app.outbox import RecordedEvent
from admin_app.security import second_factor
from admin_app.security.second_factor import Means, RecoveryCode, SecondFactor, matching_step
from admin_app.security.sessions import AuthSession
from tests.admin.pages import errors_of, fields_of, form_of, link, notices, parse
from tests.admin.rows import every, history
from tests.conftest import PASSWORD, Cast, SignIn, browser

LOGIN, CODE, PAGE, ACCOUNT = (
    "/admin/login",
    "/admin/login/code",
    "/admin/account/second-factor",
    "/admin/account",
)
REMOVE, CODES = f"{PAGE}/remove", "/admin/account/recovery-codes"
STEP = second_factor.STEP_SECONDS
NOW = int(time.time())
RECOVERY_CODE = re.compile(r"([A-Z2-7]{4}-){5}[A-Z2-7]{4}")


@pytest.fixture(autouse=True)
def _clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """For codes only: no test may fail because thirty seconds were over in its midst."""
    monkeypatch.setattr(second_factor, "time", SimpleNamespace(time=lambda: NOW))


@dataclass(frozen=True)
class Factor:
    secret: str
    recovery_codes: list[str]

    def code(self, steps: int = 0) -> str:
        """What the app shows so many steps from now."""
        return pyotp.TOTP(self.secret).generate_otp(NOW // STEP + steps)


async def give(database: Database, actor: Actor, *, last_step: int = 0) -> Factor:
    """A second factor whose codes were not used yet."""
    secret = second_factor.new_secret()
    async with database.transaction() as session:
        assert await second_factor.add(session, actor.id, secret, last_step)
        return Factor(secret, await second_factor.replace_recovery_codes(session, actor.id))


async def use(database: Database, actor: Actor, code: str) -> Means | None:
    async with database.transaction() as session:
        return await second_factor.use(session, actor.id, code)


async def password_given(client: httpx.AsyncClient, name: str = "alice", **more: str) -> dict[str, str]:
    """The fields of the page that asks for the code."""
    typed = {"email": f"{name}@demo.example", "password": PASSWORD, "next": ""} | more
    response = await client.post(LOGIN, data=typed)
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    form = form_of(parse(response))
    assert form.attributes["action"] == CODE
    return fields_of(form)


async def signed_in(client: httpx.AsyncClient) -> bool:
    return (await client.get("/admin/")).status_code == 200


@pytest.fixture
async def strict(settings: Settings, database: Database, cast: Cast) -> AsyncIterator[Website]:
    """The website where administrators must have a second factor."""
    website = create_app(settings.model_copy(update={"second_factor_roles": ("administrator",)}))
    yield website
    await website.state.throttle.close()
    await website.state.database.close()


class TestCodes:
    async def test_the_code_of_now_and_of_one_step_each_side_are_accepted(
        self, database: Database, cast: Cast
    ) -> None:
        factor = await give(database, cast.alice)
        assert await use(database, cast.alice, factor.code(-3)) is None
        assert await use(database, cast.alice, factor.code(3)) is None
        assert await use(database, cast.alice, factor.code(-1)) is Means.CODE
        assert await use(database, cast.alice, factor.code()) is Means.CODE
        assert await use(database, cast.alice, factor.code(1)) is Means.CODE

    async def test_a_code_is_accepted_once_and_ends_those_before(
        self, database: Database, cast: Cast
    ) -> None:
        factor = await give(database, cast.alice)
        assert await use(database, cast.alice, factor.code()) is Means.CODE
        assert await use(database, cast.alice, factor.code()) is None
        assert await use(database, cast.alice, factor.code(-1)) is None

    async def test_two_processes_given_one_code_at_once_let_one_in(
        self, database: Database, settings: Settings, cast: Cast
    ) -> None:
        """Two pools of connections, as two processes have; the first holds its transaction open."""
        factor = await give(database, cast.alice)
        other = open_database(settings)
        try:
            for code in (factor.code(), factor.recovery_codes[0]):
                async with database.transaction() as first:
                    assert await second_factor.use(first, cast.alice.id, code)
                    waiting = asyncio.create_task(use(other, cast.alice, code))
                    await blocked(database)
                assert await waiting is None
        finally:
            await other.close()

    async def test_spaces_hyphens_and_small_letters_do_not_matter(
        self, database: Database, cast: Cast
    ) -> None:
        factor = await give(database, cast.alice)
        code, recovery = factor.code(), factor.recovery_codes[0]
        assert await use(database, cast.alice, f" {code[:3]} {code[3:]}\n") is Means.CODE
        assert await use(database, cast.alice, recovery.lower().replace("-", " ")) is Means.RECOVERY_CODE

    @pytest.mark.parametrize(
        "code", ["", "12345", "1234567", "٠١٢٣٤٥", "abcdef", "\0", "x" * 60_000, "A" * 24, "' OR 1=1 --"]
    )
    async def test_anything_else_is_no_code(self, code: str, database: Database, cast: Cast) -> None:
        await give(database, cast.alice)
        assert await use(database, cast.alice, code) is None

    async def test_a_code_of_somebody_else_opens_nothing(self, database: Database, cast: Cast) -> None:
        factor = await give(database, cast.bob)
        await give(database, cast.alice)
        assert await use(database, cast.alice, factor.code()) is None
        assert await use(database, cast.alice, factor.recovery_codes[0]) is None
        assert await use(database, cast.bob, factor.code()) is Means.CODE

    def test_codes_are_those_of_rfc_6238(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Appendix B, the last six of eight digits; the secret is "12345678901234567890"."""
        secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        for moment, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
            clock = SimpleNamespace(time=lambda moment=moment: moment)
            monkeypatch.setattr(second_factor, "time", clock)
            assert matching_step(secret, code) == moment // STEP

    async def test_each_recovery_code_is_used_once_and_new_ones_end_them(
        self, database: Database, cast: Cast
    ) -> None:
        factor = await give(database, cast.alice)
        assert len(set(factor.recovery_codes)) == 10
        assert all(RECOVERY_CODE.fullmatch(code) for code in factor.recovery_codes)
        first, second, *_ = factor.recovery_codes
        assert await use(database, cast.alice, first) is Means.RECOVERY_CODE
        assert await use(database, cast.alice, first) is None
        async with database.transaction() as session:
            service = SecondFactorService(session, cast.alice)
            assert (await service.status()).recovery_codes_left == 9
            new = await service.renew_recovery_codes()
            assert (await service.status()).recovery_codes_left == 10
        assert await use(database, cast.alice, second) is None
        assert await use(database, cast.alice, new[0]) is Means.RECOVERY_CODE

    async def test_the_database_holds_no_secret_and_no_code(self, database: Database, cast: Cast) -> None:
        factor = await give(database, cast.alice)
        [row] = await every(database, SecondFactor)
        assert pyotp.TOTP(factor.secret).byte_secret() not in row.secret
        async with database.reading() as session:
            dump = str((await session.execute(text("SELECT t::text FROM second_factor t"))).all())
            dump += str((await session.execute(text("SELECT t::text FROM recovery_code t"))).all())
        for known in (factor.secret, *factor.recovery_codes):
            plain = known.replace("-", "")
            assert plain not in dump
            assert plain.encode().hex() not in dump

    async def test_another_secret_key_leaves_the_recovery_codes(
        self, settings: Settings, database: Database, cast: Cast, caplog: pytest.LogCaptureFixture
    ) -> None:
        factor = await give(database, cast.alice)
        changed = settings.model_copy(update={"secret_key": type(settings.secret_key)("x" * 40)})
        other = open_database(changed)
        try:
            assert await use(other, cast.alice, factor.code()) is None
            assert await use(other, cast.alice, factor.recovery_codes[0]) is Means.RECOVERY_CODE
        finally:
            await other.close()
        assert f"{cast.alice.id} was set up with another SECRET_KEY" in caplog.text


async def blocked(database: Database) -> None:
    """Until a statement of another connection waits for a lock."""
    async with database.reading() as session:
        for _ in range(500):
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            if await session.scalar(text(waiting)):
                return
            await session.rollback()
            await asyncio.sleep(0.01)
    pytest.fail("nobody waits")


class TestSettingUp:
    async def test_from_the_first_page_to_the_first_sign_in(
        self, sign_in: SignIn, client: httpx.AsyncClient, cast: Cast, database: Database
    ) -> None:
        alice = await sign_in("alice")
        assert link(parse(await alice.get(ACCOUNT)), "Set up") == PAGE
        response = await alice.get(PAGE)
        page = parse(response)
        fields = fields_of(form_of(page))
        secret = page.one("textarea", id="secret").text.replace(" ", "")
        assert len(secret) == 32
        [drawn] = [svg for svg in page.all("svg") if "icon" not in svg.attributes["class"]]
        width = drawn.attributes["viewbox"].split()[2]
        assert drawn.attributes["viewbox"] == f"0 0 {width} {width}"
        assert int(width) > 40
        assert "style" not in str(drawn)
        assert await every(database, SecondFactor) == []  # looking stores nothing
        factor = Factor(secret, [])

        wrong = await alice.post(PAGE, data=fields | {"code": factor.code(5)})
        assert wrong.status_code == 422
        page = parse(wrong)
        assert errors_of(form_of(page)) == {"code": WRONG_FIRST_CODE}
        assert page.one("textarea", id="secret").text.replace(" ", "") == secret

        made = await alice.post(PAGE, data=fields | {"code": factor.code()})
        assert made.status_code == 201
        codes = parse(made).one("textarea").raw_text.split()
        assert len(codes) == 10
        for code in (factor.code(), factor.code(1), factor.code(9)):  # reloaded, then and later
            again = await alice.post(PAGE, data=fields | {"code": code})
            assert again.status_code == 409
            assert notices(parse(again)) == [SET_UP_ALREADY]
            assert link(parse(again), "Make new recovery codes") == CODES
        for path in (PAGE, ACCOUNT):
            told = (await alice.get(path)).text
            assert not any(code in told for code in (*codes, secret))
        assert "10 of your recovery codes are left" in parse(await alice.get(ACCOUNT)).text
        entry = (await history(database, cast.alice.id))[-1]
        assert (entry.action, entry.actor_id, entry.note, entry.changes) == (
            "second factor set up",
            cast.alice.id,
            None,
            {},
        )

        asked = await password_given(client)
        used = {"code": factor.code()}
        assert (await client.post(CODE, data=asked | used)).status_code == 401
        entered = await client.post(CODE, data=asked | {"code": factor.code(1)})
        assert (entered.status_code, entered.headers["location"]) == (303, "/admin/")
        assert await signed_in(client)
        async with database.reading() as session:
            for table in ("audit_entry", "event", "auth_session"):
                rows = str((await session.execute(text(f"SELECT t::text FROM {table} t"))).all())
                assert not any(known in rows for known in (secret, *codes))

    async def test_an_offer_is_for_one_person_and_for_an_hour(
        self, sign_in: SignIn, cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice, bob = await sign_in("alice"), await sign_in("bob")
        fields = fields_of(form_of(parse(await bob.get(PAGE))))
        for sealed in (fields["sealed"], "", "x", "é"):
            response = await alice.post(PAGE, data=fields | {"sealed": sealed, "code": "123456"})
            assert response.status_code == 422
            assert "took too long" in errors_of(form_of(parse(response)))["code"]
        page = parse(await alice.get(PAGE))
        secret = page.one("textarea", id="secret").text.replace(" ", "")
        later = time.time() + second_factor.OFFER_SECONDS + 5
        monkeypatch.setattr(time, "time", lambda: later)
        late = {"code": Factor(secret, []).code()}
        assert (await alice.post(PAGE, data=fields_of(form_of(page)) | late)).status_code == 422
        assert await every(database, SecondFactor) == []

    async def test_new_recovery_codes_are_shown_once_and_noted(
        self, sign_in: SignIn, cast: Cast, database: Database
    ) -> None:
        factor = await give(database, cast.alice)
        alice = await sign_in("alice")
        question = parse(await alice.get(CODES))
        assert "Those you have end at once" in question.text
        fields = fields_of(form_of(question))
        response = await alice.post(CODES, data=fields)
        assert response.status_code == 201
        page = parse(response)
        assert "For 127.0.0.1, made on " in page.text
        codes = page.one("textarea").raw_text.split()
        assert not set(codes) & set(factor.recovery_codes)
        again = await alice.post(CODES, data=fields)
        assert again.status_code == 409
        assert "cannot be shown again" in notices(parse(again))[0]
        assert await use(database, cast.alice, codes[9]) is Means.RECOVERY_CODE
        actions = [entry.action for entry in await history(database, cast.alice.id)]
        assert actions.count("recovery codes made") == 1
        bob = await sign_in("bob")
        assert (await bob.get(CODES)).status_code == (await bob.post(CODES, data=fields)).status_code == 409

    async def test_the_account_page_says_when_recovery_codes_run_out(
        self, sign_in: SignIn, cast: Cast, database: Database
    ) -> None:
        factor = await give(database, cast.alice)
        alice = await sign_in("alice")
        for code in factor.recovery_codes[:9]:
            assert await use(database, cast.alice, code)
        page = parse(await alice.get(ACCOUNT))
        assert "1 of your recovery codes is left." in page.text
        assert notices(page) == []
        assert await use(database, cast.alice, factor.recovery_codes[9])
        page = parse(await alice.get(ACCOUNT))
        assert notices(page)[0].startswith("None of your recovery codes is left")
        assert link(page, "Make new recovery codes") == CODES

    async def test_removing_ones_own(
        self, sign_in: SignIn, client: httpx.AsyncClient, cast: Cast, database: Database
    ) -> None:
        await give(database, cast.alice)
        alice = await sign_in("alice")
        assert parse(await alice.get(REMOVE)).one("h1").text == "Remove your second factor?"
        response = await alice.post(REMOVE)
        assert (response.status_code, response.headers["location"]) == (303, ACCOUNT)
        assert await every(database, SecondFactor) == await every(database, RecoveryCode) == []
        assert (await history(database, cast.alice.id))[-1].action == "second factor removed"
        typed = {"email": "alice@demo.example", "password": PASSWORD, "next": ""}
        assert (await client.post(LOGIN, data=typed)).status_code == 303
        for answer in (await alice.get(REMOVE), await alice.post(REMOVE)):
            assert answer.status_code == 409
            assert NOT_SET_UP in parse(answer).text


class TestSigningIn:
    async def test_the_password_alone_opens_nothing(
        self, client: httpx.AsyncClient, cast: Cast, database: Database
    ) -> None:
        factor = await give(database, cast.alice)
        before = len(await history(database, cast.alice.id))
        asked = await password_given(client)
        assert not await signed_in(client)
        assert await every(database, AuthSession) == []
        assert len(await history(database, cast.alice.id)) == before
        for code in ("", "000000", factor.code(5)):
            response = await client.post(CODE, data=asked | {"code": code})
            assert response.status_code == 401
            page = parse(response)
            assert notices(page) == [WRONG_CODE]
            assert page.one("input", id="code").attributes["aria-invalid"] == "true"
            assert "set-cookie" not in response.headers
        response = await client.post(CODE, data=asked | {"code": factor.code()})
        assert response.status_code == 303
        assert await signed_in(client)
        assert (await history(database, cast.alice.id))[-1].action == "signed in"

    async def test_a_recovery_code_opens_and_the_history_says_so(
        self, client: httpx.AsyncClient, cast: Cast, database: Database
    ) -> None:
        factor = await give(database, cast.alice)
        asked = await password_given(client)
        response = await client.post(CODE, data=asked | {"code": factor.recovery_codes[3]})
        assert response.status_code == 303
        entry = (await history(database, cast.alice.id))[-1]
        assert (entry.action, entry.note) == ("signed in", "with a recovery code")
        again = await password_given(client)
        assert (await client.post(CODE, data=again | {"code": factor.recovery_codes[3]})).status_code == 401

    async def test_where_to_and_what_was_typed_come_along(
        self, client: httpx.AsyncClient, cast: Cast, database: Database
    ) -> None:
        factor = await give(database, cast.alice)
        create = "/admin/product/create"
        fields = {
            "key": str(UUID(int=7)),
            "name": "Kept",
            "description": "",
            "price": "1",
            "is_active": "true",
        }
        page = parse(await client.post(create, data=fields))
        typed = fields_of(form_of(page)) | {"email": "alice@demo.example", "password": PASSWORD}
        asked = fields_of(form_of(parse(await client.post(LOGIN, data=typed))))
        assert asked["next"] == create
        wrong = await client.post(CODE, data=asked | {"code": "1"})
        entered = await client.post(CODE, data=fields_of(form_of(parse(wrong))) | {"code": factor.code()})
        assert entered.status_code == 200
        way_back = form_of(parse(entered))
        assert (way_back.attributes["action"], fields_of(way_back)) == (create, fields | {"resume": "1"})

    @pytest.mark.parametrize("change", ["password", "closed", "removed", "time", "forged"])
    async def test_what_stands_between_ends(
        self,
        change: str,
        client: httpx.AsyncClient,
        cast: Cast,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        factor = await give(database, cast.alice)
        asked = await password_given(client)
        async with database.transaction() as session:
            users = UserService(session, Actor.system())
            match change:
                case "password":
                    await users.update(cast.alice.id, UserUpdate(password="quite another long one"))
                case "closed":
                    await users.update(cast.alice.id, UserUpdate(is_active=False))
                case "removed":
                    await SecondFactorService(session, cast.alice).remove()
        if change == "time":
            later = time.time() + 601
            monkeypatch.setattr(time, "time", lambda: later)
        if change == "forged":
            # Not the last character, some of whose bits may mean nothing.
            start, old, end = asked["ticket"][:-5], asked["ticket"][-5], asked["ticket"][-4:]
            asked["ticket"] = start + ("A" if old != "A" else "B") + end
        response = await client.post(CODE, data=asked | {"code": factor.code()})
        assert response.status_code == 401
        assert form_of(parse(response)).attributes["action"] == LOGIN
        assert not await signed_in(client)
        assert await every(database, AuthSession) == []

    async def test_the_page_for_the_code_has_no_address_of_its_own(self, client: httpx.AsyncClient) -> None:
        response = await client.get(CODE)
        assert (response.status_code, response.headers["location"]) == (302, LOGIN)
        assert (await client.post(CODE)).status_code == 401


class TestRequired:
    async def test_whoever_must_have_one_gets_only_to_its_page(
        self, strict: Website, cast: Cast, database: Database
    ) -> None:
        async with browser(strict) as client:
            typed = {"email": "alice@demo.example", "password": PASSWORD, "next": "/admin/user/list"}
            entered = await client.post(LOGIN, data=typed)
            assert entered.headers["location"] == "/admin/user/list"
            detour = await client.get("/admin/user/list")
            assert (detour.status_code, detour.headers["location"]) == (
                302,
                f"{PAGE}?next=/admin/user/list",
            )
            assert (await client.get(ACCOUNT)).status_code == 302
            refused = await client.post("/admin/product/create", data={"name": "x"})
            assert refused.status_code == 403
            assert "Your role requires a second factor" in parse(refused).text
            page = parse(await client.get(detour.headers["location"]))
            assert len(notices(page)) == 1
            secret = page.one("textarea", id="secret").text.replace(" ", "")
            fields = fields_of(form_of(page)) | {"code": Factor(secret, []).code()}
            made = parse(await client.post(PAGE, data=fields))
            assert link(made, "I have kept them") == "/admin/user/list"
            assert (await client.get("/admin/user/list")).status_code == 200
            for answer in (await client.get(REMOVE), await client.post(REMOVE)):
                assert answer.status_code == 403
                assert REQUIRED in parse(answer).text
            assert link(parse(await client.get(PAGE)), "Remove second factor") is None
        assert len(await every(database, SecondFactor)) == 1

    async def test_other_roles_need_none(self, strict: Website, cast: Cast) -> None:
        for name in ("sam", "root"):
            async with browser(strict) as client:
                await client.post(LOGIN, data={"email": f"{name}@demo.example", "password": PASSWORD})
                assert await signed_in(client)

    async def test_a_new_password_comes_first(self, strict: Website, cast: Cast, database: Database) -> None:
        async with database.transaction() as session:
            await UserService(session, Actor.system()).update(
                cast.alice.id, UserUpdate(must_change_password=True)
            )
        async with browser(strict) as client:
            await client.post(LOGIN, data={"email": "alice@demo.example", "password": PASSWORD})
            assert (await client.get("/admin/")).headers["location"] == "/admin/password"
            assert (await client.get(PAGE)).headers["location"].startswith("/admin/password")
            new = "a quite unlikely sentence 7"
            chosen = {"current": PASSWORD, "new": new, "repeated": new, "next": ""}
            assert (await client.post("/admin/password", data=chosen)).status_code == 303
            assert (await client.get("/admin/")).headers["location"] == PAGE

    def test_a_wrong_role_in_the_setting_stops_the_start(self) -> None:
        command = [sys.executable, "-m", "admin_app", "doctor"]
        environment = {"SECOND_FACTOR_ROLES": "superuser,boss", "PATH": ""}
        refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert refused.stderr.startswith("admin-app: SECOND_FACTOR_ROLES must name roles:")


class TestLost:
    async def test_a_superuser_takes_one_off(
        self, sign_in: SignIn, client: httpx.AsyncClient, cast: Cast, database: Database
    ) -> None:
        await give(database, cast.bob)
        root, bob = await sign_in("root"), await sign_in("bob")
        details, page = f"/admin/user/details/{cast.bob.id}", f"/admin/user/second-factor/{cast.bob.id}"
        assert link(parse(await root.get(details)), "Remove second factor") == page
        question = parse(await root.get(page))
        assert "bob@demo.example" in question.text
        response = await root.post(page)
        assert (response.status_code, response.headers["location"]) == (303, details)
        assert await every(database, SecondFactor) == await every(database, RecoveryCode) == []
        assert not await signed_in(bob)
        entry = (await history(database, cast.bob.id))[-1]
        assert (entry.action, entry.actor_id) == ("second factor removed", cast.root.id)
        assert link(parse(await root.get(details)), "Remove second factor") is None
        whole = parse(await root.get(f"/admin/user/history/{cast.bob.id}"))
        assert "Second factor removed" in whole.text
        typed = {"email": "bob@demo.example", "password": PASSWORD}
        assert (await client.post(LOGIN, data=typed)).status_code == 303

    @pytest.mark.parametrize("name", ["bob", "sam"])
    async def test_nobody_else_may(self, name: str, sign_in: SignIn, cast: Cast, database: Database) -> None:
        await give(database, cast.alice)
        client = await sign_in(name)
        page = f"/admin/user/second-factor/{cast.alice.id}"
        for answer in (await client.get(page), await client.post(page)):
            assert answer.status_code == 403
        assert len(await every(database, SecondFactor)) == 1

    async def test_a_superuser_whose_role_requires_one_keeps_their_own(
        self, settings: Settings, database: Database, cast: Cast
    ) -> None:
        await give(database, cast.root)
        own = open_database(settings.model_copy(update={"second_factor_roles": (Role.SUPERUSER.value,)}))
        try:
            async with own.reading() as session:
                with pytest.raises(Forbidden, match="requires a second factor"):
                    await SecondFactorService(session, cast.root).remove_of(cast.root.id)
        finally:
            await own.close()

    def test_the_command_line_takes_one_off(self, settings: Settings, database: Database) -> None:
        def run(email: str, roles: str = "") -> subprocess.CompletedProcess[str]:
            environment = {
                "DATABASE_URL": settings.database_url,
                "REDIS_URL": settings.redis_url,
                "SECRET_KEY": settings.secret_key.get_secret_value(),
                "DATA_DIR": str(settings.data_dir),
                "SECOND_FACTOR_ROLES": roles,
            }
            command = [sys.executable, "-m", "admin_app", "second-factor", "remove", email]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

        async def prepare() -> UUID:
            own = open_database(settings)
            async with own.transaction() as session:
                data = UserCreate(email="only@demo.example", name="Only", role=Role.SUPERUSER)
                user = await UserService(session, Actor.system()).create(data)
                await second_factor.add(session, user.id, second_factor.new_secret(), 0)
            await own.close()
            return user.id

        async def left() -> tuple[int, str]:
            own = open_database(settings)
            found = len(await every(own, SecondFactor)), (await history(own, user_id))[-1].action
            await own.close()
            return found

        user_id = asyncio.run(prepare())
        removed = run("Only@demo.example", "superuser")
        assert (removed.returncode, removed.stderr) == (0, "")
        assert removed.stdout == (
            "Only@demo.example signs in with the password alone now, and then must set up another one.\n"
        )
        assert asyncio.run(left()) == (0, "second factor removed")
        again, unknown = run("only@demo.example"), run("nobody@demo.example")
        assert (again.returncode, again.stderr) == (1, f"admin-app: {NOT_SET_UP}\n")
        assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)


async def test_of_recovery_codes_made_twice_at_once_ten_are_left(database: Database, cast: Cast) -> None:
    await give(database, cast.alice)

    async def renew() -> list[str]:
        async with database.transaction() as session:
            codes = await second_factor.replace_recovery_codes(session, cast.alice.id)
            await asyncio.sleep(0.05)
            return codes

    made = await asyncio.gather(*(renew() for _ in range(4)))
    assert len(await every(database, RecoveryCode)) == len(made[0])
    working = [codes for codes in made if await use(database, cast.alice, codes[0])]
    assert len(working) == 1


@pytest.mark.parametrize("code", ["é", "１２３４５６", "", "12345", "x" * 60_000, "123456\n"])
async def test_what_is_no_code_sets_nothing_up(code: str, sign_in: SignIn, database: Database) -> None:
    alice = await sign_in("alice")
    offered = fields_of(form_of(parse(await alice.get(PAGE))))
    assert (await alice.post(PAGE, data=offered | {"code": code})).status_code in {401, 413, 422}
    assert await every(database, SecondFactor) == []


async def test_every_change_of_it_needs_a_fresh_proof(database: Database, cast: Cast) -> None:
    stale = replace(cast.alice, needs_proof=True)
    await give(database, cast.bob)
    before = len(await every(database, RecordedEvent))
    async with database.reading() as session:
        service = SecondFactorService(session, stale)
        offer = await SecondFactorService(session, cast.alice).offer("here")
        for change in (
            service.offer("here"),
            service.set_up(offer, "1"),
            service.renew_recovery_codes(),
            service.remove(),
        ):
            with pytest.raises(ProofRequired):
                await change
        boss = SecondFactorService(session, replace(cast.root, needs_proof=True))
        with pytest.raises(ProofRequired):
            await boss.remove_of(cast.bob.id)
        with pytest.raises(Conflict):
            await SecondFactorService(session, cast.root).remove_of(cast.sam.id)
    assert len(await every(database, RecordedEvent)) == before
