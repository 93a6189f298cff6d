"""A form of which somebody else changed fields, too: both sides are shown, and nothing typed is lost."""

import json
from typing import Any
from uuid import UUID

import httpx

from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from tests.admin.pages import Element, errors_of, fields_of, form_of, notices, open_form, parse
from tests.admin.rows import history, load, traces
from tests.conftest import Cast, MakeProduct, SignIn
from tests.domains.products.pictures import add_picture


def edit(row: Any, model: str = "product") -> str:
    return f"/admin/{model}/edit/{row.id}"


def sides(form: Element) -> dict[str, str]:
    """Contested field -> everything that is said of it."""
    return {box.one("input", name="clash").attributes["value"]: box.text for box in form.all("fieldset")}


def sent(form: Element, **choices: str) -> dict[str, Any]:
    """What a browser would post with these sides taken; nothing is chosen beforehand."""
    radios = form.all("input", type="radio")
    assert not any("checked" in radio.attributes for radio in radios)
    assert all("required" in radio.attributes for radio in radios)
    fields = {name: value for name, value in fields_of(form).items() if not name.startswith("take.")}
    return fields | {"clash": list(sides(form))} | {f"take.{name}": side for name, side in choices.items()}


async def save(client: httpx.AsyncClient, row: Any, model: str = "product", **changes: str) -> None:
    fields = await open_form(client, edit(row, model)) | changes
    assert (await client.post(edit(row, model), data=fields)).status_code == 303


async def contested(
    sign_in: SignIn, product: Any, hers: dict[str, str], his: dict[str, str]
) -> tuple[httpx.AsyncClient, httpx.AsyncClient, Element]:
    """Alice and Root open the form, Root saves, Alice meets a conflict: her browser, his, and her form."""
    alice, root = await sign_in("alice"), await sign_in("root")
    opened = await open_form(alice, edit(product))
    await save(root, product, **his)
    response = await alice.post(edit(product), data=opened | hers)
    assert response.status_code == 409
    return alice, root, form_of(parse(response))


async def test_different_fields_both_survive_and_the_next_page_says_so(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, price="1")
    alice, root = await sign_in("alice"), await sign_in("root")
    opened = await open_form(alice, edit(product))
    await save(root, product, price="2", is_active="false")
    response = await alice.post(edit(product), data=opened | {"name": "Hers"})
    assert response.status_code == 303
    page = parse(await alice.get(response.headers["location"]))
    assert notices(page) == [
        "Product “Hers” was saved.",
        "Meanwhile root@demo.example had changed Price and State: that is kept, too.",
    ]
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, str(saved.price), saved.is_active, saved.version) == ("Hers", "2.00", False, 3)


