"""A browser in front of several web processes, used by somebody who tries again as people do."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx

from tests.admin.pages import Element, parse
from tests.chaos.ledger import Ledger, Told, Try

PASSWORD = "correct horse battery staple"
HOST = "127.0.0.1:8000"
"""What the site is called; each process has a port of its own behind it."""
TIMEOUT_SECONDS = 5
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 90
"""So long somebody goes on asking for a page."""
MOST_SENDS = 4


class GaveUp(Exception):
    """The page did not come, or not the one that was asked for."""


class Browser:
    """A session is good at every web process; cookies know hosts, not ports."""

    def __init__(self, name: str, ports: Sequence[int], ledger: Ledger, chance: random.Random) -> None:
        self.name = name
        self._ledger = ledger
        self._chance = chance
        self._ports = list(ports)
        self._port = chance.choice(self._ports)
        self._client = httpx.AsyncClient(
            headers={"Host": HOST, "Sec-Fetch-Site": "same-origin"}, timeout=TIMEOUT_SECONDS
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def sign_in(self, email: str) -> None:
        one = Try("sign in", self.name)
        while one.told is not Told.ACKNOWLEDGED:
            await self.post(one, "/admin/login", data={"email": email, "password": PASSWORD, "next": ""})

    async def page(self, path: str, **parameters: str) -> Element:
        """Raises GaveUp for one that is not here (any more)."""
        response = await self.get(path, **parameters)
        if response.status_code != 200:
            raise GaveUp(f"{response.status_code} at {path}")
        return parse(response)

    async def get(self, path: str, **parameters: str) -> httpx.Response:
        """The first answer that is not about an outage."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            response = await self._send("GET", path, params=parameters or None)
            if isinstance(response, httpx.Response) and response.status_code != 503:
                return response
            await self._wait()
        self._ledger.fault(f"{self.name} waited {PATIENCE_SECONDS} s for {path} in vain")
        raise GaveUp(path)

    async def post(self, one: Try, path: str, **body: Any) -> httpx.Response | None:
        """Send it, again while nobody answers, until patience ends; notes in `one` what came of it."""
        doubtful = False
        for _ in range(self._chance.randint(1, MOST_SENDS)):
            one.sent += 1
            response = await self._send("POST", path, **body)
            if isinstance(response, httpx.Response):
                status = response.status_code
                if status < 400:
                    one.told = Told.ACKNOWLEDGED
                    return response
                if status < 500:
                    one.told, one.reason = Told.UNKNOWN if doubtful else Told.REFUSED, str(status)
                    return response
                doubtful, one.reason = True, str(status)
            elif response is not None:
                doubtful, one.reason, one.is_unanswered = True, "no answer", True
            await self._wait()
        if not doubtful:  # no process took the connection
            one.told, one.reason = Told.REFUSED, "not sent"
        return None

    async def wait_for(self, port: int, path: str) -> None:
        """Until this very process answers with that page."""
        while True:
            with suppress(httpx.TransportError):
                if (await self._client.get(f"http://127.0.0.1:{port}{path}")).status_code == 200:
                    return
            await asyncio.sleep(POLL_SECONDS)

    async def _send(self, method: str, path: str, **body: Any) -> httpx.Response | Exception | None:
        """None when it was not sent at all."""
        port = self._port
        self._ledger.under_way[port] += method == "POST"
        try:
            response = await self._client.request(method, f"http://127.0.0.1:{port}{path}", **body)
        except httpx.TransportError as error:
            self._turn()
            was_sent = not isinstance(error, httpx.ConnectError)
            self._ledger.requests["no answer" if was_sent else "no connection"] += 1
            return error if was_sent else None
        finally:
            self._ledger.under_way[port] -= method == "POST"
        status = response.status_code
        self._ledger.requests[str(status)] += 1
        if status >= 500 and status != 503:
            told = " ".join(response.text.split())[-300:]
            self._ledger.fault(f"{self.name}: {method} {path} was answered {status}: {told}")
        if method == "GET" and "/login" in response.headers.get("location", ""):
            self._ledger.fault(f"{self.name} was signed out at {path}")
            raise GaveUp(path)
        return response

    def _turn(self) -> None:
        """To another process, as a balancer does."""
        self._port = self._ports[(self._ports.index(self._port) + 1) % len(self._ports)]

    async def _wait(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.2, 1.0))
