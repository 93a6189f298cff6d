"""What can be measured about looks: on every page, in both themes, from a phone to a wide screen."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import Demo

pytestmark = pytest.mark.browser

WIDTHS = (390, 768, 1024, 1440)
PHONE = {"width": 390, "height": 844}
MEASURE = (Path(__file__).parent / "measure.js").read_text()


@pytest.fixture
def long_names(open_page: OpenPage) -> str:
    """A product whose every text is as long as it may be; its path's end."""
    page = open_page("alice")
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill("Unbreakable" * 23)
    page.get_by_label("Description").fill("A word that never ends: " + "x" * 10_000 + " or does it. " * 700)
    page.get_by_label("Price").fill("99999999.99")
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url("**/edit/*")
    return page.url.rsplit("/", 1)[1]


def pages(page: Page, product: str) -> Iterator[str]:
    """Shows one page after the other, each with something on it, and names it."""
    for path in (
        "/admin/",
        "/admin/product/list",
        "/admin/product/list?search=unbreakable",
        "/admin/product/list?search=candle&is_active=yes&owner=demo",
        "/admin/product/list?search=nothingofthekind",
        "/admin/product/list?created_from=yesterday",
        f"/admin/product/details/{product}",
        f"/admin/product/edit/{product}",
        f"/admin/product/delete/{product}",
        "/admin/product/create",
        "/admin/product/details/nothing",
        "/admin/user/list",
        "/admin/user/create",
        "/admin/password",
        "/admin/account",
        "/admin/account/tokens",
        "/admin/product/export?search=unbreakable",
        "/admin/product/import",
    ):
        page.goto(path)
        yield path
    yield from of_an_export(page)
    yield from of_an_import(page)
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill("x" * 300)
    page.get_by_label("Price").fill("12.345")
    page.get_by_label("Owner").fill("nobody@demo.example")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".field-error").first).to_be_visible()
    yield "a form with errors"
    page.goto("/admin/product/list")
    boxes = page.locator("input[name=ids]")
    for number in range(3):
        boxes.nth(number).check()
    page.get_by_text("Filters", exact=True).click()
    yield "a list with rows selected and filters open"
    page.keyboard.press("Escape")
    yield from of_an_operation(page)
    page.goto(f"/admin/product/delete/{product}")
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/list*")
    expect(page.get_by_role("status")).to_be_visible()
    yield "a message"
    page.goto("/admin/product/bin")
    expect(page.get_by_role("button", name="Restore Unbreakable")).to_be_visible()
    yield "the bin"
    page.context.clear_cookies()
    page.goto("/admin/login")
    yield "sign-in"
    page.get_by_label("E-mail").fill("nobody@demo.example")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    yield "sign-in refused"


def of_an_import(page: Page) -> Iterator[str]:
    content = "Article,Price,Nothing\nUnimported,12.50,\n,cheap,\n" + "x" * 200 + ",1,\n"
    page.goto("/admin/product/import")
    page.locator("#file").set_input_files(
        {"name": "x" * 100, "mimeType": "text/csv", "buffer": content.encode()}
    )
    page.get_by_role("button", name="Send the file").click()
    page.wait_for_url("**/import/details/*")
    page.locator("#column-0").select_option("price")
    page.get_by_role("button", name="Check the file").click()
    expect(page.locator(".field-error").first).to_be_visible()
    yield "columns with errors"
    page.locator("#column-0").select_option("name")
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_role("button", name="Create 2 products")).to_be_visible(timeout=15_000)
    yield "what an import would do"


def of_an_operation(page: Page) -> Iterator[str]:
    page.goto("/admin/product/list?search=unbreakable")
    page.locator("input[name=ids]").first.check()
    page.locator("summary", has_text="Actions").click()
    yield "the actions"
    page.get_by_role("button", name="Change price").click()
    change = page.get_by_label("Change", exact=True)
    change.fill("-100")
    change.press("Enter")
    expect(page.locator(".field-error")).to_be_visible()
    yield "a question with errors"
    change.fill("-50")
    change.press("Enter")
    expect(page.locator(".sample-title")).to_have_count(1)
    yield "a question"
    page.get_by_role("button", name="Change price: 1 product").click()
    expect(page.locator("h1 .badge")).to_have_text("Finished", timeout=15_000)
    yield "an operation"
    page.goto("/admin/operation/list")
    expect(page.locator("tbody tr").first).to_contain_text("Change price")
    yield "operations"


def of_an_export(page: Page) -> Iterator[str]:
    page.goto("/admin/product/export?search=unbreakable")
    page.get_by_label("Excel").check()
    page.get_by_role("button", name="Export").click()
    expect(page.locator("h1 .badge")).to_have_text("Ready", timeout=15_000)
    yield "an export"
    page.goto("/admin/exports")
    yield "exports"


def test_every_page_fits_and_can_be_read_at_every_size_in_both_themes(
    open_page: OpenPage, long_names: str, demo: Demo
) -> None:
    page = open_page()
    demo.sign_in(page, "root@demo.example")  # anew: the cookies are thrown away on the way
    found = []
    for name in pages(page, long_names):
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                found += [f"{name} at {width} {theme}: {problem}" for problem in page.evaluate(MEASURE)]
    assert found == []


def test_a_phone_opens_and_closes_the_menu(open_page: OpenPage) -> None:
    page = open_page("alice", viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto("/admin/product/list")
    users = page.get_by_role("link", name="Users")
    expect(users).to_be_hidden()
    page.get_by_text("Menu").tap()
    expect(users).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.get_by_text("Menu").tap()
    expect(users).to_be_hidden()
    page.get_by_text("Menu").tap()
    users.tap()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Users")


def test_a_phone_keeps_the_title_in_view_while_the_table_scrolls(open_page: OpenPage) -> None:
    page = open_page("alice", viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto("/admin/product/list")
    expect(page.get_by_text("Owner", exact=True).last).not_to_be_in_viewport()
    page.locator(".table-box").evaluate("box => box.scrollTo(1000, 0)")
    expect(page.locator("tbody .cell-title").first).to_be_in_viewport(ratio=1)
    expect(page.locator("tbody input[name=ids]").first).to_be_in_viewport(ratio=1)


def test_the_table_header_and_the_actions_stay_in_view_on_a_long_page(open_page: OpenPage) -> None:
    page = open_page("alice", viewport={"width": 1440, "height": 600})
    page.goto("/admin/product/list?pageSize=100")
    page.locator("tbody tr").nth(60).scroll_into_view_if_needed()
    expect(page.get_by_role("columnheader", name="Price")).to_be_in_viewport(ratio=1)
    expect(page.locator("summary", has_text="Actions")).to_be_in_viewport(ratio=1)
