"""Which pictures a product shows is a value of the product, with all that goes with it."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.domains.products.handlers import PROCESS_PRODUCT_IMAGES, UPDATE_PRODUCT_INDEX
from admin_app.domains.products.image_service import MAX_UNUSED, ProductImageService
from admin_app.domains.products.models import ImageState, Product, ProductImage
from admin_app.domains.products.schemas import ProductCreate, ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.errors import Forbidden, InvalidInput, NotFound
from admin_app.merging import EditConflict
from admin_app.outbox import Delivery
from tests.admin.rows import every, history, load, traces
from tests.conftest import Cast, MakeProduct, count
from tests.domains.products.conftest import Products
from tests.domains.products.pictures import add_picture, load_picture


async def shown(database: Database, product: Product) -> list[dict[str, str]]:
    found = await load(database, Product, product.id)
    assert found is not None
    return found.images


async def show(products: Products, actor: Actor, product: Product, images: list[dict[str, str]]) -> Product:
    async with products(actor) as service:
        return await service.update(product.id, ProductUpdate(images=images))


async def tasks(database: Database) -> list[str]:
    return sorted(delivery.task for delivery in await every(database, Delivery))


class TestShowing:
    async def test_a_new_product_has_the_pictures_of_its_form(
        self, database: Database, cast: Cast, products: Products
    ) -> None:
        front, side = [await add_picture(database, cast.alice) for _ in range(2)]
        images = [{**side, "alt": "From the side"}, front]
        async with products(cast.alice) as service:
            product = await service.create(ProductCreate(name="Anvil", price=1, images=images))
        assert await shown(database, product) == images
        [entry] = await history(database, product.id)
        assert entry.changes["images"] == [None, images]
        for picture in (front, side):
            found = await load_picture(database, picture)
            assert found is not None
            assert (found.product_id, found.removed_at) == (product.id, None)

    async def test_order_and_text_are_changed_recorded_and_brought_back_without_new_work(
        self, database: Database, cast: Cast, products: Products, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.alice)
        first, second = [await add_picture(database, cast.alice) for _ in range(2)]
        await show(products, cast.alice, product, [first, second])
        before = await tasks(database)
        turned = [{**second, "alt": "Now in front"}, first]
        await show(products, cast.alice, product, turned)
        assert await shown(database, product) == turned
        entries = await history(database, product.id)
        assert entries[-1].changes == {"images": [[first, second], turned]}
        async with products(cast.alice) as service:
            await service.revert(product.id, 2, ["images"])
        assert await shown(database, product) == [first, second]
        assert (await history(database, product.id))[-1].action == "reverted"
        assert before.count(PROCESS_PRODUCT_IMAGES) == 2
        assert await tasks(database) == sorted([*before, UPDATE_PRODUCT_INDEX, UPDATE_PRODUCT_INDEX])

    async def test_a_removed_picture_can_be_brought_back(
        self, database: Database, cast: Cast, products: Products, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.alice)
        picture = await add_picture(database, cast.alice)
        await show(products, cast.alice, product, [picture])
        await show(products, cast.alice, product, [])
        gone = await load_picture(database, picture)
        assert gone is not None
        assert gone.removed_at is not None
        async with products(cast.alice) as service:
            await service.revert(product.id, 2, ["images"])
        assert await shown(database, product) == [picture]
        back = await load_picture(database, picture)
        assert back is not None
        assert back.removed_at is None

    async def test_what_others_changed_meanwhile_is_kept_and_the_same_is_a_conflict(
        self, database: Database, cast: Cast, products: Products, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.alice)
        mine, theirs = [await add_picture(database, actor) for actor in (cast.alice, cast.root)]
        await show(products, cast.root, product, [theirs])
        async with products(cast.alice) as service:
            await service.update(product.id, ProductUpdate(name="Anvil"), expected_version=1)
        assert await shown(database, product) == [theirs]
        with pytest.raises(EditConflict) as caught:
            async with products(cast.alice) as service:
                await service.update(product.id, ProductUpdate(images=[mine]), expected_version=1)
        assert caught.value.clashes["images"].theirs == [theirs]
        assert await shown(database, product) == [theirs]


class TestRefused:
    @pytest.mark.parametrize(
        "case", ["twice", "thirteen", "unknown", "of another product", "of another form"]
    )
    async def test_nothing_is_saved(
        self, case: str, database: Database, cast: Cast, products: Products, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.alice)
        own = await add_picture(database, cast.alice)
        other = await make_product(cast.bob)
        foreign = await add_picture(database, cast.bob)
        await show(products, cast.bob, other, [foreign])
        images = {
            "twice": [own, own],
            "thirteen": [{"id": str(uuid4()), "alt": ""} for _ in range(13)],
            "unknown": [{"id": str(uuid4()), "alt": ""}],
            "of another product": [foreign],
            "of another form": [await add_picture(database, cast.bob)],
        }[case]
        before = await traces(database)
        with pytest.raises(ValueError if case in {"twice", "thirteen"} else InvalidInput) as caught:
            await show(products, cast.alice, product, images)
        if isinstance(caught.value, InvalidInput):
            assert set(caught.value.fields) == {"images"}
        assert await shown(database, product) == []
        assert await traces(database) == before
        found = await load_picture(database, own)
        assert found is not None
        assert found.product_id is None

    @pytest.mark.parametrize("state", ["uploading", "failed", "discarded"])
    async def test_a_picture_nobody_can_show(
        self, state: str, database: Database, cast: Cast, products: Products, make_product: MakeProduct
    ) -> None:
        product, picture = await make_product(cast.alice), await add_picture(database, cast.alice)
        async with database.transaction() as session:
            await session.execute(update(ProductImage).values(state=ImageState(state)))
        with pytest.raises(InvalidInput):
            await show(products, cast.alice, product, [picture])
        assert await shown(database, product) == []

    async def test_the_database_has_the_last_word(
        self, database: Database, make_product: MakeProduct, cast: Cast
    ) -> None:
        product = await make_product(cast.alice)
        many = [{"id": str(uuid4()), "alt": ""} for _ in range(13)]
        with pytest.raises(Exception, match="images_few"):
            async with database.transaction() as session:
                await session.execute(update(Product).where(Product.id == product.id).values(images=many))


class TestAdding:
    async def test_who_may_not_change_a_product_adds_nothing_to_it(
        self, database: Database, cast: Cast, make_product: MakeProduct
    ) -> None:
        product = await make_product(cast.alice)
        before = await traces(database)
        for actor, product_id, error in (
            (cast.sam, None, Forbidden),
            (cast.sam, product.id, Forbidden),
            (cast.bob, product.id, NotFound),
            (cast.bob, uuid4(), NotFound),
        ):
            for url in (None, "https://pictures.example/a.jpg"):
                with pytest.raises(error):
                    async with database.transaction() as session:
                        service = ProductImageService(session, actor)
                        await (service.add_url(product_id, url) if url else service.begin(product_id))
        assert await traces(database) == before
        async with database.reading() as session:
            assert await count(session, "product_image") == 0

    async def test_only_who_began_an_upload_ends_it_and_only_once(
        self, database: Database, cast: Cast
    ) -> None:
        async with database.transaction() as session:
            image = await ProductImageService(session, cast.alice).begin(None)
        assert await tasks(database) == []
        with pytest.raises(NotFound):
            async with database.transaction() as session:
                await ProductImageService(session, cast.root).arrived(image.id)

        async def end() -> None:
            async with database.transaction() as session:
                await ProductImageService(session, cast.alice).arrived(image.id)

        await asyncio.gather(end(), end(), end())
        assert await tasks(database) == [PROCESS_PRODUCT_IMAGES]

    async def test_nobody_sees_the_pictures_of_somebody_elses_open_form(
        self, database: Database, cast: Cast, products: Products, make_product: MakeProduct
    ) -> None:
        picture = await add_picture(database, cast.alice)

        async def see(actor: Actor) -> int:
            async with database.reading() as session:
                return len(await ProductImageService(session, actor).find([UUID(picture["id"])]))

        assert [await see(actor) for actor in (cast.alice, cast.bob, cast.sam, cast.root)] == [1, 0, 0, 0]
        await show(products, cast.alice, await make_product(cast.alice), [picture])
        assert [await see(actor) for actor in (cast.alice, cast.bob, cast.sam, cast.root)] == [1, 1, 1, 1]

    async def test_nobody_fills_the_storage_with_forms_that_are_never_saved(
        self, database: Database, cast: Cast
    ) -> None:
        async with database.transaction() as session:
            session.add_all(
                ProductImage(state=ImageState.WAITING, original=f"originals/{n}", uploaded_by=cast.alice.id)
                for n in range(MAX_UNUSED)
            )
        with pytest.raises(InvalidInput):
            await add_picture(database, cast.alice)
        assert await add_picture(database, cast.bob)
        async with database.transaction() as session:
            await session.execute(update(ProductImage).values(state=ImageState.FAILED))
        assert await add_picture(database, cast.alice)


async def test_reading_a_product_brings_the_files_of_its_main_picture(
    database: Database, cast: Cast, products: Products, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    first, second = [await add_picture(database, cast.alice) for _ in range(2)]
    await show(products, cast.alice, product, [second, first])
    files = [{"format": "webp", "width": 96, "height": 72, "name": "images/x/y.webp"}]
    async with database.transaction() as session:
        main = update(ProductImage).where(ProductImage.id == UUID(second["id"]))
        await session.execute(main.values(files=files, state=ImageState.READY))
    async with database.reading() as session:
        service = ProductService(session, cast.sam)
        assert (await service.get_by_id(product.id)).main_files == files
        [row] = (await service.page(service.listing.parse([]))).rows
        assert row.main_files == files
