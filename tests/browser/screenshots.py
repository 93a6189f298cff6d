"""The pictures of docs/images, made anew: `python -m tests.browser.screenshots`, or `make screenshots`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
        finally:
            demo.stop()


if __name__ == "__main__":
    main()
