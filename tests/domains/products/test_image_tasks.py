"""What the worker makes of a picture, whatever is killed or out of reach, and what it sweeps away."""

import asyncio
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from PIL import Image
from sqlalchemy import func, select, update

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.domains import TASKS
from admin_app.domains.products import image_tasks
from admin_app.domains.products.image_service import (
    REMOVED_DAYS,
    UNUSED_HOURS,
    ProductImageService,
)
from admin_app.domains.products.image_tasks import sweep_images
from admin_app.domains.products.models import ImageState, Product, ProductImage
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.errors import Forbidden, InvalidInput, Unavailable
from admin_app.images.containers import ImageRefused
from admin_app.outbox import Delivery
from admin_app.storage import MARK, Storage
from admin_app.worker import Deliverer
from tests.admin.rows import every
from tests.conftest import Cast, MakeProduct
from tests.deliveries import work
from tests.domains.products.conftest import Products
from tests.domains.products.pictures import add_picture, load_picture
from tests.s3 import s3_server
from tests.samples import jpeg, png

SOON = timedelta(minutes=1)


@pytest.fixture
def storage(database: Database, tmp_path: Path) -> Storage:
    """Empty, so that what is in it can be told."""
    storage = Storage(tmp_path.as_uri())
    database.info["storage"] = storage
    return storage


def names(folder: Path) -> set[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MARK]
    return {str(path.relative_to(folder)) for path in files}


async def picture_of(database: Database, picture: dict[str, str]) -> ProductImage:
    found = await load_picture(database, picture)
    assert found is not None
    return found


async def sweep(database: Database) -> int:
    """Until nothing is left to do, each portion in a transaction of its own, as the worker does."""
    total = 0
    while True:
        async with database.transaction() as session:
            done = await sweep_images(session)
        total += done
        if not done:
            return total


async def age(database: Database, picture: dict[str, str], **ago: timedelta) -> None:
    async with database.transaction() as session:
        row = update(ProductImage).where(ProductImage.id == UUID(picture["id"]))
        await session.execute(row.values({name: func.now() - by for name, by in ago.items()}))


class Reaching:
    """A storage that cannot be reached for a while; real ones are stopped in tests/test_storage.py."""

    def __init__(self, storage: Storage, failing: str) -> None:
        self._storage = storage
        self.failing = failing

    def __getattr__(self, name: str) -> object:
        if name != self.failing:
            return getattr(self._storage, name)

        async def fail(*_: object) -> None:
            raise Unavailable("The file storage cannot be reached just now.")

        return fail


