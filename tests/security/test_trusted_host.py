"""Only the names of this site are answered."""

import httpx
import pytest

from admin_app.app import create_app
from admin_app.config import Settings
from admin_app.database import Database
from tests.conftest import browser

OTHER_HOSTS = [
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "127.0.0.1@evil.example",
    "evil.example#127.0.0.1",
    "localhost.",
    "www.localhost",
    "",
    " ",
    "127.0.0.1:8000:1",
    "[::2]:8000",
    "[::1",
]
OWN_HOSTS = ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]", "[::1]:8000"]


async def test_other_host_names_are_refused_everywhere(client: httpx.AsyncClient) -> None:
    for host in OTHER_HOSTS:
        for path in (
            "/",
            "/admin/login",
            "/admin/statics/admin.css",
            "/api/v1/products/",
            "/nothing",
            "/live/",
        ):
            response = await client.get(path, headers={"Host": host})
            assert response.status_code == 400, (host, path)
            assert response.text == "Invalid host header"
        # Whatever watches over the process asks by its address; there is nothing of this site in the answer.
        for path, status in {"/live": 200, "/ready": 200, "/metrics": 404}.items():
            response = await client.get(path, headers={"Host": host})
            assert response.status_code == status, (host, path)
            assert host.strip() not in response.text or not host.strip()
    for host in OWN_HOSTS:
        assert (await client.get("/admin/login", headers={"Host": host})).status_code == 200, host


@pytest.mark.parametrize("port", ["0", "99999", "65536", "x", "-1", "8000x", "٨"])
async def test_a_port_that_is_none_is_no_fault(port: str, client: httpx.AsyncClient) -> None:
    for path in ("/admin/", "/admin/login", "/", "/admin"):
        headers = {"Host": f"127.0.0.1:{port}".encode(), "Cookie": "session_8000=x"}
        response = await client.get(path, headers=headers)
        assert response.status_code in {200, 302, 307, 400}, path


async def test_the_public_name_and_listed_ones_are_answered(settings: Settings, database: Database) -> None:
    more = {"public_url": "https://admin.example.com", "allowed_hosts": ("other.example", "*.inner.example")}
    website = create_app(settings.model_copy(update=more))
    async with browser(website) as client:
        for host, expected in {
            "admin.example.com": 200,
            "other.example": 200,
            "a.inner.example": 200,
            "inner.example": 400,
            "example.com": 400,
            "www.admin.example.com": 400,
        }.items():
            response = await client.get("/admin/login", headers={"Host": host})
            assert response.status_code == expected, host
    await website.state.database.close()


async def test_a_page_names_no_host_so_no_proxy_can_mislead_it(client: httpx.AsyncClient) -> None:
    headers = {"Host": "localhost:1234", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    text = (await client.get("/admin/login", headers=headers)).text
    assert "localhost" not in text
    assert "evil" not in text
    assert "http" not in text.replace("http-equiv", "")
