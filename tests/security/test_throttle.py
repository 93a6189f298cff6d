"""Bounds on guessing: who waits how long, whichever process counts. And how much may be asked of the API."""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
import pyotp
import pytest
from redis.asyncio import Redis

from admin_app.app import create_app
from admin_app.audit import AuditEntry
from admin_app.config import ConfigurationError, Settings, load_settings
from admin_app.database import Database
from admin_app.embedded.server import stop_servers
from admin_app.embedded.valkey import Valkey
from admin_app.errors import Conflict, TooMany, WrongCredential
from admin_app.security import passwords, second_factor
from admin_app.security import throttle as module
from admin_app.security.rate_limit import RateLimit
from admin_app.security.throttle import (
    CODE,
    KEY_PREFIX,
    PASSWORD,
    RESET_REQUEST,
    Door,
    Throttle,
    TooManyTries,
)
from tests.admin.pages import fields_of, form_of, notices, open_form, parse
from tests.admin.rows import every, history
from tests.conftest import PASSWORD as RIGHT
from tests.conftest import Cast, MakeProduct, SignIn, browser, forget_tries
from tests.crash.waiting import eventually

ALICE, BOB = "alice@demo.example", "bob@demo.example"
HERE, THERE = "198.51.100.7", "203.0.113.9"


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    async with Redis.from_url(settings.redis_url) as redis:
        yield redis
    await forget_tries(settings)


@pytest.fixture
async def throttle(settings: Settings, redis: Redis) -> AsyncIterator[Throttle]:
    throttle = Throttle(settings.redis_url)
    yield throttle
    await throttle.close()


@pytest.fixture
async def twin(settings: Settings) -> AsyncIterator[Throttle]:
    """That of another process."""
    throttle = Throttle(settings.redis_url)
    yield throttle
    await throttle.close()


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """To be killed or frozen."""
    with TemporaryDirectory(prefix="admin-app-") as directory:
        server = Valkey(Path(directory))
        server.start()
        yield server
        if process := server.process():
            process.send_signal(signal.SIGCONT)
        stop_servers([server])


async def let_pass(redis: Redis, seconds: int) -> None:
    """Every window that is counted in is that much nearer to its end."""
    for key in await redis.keys(f"{KEY_PREFIX}:*"):
        await redis.pexpire(key, max(await redis.pttl(key) - seconds * 1000, 0))


async def fail(throttle: Throttle, account: str = ALICE, address: str = HERE, door: Door = PASSWORD) -> int:
    """How long to wait, or 0 for a try that was let through, and failed."""
    try:
        async with throttle.attempt(door, account, address):
            raise WrongCredential("wrong")
    except TooManyTries as error:
        return error.retry_after_seconds
    except WrongCredential:
        return 0


async def succeed(throttle: Throttle, account: str = ALICE, address: str = HERE) -> int:
    try:
        async with throttle.attempt(PASSWORD, account, address):
            return 0
    except TooManyTries as error:
        return error.retry_after_seconds


async def exhaust(throttle: Throttle, account: str = ALICE, address: str = HERE) -> None:
    assert [await fail(throttle, account, address) for _ in range(5)] == [0] * 5
    assert await fail(throttle, account, address) > 0


async def test_five_tries_are_free_and_then_the_waits_grow(throttle: Throttle, redis: Redis) -> None:
    started = time.monotonic()
    assert [await fail(throttle) for _ in range(5)] == [0] * 5
    ends = [60, 300, 900, 3600]
    passed = 0
    for end in ends:
        wait = await fail(throttle)
        slack = time.monotonic() - started + 2
        assert end - passed - slack <= wait <= end - passed + 2
        assert await fail(throttle) <= wait  # trying in vain prolongs nothing
        await let_pass(redis, wait)
        passed += wait
        assert await fail(throttle) == 0, "the wait it told was long enough"
    assert passed < 3600 + 10
    assert [await fail(throttle) for _ in range(4)] == [0] * 4  # and all begins anew


