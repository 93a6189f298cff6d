"""Static files by their hashed names, compression, and how much a page moves over the wire."""

import gzip
import random
import re
from itertools import islice
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from admin_app.admin.assets import REFERENCE, Assets
from admin_app.admin.site import STATIC
from admin_app.app import Website
from admin_app.demo import catalogue
from tests.admin.pages import parse, titles_of
from tests.conftest import Cast, MakeProduct, SignIn, admin_of

STATICS = "/admin/statics"
LIST = "/admin/product/list"
PAGE_WITHOUT_CACHE_BYTES = 150_000
SECOND_PAGE_BYTES = 15_000
IMMUTABLE = "public, max-age=31536000, immutable"
PLAIN = {"Accept-Encoding": "identity"}


def hashed(website: Website, name: str) -> str:
    address = admin_of(website).environment.globals["asset"](name)
    assert isinstance(address, str)
    return address


def bytes_on_the_wire(response: httpx.Response) -> int:
    return int(response.headers["content-length"])


async def everything_on(client: httpx.AsyncClient, address: str) -> dict[str, httpx.Response]:
    """The page, and whatever a browser would fetch for it."""
    page = await client.get(address)
    found = {address: page}
    elements = parse(page).walk()
    waiting = [
        element.attributes.get("src") or element.attributes["href"]
        for element in elements
        if element.tag in {"script", "link", "img"}
    ]
    while waiting:
        address = waiting.pop()
        if address not in found:
            found[address] = await client.get(address)
            if not address.endswith(".svg"):
                named = REFERENCE.findall(found[address].text)
                waiting += [urljoin(address, name) for _, name in named]
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in STATIC.iterdir()))
async def test_a_file_has_a_name_that_browsers_may_keep_for_ever(
    name: str, website: Website, client: httpx.AsyncClient
) -> None:
    address = hashed(website, name)
    stem, suffix = name.rsplit(".", 1)
    assert re.fullmatch(rf"{STATICS}/{re.escape(stem)}\.[0-9a-f]{{8}}\.{suffix}", address)
    response = await client.get(address)
    assert response.status_code == 200
    assert response.headers["cache-control"] == IMMUTABLE
    kinds = {
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    }
    assert response.headers["content-type"] == kinds[suffix]


async def test_compressed_and_plain_are_the_same_file_under_two_etags(
    website: Website, client: httpx.AsyncClient
) -> None:
    for name in ("admin.css", "admin.js"):
        address = hashed(website, name)
        plain, compressed = await client.get(address, headers=PLAIN), await client.get(address)
        assert "content-encoding" not in plain.headers
        assert compressed.headers["content-encoding"] == "gzip"
        assert compressed.content == plain.content
        assert bytes_on_the_wire(compressed) < bytes_on_the_wire(plain) / 2
        assert plain.headers["etag"] != compressed.headers["etag"]
        assert plain.headers["vary"] == compressed.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        ("gzip", True),
        ("br, gzip;q=0.1", True),
        ("gzip; q=1.0, *;q=0", True),
        ("gzip;q=0", False),
        ("br, gzip; Q=0.000 , identity", False),
        ("identity", False),
        ("x-not-gzip", False),
        ("*;q=0", False),
        ("", False),
        (";;,=q,\xff" * 500, False),
    ],
)
async def test_who_does_not_want_gzip_gets_none(
    accepted: str, is_compressed: bool, website: Website, client: httpx.AsyncClient
) -> None:
    for address in (hashed(website, "admin.css"), "/admin/login"):
        response = await client.get(address, headers={"Accept-Encoding": accepted.encode("latin-1")})
        assert response.status_code == 200
        assert ("content-encoding" in response.headers) == is_compressed


async def test_head_says_what_get_would_say(website: Website, client: httpx.AsyncClient) -> None:
    for address in (hashed(website, "admin.css"), f"{STATICS}/admin.css", "/admin/login"):
        for headers in ({}, PLAIN):
            got, head = (
                await client.get(address, headers=headers),
                await client.head(address, headers=headers),
            )
            assert head.content == b""
            for name in ("content-length", "content-type", "etag", "vary", "cache-control"):
                assert head.headers.get(name) == got.headers.get(name)


