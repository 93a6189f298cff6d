"""Pictures over the web: who may add them, what is taken, and how their files are given out."""

import json
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select

from admin_app.admin.image_pages import MAX_ASKED
from admin_app.app import create_app
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products.handlers import PROCESS_PRODUCT_IMAGES
from admin_app.domains.products.models import ImageState, Product, ProductImage
from admin_app.errors import Unavailable
from admin_app.images.containers import MAX_BYTES
from admin_app.outbox import Delivery
from admin_app.storage import storage_of
from tests.admin.pages import open_form, parse
from tests.admin.rows import every, history, load, traces
from tests.conftest import Cast, MakeProduct, SignIn, admin_of, browser
from tests.deliveries import work
from tests.domains.products.pictures import add_picture, load_picture
from tests.samples import jpeg, png

IMAGES = "/admin/product/images"
CREATE = "/admin/product/create"


async def upload(
    client: httpx.AsyncClient, content: bytes, path: str = IMAGES, name: str = "front.png"
) -> httpx.Response:
    return await client.post(path, files={"file": (name, content)})


async def pictures(database: Database) -> list[ProductImage]:
    return await every(database, ProductImage)


class TestAdding:
    async def test_an_upload_waits_for_the_worker_and_for_its_form(
        self, sign_in: SignIn, database: Database, cast: Cast
    ) -> None:
        alice = await sign_in("alice")
        answer = await upload(alice, png())
        assert answer.status_code == 201
        told = answer.json()
        [image] = await pictures(database)
        assert told == {"id": str(image.id), "state": "waiting", "reason": None, "thumbnail": None}
        assert (image.state, image.product_id, image.uploaded_by) == (
            ImageState.WAITING,
            None,
            cast.alice.id,
        )
        assert await storage_of(database).get(image.original) == png()
        [delivery] = await every(database, Delivery)
        assert (delivery.task, delivery.arguments) == (PROCESS_PRODUCT_IMAGES, {"image_ids": [told["id"]]})
        await work(database)
        [state] = (await alice.get(IMAGES, params={"id": told["id"]})).json()["images"]
        assert state["state"] == "ready"
        shown = await alice.get(state["thumbnail"])
        assert shown.headers["content-type"] == "image/webp"

    async def test_a_form_gives_it_to_a_product(
        self, sign_in: SignIn, database: Database, cast: Cast
    ) -> None:
        alice = await sign_in("alice")
        ids = [(await upload(alice, png())).json()["id"] for _ in range(2)]
        images = [{"id": image_id, "alt": f"Picture {n}"} for n, image_id in enumerate(ids)]
        fields = await open_form(alice, CREATE)
        assert json.loads(fields["images"]) == []
        filled = fields | {"name": "Anvil", "price": "1", "images": json.dumps(images)}
        assert (await alice.post(CREATE, data=filled)).status_code == 303
        [product] = await every(database, Product)
        assert product.images == images
        edit = f"/admin/product/edit/{product.id}"
        fields = await open_form(alice, edit)
        assert json.loads(fields["images"]) == images
        turned = fields | {"images": json.dumps(images[::-1])}
        assert (await alice.post(edit, data=turned)).status_code == 303
        changed = await load(database, Product, product.id)
        assert changed is not None
        assert changed.images == images[::-1]
        assert (await history(database, product.id))[-1].changes == {"images": [images, images[::-1]]}

    async def test_a_form_without_its_pictures_leaves_them_as_they_are(
        self, sign_in: SignIn, database: Database, cast: Cast
    ) -> None:
        alice = await sign_in("alice")
        images = [{"id": (await upload(alice, png())).json()["id"], "alt": ""}]
        fields = await open_form(alice, CREATE)
        await alice.post(CREATE, data=fields | {"name": "Anvil", "price": "1", "images": json.dumps(images)})
        [product] = await every(database, Product)
        edit = f"/admin/product/edit/{product.id}"
        fields = await open_form(alice, edit)
        del fields["images"]
        assert (await alice.post(edit, data=fields | {"name": "Hammer"})).status_code == 303
        changed = await load(database, Product, product.id)
        assert changed is not None
        assert (changed.name, changed.images) == ("Hammer", images)

    async def test_a_refused_form_shows_the_pictures_again(self, sign_in: SignIn, database: Database) -> None:
        alice = await sign_in("alice")
        images = [{"id": (await upload(alice, png())).json()["id"], "alt": "Seen from the front"}]
        fields = await open_form(alice, CREATE)
        response = await alice.post(CREATE, data=fields | {"price": "x", "images": json.dumps(images)})
        assert response.status_code == 422
        assert "Seen from the front" in response.text
        assert await every(database, Product) == []

    @pytest.mark.parametrize(
        ("images", "reason"),
        [
            ("{", "The pictures arrived damaged. Open the form again."),
            ('[{"id": "x"}]', "The pictures arrived damaged. Open the form again."),
            ("[" * 100_000, "The pictures arrived damaged. Open the form again."),
            ('[{"id": "\\ud800", "alt": "\\udfff"}]', "The pictures arrived damaged. Open the form again."),
            (json.dumps([{"id": str(UUID(int=1)), "alt": "\ud800"}]), "characters that cannot be stored"),
            (json.dumps([{"id": str(UUID(int=n))} for n in range(13)]), "at most 12 pictures"),
            (json.dumps([{"id": str(UUID(int=1))}]), "not stored any more"),
            (json.dumps([{"id": str(UUID(int=1)), "alt": "a" * 301}]), "Use at most 300 characters."),
        ],
        ids=[
            "cut off",
            "no id",
            "deep",
            "half a character as id",
            "half a character",
            "thirteen",
            "unknown",
            "long text",
        ],
    )
    async def test_what_no_form_of_ours_sends_is_refused_beside_the_field(
        self, images: str, reason: str, sign_in: SignIn, database: Database
    ) -> None:
        alice = await sign_in("alice")
        fields = await open_form(alice, CREATE)
        response = await alice.post(CREATE, data=fields | {"name": "A", "price": "1", "images": images})
        assert response.status_code == 422
        assert any(reason in told.text for told in parse(response).all("p", class_="field-error"))
        assert await every(database, Product) == []


