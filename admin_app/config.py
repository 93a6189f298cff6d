"""Settings, read once from the environment (or a .env file) at start."""

import json
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from limits import parse_many
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIN_SECRET_LENGTH = 32
MAX_SESSION_HOURS = 24 * 400
"""Browsers keep no cookie for longer."""

_NUMBERS = {
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "finite_number": "must be a number",
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
}
"""What to say of pydantic's complaints."""


class ConfigurationError(Exception):
    """One sentence that names the setting and what it should be."""


class Settings(BaseSettings):
    """An empty `database_url` or `redis_url` means: run a private server under `data_dir`.

    An empty `storage_url` is a folder there, an empty `search_url` the search index in PostgreSQL.
    With a `database_direct_url`, `database_url` is a pooler in transaction mode before that same database.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    database_url: str = ""
    redis_url: str = ""
    secret_key: SecretStr = SecretStr("")
    data_dir: Path = Path(".data")
    public_url: str = ""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    storage_url: str = ""
    storage_options: Annotated[dict[str, SecretStr], NoDecode] = Field(default={}, repr=False)
    cdn_url: str = ""
    search_url: str = ""
    search_key: SecretStr = SecretStr("")
    search_synonyms: Path | None = None
    smtp_url: str = Field(default="", repr=False)
    mail_from: str = ""
    log_level: str = "INFO"
    log_format: str = ""
    metrics_token: SecretStr = SecretStr("")
    database_direct_url: str = ""
    database_pool_size: int = Field(default=10, ge=1, le=200)
    delivery_lease_seconds: float = Field(default=15, ge=0.1, le=3600)
    delivery_max_tries: int = Field(default=10, ge=1, le=1000)
    delivery_days: int = Field(default=30, ge=1, le=3650)
    drain_seconds: float = Field(default=0, ge=0, le=60)
    session_idle_hours: float = Field(default=12, gt=0, le=MAX_SESSION_HOURS)
    session_absolute_hours: float = Field(default=24 * 7, gt=0, le=MAX_SESSION_HOURS)
    api_rate_limit: str = "1200/minute"
    second_factor_roles: Annotated[tuple[str, ...], NoDecode] = ()

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _postgres_only(cls, value: str) -> str:
        if not value:
            return value
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in {"postgres", "postgresql", "postgresql+asyncpg"}:
            raise ValueError("must start with postgresql:// (PostgreSQL 18 or newer is the only database)")
        return f"postgresql+asyncpg://{rest}"

    @field_validator("redis_url")
    @classmethod
    def _redis_only(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("storage_url")
    @classmethod
    def _known_storage(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and parts.scheme not in {"file", "s3", "gs", "az"}:
            raise ValueError("must start with file://, s3://, gs:// or az://")
        if parts.scheme == "file" and (parts.netloc or not parts.path.strip("/")):
            raise ValueError("must name a whole path, such as file:///srv/media")
        if value and parts.scheme != "file" and not parts.netloc:
            raise ValueError(f"must name a bucket or container, such as {parts.scheme}://shop")
        return value.rstrip("/")

    @field_validator("storage_options", mode="before")
    @classmethod
    def _json_object(cls, value: object) -> object:
        try:
            options = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            options = None
        if not isinstance(options, dict) or not all(
            isinstance(item, str | SecretStr) for item in options.values()
        ):
            raise ValueError('must be a JSON object of texts, such as {"endpoint": "https://s3.example.com"}')
        return options

    @field_validator("search_url", "cdn_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: str) -> str:
        if not value:
            return value
        try:
            parts = urlsplit(value)
            is_server = parts.scheme in {"smtp", "smtps"} and parts.hostname and parts.port != 0
        except ValueError:
            is_server = False
        if not is_server or parts.path.strip("/") or parts.query not in {"", "tls=none"}:
            raise ValueError("must look like smtp://user:password@mail.example.com:587, or smtps://…")
        if parts.query and (parts.scheme == "smtps" or parts.username):
            raise ValueError(
                "with tls=none must start with smtp:// and hold no password: it could be overheard"
            )
        return value

    @field_validator("mail_from")
    @classmethod
    def _one_sender(cls, value: str) -> str:
        try:
            if value:  # parseaddr makes nothing of what it cannot read
                address = parseaddr(value)[1] if value.isprintable() else ""
                validate_email(address, check_deliverability=False)
        except EmailNotValidError:
            raise ValueError("must be an address such as Shop <shop@example.com>") from None
        return value

    @field_validator("secret_key", "metrics_token")
    @classmethod
    def _long_secret(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < MIN_SECRET_LENGTH:
            raise ValueError(f"must have at least {MIN_SECRET_LENGTH} characters")
        return value

    @field_validator("public_url")
    @classmethod
    def _public_origin(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/")):
            raise ValueError("must be an origin such as https://admin.example.com")
        return value.rstrip("/")

    @field_validator("allowed_hosts", "second_factor_roles", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(host.strip() for host in value.split(",") if host.strip())
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("/" in host or host.count(":") == 1 for host in value):
            raise ValueError(
                "must be host names such as admin.example.com, separated by commas, without scheme or port"
            )
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return tuple(ip_network(item.strip()) for item in value.split(",") if item.strip())
        except ValueError:
            raise ValueError(
                "must be addresses or networks such as 10.0.0.7, 10.1.0.0/16, separated by commas"
            ) from None

    @field_validator("second_factor_roles")
    @classmethod
    def _known_roles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not set(value) <= {"superuser", "administrator", "support"}:
            raise ValueError("must name roles: superuser, administrator or support, separated by commas")
        return value

    @field_validator("api_rate_limit")
    @classmethod
    def _one_rate(cls, value: str) -> str:
        try:
            [limit] = parse_many(value)
        except ValueError:
            limit = None
        if limit is None or limit.amount < 1:
            raise ValueError("must be a number of requests and a time, such as 1200/minute")
        return value

    @field_validator("log_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value.lower() not in {"", "json", "text"}:
            raise ValueError("must be json or text")
        return value.lower()

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
            raise ValueError("must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return value.upper()

    @model_validator(mode="after")
    def _secret_with_own_database(self) -> Self:
        if self.database_url and not self.secret_key.get_secret_value():
            raise ValueError("SECRET_KEY must be set when DATABASE_URL is set")
        return self

    @model_validator(mode="after")
    def _pooler_before_database(self) -> Self:
        if self.database_direct_url and not self.database_url:
            raise ValueError("DATABASE_URL must be the pooler's when DATABASE_DIRECT_URL is set")
        return self

    @model_validator(mode="after")
    def _complete_mail(self) -> Self:
        if self.smtp_url and not self.mail_from:
            raise ValueError("MAIL_FROM must be set when SMTP_URL is set")
        if self.smtp_url and not self.public_url:
            raise ValueError("PUBLIC_URL must be set when SMTP_URL is set, because mails hold links")
        return self

    @model_validator(mode="after")
    def _options_for_a_service(self) -> Self:
        if self.storage_options and self.files_url.startswith("file:"):
            raise ValueError("STORAGE_OPTIONS are for a STORAGE_URL of s3://, gs:// or az://")
        return self

    @property
    def direct_url(self) -> str:
        """The database itself, for what a pooler in transaction mode cannot do."""
        return self.database_direct_url or self.database_url

    @property
    def files_url(self) -> str:
        """Where files are kept, as a URL."""
        return self.storage_url or (self.data_dir.resolve() / "media").as_uri()

    @property
    def cdn_origin(self) -> str:
        """Scheme and host of the CDN, or ""."""
        parts = urlsplit(self.cdn_url)
        return f"{parts.scheme}://{parts.netloc}" if self.cdn_url else ""

    @property
    def is_https(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def hosts(self) -> list[str]:
        """Host names this site answers to: the public one, the listed ones and this machine."""
        public = urlsplit(self.public_url).hostname
        return [*([public] if public else []), *self.allowed_hosts, "localhost", "127.0.0.1", "[::1]"]


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment.

    Raises ConfigurationError with one sentence for the first value that is wrong.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic validates what a caller passes
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        known = _NUMBERS.get(first["type"])
        reason = known.format(**first.get("ctx", {})) if known else first["msg"].removeprefix("Value error, ")
        name = str(first["loc"][0]).upper() if first["loc"] else ""
        raise ConfigurationError(f"{name} {reason}.".strip()) from None
