"""docs/tutorial.md is done, in a copy of this checkout: its files, its edits, its commands, its tests."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from admin_app.config import Settings
from tests.test_migrations import administer

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r'^```(python|diff) title="([^"]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
DATABASE = "test_tutorial"
CHECKED = (
    "admin_app/domains/categories",
    "admin_app/admin/site.py",
    "tests/domains/categories",
    "tests/test_permissions.py",
)
TESTS = (
    "tests/domains/categories",
    "tests/test_architecture.py",
    "tests/test_migrations.py::test_models_equal_migrations",
    "tests/test_permissions.py",
)
CONCERNED = "categor or activity or know_each_other or equal or every_line and administrator"
"""Of those tests, the ones the new model is in."""


def edit(text: str, hunk: str) -> str:
    """The text with one hunk of a diff done to it, whose lines must stand there once."""
    lines = hunk.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"the tutorial edits what is not there once:\n{before}"
    return text.replace(before, after)


def follow(tutorial: str, root: Path) -> None:
    """Make the files of the tutorial, and its edits."""
    for kind, name, body in BLOCK.findall(tutorial):
        path = root / name
        if kind == "python":
            assert not path.exists(), f"the tutorial makes {name}, which is there"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body)
        else:
            text = path.read_text()
            for hunk in body.split("@@\n"):
                text = edit(text, hunk)
            path.write_text(text)


@pytest.fixture
def empty_database(settings: Settings) -> Iterator[str]:
    administer(
        settings.database_url, f"DROP DATABASE IF EXISTS {DATABASE} (FORCE)", f"CREATE DATABASE {DATABASE}"
    )
    yield make_url(settings.database_url).set(database=DATABASE).render_as_string(hide_password=False)
    administer(settings.database_url, f"DROP DATABASE {DATABASE} (FORCE)")


def test_the_tutorial_is_true(tmp_path: Path, settings: Settings, empty_database: str) -> None:
    kept = shutil.ignore_patterns("__pycache__")
    for name in ("admin_app", "tests", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=kept)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    follow(TUTORIAL.read_text(), tmp_path)
    _leave_only_what_is_new(tmp_path / "docs" / "permissions.md")
    environment = {
        **os.environ,
        "DATABASE_URL": empty_database,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
    }

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run("admin_app.migrations", "add categories")
    run("ruff", "format", "--quiet", "admin_app/migrations")
    run("ruff", "check", "--quiet", "--fix", "admin_app/migrations")
    run("ruff", "format", "--check", *CHECKED)
    run("ruff", "check", *CHECKED)
    run("admin_app", "migrate")
    run("pytest", *TESTS, "-q", "-p", "no:cacheprovider", "-k", CONCERNED)


def _leave_only_what_is_new(table: Path) -> None:
    """The other lines are true without the tutorial, and walking them takes a minute."""
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if "| `/" not in line or "/admin/category/" in line))
