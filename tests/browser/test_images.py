"""The pictures of products, as people see them: added, put in order, becoming ready, told and disputed."""

import asyncio
import itertools
import re
from collections.abc import Iterator
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
ADDRESS = "Or the address of a picture on the web"
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


def unreadable() -> bytes:
    """A complete PNG, but its pixels cannot be unpacked: only who decodes it notices."""
    content = BytesIO()
    Image.new("RGB", (40, 30)).save(content, "PNG")
    return content.getvalue().replace(b"IDATx", b"IDATy")


def choose(page: Page, *chosen: FilePayload | Path) -> None:
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


def problems_in_all_looks(page: Page) -> Iterator[str]:
    for viewport, theme in itertools.product((PHONE, DESKTOP), ("light", "dark")):
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        for problem in problems(page):
            yield f"at {viewport['width']}, {theme}: {problem}"


def keep_what_is_said(page: Page) -> None:
    """In an attribute of the body: the next thing said takes the place of the one before."""
    page.evaluate(
        """() => {
          const said = document.querySelector("[data-said]"), all = document.body.dataset;
          new MutationObserver(() => { all.allSaid = `${all.allSaid ?? ""} ${said.textContent}`; })
            .observe(said, { childList: true, characterData: true, subtree: true });
        }"""
    )


def test_several_are_uploaded_at_once_and_become_ready_by_themselves(open_page: OpenPage) -> None:
    page = open_page("alice", viewport=DESKTOP)
    open_new(page, "Pictured lamp")
    keep_what_is_said(page)
    choose(
        page, picture("front"), picture("side", (400, 600)), file("notes.jpg", b"no image"), picture("box")
    )
    refused = page.locator(".picture[data-state=refused]")
    expect(refused).to_contain_text("notes.jpg: This is no image")
    expect(page.locator("body")).to_have_attribute("data-all-said", re.compile(r"notes\.jpg was not added\."))
    refused.get_by_role("button", name="Remove").click()
    expect_ready(page, 3)
    expect(tiles(page).first).to_contain_text("Main")
    expect(tiles(page).first.locator("img")).to_have_attribute("src", SIZES)
    page.get_by_label("Alternative text of picture 1").fill("The lamp from the front")
    product = save_on(page)
    expect_ready(page, 3)
    assert texts(page) == ["The lamp from the front", "", ""]

    page.goto(f"/admin/product/details/{product}")
    shown = page.get_by_role("region", name="Pictures").get_by_role("link")
    expect(shown).to_have_count(3)
    main = page.get_by_role("img", name="The lamp from the front")
    assert main.evaluate(
        "image => image.complete && image.naturalWidth > 0 && image.currentSrc.endsWith('.webp')"
    )
    assert main.evaluate("image => image.offsetHeight <= image.closest('li').clientHeight")
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
    address = page.get_by_label(ADDRESS)
    address.fill("http://127.0.0.1/lamp.jpg")
    address.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(address).to_have_accessible_description(page.get_by_role("alert").inner_text())
    expect(address).to_have_value("http://127.0.0.1/lamp.jpg")
    expect(tiles(page)).to_have_count(0)
    assert page.url.endswith("/create")


