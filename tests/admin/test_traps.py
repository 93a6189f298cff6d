"""What sqladmin 0.32 would do if it were left to itself, and what people try who mean no good."""

import asyncio
from contextlib import chdir
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import update
from starlette.routing import Mount, Route
from wtforms.fields.core import UnboundField

from admin_app.app import Website
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from tests.admin.pages import open_form
from tests.admin.rows import every, load, traces
from tests.conftest import Cast, MakeProduct, SignIn, admin_of, headers_of

CREATE = "/admin/product/create"


def spellings(row_id: UUID) -> list[str]:
    """Python reads all of these as the same UUID."""
    text = str(row_id)
    return [
        text.upper(),
        text.replace("-", ""),
        f"{{{text}}}",
        f"urn:uuid:{text}",
        f"-{text}",
        f"{text}%20",
        f"%20{text}",
        f"{text}%00",
        f"{text}%0A",
        f"{text}\u200b",
    ]


NO_IDS = [
    "x",
    "1",
    "-1",
    "0",
    "%00",
    "null",
    "None",
    "..",
    "%2e%2e",
    "%ff",
    "%ed%a0%80",
    "é",
    "x" * 5000,
    "'",
    "*",
]


async def test_no_route_serves_a_file_named_by_a_row(
    tmp_path: Path, sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    (tmp_path / ".env").write_text("SECRET_KEY=leaked")
    product = await make_product(cast.alice, name=".env", description="/etc/passwd")
    with chdir(tmp_path):
        for name in ("alice", "root"):
            client = await sign_in(name)
            for column in ("name", "description", ".env"):
                for verb in ("download", "preview"):
                    for slash in ("", "/"):
                        path = f"/admin/product/{product.id}/{column}/{verb}{slash}"
                        response = await client.get(path, follow_redirects=True)
                        assert response.status_code == 404, path
                        assert "leaked" not in response.text


async def test_no_route_exports_imports_or_acts_around_the_service(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct, website: Website
) -> None:
    product = await make_product(cast.root)
    before = await traces(database)
    root = await sign_in("root")
    for path in (
        "/admin/product/export/csv",
        "/admin/product/export/json",
        "/admin/product/import/csv",
        "/admin/user/export/csv",
        "/admin/product/action/delete",
        "/admin/product/action/activate",
        "/admin/product/bulk-delete",
    ):
        for method in ("GET", "POST", "DELETE"):
            response = await root.request(method, path, params={"pks": str(product.id)})
            assert response.status_code == 404, (method, path)
    # sqladmin deletes by DELETE /product/delete?pks=...
    for path in ("/admin/product/delete", f"/admin/product/delete?pks={product.id}"):
        assert (await root.delete(path)).status_code == 404
    assert await traces(database) == before
    for view in admin_of(website).views:
        assert (view.can_export, view.can_import) == (False, False)


async def test_nothing_changes_by_get_or_head(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.root)
    root = await sign_in("root")
    fields = await open_form(root, f"/admin/product/edit/{product.id}") | await open_form(root, CREATE)
    fields |= {
        "name": "Changed",
        "price": "5",
        "ids": str(product.id),
        "pks": str(product.id),
        "action": "deactivate",
    }
    before = await traces(database)
    for path, status in {
        CREATE: 200,
        "/admin/user/create": 200,
        f"/admin/product/edit/{product.id}": 200,
        f"/admin/product/delete/{product.id}": 200,
        f"/admin/user/edit/{cast.bob.id}": 200,
        f"/admin/user/delete/{cast.bob.id}": 200,
        "/admin/login": 200,
        "/admin/logout": 405,
        "/admin/product/bulk": 405,
        "/admin/user/bulk": 405,
    }.items():
        for method in ("HEAD", "GET"):
            response = await root.request(method, path, data=fields)
            assert response.status_code == status, (method, path)
            response = await root.request(method, path, params=fields)
            assert response.status_code == status, (method, path)
    assert await traces(database) == before
    assert (await root.get("/admin/")).status_code == 200


async def test_only_the_usual_spelling_of_an_id_is_one(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.root)
    root = await sign_in("root")
    form = await open_form(root, f"/admin/product/edit/{product.id}") | {"name": "Changed"}
    before = await traces(database)
    for kind, row_id in (("product", product.id), ("user", cast.bob.id)):
        for text in [*spellings(row_id), *NO_IDS]:
            for action in ("details", "edit", "delete"):
                path = f"/admin/{kind}/{action}/{text}"
                # "..", left as it is, is taken out of the path before it is sent.
                expected = {404, 307} if text == ".." else {404}
                assert (await root.get(path)).status_code in expected, path
                if action != "details":
                    assert (await root.post(path, data=form)).status_code in expected, path
    assert await traces(database) == before


async def test_a_nul_or_an_odd_byte_in_an_address_is_no_fault(sign_in: SignIn) -> None:
    root = await sign_in("root")
    for odd in ("%00", "%ed%a0%80", "%ff", "%0d%0a", "%F0%9F%A6%88", "%2F", "%5C", ".%2e"):
        for path in (
            f"/{odd}",
            f"/admin/{odd}",
            f"/admin/{odd}/list",
            f"/admin/product/{odd}",
            f"/admin/statics/{odd}",
        ):
            response = await root.get(path)
            assert response.status_code in {404, 405, 307}, path


async def test_static_files_end_at_their_folder(client: httpx.AsyncClient) -> None:
    for path in (
        "../site.py",
        "%2e%2e/app.py",
        "..%2fapp.py",
        "%2e%2e%2fapp.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "..%5capp.py",
        "admin.css/..%2f..%2fapp.py",
        "",
        ".",
        "x" * 5000,
    ):
        response = await client.get(f"/admin/statics/{path}")
        assert response.status_code in {404, 307, 302}, path
        assert "import" not in response.text


def answer(response: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    return response.status_code, headers_of(response), response.content


async def test_a_strangers_product_answers_byte_for_byte_as_a_missing_one(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    foreign, own = await make_product(cast.bob), await make_product(cast.alice)
    alice = await sign_in("alice")
    valid = await open_form(alice, f"/admin/product/edit/{own.id}") | {"name": "Changed"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    bodies: list[tuple[dict[str, str], bytes]] = [
        (form, httpx.QueryParams(fields).__str__().encode())
        for fields in (
            valid,
            valid | {"version": "7"},
            valid | {"version": "x"},
            valid | {"price": "NaN"},
            valid | {"name": "\0"},
            valid | {"is_active": "perhaps"},
            valid | {"owner": "alice@demo.example", "owner_id": str(cast.alice.id)},
            {"version": "1"},
            {"name": "Changed"},
            {},
        )
    ]
    bodies += [
        ({"Content-Type": "application/json"}, b"{}"),
        ({"Content-Type": "multipart/form-data"}, b"x"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\nx"),
        (form, b"&".join([b"a=b"] * 2000)),
        (form, b"x" * 1_000_001),
    ]
    before = await traces(database)
    for action in ("edit", "delete"):
        mine, missing = (f"/admin/product/{action}/{row_id}" for row_id in (foreign.id, uuid4()))
        for method in ("GET", "HEAD"):
            stranger = await alice.request(method, mine)
            assert stranger.status_code == 404
            assert answer(stranger) == answer(await alice.request(method, missing)), (method, action)
        for headers, body in bodies:
            stranger = await alice.post(mine, content=body, headers=headers)
            assert stranger.status_code >= 400
            nobody = await alice.post(missing, content=body, headers=headers)
            assert answer(stranger) == answer(nobody), (action, headers, body[:100])
            assert str(foreign.id) not in stranger.text
            assert foreign.name not in stranger.text
            if headers is form and len(body) < 1000:
                assert stranger.status_code == 404, (action, body)
    assert await traces(database) == before


async def test_somebody_elses_account_answers_byte_for_byte_as_a_missing_one(
    sign_in: SignIn, cast: Cast
) -> None:
    alice = await sign_in("alice")
    for action in ("details", "edit", "delete"):
        foreign = await alice.get(f"/admin/user/{action}/{cast.bob.id}")
        assert foreign.status_code == (404 if action == "details" else 403)
        assert answer(foreign) == answer(await alice.get(f"/admin/user/{action}/{uuid4()}"))


async def test_a_product_given_away_while_the_form_was_open_is_out_of_reach(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    edit, delete = (f"/admin/product/{action}/{product.id}" for action in ("edit", "delete"))
    fields, question = await open_form(alice, edit), await open_form(alice, delete)
    async with database.transaction() as session:
        await session.execute(update(Product).values(owner_id=cast.bob.id))
    assert (await alice.post(edit, data=fields | {"name": "Changed"})).status_code == 404
    assert (await alice.post(delete, data=question)).status_code == 404
    assert (await load(database, Product, product.id)).name == product.name


async def test_an_administrator_made_support_can_change_nothing_any_more(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await sign_in("alice")
    edit = f"/admin/product/edit/{product.id}"
    fields = await open_form(alice, edit) | {"name": "Changed"}
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == cast.alice.id).values(role="support"))
    for path in (edit, f"/admin/product/delete/{product.id}", CREATE, "/admin/product/bulk"):
        assert (await alice.post(path, data=fields)).status_code == 403, path
    assert (await load(database, Product, product.id)).name == product.name


async def test_a_form_is_scaffolded_once_and_its_validators_do_not_grow(
    website: Website, sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.root)
    root = await sign_in("root")
    paths = [
        CREATE,
        f"/admin/product/edit/{product.id}",
        "/admin/user/create",
        f"/admin/user/edit/{cast.bob.id}",
    ]
    for path in paths:
        await root.get(path)
    views = admin_of(website).views
    classes = [await view.form_class() for view in views]

    def validators() -> dict[str, int]:
        return {
            f"{form.__name__}.{name}": len(field.kwargs.get("validators", []))
            for form in classes
            for name in dir(form)
            if isinstance(field := getattr(form, name), UnboundField)
        }

    before = validators()
    assert before
    for _ in range(3):
        for path in paths:
            await asyncio.gather(root.get(path), root.post(path, data=await open_form(root, path)))
    assert [await view.form_class() for view in views] == classes
    assert validators() == before


async def test_the_application_keeps_a_session_maker_of_its_own(
    website: Website, cast: Cast, database: Database
) -> None:
    own = website.state.database
    admin = admin_of(website)
    assert admin.session_maker.kw["autoflush"] is False
    for view in admin.views:
        assert view.session_maker is admin.session_maker
    for opened in (own.transaction(), own.reading()):
        async with opened as session:
            assert session.sync_session.autoflush is True


async def test_sqladmins_own_hooks_and_audit_are_never_used(
    website: Website, sign_in: SignIn, cast: Cast, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    called: list[str] = []
    for view in admin_of(website).views:
        for name in ("insert_model", "update_model", "delete_model", "on_model_change", "after_model_change"):
            monkeypatch.setattr(view, name, lambda *_, name=name: called.append(name))
    root = await sign_in("root")
    fields = await open_form(root, CREATE) | {"name": "New", "price": "1"}
    assert (await root.post(CREATE, data=fields)).status_code == 303
    [product] = await every(database, Product)
    for action in ("edit", "delete"):
        path = f"/admin/product/{action}/{product.id}"
        assert (await root.post(path, data=await open_form(root, path) | {"name": "X"})).status_code == 303
    assert called == []


async def test_every_admin_page_but_the_doors_asks_who_is_there(
    website: Website, client: httpx.AsyncClient
) -> None:
    mount = next(route for route in website.routes if isinstance(route, Mount) and route.path == "/admin")
    open_to_all = {"login", "login_code", "forgot", "reset", "logout", "statics"}
    for route in mount.routes:
        if route.name in open_to_all:
            continue
        assert isinstance(route, Route)
        named = {"identity": "product", "pk": uuid4(), "picture": uuid4(), "file": "x.webp", "tile": "own"}
        path = "/admin" + route.path.format(**named)
        for method in route.methods or ():
            response = await client.request(method, path)
            assert response.status_code == (401 if method == "POST" else 302), (method, path)
