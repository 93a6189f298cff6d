"""The import of products: what is accepted, what is refused and why, and what a second run does."""

import asyncio
import csv
import os
import pty
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select, text

from admin_app.actor import Actor, Role
from admin_app.audit import AuditEntry
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products import importing
from admin_app.domains.products.importing import (
    ALREADY_THERE,
    DIFFERS,
    Draft,
    Outcome,
    ProductImport,
    Row,
    Verdict,
    chunks,
    name_from,
    open_products,
    read_row,
)
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import InvalidInput
from admin_app.security.passwords import UNUSABLE
from tests.admin.rows import every
from tests.conftest import Cast, MakeProduct, count

HEADER = "name,description,price,is_active,owner_email"
ALICE = "alice@demo.example"


def write(directory: Path, *lines: str, header: str = HEADER, newline: str = "\n") -> Path:
    path = directory / "products.csv"
    path.write_bytes("".join(line + newline for line in (header, *lines)).encode())
    return path


def read(path: Path) -> list[Draft | Outcome]:
    """The rows as read, before anything is looked up."""
    with open_products(path) as products:
        return [read_row(row) for row in products]


async def load(database: Database, path: Path, *, create_owners: bool = False) -> list[Outcome]:
    task = ProductImport(database, create_owners=create_owners)
    with open_products(path) as products:
        return [outcome for chunk in chunks(products) for outcome in await task.take(chunk)]


def verdicts(outcomes: list[Outcome]) -> Counter[Verdict]:
    return Counter(outcome.verdict for outcome in outcomes)


async def products_of(database: Database) -> list[Product]:
    async with database.reading() as session:
        return list(await session.scalars(select(Product).order_by(Product.id)))


async def test_good_rows_become_products_of_their_owners(
    database: Database, cast: Cast, tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        f"Café Noir,“Dark”; & 100 % real,12.5,true,{ALICE}",
        '"Say ""Hi"", twice","Two\nlines",3,no,BOB@demo.example',
    )
    outcomes = await load(database, path)
    first, second = await products_of(database)
    assert (first.name, first.description, str(first.price), first.is_active, first.owner_id) == (
        "Café Noir",
        "“Dark”; & 100 % real",
        "12.50",
        True,
        cast.alice.id,
    )
    assert (second.name, second.description, second.is_active, second.owner_id) == (
        'Say "Hi", twice',
        "Two\nlines",
        False,
        cast.bob.id,
    )
    assert outcomes == [
        Outcome(2, Verdict.CREATED, product_id=first.id),
        Outcome(3, Verdict.CREATED, product_id=second.id),
    ]


async def test_an_import_is_written_down_like_any_change(
    database: Database, cast: Cast, tmp_path: Path
) -> None:
    path = write(tmp_path, *(f"Record {number},,1,true,{ALICE}" for number in range(501)))
    await load(database, path)
    async with database.reading() as session:
        entries = await session.execute(
            text("SELECT source, action, count(*) FROM audit_entry WHERE kind = 'product' GROUP BY 1, 2")
        )
        assert entries.all() == [("import", "created", 501)]
        events = await session.scalars(
            text("SELECT jsonb_array_length(payload->'product_ids') FROM event WHERE name = 'ProductCreated'")
        )
        assert sorted(events) == [1, 500]


