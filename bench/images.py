"""What the sandbox costs: a photograph through it, against a bare script of the same Pillow calls."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from rich.table import Table

from admin_app.images import sandbox

SIZE = (4000, 3000)
ROUNDS = 15
MAX_RATIO = 1.5
MANY = 24
"""Photographs, converted by as many at once as there are cores."""

BARE = """
import sys
from io import BytesIO
from PIL import Image, ImageOps

image = Image.open(sys.argv[1])
image.draft(None, (1200, 900))
picture = ImageOps.exif_transpose(image.resize((1200, 900), Image.Resampling.LANCZOS, reducing_gap=3.0))
for size in ((1200, 900), (480, 360), (96, 72)):
    picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    picture.save(BytesIO(), "WEBP", quality=80, method=4)
    picture.save(BytesIO(), "JPEG", quality=82, optimize=True, progressive=True)
"""


@dataclass
class Images:
    """Milliseconds of each, and megabytes of the file."""

    sandboxed: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    megabytes: float = 0
    many_seconds: float = 0
    busy: float = 0
    """Cores that worked on the many, on average."""

    @property
    def ratio(self) -> float:
        return statistics.median(self.sandboxed) / statistics.median(self.bare)


def measure(rounds: int = ROUNDS) -> Images:
    """Both in turn, each time a new process of its own."""
    content = _photograph()
    found = Images(megabytes=len(content) / 1e6)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photograph.jpg"
        path.write_bytes(content)
        command = [sys.executable, "-I", "-c", BARE, str(path)]
        for turn in range(1 + rounds):
            sandboxed = _milliseconds(lambda: asyncio.run(sandbox.convert(content)))
            bare = _milliseconds(lambda: subprocess.run(command, check=True))
            if turn:
                found.sandboxed.append(sandboxed)
                found.bare.append(bare)
    before = os.times()
    found.many_seconds = _milliseconds(lambda: asyncio.run(_convert_many(content))) / 1000
    after = os.times()
    worked = after.children_user + after.children_system - before.children_user - before.children_system
    found.busy = worked / found.many_seconds
    return found


def table(found: Images) -> Table:
    shown = Table(
        title=f"A photograph of 12 megapixels ({found.megabytes:.1f} MB) to all its sizes",
        title_justify="left",
        show_header=False,
    )
    ratio = f"{found.ratio:.2f} times"
    shown.add_row("in the sandbox", f"{statistics.median(found.sandboxed):,.0f} ms")
    shown.add_row("by a bare script", f"{statistics.median(found.bare):,.0f} ms")
    shown.add_row("so the sandbox takes", f"[bold red]! {ratio}[/]" if missed(found) else ratio)
    shown.add_row(
        f"{MANY} of them at once",
        f"{found.many_seconds:.1f} s, {found.busy:.1f} of {os.cpu_count()} cores busy with them",
    )
    return shown


def missed(found: Images) -> int:
    return found.ratio > MAX_RATIO


async def _convert_many(content: bytes) -> None:
    await asyncio.gather(*(sandbox.convert(content) for _ in range(MANY)))


def _milliseconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return (time.perf_counter() - started) * 1000


def _photograph() -> bytes:
    """Noise, smoothed until it compresses as badly as a photograph: about 3 bits a pixel."""
    bands = [Image.effect_noise((SIZE[0] // 5, SIZE[1] // 5), 80) for _ in range(3)]
    written = BytesIO()
    picture = Image.merge("RGB", bands).resize(SIZE, Image.Resampling.BICUBIC)
    picture.save(written, "JPEG", quality=90)
    return written.getvalue()
