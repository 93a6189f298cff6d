"""Exports in a browser: downloads that leave the page as it was, and files that become ready meanwhile."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

LIST = "/admin/product/list?search=candle&is_active=yes"


def export(page: Page) -> None:
    page.get_by_role("button", name="Export").click()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_list_is_downloaded_and_the_page_goes_on(
    scripts: bool, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page("alice", java_script_enabled=scripts)
    page.goto(LIST)
    page.get_by_role("link", name="Export", exact=True).click()
    page.get_by_label("Updated").uncheck()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").dblclick()
    assert download.value.suggested_filename.startswith("products-20")
    download.value.save_as(tmp_path / "products.csv")
    header, first, *_ = (tmp_path / "products.csv").read_text("utf-8-sig").splitlines()
    assert header == "Name,Price,State,Owner,Created"
    assert "candle" in first.lower()
    expect(page.get_by_role("heading", level=1)).to_have_text("Export products")
    page.get_by_label("JSON lines").check()
    expect(page.locator(".is-sending")).to_have_count(0)
    with page.expect_download() as download:
        export(page)
    assert download.value.suggested_filename.endswith(".jsonl")


def test_an_excel_file_is_followed_until_it_is_ready(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto("/admin/exports")
    before = page.locator("tbody .row-link").count()
    page.goto(LIST)
    page.get_by_role("link", name="Export", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_label("CSV").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Excel")).to_be_checked()
    page.get_by_role("button", name="Export").dblclick()
    page.wait_for_url("**/admin/export/details/*")
    expect(page.locator("h1 .badge")).to_have_text("Ready", timeout=15_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.endswith(".xlsx")
    page.goto("/admin/exports")
    expect(page.locator("tbody .row-link")).to_have_count(before + 1)  # though the button was pressed twice


def test_the_bell_of_an_open_page_tells_when_a_file_is_ready_until_that_is_seen(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.clock.install()
    page.goto("/admin/product/export?search=candle")
    form = {"format": "xlsx", "every": "yes", "key": page.locator("input[name=key]").input_value()}
    origin = page.evaluate("location.origin")
    # Its page is not opened: whoever sees it there needs no bell.
    page.request.post(page.url, form=form, headers={"Origin": origin}, max_redirects=0)
    page.goto(LIST)
    bell = page.get_by_role("link", name=re.compile("^Notifications"))
    told = page.locator("[aria-live]").filter(has_text="Your export of")
    for _ in range(60):
        page.clock.fast_forward(31_000)  # as if somebody had looked at the page for so long
        page.wait_for_timeout(250)
        if told.count():
            break
    expect(told).to_contain_text("is ready")
    expect(told.get_by_role("link", name="Download")).to_be_visible()
    expect(bell).to_have_accessible_name(re.compile(r"\d new$"))
    page.get_by_role("button", name="Close").click()
    expect(told).to_have_count(0)
    expect(bell).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/notifications")
    page.get_by_role("button", name="Mark all as seen").click()
    expect(bell).to_have_accessible_name("Notifications")
    expect(page.locator(".is-unseen")).to_have_count(0)
