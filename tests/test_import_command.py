"""`admin-app import` as a person meets it: what it says, its exit codes, and what is left when stopped."""

import csv
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from admin_app import migrations
from admin_app.config import ConfigurationError, Settings
from admin_app.database import Database
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserCreate
from admin_app.domains.users.service import UserService
from admin_app.import_command import Order, run
from tests.conftest import Cast

HEADER = "name,description,price,is_active,owner_email"
ALICE = "alice@demo.example"
Capture = pytest.CaptureFixture[str]


def write(directory: Path, *lines: str, header: str = HEADER, name: str = "products.csv") -> Path:
    path = directory / name
    path.write_text("".join(f"{line}\n" for line in (header, *lines)))
    return path


def rows(settings: Settings, query: str) -> list[Any]:
    return migrations.on_connection(
        settings.database_url, lambda connection: [*connection.execute(text(query)).all()]
    )


def scalar(settings: Settings, query: str) -> Any:
    [[found]] = rows(settings, query)
    return found


def environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "DATA_DIR": str(settings.data_dir),
    }


@pytest.fixture
def installed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The installation a command finds by its environment."""
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


SMALL = """
import os, signal, sys
from admin_app.bulk import items
from admin_app.bulk.runner import BulkRunner
from admin_app.cli import app

name, conclude, calls = sys.argv.pop(), items.conclude, 0
BulkRunner.__init__.__kwdefaults__["chunk"] = 100

async def strike(*arguments):
    global calls
    await conclude(*arguments)
    calls += 1
    if calls == 2:
        os.kill(os.getpid(), signal.Signals[name])

if name != "nothing":
    items.conclude = strike
