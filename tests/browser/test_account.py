"""The account page in a browser: an access token from beginning to end, and a session ended elsewhere."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import Demo
from tests.browser.test_habits import tab_to

pytestmark = pytest.mark.browser


def test_a_token_is_made_seen_once_and_revoked(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto("/admin/")
    tab_to(page, ".account-link")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
    page.get_by_role("link", name="New token").click()
    page.get_by_label("Name").fill("Browser test")
    page.get_by_label("Valid for").select_option("7 days")
    page.get_by_role("button", name="Create token").dblclick()
    shown = page.get_by_label("Token", exact=True).input_value()
    assert re.fullmatch(r"adm_[\w-]{43}", shown)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    page.get_by_role("link", name="Done").click()
    row = page.get_by_role("row", name="Browser test")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Active")
    assert shown not in page.content()
    row.get_by_role("link", name="Revoke Browser test").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status")).to_have_text("Access token “Browser test” was revoked.")
    expect(row).to_have_count(0)
    page.get_by_role("link", name="New token").click()
    page.get_by_label("Name").press("Control+v")
    expect(page.get_by_label("Name")).to_have_value(shown)


def test_a_session_is_ended_from_another_browser_without_scripts(open_page: OpenPage, demo: Demo) -> None:
    there, here = (
        open_page(user_agent="Mozilla/5.0 (Windows NT 10.0) Firefox/140.0"),
        open_page("bob", java_script_enabled=False),
    )
    demo.sign_in(there, "bob@demo.example")
    here.goto("/admin/account")
    here.get_by_role("button", name="End the session of Firefox on Windows").click()
    expect(here.get_by_role("status")).to_have_text("That session has ended.")
    there.goto("/admin/product/list")
    expect(there.get_by_role("heading", name="Sign in")).to_be_visible()
