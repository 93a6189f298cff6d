"""The pictures of docs/images, made anew: `python -m tests.browser.screenshots`, or `make screenshots`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.demo import Demo, chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
SHOTS: dict[str, dict[str, Any]] = {
    "products.png": {"viewport": DESKTOP},
    "products-dark.png": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone.png": {"viewport": PHONE, "is_mobile": True, "has_touch": True},
}


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as directory, chromium() as browser:
        demo = Demo(Path(directory) / "data")
        try:
            for name, options in SHOTS.items():
                with browser.new_context(reduced_motion="reduce", **options) as context:
                    page = context.new_page()
                    demo.sign_in(page, "alice@demo.example")
                    page.goto(f"{demo.url}/product/list")
                    for number in (0, 2, 3):
                        page.locator("input[name=ids]").nth(number).check()
                    page.mouse.move(0, 0)
                    page.screenshot(path=IMAGES / name)
            with browser.new_context(reduced_motion="reduce", viewport=DESKTOP) as context:
                shoot_operation(context.new_page(), demo)
        finally:
            demo.stop()


def shoot_operation(page: Page, demo: Demo) -> None:
    """All products, of which Alice owns some: the question, and the operation when it has ended."""
    demo.sign_in(page, "alice@demo.example")
    page.goto(f"{demo.url}/product/list")
    page.locator("[data-select-matching]").click()
    page.locator("summary", has_text="Actions").click()
    page.get_by_role("button", name="Change price").click()
    page.get_by_label("Change", exact=True).fill("-12.5")
    page.get_by_label("Round to").select_option("Amounts that end in .99")
    page.get_by_role("button", name="Show what would change").click()
    page.get_by_role("region", name="What would change").wait_for()
    page.screenshot(path=IMAGES / "bulk-question.png")
    typed = page.locator("#typed")
    if typed.count():
        typed.fill(page.locator(".numbers dd").first.inner_text())
    page.locator("form[data-submit-once] button").click()
    expect(page.locator("h1 .badge")).to_have_text("Finished", timeout=30_000)
    page.screenshot(path=IMAGES / "bulk-operation.png")


if __name__ == "__main__":
    main()
