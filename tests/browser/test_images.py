"""The pictures of products, as people see them: added, put in order, becoming ready, told and disputed."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import asyncpg
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import Demo
from tests.browser.test_habits import tab_to
from tests.browser.test_typed import asked, end_session, open_signed_in, save, sign_in

pytestmark = pytest.mark.browser

MEASURE = (Path(__file__).parent / "measure.js").read_text()
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
READY = 20_000  # milliseconds: the worker works beside the page
SIZES = re.compile(r"/admin/media/images/[0-9a-f-]{36}/[0-9a-f]{32}\.webp")


def picture(name: str, size: tuple[int, int] = (600, 400)) -> FilePayload:
    """A JPEG of a colour of its own."""
    colour = (sum(name.encode()) * 7 % 256, sum(name.encode()) * 13 % 256, 120)
    content = BytesIO()
    Image.new("RGB", size, colour).save(content, "JPEG")
    return {"name": f"{name}.jpg", "mimeType": "image/jpeg", "buffer": content.getvalue()}


def file(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


def choose(page: Page, *chosen: FilePayload) -> None:
    with page.expect_file_chooser() as opened:
        page.get_by_role("button", name="Choose pictures").click()
    opened.value.set_files(list(chosen))


def tiles(page: Page) -> Locator:
    return page.locator(".picture")


def expect_ready(page: Page, number: int) -> None:
    """So many pictures, all with a thumbnail, and nothing more to be said of them."""
    expect(page.locator(".picture[data-state=ready] img")).to_have_count(number, timeout=READY)
    expect(tiles(page)).to_have_count(number)


def texts(page: Page) -> list[str]:
    return [field.input_value() for field in page.get_by_label("Alternative text of picture").all()]


def open_new(page: Page, name: str) -> None:
    page.goto("/admin/product/create")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Price").fill("5")


def save_on(page: Page) -> str:
    """Save, and go on editing. The product's id."""
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.locator(".notice")).to_contain_text("was")
    page.wait_for_url("**/edit/*")
    return page.url.rsplit("/", 1)[1]


def make(page: Page, name: str, *described: str) -> str:
    """A product with a picture for each of these texts. The form is open again; its id."""
    open_new(page, name)
    choose(page, *[picture(text) for text in described])
    expect_ready(page, len(described))
    for number, text in enumerate(described, 1):
        page.get_by_label(f"Alternative text of picture {number}").fill(text)
    return save_on(page)


def execute(demo: Demo, statement: str, *values: object) -> None:
    """In the demo's database, in a thread: Playwright keeps an event loop running in this one."""

    async def run() -> None:
        connection = await asyncpg.connect(
            host=str(demo.data_dir / "postgres"), user="postgres", database="admin_app"
        )
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, run()).result()


def problems(page: Page) -> list[str]:
    found: list[str] = page.evaluate(MEASURE)
    violations = Axe().run(page).response["violations"]
    return found + [f"{each['id']} {[node['html'] for node in each['nodes']]}" for each in violations]


def test_several_are_uploaded_at_once_and_become_ready_by_themselves(open_page: OpenPage) -> None:
    page = open_page("alice", viewport=DESKTOP)
    open_new(page, "Pictured lamp")
    choose(
        page, picture("front"), picture("side", (400, 600)), file("notes.jpg", b"no image"), picture("box")
    )
    refused = page.locator(".picture[data-state=refused]")
    expect(refused).to_contain_text("notes.jpg: This is no image")
    expect(page.locator("[data-said]")).to_contain_text("notes.jpg was not added.")
    refused.get_by_role("button", name="Remove").click()
    expect_ready(page, 3)
    expect(tiles(page).first).to_contain_text("Main")
    expect(tiles(page).first.locator("img")).to_have_attribute("src", SIZES)
    page.get_by_label("Alternative text of picture 1").fill("The lamp from the front")
    product = save_on(page)
    expect_ready(page, 3)
    assert texts(page) == ["The lamp from the front", "", ""]

    page.goto(f"/admin/product/details/{product}")
    shown = page.get_by_role("region", name="Images").get_by_role("link")
    expect(shown).to_have_count(3)
    main = page.get_by_role("img", name="The lamp from the front")
    assert main.evaluate(
        "image => image.complete && image.naturalWidth > 0 && image.currentSrc.endsWith('.webp')"
    )
    assert [image.get_attribute("loading") for image in page.locator(".gallery img").all()] == [
        None,
        "lazy",
        "lazy",
    ]
    shown.first.click()
    large = page.get_by_role("dialog")
    expect(large.get_by_role("heading")).to_have_text("1 of 3: The lamp from the front")
    assert problems(page) == []
    page.keyboard.press("ArrowLeft")
    expect(large.get_by_role("heading")).to_have_text("3 of 3: Picture 3")
    large.get_by_role("button", name="Next picture").click()
    expect(large.get_by_role("img", name="The lamp from the front")).to_have_js_property("naturalWidth", 600)
    page.keyboard.press("Escape")
    expect(large).to_be_hidden()
    expect(shown.first).to_be_focused()

    page.goto("/admin/product/list?search=pictured+lamp")
    thumbnail = page.locator("tbody .thumbnail img")
    expect(thumbnail).to_have_attribute("src", SIZES)
    box = thumbnail.bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (28, 28)


