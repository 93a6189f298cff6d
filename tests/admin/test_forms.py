"""Forms: what they show, keep and refuse, and that a form sent twice is one change."""

import asyncio
import re
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from admin_app.actor import Actor, Role
from admin_app.admin.flash import short
from admin_app.audit import HIDDEN
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.outbox import RecordedEvent
from admin_app.security.passwords import UNUSABLE, verify_password
from admin_app.security.sessions import AuthSession
from tests.admin.pages import errors_of, fields_of, form_of, link, notices, open_form, parse, titles_of
from tests.admin.rows import every, history, load, traces
from tests.conftest import Cast, MakeProduct, SignIn

CREATE = "/admin/product/create"
LIST = "/admin/product/list"
NEW_PRODUCT = {"name": "Fast as a Shark", "description": "", "price": "0.99", "is_active": "true"}
NEW_USER = {
    "email": "new@demo.example",
    "name": "New",
    "role": "administrator",
    "password": "",
    "is_active": "true",
}


def edit(product: Product) -> str:
    return f"/admin/product/edit/{product.id}"


def delete(product: Product) -> str:
    return f"/admin/product/delete/{product.id}"


def user_page(action: str, actor: Actor) -> str:
    return f"/admin/user/{action}/{actor.id}"


async def test_a_new_product_belongs_to_who_created_it_with_history_and_event(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, CREATE)
    response = await alice.post(
        CREATE, data=fields | {"name": " Fast as a Shark ", "price": "0.99", "description": "one\r\ntwo"}
    )
    assert response.status_code == 303
    [product] = await every(database, Product)
    assert (product.name, product.price, product.description) == (
        "Fast as a Shark",
        Decimal("0.99"),
        "one\ntwo",
    )
    assert product.owner_id == cast.alice.id
    [entry] = await history(database, product.id)
    assert (entry.action, entry.actor_id, entry.source, entry.address) == (
        "created",
        cast.alice.id,
        "form",
        "127.0.0.1",
    )
    assert entry.changes["price"] == [None, "0.99"]
    assert [event.payload for event in await every(database, RecordedEvent, name="ProductCreated")] == [
        {"product_ids": [str(product.id)]}
    ]


async def test_an_edit_changes_the_product_and_records_what_changed(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, description="line one\nline two <b>")
    alice = await sign_in("alice")
    fields = await open_form(alice, edit(product))
    assert fields["description"] == "line one\nline two <b>"
    assert (fields["price"], fields["is_active"], fields["version"]) == ("0.99", "true", "1")
    response = await alice.post(edit(product), data=fields | {"price": "1.5", "is_active": "false"})
    assert response.status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.price, saved.is_active, saved.version, saved.description) == (
        Decimal("1.50"),
        False,
        2,
        "line one\nline two <b>",
    )
    _, entry = await history(database, product.id)
    assert entry.changes == {"price": ["0.99", "1.50"], "is_active": [True, False]}
    [event] = await every(database, RecordedEvent, name="ProductUpdated")
    assert event.payload == {"product_ids": [str(product.id)], "fields": ["price", "is_active"]}


