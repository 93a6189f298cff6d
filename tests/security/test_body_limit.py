"""What is too large is refused before anybody reads it."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import httpx
import pytest

from admin_app.admin.forms import MAX_ESCAPES, MAX_FIELDS
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.security import body_limit
from admin_app.security.body_limit import MAX_BODY_BYTES, MAX_SELECTION_BYTES
from tests.admin.pages import open_form, parse
from tests.admin.rows import every, traces
from tests.conftest import Cast, SignIn

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def pieces(total: int) -> AsyncIterator[bytes]:
    for start in range(0, total, 100_000):
        yield b"x" * min(100_000, total - start)


async def test_a_body_over_the_limit_is_refused_announced_or_not(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    alice = await sign_in("alice")
    before = await traces(database)
    limits = {"/admin/product/bulk": "4,000,000", "/admin/login": "400,000"}
    for address in ("/admin/product/create", *limits):
        number = MAX_SELECTION_BYTES if address.endswith("/bulk") else MAX_BODY_BYTES
        announced = await alice.post(address, content=b"x" * (number + 1), headers=FORM)
        streamed = await alice.post(address, content=pieces(number + 1), headers=FORM)
        assert "transfer-encoding" in streamed.request.headers
        for response in (announced, streamed):
            assert response.status_code == 413, address
            limit = limits.get(address, "1,000,000")
            assert f"send at most {limit} bytes" in parse(response).text
    assert await traces(database) == before


async def test_a_body_at_the_limit_is_read(sign_in: SignIn, cast: Cast) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, "/admin/product/create")
    body = f"key={fields['key']}&name=x&price=1&is_active=true&description=".encode()
    padded = body + b"x" * (MAX_BODY_BYTES - len(body))
    for content in (padded, iter_once(padded)):
        response = await alice.post("/admin/product/create", content=content, headers=FORM)
        assert response.status_code == 422
        assert "Use at most 20000 characters." in response.text


async def iter_once(body: bytes) -> AsyncIterator[bytes]:
    yield body


@pytest.mark.parametrize("length", ["1000001", "9" * 30, "-1", "1e3", "0x10", "", "１", "1, 1"])
async def test_an_announcement_that_is_too_much_or_no_number_is_refused_unread(
    length: str, sign_in: SignIn
) -> None:
    nobody = await sign_in("nobody")
    for method in ("GET", "POST"):
        headers = {"Content-Length": length.encode()}
        assert (await nobody.request(method, "/live", headers=headers)).status_code == 413


async def test_nobody_may_send_strangers_pages_more_than_a_sign_in_needs(client: httpx.AsyncClient) -> None:
    response = await client.post("/admin/login", content=b"%" * 400_001)
    assert response.status_code == 413


@pytest.mark.parametrize("boundary", ["", "b"], ids=["urlencoded", "multipart"])
async def test_a_form_has_at_most_a_thousand_fields(boundary: str, sign_in: SignIn, cast: Cast) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, "/admin/product/create")
    kept = {"key": fields["key"], "name": "", "price": "1", "description": "", "is_active": "true"}
    for more, statuses in ((MAX_FIELDS - len(kept), {422}), (MAX_FIELDS - len(kept) + 1, {400, 413})):
        pairs = [*kept.items(), *((f"x{number}", "") for number in range(more))]
        if boundary:
            part = f'--{boundary}\r\nContent-Disposition: form-data; name="{{}}"\r\n\r\n{{}}\r\n'
            content = "".join(part.format(*pair) for pair in pairs) + f"--{boundary}--\r\n"
            headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        else:
            content, headers = urlencode(pairs), FORM
        response = await alice.post("/admin/product/create", content=content, headers=headers)
        assert response.status_code in statuses
    assert "many fields" in parse(response).text


@pytest.mark.parametrize("sign", ["%", "&", "%41&", "a=%&"])
async def test_what_only_keeps_the_parser_busy_is_refused(sign: str, sign_in: SignIn, cast: Cast) -> None:
    alice = await sign_in("alice")
    content = sign.encode() * (MAX_SELECTION_BYTES // len(sign))
    response = await alice.post("/admin/product/bulk", content=content, headers=FORM)
    assert response.status_code in {400, 413}
    assert "form" in parse(response).text


async def test_a_text_of_many_escapes_arrives(sign_in: SignIn, cast: Cast, database: Database) -> None:
    alice = await sign_in("alice")
    fields = await open_form(alice, "/admin/product/create")
    text = "漢" * 20_000
    assert urlencode({"": text}).count("%") * 5 < MAX_ESCAPES
    new = fields | {"name": "Kanji", "price": "1", "description": text}
    assert (await alice.post("/admin/product/create", data=new)).status_code == 303
    [product] = await every(database, Product)
    assert product.description == text


async def half_of(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    await asyncio.Event().wait()


async def test_a_body_that_stands_still_changes_nothing(
    sign_in: SignIn, cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_limit, "STALL_SECONDS", 0.1)
    alice = await sign_in("alice")
    before = await traces(database)
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + b"x" * 100
    upload = part, {"Content-Type": "multipart/form-data; boundary=b"}
    form = b"name=x&price=1", FORM
    for path, (body, headers) in {
        "/admin/login": form,
        "/admin/product/create": form,
        "/admin/product/bulk": form,
        "/admin/product/images": upload,
    }.items():
        response = await alice.post(path, content=half_of(body), headers=headers)
        assert response.status_code == 408, path
        assert "took too long to arrive" in response.text
    assert await traces(database) == before