async def test_description_and_state_may_be_left_out_and_columns_come_in_any_order(
    database: Database, cast: Cast, tmp_path: Path
) -> None:
    path = write(tmp_path, f"{ALICE},9.99,Vase", header="Owner_Email,price, name ")
    await load(database, path)
    [vase] = await products_of(database)
    assert (vase.name, vase.description, vase.is_active) == ("Vase", "", True)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_usual_kind_of_csv_is_read(tmp_path: Path, delimiter: str, start: bytes, newline: str) -> None:
    path = write(
        tmp_path,
        delimiter.join(['"One, two; three"', "1.50", ALICE]),
        delimiter.join(["Vase", "free", ALICE]),
        header=delimiter.join(["name", "price", "owner_email"]),
        newline=newline,
    )
    path.write_bytes(start + path.read_bytes())
    good, bad = read(path)
    assert isinstance(good, Draft)
    assert (good.line, good.data.name, str(good.data.price), good.email) == (
        2,
        "One, two; three",
        "1.50",
        ALICE,
    )
    assert bad == Outcome(3, Verdict.REFUSED, "price: Enter a number such as 12.50.")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f",,1,true,{ALICE}", "name: This field is required."),
        (f"  ,,1,true,{ALICE}", "name: This field is required."),
        (f"{'x' * 300},,1,true,{ALICE}", "name: Use at most 255 characters."),
        (f"Va\0se,,1,true,{ALICE}", "name: This text contains control characters."),
        (f"Vase,a\0b,1,true,{ALICE}", "description: This text contains control characters."),
        (f"Vase,{'x' * 20_001},1,true,{ALICE}", "description: Use at most 20000 characters."),
        (f"Vase,,0,true,{ALICE}", "price: Enter a number greater than 0."),
        (f"Vase,,-1,true,{ALICE}", "price: Enter a number greater than 0."),
        (f"Vase,,NaN,true,{ALICE}", "price: Enter a finite number such as 12.50."),
        (f"Vase,,Infinity,true,{ALICE}", "price: Enter a finite number such as 12.50."),
        (f"Vase,,12.345,true,{ALICE}", "price: Use at most 2 decimals."),
        (f'Vase,,"12,50",true,{ALICE}', "price: Use a point for decimals and no comma, such as 1250.50."),
        (f"Vase,,,true,{ALICE}", "price: Enter a number such as 12.50."),
        (f"Vase,,1e9,true,{ALICE}", "price: Enter a number below 100000000."),
        (f"Vase,,1,maybe,{ALICE}", "is_active: Choose yes or no."),
        (f"Vase,,1,,{ALICE}", "is_active: Choose yes or no."),
        ("Vase,,1,true,", "owner_email: An email address must have an @-sign."),
        ("Vase,,1,true,alice@", "owner_email: There must be something after the @-sign."),
        (f"Vase,,1,{ALICE}", "The row has 4 cells, the header has 5."),
        (f"Vase,,1,true,{ALICE},", "The row has 6 cells, the header has 5."),
        (f'Vase,,1,true,"{ALICE}" x', "The quotation marks of this row do not pair up."),
        (f"Vase,{'x' * 200_000},1,true,{ALICE}", "A cell is far too long"),
        (f"Vase,{'x' * 3_000_000},1,true,{ALICE}", "A cell is far too long"),
        (f",,0,true,{ALICE}", "name: This field is required. price: Enter a number greater than 0."),
    ],
)
def test_a_bad_row_is_refused_with_line_and_reason(tmp_path: Path, row: str, reason: str) -> None:
    path = write(tmp_path, f"Before,,1,true,{ALICE}", row, f"After,,2,true,{ALICE}")
    before, refused, after = read(path)
    assert isinstance(refused, Outcome)
    assert (refused.line, refused.verdict) == (3, Verdict.REFUSED)
    assert refused.reason.startswith(reason)
    assert [(type(each), each.line) for each in (before, after)] == [(Draft, 2), (Draft, 4)]


async def test_the_good_rows_between_bad_ones_are_in(database: Database, cast: Cast, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f"Before,,1,true,{ALICE}",
        f",,1,true,{ALICE}",
        f"Vase,,NaN,true,{ALICE}",
        f"Between,,1,true,{ALICE}",
        f"{'x' * 300},,1,true,{ALICE}",
        "Vase,,1,true,who@demo.example",
        "Vase,,1,true,sam@demo.example",
        f"Vase,,1,true,{ALICE},",
        f"After,,1,true,{ALICE}",
    )
    outcomes = await load(database, path)
    assert [product.name for product in await products_of(database)] == ["Before", "Between", "After"]
    assert [(each.line, each.reason) for each in outcomes if each.verdict is Verdict.REFUSED] == [
        (3, "name: This field is required."),
        (4, "price: Enter a finite number such as 12.50."),
        (6, "name: Use at most 255 characters."),
        (7, "owner_email: Nobody has the e-mail who@demo.example. --create-owners makes an account."),
        (8, "owner_email: sam@demo.example has the role support and cannot own products."),
        (9, "The row has 6 cells, the header has 5."),
    ]


@pytest.mark.parametrize("wrong", [b"\xff", b"\xed\xa0\x80", b"caf\xe9", b"\xc0\xaf"])
def test_a_row_that_is_not_utf_8_is_refused_alone(tmp_path: Path, wrong: bytes) -> None:
    path = write(tmp_path, f"WRONG,,1,true,{ALICE}", f"Right,,1,true,{ALICE}")
    path.write_bytes(path.read_bytes().replace(b"WRONG", wrong))
    refused, right = read(path)
    assert refused == Outcome(2, Verdict.REFUSED, f"name: {importing.NOT_UTF8}")
    assert isinstance(right, Draft)