async def test_a_file_that_did_not_change_is_not_sent_again(
    website: Website, client: httpx.AsyncClient
) -> None:
    for address in (hashed(website, "admin.css"), f"{STATICS}/admin.css"):
        first = await client.get(address)
        etag = first.headers["etag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = await client.get(address, headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b""), known
            for name in ("etag", "vary", "cache-control"):
                assert again.headers[name] == first.headers[name]
        other = (await client.get(address, headers=PLAIN)).headers["etag"]
        for unknown in ('"other"', etag.strip('"'), other, ""):
            assert (await client.get(address, headers={"If-None-Match": unknown})).status_code == 200


async def test_a_page_from_before_a_deploy_finds_the_file_as_it_is_now(
    website: Website, client: httpx.AsyncClient
) -> None:
    now = await client.get(hashed(website, "admin.css"))
    for name in ("admin.css", "admin.00000000.css"):
        response = await client.get(f"{STATICS}/{name}")
        assert response.content == now.content
        assert response.headers["cache-control"] == "no-cache"


async def test_a_name_that_is_not_there_is_a_page_that_may_not_be_stored(client: httpx.AsyncClient) -> None:
    for name in (
        "nothing.css",
        "admin.0000000.css",
        "admin.zzzzzzzz.css",
        "admin",
        "00000000.css",
        "admin.css%0a",
    ):
        response = await client.get(f"{STATICS}/{name}")
        assert response.status_code == 404, name
        assert response.headers["cache-control"] == "no-store"
        assert "There is nothing here." in response.text


async def test_files_refer_to_each_other_by_hashed_names(website: Website, client: httpx.AsyncClient) -> None:
    sheet = await client.get(hashed(website, "admin.css"))
    assert f'url("{hashed(website, "cubes.svg").removeprefix(f"{STATICS}/")}")' in sheet.text
    for path in STATIC.iterdir():
        if path.suffix in {".css", ".js"}:
            named = re.findall(r"url\((?!\"data:)|\bimport\b(?! \{)|\bfrom [\"']", path.read_text())
            assert len(named) == len(REFERENCE.findall(path.read_text())), (
                f"{path.name} names a file otherwise"
            )


def test_a_new_content_renames_a_file_and_whatever_refers_to_it(tmp_path: Path) -> None:
    (tmp_path / "sheet.css").write_text('a { background: url("picture.svg"); mask: url("#b") }')
    (tmp_path / "start.js").write_text('import "./rest.js";\nimport { x } from "./rest.js";\n')
    (tmp_path / "rest.js").write_text('const lazy = () => import("./lazy.js");')
    (tmp_path / "lazy.js").write_text("1")
    (tmp_path / "picture.svg").write_text("<svg/>")
    names = ("sheet.css", "start.js", "rest.js", "lazy.js", "picture.svg")
    before = Assets(tmp_path, "/s")
    assert [before.url(name) for name in names] == [Assets(tmp_path, "/s").url(name) for name in names]
    (tmp_path / "picture.svg").write_text("<svg></svg>")
    after = Assets(tmp_path, "/s")
    assert [name for name in names if before.url(name) != after.url(name)] == ["sheet.css", "picture.svg"]
    (tmp_path / "lazy.js").write_text("2")
    last = Assets(tmp_path, "/s")
    assert [name for name in names if after.url(name) != last.url(name)] == ["start.js", "rest.js", "lazy.js"]


def test_a_reference_to_nothing_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "sheet.css").write_text('a { background: url("gone.svg") }')
    with pytest.raises(KeyError, match=r"gone\.svg"):
        Assets(tmp_path, "/s")


async def test_pages_are_compressed_and_what_is_small_is_not(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    await make_product(cast.alice)
    alice = await sign_in("alice")
    for address, status in ((LIST, 200), ("/admin/nothing", 404), ("/nothing", 404), (f"{LIST}?x=1", 400)):
        response = await alice.get(address)
        assert response.status_code == status
        assert response.headers["content-encoding"] == "gzip", address
        assert "Accept-Encoding" in response.headers["vary"]
    for address in ("/live", "/admin/product/ajax/lookup?name=owner&term=a"):
        response = await alice.get(address)
        assert response.status_code == 200
        assert "content-encoding" not in response.headers, address


async def test_a_list_page_moves_few_bytes(sign_in: SignIn, cast: Cast, make_product: MakeProduct) -> None:
    for item in islice(catalogue(random.Random(1)), 60):
        await make_product(
            cast.alice, **item.model_dump(include={"name", "description", "price", "is_active"})
        )
    alice = await sign_in("alice")
    first = await everything_on(alice, LIST)
    assert len(titles_of(parse(first[LIST]))) == 25
    assert {f"{STATICS}/{name}" for name in ("admin.css", "admin.js", "icon.svg")} <= {
        re.sub(r"\.[0-9a-f]{8}\.", ".", address) for address in first
    }
    assert {response.status_code for response in first.values()} == {200}
    assert sum(map(bytes_on_the_wire, first.values())) <= PAGE_WITHOUT_CACHE_BYTES
    kept = {
        address for address, response in first.items() if "immutable" in response.headers["cache-control"]
    }
    assert kept == first.keys() - {LIST}
    page_two = next(link.attributes["href"] for link in parse(first[LIST]).all("a", rel="next"))
    second = await everything_on(alice, page_two)
    moved = [response for address, response in second.items() if address not in kept]
    assert len(titles_of(parse(second[page_two]))) == 25
    assert sum(map(bytes_on_the_wire, moved)) <= SECOND_PAGE_BYTES


async def test_the_compressed_page_is_the_page(sign_in: SignIn) -> None:
    alice = await sign_in("alice")
    async with alice.stream("GET", LIST) as response:
        raw = b"".join([part async for part in response.aiter_raw()])
    assert gzip.decompress(raw) == (await alice.get(LIST, headers=PLAIN)).content
