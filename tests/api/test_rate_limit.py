"""How much one person may ask of the API in a while."""

from admin_app.app import create_app
from admin_app.config import Settings
from admin_app.database import Database
from tests.api.conftest import MakeToken, script
from tests.conftest import SESSION_COOKIE, SignIn


async def test_whoever_asks_too_much_waits_by_whichever_token_and_nobody_else(
    settings: Settings, database: Database, make_token: MakeToken, sign_in: SignIn
) -> None:
    website = create_app(settings.model_copy(update={"api_rate_limit": "3/minute"}))
    tokens = [await make_token(name) for name in ("alice", "alice", "bob")]
    async with (
        script(website, tokens[0]) as one,
        script(website, tokens[1]) as other,
        script(website, tokens[2]) as bob,
        script(website) as nobody,
    ):
        answers = [await client.get("/products/") for client in (one, other, one, other)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        refused = answers[-1]
        assert refused.headers["content-type"] == "application/problem+json"
        wait = int(refused.headers["retry-after"])
        assert 0 < wait <= 60
        told = f"Too many requests: at most 3 in 60 s. Try again in {wait} s."
        assert (refused.json()["status"], refused.json()["detail"]) == (429, told)
        assert (await one.post("/products/", json={"name": "Anvil", "price": "1.00"})).status_code == 429
        alice = await sign_in("alice")
        cookie = {"Cookie": f"{SESSION_COOKIE}={alice.cookies[SESSION_COOKIE]}"}
        assert (await nobody.get("/products/", headers=cookie)).status_code == 429
        assert (await bob.get("/products/")).status_code == 200
        assert (await nobody.get("/products/")).status_code == 401
    await website.state.throttle.close()
    await website.state.database.close()
