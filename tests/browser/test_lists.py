"""The list as people use it: changes in place, counts that come later, panels, views, a phone."""

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

MINE = "/admin/product/list?mine=yes"


def create(page: Page, name: str, price: str = "10.00") -> None:
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Price").fill(price)
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/list*")


def test_a_row_is_changed_where_it_stands_by_mouse_and_by_keys(open_page: OpenPage) -> None:
    page = open_page("alice")
    create(page, "Inline lamp")
    page.goto("/admin/product/list?search=inline")
    row = page.locator("tr[data-row]")
    page.get_by_role("checkbox", name="Select Inline lamp").check()
    row.locator(".cell-money").dblclick()
    price = page.get_by_role("textbox", name="Price")
    expect(price).to_be_focused()
    price.fill("12,5")
    price.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Price: ")
    expect(price).to_have_attribute("aria-invalid", "true")
    expect(price).to_be_focused()
    price.fill("12.5")
    page.get_by_role("combobox", name="State").select_option("Inactive")
    price.press("Enter")
    expect(row.locator(".cell-money")).to_have_text("12.50")
    expect(row.locator(".badge")).to_have_text("Inactive")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_role("checkbox", name="Select Inline lamp")).to_be_checked()
    expect(page.get_by_text("1 selected")).to_be_visible()

    expect(page.get_by_role("link", name="Inline lamp", exact=True)).to_be_focused()
    page.keyboard.press("i")
    name = page.get_by_role("textbox", name="Name")
    expect(name).to_be_focused()
    name.fill("Never saved")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Inline lamp", exact=True)).to_be_focused()
    page.keyboard.press("i")
    name.fill("Inline lamp two")
    name.press("Enter")
    expect(page.get_by_role("link", name="Inline lamp two", exact=True)).to_be_focused()
    page.reload()
    expect(row).to_have_count(1)
    expect(row.locator(".row-link")).to_have_text("Inline lamp two")


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(open_page: OpenPage) -> None:
    page, other = open_page("alice"), open_page("root")
    create(page, "Contested lamp")
    for one in (page, other):
        one.goto("/admin/product/list?search=contested")
        one.locator("[data-inline-start]").click()
    other.get_by_role("textbox", name="Price").fill("20")
    other.get_by_role("button", name="Save").click()
    expect(other.locator(".cell-money").last).to_have_text("20.00")
    page.get_by_role("textbox", name="Price").fill("30")
    with page.expect_response("**/inline/*") as answered:
        page.get_by_role("button", name="Save").click()
    assert answered.value.status == 409
    expect(page.get_by_role("alert")).to_contain_text("root@demo.example made it “20.00”")
    expect(page.get_by_role("textbox", name="Price")).to_have_value("30")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_typed_values_survive_a_server_that_cannot_be_reached(open_page: OpenPage) -> None:
    page = open_page("alice")
    create(page, "Unlucky lamp")
    page.goto("/admin/product/list?search=unlucky")
    lost: list[Route] = []

    def lose(route: Route) -> None:
        # As if the answer got lost on its way: the change is made.
        route.fetch()
        lost.append(route)
        route.abort("aborted")

    page.route("**/inline/*", lose)
    page.locator("[data-inline-start]").click()
    page.get_by_role("textbox", name="Price").fill("11")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing you typed is lost")
    expect(page.get_by_role("textbox", name="Price")).to_have_value("11")
    page.unroute("**/inline/*")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".cell-money").last).to_have_text("11.00")
    assert len(lost) == 1


def test_counts_come_after_the_page_and_beside_the_choices(open_page: OpenPage) -> None:
    page = open_page("sam")
    page.goto("/admin/product/list?is_active=yes")
    expect(page.locator("[data-count-text]")).not_to_have_text("25+")
    number = page.locator("[data-count-text]").inner_text()
    page.locator("summary", has_text="Filters").click()
    state = page.get_by_role("combobox", name="State")
    expect(state.locator("option[value=yes]")).to_have_text(f"Active ({number})")
    page.keyboard.press("Escape")
    expect(state).to_be_hidden()
    page.locator("summary", has_text="Filters").click()
    owner = page.get_by_role("combobox", name="Owner")
    owner.fill("ali")
    expect(page.locator("datalist option[value='alice@demo.example']")).to_be_attached()
    owner.fill("alice@demo.example")
    page.get_by_role("button", name="Show results").click()
    expect(page.get_by_role("link", name="Owner: alice@demo.example")).to_be_visible()
    assert "price_from" not in page.url  # what was left empty is not sent


def test_a_view_is_saved_found_in_the_menu_and_removed(open_page: OpenPage) -> None:
    page = open_page("sam")
    page.goto("/admin/product/list?is_active=no&sortBy=price&sort=desc")
    page.locator("summary", has_text="View").click()
    page.get_by_label("Created").uncheck()
    page.get_by_role("button", name="Use these columns").click()
    expect(page.get_by_role("columnheader", name="Created")).to_have_count(0)
    page.locator("summary", has_text="View").click()
    page.get_by_label("Save this search").fill("Dear and inactive")
    page.get_by_role("button", name="Save view").click()
    expect(page.get_by_role("status")).to_contain_text("was saved")
    page.goto("/admin/")
    page.get_by_role("link", name="Dear and inactive").click()
    expect(page.get_by_role("columnheader", name="Price")).to_have_attribute("aria-sort", "descending")
    expect(page.get_by_role("columnheader", name="Created")).to_have_count(0)
    page.locator("summary", has_text="View").click()
    page.get_by_role("button", name="Remove the view Dear and inactive").click()
    expect(page.get_by_role("link", name="Dear and inactive")).to_have_count(0)


def test_on_a_phone_rows_are_cards_within_the_page(open_page: OpenPage) -> None:
    page = open_page("alice", viewport={"width": 390, "height": 844}, has_touch=True)
    page.goto(MINE)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for target in page.locator("tbody tr:first-child :is(a.icon-button, .cell-check label), .pager a").all():
        box = target.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44, target.evaluate("element => element.outerHTML")
    for name in ("Filters", "View"):
        page.locator("summary", has_text=name).tap()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.locator("h1").tap()
    page.get_by_role("checkbox", name="Select all rows of this page").check()
    expect(page.get_by_text("25 selected")).to_be_visible()


def test_wide_tables_keep_header_and_first_column_in_view(open_page: OpenPage) -> None:
    page = open_page("root")
    columns = "name.description.price.is_active.owner.created_at.updated_at.id"
    page.goto(f"/admin/product/list?columns={columns}")
    box = page.locator(".table-box")
    box.evaluate("element => element.scrollTo(400, 300)")
    heading = page.get_by_role("columnheader", name="Name")
    expect(heading).to_be_in_viewport(ratio=1)
    at = heading.bounding_box()
    frame = box.bounding_box()
    assert at is not None
    assert frame is not None
    assert abs(at["y"] - frame["y"]) < 3
    assert at["x"] - frame["x"] < 60
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
