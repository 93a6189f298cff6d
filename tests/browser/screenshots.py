"""The pictures of docs/images, made anew: `python -m tests.browser.screenshots`, or `make screenshots`.

Names given to the command are those of the functions to run: `… screenshots sign_in history`.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image, ImageDraw
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.browser.demo import Demo, chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
DARK = DESKTOP | {"color_scheme": "dark"}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
ALICE, ROOT, SAM = "alice@demo.example", "root@demo.example", "sam@demo.example"
FILE = """Handle,Title,Price,State
stoneware-teapot,Stoneware teapot,39.00,active
stoneware-cup,Stoneware cup,12.50,active
linen-towel,Linen tea towel,cheap,active
oak-tray,Oak tray,45.00,inactive
"""


class Photographer:
    """Pages of a running demo, and a place for pictures of them."""

    def __init__(self, browser: Browser, demo: Demo) -> None:
        self.demo = demo
        self._browser = browser

    @contextmanager
    def page(self, email: str | None, options: dict[str, Any] = DESKTOP) -> Iterator[Page]:
        with self._browser.new_context(
            reduced_motion="reduce", base_url=self.demo.origin, **options
        ) as context:
            page = context.new_page()
            if email:
                self.demo.sign_in(page, email)
            yield page

    def take(self, page: Page, name: str) -> None:
        """Of what is on the screen; 256 colours are enough for a page without photographs."""
        page.mouse.move(0, 0)
        picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
        picture.quantize(256, dither=Image.Dither.NONE).save(IMAGES / f"{name}.png", optimize=True)


def sign_in(camera: Photographer) -> None:
    with camera.page(None) as page:
        page.goto("/admin/login")
        camera.take(page, "sign-in")


def products(camera: Photographer) -> None:
    for name, options in (("products", DESKTOP), ("products-dark", DARK), ("phone", PHONE)):
        with camera.page(ALICE, options) as page:
            page.goto("/admin/product/list")
            for number in (0, 2, 3):
                page.locator("input[name=ids]").nth(number).check()
            camera.take(page, name)


def filters(camera: Photographer) -> None:
    with camera.page(SAM) as page:
        page.goto("/admin/product/list?search=lamp&is_active=yes")
        page.locator("summary", has_text="Filters").click()
        expect(page.locator(".filter-fields")).to_be_visible()
        page.wait_for_load_state("networkidle")
        camera.take(page, "filters")
    with camera.page(SAM, DARK) as page:
        page.goto("/admin/product/list")
        page.keyboard.press("Control+k")
        page.keyboard.type("cofee makr", delay=15)
        expect(page.locator("#quick-search [role=option]").first).to_contain_text("Coffee Maker")
        camera.take(page, "quick-search")


def product_form(camera: Photographer) -> None:
    with camera.page(ALICE) as page:
        page.goto("/admin/product/create")
        page.get_by_label("Name").fill("Stoneware teapot")
        page.get_by_label("Description").fill("Holds a litre.\nGoes into the dishwasher.")
        page.get_by_label("Price").fill("39.00")
        with page.expect_file_chooser() as opened:
            page.get_by_role("button", name="Choose pictures").click()
        opened.value.set_files([teapot("#1f6f6b", "#d9ece8"), teapot("#b4552d", "#f4e3d7")])
        texts = page.get_by_label("Alternative text")
        expect(texts).to_have_count(2)
        texts.first.fill("A green teapot with its lid")
        texts.last.fill("The same in brown")
        page.get_by_role("button", name="Save and continue editing").click()
        page.wait_for_url("**/edit/*")
        expect(page.locator(".picture img")).to_have_count(2, timeout=30_000)
        page.wait_for_load_state("networkidle")
        camera.take(page, "product-form")


def history(camera: Photographer) -> None:
    """A product that two people change: what the second is asked, and what is on record afterwards."""
    with camera.page(ALICE) as alice, camera.page(ROOT) as root:
        alice.goto("/admin/product/list?mine=yes&search=folding+chair")
        address = str(alice.locator("[data-edit]").first.get_attribute("href")).partition("?")[0]
        for page in (alice, root):
            page.goto(address)
        name = root.get_by_label("Name").input_value()
        root.get_by_label("Name").fill(f"{name}, oiled")
        root.get_by_label("Price").fill("32.00")
        root.get_by_role("button", name="Save", exact=True).click()
        root.wait_for_url("**/list*")
        alice.get_by_label("Name").fill(f"{name}, with a cushion")
        alice.get_by_role("button", name="Save", exact=True).click()
        expect(alice.get_by_role("group", name="Name")).to_contain_text(f"{name}, oiled")
        camera.take(alice, "conflict")
        alice.get_by_label("Take theirs").check()
        alice.get_by_label("Description").fill("Folds flat and hangs from one hook. Oiled by hand.")
        alice.get_by_role("button", name="Save", exact=True).click()
        alice.wait_for_url("**/list*")
        alice.goto(address.replace("/edit/", "/history/"))
        camera.take(alice, "history")


def bulk_operation(camera: Photographer) -> None:
    """All products, of which Alice owns some: the question, and the operation when it has ended."""
    with camera.page(ALICE) as page:
        page.goto("/admin/product/list")
        page.locator("[data-select-matching]").click()
        page.locator("summary", has_text="Actions").click()
        page.get_by_role("button", name="Change price").click()
        page.get_by_label("Change", exact=True).fill("-12.5")
        page.get_by_label("Round to").select_option("Amounts that end in .99")
        page.get_by_role("button", name="Show what would change").click()
        page.get_by_role("region", name="What would change").wait_for()
        camera.take(page, "bulk-question")
        typed = page.locator("#typed")
        if typed.count():
            typed.fill(page.locator(".numbers dd").first.inner_text())
        page.locator("form[data-submit-once] button").click()
        expect(page.locator("h1 .badge")).to_have_text("Finished", timeout=30_000)
        camera.take(page, "bulk-operation")


def import_and_export(camera: Photographer) -> None:
    with camera.page(ALICE) as page:
        page.goto("/admin/product/import")
        file: FilePayload = {"name": "kitchen.csv", "mimeType": "text/csv", "buffer": FILE.encode()}
        page.get_by_label("File", exact=True).set_input_files(file)
        page.get_by_role("button", name="Send the file").click()
        page.wait_for_url("**/admin/import/details/*")
        camera.take(page, "import-columns")
        page.get_by_role("button", name="Check the file").click()
        expect(page.get_by_role("button", name="Create 3 products")).to_be_visible(timeout=15_000)
        camera.take(page, "import-check")
        page.goto("/admin/product/export?search=lamp&is_active=yes")
        camera.take(page, "export")


def account(camera: Photographer) -> None:
    with camera.page(SAM) as page:
        page.goto("/admin/account")
        camera.take(page, "account")
    with camera.page(SAM, PHONE) as page:
        page.goto("/admin/account/second-factor")
        camera.take(page, "second-factor")


def dashboard(camera: Photographer) -> None:
    """After the others, so that something has happened."""
    for name, email, options in (
        ("dashboard", ROOT, DESKTOP | {"viewport": {"width": 1440, "height": 1200}}),
        ("dashboard-phone", ALICE, PHONE | {"color_scheme": "dark"}),
    ):
        with camera.page(email, options) as page:
            page.goto("/admin/")
            expect(page.locator("[data-tile] svg").first).to_be_visible(timeout=30_000)
            page.wait_for_load_state("networkidle")
            camera.take(page, name)
    with camera.page(ROOT) as page:
        page.goto("/admin/jobs")
        camera.take(page, "jobs")
    with camera.page(ALICE, DESKTOP | {"viewport": {"width": 1440, "height": 480}}) as page:
        page.goto("/admin/notifications")
        camera.take(page, "notifications")


def teapot(colour: str, background: str) -> FilePayload:
    """A drawn one, as a JPEG."""
    picture = Image.new("RGB", (1200, 900), background)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((120, 700, 1080, 800), fill="#00000022")
    draw.arc((760, 300, 1060, 640), -110, 110, fill=colour, width=46)
    draw.polygon([(380, 560), (120, 330), (200, 310), (440, 430)], fill=colour)
    draw.ellipse((320, 290, 900, 770), fill=colour)
    draw.ellipse((430, 250, 790, 350), fill=background, outline=colour, width=26)
    draw.ellipse((575, 190, 645, 260), fill=colour)
    content = BytesIO()
    picture.save(content, "JPEG")
    return {"name": "teapot.jpg", "mimeType": "image/jpeg", "buffer": content.getvalue()}


SHOTS: tuple[Callable[[Photographer], None], ...] = (
    sign_in,
    products,
    filters,
    product_form,
    history,
    bulk_operation,
    import_and_export,
    account,
    dashboard,
)


def main(names: list[str]) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as directory, chromium() as browser:
        demo = Demo(Path(directory) / "data")
        try:
            for shoot in SHOTS:
                if not names or shoot.__name__ in names:
                    shoot(Photographer(browser, demo))
        finally:
            demo.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