async def test_whoever_waited_gets_in_and_is_not_reminded_of_old_failures(
    throttle: Throttle, redis: Redis
) -> None:
    await exhaust(throttle)
    assert await succeed(throttle) > 0, "the right password must wait, too"
    await let_pass(redis, 61)
    assert await succeed(throttle) == 0
    await exhaust(throttle)


async def test_a_wait_is_told_for_the_longest_window_that_is_full(throttle: Throttle, redis: Redis) -> None:
    for wait in (0, 60, 300, 900):
        await let_pass(redis, wait)
        while await fail(throttle) == 0:
            pass
    await let_pass(redis, 61)
    waits = [await fail(throttle) for _ in range(8)]
    assert min(waits) > 60


async def test_a_hundred_tries_at_once_by_two_processes_are_five_guesses(
    throttle: Throttle, twin: Throttle
) -> None:
    waits = await asyncio.gather(*(fail((throttle, twin)[number % 2]) for number in range(100)))
    assert waits.count(0) <= 5
    assert await fail(twin) > 0
    assert await fail(throttle) > 0


async def test_only_failures_count(throttle: Throttle, redis: Redis) -> None:
    for number in range(110):
        assert await succeed(throttle, f"person{number % 3}@demo.example") == 0
    for error in (RuntimeError, Conflict, OSError):
        for _ in range(6):
            with suppress(error):
                async with throttle.attempt(PASSWORD, ALICE, HERE):
                    raise error("the database is away")
    await exhaust(throttle)
    counts = [int(await redis.get(key)) for key in await redis.keys(f"{KEY_PREFIX}:*password//*")]
    assert counts == [5]  # of this address


async def test_one_account_at_one_address_keeps_nobody_else_out(throttle: Throttle) -> None:
    await exhaust(throttle)
    assert await fail(throttle, BOB) == 0
    assert await fail(throttle, ALICE, THERE) == 0
    assert await fail(throttle, door=CODE) == 0


async def test_trying_in_vain_uses_up_nothing_of_others(throttle: Throttle) -> None:
    await exhaust(throttle)
    for _ in range(120):
        assert await fail(throttle) > 0
    assert await fail(throttle, BOB) == 0
    assert await fail(throttle, ALICE, THERE) == 0


async def test_strangers_everywhere_are_stopped_and_lock_nobody_out_of_where_they_usually_are(
    throttle: Throttle,
) -> None:
    assert await succeed(throttle, ALICE, HERE) == 0
    waits = [await fail(throttle, ALICE, f"203.0.113.{number // 4}") for number in range(101)]
    assert waits[:100] == [0] * 100
    assert waits[100] > 3500
    assert await succeed(throttle, ALICE, "203.0.113.200") > 3500
    assert await fail(throttle, ALICE, HERE) == 0
    assert await succeed(throttle, ALICE, HERE) == 0
    assert await succeed(throttle, BOB, "203.0.113.200") == 0


async def test_strangers_at_the_same_address_lock_nobody_out_of_where_they_usually_are(
    throttle: Throttle,
) -> None:
    assert await succeed(throttle, ALICE, HERE) == 0
    assert [await fail(throttle, f"person{number}@demo.example") for number in range(100)] == [0] * 100
    assert await fail(throttle, BOB, HERE) > 3500
    assert [await fail(throttle, ALICE, HERE) for _ in range(6)][:5] == [0] * 5
    assert await fail(throttle, ALICE, HERE) > 0


async def test_a_right_code_forgets_the_wrong_passwords_before_it(throttle: Throttle) -> None:
    assert [await fail(throttle) for _ in range(4)] == [0] * 4
    async with throttle.attempt(CODE, ALICE, HERE):
        pass
    assert [await fail(throttle) for _ in range(5)] == [0] * 5