class TestRefused:
    async def test_a_foreign_product_is_as_one_that_is_not_there(
        self, sign_in: SignIn, database: Database, cast: Cast, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.alice)
        bob = await sign_in("bob")
        before = await traces(database)
        answers = [
            await send(bob, f"{IMAGES}/{row_id}")
            for row_id in (product.id, uuid4())
            for send in (lambda who, path: upload(who, png(), path), _send_url)
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.content for answer in answers}) == 1
        assert await traces(database) == before
        assert await pictures(database) == []

    @pytest.mark.parametrize(("name", "status"), [("sam", 403), ("nobody", 401)])
    async def test_who_never_writes_adds_nothing(
        self,
        name: str,
        status: int,
        sign_in: SignIn,
        database: Database,
        cast: Cast,
        make_product: MakeProduct,
    ) -> None:
        product = await make_product(cast.alice)
        somebody = await sign_in(name)
        for path in (IMAGES, f"{IMAGES}/{product.id}"):
            assert (await upload(somebody, png(), path)).status_code == status
            assert (await _send_url(somebody, path)).status_code == status
        assert await pictures(database) == []

    @pytest.mark.parametrize(
        ("content", "name"),
        [
            (b"", "empty.png"),
            (png()[:60], "cut.png"),
            (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "logo.png"),
            (b"<!doctype html><script>alert(1)</script>", "page.jpg"),
            (b"%PDF-1.7 ...", "order.jpg"),
            (b"%!PS-Adobe-3.0 EPSF-3.0", "drawing.png"),
            (png() + b"<script>alert(1)</script>", "both.png"),
            (png() + b"PK\x05\x06" + b"\0" * 18, "archive.png"),
            (b"MZ" + b"\0" * 100, "../../../etc/passwd"),
        ],
        ids=["empty", "cut off", "svg", "html", "pdf", "eps", "polyglot", "zip", "program"],
    )
    async def test_what_is_no_picture_is_refused_with_a_sentence(
        self, content: bytes, name: str, sign_in: SignIn, database: Database
    ) -> None:
        alice = await sign_in("alice")
        before = await traces(database)
        answer = await upload(alice, content, name=name)
        assert answer.status_code == 422
        assert answer.json()["message"].endswith(".")
        assert await pictures(database) == []
        assert await traces(database) == before

    async def test_the_content_counts_and_not_the_name(self, sign_in: SignIn, database: Database) -> None:
        alice = await sign_in("alice")
        for name in ("../../etc/passwd", "a.svg", "", "nul\x01l.php"):
            answer = await upload(alice, jpeg(), name=name)
            assert answer.status_code == (201 if name else 422)
        assert {image.original[:10] for image in await pictures(database)} == {"originals/"}

    async def test_more_than_20_mb_is_refused(self, sign_in: SignIn, database: Database) -> None:
        alice = await sign_in("alice")
        a_little = await upload(alice, b"\xff" * (MAX_BYTES + 1))
        assert a_little.status_code == 422
        assert "20 MB" in a_little.json()["message"]
        much = await upload(alice, b"\xff" * (23 * 1024 * 1024))
        assert much.status_code == 413

        async def without_length() -> AsyncIterator[bytes]:
            for _ in range(30):
                yield b"x" * 1_000_000

        headers = {"content-type": "multipart/form-data; boundary=x"}
        assert (await alice.post(IMAGES, content=without_length(), headers=headers)).status_code in {400, 413}
        assert await pictures(database) == []

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1/",
            "http://localhost:8000/admin/",
            "http://localhost./",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://①②⑦.⓪.⓪.①/",
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "//example.com/a.png",
            "http://user:password@example.com/a.png",
            "http://nobody.invalid/a.png",
            "http://exa mple.com/",
            "http://xn--/",
            "http://8.8.8.8:0/",
            "x" * 3000,
            "http://a" + ".a" * 2000,
        ],
    )
    async def test_an_address_that_is_not_public_is_refused_before_anything_is_stored(
        self, url: str, sign_in: SignIn, database: Database
    ) -> None:
        alice = await sign_in("alice")
        answer = await alice.post(IMAGES, data={"url": url})
        assert answer.status_code == 422
        assert answer.json()["message"].endswith(".")
        assert await pictures(database) == []

    @pytest.mark.parametrize("data", [{}, {"url": ""}, {"file": "text"}, {"other": "x"}])
    async def test_nothing_at_all(self, data: dict[str, str], sign_in: SignIn, database: Database) -> None:
        alice = await sign_in("alice")
        answer = await alice.post(IMAGES, data=data)
        assert answer.status_code == 422
        assert answer.json() == {"message": "Choose a picture, or enter the address of one."}

    async def test_only_a_form_with_a_file_may_be_long(self, sign_in: SignIn) -> None:
        """The parser of the other kind takes half a minute for as much."""
        alice = await sign_in("alice")
        headers = {"content-type": "application/x-www-form-urlencoded"}
        assert (await alice.post(IMAGES, content=b"%" * 1_000_001, headers=headers)).status_code == 413
        fields = {f"field{number}": "x" for number in range(6)}
        assert (await alice.post(IMAGES, data=fields, files={"file": ("a.png", png())})).status_code == 400
        assert (await alice.post(IMAGES, data={"url": "x" * 11_000}, files={})).status_code in {400, 422}

    async def test_two_files_at_once(self, sign_in: SignIn, database: Database) -> None:
        alice = await sign_in("alice")
        answer = await alice.post(IMAGES, files=[("file", ("a.png", png())), ("file", ("b.png", png()))])
        assert answer.status_code == 400
        assert await pictures(database) == []

    async def test_a_storage_out_of_reach_is_told_and_leaves_nothing_to_show(
        self, sign_in: SignIn, database: Database, website, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: object) -> None:
            raise Unavailable("The file storage cannot be reached just now. Try again in a moment.")

        monkeypatch.setattr(admin_of(website).storage, "put", fail)
        answer = await upload(await sign_in("alice"), png())
        assert answer.status_code == 503
        assert "storage" in answer.json()["message"]
        [image] = await pictures(database)
        assert image.state is ImageState.DISCARDED  # to be swept with whatever arrived
        assert await every(database, Delivery) == []