def test_the_keyboard_alone_puts_pictures_in_order(open_page: OpenPage) -> None:
    page = open_page("alice")
    product = make(page, "Ordered lamp", "one", "two", "three")
    tab_to(page, "[aria-label='Later: picture 1']")
    page.keyboard.press("Enter")
    assert texts(page) == ["two", "one", "three"]
    expect(page.locator("[data-said]")).to_have_text("Now picture 2 of 3.")
    expect(page.get_by_role("button", name="Later: picture 2")).to_be_focused()
    page.keyboard.press("Enter")
    assert texts(page) == ["two", "three", "one"]
    expect(page.get_by_role("button", name="Earlier: picture 3")).to_be_focused()
    page.get_by_role("button", name="Make main: picture 3").focus()
    page.keyboard.press("Space")
    assert texts(page) == ["one", "two", "three"]
    expect(page.locator("[data-said]")).to_have_text("Now picture 1 of 3, the main one.")
    expect(page.get_by_role("button", name="Later: picture 1")).to_be_focused()
    page.get_by_role("button", name="Remove: picture 2").focus()
    page.keyboard.press("Enter")
    assert texts(page) == ["one", "three"]
    expect(page.get_by_role("button", name="Remove: picture 2")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(tiles(page)).to_have_count(0)
    expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()
    page.goto(f"/admin/product/edit/{product}")
    assert texts(page) == ["one", "two", "three"]
    page.get_by_role("button", name="Earlier: picture 3").click()
    save_on(page)
    assert texts(page) == ["one", "three", "two"]


def test_a_mouse_drags_pictures_and_drops_files(open_page: OpenPage) -> None:
    page = open_page("alice", viewport=DESKTOP)
    make(page, "Dragged lamp", "one", "two", "three")
    frames = page.locator("[data-list] [data-frame]")
    frames.nth(2).drag_to(frames.nth(0))
    assert texts(page) == ["three", "one", "two"]
    dropped = page.evaluate_handle(
        """content => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(content)], "dropped.jpg"));
          return transfer;
        }""",
        list(picture("dropped")["buffer"]),
    )
    page.locator("h1").dispatch_event("drop", {"dataTransfer": dropped})
    expect_ready(page, 4)
    page.evaluate(
        """content => {
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([new Uint8Array(content)], "pasted.jpg"));
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }""",
        list(picture("pasted")["buffer"]),
    )
    expect_ready(page, 5)


def test_an_address_inside_is_refused_beside_the_field(open_page: OpenPage) -> None:
    page = open_page("alice")
    open_new(page, "Lamp from the web")
    address = page.get_by_label("Or the address of a picture on the web")
    address.fill("http://127.0.0.1/lamp.jpg")
    address.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(address).to_have_accessible_description(page.get_by_role("alert").inner_text())
    expect(address).to_have_value("http://127.0.0.1/lamp.jpg")
    expect(tiles(page)).to_have_count(0)
    assert page.url.endswith("/create")


def test_too_many_and_too_large_ones_are_refused_before_they_are_sent(open_page: OpenPage) -> None:
    page = open_page("alice")
    open_new(page, "Too many lamps")
    large = file("large.jpg", bytes(20 * 1024 * 1024 + 1))
    choose(page, large, *[picture(f"picture {number}", (30, 20)) for number in range(13)])
    expect(page.get_by_role("alert")).to_have_text(
        "large.jpg has more than 20 MB. At most 12 pictures: 1 not added."
    )
    expect_ready(page, 12)
    page.get_by_role("button", name="Remove: picture 12").click()
    choose(page, picture("the last"))
    expect_ready(page, 12)
    expect(page.get_by_role("alert")).to_be_hidden()


def held(page: Page) -> list[Route]:
    """Uploads, from now on, that go on when they are told to."""
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page.route("**/product/images", hold)
    return waiting


def test_saving_waits_for_what_is_on_its_way(open_page: OpenPage) -> None:
    page = open_page("alice")
    open_new(page, "Patient lamp")
    waiting = held(page)
    with page.expect_request("**/product/images"):
        choose(page, picture("slow"))
    expect(tiles(page)).to_contain_text("Uploading slow.jpg")
    with asked(page):
        page.get_by_role("link", name="Cancel").click()
    save(page)
    expect(page.get_by_text("Saving as soon as the pictures have arrived.")).to_be_visible()
    waiting[0].continue_()
    expect(page.get_by_role("status")).to_have_text("Product “Patient lamp” was created.")


def test_saving_does_not_go_on_without_a_picture_that_was_refused_meanwhile(open_page: OpenPage) -> None:
    page = open_page("alice")
    open_new(page, "Impatient lamp")
    waiting = held(page)
    with page.expect_request("**/product/images"):
        choose(page, file("slow.jpg", b"no image"))
    save(page)
    expect(page.get_by_text("Saving as soon as")).to_be_visible()
    waiting[0].continue_()
    expect(page.get_by_text("Not saved yet: a picture was not added.")).to_be_visible()
    expect(tiles(page)).to_contain_text("slow.jpg: This is no image")
    save(page)
    expect(page.get_by_role("status")).to_have_text("Product “Impatient lamp” was created.")


def test_whoever_was_signed_out_while_editing_keeps_the_pictures(open_page: OpenPage, demo: Demo) -> None:
    page = open_signed_in(open_page, demo)
    open_new(page, "Kept lamp")
    choose(page, picture("front"), picture("side"))
    expect_ready(page, 2)
    page.get_by_label("Alternative text of picture 1").fill("From the front")
    end_session(page, demo)
    choose(page, picture("late"))
    late = tiles(page).nth(2)
    expect(late).to_contain_text("You were signed out. Sign in in another tab, then try again.")
    other = page.context.new_page()
    demo.sign_in(other, "alice@demo.example")
    late.get_by_role("button", name="Try again").click()
    expect_ready(page, 3)
    end_session(other, demo)
    with asked(page, times=0):
        save(page)
        sign_in(page, demo)
        expect(page.get_by_role("heading", level=1)).to_have_text("New product")
    expect_ready(page, 3)
    assert texts(page) == ["From the front", "", ""]
    save(page)
    expect(page.get_by_role("status")).to_have_text("Product “Kept lamp” was created.")


def test_a_refused_form_shows_the_pictures_again(open_page: OpenPage) -> None:
    page = open_page("alice")
    open_new(page, "Refused lamp")
    page.get_by_label("Price").fill("cheap")
    choose(page, picture("front"))
    expect_ready(page, 1)
    page.get_by_label("Alternative text of picture 1").fill("From the front")
    save(page)
    expect(page.get_by_role("alert")).to_be_visible()
    expect_ready(page, 1)
    assert texts(page) == ["From the front"]


def test_leaving_asks_once_the_pictures_are_changed(open_page: OpenPage) -> None:
    page = open_page("alice")
    product = make(page, "Guarded lamp", "one", "two")
    page.goto(f"/admin/product/edit/{product}")
    cancel = page.get_by_role("link", name="Cancel")
    page.get_by_role("button", name="Later: picture 1").click()
    with asked(page):
        cancel.click()
    page.get_by_role("button", name="Earlier: picture 2").click()
    with asked(page, times=0):  # all is as it was
        cancel.click()
        page.wait_for_url("**/details/*")


def test_a_page_shows_what_becomes_of_pictures_on_their_way(open_page: OpenPage, demo: Demo) -> None:
    page = open_page("alice")
    product = make(page, "Developing lamp", "first", "second")
    execute(demo, "CREATE TABLE image_files AS SELECT id, files FROM product_image")
    mine = "product_id = $1::text::uuid"
    try:
        execute(demo, f"UPDATE product_image SET state = 'processing', files = '[]' WHERE {mine}", product)
        editor = open_page("alice")
        editor.goto(f"/admin/product/edit/{product}")
        expect(editor.get_by_text("Being processed")).to_have_count(2)
        page.goto(f"/admin/product/details/{product}")
        gallery = page.get_by_role("region", name="Images")
        expect(gallery.get_by_text("Being processed")).to_have_count(2)
        execute(
            demo,
            "UPDATE product_image SET state = 'ready', files = image_files.files FROM image_files "
            f"WHERE image_files.id = product_image.id AND {mine}",
            product,
        )
    finally:
        execute(demo, "DROP TABLE image_files")
    expect(gallery.get_by_role("link")).to_have_count(2)
    expect(gallery.get_by_text("Being processed")).to_have_count(0)
    expect_ready(editor, 2)
    reason = "This image cannot be read: it is damaged."
    execute(
        demo,
        f"UPDATE product_image SET state = 'failed', reason = $2, files = '[]' WHERE {mine}",
        product,
        reason,
    )
    for shown in (page, editor):
        shown.reload()
        expect(shown.get_by_text(reason)).to_have_count(2)


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP])
@pytest.mark.parametrize("side", ["Take theirs", "Keep yours"])
def test_of_two_sets_one_click_takes_either(open_page: OpenPage, side: str, viewport: dict[str, int]) -> None:
    alice, root = open_page("alice", viewport=viewport), open_page("root")
    product = make(alice, f"Disputed lamp, {side}", "one", "two")
    root.goto(f"/admin/product/edit/{product}")
    root.get_by_label("Alternative text of picture 1").fill("His text")
    save_on(root)
    alice.get_by_role("button", name="Remove: picture 2").click()
    save(alice)
    box = alice.get_by_role("group", name="Images").first
    expect(box.locator(".strip img")).to_have_count(2)
    expect(box.locator(".strip")).to_contain_text("1. His text")
    assert texts(alice) == ["one"]
    assert problems(alice) == []
    if side == "Keep yours":
        alice.get_by_label("Alternative text of picture 1").fill("Her text")  # takes her side
    else:
        box.get_by_label(side).check()
    save(alice)
    expect(alice.get_by_role("status").first).to_contain_text("was saved")
    alice.goto(f"/admin/product/edit/{product}")
    assert texts(alice) == (["Her text"] if side == "Keep yours" else ["His text", "two"])


