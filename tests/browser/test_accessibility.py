"""What axe-core finds: every page as every role, wide and light or narrow and dark."""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

AXE = Axe()
# Contrast in the other pairs of size and theme is measured in test_looks.
LOOKS = (({"width": 1440, "height": 900}, "light"), ({"width": 390, "height": 844}, "dark"))
LIST, USERS = "/admin/product/list", "/admin/user/list"

Visit = Callable[[Page], Iterator[str]]


def of_first(page: Page, list_path: str, action: str) -> str:
    """The address of a page about the first row of a list."""
    page.goto(list_path)
    details = page.locator("tbody tr a[href*='/details/']").first.get_attribute("href")
    assert details is not None
    return details.replace("/details/", f"/{action}/")


def visit(page: Page, *paths: str) -> Iterator[str]:
    for path in paths:
        page.goto(path)
        yield path


def as_root(page: Page) -> Iterator[str]:
    product = of_first(page, f"{LIST}?owner=alice@demo.example", "details")
    yield from visit(
        page,
        "/admin/",
        f"{LIST}?search=nothingofthekind",
        f"{LIST}?created_from=yesterday",
        product,
        product.replace("/details/", "/delete/"),
        "/admin/product/bin?search=nothingofthekind",
        USERS,
        of_first(page, f"{USERS}?search=alice", "details"),
        of_first(page, f"{USERS}?search=alice", "edit"),
        "/admin/user/create",
        "/admin/jobs",
        of_first(page, "/admin/delivery/list", "details"),
        "/admin/delivery/list",
        "/admin/delivery/park",
    )
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill("Twelve")
    page.get_by_label("Price").fill("12.345")
    page.get_by_label("Owner").fill("nobody@demo.example")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".field-error").first).to_be_visible()
    yield "a form with errors"
    edit = product.replace("/details/", "/edit/")
    page.goto(edit)
    other = page.context.new_page()
    other.goto(edit)
    other.get_by_label("Name").fill("Changed by another")
    other.get_by_role("button", name="Save", exact=True).click()
    other.close()
    page.get_by_label("Name").fill("Changed by two")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("group", name="Name")).to_contain_text("Changed by another")
    yield "a conflict"
    page.get_by_label("Take theirs").check()
    page.get_by_role("button", name="Save", exact=True).click()
    page.goto(edit)
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_role("status")).to_be_visible()
    yield "a message"
    page.goto(product.replace("/details/", "/delete/"))
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/list*")
    page.goto("/admin/product/bin")
    yield "the bin"
    page.get_by_role("button", name="Restore").first.click()
    expect(page.get_by_role("status")).to_contain_text("was restored.")


def of_an_operation(page: Page) -> Iterator[str]:
    page.goto(f"{LIST}?mine=yes")
    yield "a list with nothing selected"
    for number in (0, 1):
        page.locator("input[name=ids]").nth(number).check()
    page.locator("summary", has_text="Actions").click()
    yield "the actions"
    page.get_by_role("button", name="Change price").click()
    change = page.get_by_label("Change", exact=True)
    change.fill("-100")
    change.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    yield "a question with errors"
    change.fill("3")
    change.press("Enter")
    expect(page.locator(".sample-title")).to_have_count(2)
    yield "a question"
    page.get_by_role("button", name="Change price: 2 products").click()
    expect(page.locator("h1 .badge")).to_have_text("Finished", timeout=15_000)
    yield "an operation"
    page.get_by_role("link", name="Skipped").click()
    yield "an operation, without rows of the outcome"
    page.goto("/admin/operation/list")
    expect(page.locator("tbody tr").first).to_be_visible()
    yield "operations"


def of_an_export(page: Page) -> Iterator[str]:
    page.goto(f"{LIST}?mine=yes")
    page.get_by_role("link", name="Export", exact=True).click()
    yield "how to export"
    page.get_by_label("Excel").check()
    page.get_by_role("button", name="Export").click()
    expect(page.locator("h1 .badge")).to_have_text("Ready", timeout=15_000)
    yield "an export"
    page.goto("/admin/exports")
    yield "exports"


def of_an_import(page: Page) -> Iterator[str]:
    page.goto("/admin/product/import")
    yield "a file to import"
    content = b"Article,Price,Note\nUnimported,12.50,\n,cheap,\n"
    page.locator("#file").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_role("button", name="Send the file").click()
    page.wait_for_url("**/import/details/*")
    page.locator("#column-0").select_option("price")
    page.get_by_role("button", name="Check the file").click()
    expect(page.locator(".field-error").first).to_be_visible()
    yield "columns with errors"
    page.locator("#column-0").select_option("name")
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_role("button", name="Create 1 product")).to_be_visible(timeout=15_000)
    yield "what an import would do"


def as_alice(page: Page) -> Iterator[str]:
    yield from visit(
        page,
        "/admin/",
        "/admin/search?q=bamboo",
        "/admin/password",
        "/admin/account",
        "/admin/account/tokens",
        "/admin/product/create",
        of_first(page, f"{LIST}?owner=bob@demo.example", "details"),
    )
    yield from of_an_operation(page)
    yield from of_an_export(page)
    yield from of_an_import(page)
    page.goto(f"{LIST}?search=candle&is_active=yes")
    page.locator("input[name=ids]").first.check()
    page.locator("summary").first.click()
    page.locator("body").press("j")
    expect(page.locator(".is-current")).to_be_visible()
    yield "a list with conditions, a row selected, one current, filters open"
    page.goto(LIST)
    page.locator("body").press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    yield "the list of keys"
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("bamboo")
    expect(page.get_by_role("option").first).to_be_visible()
    yield "quick search"
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.locator("#menu-open").evaluate("box => { box.checked = true }")
    yield "the menu open"


def as_sam(page: Page) -> Iterator[str]:
    yield from visit(
        page, "/admin/", LIST, of_first(page, LIST, "details"), USERS, "/admin/user/create", "/admin/nothing"
    )


def as_nobody(page: Page) -> Iterator[str]:
    yield from visit(page, "/admin/login", "/nothing")
    page.goto("/admin/login")
    page.get_by_label("E-mail").fill("nobody@demo.example")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    yield "sign-in refused"


def problems(page: Page, size: Any, theme: Any) -> Iterator[str]:
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=theme)
    for problem in AXE.run(page).response["violations"]:
        nodes = [node["html"] for node in problem["nodes"]]
        yield f"{theme}: {problem['id']} ({problem['impact']}) {nodes}"


@pytest.mark.parametrize(("visits", "first"), [(as_root, 0), (as_alice, 1), (as_sam, 0), (as_nobody, 1)])
def test_axe_finds_nothing_on_any_page(open_page: OpenPage, visits: Visit, first: int) -> None:
    """In one look after the other; most pages are seen in another one by somebody else."""
    name = visits.__name__.removeprefix("as_")
    page = open_page(None if name == "nobody" else name)
    looks = cycle([*LOOKS[first:], *LOOKS[:first]])
    found = [f"{shown}: {problem}" for shown in visits(page) for problem in problems(page, *next(looks))]
    assert found == []
