"""Bulk operations as people run them: select, ask, confirm, watch, take back."""

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import Demo
from tests.browser.test_habits import tab_to

pytestmark = pytest.mark.browser

MINE = "/admin/product/list?mine=yes"
PHONE = {"width": 390, "height": 844}
ENDED = 15_000  # milliseconds: the worker looks twice a second

NAMES = {
    "Pennant": 4,
    "Bunting": 2,
    "Streamer": 2,
    "Garland": 2,
    "Lampion": 2,
    "Rosette": 1,
    "Confetti cannon with a name of more than one line on a phone": 25,
}


@pytest.fixture(scope="module", autouse=True)
def products(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of Alice, and so many of each name."""
    path = tmp_path_factory.mktemp("bulk") / "products.csv"
    names = [f"{name} {at}" for name, number in NAMES.items() for at in range(1, number + 1)]
    rows = [f"{name},12.50,alice@demo.example" for name in names]
    path.write_text("\n".join(["name,price,owner_email", *rows, ""]))
    demo.run("import", "products", str(path))


def list_of(word: str) -> str:
    return f"/admin/product/list?search={word}&sortBy=name&sort=asc"


def boxes(page: Page) -> Locator:
    return page.locator("input[name=ids]")


def opener(page: Page) -> Locator:
    return page.locator("summary", has_text="Actions")


def choose(page: Page, action: str) -> None:
    opener(page).click()
    page.get_by_role("button", name=f"{action}…", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(action)


def confirm(page: Page) -> None:
    page.locator("form[data-submit-once] button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"^#\d+ "))


def number(page: Page, label: str) -> Locator:
    return page.locator(".numbers > div").filter(has=page.get_by_text(label, exact=True)).locator("dd")


def expect_selected(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator("[data-selection-count]")).to_have_text(text)


def expect_state(page: Page, state: str) -> None:
    expect(page.locator("h1 .badge")).to_have_text(state, timeout=ENDED)


def expect_within_the_page(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url


def test_rows_are_selected_one_by_one_in_ranges_and_on_other_pages(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto(MINE)
    expect_selected(page, "Nothing selected")
    boxes(page).nth(1).click()
    boxes(page).nth(4).click(modifiers=["Shift"])
    expect_selected(page, "4 selected")
    boxes(page).nth(2).click()
    boxes(page).nth(3).click(modifiers=["Shift"])
    expect_selected(page, "2 selected")
    names = page.locator(".is-selected .row-link").all_inner_texts()

    page.get_by_role("link", name="Next page").click()
    expect_selected(page, "2 selected, 2 of them on other pages")
    boxes(page).first.check()
    names += page.locator(".is-selected .row-link").all_inner_texts()
    page.goto(f"{MINE}&pageSize=100")
    expect_selected(page, "3 selected")
    page.get_by_role("link", name="Price").click()
    expect(page.get_by_role("columnheader", name="Price")).to_have_attribute("aria-sort", "descending")
    expect_selected(page, re.compile("^3 selected"))
    page.goto(f"{MINE}&is_active=yes")
    expect_selected(page, "Nothing selected")
    page.goto(MINE)
    expect_selected(page, "3 selected, 1 of them on other pages")

    choose(page, "Set price")
    page.get_by_label("New price").fill("7.77")
    page.get_by_role("button", name="Show what would change").click()
    expect(page.get_by_role("region", name="What would change")).to_be_focused()
    assert sorted(page.locator(".sample-title").all_inner_texts()) == sorted(names)
    page.get_by_role("link", name="Cancel").click()
    expect_selected(page, "3 selected, 1 of them on other pages")
    page.get_by_role("button", name="Clear").click()
    expect_selected(page, "Nothing selected")
    expect(page.get_by_role("checkbox", name="Select all rows of this page")).to_be_focused()
    page.reload()
    expect_selected(page, "Nothing selected")


def test_all_that_match_are_selected_on_every_page(open_page: OpenPage) -> None:
    page = open_page("alice")
    waiting: list[Route] = []
    page.route("**/product/count?*", lambda route: waiting.append(route))  # noqa: PLW0108  # Playwright marks it
    page.goto(MINE)
    everything = page.locator("[data-select-matching]")
    expect(page.locator("[data-count-text]")).to_have_text("25+")
    expect(everything).to_have_text("Select all that match")
    waiting.pop().continue_()
    expect(page.locator("[data-count-text]")).to_have_text(re.compile(r"^[\d,]+$"))
    page.unroute("**/product/count?*")
    total = page.locator("[data-count-text]").inner_text()
    expect(everything).to_have_text(f"Select all {total} that match")

    everything.click()
    expect_selected(page, f"All {total} selected")
    expect(opener(page)).to_be_focused()
    expect(everything).to_be_hidden()
    page.get_by_role("link", name="Next page").click()
    expect_selected(page, f"All {total} selected")
    expect(page.locator("input[name=ids]:not(:checked)")).to_have_count(0)
    choose(page, "Rebuild search index")
    expect(number(page, "will change")).to_have_text(total)
    page.get_by_role("link", name="Cancel").click()
    expect_selected(page, f"All {total} selected")
    boxes(page).nth(3).uncheck()
    expect_selected(page, "24 selected")
    page.get_by_role("button", name="Clear").click()


def test_the_actions_are_reached_by_keyboard_once_there_is_a_selection(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto(MINE)
    menu = page.locator(".action-list")
    tab_to(page, "[data-actions] summary")
    expect(opener(page)).to_have_attribute("aria-disabled", "true")
    expect(opener(page)).to_have_accessible_description("Select rows first")
    page.keyboard.press("Enter")
    expect(menu).to_be_hidden()
    tab_to(page, "input[name=ids]")
    page.keyboard.press("Space")
    expect_selected(page, "1 selected")
    expect(opener(page)).not_to_have_attribute("aria-disabled", "true")

    opener(page).focus()
    page.keyboard.press("Enter")
    expect(menu).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(opener(page)).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    expect(menu).to_be_hidden()
    opener(page).focus()
    page.keyboard.press("Enter")
    tab_to(page, "button[value=change_price]", 3)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Change price")


def test_an_operation_is_followed_to_its_end_and_undone(open_page: OpenPage, demo: Demo) -> None:
    page = open_page("alice")
    pennants = list_of("Pennant")
    page.goto(pennants)
    for at in range(3):
        boxes(page).nth(at).check()
    first = boxes(page).first.get_attribute("value") or ""
    choose(page, "Deactivate")
    expect(number(page, "will change")).to_have_text("3")
    expect(page.locator(".sample-title")).to_have_text(["Pennant 1", "Pennant 2", "Pennant 3"])
    with demo.locked(first):
        confirm(page)
        expect_state(page, "Running")
        expect(page.locator(".operation-sentence")).to_have_text("0 of 3")
        page.reload()
        expect_state(page, "Running")
        page.get_by_role("button", name="Cancel").focus()
        page.evaluate("() => { window.isTheSamePage = true }")
    expect_state(page, "Finished")
    assert page.evaluate("window.isTheSamePage")
    expect(page.get_by_role("status")).to_have_text("Finished: 3 done")
    # Not on Undo, which has come in the place of Cancel.
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(number(page, "done")).to_have_text("3")
    expect(page.locator("progress")).to_have_js_property("position", 1)
    expect(page.locator("tbody .badge")).to_have_text(["Done"] * 3)
    page.goto(pennants)
    expect(page.locator("tbody .badge")).to_have_text(["Inactive"] * 3 + ["Active"])
    expect_selected(page, "Nothing selected")

    page.get_by_role("link", name="Operations").click()
    page.locator("tbody .row-link").first.click()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Undo: Deactivate")
    expect(number(page, "will be as before")).to_have_text("3")
    confirm(page)
    expect_state(page, "Finished")
    page.get_by_role("link", name="Operation #").click()
    expect(page.get_by_text("Undone by operation #")).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    page.goto(pennants)
    expect(page.locator("tbody .badge")).to_have_text(["Active"] * 4)


def test_a_running_operation_is_cancelled(open_page: OpenPage, demo: Demo) -> None:
    page = open_page("alice")
    page.goto(list_of("Bunting"))
    page.get_by_role("checkbox", name="Select all rows of this page").check()
    first = boxes(page).first.get_attribute("value") or ""
    choose(page, "Delete")
    with demo.locked(first):
        confirm(page)
        expect_state(page, "Running")
        page.get_by_role("button", name="Cancel").click()
        expect_state(page, "Cancelling")
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    # Its only chunk had begun, and was brought to its end.
    expect(page.locator("h1 .badge")).to_have_text(re.compile("Finished|Cancelled"), timeout=ENDED)
    expect(number(page, "done")).to_have_text("2")
    page.get_by_role("button", name="Undo").click()
    confirm(page)
    expect_state(page, "Finished")
    expect(number(page, "done")).to_have_text("2")


def test_what_is_wrong_with_a_parameter_is_told_beside_it(open_page: OpenPage) -> None:
    page = open_page("alice")
    streamers = list_of("Streamer")
    page.goto(streamers)
    page.get_by_role("checkbox", name="Select all rows of this page").check()
    choose(page, "Change price")
    change = page.get_by_label("Change", exact=True)
    change.fill("-100")
    page.get_by_label("Round to").select_option("Amounts that end in .99")
    change.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(change).to_have_attribute("aria-invalid", "true")
    expect(change).to_have_accessible_description(re.compile("^Enter a percentage above -100"))
    expect(change).to_have_value("-100")
    expect(page.get_by_role("region", name="What would change")).to_have_count(0)
    change.fill("-20")
    change.press("Enter")
    expect(page.get_by_role("region", name="What would change")).to_be_focused()
    expect(page.locator(".cell-number strong")).to_have_text(["9.99"] * 2)
    # What is filled in now is not what is shown any more, until it is shown again.
    button = page.locator("form[data-submit-once] button")
    change.fill("-50")
    expect(button).to_be_disabled()
    expect(page.get_by_text("Show again first.")).to_be_visible()
    change.fill("-20")
    page.get_by_role("button", name="Show again").click()
    expect(button).to_be_enabled()
    confirm(page)
    expect_state(page, "Finished")
    for label, value in (("Change", "-20"), ("Round to", "Amounts that end in .99")):
        fact = page.locator(".fact").filter(has=page.get_by_text(label, exact=True))
        expect(fact.locator("dd")).to_have_text(value)
    page.goto(streamers)
    expect(page.locator("tbody .cell-money")).to_have_text(["9.99"] * 2)


def test_more_than_a_thousand_rows_are_confirmed_by_their_number(open_page: OpenPage) -> None:
    page = open_page("root")
    page.goto("/admin/product/list")
    page.locator("[data-select-matching]").click()
    choose(page, "Change price")
    page.get_by_label("Change", exact=True).fill("1")
    page.get_by_role("button", name="Show what would change").click()
    total = number(page, "will change").inner_text()
    assert int(total.replace(",", "")) > 1000
    typed = page.get_by_label(f"Type {total} to confirm")
    typed.fill("12")
    typed.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(typed).to_have_accessible_description(re.compile("^Type "))
    typed.fill(total)
    typed.press("Enter")
    expect_state(page, "Finished")
    expect(number(page, "done")).to_have_text(total)
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="More rows").click()
    expect(page.locator("tbody tr")).to_have_count(50)


def test_a_nervous_double_click_and_the_back_button_begin_nothing_twice(open_page: OpenPage) -> None:
    page = open_page("alice")
    garlands = list_of("Garland")
    page.goto("/admin/operation/list")
    before = page.locator("tbody tr").count()
    page.goto(garlands)
    page.get_by_role("checkbox", name="Select all rows of this page").check()
    choose(page, "Deactivate")
    page.locator("form[data-submit-once] button").dblclick()
    expect_state(page, "Finished")
    page.go_back()
    expect_state(page, "Finished")
    expect(page.locator("form[data-submit-once]")).to_have_count(0)
    page.go_back()
    expect(page).to_have_url(re.compile("/product/list"))
    expect_selected(page, "Nothing selected")
    expect(page.locator("input[name=ids]:checked")).to_have_count(0)
    page.goto("/admin/operation/list")
    expect(page.locator("tbody tr")).to_have_count(before + 1)


def test_the_whole_way_without_scripts(open_page: OpenPage) -> None:
    lanterns = list_of("Lampion")
    page = open_page("alice", java_script_enabled=False)
    page.goto(lanterns)
    boxes(page).first.check()
    choose(page, "Deactivate")
    confirm(page)
    expect_state(page, "Finished")  # the page loads itself anew
    page.get_by_role("button", name="Undo").click()
    confirm(page)
    expect_state(page, "Finished")
    page.goto(lanterns)
    expect(page.locator("tbody .badge")).to_have_text(["Active"] * 2)
    page.get_by_role("checkbox", name="All that match").check()
    choose(page, "Change price")
    expect(page.get_by_text("“Lampion”")).to_be_visible()
    page.get_by_label("Change", exact=True).fill("5")
    page.get_by_role("button", name="Show what would change").click()
    expect(number(page, "will change")).to_have_text("2")


def test_support_follows_operations_and_starts_none(open_page: OpenPage) -> None:
    page, sam = open_page("alice"), open_page("sam")
    page.goto(list_of("Rosette"))
    boxes(page).first.check()
    choose(page, "Deactivate")
    confirm(page)
    expect_state(page, "Finished")
    sam.goto("/admin/product/list")
    expect(opener(sam)).to_have_count(0)
    sam.get_by_role("link", name="Operations").click()
    sam.get_by_role("link", name=page.locator("h1").inner_text().split(" ")[0]).click()
    expect(number(sam, "done")).to_have_text("1")
    expect(sam.locator("main").get_by_role("button")).to_have_count(0)


def test_the_whole_way_on_a_phone(open_page: OpenPage) -> None:
    page = open_page("alice", viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto(list_of("Confetti"))
    page.locator("tbody tr").nth(12).scroll_into_view_if_needed()
    boxes(page).nth(12).tap()
    opener(page).tap()
    for name in ("Activate…", "Delete…"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_in_viewport(ratio=1)
    expect_within_the_page(page)
    page.get_by_role("button", name="Transfer to another owner…").tap()
    page.get_by_label("New owner").fill("bob@demo.example")
    page.get_by_role("button", name="Show what would change").tap()
    expect(number(page, "will change")).to_be_in_viewport(ratio=1)
    expect_within_the_page(page)
    page.get_by_role("button", name="Transfer to another owner: 1 product").tap()
    expect_state(page, "Finished")
    expect_within_the_page(page)
    page.goto("/admin/operation/list")
    expect(page.locator("tbody tr").first).to_contain_text("Transfer to another owner")
    expect_within_the_page(page)