async def test_who_changed_nothing_is_told_what_others_did(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice, root = await sign_in("alice"), await sign_in("root")
    opened = await open_form(alice, edit(product))
    await save(root, product, name="His")
    before = await traces(database)
    response = await alice.post(edit(product), data=opened)
    assert response.status_code == 303
    assert "root@demo.example had changed Name" in notices(parse(await alice.get("/admin/product/list")))[1]
    assert await traces(database) == before


async def test_the_same_field_shows_both_sides_and_keeps_all_that_was_typed(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Anvil", price="1")
    hers = {"name": "Her name", "description": "Her\ntext"}
    his = {"name": "His name", "price": "2"}
    alice, _, form = await contested(sign_in, product, hers, his)
    before = await traces(database)
    [(name, said)] = sides(form).items()
    assert name == "name"
    assert all(word in said for word in ("root@demo.example", "His name", "Before: Anvil", "Take theirs"))
    shown = fields_of(form)
    assert (shown["name"], shown["description"]) == ("Her name", "Her\ntext")
    assert shown["price"] == "2.00"  # his alone, so it is there already
    # Without a choice it is shown again, as often as it is sent.
    for _ in range(2):
        response = await alice.post(edit(product), data=sent(form))
        assert response.status_code == 409
        form = form_of(parse(response))
        assert sides(form).keys() == {"name"}
        assert fields_of(form)["description"] == "Her\ntext"
    assert await traces(database) == before


async def test_one_click_takes_either_value(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    for side, expected in (("mine", "Her name"), ("theirs", "His name")):
        product = await make_product(cast.alice)
        hers = {"name": "Her name", "description": "Her text"}
        alice, _, form = await contested(sign_in, product, hers, {"name": "His name", "price": "2"})
        response = await alice.post(edit(product), data=sent(form, name=side))
        assert response.status_code == 303
        saved = await load(database, Product, product.id)
        assert saved is not None
        assert (saved.name, saved.description, str(saved.price)) == (expected, "Her text", "2.00")
        [*_, last] = await history(database, product.id)
        assert last.changes.keys() == ({"name", "description"} if side == "mine" else {"description"})


async def test_a_third_change_after_the_choice_is_a_conflict_again(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice, root, form = await contested(sign_in, product, {"name": "Hers"}, {"name": "His"})
    await save(root, product, name="His second")
    response = await alice.post(edit(product), data=sent(form, name="mine"))
    assert response.status_code == 409
    form = form_of(parse(response))
    assert "His second" in sides(form)["name"]
    # Theirs is what it is by the time it is taken.
    await save(root, product, name="His third")
    assert (await alice.post(edit(product), data=sent(form, name="theirs"))).status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert saved.name == "His third"


async def test_a_choice_beside_a_value_that_cannot_be_accepted_is_kept(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    hers = {"name": "Hers", "description": "Hers"}
    alice, _, form = await contested(sign_in, product, hers, {"name": "His", "description": "His"})
    data = sent(form, name="theirs", description="mine") | {"price": "free"}
    response = await alice.post(edit(product), data=data)
    assert response.status_code == 422
    form = form_of(parse(response))
    assert errors_of(form).keys() == {"price"}
    assert (fields_of(form)["name"], fields_of(form)["description"]) == ("His", "Hers")
    assert (await alice.post(edit(product), data=fields_of(form) | {"price": "3"})).status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, saved.description, str(saved.price)) == ("His", "Hers", "3.00")


async def test_a_tick_a_role_a_password_and_an_owner_can_be_contested(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    root, other = await sign_in("root"), await sign_in("root")
    opened = await open_form(root, edit(cast.sam, "user"))
    await save(other, cast.sam, "user", role="administrator", is_active="false", password="what she chose")
    hers = {"role": "superuser", "name": "Samuel", "password": "what I chose for her"}
    response = await root.post(edit(cast.sam, "user"), data=opened | hers)
    assert response.status_code == 409
    assert "what I chose" not in response.text
    form = form_of(parse(response))
    assert sides(form).keys() == {"role", "password"}
    assert "Administrator" in sides(form)["role"]
    assert "not shown" in sides(form)["password"]
    assert fields_of(form)["role"] == "superuser"
    assert form.all("input", type="checkbox", name="is_active")[0].attributes.keys().isdisjoint({"checked"})
    changed = sent(form, role="mine", password="theirs")
    assert (await root.post(edit(cast.sam, "user"), data=changed)).status_code == 303
    sam = await load(database, User, cast.sam.id)
    assert sam is not None
    assert (sam.role.value, sam.name, sam.is_active) == ("superuser", "Samuel", False)

    product = await make_product(cast.alice)
    opened = await open_form(root, edit(product))
    await save(other, product, owner="bob@demo.example", is_active="false")
    hers = {"owner": "root@demo.example", "is_active": "true"}
    response = await root.post(edit(product), data=opened | hers)
    form = form_of(parse(response))
    assert sides(form).keys() == {"owner"}
    assert "bob@demo.example" in sides(form)["owner"]
    assert str(cast.alice.id) not in response.text


async def test_of_two_sets_of_pictures_both_are_shown_and_either_is_taken(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    for side in ("mine", "theirs"):
        front, back, third = [await add_picture(database, cast.alice) for _ in range(3)]
        product = await make_product(cast.alice, images=[front, back])
        hers, his = [back, third], [front | {"alt": "<b>His</b>"}, back | {"alt": "Back"}]
        alice, _, form = await contested(
            sign_in, product, {"images": json.dumps(hers)}, {"images": json.dumps(his)}
        )
        theirs, only_hers = form.all("ol", class_="strip")
        assert [item.text for item in theirs.all("li")] == [
            "1. <b>His</b> not in yours",
            "2. Back other text",
        ]
        assert [item.text for item in only_hers.all("li")] == ["Picture 2"]
        mine = form.one("ol", class_="picture-list")
        assert [item.attributes["data-picture"] for item in mine.all("li")] == [back["id"], third["id"]]
        response = await alice.post(edit(product), data=sent(form, images=side))
        assert response.status_code == 303
        saved = await load(database, Product, product.id)
        assert saved is not None
        assert saved.images == (hers if side == "mine" else his)


async def test_everything_somebody_else_wrote_is_escaped(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="<i>old</i>")
    _, _, form = await contested(sign_in, product, {"name": "<b>hers</b>"}, {"name": "<script>his</script>"})
    assert "<script>his</script>" in sides(form)["name"]  # as text: the page has no such elements
    assert not [*form.all("script"), *form.all("i"), *form.all("b")]


async def test_a_form_of_a_product_deleted_meanwhile_is_kept_and_can_be_restored_and_saved(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Anvil", price="1")
    alice, root = await sign_in("alice"), await sign_in("root")
    opened = await open_form(alice, edit(product)) | {"name": "Hers"}
    await save(root, product, price="2")
    await root.post(
        f"/admin/product/delete/{product.id}",
        data=await open_form(root, f"/admin/product/delete/{product.id}"),
    )
    before = await traces(database)
    response = await alice.post(edit(product), data=opened)
    assert response.status_code == 409
    assert "was deleted just now" in notices(parse(response))[0]
    form = form_of(parse(response))
    assert fields_of(form)["name"] == "Hers"
    assert [button.text for button in form.all("button", name="save")] == ["Restore and save"]
    assert await traces(database) == before
    for _ in range(2):  # a double click does no harm
        response = await alice.post(edit(product), data=fields_of(form) | {"save": "restore"})
        assert response.status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, str(saved.price), saved.deleted_at, saved.version) == ("Hers", "2.00", None, 5)
    actions = [entry.action for entry in await history(database, product.id)]
    assert actions == ["created", "updated", "deleted", "restored", "updated"]


async def test_what_was_changed_and_then_deleted_is_restored_with_a_choice(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Anvil")
    alice, root = await sign_in("alice"), await sign_in("root")
    fields: dict[str, Any] = await open_form(alice, edit(product)) | {"name": "Hers"}
    await save(root, product, name="His")
    question = f"/admin/product/delete/{product.id}"
    await root.post(question, data=await open_form(root, question))
    for _ in range(2):
        response = await alice.post(edit(product), data=fields | {"save": "restore"})
        assert response.status_code == 409
        form = form_of(parse(response))
        assert "His" in sides(form)["name"]
        assert [button.text for button in form.all("button", name="save")] == ["Restore and save"]
        fields = sent(form)
    fields = sent(form, name="mine") | {"save": "restore"}
    assert (await alice.post(edit(product), data=fields)).status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, saved.deleted_at) == ("Hers", None)


async def test_restore_and_save_is_all_or_nothing_and_for_the_owner(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice, bob = await sign_in("alice"), await sign_in("bob")
    opened = await open_form(alice, edit(product))
    await alice.post(
        f"/admin/product/delete/{product.id}",
        data=await open_form(alice, f"/admin/product/delete/{product.id}"),
    )
    refused = await alice.post(edit(product), data=opened | {"price": "free", "save": "restore"})
    assert refused.status_code == 422
    stranger = await bob.post(edit(product), data=opened | {"save": "restore"})
    missing = await bob.post(edit(_Missing()), data=opened | {"save": "restore"})
    assert stranger.status_code == 404
    assert stranger.content == missing.content
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert saved.deleted_at is not None


class _Missing:
    id = UUID("019a0000-0000-7000-8000-000000000000")


async def signed_out_and_back(client: httpx.AsyncClient, path: str, data: dict[str, Any]) -> httpx.Response:
    """What the form's own page answers after its sender had to sign in again."""
    return await client.post(path, data=data | {"resume": "1"})


async def test_a_choice_survives_a_new_sign_in(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Anvil", is_active=True)
    alice, root = await sign_in("alice"), await sign_in("root")
    opened = await open_form(alice, edit(product))
    for active, name in (("false", "Once"), ("true", "Twice")):
        await save(root, product, is_active=active, name=name)
    hers = opened | {"is_active": "false", "name": "Hers"}
    form = form_of(parse(await alice.post(edit(product), data=hers)))
    assert sides(form).keys() == {"is_active", "name"}
    chosen = sent(form, is_active="theirs", name="theirs") | {"is_active": ["false"]}
    response = await signed_out_and_back(alice, edit(product), chosen)
    assert response.status_code == 200
    resumed = fields_of(form_of(parse(response)))
    assert (resumed["name"], resumed["is_active"]) == ("Twice", "true")
    assert (await alice.post(edit(product), data=resumed)).status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, saved.is_active) == ("Twice", True)


async def test_an_open_choice_is_open_after_a_new_sign_in(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice, _, form = await contested(sign_in, product, {"name": "Hers"}, {"name": "His"})
    response = await signed_out_and_back(alice, edit(product), sent(form))
    resumed = fields_of(form_of(parse(response)))
    assert resumed["name"] == "Hers"
    response = await alice.post(edit(product), data=resumed)
    assert response.status_code == 409
    assert sides(form_of(parse(response))).keys() == {"name"}


async def test_what_was_typed_survives_both_a_deletion_and_a_new_sign_in(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    opened = await open_form(alice, edit(product)) | {"name": "Typed for an hour"}
    question = f"/admin/product/delete/{product.id}"
    await alice.post(question, data=await open_form(alice, question))
    response = await signed_out_and_back(alice, edit(product), opened)
    assert response.status_code == 409
    form = form_of(parse(response))
    assert fields_of(form)["name"] == "Typed for an hour"
    assert [button.text for button in form.all("button", name="save")] == ["Restore and save"]


async def test_an_owner_left_alone_stays_whatever_becomes_of_their_address(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    root, other = await sign_in("root"), await sign_in("root")
    opened = await open_form(root, edit(product))
    await save(other, cast.alice, "user", email="alicia@demo.example")
    await save(other, cast.bob, "user", email="alice@demo.example")
    assert (await root.post(edit(product), data=opened | {"name": "Renamed"})).status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, saved.owner_id) == ("Renamed", cast.alice.id)
    opened = await open_form(root, edit(product))
    assert opened["owner"] == "alicia@demo.example"
    assert (await root.post(edit(product), data=opened | {"owner": "ALICE@demo.example"})).status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert saved.owner_id == cast.bob.id


async def test_a_password_that_is_contested_is_typed_again(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root, other = await sign_in("root"), await sign_in("root")
    opened = await open_form(root, edit(cast.bob, "user"))
    await save(other, cast.bob, "user", password="what she chose")
    response = await root.post(edit(cast.bob, "user"), data=opened | {"password": "what I chose for him"})
    form = form_of(parse(response))
    assert "Type yours again" in sides(form)["password"]
    data = sent(form, password="mine")
    response = await root.post(edit(cast.bob, "user"), data=data)
    assert response.status_code == 422
    assert errors_of(form_of(parse(response))) == {"password": "Type yours again."}
    data |= {"password": "what I chose for him"}
    assert (await root.post(edit(cast.bob, "user"), data=data)).status_code == 303
    [*_, last] = await history(database, cast.bob.id)
    assert last.changes == {"password_hash": ["[hidden]", "[hidden]"]}


async def test_somebody_in_two_windows_is_told_so(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    first = await open_form(alice, edit(product))
    await save(alice, product, name="First", price="3")
    form = form_of(parse(await alice.post(edit(product), data=first | {"name": "Second"})))
    assert "You, elsewhere" in sides(form)["name"]
    await alice.post(edit(product), data=first | {"description": "Third"})
    page = parse(await alice.get("/admin/product/list"))
    assert notices(page)[1] == "Meanwhile you had changed Name and Price: that is kept, too."


async def test_restoring_is_not_told_as_somebody_elses_change(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice, root = await sign_in("alice"), await sign_in("root")
    opened = await open_form(alice, edit(product)) | {"name": "Hers"}
    question = f"/admin/product/delete/{product.id}"
    await root.post(question, data=await open_form(root, question))
    assert (await alice.post(edit(product), data=opened | {"save": "restore"})).status_code == 303
    assert notices(parse(await alice.get("/admin/product/list"))) == ["Product “Hers” was saved."]


async def test_a_row_edited_in_the_list_and_deleted_meanwhile_says_where_it_is(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice, bob = await sign_in("alice"), await sign_in("bob")
    question = f"/admin/product/delete/{product.id}"
    await alice.post(question, data=await open_form(alice, question))
    data = {"version": "1", "back": "", "name": "Hers"}
    response = await alice.post(f"/admin/product/inline/{product.id}", data=data)
    assert response.status_code == 409
    assert "is in the bin" in response.json()["message"]
    assert (await bob.post(f"/admin/product/inline/{product.id}", data=data)).status_code == 404
