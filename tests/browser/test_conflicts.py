"""Two people change one product: by mouse and by keyboard, on a wide screen and on a phone."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}


def first_edit(page: Page) -> str:
    page.goto("/admin/product/list?search=alice&sortBy=name&sort=asc")
    address = page.locator("[data-edit]").first.get_attribute("href")
    assert address is not None
    return address.partition("?")[0]


def save(page: Page, address: str, **values: str) -> None:
    page.goto(address)
    for name, value in values.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("was saved")


@pytest.mark.parametrize("viewport", [PHONE, {"width": 1440, "height": 900}])
@pytest.mark.parametrize("side", ["Take theirs", "Keep yours"])
def test_one_click_takes_either_side(open_page: OpenPage, side: str, viewport: dict[str, int]) -> None:
    alice, root = open_page("alice", viewport=viewport), open_page("root")
    address = first_edit(alice)
    alice.goto(address)
    save(root, address, name=f"Root says {side}", price="77.00")
    alice.locator("[name=name]").fill("Alice says so")
    alice.get_by_role("button", name="Save", exact=True).click()
    box = alice.get_by_role("group", name="Name")
    expect(box).to_contain_text(f"Root says {side}")
    expect(alice.get_by_label("Price")).to_have_value("77.00")
    # The browser asks for a choice first.
    alice.get_by_role("button", name="Save", exact=True).click()
    expect(box.get_by_label("Take theirs")).to_be_focused()
    box.get_by_label(side).check()
    alice.get_by_role("button", name="Save", exact=True).click()
    name = "Alice says so" if side == "Keep yours" else f"Root says {side}"
    expect(alice.get_by_role("status").first).to_have_text(f"Product “{name}” was saved.")
    assert alice.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_whoever_types_on_keeps_their_own(open_page: OpenPage) -> None:
    alice, root = open_page("alice"), open_page("root")
    address = first_edit(alice)
    alice.goto(address)
    save(root, address, name="His words")
    alice.locator("[name=name]").fill("Her words")
    alice.keyboard.press("Enter")
    box = alice.get_by_role("group", name="Name")
    box.get_by_label("Take theirs").check()
    box.get_by_role("textbox").press_sequentially("!")
    expect(box.get_by_label("Keep yours")).to_be_checked()
    alice.keyboard.press("Enter")
    expect(alice.get_by_role("status").first).to_contain_text("Her words")


@pytest.mark.parametrize(("side", "his", "hers"), [("Take", "12.34", "43.21"), ("Keep", "12.35", "43.22")])
def test_in_the_list_one_click_takes_either_and_saves(
    open_page: OpenPage, side: str, his: str, hers: str
) -> None:
    alice, root = open_page("alice"), open_page("root")
    address = first_edit(alice)
    row = alice.locator("tbody tr").first
    row.locator("[data-inline-start]").click()
    save(root, address, price=his)
    row.get_by_label("Price").fill(hers)
    alice.keyboard.press("Enter")
    notice = alice.locator(".inline-notice")
    expect(notice).to_contain_text(f"root@demo.example made it “{his}”")
    expect(notice.get_by_role("button", name=f"Take “{his}”")).to_be_focused()
    price = his if side == "Take" else hers
    notice.get_by_role("button", name=f"{side} “{price}”").click()
    expect(notice).to_have_count(0)
    expect(row.locator(".cell-money")).to_have_text(price)
    expect(row.locator("[data-inline-start]")).to_be_visible()


def test_in_the_list_it_is_told_what_others_changed(open_page: OpenPage) -> None:
    alice, root = open_page("alice"), open_page("root")
    address = first_edit(alice)
    row = alice.locator("tbody tr").first
    row.locator("[data-inline-start]").click()
    save(root, address, price="5.55")
    row.get_by_label("Name").fill("Aaa first of all")
    alice.keyboard.press("Enter")
    notice = alice.locator(".inline-notice")
    expect(notice).to_contain_text("Meanwhile root@demo.example had changed Price: that is kept, too.")
    expect(row.locator(".cell-money")).to_have_text("5.55")
    notice.get_by_role("button", name="OK").click()
    expect(notice).to_have_count(0)


def test_a_form_of_something_deleted_can_be_restored_and_saved(open_page: OpenPage) -> None:
    alice, root = open_page("alice", viewport=PHONE), open_page("root")
    address = first_edit(alice)
    alice.goto(address)
    root.goto(address.replace("/edit/", "/delete/"))
    root.get_by_role("button", name="Delete").click()
    alice.locator("[name=description]").fill("Typed for an hour")
    alice.get_by_role("button", name="Save", exact=True).click()
    expect(alice.get_by_role("alert")).to_contain_text("was deleted just now")
    expect(alice.locator("[name=description]")).to_have_value("Typed for an hour")
    alice.get_by_role("button", name="Restore and save").click()
    expect(alice.get_by_role("status").first).to_contain_text("was saved")
