"""The documentation: its links and pictures are there, and its tables say what the code says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from admin_app import cli, domains
from admin_app.config import Settings
from admin_app.events import Event

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OUTSIDE = sorted(ROOT.glob("*.md"))
"""What the site does not hold; of its own pages it looks after the links itself."""

LINK = re.compile(r"\]\(([^)\s]+)\)")
MAX_IMAGE_BYTES = 120_000


def rows(name: str, heading: str = "") -> list[list[str]]:
    """The cells of a page's tables, all of them or those below a heading."""
    text = (DOCS / name).read_text()
    if heading:
        text = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.relative_to(tmp_path).with_suffix(".md") for path in tmp_path.rglob("*.html")}
    assert pages - {Path("404.md")} == {path.relative_to(DOCS) for path in DOCS.rglob("*.md")}
    loaded = re.compile(r'<(?:script|link|img)\b[^>]*?(?:src|href)="(?:https?:)?//')
    assert [page for page in tmp_path.rglob("*.html") if loaded.search(page.read_text())] == []


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.name)
def test_links_beside_the_site_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = path.parent / name if name else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_picture_is_shown_and_small() -> None:
    shown = {Path(target).name for path in DOCS.rglob("*.md") for target in LINK.findall(path.read_text())}
    shown |= {Path(target).name for target in LINK.findall((ROOT / "README.md").read_text())}
    images = list((DOCS / "images").iterdir())
    assert {image.name for image in images} - shown == set()
    assert [image.name for image in images if image.stat().st_size > MAX_IMAGE_BYTES] == []


def test_every_setting_is_in_the_table_with_its_default() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in rows("settings.md")}
    assert set(told) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, int | float) or (isinstance(field.default, str) and field.default):
            assert told[name.upper()] == str(field.default)


def commands(command: typer.core.TyperCommand | TyperGroup, name: str) -> Iterator[tuple[str, set[str]]]:
    """Every command with its options, but for those they all have."""
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            yield from commands(inner, f"{name} {inner.name}")
        return
    options = {
        option
        for parameter in command.params
        if not getattr(parameter, "hidden", False)
        for option in parameter.opts
        if option.startswith("--")
    }
    yield name, options - {"--data-dir", "--help"}


def test_every_command_and_option_is_in_the_table() -> None:
    told = {}
    for line, *_ in rows("commands.md"):
        words = line.strip("`").split()
        name = " ".join(word for word in words if word.islower() and word[0] not in "[-")
        told[name] = set(re.findall(r"--[a-z-]+", line))
    assert told == dict(commands(get_command(cli.app), "admin-app"))


def every_event(kind: type[Event] = Event) -> Iterator[type[Event]]:
    for inner in kind.__subclasses__():
        yield from every_event(inner)
        if inner.__module__.startswith("admin_app."):
            yield inner


def test_every_event_and_task_is_in_its_table() -> None:
    told = {row[0].strip("`"): set(re.findall("`([a-z_]+)`", row[2])) for row in rows("events.md", "Events")}
    assert set(told) == {event.__name__ for event in every_event()}
    assert {name for name, tasks in told.items() if tasks} == {event.__name__ for event in domains.HANDLERS}
    queues = {row[0].strip("`"): row[2] for row in rows("events.md", "Tasks")}
    assert set(queues) == set(domains.TASKS) == set().union(*told.values())
    assert {task for task, queue in queues.items() if queue == "slow"} == domains.SLOW_TASKS
    assert {task for task, queue in queues.items() if queue == "long"} == domains.LONG_TASKS