async def test_too_many_who_wait_for_a_hash_are_sent_away_at_once(
    client: httpx.AsyncClient, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING", 1)
    async with AsyncExitStack() as busy:
        for _ in range(2):
            await busy.enter_async_context(_in_its_own_task(passwords.hashing_slot))
        waiting = asyncio.create_task(try_password(client, RIGHT))

        async def somebody_waits() -> bool:
            return passwords.hashing_slot.waiting > 0

        await eventually(somebody_waits)
        refused = await try_password(client, RIGHT)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
    assert (await waiting).status_code == 303
    assert (await try_password(client, RIGHT)).status_code == 303


@asynccontextmanager
async def _in_its_own_task(slot: passwords.HashingSlot) -> AsyncIterator[None]:
    """A turn that somebody else has."""
    has_turn, is_over = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with slot:
            has_turn.set()
            await is_over.wait()

    task = asyncio.create_task(hold())
    await has_turn.wait()
    yield
    is_over.set()
    await task


async def test_an_address_may_fail_a_hundred_times_an_hour_whoever_it_says_it_is(throttle: Throttle) -> None:
    waits = [await fail(throttle, f"person{number}@demo.example") for number in range(101)]
    assert waits[:100] == [0] * 100
    assert waits[100] > 3500
    assert await fail(throttle, "person100@demo.example", THERE) == 0


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:198.51.100.7", "198.51.100.7", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("not an address", "not an address", True),
        ("198.51.100.7", "198.51.100.8", False),
    ],
)
async def test_of_ipv6_the_network_counts(one: str, other: str, are_same: bool, throttle: Throttle) -> None:
    await exhaust(throttle, ALICE, one)
    assert (await fail(throttle, ALICE, other) > 0) == are_same


@pytest.mark.parametrize(
    "spelling", ["ALICE@demo.example", " alice@demo.example ", "al\u0130ce@DEMO.example"]
)
async def test_every_spelling_that_finds_an_account_counts_as_the_same(
    spelling: str, throttle: Throttle
) -> None:
    await exhaust(throttle)
    assert await fail(throttle, spelling) > 0


async def test_no_key_in_redis_holds_an_e_mail_address(throttle: Throttle, redis: Redis) -> None:
    for account in (ALICE, "\0\ud800*/" + "x" * 10_000):
        await fail(throttle, account)
        await succeed(throttle, account)
    keys = await redis.keys(f"{KEY_PREFIX}:*")
    assert keys
    assert all(len(key) < 200 and b"alice" not in key for key in keys)
    for key in keys:
        assert 0 < await redis.ttl(key) <= 30 * 24 * 3600


async def test_what_may_send_mail_counts_even_when_nothing_fails(throttle: Throttle) -> None:
    for _ in range(3):
        await throttle.count(RESET_REQUEST, ALICE, HERE)
    with pytest.raises(TooManyTries):
        await throttle.count(RESET_REQUEST, ALICE, HERE)


async def test_a_person_behind_no_address_is_counted_too(throttle: Throttle) -> None:
    for _ in range(5):
        with suppress(WrongCredential):
            async with throttle.attempt(PASSWORD, ALICE, None):
                raise WrongCredential("wrong")
    with pytest.raises(TooManyTries):
        await throttle.attempt(PASSWORD, ALICE, None).__aenter__()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (2, "2 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (181, "4 minutes"),
        (3600, "60 minutes"),
    ],
)
def test_a_wait_is_told_in_words_and_never_too_short(seconds: int, words: str) -> None:
    assert str(TooManyTries(seconds)) == f"Too many tries. Wait {words}, then try again."