def test_the_line_is_the_physical_one_where_the_row_starts(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f'A,"one\ntwo\r\nthree",1,true,{ALICE}',  # lines 2 to 4
        "",
        f'B,"one\ntwo",0,true,{ALICE}',  # lines 6 and 7
        f"C,,0,true,{ALICE}",
        f'D,"one\ntwo",0,true,{ALICE},extra',  # lines 9 and 10
    )
    rows = read(path)
    assert [row.line for row in rows] == [2, 6, 8, 9]
    assert rows[3] == Outcome(
        9,
        Verdict.REFUSED,
        "The row has 6 cells, the header has 5. It runs to line 10: check its quotation marks.",
    )


def test_a_forgotten_quotation_mark_costs_only_its_own_row(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f'A,"never closed,1,true,{ALICE}',
        f'B,"closed",1,true,{ALICE}',
        f'C,12" wide,1,true,{ALICE}',
        f'D,"never closed either,1,true,{ALICE}',
        f"E,,1,true,{ALICE}",
        *(f"{number},{'x' * 1000},1,true,{ALICE}" for number in range(200)),
        f'F,"never closed before the end,1,true,{ALICE}',
        f"G,,1,true,{ALICE}",
    )
    rows = read(path)
    assert [row for row in rows if isinstance(row, Outcome)] == [
        Outcome(2, Verdict.REFUSED, importing.BROKEN_QUOTES),
        Outcome(5, Verdict.REFUSED, importing.TOO_LONG),
        Outcome(207, Verdict.REFUSED, importing.BROKEN_QUOTES),
    ]
    assert [row.line for row in rows] == list(range(2, 209))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty."),
        (b"\xef\xbb\xbf", "is empty."),
        (HEADER.encode(), "has a header but no rows."),
        (HEADER.encode() + b"\n\r\n\n", "has a header but no rows."),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "is not a CSV file in UTF-8."),
        (f"{HEADER}\nVase,,1,true,a@b.example\n".encode("utf-16"), "is not a CSV file in UTF-8."),
        (b"x" * 20_000, "is not a CSV file in UTF-8."),
        (b"name,price,owner_email,colour\n1\n", "The columns do not fit: unknown “colour”."),
        (b"name,description\n1\n", "The columns do not fit: missing “price”, “owner_email”."),
        (b"name,name,price,owner_email\n1\n", "The columns do not fit: given twice “name”."),
        (b"name,price,owner_email,\n1\n", "The columns do not fit: unknown “”."),
        (b'"name,price,owner_email\n1\n', "The columns do not fit:"),
        (b"\nname,price,owner_email\n1\n", "The columns do not fit:"),
        (b"<html><body>Not found</body></html>\n", "The columns do not fit:"),
    ],
)
def test_what_is_not_a_file_of_products_is_said_in_one_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "products.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=sentence), open_products(path):
        pass


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing.csv", "There is no file "),
        (".", "cannot be read .Is a directory."),
        ("n" * 300, "cannot be read .File name too long."),
        ("null\0.csv", "cannot be read .not a file name."),
    ],
)
def test_a_path_that_cannot_be_read_is_said_in_one_sentence(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence), open_products(tmp_path / name):
        pass


async def test_unknown_owners_become_administrators_nobody_can_sign_in_as(
    database: Database, tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        "Vase,,1,true,elis.regina@shop.example",
        "Bowl,,1,true,Elis.Regina@SHOP.example",
        "Plate,,0,true,refused.row@shop.example",
    )
    outcomes = await load(database, path, create_owners=True)
    assert verdicts(outcomes) == {Verdict.CREATED: 2, Verdict.REFUSED: 1}
    async with database.reading() as session:
        [owner] = await session.scalars(select(User))
    assert (owner.name, owner.role, owner.is_active) == ("Elis Regina", Role.ADMINISTRATOR, True)
    assert owner.password_hash == UNUSABLE


@pytest.mark.parametrize(
    ("email", "name"),
    [
        ("elis.regina@shop.example", "Elis Regina"),
        ("o_malley-smith+sales@shop.example", "O Malley Smith Sales"),
        ("r.e.m@shop.example", "R E M"),
        ("élise@shop.example", "Élise"),
        ("__@shop.example", "__@shop.example"),
    ],
)
def test_a_new_owner_gets_a_readable_name(email: str, name: str) -> None:
    assert name_from(email) == name


async def test_an_owner_who_was_disabled_is_refused_even_in_the_middle_of_an_import(
    database: Database, cast: Cast
) -> None:
    def row(line: int) -> Row:
        return Row(line, {"name": "Vase", "price": "1", "owner_email": ALICE})

    task = ProductImport(database, create_owners=False)
    assert verdicts(await task.take([row(2)])) == {Verdict.CREATED: 1}
    async with database.transaction() as session:
        await UserService(session, Actor.system()).update(cast.alice.id, UserUpdate(is_active=False))
    [refused] = await task.take([row(3)])
    assert refused.reason == f"owner_email: {ALICE} is not active and cannot own products."


