"""Deleting and restoring with a finger."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser


def test_a_product_is_deleted_and_restored_on_a_phone(open_page: OpenPage) -> None:
    page = open_page("alice", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto("/admin/product/list?search=alice&sortBy=name&sort=asc")
    row = page.locator("tbody tr").first
    name = row.locator(".row-link").inner_text()
    row.get_by_role("link", name=f"Delete {name}").tap()
    page.get_by_role("button", name="Delete").tap()
    expect(page.get_by_role("status")).to_have_text(f"Product “{name}” is in the bin for 30 days.")
    expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)
    page.get_by_role("link", name="Bin", exact=True).tap()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Bin")
    page.get_by_role("button", name=f"Restore {name}").tap()
    expect(page.get_by_role("status")).to_have_text(f"Product “{name}” was restored.")
    page.get_by_role("link", name="Products", exact=True).tap()
    page.get_by_role("searchbox", name="Search products").fill(f'"{name}"')
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name=name, exact=True).first).to_be_visible()
