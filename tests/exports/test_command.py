"""`admin-app export`: a whole file or none, exit codes, and what the history says."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import select, text

from admin_app.audit import AuditEntry
from admin_app.config import Settings
from admin_app.database import Database
from tests.conftest import Cast, MakeProduct
from tests.exports.asking import cells
from tests.exports.test_streaming import FILL
from tests.test_cli import run


async def test_a_list_becomes_a_file(
    settings: Settings, database: Database, cast: Cast, make_product: MakeProduct, tmp_path: Path
) -> None:
    for name in ("Teapot", "=Tea", "Kettle"):
        await make_product(cast.alice, name=name)
    place = {
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": "c" * 32,
        "DATA_DIR": str(tmp_path / "data"),
    }
    file = tmp_path / "tea.csv"
    query = "search=tea&sortBy=name&sort=desc"
    done = run("export", "product", str(file), "--query", query, "--columns", "name,owner", **place)
    assert (done.returncode, done.stderr) == (0, "2 rows written.\n")
    assert cells(file.read_bytes()) == [["Teapot", cast.alice.label], ["'=Tea", cast.alice.label]]
    async with database.reading() as session:
        [entry] = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "exported"))).all()
    assert (entry.actor_label, entry.source, entry.note) == ("system", "system", "2 rows as CSV: “tea”")
    piped = run("export", "product", "--format", "jsonl", "--columns", "name", "--query", query, **place)
    assert piped.stdout == '{"name":"Teapot"}\n{"name":"=Tea"}\n'
    for wrong in (
        ["nothing"],
        ["product", "--columns", "search_text"],
        ["product", "--query", "colour=red"],
        ["product", str(tmp_path / "no" / "folder.csv")],
        ["product", "--format", "pdf"],
        ["product", str(tmp_path)],
    ):
        refused = run("export", *wrong, **place)
        assert (refused.returncode, refused.stdout) == (2, ""), wrong
        assert refused.stderr.startswith("admin-app: ")


async def test_one_that_is_stopped_leaves_no_file(
    settings: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    async with database.transaction() as session:
        await session.execute(FILL, {"owner": cast.alice.id, "products": 6_000})
        # Nobody reads products before this transaction ends.
        await session.execute(text("LOCK TABLE products IN ACCESS EXCLUSIVE MODE"))
        folder = tmp_path / "files"
        folder.mkdir()
        returncode, told = await asyncio.to_thread(_stopped, settings, tmp_path, folder)
    assert (returncode, told) == (143, "Stopped.\n")
    assert list(folder.iterdir()) == []


def _stopped(settings: Settings, data_dir: Path, folder: Path) -> tuple[int, str]:
    """Once it has begun to write."""
    with subprocess.Popen(
        [sys.executable, "-m", "admin_app", "export", "product", str(folder / "all.csv")],
        env={"DATABASE_URL": settings.database_url, "SECRET_KEY": "c" * 32, "DATA_DIR": str(data_dir)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        while not list(folder.glob(".all.csv.*.unfinished")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        try:
            _, told = process.communicate(timeout=30)
        finally:
            process.kill()
        return process.returncode, told
