"""Kill -9 of the worker between each pair of steps of a picture: ready in the end, once."""

from functools import partial

import pytest
from saq.queue.redis import RedisQueue

from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products.models import ImageState, ProductImage
from tests.conftest import Cast
from tests.crash.conftest import Healthy, Spawn, has_been_killed
from tests.crash.effects import effects, publish
from tests.crash.process import IMAGE_STEPS
from tests.crash.waiting import eventually
from tests.domains.products.pictures import add_picture, load_picture
from tests.samples import jpeg


def names(settings: Settings, folder: str) -> set[str]:
    media = settings.data_dir / "media"
    return {str(path.relative_to(media)) for path in (media / folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("step", IMAGE_STEPS)
async def test_a_picture_is_ready_in_the_end_though_killed_once_the(
    step: str,
    settings: Settings,
    database: Database,
    cast: Cast,
    queue: RedisQueue,
    spawn: Spawn,
    healthy_relay: Healthy,
) -> None:
    async def is_ready() -> bool:
        return (await picture_of(database, picture)).state is ImageState.READY

    picture = await add_picture(database, cast.alice, jpeg(700, 500))
    async with healthy_relay():
        await has_been_killed(await spawn(step))
        await spawn("worker")
        await eventually(is_ready)
    image = await picture_of(database, picture)
    assert len(image.files) == 6
    assert names(settings, image.folder) == {file["name"] for file in image.files}
    assert image.original in names(settings, "originals")


async def test_pictures_wait_in_a_queue_of_their_own_and_keep_nothing_else_waiting(
    database: Database, outbox: Database, cast: Cast, queue: RedisQueue, spawn: Spawn
) -> None:
    async def are_ready() -> bool:
        return all([(await picture_of(database, each)).state is ImageState.READY for each in pictures])

    pictures = [await add_picture(database, cast.alice, jpeg(2400, 1800)) for _ in range(16)]
    await publish(outbox, range(3))
    for step in ("relay", "worker"):
        await spawn(step)
    await eventually(partial(has_effects, outbox, 3))
    assert not await are_ready()
    await eventually(are_ready)


async def picture_of(database: Database, picture: dict[str, str]) -> ProductImage:
    image = await load_picture(database, picture)
    assert image is not None
    return image


async def has_effects(outbox: Database, number: int) -> bool:
    return len(await effects(outbox)) == number
