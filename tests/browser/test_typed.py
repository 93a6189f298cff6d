"""Nothing typed is lost: signed out meanwhile, or about to leave."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import Demo

pytestmark = pytest.mark.browser

ALICE = "alice@demo.example"
TEXT = '\nThe first line is empty,\n\n  and "this" & <that> stay as they are. '


def end_session(page: Page, demo: Demo) -> None:
    """In the database only: the browser knows nothing of it."""
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    headers = {"Sec-Fetch-Site": "same-origin"}
    assert httpx.post(f"{demo.url}/logout", cookies=cookies, headers=headers).status_code == 303
    assert httpx.get(f"{demo.url}/", cookies=cookies).status_code == 302


def sign_in(page: Page, demo: Demo, password: str | None = None) -> None:
    page.get_by_label("E-mail").fill(ALICE)
    page.get_by_label("Password").fill(password or demo.passwords[ALICE])
    page.get_by_role("button", name="Sign in").click()


def open_signed_in(open_page: OpenPage, demo: Demo, **options: object) -> Page:
    """With a session of her own, which may end without harm to other tests."""
    page = open_page(**options)
    demo.sign_in(page, ALICE)
    return page


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


@contextmanager
def asked(page: Page, times: int = 1, *, leave: bool = False) -> Iterator[None]:
    """Before leaving the page, so many times. Whoever does not `leave` stays."""
    dialogs = []

    def answer(dialog):
        dialogs.append(dialog.type)
        if leave:
            dialog.accept()
        else:
            dialog.dismiss()

    page.on("dialog", answer)
    yield
    page.remove_listener("dialog", answer)
    assert dialogs == ["beforeunload"] * times


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_whoever_was_signed_out_while_typing_signs_in_and_types_on(
    open_page: OpenPage, demo: Demo, scripts: bool
) -> None:
    page = open_signed_in(open_page, demo, java_script_enabled=scripts)
    name = f"Typed once {scripts}"
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Description").fill(TEXT)
    page.get_by_label("Price").fill("7.50")
    page.get_by_label("Active").uncheck()
    end_session(page, demo)
    with asked(page, times=0):
        save(page)
        told = "You were signed out. Sign in, and your form is back as you left it. Nothing was saved yet."
        expect(page.get_by_role("status")).to_have_text(told)
        sign_in(page, demo, "wrong password")
        expect(page.get_by_role("alert")).to_have_text("E-mail or password is wrong.")
        sign_in(page, demo)
        if not scripts:
            page.get_by_role("button", name="Back to my form").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("New product")
        told = "This is what you typed; it is not saved yet."
        expect(page.get_by_role("status")).to_have_text(told)
        if scripts:
            expect(page.get_by_role("status")).to_be_focused()
        expect(page.get_by_label("Name")).to_have_value(name)
        expect(page.get_by_label("Description")).to_have_value(TEXT)
        expect(page.get_by_label("Price")).to_have_value("7.50")
        expect(page.get_by_label("Active")).not_to_be_checked()
        save(page)
        expect(page.get_by_role("status")).to_have_text(f"Product “{name}” was created.")
    page.goto(f"/admin/product/list?search={name}")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_leaving_a_form_asks_once_something_is_typed(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto("/admin/product/create")
    cancel = page.get_by_role("link", name="Cancel")
    page.get_by_label("Name").click()
    with asked(page, times=0):
        cancel.click()
        page.wait_for_url("**/product/list")

    page.goto("/admin/product/create")
    page.get_by_label("Active").uncheck()
    page.get_by_label("Name").fill("Not saved")
    with asked(page):
        cancel.click()
    with asked(page):
        page.get_by_role("link", name="Users").click()
    expect(page.get_by_label("Name")).to_have_value("Not saved")
    page.get_by_label("Name").fill("")
    with asked(page):  # for the box alone
        cancel.click()
    page.get_by_label("Active").check()
    with asked(page, times=0):
        cancel.click()
        page.wait_for_url("**/product/list")


def test_a_form_that_was_refused_asks_although_nothing_more_was_typed(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill("Refused")
    page.get_by_label("Price").fill("no number")
    with asked(page, times=0):
        save(page)
        expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Price").click()
    with asked(page):
        page.get_by_role("link", name="Cancel").click()
    with asked(page, leave=True):
        page.get_by_role("link", name="Cancel").click()
        page.wait_for_url("**/product/list")


def test_a_form_that_was_saved_does_not_ask_and_asks_again_after_going_back(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill("Guarded lantern")
    page.get_by_label("Price").fill("5")
    with asked(page, times=0):
        page.get_by_role("button", name="Save and continue editing").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Edit product")
        page.get_by_label("Price").fill("6")
        save(page)
        expect(page.get_by_role("status")).to_contain_text("was saved.")
    page.go_back()
    page.get_by_label("Price").fill("7")
    with asked(page):
        page.get_by_role("link", name="Cancel").click()
    with asked(page, times=0):
        save(page)
        expect(page.get_by_role("status")).to_contain_text("was saved.")


def test_the_sign_in_page_that_keeps_a_form_asks_too(open_page: OpenPage, demo: Demo) -> None:
    page = open_signed_in(open_page, demo)
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill("Kept by the sign-in page")
    page.get_by_label("Price").fill("1")
    end_session(page, demo)
    save(page)
    page.get_by_label("E-mail").fill(ALICE)
    with asked(page):
        page.evaluate("location.assign('/admin/')")
    sign_in(page, demo)
    expect(page.get_by_label("Name")).to_have_value("Kept by the sign-in page")
    with asked(page, leave=True):
        page.get_by_label("Name").click()
        page.get_by_role("link", name="Cancel").click()
        page.wait_for_url("**/product/list")


def test_a_row_changed_where_it_stands_waits_until_one_has_signed_in_again(
    open_page: OpenPage, demo: Demo
) -> None:
    page = open_signed_in(open_page, demo)
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill("Waiting inkwell")
    page.get_by_label("Price").fill("5")
    save(page)
    page.goto("/admin/product/list?search=waiting+inkwell")
    row = page.locator("tbody tr").first
    row.locator(".cell-money").dblclick()
    with asked(page, times=0):
        page.get_by_role("link", name="Users").click()
        page.wait_for_url("**/user/list")
    page.go_back()
    row.locator(".cell-money").dblclick()
    row.get_by_label("Price").fill("6.25")
    with asked(page):
        page.get_by_role("link", name="Users").click()

    end_session(page, demo)
    row.get_by_label("Price").press("Enter")
    told = "You were signed out, and nothing was saved. Sign in in another tab, then save again here."
    expect(page.get_by_role("alert")).to_have_text(told)
    expect(row.get_by_label("Price")).to_have_value("6.25")
    link = page.get_by_role("link", name="Sign in in another tab")
    expect(link).to_be_focused()
    with page.expect_popup() as opened:
        link.click()
    other = opened.value
    expect(other).to_have_url(re.compile("/admin/login"))
    sign_in(other, demo)
    expect(other.locator("tbody .cell-money")).to_have_text("5.00")
    other.close()
    row.get_by_label("Price").press("Enter")
    expect(page.locator("tbody .cell-money")).to_have_text("6.25")
    with asked(page, times=0):
        page.get_by_role("link", name="Users").click()
        page.wait_for_url("**/user/list")
