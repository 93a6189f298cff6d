"""Settings: what is accepted, and the one sentence for what is not."""

from pathlib import Path

import pytest

from admin_app.config import ConfigurationError, load_settings

SECRET = "s" * 32


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "DATABASE_URL",
        "REDIS_URL",
        "SECRET_KEY",
        "DATA_DIR",
        "PUBLIC_URL",
        "ALLOWED_HOSTS",
        "TRUSTED_PROXIES",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_nothing_needs_to_be_configured() -> None:
    settings = load_settings()
    assert (settings.database_url, settings.redis_url) == ("", "")
    assert settings.data_dir == Path(".data")


def test_the_environment_wins_over_the_file_and_an_option_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("DATA_DIR=from-file\nLOG_LEVEL=error\n")
    assert load_settings().data_dir == Path("from-file")
    monkeypatch.setenv("DATA_DIR", "from-environment")
    assert load_settings().data_dir == Path("from-environment")
    assert load_settings(data_dir=Path("from-option")).data_dir == Path("from-option")
    assert load_settings().log_level == "ERROR"


def test_an_empty_variable_is_the_same_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "")
    monkeypatch.setenv("DATABASE_URL", "")
    assert load_settings().data_dir == Path(".data")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_common_postgresql_url_becomes_one_for_asyncpg(scheme: str) -> None:
    settings = load_settings(database_url=f"{scheme}://user:pass@host/db", secret_key=SECRET)
    assert settings.database_url == "postgresql+asyncpg://user:pass@host/db"


def test_hosts_are_the_public_one_the_listed_ones_and_this_machine() -> None:
    settings = load_settings(public_url="https://admin.example.com/", allowed_hosts="a.example, b.example,")
    assert settings.public_url == "https://admin.example.com"
    assert settings.is_https
    assert settings.hosts[:3] == ["admin.example.com", "a.example", "b.example"]
    assert "localhost" in settings.hosts


def test_proxies_are_addresses_and_networks_of_both_families() -> None:
    settings = load_settings(trusted_proxies="10.0.0.7, 10.1.0.0/16 ,2001:db8::/32,")
    assert list(map(str, settings.trusted_proxies)) == ["10.0.0.7/32", "10.1.0.0/16", "2001:db8::/32"]
    assert load_settings(trusted_proxies="").trusted_proxies == ()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"DATABASE_URL": "mysql://host/db"}, "DATABASE_URL must start with postgresql://"),
        ({"DATABASE_URL": "host/db"}, "DATABASE_URL must start with postgresql://"),
        ({"DATABASE_URL": "postgresql://host/db"}, "SECRET_KEY must be set when DATABASE_URL is set"),
        ({"REDIS_URL": "http://host"}, "REDIS_URL must start with redis://"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY must have at least 32 characters"),
        ({"PUBLIC_URL": "admin.example.com"}, "PUBLIC_URL must be an origin"),
        ({"PUBLIC_URL": "https://admin.example.com/path"}, "PUBLIC_URL must be an origin"),
        ({"STORAGE_URL": "ftp://host"}, "STORAGE_URL must start with file://"),
        ({"STORAGE_URL": "file://media"}, "STORAGE_URL must name a whole path"),
        ({"STORAGE_URL": "s3://"}, "STORAGE_URL must name a bucket"),
        ({"STORAGE_URL": "s3://shop", "STORAGE_OPTIONS": "garbage"}, "STORAGE_OPTIONS must be a JSON object"),
        ({"STORAGE_URL": "s3://shop", "STORAGE_OPTIONS": '["a"]'}, "STORAGE_OPTIONS must be a JSON object"),
        (
            {"STORAGE_URL": "s3://shop", "STORAGE_OPTIONS": '{"a": 1}'},
            "STORAGE_OPTIONS must be a JSON object",
        ),
        ({"STORAGE_OPTIONS": '{"region": "here"}'}, "STORAGE_OPTIONS are for a STORAGE_URL of s3://"),
        ({"CDN_URL": "cdn.example"}, "CDN_URL must start with http"),
        ({"SEARCH_URL": "search"}, "SEARCH_URL must start with http"),
        ({"TRUSTED_PROXIES": "proxy.example"}, "TRUSTED_PROXIES must be addresses or networks"),
        ({"TRUSTED_PROXIES": "10.0.0.1/8"}, "TRUSTED_PROXIES must be addresses or networks"),
        ({"TRUSTED_PROXIES": "*"}, "TRUSTED_PROXIES must be addresses or networks"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL must be DEBUG"),
        ({"DATABASE_POOL_SIZE": "many"}, "DATABASE_POOL_SIZE"),
        ({"DATABASE_POOL_SIZE": "0"}, "DATABASE_POOL_SIZE"),
        ({"DELIVERY_LEASE_SECONDS": "0"}, "DELIVERY_LEASE_SECONDS must be at least 0.1"),
        ({"SESSION_IDLE_HOURS": "0"}, "SESSION_IDLE_HOURS must be more than 0"),
        ({"SESSION_IDLE_HOURS": "a day"}, "SESSION_IDLE_HOURS must be a number"),
        ({"SESSION_ABSOLUTE_HOURS": "inf"}, "SESSION_ABSOLUTE_HOURS must be at most 9600"),
        ({"ALLOWED_HOSTS": "https://a.example"}, "ALLOWED_HOSTS must be host names such as"),
        ({"ALLOWED_HOSTS": "a.example, b.example:8000"}, "ALLOWED_HOSTS must be host names such as"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], sentence: str
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_a_secret_never_shows_in_a_message_or_a_representation() -> None:
    assert SECRET not in repr(load_settings(secret_key=SECRET))
    with pytest.raises(ConfigurationError) as refused:
        load_settings(secret_key="hunter2")
    assert "hunter2" not in str(refused.value)
