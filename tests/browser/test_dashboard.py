"""The start page while somebody looks at it, on a phone."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

PAUSE_MS = 31_000


def test_tiles_are_read_again_by_themselves_and_leave_what_is_in_use(open_page: OpenPage) -> None:
    page = open_page("alice", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.clock.install()
    page.goto("/admin/")
    tile = page.locator("[data-tile$='/activity']")
    table = page.locator("[data-tile$='/created'] details")
    expect(table).to_be_visible(timeout=30_000)  # it has been counted
    table.locator("summary").click()
    focused = page.locator("[data-tile$='/own'] h2 a")
    focused.focus()
    focused.evaluate("link => { link.isTheSame = true; scrollTo(0, 200); }")

    other = open_page("alice")
    other.goto("/admin/product/create")
    other.get_by_label("Name").fill("Kaleidoscope for the start page")
    other.get_by_label("Price").fill("12.50")
    other.get_by_role("button", name="Save", exact=True).click()
    other.wait_for_url("**/list*")
    page.evaluate("document.querySelector(\"[data-tile$='/created'] h2\").textContent = 'Stale'")
    expect(tile).not_to_contain_text("Kaleidoscope")
    page.clock.fast_forward(PAUSE_MS)
    expect(tile).to_contain_text("Created product “Kaleidoscope for the start page”")
    expect(page.get_by_role("heading", name="Created per day")).to_be_visible()
    assert page.evaluate("document.activeElement.isTheSame && scrollY === 200")
    expect(table).to_have_attribute("open", "")
    assert page.evaluate("document.documentElement.scrollWidth") == 390

    # One that comes without its table for once stops neither itself nor the others.
    table.locator(".chart-rows").evaluate("rows => { rows.scrollTop = 50; }")
    late = '<section data-tile="/admin/tile/created">Too late</section>'
    page.route("**/tile/created", lambda route: route.fulfill(body=late), times=1)
    page.evaluate("document.querySelector(\"[data-tile$='/activity'] h2\").textContent = 'Stale'")
    page.clock.fast_forward(PAUSE_MS)
    expect(page.get_by_role("heading", name="Recent activity")).to_be_visible()  # the last one
    expect(page.get_by_text("Too late")).to_be_visible()
    page.clock.fast_forward(PAUSE_MS)
    expect(table).to_be_visible()
    page.locator("[data-tile$='/prices'] a[tabindex]").last.dispatch_event("click")
    page.wait_for_url("**/product/list?price_from=*")
