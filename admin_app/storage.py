"""Files in object storage, by URL: a local folder, S3, Google Cloud Storage or Azure.

Names are paths such as `images/0197.../9f2c....webp`, without a leading slash.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from glob import escape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname
from uuid import uuid4

from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from admin_app.errors import Unavailable
from admin_app.session_info import Carrier

if TYPE_CHECKING:
    from obstore import GetResult

STORAGE = "storage"
"""Under this key of its `info` every session carries the storage."""

TIMEOUT_SECONDS = 30
"""Of a whole call, with what it repeats."""

_CLIENT = {"connect_timeout": timedelta(seconds=2), "timeout": timedelta(seconds=20)}
_PATIENT = {"connect_timeout": timedelta(seconds=2), "read_timeout": timedelta(seconds=20)}
"""For what may take its time as long as it goes on: a large file, sent to somebody who reads slowly."""
_OF_THE_CLIENT = {
    *("allow_http", "allow_invalid_certificates", "root_certificate", "proxy_url", "proxy_excludes"),
    *("connect_timeout", "read_timeout", "timeout", "user_agent"),
}
"""Which options are about connections; all others are about the store."""
_RETRIES = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
}
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
"""In the answer of a store that is not the right one at all."""
MAX_LOGGED = 300
_PART_BYTES = 5 * 1024 * 1024
"""The least S3 takes as a part of an upload."""
_PARTS_AT_ONCE = 2
_PIECE_BYTES = 1024 * 1024
_FOREVER = "public, max-age=31536000, immutable"

MARK = ".storage"

logger = logging.getLogger(__name__)


def storage_of(session: Carrier) -> "Storage":
    storage: Storage = session.info[STORAGE]
    return storage


@dataclass(frozen=True)
class StoredFile:
    """A large file, to be read piece by piece. `pieces` can be iterated once, as slowly as need be."""

    size_bytes: int
    pieces: AsyncIterator[bytes]


class Storage:
    """Whatever keeps it from working (an outage, a slow answer, refused credentials) raises Unavailable.

    A name that is no path (`../x`, `a//b`, control characters) is not there, and raises ValueError if it is
    to be written.
    """

    def __init__(
        self, url: str, options: Mapping[str, str] = MappingProxyType({}), cdn_url: str = ""
    ) -> None:
        """`options` as obstore calls them; what is missing comes from AWS_*, GOOGLE_* or AZURE_* variables.

        Connects to nothing, and makes no folder. Raises ValueError, with a sentence, for options that make no
        sense.
        """
        self._url = url
        self._cdn_url = cdn_url
        self._is_local = url.startswith("file:")
        self._remote = None if self._is_local else _connect(url, options, _CLIENT)
        self._patient = None if self._is_local else _connect(url, options, _PATIENT)

    @cached_property
    def _local(self) -> tuple[ObjectStore, Path]:
        """The folder, made by the first use in a process, and a mark in it."""
        folder = Path(url2pathname(urlsplit(self._url).path))
        store = from_url(self._url, mkdir=True, automatic_cleanup=True)
        mark = folder / MARK
        mark.touch()
        return store, mark

    @property
    def _store(self) -> ObjectStore:
        """A folder that is not the one it was, such as one whose disk is gone, is out of reach: not empty."""
        if self._remote is not None:
            return self._remote
        store, mark = self._local
        mark.stat()
        return store

    async def put(self, name: str, content: bytes, media_type: str) -> None:
        """Never half of it. Caches may keep it for good, so other content needs another name."""
        # A folder has no room for attributes; whoever serves from it knows them.
        attributes = None if self._is_local else {"Content-Type": media_type, "Cache-Control": _FOREVER}
        async with self._reachable() as store:
            await store.put_async(name, content, attributes=attributes)

    async def put_large(self, name: str, content: AsyncIterator[bytes] | Path, media_type: str) -> None:
        """As `put`, of any size, in little memory; it may take its time. Raises what `content` raises.

        Whatever becomes of it, nobody iterates `content` any more.
        """
        attributes = None if self._is_local else {"Content-Type": media_type, "Cache-Control": "private"}
        feed = content if isinstance(content, Path) else _Feed(content)
        try:
            async with self._reachable(is_bounded=False) as store:
                await store.put_async(
                    name,
                    feed,
                    attributes=attributes,
                    chunk_size=_PART_BYTES,
                    max_concurrency=_PARTS_AT_ONCE,
                )
        except BaseException:
            if isinstance(feed, _Feed):
                await feed.end()
            if self._is_local:
                with suppress(OSError):
                    _delete_unfinished(self._local[1].parent / name)
            raise

    async def get(self, name: str) -> bytes | None:
        """None: not there."""
        async with self._reachable() as store:
            with _nothing_there():
                found = await store.get_async(name)
                return bytes(await found.bytes_async())
        return None

    async def get_large(self, name: str) -> StoredFile | None:
        """None: not there."""
        async with self._reachable() as store:
            with _nothing_there():
                found = await (self._patient or store).get_async(name)
                return StoredFile(found.meta["size"], self._pieces(found))
        return None

    async def _pieces(self, found: "GetResult") -> AsyncIterator[bytes]:
        async with self._reachable(is_bounded=False):
            async for piece in found.stream(min_chunk_size=_PIECE_BYTES):
                yield bytes(piece)

    async def delete(self, name: str) -> None:
        """Not being there is no error. Goes with what is left of uploads of it that were killed."""
        async with self._reachable() as store:
            with suppress(ValueError, TypeError):  # the name is no path
                with suppress(FileNotFoundError):
                    await store.delete_async(name)
                if self._is_local:
                    _delete_unfinished(self._local[1].parent / name)

    async def delete_all(self, prefix: str) -> None:
        """All below this folder. Nothing being there is no error."""
        if not prefix.strip("/"):
            raise ValueError("nothing deletes the whole storage")
        async with self._reachable() as store:
            async for batch in store.list(prefix):
                await asyncio.gather(*(self.delete(found["path"]) for found in batch))

    def public_url(self, name: str) -> str | None:
        """Where everybody may read it; None without a CDN."""
        return f"{self._cdn_url}/{quote(name)}" if self._cdn_url else None

    async def reach(self, seconds: float) -> None:
        """Looks for a file that is not there. Raises what the store raises, and logs nothing."""
        # A folder on a disk that does not answer keeps only this thread waiting.
        store = await asyncio.to_thread(lambda: self._store)
        async with asyncio.timeout(seconds):
            with _nothing_there():
                await store.get_async(f"nothing-{MARK}")

    def check(self) -> None:
        """Whether files can be written, read and deleted.

        Not a coroutine: now and then obstore (0.12) aborts a process that ends right after one of its own.
        """
        name = f"check-{uuid4()}"
        try:
            store = self._store
            store.put(name, b"check")
            read = bytes(store.get(name).bytes())
            store.delete(name)
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error
        if read != b"check":
            raise Unavailable("The file storage does not give back what was written to it.")

    @asynccontextmanager
    async def _reachable(self, *, is_bounded: bool = True) -> AsyncIterator[ObjectStore]:
        """Raises Unavailable instead of whatever the store raises, which is for the log."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS if is_bounded else None):
                yield self._store
        except (BaseError, OSError) as error:  # TimeoutError is an OSError
            raise _unavailable(error) from error


