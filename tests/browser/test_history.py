"""The history of a product, and taking it back: with a mouse, with the keyboard alone, on a phone."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

MEASURE = (Path(__file__).parent / "measure.js").read_text()
OLD = "A small lamp for the desk, made of brass. The cable is two metres long."
NEW = "A small lamp for the desk, made of solid brass. The cable is three metres long."


def make_and_change(page: Page, name: str) -> str:
    """A product of whoever is signed in, made and then changed in three fields. Its id."""
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Description").fill(OLD)
    page.get_by_label("Price").fill("49.90")
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url("**/edit/*")
    page.get_by_label("Name").fill(f"{name} <b>2</b>")
    page.get_by_label("Description").fill(NEW)
    page.get_by_label("Price").fill("5.49")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_role("status")).to_contain_text("was saved.")
    return page.url.rsplit("/", 1)[1]


def test_a_product_is_compared_and_some_of_it_brought_back(open_page: OpenPage) -> None:
    page = open_page("alice")
    product = make_and_change(page, "Desk lamp")
    page.goto(f"/admin/product/details/{product}")
    latest = page.locator(".event").first
    expect(latest).to_contain_text("Changed")
    expect(latest.locator("dd del").filter(has_text="two")).to_have_css(
        "text-decoration-line", "line-through"
    )
    expect(latest.locator("dd ins").filter(has_text="three")).to_have_css("text-decoration-line", "underline")
    page.get_by_role("link", name="Whole history").click()
    expect(page.locator(".event")).to_have_count(2)
    page.locator(".event").first.get_by_role("link", name="Changed").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Changed product “Desk lamp <b>2</b>”")
    page.get_by_role("link", name="Compare with before").click()
    expect(page.get_by_role("row", name="Price")).to_contain_text("49.90")
    page.get_by_label("Name").uncheck()
    page.get_by_label("Description").uncheck()
    page.get_by_role("button", name="Bring back").click()
    page.wait_for_url(f"**/details/{product}")
    expect(page.get_by_role("status")).to_contain_text("Price brought back from version 1.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Desk lamp <b>2</b>")
    expect(page.locator(".event").first).to_contain_text("Brought back (to version 1)")


def test_the_keyboard_alone_brings_a_product_back(open_page: OpenPage) -> None:
    page = open_page("alice")
    product = make_and_change(page, "Floor lamp")
    page.goto(f"/admin/product/details/{product}")
    page.get_by_role("link", name="Compare with before").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/compare/*")
    page.get_by_label("Name").focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("Name")).not_to_be_checked()
    for label in ("Description", "Price"):
        page.keyboard.press("Tab")
        expect(page.get_by_label(label)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Bring back")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/details/{product}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Floor lamp <b>2</b>")
    expect(page.locator(".prose")).to_contain_text(OLD)


def test_nothing_chosen_is_told_where_it_is_seen(open_page: OpenPage) -> None:
    page = open_page("alice")
    product = make_and_change(page, "Wall lamp")
    page.goto(f"/admin/product/compare/{product}?version=1")
    for label in ("Name", "Description", "Price"):
        page.get_by_label(label).uncheck()
    page.get_by_role("button", name="Bring back").click()
    expect(page.get_by_role("alert")).to_have_text("Choose at least one field to bring back.")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_label("Price")).not_to_be_checked()


@pytest.mark.parametrize("width", [390, 1440])
def test_every_page_of_the_history_fits_and_can_be_read(open_page: OpenPage, width: int) -> None:
    page = open_page("alice", viewport={"width": width, "height": 844}, has_touch=width < 600)
    product = make_and_change(page, f"Reading lamp of a rather long name for a room of {width} centimetres")
    page.goto(f"/admin/product/history/{product}")
    entry = page.locator(".event-what").first.get_attribute("href")
    paths = [f"/admin/product/{name}/{product}" for name in ("details", "history", "compare")]
    problems = []
    for path in [*paths[:2], f"{paths[2]}?version=1", f"{paths[2]}?version=2", str(entry)]:
        response = page.goto(path)
        assert response is not None
        assert response.status == 200
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            problems += [f"{path}, {theme}: {problem}" for problem in page.evaluate(MEASURE)]
            for found in Axe().run(page).response["violations"]:
                nodes = [node["html"] for node in found["nodes"]]
                problems.append(f"{path}, {theme}: {found['id']} {nodes}")
    assert problems == []


def test_a_product_comes_back_on_a_phone(open_page: OpenPage) -> None:
    page = open_page("alice", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    product = make_and_change(page, "Bedside lamp")
    page.goto(f"/admin/product/delete/{product}")
    page.get_by_role("button", name="Delete").tap()
    page.wait_for_url("**/list*")
    page.goto(f"/admin/product/bin?search={product}")
    page.get_by_role("link", name="History of Bedside lamp").tap()
    expect(page.locator(".event")).to_have_count(3)
    expect(page.locator(".notice")).to_contain_text("is in the bin")
    page.locator(".notice").get_by_role("link", name="the bin").tap()
    page.get_by_role("button", name="Restore").tap()
    expect(page.get_by_role("status")).to_contain_text("was restored.")
    page.goto(f"/admin/product/compare/{product}?version=1")
    page.get_by_role("button", name="Bring back").tap()
    page.wait_for_url(f"**/details/{product}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Bedside lamp")
    expect(page.locator(".event")).to_have_count(5)
