"""A forgotten password in a browser: from the mail in the worker's log to signing in with another one."""

import re
import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import Demo

pytestmark = pytest.mark.browser

EMAIL, OLD, NEW = "nora@demo.example", "a first long password", "nine badgers in a bathtub"
LINK = re.compile(r"http://127\.0\.0\.1:\d+/admin/reset/[\w-]{43}")


def choose(page: Page, password: str) -> None:
    page.get_by_label("New password", exact=True).fill(password)
    page.get_by_label("New password again").fill(password)
    page.get_by_role("button", name="Set the new password").click()


def test_whoever_forgot_chooses_another_by_mail_and_by_a_superusers_link(
    open_page: OpenPage, demo: Demo
) -> None:
    root, nora = open_page("root"), open_page()
    root.goto("/admin/user/create")
    root.get_by_label("E-mail").fill(EMAIL)
    root.get_by_label("Name").fill("Nora")
    root.get_by_label("Password", exact=True).fill(OLD)
    root.get_by_role("button", name="Save", exact=True).click()

    nora.goto("/admin/login")
    nora.get_by_role("link", name="Forgot your password?").click()
    nora.get_by_label("E-mail").fill(EMAIL)
    nora.keyboard.press("Enter")
    expect(nora.get_by_role("status")).to_contain_text("a link is in the log of this site")
    mailed = mailed_link(demo)
    for _ in range(20):  # a moment after it was sent it works
        nora.goto(mailed)
        if nora.get_by_label("New password", exact=True).count():
            break
    choose(nora, "nora nora nora nora")
    expect(nora.get_by_text("This password is too easy to guess")).to_be_visible()
    choose(nora, NEW)
    expect(nora.get_by_role("status")).to_contain_text("Your new password is set")
    demo.passwords[EMAIL] = NEW
    demo.sign_in(nora, EMAIL)

    root.goto(f"/admin/user/list?search={EMAIL}")
    root.get_by_role("link", name=EMAIL, exact=True).and_(root.locator(".row-link")).click()
    root.get_by_role("button", name="Make a link").dblclick()
    link = root.get_by_label("Link", exact=True).input_value()
    assert LINK.fullmatch(link)
    root.get_by_role("button", name="Copy").click()
    expect(root.get_by_role("status")).to_have_text("Copied.")
    without_scripts = open_page(java_script_enabled=False)
    without_scripts.goto(link)
    choose(without_scripts, f"{NEW} again")
    expect(without_scripts.get_by_role("status")).to_contain_text("Your new password is set")
    without_scripts.goto(link)
    expect(without_scripts.get_by_role("alert")).to_contain_text("This link does not work any more")
    nora.goto("/admin/")
    expect(nora.get_by_role("heading", name="Sign in")).to_be_visible()


def mailed_link(demo: Demo) -> str:
    """Without a mail server, mails are in the worker's log."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := LINK.search(demo.log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise AssertionError("no mail was written to the log")
