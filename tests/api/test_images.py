"""Pictures by the API: sent or fetched, followed, and shown by a product."""

from uuid import UUID, uuid4

import pytest

from admin_app.database import Database
from admin_app.domains.products.models import ProductImage
from admin_app.outbox import Delivery
from admin_app.storage import storage_of
from tests.admin.rows import every, load
from tests.api.conftest import Call
from tests.conftest import Cast, MakeProduct
from tests.samples import png


async def test_a_picture_is_sent_followed_and_shown(
    call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    alice = await call("alice")
    added = await alice.post(f"/products/{product.id}/images", files={"file": ("a.png", png())})
    assert (added.status_code, added.json()["state"]) == (201, "waiting")
    image = added.json()["id"]
    assert added.headers["location"] == f"/api/v1/images/{image}"
    assert (await alice.get(f"/images/{image}")).json() == added.json()
    row = await load(database, ProductImage, UUID(image))
    assert row is not None
    assert await storage_of(database).get(row.original) == png()
    assert len(await every(database, Delivery, task="process_product_images")) == 1

    shown = await alice.patch(f"/products/{product.id}", json={"images": [{"id": image, "alt": "Front"}]})
    assert [(item["id"], item["alt"], item["state"]) for item in shown.json()["images"]] == [
        (image, "Front", "waiting")
    ]
    assert (await alice.get(f"/images/{image}")).json()["product_id"] == str(product.id)
    gone = await alice.patch(f"/products/{product.id}", json={"images": []})
    assert gone.json()["images"] == []


async def test_a_picture_sent_twice_with_one_key_is_answered_alike(
    call: Call, cast: Cast, database: Database
) -> None:
    alice = await call("alice")
    request = alice.build_request("POST", "/images/", files={"file": ("a.png", png())})
    content = request.read()
    headers = {"Content-Type": request.headers["content-type"], "Idempotency-Key": "one"}
    first, second = [await alice.post("/images/", content=content, headers=headers) for _ in range(2)]
    assert first.status_code == 201
    assert (second.status_code, second.json()) == (201, first.json())


async def test_an_address_is_fetched_later_and_only_from_the_public_internet(
    call: Call, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await call("alice")
    refused = await alice.post("/images/", json={"url": "http://127.0.0.1/a.png"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/url")
    assert await every(database, ProductImage) == []
    added = await alice.post("/images/", json={"url": "http://93.184.215.14/a.png"})
    assert added.status_code == 201
    [image] = await every(database, ProductImage)
    assert (image.url, image.state.value) == ("http://93.184.215.14/a.png", "waiting")


async def test_what_is_no_picture_is_refused_with_a_sentence(call: Call, database: Database) -> None:
    alice = await call("alice")
    for files in (
        {"file": ("a.png", b"not a picture")},
        {"file": ("a.png", b"")},
        {"picture": ("a.png", png())},
    ):
        answer = await alice.post("/images/", files=files)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/file")
    both = await alice.post("/images/", files={"file": ("a.png", png())}, data={"url": "x"})
    assert both.status_code == 422
    broken = {"Content-Type": "multipart/form-data"}
    assert (await alice.post("/images/", content=b"x", headers=broken)).status_code == 400
    assert (await alice.post("/images/", content=b"x")).status_code == 415
    assert await every(database, ProductImage) == []


async def test_a_file_may_be_20_mb_and_other_bodies_1_mb(call: Call) -> None:
    alice = await call("alice")
    large = {"file": ("a.png", png() + b"x" * 2_000_000)}
    assert (await alice.post("/images/", files=large)).status_code == 422  # read, and looked at
    for path in ("/products/", "/images/x", f"/images/{uuid4()}", f"/products/{uuid4()}"):
        answer = await alice.post(path, files=large)
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    too_large = {"file": ("a.png", b"x" * 22_100_000)}
    assert (await alice.post("/images/", files=too_large)).status_code == 413
    text = {"name": "x" * 1_000_000, "price": "1"}
    assert (await alice.post("/products/", json=text)).status_code == 413


async def test_a_product_of_somebody_else_takes_no_picture(
    call: Call, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    for name, status in (("bob", 404), ("sam", 403), ("nobody", 401)):
        client = await call(name)
        files = {"file": ("a.png", png())}
        foreign = await client.post(f"/products/{product.id}/images", files=files)
        missing = await client.post(f"/products/{uuid4()}/images", files=files)
        assert foreign.status_code == status
        if name == "bob":
            assert foreign.content == missing.content
    assert await every(database, ProductImage) == []


async def test_a_picture_nobody_shows_yet_is_its_uploaders(call: Call) -> None:
    image = (await (await call("alice")).post("/images/", files={"file": ("a.png", png())})).json()["id"]
    assert (await (await call("root")).get(f"/images/{image}")).status_code == 404