app(prog_name="admin-app")
"""
"""The command with chunks of 100 rows, hit by the signal named last before it commits its second one."""


def command(*arguments: str | Path, strike: str = "") -> list[str]:
    program = ["-c", SMALL] if strike else ["-m", "admin_app"]
    return [sys.executable, *program, "import", *map(str, arguments), *([strike] if strike else [])]


def admin_app(
    settings: Settings, *arguments: str | Path, strike: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, strike=strike),
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_says_what_it_created_and_refused_and_twice_changes_nothing(
    installed: Settings, database: Database, cast: Cast, tmp_path: Path, capsys: Capture
) -> None:
    lines = [f"Vase,,1,true,{ALICE}", f"Bowl,,12.345,true,{ALICE}", f"Vase,,1,true,{ALICE}"]
    path, report = write(tmp_path, *lines), tmp_path / "report.csv"
    first = admin_app(installed, "products", path, "--report", report)
    operation, number = rows(installed, "SELECT id, number FROM bulk_operation")[0]
    assert (first.returncode, first.stderr) == (1, "")
    refused = "line 3: price: Use at most 2 decimals."
    assert first.stdout.splitlines() == [
        refused,
        "3 rows: 2 to create, 0 to change, 0 unchanged, 1 refused.",
        f"Import #{scalar(installed, 'SELECT number FROM import')} is done: 2 created, 0 changed.",
        f"To take it back, undo operation #{number}: /admin/operation/details/{operation}",
    ]
    one, two = [row.id for row in rows(installed, "SELECT id FROM products ORDER BY id")]
    with report.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["line", "verdict", "reason", "row_id"],
            ["2", "create", "", str(one)],
            ["3", "refused", "price: Use at most 2 decimals.", ""],
            ["4", "create", "", str(two)],
        ]
    entries = "SELECT DISTINCT source, actor_label FROM audit_entry WHERE kind = 'product'"
    assert rows(installed, entries) == [("import", "system")]
    assert run(Order("product", path), None) == 1
    assert capsys.readouterr().out.splitlines() == [
        refused,
        "3 rows: 0 to create, 0 to change, 2 unchanged, 1 refused.",
    ]
    assert scalar(installed, "SELECT count(*) FROM products WHERE version = 1") == 2


def test_what_cannot_be_done_is_said_before_anything_is_written(
    installed: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    good = write(tmp_path, f"Vase,,1,true,{ALICE}")
    content = good.read_bytes()
    picture = tmp_path / "picture.csv"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    ownerless = write(tmp_path, "Vase,1", header="name,price", name="ownerless.csv")
    for order, sentence in (
        (Order("product", tmp_path / "missing.csv"), "There is no file "),
        (Order("product", tmp_path), "cannot be read .Is a directory."),
        (Order("product", picture), "This is a picture."),
        (Order("product", good, is_dry_run=True, creates_owners=True), "use one of them"),
        (Order("product", good, report=good), "--report names the file to be imported."),
        (Order("product", good, report=tmp_path / "no" / "report.csv"), "No such file or directory"),
        (Order("product", good, encoding="klingon"), "Choose one of these encodings"),
        (Order("product", good, columns=["Size=name"]), "Size: The file has no such column."),
        (Order("product", good, columns=["name"]), "--map name: write the name of a column"),
        (Order("product", good, columns=["name=colour"]), "a field that does not exist"),
        (Order("product", good, columns=["name="]), "Say which column is Name"),
        (Order("product", good, key="email"), "--key is one of: id, external_id, none."),
        (Order("product", good, key="id"), "Say which column is Id"),
        (Order("product", ownerless), "Say whose the products are"),
        (Order("product", good, email="who@demo.example"), "Nobody with the e-mail who@demo.example"),
        (Order("product", good, email="sam@demo.example"), "Your role does not allow this."),
        (Order("user", good, email=ALICE), "Your role does not allow this."),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            run(order, None)
    assert good.read_bytes() == content
    assert scalar(installed, "SELECT count(*) FROM products") == 0
    assert scalar(installed, "SELECT count(*) FROM import WHERE state <> 'discarded'") == 0
    refused = admin_app(installed, "products", picture)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("admin-app: This is a picture.")
    assert refused.stderr.count("\n") == 1


def test_columns_key_owner_and_layout_are_as_the_command_says(
    installed: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    path = tmp_path / "goods.csv"
    path.write_bytes("Article;Cost;Nr\nCafé;1.50;7\n".encode("utf-16"))
    given = {"columns": ["Article=name", "Cost=price", "Nr=external_id"], "owner": ALICE}
    assert run(Order("product", path, **given, is_dry_run=True), None) == 0
    assert scalar(installed, "SELECT count(*) FROM products") == 0
    assert run(Order("product", path, **given), None) == 0
    query = "SELECT name, price, external_id, owner_id FROM products"
    [found] = rows(installed, query)
    assert (found.name, str(found.price), found.external_id) == ("Café", "1.50", "7")
    assert found.owner_id == cast.alice.id

    path.write_bytes("Article|Cost|Nr\nCaf\xe9 Noir|2|7\n".encode("cp1252"))
    # Bob may not change what is Alice's, and the installation may.
    assert run(Order("product", path, **given | {"owner": None}, email="bob@demo.example"), None) == 1
    given |= {"encoding": "cp1252", "delimiter": "|"}
    assert run(Order("product", path, **given), None) == 0
    [found] = rows(installed, query)
    assert (found.name, str(found.price)) == ("Café Noir", "2.00")


def test_unknown_owners_become_administrators_nobody_can_sign_in_as(
    installed: Settings, database: Database, cast: Cast, tmp_path: Path, capsys: Capture
) -> None:
    path = write(
        tmp_path,
        "Vase,,1,true,elis.regina@shop.example",
        "Bowl,,1,true,Elis.Regina@SHOP.example",
        "Plate,,0,true,refused.row@shop.example",
    )
    assert run(Order("product", path), None) == 1
    assert "line 2: owner_email: Nobody has the e-mail elis.regina@shop.example." in capsys.readouterr().out
    assert run(Order("product", path, creates_owners=True), None) == 1
    assert "1 account created for owners." in capsys.readouterr().out
    [owner] = rows(installed, "SELECT * FROM users WHERE email LIKE '%@shop.example'")
    assert (owner.name, owner.role, owner.is_active) == ("Elis Regina", "administrator", True)
    assert owner.password_hash == "!"
    assert scalar(installed, "SELECT count(*) FROM products") == 2
    path = write(tmp_path, "7,Jug,no.price@shop.example", header="external_id,name,owner_email")
    assert run(Order("product", path, creates_owners=True), None) == 1
    assert "line 2: price: This field is required." in capsys.readouterr().out
    assert scalar(installed, "SELECT count(*) FROM users WHERE email LIKE '%@shop.example'") == 1


def test_stopped_before_anything_was_imported_it_tells_of_the_accounts_it_made(
    installed: Settings,
    database: Database,
    cast: Cast,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = UserService.create

    async def create_and_stop(service: UserService, data: UserCreate) -> User:
        made = await create(service, data)
        os.kill(os.getpid(), signal.SIGINT)
        return made

    monkeypatch.setattr(UserService, "create", create_and_stop)
    path = write(tmp_path, "Vase,,1,true,elis.regina@shop.example")
    assert run(Order("product", path, creates_owners=True), None) == 128 + signal.SIGINT
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "Stopped. Nothing was imported but 1 account created for owners."
    assert scalar(installed, "SELECT count(*) FROM users WHERE email LIKE '%@shop.example'") == 1
    assert scalar(installed, "SELECT count(*) FROM products") == 0


def test_a_file_does_not_steer_the_terminal(
    installed: Settings, database: Database, cast: Cast, tmp_path: Path, capsys: Capture
) -> None:
    lines = [f"Vase {number},1,{ALICE}," for number in range(20)]
    lines[0] += "https://\x1b[2J\x07"
    path = write(tmp_path, *lines, header="name,price,owner_email,images")
    assert run(Order("product", path), None) == 1
    assert "line 2: images: https://\ufffd[2J\ufffd: " in capsys.readouterr().out
    assert not scalar(installed, "SELECT bool_or(reason ~ '[[:cntrl:]]') FROM import_row")


def test_accounts_come_from_a_file_too(
    installed: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        "nora@demo.example,Nora,support",
        "ALICE@demo.example,Alice B,Administrator",
        header="E-mail,Name,Role",
    )
    assert run(Order("user", path, email="root@demo.example"), None) == 0
    found = rows(installed, "SELECT name, role FROM users WHERE email ~ 'nora|alice' ORDER BY name")
    assert found == [("Alice B", "administrator"), ("Nora", "support")]


@pytest.mark.crash
def test_killed_midway_it_is_completed_by_running_it_again(
    installed: Settings, database: Database, cast: Cast, tmp_path: Path, capsys: Capture
) -> None:
    path = write(tmp_path, *(f"Record {number // 2},,1,true,{ALICE}" for number in range(250)))
    killed = admin_app(installed, "products", path, strike="SIGKILL")
    assert killed.returncode == -signal.SIGKILL
    assert scalar(installed, "SELECT count(*) FROM products") == 100
    assert run(Order("product", path), None) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.endswith("of products.csv goes first: it is not finished.")
    assert last == "250 rows: 0 to create, 0 to change, 250 unchanged, 0 refused."
    assert scalar(installed, "SELECT count(*) FROM products") == 250
    assert scalar(installed, "SELECT count(*) FROM audit_entry WHERE action = 'created'") == 250 + 4


@pytest.mark.crash
def test_interrupted_it_ends_its_chunk_and_says_how_far_it_came(
    settings: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    path = write(tmp_path, *(f"Record {number},,1,true,{ALICE}" for number in range(250)))
    stopped = admin_app(settings, "products", path, strike="SIGINT")
    assert (stopped.returncode, stopped.stderr) == (128 + signal.SIGINT, "")
    _, ended, advice, undo = stopped.stdout.splitlines()
    assert ended.endswith("is not finished: 200 created, 0 changed.")
    assert advice == "Run the same command again for the rest."
    assert undo.startswith("To take it back, undo operation #")
    assert scalar(settings, "SELECT state FROM bulk_operation") == "cancelled"
    assert scalar(settings, "SELECT count(*) FROM products") == 200


@pytest.mark.crash
def test_two_at_once_take_turns(settings: Settings, database: Database, cast: Cast, tmp_path: Path) -> None:
    path = write(tmp_path, *(f"Record {number // 2},,1,true,{ALICE}" for number in range(250)))
    both = [
        subprocess.Popen(
            command("products", path, strike="nothing"), env=environment(settings), stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    told = sorted(process.communicate(timeout=120)[0].decode() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert "250 rows: 0 to create, 0 to change, 250 unchanged" in told[0] + told[1]
    assert scalar(settings, "SELECT count(*) FROM products") == 250


def on_a_terminal(command: list[str], environs: dict[str, str]) -> tuple[int, str]:
    """The exit code, and what was shown."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, env={**environs, "TERM": "xterm"}, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = bytearray()
        try:
            while some := os.read(ours, 65536):
                shown += some
        except OSError:  # what Linux says when the other end of a terminal is closed
            pass
        finally:
            os.close(ours)
    return process.returncode, shown.decode()


def test_on_a_terminal_there_is_a_progress_bar(
    settings: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    path = write(tmp_path, *(f"Record {number},,1,true,{ALICE}" for number in range(250)))
    code, shown = on_a_terminal(command("products", path, strike="nothing"), environment(settings))
    assert code == 0
    assert "Importing" in shown
    assert "100%" in shown
    assert "250 rows: 250 to create" in shown
