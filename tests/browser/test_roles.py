"""A day's work of each role, in a real browser, on the real thing."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import Demo

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery staple"


def rows(page: Page) -> Locator:
    return page.locator("tbody tr")


def fact(page: Page, label: str) -> Locator:
    return page.locator(".fact").filter(has=page.get_by_text(label, exact=True)).locator("dd")


def reload_until(page: Page, label: str, text: str, seconds: float = 15) -> None:
    """The worker works beside the page: look again until it shows."""
    deadline = time.monotonic() + seconds
    while fact(page, label).inner_text() != text:
        assert time.monotonic() < deadline, f"“{label}” is not “{text}” within {seconds} s"
        page.reload()


def test_an_administrators_day(
    open_page: OpenPage, demo: Demo, write_csv: Callable[[str, list[str]], Path]
) -> None:
    page = open_page()
    page.goto("/admin/product/list")
    expect(page).to_have_url(re.compile("/admin/login"))
    page.get_by_label("E-mail").fill("alice@demo.example")
    page.get_by_label("Password").fill("not her password")
    page.get_by_label("Password").press("Enter")
    expect(page.get_by_role("alert")).to_have_text("E-mail or password is wrong.")
    expect(page.get_by_label("E-mail")).to_have_value("alice@demo.example")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(demo.passwords["alice@demo.example"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Products")).to_be_visible()

    names = [f"Zebrawood kite {number}" for number in range(1, 6)]
    file = write_csv("alice@demo.example", names)
    said = demo.run("import", "products", str(file), "--create-owners")
    assert "5 created, 0 changed." in said
    page.reload()
    expect(rows(page).first).to_contain_text("Zebrawood kite")

    page.get_by_role("searchbox", name="Search products").fill("zebrawood kite")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(5)
    page.get_by_role("link", name="Zebrawood kite 3", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Zebrawood kite 3")

    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Name").fill("Zebrawood kite 3, mended")
    page.get_by_label("Price").fill("12.345")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_be_focused()
    price = page.get_by_label("Price")
    expect(price).to_have_accessible_description("Use at most 2 decimals.")
    expect(price).to_have_attribute("aria-invalid", "true")
    expect(price).to_have_value("12.345")
    expect(page.get_by_label("Name")).to_have_value("Zebrawood kite 3, mended")
    price.fill("14.75")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Product “Zebrawood kite 3, mended” was saved.")

    page.get_by_role("searchbox", name="Search products").fill("zebrawood kite")
    page.keyboard.press("Enter")
    for number in (1, 2, 4):
        page.get_by_role("checkbox", name=f"Select Zebrawood kite {number}").check()
    expect(page.get_by_text("3 selected")).to_be_visible()
    page.locator("summary", has_text="Actions").click()
    page.get_by_role("button", name="Deactivate").click()
    page.get_by_role("button", name="Deactivate: 3 products").click()
    expect(page.locator("h1 .badge")).to_have_text("Finished", timeout=15_000)
    page.get_by_role("link", name="Products").click()
    page.get_by_role("searchbox", name="Search products").fill("zebrawood kite")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(5)
    expect(rows(page).filter(has_text="Inactive")).to_have_count(3)
    expect(rows(page).filter(has_text="mended")).to_contain_text("14.75")

    page.get_by_role("link", name="Zebrawood kite 1", exact=True).click()
    expect(fact(page, "State")).to_have_text("Inactive")
    reload_until(page, "Search index", "Up to date")


def test_support_sees_everything_and_changes_nothing(open_page: OpenPage) -> None:
    page = open_page("sam")
    page.goto("/admin/product/list")
    expect(rows(page)).to_have_count(25)
    expect(page.get_by_role("checkbox", name="Select")).to_have_count(0)
    expect(
        page.locator("main a[href$='/create'], main a[href*='/edit/'], main a[href*='/delete/']")
    ).to_have_count(0)
    expect(page.locator("summary", has_text="Actions")).to_have_count(0)
    rows(page).first.get_by_role("link").click()
    expect(fact(page, "Price")).to_be_visible()
    expect(page.locator("main").get_by_role("link", name=re.compile("Edit|Delete"))).to_have_count(0)
    page.goto("/admin/user/list")
    expect(rows(page).first).to_be_visible()
    expect(page.get_by_role("link", name="New user")).to_have_count(0)

    for model in ("product", "user"):
        response = page.goto(f"/admin/{model}/create")
        assert response is not None
        assert response.status == 403
        expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
        expect(page.get_by_text("Your role does not allow this.")).to_be_visible()
    page.get_by_role("link", name="To the start page").click()
    expect(page.get_by_text("You see everything here, and change nothing.")).to_be_visible()


def test_somebody_elses_product_can_be_read_but_not_edited(open_page: OpenPage) -> None:
    page = open_page("alice")
    page.goto("/admin/product/list?owner=bob@demo.example")
    expect(page.locator("a[href*='/edit/']")).to_have_count(0)
    rows(page).first.get_by_role("link").click()
    expect(fact(page, "Owner")).to_have_text("bob@demo.example")
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)
    response = page.goto(page.url.replace("/details/", "/edit/"))
    assert response is not None
    assert response.status == 404
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()


def test_a_superuser_makes_an_account_and_ends_it(open_page: OpenPage) -> None:
    root = open_page("root")
    root.goto("/admin/user/list")
    root.get_by_role("link", name="New user").click()
    root.get_by_label("E-mail").fill("carla@demo.example")
    root.get_by_label("Name").fill("Carla")
    root.get_by_label("Role").select_option("Administrator")
    root.get_by_label("Password", exact=True).fill(PASSWORD)
    root.get_by_role("button", name="Save", exact=True).click()
    expect(root.get_by_role("status")).to_contain_text("was created.")

    carla = open_page()
    carla.goto("/admin/")
    carla.get_by_label("E-mail").fill("carla@demo.example")
    carla.get_by_label("Password").fill(PASSWORD)
    carla.keyboard.press("Enter")
    expect(carla.get_by_role("heading", name="Hello, Carla")).to_be_visible()

    root.goto("/admin/user/list?search=carla@demo.example")
    root.get_by_role("link", name="Edit carla").click()
    root.get_by_label("Active").uncheck()
    root.get_by_role("button", name="Save", exact=True).click()
    expect(root.get_by_role("status")).to_contain_text("was saved.")
    carla.reload()
    expect(carla.get_by_role("heading", name="Sign in")).to_be_visible()


def test_somebody_replaces_a_password_a_superuser_made_for_them(open_page: OpenPage) -> None:
    root = open_page("root")
    root.goto("/admin/user/create")
    root.get_by_label("E-mail").fill("dora@demo.example")
    root.get_by_label("Name").fill("Dora")
    root.get_by_label("Role").select_option("Support")
    root.get_by_label("Password", exact=True).fill(PASSWORD)
    root.get_by_label("Must choose a new password at the next sign-in").check()
    root.get_by_role("button", name="Save", exact=True).click()
    expect(root.get_by_role("status")).to_contain_text("was created.")

    dora = open_page(viewport={"width": 390, "height": 844})
    dora.goto("/admin/product/list?search=candle")
    dora.get_by_label("E-mail").fill("dora@demo.example")
    dora.get_by_label("Password").fill(PASSWORD)
    dora.keyboard.press("Enter")
    expect(dora.get_by_role("heading", name="Choose a new password")).to_be_visible()
    expect(dora.get_by_text("because a superuser asked for it")).to_be_visible()
    current, new = dora.get_by_label("Current password"), dora.get_by_label("New password", exact=True)
    current.fill(PASSWORD)
    dora.keyboard.press("Tab")
    dora.keyboard.type("short")
    dora.keyboard.press("Tab")
    dora.keyboard.type("short")
    dora.keyboard.press("Enter")
    expect(dora.get_by_role("alert")).to_be_focused()
    expect(new).to_have_accessible_description(re.compile("^Enter at least 12 characters."))
    for field in (current, new, dora.get_by_label("New password again")):
        field.fill(PASSWORD if field is current else "a password of her own")
    dora.keyboard.press("Enter")
    expect(dora).to_have_url(re.compile("/admin/product/list.search=candle$"))
    expect(dora.get_by_role("status")).to_contain_text("Your password was changed.")
    dora.get_by_text("Menu").click()
    dora.get_by_role("link", name="Change password").click()
    expect(dora.get_by_role("heading", name="Change password")).to_be_visible()


def test_whoever_closes_their_own_account_is_told_so(open_page: OpenPage) -> None:
    page = open_page("root")
    page.goto("/admin/user/create")
    page.get_by_label("E-mail").fill("rita@demo.example")
    page.get_by_label("Role").select_option("Superuser")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Name").fill("Rita")
    page.get_by_role("button", name="Save", exact=True).click()

    rita = open_page()
    rita.goto("/admin/user/list?search=rita")
    rita.get_by_label("E-mail").fill("rita@demo.example")
    rita.get_by_label("Password").fill(PASSWORD)
    rita.keyboard.press("Enter")
    rita.get_by_role("link", name="Edit rita@demo.example").click()
    rita.get_by_label("Active").uncheck()
    rita.get_by_role("button", name="Save", exact=True).click()
    expect(rita.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(rita.get_by_role("status")).to_have_text("User “rita@demo.example” was saved.")


def test_a_superuser_chooses_an_owner_from_suggestions(open_page: OpenPage) -> None:
    page = open_page("root")
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill("Gift for Bob")
    page.get_by_label("Price").fill("5")
    page.get_by_label("Owner").press_sequentially("bob@d")
    suggestion = page.locator("#owner-choices option")
    expect(suggestion).to_have_count(1)
    page.get_by_label("Owner").fill(suggestion.get_attribute("value") or "")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("“Gift for Bob” was created.")
    expect(rows(page).filter(has_text="Gift for Bob")).to_contain_text("bob@demo.example")