def test_the_history_shows_pictures_and_brings_them_back(open_page: OpenPage) -> None:
    page = open_page("alice")
    product = make(page, "Remembered lamp", "one", "two")
    page.get_by_role("button", name="Remove: picture 1").click()
    save_on(page)
    page.goto(f"/admin/product/history/{product}")
    change = page.locator(".event").first
    expect(change.locator("del")).to_have_text("one")
    expect(change.locator("img")).to_have_count(3)
    expect(page.locator(".event").last).to_contain_text("Images 2")
    change.get_by_role("link", name="Compare with before").click()
    expect(page.get_by_role("row", name="Images").locator("img")).to_have_count(3)
    page.get_by_role("button", name="Bring back").click()
    expect(page.get_by_role("status")).to_contain_text("Images brought back from version 1.")
    expect(page.get_by_role("img", name="one")).to_be_visible()
    page.goto(f"/admin/activity/list?search={product}")
    expect(page.locator("tbody tr").first).to_contain_text("Images 1 → 2")


def test_without_scripts_the_pictures_are_shown_and_stay(open_page: OpenPage) -> None:
    product = make(open_page("alice"), "Plain lamp", "one", "two")
    page = open_page("alice", java_script_enabled=False)
    page.goto(f"/admin/product/edit/{product}")
    expect(page.get_by_text("Changing the pictures needs JavaScript.")).to_be_visible()
    expect(page.get_by_role("button", name="Choose pictures")).to_be_hidden()
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)
    expect(tiles(page).locator("img")).to_have_count(2)
    page.get_by_label("Name").fill("Plain lamp, renamed")
    save(page)
    expect(page.get_by_role("status")).to_contain_text("was saved")
    page.goto(f"/admin/product/details/{product}")
    expect(page.get_by_role("region", name="Images").get_by_role("link")).to_have_count(2)


