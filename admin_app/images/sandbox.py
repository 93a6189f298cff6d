"""Converts images in a child process each, which may take only so much memory and time.

Decoders of images are large and written in C. Whatever one of them does with a hostile file, it does to a
process that holds nothing else, and that is gone afterwards.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from admin_app.images.containers import DAMAGED, ImageRefused, look_at

TIMEOUT_SECONDS = 30
END_SECONDS = 5
MAX_RESULT_BYTES = 32 * 1024 * 1024
PROGRAM = Path(__file__).with_name("conversion.py")

TOO_SLOW = "This image cannot be converted: it takes too much time. Send a smaller one."
TOO_LARGE = "This image cannot be converted: it takes too much memory. Send a smaller one."
TOO_MANY_PIXELS = "This image cannot be converted: it has too many pixels. Send a smaller one."
_REASONS = {"memory": TOO_LARGE, "pixels": TOO_MANY_PIXELS}

_logger = logging.getLogger(__name__)
_at_once: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@dataclass(frozen=True)
class Variant:
    """`format` is "webp" or "jpeg"."""

    format: str
    width: int
    height: int
    content: bytes


@dataclass(frozen=True)
class Converted:
    """Width and height are the original's, upright. Each size comes in each format, the smallest first."""

    width: int
    height: int
    variants: Sequence[Variant]


async def convert(content: bytes) -> Converted:
    """Raises ImageRefused. As many at once as there are cores; more wait."""
    kind = await asyncio.to_thread(look_at, content)
    loop = asyncio.get_running_loop()
    async with _at_once.setdefault(loop, asyncio.Semaphore(os.cpu_count() or 1)):
        result, code = await _run(kind, content)
    return await asyncio.to_thread(_read, result, code)


async def _run(kind: str, content: bytes) -> tuple[bytes, int]:
    """What the child wrote, and how it ended."""
    # By its path: it imports nothing of ours, whatever may be importable. -I: nor what lies in some folder.
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(PROGRAM), kind, str(len(content))),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            _, result = await asyncio.gather(_write(child, content), _read_all(child))
            return result, await child.wait()
    except TimeoutError:
        raise ImageRefused(TOO_SLOW) from None
    finally:
        await asyncio.shield(_end(child))


async def _write(child: Process, content: bytes) -> None:
    """Leaves the pipe open: that it closes is how the child learns that this process has died."""
    assert child.stdin is not None
    try:
        child.stdin.write(content)
        await child.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # it has ended; how, it says itself


async def _read_all(child: Process) -> bytes:
    assert child.stdout is not None
    chunks, size = [], 0
    while chunk := await child.stdout.read(1 << 20):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_RESULT_BYTES:
            raise ImageRefused(TOO_LARGE)
    return b"".join(chunks)


async def _end(child: Process) -> None:
    """Also whatever it may have started; and nothing of it stays behind as a zombie."""
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.stdin.close()
    # asyncio sees its end only after that of its output, which somebody who left the group may still hold.
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            while await child.stdout.read(1 << 20):
                pass
            await child.wait()


def _read(result: bytes, code: int) -> Converted:
    """A line of JSON, and then the images it lists, one after the other.

    Not believed: somebody else's file may have had its way in there.
    """
    if code == -signal.SIGXCPU:
        raise ImageRefused(TOO_SLOW)
    if code == -signal.SIGKILL:  # the kernel's, when memory is short or the limit of time is passed for good
        raise ImageRefused(TOO_LARGE)
    if code != 0:
        _logger.error("The converter of images ended with %s.", code)
        raise ImageRefused(DAMAGED)
    head, _, rest = result.partition(b"\n")
    try:
        found = json.loads(head)
        if refused := found.get("refused"):
            raise ImageRefused(_REASONS.get(refused, DAMAGED))
        variants, at = [], 0
        for kind, width, height, size in found["variants"]:
            variants.append(Variant(str(kind), int(width), int(height), rest[at : at + size]))
            at += size
        converted = Converted(int(found["width"]), int(found["height"]), variants)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ImageRefused(DAMAGED) from error
    if not variants or any(not _is_what_it_says(variant) for variant in variants):
        raise ImageRefused(DAMAGED)
    return converted


def _is_what_it_says(variant: Variant) -> bool:
    try:
        return look_at(variant.content) == variant.format
    except ImageRefused:
        return False
