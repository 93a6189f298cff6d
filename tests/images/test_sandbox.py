"""Whatever happens to the child, the caller gets an answer, and nothing stays behind."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from admin_app.images import sandbox
from admin_app.images.containers import ImageRefused
from admin_app.images.sandbox import convert
from tests.crash.waiting import eventually
from tests.images.samples import encoded, noise, png, quarters

IMAGE = encoded(quarters(), "png")
SLOW = encoded(noise(3000, 2500), "webp", method=0)
"""It takes long enough to be caught at it."""


OTHERS: set[int] = set()
"""Servers that other tests of this process have started."""


def converters() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.pid not in OTHERS]


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    OTHERS.clear()
    OTHERS.update(child.pid for child in psutil.Process().children())
    yield
    assert converters() == []


Program = Callable[[str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Runs something else in the child, after it was limited and has read the image."""

    def replace(body: str) -> None:
        original = sandbox.PROGRAM
        lines = [
            "import importlib.util, os, signal, sys, time",
            f"spec = importlib.util.spec_from_file_location('conversion', {str(original)!r})",
            "conversion = importlib.util.module_from_spec(spec)",
            "spec.loader.exec_module(conversion)",
            "def convert(kind, content):",
            *(f"    {line}" for line in dedent(body).strip().splitlines()),
            "conversion.convert = convert",
            "conversion.main()",
        ]
        path = tmp_path / "program.py"
        path.write_text("\n".join(lines))
        monkeypatch.setattr(sandbox, "PROGRAM", path)

    return replace


async def refusal() -> str:
    with pytest.raises(ImageRefused) as refused:
        await convert(IMAGE)
    return refused.value.reason


async def still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (await convert(IMAGE)).width == 40


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGTERM"])
async def test_a_crash_is_a_damaged_image(
    program: Program, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    program(f"os.kill(os.getpid(), signal.{name})")
    assert await refusal() == sandbox.DAMAGED
    await still_works(monkeypatch)


async def test_a_child_killed_by_the_system_had_too_little_memory(program: Program) -> None:
    program("os.kill(os.getpid(), signal.SIGKILL)")
    assert await refusal() == sandbox.TOO_LARGE


async def test_memory_is_limited(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program("return bytearray(2_000_000_000)")
    assert await refusal() == sandbox.TOO_LARGE
    await still_works(monkeypatch)


async def test_an_image_that_needs_more_memory_than_there_may_be_is_refused(program: Program) -> None:
    """Pillow's own allocations fail, too, and in a way that is understood."""
    program("""
        from PIL import Image
        image = Image.new("RGB", (7000, 7000))
        kept = [image.copy() for _ in range(20)]
    """)
    assert await refusal() == sandbox.TOO_LARGE


async def test_an_endless_loop_is_ended(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "TIMEOUT_SECONDS", 0.5)
    program("while True: pass")
    assert await refusal() == sandbox.TOO_SLOW
    await still_works(monkeypatch)


async def test_a_child_that_sleeps_is_ended_with_all_it_has_started(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "TIMEOUT_SECONDS", 1)
    program("""
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True: time.sleep(1)
    """)
    assert await refusal() == sandbox.TOO_SLOW


async def test_computing_time_is_limited_even_without_the_caller(program: Program) -> None:
    program("""
        conversion.resource.setrlimit(conversion.resource.RLIMIT_CPU, (1, 2))
        while True: pass
    """)
    assert await refusal() == sandbox.TOO_SLOW


async def test_a_child_that_floods_its_caller_is_ended(program: Program) -> None:
    program("""
        while True: os.write(1, bytes(1 << 20))
    """)
    assert await refusal() == sandbox.TOO_LARGE


async def test_a_child_that_never_reads_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import time\nwhile True: time.sleep(1)")
    monkeypatch.setattr(sandbox, "PROGRAM", tmp_path / "program.py")
    monkeypatch.setattr(sandbox, "TIMEOUT_SECONDS", 0.5)
    with pytest.raises(ImageRefused) as refused:
        await convert(SLOW)
    assert refused.value.reason == sandbox.TOO_SLOW


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"no JSON\n",
        b"[]\n",
        b"{}\n",
        b'{"width": 1, "height": 1, "variants": [["webp", 1, 1, 400]]}\nshort',
        b'{"width": 1, "height": 1, "variants": [["webp", 1, 1]]}\n',
        b'{"width": 1, "height": 1, "variants": [["html", 1, 1, 31]]}\n<script>alert(1)</script>      ',
        b'{"width": 1, "height": 1, "variants": [["webp", 1, 1, 25]]}\n<script>alert(1)</script>',
        b'{"width": "wide", "height": 1, "variants": []}\n',
        b'{"width": 1, "height": 1, "variants": []}\n',
    ],
)
async def test_what_a_child_answers_is_not_believed(program: Program, answer: bytes) -> None:
    program(f"os.write(1, {answer!r})\nos._exit(0)")
    assert await refusal() == sandbox.DAMAGED


async def test_a_child_that_cannot_start_is_told_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sandbox, "PROGRAM", Path("/nowhere/conversion.py"))
    assert await refusal() == sandbox.DAMAGED
    assert "ended with 2" in caplog.text


async def test_the_child_can_write_no_file_and_sees_no_environment(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "a secret")
    target = tmp_path / "written"
    program(f"""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            os.write(os.open({str(target)!r}, os.O_CREAT | os.O_WRONLY), b"x")
        except OSError:
            assert "SECRET_KEY" not in os.environ
            raise MemoryError
    """)
    assert await refusal() == sandbox.TOO_LARGE
    assert target.read_bytes() == b""


async def test_a_cancelled_conversion_takes_its_child_along() -> None:
    async def has_begun() -> bool:
        return bool(converters())

    task = asyncio.create_task(convert(SLOW))
    await eventually(has_begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_child_ends_with_its_killed_parent() -> None:
    """As by `kill -9`, or when memory is short."""

    async def has_begun() -> bool:
        return bool(psutil.Process(parent.pid).children())

    script = """
        import asyncio, sys
        from admin_app.images.sandbox import convert
        asyncio.run(convert(sys.stdin.buffer.read()))
    """
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", dedent(script), stdin=PIPE, stderr=DEVNULL
    )
    assert parent.stdin is not None
    parent.stdin.write(SLOW)
    parent.stdin.close()
    await eventually(has_begun)
    children = psutil.Process(parent.pid).children()
    parent.kill()
    await parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


async def test_only_as_many_run_at_once_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    most, tasks = 0, [asyncio.create_task(convert(IMAGE)) for _ in range(8)]
    while not all(task.done() for task in tasks):
        most = max(most, len(converters()))
        await asyncio.sleep(0.002)
    assert most == 2
    assert {task.result().width for task in tasks} == {40}


def test_each_event_loop_has_its_own_turn() -> None:
    async def several() -> list[int]:
        return [converted.width for converted in await asyncio.gather(*[convert(IMAGE) for _ in range(4)])]

    for _ in range(2):
        assert asyncio.run(several()) == [40] * 4


async def test_what_is_no_image_never_reaches_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_run", None)
    for content in (b"", b"<svg/>", IMAGE[:-5], png(60_000, 60_000, b"")):
        with pytest.raises(ImageRefused):
            await convert(content)


async def test_the_loop_goes_on_meanwhile() -> None:
    task, turns = asyncio.create_task(convert(SLOW)), 0
    while not task.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 10