@pytest.mark.parametrize("name", ["bob", "sam"])
def test_who_may_not_change_them_sees_them_all_the_same(open_page: OpenPage, name: str) -> None:
    product = make(open_page("alice"), f"Lamp for {name}", "one", "two")
    page = open_page(name)
    page.goto(f"/admin/product/details/{product}")
    for image in page.locator(".gallery img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") > 0
    page.goto(f"/admin/product/history/{product}")
    expect(page.locator(".event")).to_have_count(1)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP])
def test_every_page_with_pictures_fits_and_can_be_read(
    open_page: OpenPage, viewport: dict[str, int], theme: str
) -> None:
    page = open_page("alice", viewport=viewport, color_scheme=theme)
    long = "Unbreakable" * 27
    product = make(page, f"Lamp for a {theme} room, {viewport['width']} wide", "one", "two", long)
    choose(page, file(f"{long[:120]}.jpg", b"no image"))
    expect(page.locator(".picture[data-state=refused]")).to_be_visible()
    page.get_by_label("Or the address of a picture on the web").fill("http://localhost/")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    found = [f"form: {problem}" for problem in problems(page)]
    page.get_by_role("button", name="Make main: picture 3").click()
    save_on(page)
    pages = ("details", "history", "compare", "edit")
    for path in (*(f"/admin/product/{name}/{product}" for name in pages), "/admin/product/list"):
        page.goto(f"{path}?version=1" if "/compare/" in path else path)
        found += [f"{path}: {problem}" for problem in problems(page)]
    assert found == []