class TestProcessing:
    async def test_a_picture_gets_its_files_under_names_made_of_their_content(
        self, database: Database, storage: Storage, cast: Cast, tmp_path: Path
    ) -> None:
        picture = await add_picture(database, cast.alice, jpeg(1600, 1000))
        await work(database)
        found = await picture_of(database, picture)
        assert (found.state, found.reason) == (ImageState.READY, None)
        sizes = [(file["format"], file["width"], file["height"]) for file in found.files]
        assert sorted(sizes) == sorted(
            (kind, *size) for kind in ("jpeg", "webp") for size in ((96, 60), (480, 300), (1200, 750))
        )
        assert names(tmp_path) == {found.original, *(file["name"] for file in found.files)}
        for file in found.files:
            content = await storage.get(file["name"])
            assert content is not None
            with Image.open(BytesIO(content)) as image:
                assert (image.format, image.size) == (
                    file["format"].upper(),
                    (file["width"], file["height"]),
                )
            assert file["name"].startswith(f"images/{found.id}/")

    async def test_twice_is_as_good_as_once(
        self, database: Database, storage: Storage, cast: Cast, tmp_path: Path
    ) -> None:
        picture = await add_picture(database, cast.alice)
        await work(database)
        before, files = names(tmp_path), (await picture_of(database, picture)).files
        for state in (ImageState.PROCESSING, ImageState.READY):
            async with database.transaction() as session:
                await session.execute(update(ProductImage).values(state=state))
            async with database.transaction() as session:
                await image_tasks.process_product_images(session, [picture["id"]])
            found = await picture_of(database, picture)
            assert (found.state, found.files) == (ImageState.READY, files)
            assert names(tmp_path) == before

    @pytest.mark.parametrize(
        "content",
        [png()[:-30], b"GIF89a", png().replace(b"IDATx", b"IDATy")],
        ids=["cut off", "empty", "damaged"],
    )
    async def test_what_cannot_be_read_fails_with_a_reason_and_leaves_nothing(
        self, content: bytes, database: Database, storage: Storage, cast: Cast, tmp_path: Path
    ) -> None:
        picture = await add_picture(database, cast.alice, content)
        await work(database)
        found = await picture_of(database, picture)
        assert found.state is ImageState.FAILED
        assert found.reason is not None
        assert found.reason.endswith(".")
        assert names(tmp_path) == set()
        [delivery] = await every(database, Delivery)
        assert delivery.done_at is not None

    async def test_a_download_that_fails_says_why(
        self, database: Database, storage: Storage, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(_url: str) -> bytes:
            raise ImageRefused("The server answers 404.")

        monkeypatch.setattr(image_tasks, "download", refuse)
        async with database.transaction() as session:
            image = await ProductImageService(session, cast.alice).add_url(None, "https://shop.example/a.png")
        await work(database)
        found = await picture_of(database, {"id": str(image.id)})
        assert (found.state, found.reason) == (ImageState.FAILED, "The server answers 404.")

    async def test_what_is_downloaded_is_downloaded_once(
        self,
        database: Database,
        storage: Storage,
        cast: Cast,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        asked = []

        async def download(url: str) -> bytes:
            asked.append(url)
            return png()

        monkeypatch.setattr(image_tasks, "download", download)
        async with database.transaction() as session:
            image = await ProductImageService(session, cast.alice).add_url(None, "https://shop.example/a.png")
        picture = {"id": str(image.id)}
        await work(database)
        async with database.transaction() as session:
            await session.execute(update(ProductImage).values(state=ImageState.WAITING))
        async with database.transaction() as session:
            await image_tasks.process_product_images(session, [picture["id"]])
        found = await picture_of(database, picture)
        assert found.state is ImageState.READY
        assert found.original in names(tmp_path)
        assert asked == ["https://shop.example/a.png"]

    @pytest.mark.parametrize("step", ["get", "put"])
    async def test_an_outage_of_the_storage_is_waited_out(
        self, step: str, database: Database, storage: Storage, cast: Cast
    ) -> None:
        picture = await add_picture(database, cast.alice)
        database.info["storage"] = Reaching(storage, step)
        [delivery] = await every(database, Delivery)
        deliverer = Deliverer(database, TASKS, max_tries=1, lease_seconds=60)
        for _ in range(3):
            await deliverer.deliver(delivery.id, 0)
            found = await picture_of(database, picture)
            assert found.state is ImageState.WAITING
            assert found.reason is not None
        database.info["storage"] = storage
        await deliverer.deliver(delivery.id, 0)
        found = await picture_of(database, picture)
        assert (found.state, found.reason) == (ImageState.READY, None)

    async def test_with_a_real_s3_server_that_refuses_goes_away_and_comes_back(
        self, database: Database, cast: Cast
    ) -> None:
        with s3_server() as server:
            storage = database.info["storage"] = Storage(server.url, server.options)
            picture = await add_picture(database, cast.alice, jpeg(700, 500))
            [delivery] = await every(database, Delivery)
            deliverer = Deliverer(database, TASKS, max_tries=1, lease_seconds=60)
            strangers = {**server.options, "secret_access_key": "wrong"}
            database.info["storage"] = Storage(server.url, strangers)
            await deliverer.deliver(delivery.id, 0)
            assert (await picture_of(database, picture)).state is ImageState.WAITING
            database.info["storage"] = storage
            server.stop()
            await deliverer.deliver(delivery.id, 0)
            assert (await picture_of(database, picture)).state is ImageState.WAITING
            server.start()
            await deliverer.deliver(delivery.id, 0)
            found = await picture_of(database, picture)
            assert found.state is ImageState.READY
            assert names(server.bucket) == {found.original, *(file["name"] for file in found.files)}
            await age(database, picture, created_at=timedelta(days=2))
            await sweep(database)
            assert names(server.bucket) == set()

    async def test_everybody_sees_that_it_is_being_worked_on(
        self, database: Database, storage: Storage, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        convert = image_tasks.convert

        async def looking(content: bytes) -> object:
            seen.append((await picture_of(database, picture)).state)
            return await convert(content)

        monkeypatch.setattr(image_tasks, "convert", looking)
        picture = await add_picture(database, cast.alice)
        await work(database)
        assert seen == [ImageState.PROCESSING]


class TestSweeping:
    async def test_what_no_form_was_saved_with_goes_after_a_day(
        self, database: Database, storage: Storage, cast: Cast, tmp_path: Path
    ) -> None:
        old, new = [await add_picture(database, cast.alice) for _ in range(2)]
        await work(database)
        await age(database, old, created_at=timedelta(hours=UNUSED_HOURS) + SOON)
        await age(database, new, created_at=timedelta(hours=UNUSED_HOURS) - SOON)
        await sweep(database)
        assert await load_picture(database, old) is None
        kept = await picture_of(database, new)
        assert names(tmp_path) == {kept.original, *(file["name"] for file in kept.files)}

    async def test_an_upload_that_was_cut_off_goes_with_whatever_arrived(
        self, database: Database, storage: Storage, cast: Cast, tmp_path: Path
    ) -> None:
        async with database.transaction() as session:
            image = await ProductImageService(session, cast.alice).begin(None)
        await storage.put(image.original, png(), "application/octet-stream")
        await age(database, {"id": str(image.id)}, created_at=timedelta(days=2))
        await sweep(database)
        assert names(tmp_path) == set()
        assert await every(database, ProductImage) == []

    async def test_what_a_product_shows_stays_however_old(
        self,
        database: Database,
        storage: Storage,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
        tmp_path: Path,
    ) -> None:
        product = await make_product(cast.alice)
        shown, removed, long_gone = [await add_picture(database, cast.alice) for _ in range(3)]
        await work(database)
        for images in ([shown, removed, long_gone], [shown]):
            async with products(cast.alice) as service:
                await service.update(product.id, ProductUpdate(images=images))
        await age(database, shown, created_at=timedelta(days=999))
        # A mistake in the books must not cost a picture that is shown.
        await age(database, shown, removed_at=timedelta(days=999))
        await age(database, removed, removed_at=timedelta(days=REMOVED_DAYS) - SOON)
        await age(database, long_gone, removed_at=timedelta(days=REMOVED_DAYS) + SOON)
        await sweep(database)
        assert await load_picture(database, long_gone) is None
        kept = [await picture_of(database, picture) for picture in (shown, removed)]
        assert names(tmp_path) == {
            name for image in kept for name in (image.original, *(file["name"] for file in image.files))
        }
        with pytest.raises(InvalidInput):
            async with products(cast.alice) as service:
                await service.revert(product.id, 2, ["images"])

    async def test_in_the_bin_they_stay_and_go_with_their_product(
        self,
        database: Database,
        storage: Storage,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
        tmp_path: Path,
    ) -> None:
        product, picture = await make_product(cast.alice), await add_picture(database, cast.alice)
        await work(database)
        async with products(cast.alice) as service:
            await service.update(product.id, ProductUpdate(images=[picture]))
            await service.delete(product.id)
        await age(database, picture, created_at=timedelta(days=2))
        assert await sweep(database) == 0
        async with database.transaction() as session:
            later = await session.scalar(select(func.now() + timedelta(days=1)))
            assert later is not None
            assert await ProductService(session, Actor.system()).purge(later, 10) == 1
        await sweep(database)
        assert names(tmp_path) == set()
        assert await every(database, ProductImage) == []

    async def test_a_crash_after_the_files_are_gone_leaves_the_row_to_try_again(
        self, database: Database, storage: Storage, cast: Cast, tmp_path: Path
    ) -> None:
        picture = await add_picture(database, cast.alice)
        await age(database, picture, created_at=timedelta(days=2))
        async with database.transaction() as session:
            assert await sweep_images(session) == 1
        with pytest.raises(RuntimeError):
            async with database.transaction() as session:
                await sweep_images(session)
                raise RuntimeError
        assert names(tmp_path) == set()
        assert await load_picture(database, picture) is not None
        await sweep(database)
        assert await load_picture(database, picture) is None

    async def test_an_outage_leaves_everything_as_it_is(
        self, database: Database, storage: Storage, cast: Cast
    ) -> None:
        picture = await add_picture(database, cast.alice)
        await age(database, picture, created_at=timedelta(days=2))
        database.info["storage"] = Reaching(storage, "delete_all")
        with pytest.raises(Unavailable):
            await sweep(database)
        assert (await picture_of(database, picture)).state is ImageState.DISCARDED
        database.info["storage"] = storage
        await sweep(database)
        assert await load_picture(database, picture) is None

    async def test_who_saves_at_the_same_moment_either_keeps_it_or_is_told(
        self,
        database: Database,
        storage: Storage,
        cast: Cast,
        make_product: MakeProduct,
        products: Products,
    ) -> None:
        for _ in range(5):
            product, picture = await make_product(cast.alice), await add_picture(database, cast.alice)
            await age(database, picture, created_at=timedelta(days=2))

            async def save(product: Product = product, picture: dict[str, str] = picture) -> bool:
                try:
                    async with products(cast.alice) as service:
                        await service.update(product.id, ProductUpdate(images=[picture]))
                except InvalidInput:
                    return False
                return True

            saved, _ = await asyncio.gather(save(), sweep(database))
            await sweep(database)
            assert (await load_picture(database, picture) is not None) == saved

    async def test_a_worker_that_is_slower_than_the_sweep_leaves_nothing_behind(
        self,
        database: Database,
        storage: Storage,
        cast: Cast,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        convert = image_tasks.convert

        async def slow(content: bytes) -> object:
            await age(database, picture, created_at=timedelta(days=2))
            await sweep(database)
            return await convert(content)

        monkeypatch.setattr(image_tasks, "convert", slow)
        picture = await add_picture(database, cast.alice)
        await work(database)
        assert names(tmp_path) == set()
        # And one that was killed before it could clear up comes again.
        await storage.put(f"images/{picture['id']}/{'0' * 32}.webp", b"late", "image/webp")
        async with database.transaction() as session:
            await image_tasks.process_product_images(session, [picture["id"]])
        assert names(tmp_path) == set()

    async def test_only_the_installation_sweeps(self, database: Database, cast: Cast) -> None:
        async with database.reading() as session:
            service = ProductImageService(session, cast.root)
            for attempt in (service.discard(1), service.lock_discarded(1), service.delete([uuid4()])):
                with pytest.raises(Forbidden):
                    await attempt
