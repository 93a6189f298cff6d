"""What another system calls a product: one name, one product, as long as it is not in the bin."""

import pytest

from admin_app.bulk.models import Outcome
from admin_app.database import Database
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.errors import Conflict, InvalidInput
from tests.admin.rows import history
from tests.bulk.operations import Operations
from tests.conftest import Cast, MakeProduct, SignIn


async def test_it_is_set_shown_found_and_taken_away(
    database: Database, cast: Cast, make_product: MakeProduct, sign_in: SignIn
) -> None:
    product = await make_product(cast.alice, external_id=" A-1 ")
    assert product.external_id == "A-1"
    alice = await sign_in("alice")
    one = f"/api/v1/products/{product.id}"
    assert (await alice.get(one)).json()["external_id"] == "A-1"
    listed = (await alice.get("/api/v1/products/?external_id=A-1")).json()["items"]
    assert [item["id"] for item in listed] == [str(product.id)]
    assert (await alice.get("/api/v1/products/?external_id=A-")).json()["items"] == []
    assert "A-1" in (await alice.get(f"/admin/product/details/{product.id}")).text
    assert 'value="A-1"' in (await alice.get(f"/admin/product/edit/{product.id}")).text
    assert product.name in (await alice.get("/admin/product/list?external_id=A-1")).text

    form = {"name": product.name, "description": "", "price": "0.99", "is_active": "on", "version": "1"}
    saved = await alice.post(f"/admin/product/edit/{product.id}", data=form | {"external_id": "  "})
    assert saved.status_code == 303
    assert (await alice.get(one)).json()["external_id"] is None
    assert (await alice.patch(one, json={"external_id": "A-2"})).json()["external_id"] == "A-2"
    assert (await alice.patch(one, json={"external_id": None})).json()["external_id"] is None
    async with database.transaction() as session:
        await ProductService(session, cast.alice).revert(product.id, 3, ["external_id"])
    changes = [entry.changes for entry in await history(database, product.id)][1:]
    assert changes == [
        {"external_id": pair} for pair in (["A-1", None], [None, "A-2"], ["A-2", None], [None, "A-2"])
    ]


async def test_no_two_products_have_the_same(
    database: Database, cast: Cast, make_product: MakeProduct, sign_in: SignIn
) -> None:
    await make_product(cast.bob, external_id="B")
    mine = await make_product(cast.alice, external_id="A")
    with pytest.raises(InvalidInput) as taken:
        await make_product(cast.alice, external_id="B")
    assert taken.value.fields == {"external_id": "Another product has it already."}
    with pytest.raises(InvalidInput):
        async with database.transaction() as session:
            await ProductService(session, cast.alice).update(mine.id, ProductUpdate(external_id="B"))
    alice = await sign_in("alice")
    refused = await alice.post("/api/v1/products/", json={"name": "C", "price": "1.00", "external_id": "B"})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"detail": "Another product has it already.", "pointer": "#/external_id"}
    ]


async def test_what_was_deleted_comes_back_only_while_its_external_id_is_free(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    operations = Operations(database)
    first, second = await make_product(cast.alice, external_id="A"), await make_product(cast.alice)
    deleting = await operations.start(cast.alice, "delete", [first.id, second.id])
    await operations.run()
    await make_product(cast.bob, external_id="A")
    with pytest.raises(Conflict) as conflict:
        async with database.transaction() as session:
            await ProductService(session, cast.alice).restore(first.id)
    assert conflict.value.message == "Another product has the external id “A”. Give that one another first."
    undoing = await operations.undo(cast.alice, deleting)
    await operations.run()
    await operations.truth(undoing)
    assert await operations.outcomes(undoing) == {
        first.id: (Outcome.SKIPPED, "another product has this external id"),
        second.id: (Outcome.DONE, None),
    }