async def test_an_unticked_box_is_no_and_a_ticked_one_yes(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    page = form_of(parse(await alice.get(edit(product))))
    hidden, box = page.all("input", name="is_active")
    assert (hidden.attributes["type"], hidden.attributes["value"]) == ("hidden", "false")
    assert (box.attributes["type"], box.attributes["value"]) == ("checkbox", "true")
    fields = fields_of(page)
    await alice.post(edit(product), data=fields | {"is_active": "false"})
    assert (await load(database, Product, product.id)).is_active is False
    fields = await open_form(alice, edit(product))
    assert fields["is_active"] == "false"
    await alice.post(edit(product), data=fields | {"is_active": ["false", "true"]})
    assert (await load(database, Product, product.id)).is_active is True


@pytest.mark.parametrize("path", ["create", "edit"])
async def test_each_wrong_value_is_told_beside_its_field_and_what_was_typed_stays(
    path: str, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    before = await traces(database)
    alice = await sign_in("alice")
    address = CREATE if path == "create" else edit(product)
    fields = await open_form(alice, address)
    typed = {"name": "  ", "description": "kept\ntoo", "price": "12.345", "is_active": "false"}
    response = await alice.post(address, data=fields | typed)
    assert response.status_code == 422
    page = parse(response)
    assert notices(page) == ["Some values cannot be accepted. Correct the marked fields."]
    assert errors_of(form_of(page)) == {
        "name": "This field is required.",
        "price": "Use at most 2 decimals.",
    }
    assert fields_of(form_of(page)) == fields | typed
    assert await traces(database) == before
    corrected = fields_of(form_of(page)) | {"name": "Right", "price": "12.35"}
    assert (await alice.post(address, data=corrected)).status_code == 303


async def test_a_price_that_is_none_is_refused(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    fields = await open_form(alice, edit(product))
    not_finite = ["NaN", "sNaN", "Infinity", "-inf"]
    out_of_range = ["0", "-1", "0.001", "12.345", "100000000", "1e9", "1e-3"]
    for price in ["", "12,50", "twelve", "0x10", "\0", *not_finite, *out_of_range]:
        response = await alice.post(edit(product), data=fields | {"price": price})
        assert response.status_code == 422, price
        form = form_of(parse(response))
        assert list(errors_of(form)) == ["price"]
        assert fields_of(form)["price"] == price
    assert (await load(database, Product, product.id)).price == Decimal("0.99")


async def test_a_price_written_another_way_is_stored_exactly(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    for typed, stored in [("1e3", "1000.00"), (" 7 ", "7.00"), ("99999999.99", "99999999.99")]:
        fields = await open_form(alice, edit(product)) | {"price": typed}
        assert (await alice.post(edit(product), data=fields)).status_code == 303
        assert str((await load(database, Product, product.id)).price) == stored


@pytest.mark.parametrize("kind", ["product", "user"])
@pytest.mark.parametrize("path", ["create", "edit"])
async def test_a_field_missing_from_a_post_changes_nothing(
    kind: str, path: str, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.root, description="stays")
    row_id = product.id if kind == "product" else cast.bob.id
    before = await traces(database)
    root = await sign_in("root")
    address = f"/admin/{kind}/create" if path == "create" else f"/admin/{kind}/edit/{row_id}"
    new = NEW_PRODUCT | {"owner": ""} if kind == "product" else NEW_USER
    fields = await open_form(root, address) | (new if path == "create" else {"name": "Changed"})
    assert len(fields) >= 6
    # Without the owner that was shown, the one that was sent counts as chosen; pictures, and what other
    # systems call it, stay.
    for name in fields.keys() - {"shown.owner", "images", "external_id"}:
        missing = {key: value for key, value in fields.items() if key != name}
        response = await root.post(address, data=missing)
        assert response.status_code == 400, name
        assert f"“{name}” is missing" in response.text
    assert await traces(database) == before
    assert (await root.post(address, data=fields)).status_code == 303


BROKEN_BODIES = [
    ("application/json", b"{}"),
    ("text/plain", b"name=x"),
    ("", b""),
    ("multipart/form-data", b"no boundary"),
    ("multipart/form-data; boundary=x", b"no parts"),
    ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\ncut'),
    (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n--x--\r\n",
    ),
    ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % number for number in range(2000))),
    *(
        (
            f"multipart/form-data; boundary=x; charset={charset}",
            b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n\\ud800+2AA-\r\n--x--\r\n',
        )
        for charset in ("undefined", "unicode_escape", "utf-7", "idna", "punycode", "utf-16", "hex", "none")
    ),
]


async def test_a_body_that_is_no_form_changes_nothing(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    before = await traces(database)
    alice, nobody = await sign_in("alice"), await sign_in("nobody")
    for content_type, body in BROKEN_BODIES:
        headers = {"content-type": content_type} if content_type else {}
        for address in (CREATE, edit(product), delete(product), "/admin/product/bulk"):
            response = await alice.post(address, content=body, headers=headers)
            # Of too many fields not one is read.
            assert response.status_code == (413 if body.count(b"&") > 1000 else 400), (address, body)
        response = await nobody.post("/admin/login", content=body, headers=headers)
        assert response.status_code in {400, 401, 413}, (content_type, body)
    assert await traces(database) == before


async def test_text_in_a_strange_encoding_is_refused_and_not_a_fault(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice, nobody = await sign_in("alice"), await sign_in("nobody")
    fields = await open_form(alice, CREATE) | {"price": "1"}
    surrogate = "\\ud800"
    for charset in ("undefined", "unicode_escape", "utf-7", "idna", "punycode", "utf-16", "rot13"):
        headers = {"content-type": f"multipart/form-data; boundary=x; charset={charset}"}
        for text in (surrogate, "+2AA-", "\\x00", "xn--\\", "a-9999999"):
            body = multipart(fields | {"name": text, "description": text})
            response = await alice.post(CREATE, content=body, headers=headers)
            assert response.status_code in {303, 400, 422}, (charset, text)
        if charset in {"undefined", "unicode_escape"}:
            for given in ({"email": surrogate, "password": "x"}, {"email": "x", "password": surrogate}):
                response = await nobody.post("/admin/login", content=multipart(given), headers=headers)
                assert response.status_code == 400, charset


def multipart(fields: dict[str, str]) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return "".join([*parts, "--x--\r\n"]).encode()


async def test_a_file_in_place_of_a_text_is_refused(sign_in: SignIn, cast: Cast, database: Database) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, CREATE) | NEW_PRODUCT
    del fields["name"]
    response = await alice.post(CREATE, data=fields, files={"name": ("x.txt", b"x")})
    assert response.status_code == 400
    assert await every(database, Product) == []


@pytest.mark.parametrize("name", ["owner", "owner_id"])
async def test_an_administrator_cannot_name_an_owner(
    name: str, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    bob = {"owner": "bob@demo.example", "owner_id": str(cast.bob.id)}[name]
    alice = await sign_in("alice")
    for address in (CREATE, edit(product)):
        fields = await open_form(alice, address)
        assert name not in fields
        await alice.post(address, data=fields | NEW_PRODUCT | {name: bob})
    products = await every(database, Product)
    assert [product.name for product in products] == ["Fast as a Shark"] * 2
    assert {product.owner_id for product in products} == {cast.alice.id}


async def test_the_fields_no_form_has_cannot_be_set(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    fields = await open_form(alice, edit(product))
    forged = {
        "id": str(uuid4()),
        "created_at": "2001-01-01",
        "updated_at": "2001-01-01",
        "password_hash": "x",
    }
    assert (await alice.post(edit(product), data=fields | forged | {"name": "New"})).status_code == 303
    [saved] = await every(database, Product)
    assert (saved.id, saved.created_at, saved.version) == (product.id, product.created_at, 2)


async def test_a_superuser_chooses_the_owner_by_e_mail(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    fields = await open_form(root, CREATE) | NEW_PRODUCT
    await root.post(CREATE, data=fields | {"owner": " ALICE@demo.example "})
    [product] = await every(database, Product)
    assert product.owner_id == cast.alice.id
    fields = await open_form(root, edit(product))
    assert fields["owner"] == "alice@demo.example"
    assert (await root.post(edit(product), data=fields | {"owner": "bob@demo.example"})).status_code == 303
    assert (await load(database, Product, product.id)).owner_id == cast.bob.id
    assert (await history(database, product.id))[-1].changes == {
        "owner_id": [str(cast.alice.id), str(cast.bob.id)]
    }


async def test_a_superuser_who_names_nobody_owns_the_product(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    await root.post(CREATE, data=await open_form(root, CREATE) | NEW_PRODUCT)
    [product] = await every(database, Product)
    assert product.owner_id == cast.root.id


@pytest.mark.parametrize(
    ("owner", "reason"),
    [
        ("unknown@demo.example", "Nobody here has this e-mail address."),
        ("no address", "Nobody here has this e-mail address."),
        ("sam@demo.example", "Choose an active superuser or administrator."),
        ("bob@demo.example", "Choose an active superuser or administrator."),
    ],
)
async def test_an_owner_who_cannot_own_is_told_beside_the_field(
    owner: str, reason: str, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == cast.bob.id).values(is_active=False))
    root = await sign_in("root")
    fields = await open_form(root, CREATE) | NEW_PRODUCT | {"owner": owner}
    response = await root.post(CREATE, data=fields)
    assert response.status_code == 422
    form = form_of(parse(response))
    assert errors_of(form) == {"owner": reason}
    assert fields_of(form) == fields
    assert await every(database, Product) == []


async def test_the_owner_field_suggests_people_by_a_part_of_their_address(
    sign_in: SignIn, cast: Cast
) -> None:
    root = await sign_in("root")
    field = form_of(parse(await root.get(CREATE))).one("input", name="owner")
    response = await root.get(field.attributes["data-lookup"], params={"name": "owner", "term": "ALI"})
    assert response.json() == {"results": [{"id": str(cast.alice.id), "text": "alice@demo.example"}]}
    cannot_own = await root.get(field.attributes["data-lookup"], params={"name": "owner", "term": "sam"})
    assert cannot_own.json() == {"results": []}
    assert (await root.get(field.attributes["data-lookup"], params={"name": "price"})).status_code == 400


async def test_the_same_change_sent_twice_is_made_once(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    fields = await open_form(alice, edit(product)) | {"name": "Renamed"}
    answers = await asyncio.gather(*(alice.post(edit(product), data=fields) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [303] * 5
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, saved.version) == ("Renamed", 2)
    assert len(await history(database, product.id)) == 2


async def test_two_people_who_save_at_once_do_not_overwrite_each_other(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    fields = await open_form(alice, edit(product))
    answers = await asyncio.gather(
        *(alice.post(edit(product), data=fields | {"name": f"Name {number}"}) for number in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [303, 409, 409, 409, 409]
    assert (await load(database, Product, product.id)).version == 2


async def test_a_create_form_sent_again_makes_one_product(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice, bob = await sign_in("alice"), await sign_in("bob")
    fields = await open_form(alice, CREATE) | NEW_PRODUCT | {"save": "continue"}
    first, second = await alice.post(CREATE, data=fields), await alice.post(CREATE, data=fields)
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]
    page = parse(await alice.get(first.headers["location"]))
    assert notices(page) == [f"Product “{fields['name']}” was created."]  # once, too
    [product] = await every(database, Product)
    assert len(await history(database, product.id)) == 1
    assert len(await every(database, RecordedEvent, name="ProductCreated")) == 1
    # Another form with the same values, and another person's form with the same key, are new products.
    assert (await alice.post(CREATE, data=fields | {"key": str(uuid4())})).status_code == 303
    assert (await bob.post(CREATE, data=fields)).status_code == 303
    assert len(await every(database, Product)) == 3


async def test_five_copies_of_a_create_form_at_the_same_time_make_one_product(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, CREATE) | NEW_PRODUCT | {"save": "continue"}
    answers = await asyncio.gather(*(alice.post(CREATE, data=fields) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [303] * 5
    assert len({answer.headers["location"] for answer in answers}) == 1
    [product] = await every(database, Product)
    assert len(await history(database, product.id)) == 1


async def test_a_create_form_sent_again_after_its_product_was_deleted_says_so(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, CREATE) | NEW_PRODUCT
    await alice.post(CREATE, data=fields)
    [product] = await every(database, Product)
    await alice.post(delete(product), data=await open_form(alice, delete(product)))
    assert (await alice.post(CREATE, data=fields)).status_code == 409
    assert [row.id for row in await every(database, Product)] == [product.id]


async def test_a_form_key_or_a_version_that_is_none_is_refused(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    before = await traces(database)
    alice = await sign_in("alice")
    for key in ("", "x", "1", "\0", "{0}" * 20):
        assert (await alice.post(CREATE, data=NEW_PRODUCT | {"key": key})).status_code == 400, key
    fields = await open_form(alice, edit(product)) | {"name": "New"}
    for version in ("", "-1", "1.0", "x", "١", "9" * 10, "9" * 5000, "\0"):
        for address in (edit(product), delete(product)):
            response = await alice.post(address, data=fields | {"version": version})
            assert response.status_code == 400, version
    assert await traces(database) == before


async def test_delete_asks_first_and_then_deletes(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    fields = await open_form(alice, delete(product))
    assert (await load(database, Product, product.id)).deleted_at is None
    response = await alice.post(delete(product), data=fields)
    assert (response.status_code, response.headers["location"]) == (303, LIST)
    assert (await load(database, Product, product.id)).deleted_at is not None
    assert [entry.action for entry in await history(database, product.id)] == ["created", "deleted"]
    [event] = await every(database, RecordedEvent, name="ProductDeleted")
    assert event.payload == {"product_ids": [str(product.id)]}
    assert notices(parse(await alice.get(LIST))) == ["Product “Balls to the Wall” is in the bin for 30 days."]
    assert (await alice.post(delete(product), data=fields)).status_code == 404


async def test_a_product_changed_since_the_question_is_not_deleted(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    question = await open_form(alice, delete(product))
    await alice.post(edit(product), data=await open_form(alice, edit(product)) | {"name": "Better"})
    response = await alice.post(delete(product), data=question)
    assert response.status_code == 409
    assert "Somebody else changed this after you opened it." in response.text
    assert (await load(database, Product, product.id)).name == "Better"


async def test_a_deletion_and_changes_at_the_same_time_end_in_one_of_them(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    alice = await sign_in("alice")
    for _ in range(5):
        product = await make_product(cast.alice)
        fields = await open_form(alice, edit(product)) | {"name": "Changed"}
        question = await open_form(alice, delete(product))
        answers = await asyncio.gather(
            alice.post(edit(product), data=fields),
            alice.post(delete(product), data=question),
            alice.post(edit(product), data=fields),
            alice.post(delete(product), data=question),
        )
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {303, 404, 409}, statuses
        saved = await load(database, Product, product.id)
        if saved.deleted_at is not None:
            assert sorted([statuses[1], statuses[3]]) == [303, 404]
        else:
            assert saved.name == "Changed"
            assert statuses == [303, 409, 303, 409]


@pytest.mark.parametrize(
    ("button", "target"), [("list", "list"), ("continue", "edit"), ("another", "create")]
)
async def test_each_save_button_leads_on(
    button: str, target: str, sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    form = form_of(parse(await alice.get(CREATE)))
    buttons = {item.attributes["value"]: item.text for item in form.all("button", name="save")}
    assert buttons == {
        "list": "Save",
        "continue": "Save and continue editing",
        "another": "Save and add another",
    }
    fields = await open_form(alice, CREATE) | NEW_PRODUCT | {"save": button}
    response = await alice.post(CREATE, data=fields)
    [product] = await every(database, Product)
    expected = edit(product) if target == "edit" else f"/admin/product/{target}"
    assert (response.status_code, response.headers["location"]) == (303, expected)
    assert notices(parse(await alice.get(expected))) == ["Product “Fast as a Shark” was created."]
    assert notices(parse(await alice.get(expected))) == []


async def test_two_messages_both_arrive(sign_in: SignIn, cast: Cast, make_product: MakeProduct) -> None:
    products = [await make_product(cast.alice, name=name) for name in ("One", "Two")]
    alice = await sign_in("alice")
    forms = [await open_form(alice, edit(product)) | {"price": "3"} for product in products]
    for product, fields in zip(products, forms, strict=True):
        await alice.post(edit(product), data=fields)
    assert notices(parse(await alice.get(LIST))) == [
        "Product “One” was saved.",
        "Product “Two” was saved.",
    ]


async def test_the_longest_name_still_gets_its_message(sign_in: SignIn, cast: Cast) -> None:
    alice = await sign_in("alice")
    name = "🦈" * 255
    fields = await open_form(alice, CREATE) | NEW_PRODUCT | {"name": name}
    response = await alice.post(CREATE, data=fields)
    assert response.status_code == 303
    # Browsers drop a cookie of more than 4096 bytes.
    assert len(response.headers["set-cookie"].split(";")[0]) <= 4096
    [message] = notices(parse(await alice.get(LIST)))
    assert message.startswith("Product “🦈🦈")


HOSTILE = """"'><script>alert(1)</script><img src=x onerror=alert(1)>{{1234567*7}}${1234567*7}"""


async def test_markup_in_any_field_is_shown_as_text_on_every_page(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    fields = await open_form(root, CREATE) | {"name": HOSTILE, "description": HOSTILE, "price": "1"}
    await root.post(CREATE, data=fields)
    [product] = await every(database, Product)
    flashed = await root.get(LIST)
    assert notices(parse(flashed)) == [f"Product “{short(HOSTILE)}” was created."]
    fields = await open_form(root, user_page("edit", cast.root))
    await root.post(user_page("edit", cast.root), data=fields | {"name": HOSTILE})
    pages = [
        await root.get("/admin/"),
        await root.get(LIST),
        await root.get(LIST, params={"search": HOSTILE, "owner": HOSTILE}),
        await root.get(LIST, params={HOSTILE: HOSTILE}),
        await root.get(LIST, params={"created_from": HOSTILE, "sortBy": HOSTILE, "pageSize": HOSTILE}),
        await root.get(f"/admin/product/details/{product.id}"),
        await root.get(edit(product)),
        await root.get(delete(product)),
        await root.get("/admin/user/list"),
        await root.get(user_page("details", cast.root)),
        await root.get(user_page("edit", cast.root)),
        await root.get("/admin/product/details/" + HOSTILE),
        await root.get("/admin/" + HOSTILE),
        await root.get("/admin/login", params={"next": "/admin/" + HOSTILE}),
        await root.post("/admin/login", data={"email": HOSTILE, "password": HOSTILE, "next": HOSTILE}),
        await root.post(edit(product), data=dict.fromkeys(fields, HOSTILE)),
        await root.post(edit(product), data=await open_form(root, edit(product)) | {"price": HOSTILE}),
        await root.post(CREATE, data=await open_form(root, CREATE) | dict.fromkeys(NEW_PRODUCT, HOSTILE)),
        await root.post(
            "/admin/user/create",
            data=await open_form(root, "/admin/user/create")
            | {**dict.fromkeys(NEW_USER, HOSTILE), "is_active": "true"},
        ),
        await root.post("/admin/product/bulk", data={"ids": HOSTILE, "action": HOSTILE}),
    ]
    for response in [flashed, *pages]:
        page = parse(response)
        for script in page.all("script"):
            assert script.attributes.keys() <= {"type", "src"}, response.request.url
            assert re.fullmatch(r"/admin/statics/\w+\.[0-9a-f]{8}\.js", script.attributes["src"])
        assert page.all("img") == []
        assert "8641969" not in response.text, response.request.url
    assert titles_of(parse(pages[1])) == [HOSTILE]
    assert fields_of(form_of(parse(pages[6])))["description"] == HOSTILE
    assert fields_of(form_of(parse(pages[17])))["price"] == HOSTILE


async def test_a_password_is_set_and_never_shown(sign_in: SignIn, cast: Cast, database: Database) -> None:
    root = await sign_in("root")
    address = "/admin/user/create"
    secret = "a very secret sentence"
    fields = await open_form(root, address) | NEW_USER | {"password": secret}
    refused = await root.post(address, data=fields | {"email": "no address"})
    assert refused.status_code == 422
    assert secret not in refused.text
    assert fields_of(form_of(parse(refused)))["email"] == "no address"
    assert (await root.post(address, data=fields)).status_code == 303
    [user] = await every(database, User, email="new@demo.example")
    assert await verify_password(secret, user.password_hash)
    [entry] = await history(database, user.id)
    assert entry.changes["password_hash"] == [HIDDEN, HIDDEN]
    for page in ("list", f"details/{user.id}", f"edit/{user.id}", f"delete/{user.id}"):
        text = (await root.get(f"/admin/user/{page}")).text
        assert secret not in text
        assert user.password_hash not in text
        assert "argon2" not in text


async def test_neither_password_nor_hash_is_in_the_history_or_an_event(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    address = user_page("edit", cast.bob)
    secret = "a very secret sentence"
    old = (await load(database, User, cast.bob.id)).password_hash
    await root.post(address, data=await open_form(root, address) | {"password": secret})
    new = (await load(database, User, cast.bob.id)).password_hash
    assert new != old
    entries = [str(entry.changes) + entry.actor_label for entry in await history(database, cast.bob.id)]
    events = [str(event.payload) for event in await every(database, RecordedEvent)]
    for text in entries + events:
        assert not any(hidden in text for hidden in (secret, old, new, "argon2"))
    assert (await history(database, cast.bob.id))[-1].changes == {"password_hash": [HIDDEN, HIDDEN]}


async def test_an_empty_password_leaves_the_old_one(sign_in: SignIn, cast: Cast, database: Database) -> None:
    root = await sign_in("root")
    address = user_page("edit", cast.bob)
    old = (await load(database, User, cast.bob.id)).password_hash
    fields = await open_form(root, address)
    assert fields["password"] == ""
    assert (await root.post(address, data=fields | {"name": "Robert"})).status_code == 303
    saved = await load(database, User, cast.bob.id)
    assert saved is not None
    assert (saved.name, saved.password_hash) == ("Robert", old)


async def test_an_account_made_without_a_password_has_none(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    address = "/admin/user/create"
    await root.post(address, data=await open_form(root, address) | NEW_USER)
    [user] = await every(database, User, email="new@demo.example")
    assert (user.password_hash, user.role) == (UNUSABLE, Role.ADMINISTRATOR)


async def test_a_wrong_value_of_an_account_is_told_beside_its_field(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    before = await traces(database)
    for address in ("/admin/user/create", user_page("edit", cast.bob)):
        fields = await open_form(root, address) | NEW_USER
        for name, value, reason in [
            ("email", "ALICE@demo.example", "Somebody already has this e-mail address."),
            ("email", "", None),
            ("email", "no address", None),
            ("email", f"{'a' * 250}@demo.example", None),
            ("name", "", "This field is required."),
            ("name", "x" * 256, "Use at most 255 characters."),
            ("role", "emperor", None),
            ("is_active", "perhaps", "Choose yes or no."),
        ]:
            response = await root.post(address, data=fields | {name: value})
            assert response.status_code == 422, (address, name, value)
            errors = errors_of(form_of(parse(response)))
            assert list(errors) == [name]
            assert errors[name].endswith(".")
            assert reason in {None, errors[name]}
    assert await traces(database) == before


@pytest.mark.parametrize(
    ("password", "reason"),
    [("short", "Enter at least 12 characters."), ("x" * 257, "Use at most 256 characters.")],
)
async def test_a_password_too_short_or_too_long_is_told_beside_its_field(
    password: str, reason: str, sign_in: SignIn, cast: Cast
) -> None:
    root = await sign_in("root")
    address = user_page("edit", cast.bob)
    response = await root.post(address, data=await open_form(root, address) | {"password": password})
    assert response.status_code == 422
    assert errors_of(form_of(parse(response))) == {"password": reason}


async def test_an_owner_of_products_cannot_be_deleted(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    await make_product(cast.alice)
    root = await sign_in("root")
    response = await root.post(user_page("delete", cast.alice), data={"version": "1"})
    assert response.status_code == 409
    assert "This person owns products." in response.text
    assert await load(database, User, cast.alice.id) is not None


async def test_the_last_superuser_stays(sign_in: SignIn, cast: Cast, database: Database) -> None:
    root = await sign_in("root")
    before = await traces(database)
    address = user_page("edit", cast.root)
    for change in ({"role": "support"}, {"is_active": "false"}):
        response = await root.post(address, data=await open_form(root, address) | change)
        assert response.status_code == 409
        assert notices(parse(response))[0].startswith("This is the last active superuser.")
    assert (await root.post(user_page("delete", cast.root), data={"version": "1"})).status_code == 409
    assert await traces(database) == before
    assert len(await every(database, AuthSession, user_id=cast.root.id)) == 1


async def test_a_form_says_which_page_it_is_and_where_it_goes_back_to(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    page = parse(await alice.get(edit(product)))
    assert page.one("h1").text == "Edit product"
    assert link(page, "Cancel") == f"/admin/product/details/{product.id}"
    assert UUID(form_of(page).attributes["action"].rpartition("/")[2]) == product.id


async def test_a_user_form_sent_twice_is_answered_with_what_the_first_made(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    root = await sign_in("root")
    fields = await open_form(root, "/admin/user/create") | {
        "email": "new@demo.example",
        "name": "New",
        "save": "continue",
    }
    responses = await asyncio.gather(*(root.post("/admin/user/create", data=fields) for _ in range(5)))
    assert {response.status_code for response in responses} == {303}
    assert len({response.headers["location"] for response in responses}) == 1
    [user] = await every(database, User, email="new@demo.example")
    address = f"/admin/user/delete/{user.id}"
    await root.post(address, data=fields_of(form_of(parse(await root.get(address)))))
    again = await root.post("/admin/user/create", data=fields)
    assert again.status_code == 409
    assert await every(database, User, email="new@demo.example") == []