def test_too_many_and_too_large_ones_are_refused_before_they_are_sent(
    open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page("alice")
    open_new(page, "Too many lamps")
    # From the disk: 20 MB on their way to the browser as text would take longer than all the rest.
    paths = [tmp_path / f"{name}.jpg" for name in ("large", *(f"picture {number}" for number in range(13)))]
    paths[0].write_bytes(bytes(20 * 1024 * 1024 + 1))
    for path in paths[1:]:
        path.write_bytes(picture(path.stem, (30, 20))["buffer"])
    choose(page, *paths)
    alert = page.get_by_role("alert")
    expect(alert).to_have_text(
        "More than 20 MB, so not added: large.jpg. More than 12 pictures, so not added: picture 12.jpg."
    )
    assert is_between(alert, page.get_by_role("button", name="Choose pictures"), page.get_by_label(ADDRESS))
    expect_ready(page, 12)
    choose(page, *[picture(name) for name in "abcde"])
    expect(alert).to_have_text("More than 12 pictures, so not added: a.jpg, b.jpg, c.jpg and 2 more.")
    page.get_by_role("button", name="Remove: picture 12").click()
    choose(page, picture("the last"))
    expect_ready(page, 12)
    expect(page.get_by_role("alert")).to_be_hidden()


def is_between(middle: Locator, above: Locator, below: Locator) -> bool:
    tops = []
    for place in (above, middle, below):
        box = place.bounding_box()
        assert box is not None
        tops.append(box["y"])
    return tops == sorted(tops)


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


def test_saving_adds_the_address_first_that_was_only_typed(open_page: OpenPage) -> None:
    page = open_page("alice")
    open_new(page, "Lamp of an address")
    waiting = held(page)
    address = page.get_by_label(ADDRESS)
    address.fill("http://127.0.0.1/lamp.jpg")
    with page.expect_request("**/product/images"):
        save(page)
    expect(page.get_by_text("Saving as soon as the pictures have arrived.")).to_be_visible()
    expect(address).not_to_be_editable()
    waiting.pop().continue_()
    expect(page.get_by_text("Not saved yet: correct or clear the address")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(address).to_be_focused()
    with asked(page):
        page.get_by_role("link", name="Cancel").click()
    address.fill("http://127.0.0.1/lamp.jpg?as=picture")
    with page.expect_request("**/product/images"):
        save(page)
    # Tests ask nobody outside: the server gets the picture itself where it would be led to one.
    body = b'--it\r\nContent-Disposition: form-data; name="file"; filename="lamp.jpg"\r\n\r\n%s\r\n--it--\r\n'
    headers = waiting[0].request.headers | {"content-type": "multipart/form-data; boundary=it"}
    waiting.pop().continue_(headers=headers, post_data=body % picture("lamp")["buffer"])
    expect(page.get_by_role("status")).to_have_text("Product “Lamp of an address” was created.")
    page.goto("/admin/product/list?search=lamp+of+an+address")
    page.get_by_role("link", name="Lamp of an address", exact=True).click()
    expect(page.locator(".gallery li")).to_have_count(1)


def test_saving_without_room_for_the_typed_address_is_held(open_page: OpenPage) -> None:
    page = open_page("alice")
    open_new(page, "Full lamp")
    choose(page, *[picture(f"picture {number}", (30, 20)) for number in range(12)])
    expect_ready(page, 12)
    page.get_by_label(ADDRESS).fill("http://127.0.0.1/lamp.jpg")
    save(page)
    expect(page.get_by_role("alert")).to_have_text("At most 12 pictures. Remove one first.")
    expect(page.get_by_text("Not saved yet: correct or clear the address")).to_be_visible()
    page.get_by_label(ADDRESS).clear()
    save(page)
    expect(page.get_by_role("status")).to_have_text("Product “Full lamp” was created.")


def test_one_that_fails_says_which_it_was_and_can_only_be_removed(open_page: OpenPage) -> None:
    page = open_page("alice", viewport=DESKTOP)
    open_new(page, "Lamp with a broken picture")
    choose(page, picture("front"), file("broken.jpg", unreadable()))
    failed = page.locator(".picture[data-state=failed]")
    expect(failed).to_contain_text("broken.jpg: This image cannot be read", timeout=READY)
    assert [button.get_attribute("aria-label") for button in failed.get_by_role("button").all()] == [
        "Remove: picture 2"
    ]
    expect(failed.get_by_label("Alternative text")).to_be_hidden()
    expect(failed.locator("[data-frame]")).to_have_attribute("draggable", "false")


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
        gallery = page.get_by_role("region", name="Pictures")
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
    box = alice.get_by_role("group", name="Pictures").first
    expect(box.locator(".strip img")).to_have_count(2)
    expect(box.locator(".strip li")).to_have_text(["1. His text other text", "2. two not in yours"])
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
    expect(change.locator(".picture-changes li")).to_have_text(
        ["Removed 1. one", "New main picture 1. two", "1 unchanged"]
    )
    expect(change.locator("img")).to_have_count(2)
    expect(page.locator(".event").last).to_contain_text("Pictures 2")
    change.get_by_role("link", name="Compare with before").click()
    expect(page.get_by_role("row", name="Pictures").locator("li")).to_have_text(
        ["1. one removed", "2. two", "1. two"]
    )
    page.get_by_role("button", name="Bring back").click()
    expect(page.get_by_role("status")).to_contain_text("Pictures brought back from version 1.")
    expect(page.get_by_role("img", name="one")).to_be_visible()
    page.goto(f"/admin/activity/list?search={product}")
    expect(page.locator("tbody tr").first).to_contain_text("Pictures 1 → 2")


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
    expect(page.get_by_role("region", name="Pictures").get_by_role("link")).to_have_count(2)


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


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP])
def test_the_large_view_fits_whatever_the_text(open_page: OpenPage, viewport: dict[str, int]) -> None:
    page = open_page("alice", viewport=viewport)
    text = " ".join(["Unbreakable", "x" * 100, *["lamp"] * 37])[:300]
    product = make(page, f"Lamp of many words, {viewport['width']} wide", text, "two")
    page.goto(f"/admin/product/details/{product}")
    page.get_by_role("region", name="Pictures").get_by_role("link").first.click()
    large = page.get_by_role("dialog")
    expect(large.get_by_role("heading")).to_have_text(f"1 of 2: {text}")
    expect(large.get_by_role("img")).to_have_js_property("naturalWidth", 600)
    expect(large.get_by_role("img")).to_have_attribute("src", SIZES)  # the WebP, which may be transparent
    box = large.bounding_box()
    assert box is not None
    inside = [*large.get_by_role("button").all(), large.get_by_role("heading"), large.get_by_role("img")]
    for part in inside:
        found = part.bounding_box()
        assert found is not None
        assert box["x"] <= found["x"] < found["x"] + found["width"] <= box["x"] + box["width"]
        assert box["y"] <= found["y"] < found["y"] + found["height"] <= box["y"] + box["height"]
    assert large.get_by_role("heading").evaluate("title => title.scrollHeight <= title.clientHeight + 1")
    picture_box = large.get_by_role("img").bounding_box()
    assert picture_box is not None
    assert picture_box["width"] > 250
    assert abs(picture_box["x"] + picture_box["width"] / 2 - box["x"] - box["width"] / 2) < 1
    assert problems(page) == []


