"""The keys of the list of keys, and where they must not be heard."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

LIST = "/admin/product/list"
EDIT = re.compile("/admin/product/edit/")


def row(page: Page, number: int) -> Locator:
    return page.locator("[data-row]").nth(number)


def title(page: Page, number: int) -> Locator:
    return row(page, number).locator(".row-link")


def expect_current(page: Page, number: int) -> None:
    expect(row(page, number)).to_have_class(re.compile("is-current"))
    expect(page.locator(".is-current")).to_have_count(1)


def test_keys_move_between_rows_select_and_open_them(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto(f"{LIST}?owner=alice@demo.example")
    page.keyboard.press("k")
    expect_current(page, 0)
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect_current(page, 2)
    expect(title(page, 2)).to_be_focused()

    page.keyboard.press("x")
    expect(row(page, 2).get_by_role("checkbox")).to_be_checked()
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.keyboard.press("x")
    expect(row(page, 2).get_by_role("checkbox")).not_to_be_checked()

    name = title(page, 2).inner_text()
    page.keyboard.press("e")
    expect(page).to_have_url(EDIT)
    expect(page.get_by_label("Name")).to_have_value(name)
    page.go_back()
    expect_current(page, 2)
    expect(title(page, 2)).to_be_focused()

    page.keyboard.press("j")
    name = title(page, 3).inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.keyboard.press("e")
    expect(page).to_have_url(EDIT)
    page.goto(f"{LIST}?owner=alice@demo.example")
    expect_current(page, 3)
    page.keyboard.press("o")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_the_current_row_stays_in_view_between_header_and_edge(open_page: OpenPage) -> None:
    page = open_page("alice", viewport={"width": 1440, "height": 600})
    page.goto(LIST)
    for _ in range(25):
        page.keyboard.press("j")
    expect(title(page, 24)).to_be_in_viewport(ratio=1)
    for _ in range(24):
        page.keyboard.press("k")
    expect_current(page, 0)
    header = page.get_by_role("columnheader", name="Price").bounding_box()
    box = title(page, 0).bounding_box()
    assert header is not None
    assert box is not None
    assert box["y"] >= header["y"] + header["height"]


def test_somebody_elses_row_is_opened_but_not_edited(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto(f"{LIST}?owner=bob@demo.example")
    page.keyboard.press("j")
    page.keyboard.press("e")
    expect_current(page, 0)
    expect(page).to_have_url(re.compile("/admin/product/list"))
    page.keyboard.press("o")
    expect(page).to_have_url(re.compile("/admin/product/details/"))


def test_keys_lead_to_search_and_to_a_new_row(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto(LIST)
    page.keyboard.press("/")
    search = page.get_by_role("searchbox", name="Search products")
    expect(search).to_be_focused()
    page.keyboard.type("jkxen?/")
    expect(search).to_have_value("jkxen?/")
    expect(page.locator(".is-current")).to_have_count(0)
    page.locator("h1").click()
    page.keyboard.press("Control+j")
    page.keyboard.press("Alt+j")
    expect(page.locator(".is-current")).to_have_count(0)
    page.keyboard.press("n")
    expect(page).to_have_url(re.compile("/admin/product/create"))


def test_the_list_of_keys_is_a_key_and_a_button_away(open_page: OpenPage) -> None:
    page = open_page("sam")
    page.goto(LIST)
    page.keyboard.press("j")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys).to_be_visible()
    expect(keys).to_contain_text("Next, previous row")
    page.keyboard.press("j")
    expect_current(page, 0)
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    expect(title(page, 0)).to_be_focused()

    page.get_by_role("button", name="Keys").click()
    expect(keys).to_be_visible()
    keys.get_by_role("button", name="Close").click()
    expect(keys).to_be_hidden()
    expect(page.get_by_role("button", name="Keys")).to_be_focused()