async def test_the_same_file_twice_changes_nothing(database: Database, cast: Cast, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f"Vase,tall,1,true,{ALICE}",
        f"  Vase  ,tall,1,true,{ALICE}",
        f"Vase,low,1,true,{ALICE}",
        "Vase,tall,1,true,bob@demo.example",
        f"Bad,,0,true,{ALICE}",
    )
    first = await load(database, path)
    before = [(product.id, product.version) for product in await products_of(database)]
    second = await load(database, path)
    assert verdicts(first) == {Verdict.CREATED: 4, Verdict.REFUSED: 1}
    assert verdicts(second) == {Verdict.SKIPPED: 4, Verdict.REFUSED: 1}
    assert [(product.id, product.version) for product in await products_of(database)] == before
    assert [outcome.product_id for outcome in first] == [outcome.product_id for outcome in second]
    assert {outcome.reason for outcome in second if outcome.verdict is Verdict.SKIPPED} == {ALREADY_THERE}


async def test_identical_rows_are_as_many_products(database: Database, cast: Cast, tmp_path: Path) -> None:
    row = f"Vase,tall,1,true,{ALICE}"
    assert verdicts(await load(database, write(tmp_path, row, row))) == {Verdict.CREATED: 2}
    third = await load(database, write(tmp_path, row, row, row))
    assert [outcome.verdict for outcome in third] == [Verdict.SKIPPED, Verdict.SKIPPED, Verdict.CREATED]
    assert verdicts(await load(database, write(tmp_path, row))) == {Verdict.SKIPPED: 1}


async def test_identical_rows_are_told_apart_across_chunks(
    database: Database, cast: Cast, tmp_path: Path
) -> None:
    row = f"Vase,tall,1,true,{ALICE}"
    path = write(tmp_path, row, *(f"Record {number},,1,true,{ALICE}" for number in range(500)), row)
    assert verdicts(await load(database, path)) == {Verdict.CREATED: 502}
    assert verdicts(await load(database, path)) == {Verdict.SKIPPED: 502}


async def test_an_existing_product_is_never_changed(
    database: Database, cast: Cast, make_product: MakeProduct, tmp_path: Path
) -> None:
    vase = await make_product(cast.alice, name="Vase", description="tall", price="1.00")
    path = write(tmp_path, f"Vase,tall,2,true,{ALICE}")
    assert await load(database, path) == [Outcome(2, Verdict.SKIPPED, DIFFERS, vase.id)]
    path = write(tmp_path, f"Vase,tall,1,false,{ALICE}")
    assert await load(database, path) == [Outcome(2, Verdict.SKIPPED, DIFFERS, vase.id)]
    [product] = await products_of(database)
    assert (product.version, str(product.price), product.is_active) == (1, "1.00", True)


async def test_two_imports_at_once_do_not_duplicate(database: Database, cast: Cast, tmp_path: Path) -> None:
    rows = [f"Record {number},,1,true,owner{number % 7}@shop.example" for number in range(1200)]
    path = write(tmp_path, *rows, rows[0])
    one, two = await asyncio.gather(*(load(database, path, create_owners=True) for _ in range(2)))
    assert verdicts(one)[Verdict.CREATED] + verdicts(two)[Verdict.CREATED] == 1201
    async with database.reading() as session:
        assert await count(session, "products") == 1201
        assert await count(session, "users WHERE email LIKE '%@shop.example'") == 7


async def test_a_chunk_that_fails_leaves_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(importing.ProductService, "create_many", fail)
    with pytest.raises(RuntimeError):
        await load(database, write(tmp_path, "Vase,,1,true,new@shop.example"), create_owners=True)
    async with database.reading() as session:
        for table in ("users", "products", "audit_entry", "event", "delivery"):
            assert await count(session, table) == 0


def environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
    }


