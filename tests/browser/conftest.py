"""One demo and one Chromium for all browser tests, and pages that complain by themselves."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.demo import CHROMIUM, STOP_SECONDS, Demo, chromium

OpenPage = Callable[..., Page]


# Not for the session: Playwright keeps an event loop running, beside which no async test could run.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        reason = "there is no Chromium on this machine"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def demo(browser: Browser) -> Iterator[Demo]:
    # Not pytest's own folder: every new session closes that to other accounts, PostgreSQL's among them.
    with TemporaryDirectory(prefix="admin-app-") as directory:
        demo = Demo(Path(directory) / "data")
        yield demo
        assert demo.stop() < STOP_SECONDS
        assert "incident" not in demo.log.read_text()


@pytest.fixture(scope="package")
def cookies(browser: Browser, demo: Demo) -> Callable[[str], Any]:
    """What keeps somebody signed in; each person signs in once for all tests."""
    kept: dict[str, Any] = {}

    def cookies(email: str) -> Any:
        if email not in kept:
            with browser.new_context() as context:
                demo.sign_in(context.new_page(), email)
                kept[email] = context.storage_state()
        return kept[email]

    return cookies


@pytest.fixture
def open_page(browser: Browser, demo: Demo, cookies: Callable[[str], Any]) -> Iterator[OpenPage]:
    """`open_page("alice")`: a page of a browser in which Alice is signed in; of nobody's without a name.

    Afterwards nothing may have been complained about: script errors, what the content security policy
    refused, requests that failed or went elsewhere.
    """
    opened: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(name: str | None = None, **options: Any) -> Page:
        if name is not None:
            options["storage_state"] = cookies(f"{name}@demo.example")
        context = browser.new_context(base_url=demo.origin, reduced_motion="reduce", **options)
        context.set_default_timeout(10_000)
        opened.append(context)
        listen(context, demo, complaints)
        return context.new_page()

    yield open_page
    for context in opened:
        context.close()
    assert complaints == []


def listen(context: BrowserContext, demo: Demo, complaints: list[str]) -> None:
    def on_console(message: Any) -> None:
        # A page that answers 403 or 404 is told here too; on_response decides about those.
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(f"{message.page and message.page.url}: {message.text}")

    def on_response(response: Any) -> None:
        is_page = response.request.is_navigation_request()
        is_asked = any(part in response.url for part in ("/inline/", "/product/images", "/product/import"))
        is_refusal = is_asked and response.status in {401, 409, 422}
        if response.status >= (500 if is_page else 400) and not is_refusal:
            complaints.append(f"{response.status} {response.url}")

    def on_request(request: Any) -> None:
        if not request.url.startswith(f"{demo.origin}/"):
            complaints.append(f"elsewhere: {request.url}")

    def on_request_failed(request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # the next page was asked for before this one came
            complaints.append(f"{request.failure} {request.url}")

    context.on("console", on_console)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("response", on_response)
    context.on("request", on_request)
    context.on("requestfailed", on_request_failed)


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[[str, list[str]], Path]:
    """`write_csv(owner_email, names)`: a file of products for `admin-app import`."""

    def write(owner: str, names: list[str]) -> Path:
        path = tmp_path / "products.csv"
        rows = [f'"{name}",12.50,{owner}' for name in names]
        path.write_text("\n".join(["name,price,owner_email", *rows, ""]))
        return path

    return write
