"""The `admin-app` command as a person meets it: its sentences and exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from admin_app import migrations
from admin_app.config import Settings

PASSWORD = "a long enough password"


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_URL", "_KEY", "_DIR"))}
    return subprocess.run(
        [sys.executable, "-m", "admin_app", *arguments],
        env={**kept, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def installed(settings: Settings) -> dict[str, str]:
    """An installation with servers of its own, as an operator would configure it."""
    return {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "DATA_DIR": str(settings.data_dir),
    }


def test_version_and_help_say_what_it_is() -> None:
    assert run("--version").stdout.startswith("admin-app 0.")
    shown = run("--help").stdout
    for command in ("up", "serve", "relay", "worker", "migrate", "doctor", "createsuperuser"):
        assert f" {command} " in shown


@pytest.mark.parametrize(
    "command", ["up", "serve", "relay", "worker", "migrate", "doctor", "createsuperuser"]
)
def test_a_wrong_setting_is_one_sentence_and_exit_code_2(command: str) -> None:
    options = ["--email", "a@b.example", "--name", "A"] if command == "createsuperuser" else []
    refused = run(command, *options, DATABASE_URL="mysql://host/db", ADMIN_APP_PASSWORD=PASSWORD)
    assert refused.returncode == 2
    assert refused.stderr.startswith("admin-app: DATABASE_URL must start with postgresql://")
    assert refused.stderr.count("\n") == 1


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    refused = run(
        "migrate",
        DATABASE_URL="postgresql://someone:secret@127.0.0.1:1/db",
        REDIS_URL="redis://127.0.0.1:1",
        SECRET_KEY="k" * 40,
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("admin-app: ")
    assert refused.stderr.count("\n") == 1
    assert "secret" not in refused.stderr


def test_migrate_says_where_the_schema_was_and_is(tmp_path: Path, installed: dict[str, str]) -> None:
    first = run("migrate", "--data-dir", str(tmp_path))
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("empty -> ")
    assert run("migrate", **installed).stdout == first.stdout.replace("empty -> ", "at ")


def test_doctor_finds_nothing_wrong_with_what_works(installed: dict[str, str]) -> None:
    healthy = run("doctor", **installed)
    assert healthy.returncode == 0, healthy.stdout
    assert "FAIL" not in healthy.stdout
    assert "PostgreSQL: 18." in healthy.stdout
    assert "external" in healthy.stdout
    assert "migrations: at head" in healthy.stdout
    assert "processes: 0 web, 0 relay, 0 worker, seen " in healthy.stdout
    assert "queue: Valkey" in healthy.stdout


def test_doctor_names_every_thing_that_is_wrong(tmp_path: Path) -> None:
    new = run("doctor", "--data-dir", str(tmp_path))
    assert new.returncode == 1
    assert "(embedded)" in new.stdout
    assert "FAIL  migrations: at nothing, head is " in new.stdout

    broken = run(
        "doctor",
        "--data-dir",
        str(tmp_path),
        DATABASE_URL="postgresql://someone:secret@127.0.0.1:1/db?password=secret",
        REDIS_URL="redis://:secret@127.0.0.1:1/0",
        SECRET_KEY="k" * 40,
    )
    assert broken.returncode == 1
    assert "FAIL  PostgreSQL: " in broken.stdout
    assert "FAIL  queue: " in broken.stdout
    assert "secret" not in broken.stdout + broken.stderr


def stored_hash(settings: Settings) -> str:
    """Of the only account."""
    return migrations.on_connection(
        settings.database_url,
        lambda connection: connection.execute(text("SELECT password_hash FROM users")).scalar_one(),
    )


def test_createsuperuser_makes_an_account_once(
    settings: Settings, installed: dict[str, str], database: object
) -> None:
    options = ["createsuperuser", "--email", "first@demo.example", "--name", "First"]
    made = run(*options, ADMIN_APP_PASSWORD=PASSWORD, **installed)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout == "first@demo.example may sign in now.\n"
    # As slow to guess as pwdlib recommends. In the process of the tests it is quicker.
    assert stored_hash(settings).startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    again = run(*options, ADMIN_APP_PASSWORD=PASSWORD, **installed)
    assert again.returncode == 1
    assert "e-mail" in again.stderr.lower()
    assert again.stderr.startswith("admin-app: ")


def test_createsuperuser_refuses_what_the_form_would_refuse(installed: dict[str, str]) -> None:
    refused = run(
        *("createsuperuser", "--email", "nobody", "--name", "First"), ADMIN_APP_PASSWORD="short", **installed
    )
    assert refused.returncode == 1
    assert "email: " in refused.stderr
    assert "password: " in refused.stderr
    assert "Traceback" not in refused.stderr
