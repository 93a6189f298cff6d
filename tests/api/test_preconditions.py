"""If-Match and If-None-Match, by RFC 9110."""

import re
from uuid import UUID

import pytest
from sqlalchemy import func, update

from admin_app.database import Database
from admin_app.domains.products.models import ImageState, ProductImage
from admin_app.domains.users.models import User
from tests.admin.rows import traces
from tests.api.conftest import Call
from tests.conftest import Cast, MakeProduct
from tests.domains.products.pictures import add_picture

STALE, CURRENT = '"1"', '"2"'
HOLDS = [CURRENT, "*", ' "1" , "2"', '"a,b", "2"', '"2",', ', "2"']
FAILS = [STALE, 'W/"2"', '"1", "3"', '""', '"2 "'[:2] + '0"']
GARBAGE = ["2", "", '"2', '"2" "3"', 'w/"2"', '*, "2"', ",", '"2";q=1']


@pytest.fixture
async def path(call: Call, cast: Cast, make_product: MakeProduct) -> str:
    """A product of Alice's at version 2."""
    product = await make_product(cast.alice)
    alice = await call("alice")
    assert (await alice.patch(f"/products/{product.id}", json={"name": "Second"})).headers["etag"] == CURRENT
    return f"/products/{product.id}"


@pytest.mark.parametrize("tags", HOLDS)
async def test_a_change_is_made_when_if_match_holds(tags: str, path: str, call: Call) -> None:
    alice = await call("alice")
    response = await alice.patch(path, json={"name": "Third"}, headers={"If-Match": tags})
    assert (response.status_code, response.headers["etag"]) == (200, '"3"')
    assert (await alice.delete(path, headers={"If-Match": '"3"'})).status_code == 204


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("tags", FAILS)
async def test_nothing_is_changed_when_if_match_fails(
    tags: str, method: str, path: str, call: Call, database: Database
) -> None:
    alice = await call("alice")
    before = await traces(database)
    body = {"json": {"price": "9"}} if method == "PATCH" else {}
    response = await alice.request(method, path, headers={"If-Match": tags}, **body)
    assert (response.status_code, response.json()["title"]) == (412, "Precondition Failed")
    assert await traces(database) == before


@pytest.mark.parametrize("tags", GARBAGE)
async def test_tags_that_cannot_be_read_are_refused(
    tags: str, path: str, call: Call, database: Database
) -> None:
    alice = await call("alice")
    before = await traces(database)
    for header in ("If-Match", "If-None-Match"):
        assert (await alice.patch(path, json={"name": "Third"}, headers={header: tags})).status_code == 400
        assert (await alice.get(path, headers={header: tags})).status_code == 400
    assert await traces(database) == before


@pytest.mark.parametrize("tags", [CURRENT, 'W/"2"', '"1", "2"', "*"])
async def test_what_the_caller_has_is_not_sent_again(tags: str, path: str, call: Call) -> None:
    response = await (await call("alice")).get(path, headers={"If-None-Match": tags})
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", CURRENT)


async def test_what_the_caller_has_not_is_sent(path: str, call: Call) -> None:
    alice = await call("alice")
    assert (await alice.get(path, headers={"If-None-Match": STALE})).json()["name"] == "Second"
    assert (await alice.get(path, headers={"If-Match": STALE})).status_code == 412


async def test_if_none_match_keeps_from_changing_what_is_there(path: str, call: Call) -> None:
    alice = await call("alice")
    response = await alice.patch(path, json={"name": "Third"}, headers={"If-None-Match": "*"})
    assert response.status_code == 412


async def test_a_stranger_learns_no_version(path: str, call: Call) -> None:
    bob = await call("bob")
    for tags in (STALE, CURRENT):
        assert (await bob.patch(path, json={"name": "Mine"}, headers={"If-Match": tags})).status_code == 404


async def test_what_became_of_a_picture_is_seen_and_stands_against_no_change(
    call: Call, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    path = f"/products/{product.id}"
    alice = await call("alice")
    picture = await add_picture(database, cast.alice, product_id=product.id)
    changed = await alice.patch(path, json={"images": [picture]})
    waiting = changed.headers["etag"]
    assert re.fullmatch('"2-[0-9a-f]{8}"', waiting)
    assert (await alice.get(path)).headers["etag"] == waiting
    assert (await alice.get(path, headers={"If-None-Match": waiting})).status_code == 304

    async with database.transaction() as session:
        image = await session.get_one(ProductImage, UUID(picture["id"]))
        image.state = ImageState.READY
    for tag in (waiting, '"2"'):
        seen = await alice.get(path, headers={"If-None-Match": tag})
        assert (seen.status_code, seen.json()["images"][0]["state"]) == (200, "ready")
    ready = seen.headers["etag"]
    assert ready != waiting

    assert (await alice.patch(path, json={"name": "A"}, headers={"If-Match": waiting})).status_code == 200
    assert (await alice.patch(path, json={"name": "B"}, headers={"If-Match": '"3"'})).status_code == 200
    for tag in (ready, '"3"', 'W/"4"'):
        assert (await alice.patch(path, json={"name": "C"}, headers={"If-Match": tag})).status_code == 412
    kept = await alice.patch(path, json={"name": "C"}, headers={"If-None-Match": 'W/"4-0a0b0c0d"'})
    assert kept.status_code == 412


async def test_a_sign_in_is_seen(call: Call, cast: Cast, database: Database) -> None:
    root = await call("root")
    path = f"/users/{cast.alice.id}"
    before = (await root.get(path)).headers["etag"]
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == cast.alice.id).values(last_sign_in_at=func.now()))
    seen = await root.get(path, headers={"If-None-Match": before})
    assert (seen.status_code, seen.json()["last_sign_in_at"] is None) == (200, False)
    changed = await root.patch(path, json={"name": "Alice B."}, headers={"If-Match": before})
    assert changed.status_code == 200