def test_a_tile_keeps_its_height_while_its_picture_is_on_its_way(open_page: OpenPage) -> None:
    page = open_page("alice", viewport=DESKTOP)
    open_new(page, "Steady lamp")
    waiting = held(page)
    with page.expect_request("**/product/images"):
        choose(page, picture("a name that is too long for one line, and then some"))
    tile = tiles(page).first
    expect(tile).to_contain_text("Uploading")
    heights = [tile.evaluate("tile => tile.offsetHeight")]
    for state in ("queued", "waiting", "processing", "ready"):
        tile.evaluate("(tile, state) => { tile.dataset.state = state; }", state)
        heights.append(tile.evaluate("tile => tile.offsetHeight"))
    waiting[0].continue_()
    expect_ready(page, 1)
    heights.append(tile.evaluate("tile => tile.offsetHeight"))
    assert len(set(heights)) == 1


def test_every_page_with_pictures_fits_and_can_be_read(open_page: OpenPage) -> None:
    page = open_page("alice")
    long = "Unbreakable" * 27
    product = make(page, "Lamp for every room", "one", "two", long)
    choose(page, file(f"{long[:120]}.jpg", b"no image"))
    expect(page.locator(".picture[data-state=refused]")).to_be_visible()
    page.get_by_label(ADDRESS).fill("http://localhost/")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    found = [f"form {problem}" for problem in problems_in_all_looks(page)]
    page.get_by_label(ADDRESS).clear()
    page.get_by_role("button", name="Make main: picture 3").click()
    save_on(page)
    pages = ("details", "history", "compare", "edit")
    for path in (*(f"/admin/product/{name}/{product}" for name in pages), "/admin/product/list"):
        page.goto(f"{path}?version=1" if "/compare/" in path else path)
        found += [f"{path} {problem}" for problem in problems_in_all_looks(page)]
    assert found == []
