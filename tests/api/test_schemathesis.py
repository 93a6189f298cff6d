"""The API keeps what its OpenAPI document says, whatever is sent to it and whoever sends it.

A longer run, with other examples each time: `SCHEMATHESIS_EXAMPLES=60 pytest tests/api/test_schemathesis.py`.
"""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.python import asgi

from admin_app.actor import Actor
from admin_app.app import create_app
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.security import sessions
from admin_app.security.tokens import Scope
from tests.api.conftest import MakeToken
from tests.conftest import Cast, MakeProduct

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "0"))
FEW = 3
URL = f"http://{asgi.HOST}/api/v1"

CONFIG: dict[str, Any] = {
    "generation": {
        "deterministic": not EXAMPLES,
        "max-examples": EXAMPLES or FEW,
        "database": "none",
        "with-security-parameters": False,
    },
    "workers": 1,
    "base-url": URL,
    "headers": {"Sec-Fetch-Site": "same-origin"},  # which a session needs, and a token does not
    "checks": {
        # 422 is for what a schema cannot say: an owner must exist, a range must not end before it begins, a
        # text must be an e-mail address. What is malformed is answered 400, and is found here.
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "3xx", "401", "403", "404", "409", "412", "422", "429"]
        },
    },
}


@pytest.fixture
def api_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"allowed_hosts": (asgi.HOST,), "api_rate_limit": "1000000/minute"})


def run(
    settings: Settings, credentials: dict[str, Any], headers: dict[str, str], *, is_complete: bool
) -> list[str]:
    """What was found: one text for each kind of failure. `is_complete`: with all the schema leads to."""
    app = create_app(settings)
    phases = {"coverage": {"enabled": is_complete}}
    config = SchemathesisConfig.from_dict({**CONFIG, "auth": {"openapi": credentials}, "phases": phases})
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, config=config, headers=headers)
    try:
        return list(failures(schema))
    finally:
        asgi.shutdown_lifespans()


def failures(schema: Any) -> Iterator[str]:
    known = set()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            yield str(getattr(event, "info", event))
        if isinstance(event, events.ScenarioFinished):
            for case_id, checks in event.recorder.checks.items():
                for check in checks:
                    if check.name == "ensure_resource_availability" and is_unwritten(check):
                        continue
                    if check.status is Status.FAILURE and check.failure_info:
                        failure = check.failure_info.failure
                        key = (event.recorder.label, check.name, failure.message)
                        if key not in known:
                            known.add(key)
                            answer = event.recorder.interactions[case_id].response
                            content = answer.content[:300] if answer else b""
                            yield f"{key}\n{check.failure_info.code_sample}\n{content!r}"


def is_unwritten(check: Any) -> bool:
    """The file of an export, which is there when a worker has written it."""
    return bool(check.failure_info) and "/exports/{export_id}/file" in check.failure_info.failure.message


@pytest.mark.parametrize(
    ("name", "scope"),
    [("root", Scope.WRITE), ("alice", Scope.WRITE), ("sam", Scope.WRITE)],
)
async def test_nothing_is_found_with_a_token(
    name: str,
    scope: Scope,
    api_settings: Settings,
    make_token: MakeToken,
    make_product: MakeProduct,
    cast: Cast,
) -> None:
    for number in range(3):
        await make_product(cast.alice, name=f"Clock {number}")
    token = await make_token(name, scope)
    headers = {"Authorization": f"Bearer {token}"}
    credentials = {"token": {"bearer": token}}
    found = await asyncio.to_thread(run, api_settings, credentials, headers, is_complete=bool(EXAMPLES))
    assert not found, "\n\n".join(found)


async def test_nothing_is_found_with_a_session(
    api_settings: Settings, database: Database, make_product: MakeProduct, cast: Cast
) -> None:
    """Of a superuser who has just signed in, and may do everything."""
    await make_product(cast.alice)
    actor: Actor = cast.root
    async with database.transaction() as session:
        token = await sessions.open_session(session, actor.id, address=None, user_agent=None)
    cookie = sessions.cookie_name(is_https=False, port=80)
    headers = {"Cookie": f"{cookie}={token}"}
    credentials = {"session": {"api_key": token}}
    found = await asyncio.to_thread(run, api_settings, credentials, headers, is_complete=True)
    assert not found, "\n\n".join(found)