def admin_app(
    settings: Settings, *arguments: str | Path, program: tuple[str, ...] = ("-m", "admin_app")
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


STRUCK = """
import os, signal, sys
from admin_app.cli import app
from admin_app.domains.products.service import ProductService

name = sys.argv.pop()
create_many, calls = ProductService.create_many, 0

async def strike(self, rows):
    global calls
    created = await create_many(self, rows)
    calls += 1
    if calls == 2:
        os.kill(os.getpid(), signal.Signals[name])
    return created

ProductService.create_many = strike
app(prog_name="admin-app")
"""
"""The command, hit by the signal named last while its second chunk is written but not committed."""


@pytest.mark.crash
async def test_an_import_killed_midway_is_completed_by_running_it_again(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    rows = [f"Record {number // 2},,1,true,owner{number % 3}@shop.example" for number in range(1300)]
    path = write(tmp_path, *rows)
    killed = admin_app(
        settings, "import", "products", path, "--create-owners", "SIGKILL", program=("-c", STRUCK)
    )
    assert killed.returncode == -signal.SIGKILL
    async with database.reading() as session:
        assert await count(session, "products") == 500
    again = await load(database, path, create_owners=True)
    assert verdicts(again) == {Verdict.SKIPPED: 500, Verdict.CREATED: 800}
    assert verdicts(await load(database, path)) == {Verdict.SKIPPED: 1300}


@pytest.mark.crash
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
async def test_an_interrupted_import_finishes_its_chunk_and_says_how_far_it_came(
    settings: Settings, database: Database, tmp_path: Path, name: str
) -> None:
    path = write(tmp_path, *(f"Record {number},,1,true,owner@shop.example" for number in range(1300)))
    stopped = admin_app(settings, "import", "products", path, "--create-owners", name, program=("-c", STRUCK))
    assert stopped.returncode == 128 + signal.Signals[name]
    assert stopped.stdout.splitlines() == [
        "1,000 rows: 1,000 created, 0 skipped, 0 refused.",
        "1 owner created.",
        "Stopped. Run the same command again for the rest.",
    ]
    assert stopped.stderr == ""
    async with database.reading() as session:
        assert await count(session, "products") == 1000


async def test_the_command_says_what_it_created_skipped_and_refused(
    settings: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    path, report = write(tmp_path, f"Vase,,1,true,{ALICE}"), tmp_path / "report.csv"
    assert admin_app(settings, "import", "products", path).returncode == 0
    path = write(tmp_path, f"Vase,,2,true,{ALICE}", f"Bowl,,12.345,true,{ALICE}", f"Cup,,1,true,{ALICE}")
    finished = admin_app(settings, "import", "products", path, "--report", report)
    assert (finished.returncode, finished.stderr) == (1, "")
    assert finished.stdout.splitlines() == [
        "line 3: price: Use at most 2 decimals.",
        "3 rows: 1 created, 1 skipped, 1 refused.",
        "Another price or state here: 1 of the skipped (see --report).",
    ]
    vase, cup = await products_of(database)
    with report.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["line", "outcome", "reason", "product_id"],
            ["2", "skipped", DIFFERS, str(vase.id)],
            ["3", "refused", "price: Use at most 2 decimals.", ""],
            ["4", "created", "", str(cup.id)],
        ]


def test_the_command_changes_nothing_when_it_cannot_start(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path, f"Vase,,1,true,{ALICE}")
    content = path.read_bytes()
    for arguments, sentence in (
        ((tmp_path / "missing.csv",), "There is no file "),
        ((path, "--report", path), "--report names the file to be imported."),
        ((path, "--report", tmp_path / "no" / "report.csv"), "No such file or directory"),
    ):
        refused = admin_app(settings, "import", "products", *arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("admin-app: ")
        assert refused.stderr.count("\n") == 1
        assert sentence in refused.stderr
    assert path.read_bytes() == content


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


async def test_a_run_is_an_entry_of_the_history_with_its_numbers(
    settings: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    path = write(tmp_path, f"Vase,,1,true,{ALICE}", f"Bowl,,1,true,{ALICE}", f"Cup,,-1,true,{ALICE}")
    assert admin_app(settings, "import", "products", path).returncode == 1
    assert admin_app(settings, "import", "products", path).returncode == 1
    first, second = await every(database, AuditEntry, action="imported")
    assert first.note == "products.csv: 2 created, 0 skipped, 1 refused"
    assert second.note == "products.csv: 0 created, 2 skipped, 1 refused"
    assert (first.actor_label, first.source, first.kind, first.row_id) == (
        "system",
        "import",
        "product",
        None,
    )
    assert (first.changes, first.version) == ({}, None)


async def test_what_was_not_imported_is_no_entry(
    settings: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    path = write(tmp_path, header=HEADER)
    assert admin_app(settings, "import", "products", path).returncode == 2
    assert await every(database, AuditEntry, action="imported") == []


async def test_on_a_terminal_there_is_a_progress_bar(
    settings: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    path = write(tmp_path, *(f"Record {number},,1,true,{ALICE}" for number in range(600)))
    command = [sys.executable, "-m", "admin_app", "import", "products", str(path)]
    code, shown = on_a_terminal(command, environment(settings))
    assert code == 0
    assert "Importing" in shown
    assert "100%" in shown
    assert "600 rows: 600 created" in shown
