"""Quick search by hand: keys only, the answer that came late, no network, and a phone."""

import re

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenPage

HOME = re.compile(r"/admin/$")


def opened(page: Page, path: str = "/admin/product/list") -> None:
    page.goto(path)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Search products")).to_be_focused()


def test_keys_alone_find_and_open_a_product(open_page: OpenPage) -> None:
    page = open_page("sam")
    opened(page)
    expect(page.locator("#quick-search [role=option]").first).to_contain_text("Home")
    page.keyboard.type("cofee makr", delay=15)
    options = page.locator("#quick-search [role=option]")
    expect(options.first).to_contain_text("Coffee Maker")
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    chosen = page.locator("[role=option][aria-selected=true]")
    expect(chosen).to_have_attribute("id", "quick-1")
    expect(page.get_by_role("combobox")).to_have_attribute("aria-activedescendant", "quick-1")
    page.keyboard.press("End")
    expect(options.last).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    title = options.first.locator(".quick-title").inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=title)).to_be_visible()


def test_escape_leads_back_to_where_the_focus_was(open_page: OpenPage) -> None:
    page = open_page("sam")
    page.goto("/admin/product/list")
    page.locator("#search").focus()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Search products")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#quick-search")).to_be_hidden()
    expect(page.locator("#search")).to_be_focused()


def test_enter_right_after_pasting_an_e_mail_goes_there(open_page: OpenPage) -> None:
    page = open_page("root")
    opened(page)
    page.get_by_role("combobox", name="Search products").fill("bob@demo.example")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="bob@demo.example")).to_be_visible()


def test_an_answer_that_comes_late_is_dropped(open_page: OpenPage) -> None:
    page = open_page("sam")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile(r"/admin/search\?q=mug$"), hold)
    opened(page)
    box = page.get_by_role("combobox", name="Search products")
    with page.expect_request(re.compile("q=mug")):
        box.fill("mug")
    expect(page.locator("#quick-search")).to_have_class(re.compile("is-loading"))
    box.fill("teapot")
    expect(page.locator("#quick-search [role=option]").first).to_contain_text("Teapot")
    for route in held:
        route.abort()
    expect(page.locator("#quick-search [role=option]").first).to_contain_text("Teapot")
    expect(page.locator("#quick-search")).not_to_have_class(re.compile("is-loading"))


def test_without_network_it_says_so_and_works_again_afterwards(open_page: OpenPage) -> None:
    page = open_page("sam")
    opened(page)
    expect(page.locator("#quick-search [role=option]").first).to_be_visible()
    page.route(re.compile(r"/admin/search\?"), lambda route: route.abort("aborted"))
    box = page.get_by_role("combobox", name="Search products")
    box.fill("teapot")
    expect(page.locator("#quick-list")).to_contain_text("cannot be reached")
    page.unroute_all()
    box.fill("teapots")
    expect(page.locator("#quick-search [role=option]").first).to_contain_text("Teapot")


def test_on_a_phone_it_fills_the_screen_with_rows_for_thumbs(open_page: OpenPage) -> None:
    page = open_page("alice", viewport={"width": 390, "height": 844}, has_touch=True)
    page.goto("/admin/")
    page.get_by_role("button", name="Quick search").tap()
    box = page.locator("#quick-search").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (390, 844)
    expect(page.locator("#quick-search [role=option]").first).to_be_visible()
    heights = [
        option.bounding_box()["height"] for option in page.locator("#quick-search [role=option]").all()
    ]  # type: ignore[index]
    assert min(heights) >= 44
    page.locator("#quick-search [role=option]").filter(has_text="Home").tap()
    expect(page).to_have_url(HOME)


def test_without_script_the_field_leads_to_a_page_of_results(open_page: OpenPage) -> None:
    page = open_page("sam", java_script_enabled=False)
    page.goto("/admin/product/list")
    page.get_by_role("searchbox", name="Search everything").fill("cofee makr")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Quick search")).to_be_visible()
    expect(page.locator(".quick-title").first).to_contain_text("Coffee Maker")
