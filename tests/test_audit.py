"""History: what is compared, how values are written down, what stays hidden."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import String, inspect, select

from admin_app import audit
from admin_app.actor import Actor, Role, Source
from admin_app.audit import HIDDEN, AuditEntry
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from tests.conftest import count


def user(**values: object) -> User:
    given = {"email": "a@b.example", "name": "A", "password_hash": "one", "role": Role.SUPPORT, **values}
    return User(**given)


def test_a_snapshot_holds_json_values_of_the_rows_own_columns() -> None:
    owner_id, moment = uuid4(), datetime(2026, 1, 31, 12, tzinfo=UTC)
    product = Product(
        name="Overkill", description="", price=Decimal("0.10"), is_active=True, owner_id=owner_id, version=7
    )
    assert audit.snapshot(product) == {
        "name": "Overkill",
        "description": "",
        "price": "0.10",
        "is_active": True,
        "deleted_at": None,
        "owner_id": str(owner_id),
    }
    assert audit.snapshot(user(last_sign_in_at=moment))["last_sign_in_at"] == "2026-01-31T12:00:00+00:00"
    assert audit.snapshot(user())["role"] == "support"


def test_what_stays_the_same_is_not_a_change() -> None:
    assert audit.diff(User, audit.snapshot(user()), audit.snapshot(user())) == {}


def test_a_change_is_old_and_new() -> None:
    before, after = audit.snapshot(user()), audit.snapshot(user(name="B", role=Role.SUPERUSER))
    assert audit.diff(User, before, after) == {"name": ["A", "B"], "role": ["support", "superuser"]}


def test_a_row_that_begins_or_ends_has_nothing_on_the_other_side() -> None:
    row = audit.snapshot(user())
    assert audit.diff(User, None, row)["name"] == [None, "A"]
    assert audit.diff(User, row, None)["name"] == ["A", None]
    assert audit.diff(User, None, None) == {}


def test_a_secret_shows_only_that_it_changed() -> None:
    before, after = audit.snapshot(user()), audit.snapshot(user(password_hash="two"))
    assert audit.diff(User, before, after) == {"password_hash": [HIDDEN, HIDDEN]}


@given(old=st.none() | st.text(), new=st.none() | st.text())
def test_no_secret_ever_gets_through(old: str | None, new: str | None) -> None:
    before = None if old is None else {"password_hash": old}
    after = None if new is None else {"password_hash": new}
    assert audit.diff(User, before, after) in ({}, {"password_hash": [HIDDEN, HIDDEN]})


@pytest.mark.parametrize("model", [User, Product])
def test_every_column_that_sounds_secret_is_marked(model: type) -> None:
    for column in inspect(model).columns:
        if isinstance(column.type, String) and any(
            word in column.key for word in ("password", "secret", "token", "hash")
        ):
            assert column.info.get("secret"), f"{model.__name__}.{column.key} would be in the history"


async def test_an_entry_says_who_did_what_to_which_row_from_where(database: Database) -> None:
    actor = Actor(uuid4(), Role.ADMINISTRATOR, "alice@demo.example", Source.IMPORT, "192.0.2.7")
    row_id = uuid4()
    async with database.transaction() as session:
        audit.record(session, actor, "updated", Product, row_id, before={"name": "a"}, after={"name": "ä"})
    async with database.reading() as session:
        entry = (await session.scalars(select(AuditEntry))).one()
    assert (entry.actor_id, entry.actor_label) == (actor.id, "alice@demo.example")
    assert (entry.source, entry.address, entry.request_id) == ("import", "192.0.2.7", actor.request_id)
    assert (entry.action, entry.kind, entry.row_id) == ("updated", "product", row_id)
    assert entry.changes == {"name": ["a", "ä"]}
    assert entry.at.tzinfo is not None


async def test_an_entry_goes_with_the_transaction_it_belongs_to(database: Database) -> None:
    async with database.reading() as session:
        audit.record(session, Actor.system(), "created", Product, uuid4(), after={"name": "a"})
        await session.flush()
        assert await count(session, "audit_entry") == 1
    async with database.reading() as session:
        assert await count(session, "audit_entry") == 0