@pytest.mark.parametrize("redis_url", ["", "redis://127.0.0.1:{port}/0", "unix:///nowhere/valkey.sock"])
async def test_without_redis_the_process_counts_alone(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # nobody listens there
        throttle = Throttle(redis_url.format(port=bound.getsockname()[1]))
        await exhaust(throttle)
        assert await succeed(throttle, BOB) == 0
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == bool(redis_url)
    await throttle.close()


async def test_a_frozen_redis_holds_up_one_try_and_counts_again_when_it_is_back(
    own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REDIS_AWAY_SECONDS", 3600)
    throttle, twin = Throttle(own_valkey.url), Throttle(own_valkey.url)
    await exhaust(throttle)
    process = own_valkey.process()
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    started = time.monotonic()
    await exhaust(throttle)  # in its own memory: it asked Redis once, in vain
    assert time.monotonic() - started < 10
    os.kill(process.pid, signal.SIGCONT)
    assert await fail(twin) > 0
    monkeypatch.setattr(throttle, "_away_until", 0.0)
    assert await succeed(throttle, BOB) == 0
    await exhaust(twin, "carol@demo.example")
    assert await fail(throttle, "carol@demo.example") > 0
    await throttle.close()
    await twin.close()


async def test_a_redis_that_dies_during_a_try_disturbs_nobody(own_valkey: Valkey) -> None:
    throttle = Throttle(own_valkey.url)
    async with throttle.attempt(PASSWORD, ALICE, HERE):
        stop_servers([own_valkey])
    assert await succeed(throttle) == 0
    await throttle.close()


LOGIN, CODE_PAGE, CHANGE = "/admin/login", "/admin/login/code", "/admin/password"


async def try_password(client: httpx.AsyncClient, password: str, email: str = ALICE) -> httpx.Response:
    return await client.post(LOGIN, data={"email": email, "password": password, "next": ""})


async def test_after_five_wrong_passwords_the_page_says_how_long_to_wait(
    client: httpx.AsyncClient,
    cast: Cast,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = {}
    for email in (ALICE, "unknown@demo.example"):
        statuses = [(await try_password(client, "wrong", email)).status_code for _ in range(5)]
        assert statuses == [401] * 5
        with monkeypatch.context() as patch:
            patch.setattr(passwords, "_verify", None)  # no password is looked at any more
            response = await try_password(client, RIGHT, email)
        assert response.status_code == 429
        assert 0 < int(response.headers["retry-after"]) <= 61
        assert "set-cookie" not in response.headers
        page = parse(response)
        told = notices(page)
        assert len(told) == 1
        assert told[0].startswith("Too many tries. Wait ")
        fields = fields_of(form_of(page))
        assert fields == {"next": "/admin/", "email": email, "password": ""}
        pages[email] = response.text.replace(email, "").replace(told[0], "")
    assert pages[ALICE] == pages["unknown@demo.example"]
    assert (await try_password(client, RIGHT, BOB)).status_code == 303
    await let_pass(redis, 61)
    assert (await try_password(client, RIGHT)).status_code == 303


async def test_a_form_that_was_being_filled_in_survives_too_many_tries(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, redis: Redis
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    address = f"/admin/product/edit/{product.id}"
    fields = await open_form(alice, address) | {"name": "Typed with care"}
    alice.cookies.clear()
    asked = fields_of(form_of(parse(await alice.post(address, data=fields))))
    for _ in range(6):
        refused = await alice.post(LOGIN, data=asked | {"email": ALICE, "password": "wrong"})
    assert refused.status_code == 429
    kept = fields_of(form_of(parse(refused)))
    assert kept["typed.name"] == "Typed with care"
    await let_pass(redis, 61)
    back = await alice.post(LOGIN, data=kept | {"password": RIGHT})
    assert back.status_code == 200
    assert "Typed with care" in back.text


async def test_codes_are_guessed_no_quicker_than_passwords(
    client: httpx.AsyncClient, cast: Cast, database: Database, redis: Redis
) -> None:
    secret = second_factor.new_secret()
    async with database.transaction() as session:
        assert await second_factor.add(session, cast.alice.id, secret, 0)
    fields = fields_of(form_of(parse(await try_password(client, RIGHT))))
    statuses = [(await client.post(CODE_PAGE, data=fields | {"code": "12345"})).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    refused = await client.post(CODE_PAGE, data=fields | {"code": pyotp.TOTP(secret).now()})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert fields_of(form_of(parse(refused))) == fields, "the page still leads on"
    entries = await history(database, cast.alice.id)
    assert [entry.note for entry in entries if entry.action == "sign-in failed"] == ["wrong code"] * 5
    await let_pass(redis, 61)
    right = await client.post(CODE_PAGE, data=fields | {"code": pyotp.TOTP(secret).now()})
    assert right.status_code == 303


async def test_guessing_the_current_password_is_throttled_and_a_bad_new_one_is_no_guess(
    sign_in: SignIn, redis: Redis
) -> None:
    alice = await sign_in("alice")

    async def change(current: str, new: str) -> httpx.Response:
        fields = {"current": current, "new": new, "repeated": new, "next": ""}
        return await alice.post(CHANGE, data=fields)

    new = "ein ganz neues Kennwort 🦈"
    for _ in range(7):
        assert (await change(RIGHT, "short")).status_code == 422
    statuses = [(await change("wrong", new)).status_code for _ in range(6)]
    assert statuses == [422] * 5 + [429]
    refused = await change(RIGHT, new)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert form_of(parse(refused)).attributes["action"] == CHANGE
    assert "Too many tries" in notices(parse(refused))[0]
    assert (await try_password(alice, RIGHT)).status_code == 429, "it is the same password"
    await let_pass(redis, 61)
    assert (await change(RIGHT, new)).status_code == 303


async def test_the_history_of_an_account_tells_who_failed_to_sign_in_from_where(
    client: httpx.AsyncClient, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    before = len(await history(database, cast.alice.id))
    await try_password(client, "hunter2 hunter2", f" {ALICE.upper()}")
    await try_password(client, "hunter2 hunter2", "unknown@demo.example")
    await try_password(client, RIGHT)
    await client.post("/admin/logout")
    entries = (await history(database, cast.alice.id))[before:]
    assert [(entry.action, entry.note, entry.actor_label, entry.address) for entry in entries] == [
        ("sign-in failed", "wrong password", "visitor", "127.0.0.1"),
        ("signed in", None, ALICE, "127.0.0.1"),
        ("signed out", entries[2].note, ALICE, "127.0.0.1"),
    ]
    assert (entries[0].actor_id, entries[2].actor_id) == (None, cast.alice.id)
    assert all(entry.changes == {} and entry.version is None for entry in entries)
    root = await sign_in("root")
    activity = (await root.get("/admin/activity/list")).text
    assert "Sign-in failed: user “alice@demo.example”" in activity
    assert "wrong password" in activity
    assert "unknown@demo.example" not in activity
    assert "hunter2" not in activity
    assert "Sign-in failed" in (await root.get(f"/admin/user/history/{cast.alice.id}")).text


async def test_failures_are_written_down_only_as_often_as_they_are_let_through(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    for _ in range(20):
        await try_password(client, "wrong")
    entries = await history(database, cast.alice.id)
    assert [entry.action for entry in entries].count("sign-in failed") == 5


async def test_somebody_signed_in_who_does_not_know_the_password_is_written_down(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    new = "ein ganz neues Kennwort 🦈"
    await alice.post(CHANGE, data={"current": "wrong", "new": new, "repeated": new, "next": ""})
    entry = (await every(database, AuditEntry, row_id=cast.alice.id))[-1]
    assert (entry.action, entry.note, entry.actor_id) == ("refused", "wrong password", cast.alice.id)


async def test_people_sign_in_while_redis_is_away(settings: Settings, cast: Cast, database: Database) -> None:
    website = create_app(settings.model_copy(update={"redis_url": "unix:///nowhere/valkey.sock"}))
    async with browser(website) as client:
        assert [(await try_password(client, "wrong", BOB)).status_code for _ in range(6)] == [401] * 5 + [429]
        assert (await try_password(client, RIGHT)).status_code == 303
    await website.state.throttle.close()
    await website.state.database.close()


def test_each_person_may_ask_so_much_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    limit = RateLimit("3/minute")
    alice, bob = uuid4(), uuid4()
    for _ in range(3):
        limit.spend(alice)
    now += 20.5
    with pytest.raises(TooMany, match=r"at most 3 in 60 s\. Try again in 40 s\.") as refused:
        limit.spend(alice)
    assert (refused.value.status, refused.value.retry_after_seconds) == (429, 40)
    limit.spend(bob)
    now += 40
    limit.spend(alice)


@pytest.mark.parametrize("value", ["fast", "0/minute", "5", "5/fortnight", "-1/minute", "5/minute;9/hour"])
def test_a_rate_that_cannot_be_read_stops_the_start_with_a_sentence(value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(api_rate_limit=value, _env_file=None)
    sentence = "API_RATE_LIMIT must be a number of requests and a time, such as 1200/minute."
    assert str(refused.value) == sentence
