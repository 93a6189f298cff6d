"""What people do to a page: keys only, a nervous double click, the Back button, scripts switched off."""

import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import Demo

pytestmark = pytest.mark.browser

FOCUS = """() => {
  const element = document.activeElement, style = getComputedStyle(element);
  const { top, bottom } = element.getBoundingClientRect();
  const isOutlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return isOutlined && bottom > 0 && top < innerHeight;
}"""


def tab_to(page: Page, selector: str, limit: int = 60) -> None:
    """By the Tab key alone; whatever has the focus on the way must show it."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS), page.evaluate("document.activeElement.outerHTML")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the Tab key does not lead to {selector}")


def create(page: Page, name: str) -> None:
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Price").fill("3.50")


def expect_number_of(page: Page, name: str, number: int) -> None:
    page.goto(f"/admin/product/list?search={name}")
    expect(page.locator("tbody tr")).to_have_count(number)


def test_everything_can_be_reached_by_keyboard(open_page: OpenPage, demo: Demo) -> None:
    page = open_page()
    page.goto("/admin/login")
    expect(page.locator("#email")).to_be_focused()
    page.keyboard.type("alice@demo.example")
    tab_to(page, "#password", 1)
    page.keyboard.type(demo.passwords["alice@demo.example"])
    tab_to(page, "button", 1)
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/")

    tab_to(page, ".skip-link", 1)
    expect(page.get_by_text("Skip to content")).to_be_in_viewport(ratio=1)
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to(page, "[data-tile$='/products'] h2 a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/product/list")

    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search products")).to_be_focused()
    page.keyboard.type("candle")
    page.keyboard.press("Enter")
    page.wait_for_url("**/list?search=candle*")

    tab_to(page, "summary")
    page.keyboard.press("Enter")
    tab_to(page, "#filter-is_active", 1)
    page.keyboard.type("Active")
    tab_to(page, ".panel-foot button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/list?search=candle&is_active=yes*")

    tab_to(page, "input[name=ids]")
    page.keyboard.press("Space")
    expect(page.get_by_text("1 selected")).to_be_visible()
    name = page.locator(".is-selected .row-link").inner_text()
    tab_to(page, ".row-link", 1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_double_click_creates_one_product(open_page: OpenPage, scripts: bool) -> None:
    page = open_page("alice", java_script_enabled=scripts)
    name = f"Doubleclick{scripts}"
    create(page, name)
    page.get_by_role("button", name="Save", exact=True).dblclick()
    expect(page.get_by_role("status")).to_have_text(f"Product “{name}” was created.")
    expect_number_of(page, name, 1)


def test_going_back_to_a_form_that_was_saved_allows_another_save(open_page: OpenPage) -> None:
    page = open_page("alice")
    create(page, "Backgammon one")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("“Backgammon one” was created.")
    page.go_back()
    page.get_by_label("Name").fill("Backgammon two")
    page.get_by_label("Price").fill("4")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("“Backgammon two” was created.")
    expect_number_of(page, "backgammon", 2)

    page.get_by_role("link", name="Edit Backgammon two").click()
    page.get_by_label("Price").fill("5")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("was saved.")
    page.go_back()
    page.get_by_label("Price").fill("6")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("was saved.")
    expect_number_of(page, "backgammon", 2)


def test_everything_works_without_scripts(open_page: OpenPage, demo: Demo) -> None:
    page = open_page(java_script_enabled=False)
    demo.sign_in(page, "alice@demo.example")
    create(page, "Scriptless lantern")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Product “Scriptless lantern” was created.")
    page.get_by_role("searchbox", name="Search products").fill("scriptless")
    page.get_by_text("Filters", exact=True).click()
    page.get_by_role("combobox", name="State").select_option("Active")
    page.get_by_role("button", name="Show results").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("checkbox", name="Select Scriptless lantern").check()
    page.get_by_text("Actions", exact=True).first.click()
    page.get_by_role("button", name="Deactivate").click()
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("link", name="State: Active")).to_be_visible()


NOTE_LOADING = """new MutationObserver(() => {
  if ("loading" in document.documentElement.dataset) sessionStorage.setItem("shown", location.pathname);
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-loading"] })"""


def test_a_page_that_takes_its_time_shows_that_it_is_on_its_way(open_page: OpenPage) -> None:
    page = open_page("alice")
    # While a page is on its way Playwright cannot look at the one before: that one takes the note itself.
    page.add_init_script(NOTE_LOADING)
    page.goto("/admin/")
    page.route("**/product/list", lambda route: (time.sleep(0.8), route.continue_()))
    page.get_by_role("navigation").get_by_role("link", name="Products").click()
    page.wait_for_url("**/product/list")
    assert page.evaluate("sessionStorage.getItem('shown')") == "/admin/"
    expect(page.locator("html[data-loading]")).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, Alice")
    expect(page.locator("html[data-loading]")).to_have_count(0)
