"""The private PostgreSQL and Valkey: kept, shared, adopted, and refused with one sentence."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import psutil
import pytest
import redis
from sqlalchemy.engine import make_url

from admin_app.config import ConfigurationError, Settings
from admin_app.embedded import EmbeddedServers, embedded_servers

OWNER = """
import sys, time
from pathlib import Path
from admin_app.config import Settings
from admin_app.embedded import embedded_servers

with embedded_servers(Settings(data_dir=Path(sys.argv[1]), _env_file=None)):
    print("running", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not pytest's own: each session closes /tmp/pytest-of-<user>, which PostgreSQL's account must pass."""
    with TemporaryDirectory(prefix="admin-app-test-") as name:
        yield Path(name).resolve()


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return unconfigured(tmp_path / "data")


def unconfigured(data_dir: Path, **values: object) -> Settings:
    return Settings(_env_file=None, data_dir=data_dir, **values)


def query(settings: Settings, statement: str) -> object:
    url = make_url(settings.database_url)

    async def fetch() -> object:
        connection = await asyncpg.connect(user=url.username, database=url.database, **url.query)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def valkey(settings: Settings) -> redis.Redis:
    return redis.Redis.from_url(settings.redis_url, decode_responses=True)


def server_processes(data_dir: Path) -> dict[str, psutil.Process]:
    files = {"postgres": data_dir / "postgres/postmaster.pid", "valkey": data_dir / "valkey/valkey.pid"}
    found = {}
    for name, file in files.items():
        if file.exists():
            found[name] = psutil.Process(int(file.read_text().split()[0]))
    return found


@pytest.fixture
def owner_process(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """Another process that started the servers and still uses them."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(settings.data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    yield process
    process.communicate("")


def test_servers_start_and_stop_and_keep_their_data(settings: Settings) -> None:
    with embedded_servers(settings) as found:
        assert str(query(found, "SHOW server_version")).startswith("18.")
        assert query(found, "SELECT current_database()") == "admin_app"
        query(found, "CREATE TABLE kept AS SELECT 7 AS number")
        valkey(found).set("kept", "8")
        running = server_processes(settings.data_dir)
        assert set(running) == {"postgres", "valkey"}
    assert not server_processes(settings.data_dir)
    assert not any(process.is_running() for process in running.values())

    with embedded_servers(settings) as again:
        assert query(again, "SELECT number FROM kept") == 7
        assert valkey(again).get("kept") == "8"
        assert again.secret_key == found.secret_key


def test_nothing_is_reachable_by_network_or_by_other_users(settings: Settings) -> None:
    with embedded_servers(settings) as found:
        data = settings.data_dir
        assert not any(process.net_connections("tcp") for process in server_processes(data).values())
        assert stat.S_IMODE((data / "valkey/valkey.sock").stat().st_mode) == 0o700
        assert stat.S_IMODE((data / "valkey").stat().st_mode) == 0o700
        assert stat.S_IMODE((data / "postgres").stat().st_mode) == 0o700
        for name in ("secret-key", "postgres.log", "valkey.log"):
            assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
        assert len(found.secret_key.get_secret_value()) >= 32


def test_search_knows_letters_outside_ascii(settings: Settings) -> None:
    with embedded_servers(settings) as found:
        assert (
            query(found, "SELECT to_tsvector('simple', 'ÄRGER Motörhead')::text") == "'motörhead':2 'ärger':1"
        )
        query(found, "CREATE EXTENSION pg_trgm")
        query(found, "CREATE EXTENSION unaccent")
        assert query(found, "SELECT 'Motörhead' % 'MOTÖRHED'") is True
        assert query(found, "SELECT unaccent('Motörhead')") == "Motorhead"


def test_what_is_configured_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    complete = unconfigured(
        data, database_url="postgresql://elsewhere/db", redis_url="redis://elsewhere", secret_key="k" * 40
    )
    with embedded_servers(complete) as found:
        assert found == complete
    assert not data.exists()

    partly = unconfigured(data, database_url="postgresql://elsewhere/db", secret_key="k" * 40)
    with embedded_servers(partly) as found:
        assert found.database_url == "postgresql+asyncpg://elsewhere/db"
        assert valkey(found).ping()
        assert not (data / "postgres").exists()


def test_a_relative_data_dir_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with embedded_servers(unconfigured(Path("data"))) as found:
        assert found.data_dir == tmp_path / "data"
        monkeypatch.chdir("/")
        assert query(found, "SELECT 1") == 1


@pytest.mark.crash
def test_servers_of_a_killed_process_are_adopted(
    settings: Settings, owner_process: subprocess.Popen[str]
) -> None:
    before = server_processes(settings.data_dir)
    owner_process.kill()
    owner_process.wait()
    with embedded_servers(settings) as found:
        assert server_processes(settings.data_dir) == before
        assert query(found, "SELECT 1") == 1
        assert valkey(found).ping()
    assert not server_processes(settings.data_dir)


def test_servers_stay_until_the_last_user_leaves(
    settings: Settings, owner_process: subprocess.Popen[str]
) -> None:
    with embedded_servers(settings) as found:
        owner_process.communicate("")
        assert owner_process.wait(20) == 0
        assert query(found, "SELECT 1") == 1
        assert valkey(found).ping()
        with embedded_servers(settings):
            pass
        assert query(found, "SELECT 1") == 1
    assert not server_processes(settings.data_dir)


@pytest.mark.crash
@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_killed_server_is_noticed_and_revived_with_its_data(settings: Settings, name: str) -> None:
    with EmbeddedServers(settings) as servers:
        query(servers.settings, "CREATE TABLE kept AS SELECT 7 AS number")
        valkey(servers.settings).set("kept", "8")
        assert servers.dead() == []
        killed = server_processes(settings.data_dir)[name]
        killed.kill()
        killed.wait(10)
        assert [found.lower() for found in servers.dead()] == [{"postgres": "postgresql"}.get(name, name)]
        servers.revive()
        assert servers.dead() == []
        assert query(servers.settings, "SELECT number FROM kept") == 7
        assert valkey(servers.settings).get("kept") == "8"


@pytest.mark.crash
def test_everything_killed_starts_again_over_stale_sockets_and_pid_files(
    settings: Settings, owner_process: subprocess.Popen[str]
) -> None:
    for process in server_processes(settings.data_dir).values():
        process.kill()
    owner_process.kill()
    # A pid file may name a process that is somebody else by now.
    pid_file = settings.data_dir / "postgres/postmaster.pid"
    pid_file.write_text("\n".join([str(os.getpid()), *pid_file.read_text().splitlines()[1:]]))
    assert (settings.data_dir / "valkey/valkey.sock").is_socket()
    with embedded_servers(settings) as found:
        assert query(found, "SELECT 1") == 1
        assert valkey(found).ping()


def test_two_data_directories_run_side_by_side(tmp_path: Path) -> None:
    with (
        embedded_servers(unconfigured(tmp_path / "one")) as one,
        embedded_servers(unconfigured(tmp_path / "two")) as two,
    ):
        query(one, "CREATE TABLE here AS SELECT 1 AS number")
        assert query(two, "SELECT to_regclass('here')") is None
        valkey(one).set("here", "1")
        assert valkey(two).get("here") is None
        assert one.secret_key != two.secret_key


@pytest.mark.parametrize("name", ["deep" * 30, "with spaces, commas & ünïcode"])
def test_a_path_no_socket_can_have_gets_a_short_private_one(tmp_path: Path, name: str) -> None:
    with embedded_servers(unconfigured(tmp_path / name)) as found:
        assert query(found, "SELECT 1") == 1
        with closing(valkey(found)) as client:
            assert client.ping()
        directory = Path(str(make_url(found.database_url).query["host"]))
        assert directory.is_relative_to("/tmp")
        assert not directory.is_relative_to(tmp_path)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not directory.exists()


def test_an_interrupted_first_start_leaves_nothing_half_made(settings: Settings) -> None:
    half_made = settings.data_dir / "postgres.new.interrupted"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with embedded_servers(settings) as found:
        assert query(found, "SELECT 1") == 1
    assert not half_made.exists()


def refusal(data_dir: Path) -> str:
    with pytest.raises(ConfigurationError) as refused, embedded_servers(unconfigured(data_dir)):
        pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_data_of_another_major_version_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "postgres"
    home.mkdir()
    (home / "PG_VERSION").write_text("17\n")
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
    assert "made by PostgreSQL 17" in refusal(tmp_path)


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "postgres"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
    assert "not a PostgreSQL database" in refusal(tmp_path)


def test_a_data_dir_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be used" in refusal(tmp_path / "file")
    assert "cannot be used" in refusal(tmp_path / "file" / "below")
    assert "cannot be used" in refusal(Path("/proc/nowhere"))


def test_a_damaged_secret_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text("short\n")
    assert "secret-key is damaged" in refusal(tmp_path)


def test_a_server_that_does_not_start_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admin_app.embedded.server.RETRY_SECONDS", 0.5)
    with embedded_servers(unconfigured(tmp_path)):
        pass
    with (tmp_path / "postgres/postgresql.conf").open("a") as file:
        file.write("no_such_setting = on\n")
    assert "does not start: " in (sentence := refusal(tmp_path))
    assert "postgres.log" in sentence
    assert not server_processes(tmp_path), "the Valkey beside it must not be left running"


@pytest.mark.crash
def test_a_process_stopped_by_a_signal_stops_the_servers(
    settings: Settings, owner_process: subprocess.Popen[str]
) -> None:
    running = server_processes(settings.data_dir)
    owner_process.send_signal(signal.SIGINT)
    owner_process.wait(20)
    assert not any(process.is_running() for process in running.values())