class TestGivingOut:
    async def test_only_what_was_made_here_is_given_out(
        self, sign_in: SignIn, database: Database, cast: Cast
    ) -> None:
        picture = await add_picture(database, cast.alice, jpeg(600, 400))
        await work(database)
        image = await load_picture(database, picture)
        assert image is not None
        sam = await sign_in("sam")
        for file in image.files:
            given = await sam.get(f"/admin/media/{file['name']}")
            assert given.status_code == 200
            assert given.content == await storage_of(database).get(file["name"])
            assert given.headers["content-type"] == f"image/{file['format']}"
            assert given.headers["cache-control"] == "private, max-age=31536000, immutable"
            assert given.headers["content-security-policy"].endswith("; sandbox")
            assert given.headers["x-content-type-options"] == "nosniff"
        folder = image.files[0]["name"].rpartition("/")[0]
        for name in (
            image.original,
            f"{folder}/../../{image.original}",
            f"{folder}/..%2f..%2f{image.original.replace('/', '%2f')}",
            f"{folder}/{'0' * 32}.webp",
            f"{folder}/{'0' * 32}.svg",
            f"{folder}/%00{'0' * 31}.webp",
            "images/x/y.webp",
        ):
            assert (await sam.get(f"/admin/media/{name}")).status_code == 404

    async def test_a_picture_of_an_open_form_is_its_uploaders(
        self, sign_in: SignIn, database: Database, cast: Cast
    ) -> None:
        picture = await add_picture(database, cast.alice)
        await work(database)
        for name, state in (("alice", "ready"), ("bob", "gone"), ("sam", "gone"), ("root", "gone")):
            client = await sign_in(name)
            [told] = (await client.get(IMAGES, params={"id": picture["id"]})).json()["images"]
            assert (told["state"], told["thumbnail"] is None) == (state, state == "gone")

    async def test_asking_for_states_is_bounded_and_never_fails(self, sign_in: SignIn) -> None:
        sam = await sign_in("sam")
        ids = ["x", "\0", "1" * 5000, *(str(uuid4()) for _ in range(100))]
        answer = await sam.get(IMAGES, params={"id": ids})
        assert answer.status_code == 200
        assert 0 < len(answer.json()["images"]) <= MAX_ASKED
        assert (await sam.get(IMAGES)).json() == {"images": []}

    async def test_list_and_details_show_it(
        self, sign_in: SignIn, database: Database, cast: Cast, make_product: MakeProduct
    ) -> None:
        picture = await add_picture(database, cast.alice, jpeg(600, 400))
        await work(database)
        product = await make_product(cast.alice, images=[{**picture, "alt": "An <anvil>"}])
        await make_product(cast.alice, name="Without")
        sam = await sign_in("sam")
        listed = parse(await sam.get("/admin/product/list"))
        [thumbnail] = listed.one("tbody").all("img")
        assert thumbnail.attributes["width"] == "96"
        assert (await sam.get(thumbnail.attributes["src"])).status_code == 200
        details = await sam.get(f"/admin/product/details/{product.id}")
        shown = parse(details)
        assert "An <anvil>" in {image.attributes.get("alt") for image in shown.all("img")}
        sets = [source.attributes["srcset"] for source in shown.all("source")]
        assert any("96w" in names and "480w" in names and "600w" in names for names in sets)

    async def test_with_a_cdn_pages_name_it_and_may_show_it(
        self, settings: Settings, database: Database, cast: Cast, make_product: MakeProduct, sign_in: SignIn
    ) -> None:
        picture = await add_picture(database, cast.alice)
        await work(database)
        await make_product(cast.alice, images=[picture])
        signed_in = await sign_in("sam")
        with_cdn = create_app(settings.model_copy(update={"cdn_url": "https://cdn.example/shop"}))
        async with browser(with_cdn) as client:
            client.cookies.update(signed_in.cookies)
            page = await client.get("/admin/product/list")
        [thumbnail] = parse(page).one("tbody").all("img")
        assert thumbnail.attributes["src"].startswith(f"https://cdn.example/shop/images/{picture['id']}/")
        assert "img-src 'self' https://cdn.example;" in page.headers["content-security-policy"]
        await with_cdn.state.database.close()


async def _send_url(client: httpx.AsyncClient, path: str) -> httpx.Response:
    return await client.post(path, data={"url": "http://93.184.215.14/a.png"})


async def test_an_image_by_url_is_taken_without_being_fetched(
    sign_in: SignIn, database: Database, cast: Cast
) -> None:
    """By its address, so that this test asks no name server."""
    alice = await sign_in("alice")
    answer = await _send_url(alice, IMAGES)
    assert answer.status_code == 201
    async with database.reading() as session:
        [image] = (await session.scalars(select(ProductImage))).all()
    assert (image.url, image.state) == ("http://93.184.215.14/a.png", ImageState.WAITING)
    assert await storage_of(database).get(image.original) is None
