"""What pictures cost: one through the sandbox against a bare script, and a hundred through two workers."""

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

import psutil
from PIL import Image
from rich.table import Table
from sqlalchemy import func, select

from admin_app import migrations
from admin_app.actor import Actor
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import open_database
from admin_app.domains.products.image_service import ProductImageService
from admin_app.domains.products.models import ImageState, ProductImage
from admin_app.embedded import embedded_servers
from admin_app.images import sandbox
from admin_app.storage import storage_of

SIZE = (4000, 3000)
ROUNDS = 15
MAX_RATIO = 1.5
MANY = 100
"""Photographs waiting in the storage when two workers start."""

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
    """From the first that is ready to the last."""
    busy: float = 0
    """Cores the workers and their converters kept busy meanwhile, on average."""

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
    with (
        TemporaryDirectory(prefix="admin-app-") as data_dir,
        embedded_servers(Settings(data_dir=Path(data_dir), _env_file=None)) as settings,
    ):
        migrations.upgrade(settings.database_url)
        found.many_seconds, found.busy = asyncio.run(_work_off(settings, content))
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
        f"{MANY} of them, by two workers",
        f"{found.many_seconds:.1f} s, {found.busy:.1f} of {os.cpu_count()} cores busy with them",
    )
    return shown


def missed(found: Images) -> int:
    return found.ratio > MAX_RATIO


async def _work_off(settings: Settings, content: bytes) -> tuple[float, float]:
    """Seconds, and cores that were busy."""
    database = open_database(settings)
    actor = Actor.system()
    for _ in range(MANY):
        async with database.transaction() as session:
            image = await ProductImageService(session, actor).begin(None)
            await storage_of(database).put(image.original, content, "application/octet-stream")
            await ProductImageService(session, actor).arrived(image.id)
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "DATA_DIR": str(settings.data_dir),
        "LOG_LEVEL": "ERROR",
    }
    commands = ("worker", "worker", "relay")
    processes = [
        psutil.Popen([sys.executable, "-m", "admin_app", command], env=environment) for command in commands
    ]
    try:
        await _ready(database, 1)
        started, worked = time.perf_counter(), sum(map(_worked, processes))
        await _ready(database, MANY)
        seconds = time.perf_counter() - started
        return seconds, (sum(map(_worked, processes)) - worked) / seconds
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        await database.close()


async def _ready(database: Database, number: int) -> None:
    ready = select(func.count()).where(ProductImage.state == ImageState.READY)
    while True:
        async with database.reading() as session:
            if (await session.scalar(ready) or 0) >= number:
                return
        await asyncio.sleep(0.1)


def _worked(process: psutil.Popen) -> float:
    """Seconds of processor time, those of converters that have ended included."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


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
