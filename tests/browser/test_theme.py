"""Light and dark: the system's until somebody chooses, then theirs, on every page from its first frame."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import Demo

pytestmark = pytest.mark.browser

GROUND = {"light": "rgb(245, 246, 248)", "dark": "rgb(18, 20, 26)"}
NOTE_FIRST_FRAME = """requestAnimationFrame(function look() {
  if (document.body) window.firstGround = getComputedStyle(document.body).backgroundColor;
  else requestAnimationFrame(look);
})"""
BAR = """[...document.querySelectorAll("meta[name=theme-color]")]
  .find(({ media }) => matchMedia(media).matches).content"""


def expect_theme(page: Page, theme: str) -> None:
    expect(page.locator("body")).to_have_css("background-color", GROUND[theme])
    assert page.evaluate(BAR) == {"light": "#ffffff", "dark": "#1a1d25"}[theme]


def test_the_system_decides_until_somebody_does(open_page: OpenPage) -> None:
    page = open_page(color_scheme="dark")
    page.goto("/admin/login")
    expect(page.get_by_role("radio", name="System")).to_be_checked()
    expect_theme(page, "dark")
    page.emulate_media(color_scheme="light")
    expect_theme(page, "light")
    page.get_by_role("radio", name="Dark").check()
    expect_theme(page, "dark")
    page.get_by_role("radio", name="System").check()
    expect_theme(page, "light")


def test_a_choice_is_remembered_on_every_page_and_in_every_tab(open_page: OpenPage, demo: Demo) -> None:
    page = open_page(color_scheme="light")
    page.add_init_script(NOTE_FIRST_FRAME)
    page.goto("/admin/login")
    page.get_by_role("radio", name="Dark").check()
    demo.sign_in(page, "sam@demo.example")
    page.goto("/admin/product/list")
    assert page.evaluate("firstGround") == GROUND["dark"]
    expect_theme(page, "dark")
    expect(page.get_by_role("radio", name="Dark")).to_be_checked()

    other = page.context.new_page()
    other.goto("/admin/")
    expect_theme(other, "dark")
    other.get_by_role("radio", name="Light").check()
    expect_theme(page, "light")
    expect(page.get_by_role("radio", name="Light")).to_be_checked()


def test_without_scripts_the_system_decides(open_page: OpenPage) -> None:
    page = open_page(color_scheme="dark", java_script_enabled=False)
    page.goto("/admin/login")
    expect(page.locator("body")).to_have_css("background-color", GROUND["dark"])
    expect(page.get_by_role("radio")).to_have_count(0)


def test_a_browser_that_stores_nothing_still_changes_its_theme(open_page: OpenPage) -> None:
    page = open_page(color_scheme="light")
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException() } })"
    )
    page.goto("/admin/login")
    page.get_by_role("radio", name="Dark").check()
    expect_theme(page, "dark")