class _Feed:
    """An iterator for obstore (0.12), which leaves the step it waits for running when it is cancelled."""

    def __init__(self, content: AsyncIterator[bytes]) -> None:
        self._content = content
        self._step: asyncio.Task[Any] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._step = asyncio.current_task()
        try:
            return await anext(self._content)
        finally:
            self._step = None

    async def end(self) -> None:
        """Nothing is taken from the content any more."""
        if self._step is not None:
            self._step.cancel()
            await asyncio.wait({self._step})


@contextmanager
def _nothing_there() -> Iterator[None]:
    """Goes on for a name of nothing, and for one that is no path."""
    try:
        yield
    except ValueError:
        return
    except FileNotFoundError as error:
        if any(answer in str(error) for answer in _NO_BUCKET):
            raise


def _delete_unfinished(path: Path) -> None:
    """What obstore (0.12) had of a file when its process was killed: `name#1`, and so on."""
    with suppress(FileNotFoundError):  # an empty folder goes with its last file
        for unfinished in path.parent.glob(f"{escape(path.name)}#[0-9]*"):
            unfinished.unlink(missing_ok=True)


def _connect(url: str, options: Mapping[str, str], usual: Mapping[str, Any]) -> ObjectStore:
    client: dict[str, Any] = {
        **usual,
        "allow_http": True,  # whoever names such an endpoint means it
        **{name: value for name, value in options.items() if name in _OF_THE_CLIENT},
    }
    for name, value in options.items():
        if "endpoint" in name.lower() and not _is_web_address(value):
            raise ValueError(f"STORAGE_OPTIONS: {name} must be an address such as https://s3.example.com.")
    config: Any = {name: value for name, value in options.items() if name not in client}
    connect: Any = from_url  # its types depend on the URL
    try:
        store: ObjectStore = connect(url, config=config, client_options=client, retry_config=_RETRIES)
    except (BaseError, ValueError) as error:
        raise ValueError(f"STORAGE_URL or STORAGE_OPTIONS: {str(error).splitlines()[0]}") from error
    return store


def _is_web_address(value: str) -> bool:
    parts = urlsplit(value)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not set(value) & set(' <>\\^`{|}"')


def _unavailable(error: Exception) -> Unavailable:
    told, *_ = f"{type(error).__name__} {error}".split("Debug source")
    logger.warning("file storage: %s", " ".join(told.split())[:MAX_LOGGED])
    return Unavailable("The file storage cannot be reached just now. Try again in a moment.")
