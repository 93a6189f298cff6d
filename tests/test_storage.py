"""Object storage: the same of a folder and of a real S3 server, and what S3 adds: credentials and outages."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
from obstore.exceptions import BaseError

from admin_app import storage as storage_module
from admin_app.errors import Unavailable
from admin_app.storage import MARK, STORAGE, Storage, storage_of
from tests.s3 import S3Server, s3_server

ODD_NAMES = [
    "products/a b.webp",
    "ü/日本.webp",
    "100%25?#&=+;.webp",
    "'quoted\"<b>.webp",
    ".hidden/x",
    "x" * 200,
]
NO_PATHS = ["../x", "a/../../x", "a//b", "a/./b", "a\0b", "a\nb"]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["file", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server) -> Storage:
    """A new folder each, a folder of the bucket by the name of the test."""
    if request.param == "file":
        return Storage((tmp_path / "media & more").as_uri())
    return Storage(f"{s3.url}/{tmp_path.name}", s3.options)


async def test_what_was_put_can_be_read(storage: Storage) -> None:
    await storage.put("products/1/480.webp", b"an image", "image/webp")
    assert await storage.get("products/1/480.webp") == b"an image"


async def test_the_last_content_counts(storage: Storage) -> None:
    await storage.put("a", b"first", "text/plain")
    await storage.put("a", b"", "text/plain")
    assert await storage.get("a") == b""


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_name_may_have_odd_characters(storage: Storage, name: str) -> None:
    await storage.put(name, name.encode(), "image/webp")
    assert await storage.get(name) == name.encode()
    await storage.delete(name)
    assert await storage.get(name) is None


@pytest.mark.parametrize("name", NO_PATHS)
async def test_a_name_that_is_no_path_is_nowhere(storage: Storage, name: str) -> None:
    with pytest.raises(ValueError, match="parse path"):
        await storage.put(name, b"x", "text/plain")
    assert await storage.get(name) is None
    await storage.delete(name)


async def test_what_is_not_there_is_none(storage: Storage) -> None:
    await storage.put("folder/file", b"x", "text/plain")
    for name in ("nothing", "folder", "folder/nothing", "nothing/file"):
        assert await storage.get(name) is None, name


async def test_deleting_what_is_not_there_is_no_error(storage: Storage) -> None:
    await storage.delete("nothing/at/all")
    await storage.delete_all("nothing/at")


async def test_deleting_a_folder_leaves_its_neighbours(storage: Storage) -> None:
    gone = [*(f"products/1/{number}.webp" for number in range(120)), "products/1/deep/er/ü %.webp"]
    kept = ["products/10/a.webp", "products/1.webp", "product"]
    for name in (*gone, *kept):
        await storage.put(name, b"x", "image/webp")
    await storage.delete_all("products/1")
    assert [await storage.get(name) for name in gone] == [None] * len(gone)
    assert [await storage.get(name) for name in kept] == [b"x"] * len(kept)


@pytest.mark.parametrize("prefix", ["", "/"])
async def test_the_whole_storage_is_not_a_folder_to_delete(storage: Storage, prefix: str) -> None:
    await storage.put("a", b"x", "text/plain")
    with pytest.raises(ValueError, match="whole storage"):
        await storage.delete_all(prefix)
    assert await storage.get("a") == b"x"


async def test_a_large_file_comes_back_as_it_was(storage: Storage) -> None:
    content = os.urandom(20 * 1024 * 1024)
    await storage.put("large", content, "image/png")
    assert await storage.get("large") == content


async def test_a_check_leaves_nothing_behind(storage: Storage, tmp_path: Path, s3: S3Server) -> None:
    storage.check()
    left = [path for root in (tmp_path, s3.bucket / tmp_path.name) for path in root.rglob("*")]
    assert [path for path in left if path.is_file() and path.name != MARK] == []


def test_a_folder_is_made_only_when_it_is_needed(tmp_path: Path) -> None:
    Storage((tmp_path / "media").as_uri())
    assert not (tmp_path / "media").exists()


async def test_a_folder_that_cannot_be_made_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file")
    with pytest.raises(Unavailable):
        Storage((tmp_path / "media" / "below").as_uri()).check()


async def test_an_object_says_what_it_is_and_that_it_never_changes(s3: S3Server) -> None:
    storage = Storage(s3.url, s3.options)
    await storage.put("typed.avif", b"x", "image/avif")
    found = await storage._store.get_async("typed.avif")
    assert found.attributes["Content-Type"] == "image/avif"
    assert found.attributes["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("wrong", ["access_key_id", "secret_access_key"])
async def test_refused_credentials_are_an_outage_that_tells_no_secret(s3: S3Server, wrong: str) -> None:
    storage = Storage(s3.url, {**s3.options, wrong: "wrong-one"})
    for call in (
        storage.put("a", b"x", "text/plain"),
        storage.get("a"),
        storage.delete("a"),
        storage.delete_all("a"),
    ):
        with pytest.raises(Unavailable) as refused:
            await call
        assert isinstance(refused.value.__cause__, BaseError)
        assert "wrong-one" not in refused.value.message
        assert "Error" not in refused.value.message
        assert "http" not in refused.value.message
    with pytest.raises(Unavailable):
        storage.check()


async def test_a_bucket_that_does_not_exist_is_no_empty_one(s3: S3Server) -> None:
    storage = Storage("s3://another", s3.options)
    for call in (storage.get("a"), storage.put("a", b"x", "text/plain")):
        with pytest.raises(Unavailable):
            await call
    with pytest.raises(Unavailable):
        storage.check()


async def test_an_outage_ends_when_the_server_is_back(s3: S3Server) -> None:
    storage = Storage(s3.url, s3.options)
    await storage.put("kept", b"x", "text/plain")
    s3.stop()
    try:
        for call in (
            storage.get("kept"),
            storage.put("lost", b"x", "text/plain"),
            storage.delete("kept"),
            storage.delete_all("kept"),
        ):
            with pytest.raises(Unavailable):
                await call
        with pytest.raises(Unavailable):
            storage.check()
    finally:
        s3.start()
    assert await storage.get("kept") == b"x"
    assert await storage.get("lost") is None
    storage.check()


async def test_a_server_that_does_not_answer_is_not_waited_for(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "TIMEOUT_SECONDS", 0.2)
    storage = Storage(s3.url, s3.options)
    assert s3._process is not None
    s3._process.send_signal(signal.SIGSTOP)
    # It answers until all its threads have stopped.
    await asyncio.to_thread(os.waitpid, s3._process.pid, os.WUNTRACED)
    try:
        with pytest.raises(Unavailable) as refused:
            await storage.get("kept")
    finally:
        s3._process.send_signal(signal.SIGCONT)
    assert isinstance(refused.value.__cause__, TimeoutError)


@pytest.mark.parametrize(
    ("url", "options", "complaint"),
    [
        ("s3://media", {"secret": "hidden-one"}, "'secret'"),
        ("s3://media", {"timeout": "soon-ish"}, "soon-ish"),
        ("az://media", {}, "Account"),
    ],
)
def test_options_that_do_not_fit_are_told_at_the_start(
    url: str, options: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ValueError, match="STORAGE_OPTIONS") as refused:
        Storage(url, options)
    assert complaint in str(refused.value)
    assert "hidden-one" not in str(refused.value)


def test_options_may_be_about_connections_too(s3: S3Server) -> None:
    Storage(s3.url, {**s3.options, "timeout": "3 seconds", "allow_http": "true"})


def test_a_public_address_needs_a_cdn() -> None:
    assert Storage("s3://media").public_url("a/b.webp") is None
    with_cdn = Storage("s3://media", {}, "https://cdn.example/shop")
    assert with_cdn.public_url("a/b.webp") == "https://cdn.example/shop/a/b.webp"
    for name in ODD_NAMES:
        parts = urlsplit(with_cdn.public_url(name) or "")
        assert (unquote(parts.path), parts.query, parts.fragment) == (f"/shop/{name}", "", "")


def test_a_session_carries_its_storage() -> None:
    storage = Storage("s3://media")
    assert storage_of(SimpleNamespace(info={STORAGE: storage})) is storage


async def test_without_options_the_usual_variables_are_read(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, option in (
        ("AWS_ENDPOINT_URL", "endpoint"),
        ("AWS_REGION", "region"),
        ("AWS_ACCESS_KEY_ID", "access_key_id"),
        ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
    ):
        monkeypatch.setenv(name, s3.options[option])
    Storage(s3.url).check()


@pytest.mark.parametrize("endpoint", ["x y", "s3.example.com", "ftp://s3.example.com", "http://"])
def test_an_endpoint_that_is_none_is_told_at_once(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint must be an address"):
        Storage("s3://shop", {"endpoint": endpoint})


async def test_why_it_cannot_be_reached_is_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    options = {"endpoint": "http://127.0.0.1:9", "access_key_id": "k", "secret_access_key": "not-for-the-log"}
    with pytest.raises(Unavailable) as refused:
        await Storage("s3://shop", options).put("images/a", b"", "image/webp")
    assert "127.0.0.1:9" not in refused.value.message
    assert "127.0.0.1:9" in caplog.text
    assert "not-for-the-log" not in caplog.text


async def test_a_folder_that_is_gone_is_out_of_reach_and_not_empty(tmp_path: Path) -> None:
    """As when its disk is not there: whoever took it for empty would delete or give up what is only away."""
    folder = tmp_path / "media"
    storage = Storage(folder.as_uri())
    await storage.put("images/a", b"a", "image/webp")
    folder.rename(tmp_path / "away")
    folder.mkdir()
    for attempt in (
        storage.get("images/a"),
        storage.put("images/b", b"b", "image/webp"),
        storage.delete("images/a"),
        storage.delete_all("images/"),
    ):
        with pytest.raises(Unavailable):
            await attempt
    assert list(folder.iterdir()) == []
    folder.rmdir()
    (tmp_path / "away").rename(folder)
    assert await storage.get("images/a") == b"a"
    await storage.delete_all("images/")
    assert [path.name for path in folder.iterdir()] == [".storage"]


async def test_a_large_file_goes_in_and_out_piece_by_piece(storage: Storage, tmp_path: Path) -> None:
    pieces = [os.urandom(700_000) for _ in range(12)]

    async def given() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    await storage.put_large("exports/large.csv", given(), "text/csv")
    found = await storage.get_large("exports/large.csv")
    assert found is not None
    assert found.size_bytes == 8_400_000
    assert b"".join([piece async for piece in found.pieces]) == b"".join(pieces)
    (tmp_path / "file").write_bytes(b"from a file")
    await storage.put_large("exports/large.csv", tmp_path / "file", "text/csv")
    assert await storage.get("exports/large.csv") == b"from a file"
    assert await storage.get_large("exports/nothing.csv") is None
    assert await storage.get_large("../nothing") is None


async def test_what_breaks_off_leaves_the_file_as_it_was(storage: Storage) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 6_000_000
        raise LookupError("no more")

    await storage.put("a", b"before", "text/plain")
    with pytest.raises(LookupError):
        await storage.put_large("a", broken(), "text/csv")
    assert await storage.get("a") == b"before"


async def test_deleting_a_file_takes_what_killed_uploads_of_it_left(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    storage = Storage(folder.as_uri())
    await storage.put("a[1].csv", b"x", "text/csv")
    for name in ("a[1].csv#1", "a[1].csv#12", "a[1].csv.other#1", "a1.csv#1"):
        (folder / name).touch()
    await storage.delete("a[1].csv")
    assert {path.name for path in folder.iterdir()} == {MARK, "a[1].csv.other#1", "a1.csv#1"}
