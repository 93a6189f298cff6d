"""Changes in the list: through the service, on the version they were made on, errors told where they are."""

from uuid import uuid4

import httpx
import pytest

from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from tests.admin.pages import Element, parse, rows_of
from tests.admin.rows import history, load, traces
from tests.conftest import Cast, MakeProduct, SignIn

LIST = "/admin/product/list"


async def change(
    client: httpx.AsyncClient, row_id: object, version: int = 1, model: str = "product", **fields: str
) -> httpx.Response:
    data = {"version": str(version), "back": "", **fields}
    return await client.post(f"/admin/{model}/inline/{row_id}", data=data)


def row_of(response: httpx.Response) -> Element:
    assert response.status_code == 200, response.text
    [row] = parse_row(response.json()["row"]).all("tr")
    return row


def parse_row(html: str) -> Element:
    return parse(httpx.Response(200, html=html))


def texts(row: Element) -> list[str]:
    return [cell.text for cell in row.all("td")]


async def test_the_answer_is_the_row_as_the_list_would_show_it(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice, name="Old", price="1")
    alice = await sign_in("alice")
    response = await change(alice, product.id, name=" New ", price="12.5", is_active="false")
    row = row_of(response)
    assert row.attributes["data-version"] == "2"
    [in_list] = rows_of(parse(await alice.get(LIST)))
    assert row == in_list
    assert texts(row)[1:5] == ["New", "12.50", "Inactive", "alice@demo.example"]
    [_, entry] = await history(database, product.id)
    assert (entry.source, entry.action, entry.actor_label) == ("inline", "updated", "alice@demo.example")
    assert entry.changes.keys() == {"name", "price", "is_active"}


async def test_only_what_was_sent_changes_and_the_same_again_is_no_change(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice, name="Name", price="1", description="Stays")
    alice = await sign_in("alice")
    assert row_of(await change(alice, product.id, price="2")).attributes["data-version"] == "2"
    # As after an answer that was lost on the way: the same values on the old version.
    assert row_of(await change(alice, product.id, price="2")).attributes["data-version"] == "2"
    found = await load(database, Product, product.id)
    assert found is not None
    assert (found.name, str(found.price), found.description, found.is_active) == (
        "Name",
        "2.00",
        "Stays",
        True,
    )
    assert len(await history(database, product.id)) == 2


async def test_what_cannot_be_accepted_is_told_by_field(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    before = await traces(database)
    response = await change(alice, product.id, name=" ", price="12,50")
    assert response.status_code == 422
    assert response.json()["fields"].keys() == {"name", "price"}
    assert response.json()["message"].startswith("Some values cannot be accepted.")
    for fields in ({"price": "NaN"}, {"price": "-1"}, {"name": "x" * 256}, {"is_active": "perhaps"}):
        assert (await change(alice, product.id, **fields)).json()["fields"].keys() == fields.keys()
    assert await traces(database) == before


async def test_a_change_on_an_old_version_is_a_conflict(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    assert (await change(alice, product.id, price="2")).status_code == 200
    response = await change(alice, product.id, price="3")
    told = response.json()
    assert (response.status_code, told["fields"], told["version"]) == (409, {}, 2)
    assert told["theirs"] == {"price": {"who": "you", "when": "just now", "value": "2.00", "shown": "2.00"}}
    assert response.json()["message"].startswith("The same was changed after you opened this.")
    [row] = parse_row(response.json()["row"]).all("tr")
    assert row.attributes["data-version"] == "2"
    assert texts(row)[2] == "2.00"
    found = await load(database, Product, product.id)
    assert found is not None
    assert str(found.price) == "2.00"


async def test_after_a_conflict_either_value_can_be_taken(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice, name="Anvil")
    alice, root = await sign_in("alice"), await sign_in("root")
    await change(root, product.id, price="2", is_active="false")
    told = (await change(alice, product.id, price="3", is_active="false", name="Hers")).json()
    assert told["theirs"].keys() == {"price"}  # both made it inactive
    # Theirs is left out, mine is sent again, on the version that was shown.
    row = row_of(await change(alice, product.id, told["version"], name="Hers"))
    assert texts(row)[1:4] == ["Hers", "2.00", "Inactive"]
    row = row_of(await change(alice, product.id, told["version"], price="3"))
    assert texts(row)[1:4] == ["Hers", "3.00", "Inactive"]


async def test_a_change_of_other_fields_is_kept_and_told(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    alice, root = await sign_in("alice"), await sign_in("root")
    await change(root, product.id, price="2")
    response = await change(alice, product.id, name="Hers")
    assert texts(row_of(response))[1:3] == ["Hers", "2.00"]
    assert response.json()["message"] == "Meanwhile root@demo.example had changed Price: that is kept, too."
    assert (await change(alice, product.id, 3, name="Hers too")).json()["message"] == ""


@pytest.mark.parametrize("fields", [{"price": "2"}, {"price": "x"}, {}, {"version": "x"}])
async def test_a_foreign_row_is_one_that_does_not_exist(
    fields: dict[str, str], sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    foreign = await make_product(cast.bob)
    alice = await sign_in("alice")
    before = await traces(database)
    answers = []
    for row_id in (foreign.id, uuid4()):
        data = {"version": "1", "back": ""} | fields
        answers.append(await alice.post(f"/admin/product/inline/{row_id}", data=data))
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert await traces(database) == before


async def test_fields_that_are_not_for_the_list_are_not_changed_there(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice, description="Stays")
    root = await sign_in("root")
    sent = {"description": "Changed", "owner": "bob@demo.example", "owner_id": str(cast.bob.id)}
    assert (await change(root, product.id, price="2", **sent)).status_code == 200
    found = await load(database, Product, product.id)
    assert found is not None
    assert (found.description, found.owner_id) == ("Stays", cast.alice.id)


async def test_superusers_change_accounts_in_the_list_and_nobody_loses_the_last_one(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    response = await change(root, cast.bob.id, model="user", name="Robert", is_active="false")
    assert texts(row_of(response))[1:5] == ["Bbob@demo.example", "Robert", "Administrator", "Inactive"]
    found = await load(database, User, cast.bob.id)
    assert found is not None
    assert (found.name, found.is_active) == ("Robert", False)
    response = await change(root, cast.root.id, model="user", is_active="false")
    assert response.status_code == 409
    assert "last active superuser" in response.json()["message"]


async def test_incomplete_requests_are_refused(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct, database: Database
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    before = await traces(database)
    url = f"/admin/product/inline/{product.id}"
    assert (await alice.post(url, data={"price": "2"})).status_code == 400
    assert (
        await alice.post(url, data={"price": "2", "version": "1", "back": "color=red"})
    ).status_code == 400
    assert (await alice.post(url, data={"version": "1", "back": ""})).status_code == 200  # nothing to change
    assert await traces(database) == before
