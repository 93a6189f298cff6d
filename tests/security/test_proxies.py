"""Who asks, when proxies stand between: sessions, history and throttling all learn the same address."""

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import select
from starlette.types import Receive, Scope, Send

from admin_app.app import create_app
from admin_app.audit import AuditEntry
from admin_app.config import Settings, load_settings
from admin_app.database import Database
from admin_app.security.proxies import TrustedProxiesMiddleware
from admin_app.security.sessions import AuthSession
from admin_app.security.throttle import KEY_PREFIX
from tests.admin.pages import open_form
from tests.conftest import PASSWORD, Cast

TRUSTED = load_settings(trusted_proxies="10.0.0.1, 10.1.0.0/16, 2001:db8::/32").trusted_proxies
PROXY = "10.0.0.1"


@pytest.fixture
async def proxied(settings: Settings, database: Database):
    """Browsers whose requests arrive from an address: `async with proxied("10.0.0.1") as client`."""
    site = create_app(settings.model_copy(update={"trusted_proxies": TRUSTED}))

    def arriving(peer: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(site, raise_app_exceptions=False, client=(peer, 5000)),
            base_url="http://127.0.0.1:8000",
            headers={"Sec-Fetch-Site": "same-origin"},
        )

    yield arriving
    await site.state.throttle.close()
    await site.state.database.close()


FORWARDED = {
    "none": (PROXY, [], PROXY),
    "one": (PROXY, ["203.0.113.7"], "203.0.113.7"),
    "with a port": (PROXY, ["203.0.113.7:4711"], "203.0.113.7"),
    "IPv6": (PROXY, ["2a00:1450::5"], "2a00:1450::5"),
    "IPv6 in brackets": (PROXY, ["[2a00:1450::5]"], "2a00:1450::5"),
    "IPv6 with a port": (PROXY, ["[2a00:1450::5]:4711"], "2a00:1450::5"),
    "IPv4 written as IPv6": (PROXY, ["::ffff:203.0.113.7"], "203.0.113.7"),
    "a proxy on a socket for both families": (f"::ffff:{PROXY}", ["203.0.113.7"], "203.0.113.7"),
    "written by the client": (PROXY, ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
    "through a second proxy of ours": (PROXY, ["198.51.100.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),
    "from one of our proxies": (PROXY, ["10.1.9.9, 10.1.2.3"], "10.1.9.9"),
    "a foreign proxy ends it": (PROXY, ["10.1.2.3, 203.0.113.7"], "203.0.113.7"),
    "several headers": (PROXY, ["198.51.100.1", "203.0.113.7", "10.1.2.3"], "203.0.113.7"),
    "a proxy with IPv6": ("2001:db8::1", ["203.0.113.7"], "203.0.113.7"),
    "nothing": (PROXY, [""], PROXY),
    "commas": (PROXY, [",,, ,"], PROXY),
    "garbage": (PROXY, ["<script>"], PROXY),
    "garbage of our second proxy": (PROXY, ["unknown, 10.1.2.3"], "10.1.2.3"),
    "garbage before": (PROXY, ["' OR 1=1, 203.0.113.7"], "203.0.113.7"),
    "half an address": (PROXY, ["[2a00:1450::5"], "2a00:1450::5"),
    "a network": (PROXY, ["203.0.113.0/24"], PROXY),
    "a number": (PROXY, ["3405803783"], PROXY),
    "other digits": (PROXY, ["٢٠٣.0.113.7".encode()], PROXY),
    "a thousand": (PROXY, [", ".join(["198.51.100.1"] * 999 + ["203.0.113.7"])], "203.0.113.7"),
    "a thousand of ours": (PROXY, [", ".join(["203.0.113.7"] + ["10.1.2.3"] * 999)], "203.0.113.7"),
    "not through a proxy": ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
    "who says to be the proxy": ("203.0.113.9", [PROXY], "203.0.113.9"),
    "beside a trusted network": ("10.2.0.1", ["198.51.100.1"], "10.2.0.1"),
}


@pytest.mark.parametrize("name", FORWARDED)
async def test_the_client_is_the_first_from_the_right_that_is_no_proxy_of_ours(name: str) -> None:
    peer, values, expected = FORWARDED[name]
    forwarded = [
        (b"x-forwarded-for", value if isinstance(value, bytes) else value.encode()) for value in values
    ]
    seen: list[Scope] = []

    async def note(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    middleware = TrustedProxiesMiddleware(note, TRUSTED)
    await middleware({"type": "http", "client": (peer, 5000), "headers": forwarded}, None, None)
    [scope] = seen
    assert scope["client"][0] == expected


async def test_sessions_history_and_throttling_see_the_same(
    proxied, cast: Cast, database: Database, settings: Settings
) -> None:
    headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7, 10.1.2.3"}
    signing_in = {"email": cast.alice.label, "password": "wrong"}
    async with proxied(PROXY) as client:
        assert (await client.post("/admin/login", data=signing_in, headers=headers)).status_code == 401
        async with Redis.from_url(settings.redis_url) as redis:
            counted = b" ".join(await redis.keys(f"{KEY_PREFIX}:*"))
        assert b"203.0.113.7" in counted
        signing_in["password"] = PASSWORD
        assert (await client.post("/admin/login", data=signing_in, headers=headers)).status_code == 303
        fields = await open_form(client, "/admin/product/create")
        new = fields | {"name": "Metal Heart", "price": "1", "description": ""}
        assert (await client.post("/admin/product/create", data=new, headers=headers)).status_code == 303
    async with database.transaction() as session:
        assert await session.scalar(select(AuthSession.address)) == "203.0.113.7"
        created = select(AuditEntry.address).where(AuditEntry.kind == "product")
        assert await session.scalar(created) == "203.0.113.7"


@pytest.mark.parametrize(
    ("peer", "told", "is_https"),
    [
        (PROXY, ["https"], True),
        (PROXY, ["HTTPS"], True),
        (PROXY, ["http", "https"], True),
        (PROXY, ["https, http"], False),
        (PROXY, ["http"], False),
        (PROXY, ["gopher"], False),
        (PROXY, [""], False),
        (PROXY, [], False),
        ("203.0.113.9", ["https"], False),
    ],
)
async def test_only_a_trusted_proxy_says_that_it_was_https(
    peer: str, told: list[str], is_https: bool, proxied, cast: Cast
) -> None:
    """Seen by the origin a form may come from, and by the header that keeps a browser on https."""
    forwarded = [("X-Forwarded-Proto", value) for value in told]
    async with proxied(peer) as client:
        del client.headers["Sec-Fetch-Site"]
        origin = [("Origin", "https://127.0.0.1:8000")]
        response = await client.post("/admin/login", data={"email": "x"}, headers=forwarded + origin)
    assert (response.status_code != 403) == is_https
    assert ("strict-transport-security" in response.headers) == is_https


async def test_without_the_setting_nobody_is_believed(
    client: httpx.AsyncClient, cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Real-IP": "203.0.113.7"}
    signing_in = {"email": cast.alice.label, "password": PASSWORD}
    response = await client.post("/admin/login", data=signing_in, headers=headers)
    assert response.status_code == 303
    assert "strict-transport-security" not in response.headers
    async with database.transaction() as session:
        assert await session.scalar(select(AuthSession.address)) == "127.0.0.1"
