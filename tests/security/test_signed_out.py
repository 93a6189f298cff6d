"""Signed out while filling in a form: sign in, and it is back. Nothing is written on the way."""

import json
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import delete, update

from admin_app.admin.kept_forms import MAX_TYPED_BYTES, MAX_TYPED_FIELDS
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.security.body_limit import MAX_ANONYMOUS_BODY_BYTES
from admin_app.security.sessions import AuthSession
from admin_app.text import MAX_DESCRIPTION_LENGTH
from tests.admin.pages import Element, fields_of, form_of, notices, open_form, parse
from tests.admin.rows import every, load, traces
from tests.conftest import PASSWORD, Cast, MakeProduct, SignIn
from tests.domains.products.pictures import add_picture

LOGIN, CREATE = "/admin/login", "/admin/product/create"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SIGNED_OUT = "You were signed out. Sign in, and your form is back as you left it. Nothing was saved yet."
WRONG = "E-mail or password is wrong."
BACK = "This is what you typed; it is not saved yet."
NOT_KEPT = "You are not signed in any more, so nothing was changed."
DUE = "You must choose a new password first, so nothing was changed."
HOSTILE = "\"><script>alert('1')</script>&amp;\\u003c {{ 7 * 7 }} é 🦈"


async def end_sessions(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(delete(AuthSession))


async def demand_new_password(database: Database, name: str) -> None:
    async with database.transaction() as session:
        person = User.email == f"{name}@demo.example"
        await session.execute(update(User).where(person).values(must_change_password=True))


async def turned_away(client: httpx.AsyncClient, path: str, fields: Mapping[str, str]) -> Element:
    """The sign-in page that answers this form."""
    response = await client.post(path, data=fields)
    assert response.status_code == 401
    page = parse(response)
    assert SIGNED_OUT in notices(page)
    assert form_of(page).attributes["action"] == LOGIN
    assert fields_of(form_of(page))["next"] == path
    return page


async def sign_in_on(
    client: httpx.AsyncClient, page: Element, name: str = "alice", password: str = PASSWORD, **more: str
) -> httpx.Response:
    typed = {"email": f"{name}@demo.example", "password": password}
    return await client.post(LOGIN, data=fields_of(form_of(page)) | typed | more)


async def press_back(client: httpx.AsyncClient, response: httpx.Response) -> httpx.Response:
    """The button of the page that leads back to the form, after signing in."""
    assert response.status_code == 200
    page = parse(response)
    assert page.one("h1").text == "Signed in again"
    form = form_of(page)
    assert "data-submit-now" in form.attributes
    return await client.post(form.attributes["action"], data=fields_of(form))


async def back_again(client: httpx.AsyncClient, path: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Alice's form after being turned away, signing in and going back: what it would post."""
    page = await turned_away(client, path, fields)
    response = await press_back(client, await sign_in_on(client, page))
    assert response.status_code == 200
    page = parse(response)
    assert notices(page) == [BACK]
    form = form_of(page)
    assert form.attributes["action"] == path
    assert "data-dirty" in form.attributes
    return fields_of(form)


async def test_a_form_that_changes_a_row_is_back_as_it_was_left(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    path = f"/admin/product/edit/{product.id}"
    typed = {
        "name": HOSTILE,
        "description": f"\n one\n\n  two \n{HOSTILE}\t\n",
        "price": "no number",
        "is_active": "false",
    }
    fields = await open_form(alice, f"{path}?back=search%3Da%2526b") | typed
    assert fields["back"] == "search=a%26b"
    await end_sessions(database)
    before = await every(database, Product)
    found = await back_again(alice, path, fields)
    assert found == {**fields, "is_active": found["is_active"]}
    assert (found["is_active"], found["version"]) == ("false", "1")
    [after] = await every(database, Product)
    assert (after.version, after.name) == (before[0].version, product.name)

    refused = await alice.post(path, data=found)
    assert refused.status_code == 422
    assert "data-dirty" in form_of(parse(refused)).attributes
    saved = await alice.post(path, data=found | {"price": "3"})
    assert (saved.status_code, saved.headers["location"]) == (303, "/admin/product/list?search=a%26b")
    after = await load(database, Product, product.id)
    assert after is not None
    assert (after.name, after.description, after.price, after.is_active, after.version) == (
        HOSTILE,
        typed["description"],
        Decimal(3),
        False,
        2,
    )


async def test_a_form_for_something_new_still_makes_one_of_it(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, CREATE) | {"name": "New", "price": "1", "save": "continue"}
    await end_sessions(database)
    found = await back_again(alice, CREATE, fields)
    assert found["key"] == fields["key"]
    assert await every(database, Product) == []
    first = await alice.post(CREATE, data=found | {"save": "continue"})
    await end_sessions(database)
    # As after an answer that was lost on the way: the same form once more, and signed out meanwhile.
    second = await alice.post(CREATE, data=await back_again(alice, CREATE, found) | {"save": "continue"})
    [product] = await every(database, Product)
    for response in (first, second):
        assert response.status_code == 303
        assert response.headers["location"] == f"/admin/product/edit/{product.id}"


async def test_no_form_opened_for_reading_is_marked_as_changed(sign_in: SignIn, cast: Cast) -> None:
    alice = await sign_in("alice")
    form = form_of(parse(await alice.get(CREATE)))
    assert "data-guard" in form.attributes
    assert "data-dirty" not in form.attributes


async def test_a_wrong_password_loses_nothing(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    fields = {"key": str(uuid4()), "name": HOSTILE, "description": "a\nb", "price": "1", "is_active": "true"}
    fields |= {"images": "[]", "external_id": ""}
    page = await turned_away(client, CREATE, fields)
    carried = {f"typed.{name}": value for name, value in fields.items()}
    assert fields_of(form_of(page)) == carried | {"next": CREATE, "email": "", "password": ""}
    for email in ("alice@demo.example", "nobody@demo.example"):
        refused = await client.post(
            LOGIN, data=fields_of(form_of(page)) | {"email": email, "password": "wrong"}
        )
        assert refused.status_code == 401
        page = parse(refused)
        assert notices(page) == [SIGNED_OUT, WRONG]
        assert fields_of(form_of(page)) == carried | {"next": CREATE, "email": email, "password": ""}
    response = await press_back(client, await sign_in_on(client, page))
    found = fields_of(form_of(parse(response)))
    assert found == fields
    assert (await client.post(CREATE, data=found)).status_code == 303


async def test_a_field_sent_several_times_stays_so(client: httpx.AsyncClient, cast: Cast) -> None:
    """Of a checkbox with its hidden companion the last one counts."""
    fields = {"key": [str(uuid4())], "name": ["New"], "is_active": ["false", "true"], "clash": ["a", "b"]}
    page = parse(await client.post(CREATE, data=fields))
    for prefix in ("typed.", ""):
        sent = [
            (name.removeprefix(prefix), field.attributes["value"])
            for field in form_of(page).all("input", type="hidden")
            if (name := field.attributes["name"]).startswith(prefix)
        ]
        expected = [(name, value) for name, values in fields.items() for value in values]
        assert sent == (expected if prefix else [*expected, ("resume", "1")])
        if prefix:
            posted = fields | {f"{prefix}{name}": values for name, values in fields.items()}
            posted |= {"next": CREATE, "email": "alice@demo.example", "password": PASSWORD}
            page = parse(await client.post(LOGIN, data=posted))


async def test_signed_out_again_on_the_way_back_loses_nothing(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    fields = {"key": str(uuid4()), "name": "New", "description": "", "price": "1", "is_active": "true"}
    page = await turned_away(client, CREATE, fields)
    response = await sign_in_on(client, page)
    await end_sessions(database)
    way_back = fields_of(form_of(parse(response)))
    assert way_back == fields | {"resume": "1"}
    again = await turned_away(client, CREATE, way_back)
    assert fields_of(form_of(again)) == fields_of(form_of(page))


@pytest.mark.parametrize(("name", "status"), [("alice", 200), ("root", 200), ("bob", 404), ("sam", 403)])
async def test_whoever_signs_in_gets_what_opening_the_form_would_give_them(
    name: str,
    status: int,
    sign_in: SignIn,
    cast: Cast,
    database: Database,
    make_product: MakeProduct,
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    path = f"/admin/product/edit/{product.id}"
    fields = await open_form(alice, path) | {"name": "What Alice typed"}
    await end_sessions(database)
    response = await sign_in_on(alice, await turned_away(alice, path, fields), name)
    before = await traces(database)
    response = await press_back(alice, response)
    assert response.status_code == status
    assert ("What Alice typed" in response.text) == (status == 200)
    if name == "root":  # whose form has a field more
        expected = fields | dict.fromkeys(("owner", "shown.owner"), "alice@demo.example")
        assert fields_of(form_of(parse(response))) == expected
    if status == 404:
        missing = await alice.post(f"/admin/product/edit/{uuid4()}", data=fields | {"resume": "1"})
        assert (missing.status_code, missing.content) == (404, response.content)
    assert await traces(database) == before
    created = await alice.post(CREATE, data=fields | {"resume": "1", "key": str(uuid4())})
    assert created.status_code == (403 if name == "sam" else 200)
    assert len(await every(database, Product)) == 1


async def test_a_row_given_away_meanwhile_is_not_there_any_more(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    path = f"/admin/product/edit/{product.id}"
    fields = await open_form(alice, path)
    await end_sessions(database)
    async with database.transaction() as session:
        await session.execute(update(Product).values(owner_id=cast.bob.id))
    response = await sign_in_on(alice, await turned_away(alice, path, fields))
    assert (await press_back(alice, response)).status_code == 404


async def test_a_password_is_never_carried(sign_in: SignIn, cast: Cast, database: Database) -> None:
    root = await sign_in("root")
    secret = "a secret that was typed"
    for path, change in (
        ("/admin/user/create", {"email": "new@demo.example", "name": "New", "role": "support"}),
        (f"/admin/user/edit/{cast.bob.id}", {"name": "Robert", "must_change_password": "true"}),
    ):
        fields = await open_form(root, path) | change
        await end_sessions(database)
        answer = await root.post(path, data=fields | {"password": secret})
        assert answer.status_code == 401
        assert secret not in answer.text
        page = parse(answer)
        assert "typed.password" not in fields_of(form_of(page))
        refused = await sign_in_on(root, page, "root", "wrong", **{"typed.password": secret})
        assert (refused.status_code, secret in refused.text) == (401, False)
        answer = await sign_in_on(root, page, "root", **{"typed.password": secret})
        assert secret not in answer.text
        answer = await press_back(root, answer)
        assert notices(parse(answer)) == [
            f"{BACK} A password is never kept: if you typed one, type it again."
        ]
        found = fields_of(form_of(parse(answer)))
        assert found == fields | {"password": ""}
        answer = await root.post(path, data=found | {"resume": "1", "password": secret})
        assert (answer.status_code, secret in answer.text) == (200, False)
        assert (await root.post(path, data=found)).status_code == 303
    robert = await load(database, User, cast.bob.id)
    assert robert is not None
    assert (robert.name, robert.must_change_password) == ("Robert", True)


TARGETS = {
    f"{CREATE}/": None,
    f"{CREATE}?a=b": None,
    "/admin/product/list": None,
    "/admin/product/bulk": None,
    "/admin/password": None,
    "/admin/": None,
    "/admin/nothing/create": None,
    "/admin/operation/create": None,
    f"/admin/product/delete/{UUID(int=1)}": None,
    f"/admin/product/restore/{UUID(int=1)}": None,
    "/admin/product/edit/1": None,
    "/admin/../admin/product/create": None,
    "/admin//product/create": None,
    "": "/admin/",
    "/product/create": "/admin/",
    "//evil.example/admin/product/create": "/admin/",
    "https://evil.example/admin/product/create": "/admin/",
    "/admin\\product/create": "/admin/",
    f"{CREATE}\n": "/admin/",
    f"javascript:alert(1)//{CREATE}": "/admin/",
}
"""Addresses that are no form of this site -> where signing in leads, if it is not there."""


@pytest.mark.parametrize("target", TARGETS)
async def test_what_was_typed_is_carried_to_no_other_address(
    target: str, client: httpx.AsyncClient, cast: Cast
) -> None:
    fields = {"typed.name": "What was typed", "next": target, "email": "alice@demo.example"}
    refused = await client.post(LOGIN, data=fields | {"password": "wrong"})
    assert (refused.status_code, "What was typed" in refused.text) == (401, False)
    response = await client.post(LOGIN, data=fields | {"password": PASSWORD})
    assert response.status_code == 303
    assert response.headers["location"] == (TARGETS[target] or target)


async def test_other_changes_are_told_as_before(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    nobody = await sign_in("nobody")
    fields = {"version": "1", "name": "What was typed", "ids": str(product.id), "action": "deactivate"}
    for path in (
        f"/admin/product/delete/{product.id}",
        f"/admin/product/inline/{product.id}",
        "/admin/product/bulk",
        "/admin/product/edit/1",
        "/admin/nothing/create",
        "/admin/operation/create",
        "/admin/password",
    ):
        response = await nobody.post(path, data=fields)
        assert response.status_code == 401, path
        assert NOT_KEPT in parse(response).text, path
        assert "What was typed" not in response.text, path


async def test_the_longest_form_that_can_be_saved_is_carried(
    client: httpx.AsyncClient, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    path = f"/admin/product/edit/{product.id}"
    pictures = [await add_picture(database, cast.alice) for _ in range(12)]
    images = [{**picture, "alt": "🦈" * 300} for picture in pictures]
    fields = {
        "version": "1",
        "back": "%F0%9F%98%80" * 333,
        "images": json.dumps(images, ensure_ascii=False),
        "external_id": "🦈" * 255,
        "name": "🦈" * 255,
        "description": "🦈" * MAX_DESCRIPTION_LENGTH,
        "price": "12345678.90",
        "is_active": "true",
    }
    assert 290_000 < len(urlencode(fields)) <= MAX_TYPED_BYTES
    found = await back_again(client, path, fields)
    assert found == fields
    assert (await client.post(path, data=found)).status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert saved.description == fields["description"]


async def test_what_can_be_carried_at_all_fits_into_signing_in(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    """Also with the longest names of fields, e-mail and password."""
    names = [f"{number:03}" for number in range(MAX_TYPED_FIELDS)]
    fields = dict.fromkeys(names, "") | {"description": ""}
    del fields[names[0]]
    fields["description"] = "x" * (MAX_TYPED_BYTES - len(urlencode(fields)))
    page = await turned_away(client, CREATE, fields)
    posted = fields_of(form_of(page)) | {"email": "🦈" * 254, "password": "🦈" * 256}
    assert len(urlencode(posted)) <= MAX_ANONYMOUS_BODY_BYTES
    refused = await client.post(LOGIN, data=posted)
    assert notices(parse(refused)) == [SIGNED_OUT, WRONG]


async def test_more_than_any_form_holds_is_not_carried(
    client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    many = urlencode(dict.fromkeys(map(str, range(MAX_TYPED_FIELDS + 1)), ""))
    too_many = urlencode(dict.fromkeys(map(str, range(2000)), ""))
    for body in (b"a=" + b"x" * (MAX_TYPED_BYTES - 1), many.encode(), too_many.encode(), b""):
        response = await client.post(CREATE, content=body, headers=FORM)
        assert response.status_code == 401
        assert NOT_KEPT in parse(response).text
    strange = {"content-type": "multipart/form-data; boundary=x; charset=undefined"}
    body = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n\\ud800\r\n--x--\r\n'
    for headers in (strange, {"content-type": "multipart/form-data"}, {"content-type": "application/json"}):
        response = await client.post(CREATE, content=body, headers=headers)
        assert response.status_code == 401, headers
        assert NOT_KEPT in parse(response).text, headers


async def test_a_stranger_is_read_only_as_far_as_is_announced(client: httpx.AsyncClient) -> None:
    taken = []

    async def endless() -> AsyncIterator[bytes]:
        for number in range(9):
            taken.append(number)
            yield b"name=x&" * 1000

    response = await client.post(CREATE, content=endless(), headers=FORM)
    assert "transfer-encoding" in response.request.headers
    assert (response.status_code, taken) == (401, [])


async def test_a_session_that_ends_while_the_form_is_still_arriving_loses_nothing_either(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    path = f"/admin/product/edit/{product.id}"
    for status in (401, 403):
        alice = await sign_in("alice")
        body = urlencode(await open_form(alice, path) | {"name": "What was typed"}).encode()

        async def slowly(body: bytes = body, status: int = status) -> AsyncIterator[bytes]:
            yield body[:10]
            if status == 401:
                await end_sessions(database)
            else:
                await demand_new_password(database, "alice")
            yield body[10:]

        headers = FORM | {"Content-Length": str(len(body))}
        response = await alice.post(path, content=slowly(), headers=headers)
        assert response.status_code == status
        name = "typed.name" if status == 401 else "name"
        assert fields_of(form_of(parse(response)))[name] == "What was typed"
    assert (await every(database, Product))[0].name == product.name


async def test_whoever_must_choose_a_new_password_chooses_it_in_another_tab(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    path = f"/admin/product/edit/{product.id}"
    fields = await open_form(alice, path) | {"name": "What was typed", "price": "2"}
    await end_sessions(database)
    await demand_new_password(database, "alice")
    response = await sign_in_on(alice, await turned_away(alice, path, fields))
    pages = [(response, 200)]
    # Too early, and the same for a form sent after signing in elsewhere.
    pages += [(await alice.post(path, data=given), 403) for given in (fields | {"resume": "1"}, fields)]
    for response, status in pages:
        assert response.status_code == status
        page = parse(response)
        assert DUE in page.text
        elsewhere = page.one("a")
        assert (elsewhere.attributes["href"], elsewhere.attributes["target"]) == ("/admin/password", "_blank")
        form = form_of(page)
        assert "data-submit-now" not in form.attributes
        assert fields_of(form) == fields | {"resume": "1"}
    chosen = {"current": PASSWORD, "new": "another long password", "repeated": "another long password"}
    assert (await alice.post("/admin/password", data=chosen | {"next": ""})).status_code == 303
    response = await alice.post(path, data=fields_of(form_of(page)))
    assert response.status_code == 200
    assert BACK in notices(parse(response))
    assert fields_of(form_of(parse(response))) == fields


async def test_going_back_to_a_form_saves_nothing_and_needs_all_that_saving_needs(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    path = f"/admin/product/edit/{product.id}"
    fields = await open_form(alice, path) | {"name": "Changed", "save": "list", "resume": "1"}
    before = await traces(database)
    assert (await alice.post(path, data=fields)).status_code == 200
    for version in ("", "x", "-1", "²"):
        response = await alice.post(path, data=fields | {"version": version})
        assert response.status_code == 400
        assert "“version” is missing" in response.text
    for key in ("", "x"):
        response = await alice.post(CREATE, data=fields | {"key": key})
        assert response.status_code == 400
        assert "“key” is missing" in response.text
    # An overtaken form is told so when it is saved, as ever.
    stale = await alice.post(path, data=fields | {"version": "0"})
    assert fields_of(form_of(parse(stale)))["version"] == "0"
    assert await traces(database) == before
