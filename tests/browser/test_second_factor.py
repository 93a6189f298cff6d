"""Setting up a second factor on a phone in the dark, and signing in with it."""

import time

import pyotp
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import Demo

pytestmark = pytest.mark.browser

EMAIL, PASSWORD = "factor@demo.example", "a quite unlikely sentence 7"
STEP = 30


def make_account(page: Page, demo: Demo) -> None:
    """One of its own: other tests sign in as the usual people, with a password alone."""
    demo.sign_in(page, "root@demo.example")
    page.goto("/admin/user/create")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Name").fill("Factor")
    page.get_by_label("Role").select_option("support")
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("was created.")
    page.context.clear_cookies()


def give_password(page: Page) -> None:
    page.goto("/admin/login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_a_second_factor_is_set_up_and_asked_for(open_page: OpenPage, demo: Demo) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    make_account(page, demo)
    give_password(page)
    page.goto("/admin/account")
    page.get_by_role("link", name="Set up").click()
    drawn = page.locator(".qr svg").bounding_box()
    assert drawn is not None
    assert drawn["width"] == pytest.approx(drawn["height"], abs=1)
    assert drawn["width"] > 200
    assert page.locator(".qr svg path").first.evaluate("path => getComputedStyle(path).fill") == (
        "rgb(255, 255, 255)"
    )
    app = pyotp.TOTP(page.get_by_label("Or type this key").input_value().replace(" ", ""))
    now = int(time.time()) // STEP
    page.get_by_label("Code the app shows now").fill(app.generate_otp(now))
    page.get_by_role("button", name="Set up").click()
    expect(page.get_by_role("status").first).to_have_text("Your second factor is set up.")
    assert len(page.get_by_label("recovery codes").input_value().split()) == 10
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("10 of your recovery codes are left")).to_be_visible()

    page.context.clear_cookies()
    give_password(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("One more step")
    expect(page.get_by_label("Code")).to_be_focused()
    page.keyboard.type(app.generate_otp(now + 1))  # that of now was used
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/")
