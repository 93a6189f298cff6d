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


def overkill() -> Product:
    """Saved elsewhere: the history needs no foreign key."""
    return Product(id=uuid4(), name="Overkill", price=Decimal("0.10"), owner_id=uuid4(), version=7)


def test_a_snapshot_holds_json_values_of_the_rows_own_columns() -> None:
    owner_id, moment = uuid4(), datetime(2026, 1, 31, 12, tzinfo=UTC)
    pictures = [{"id": "01a2", "alt": "Front"}]
    product = Product(
        name="Overkill",
        description="",
        price=Decimal("0.10"),
        is_active=True,
        images=pictures,
        owner_id=owner_id,
        version=7,
    )
    assert audit.snapshot(product) == {
        "name": "Overkill",
        "description": "",
        "price": "0.10",
        "is_active": True,
        "images": pictures,
        "deleted_at": None,
        "external_id": None,
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
    product = overkill()
    before = {**audit.snapshot(product), "name": "Ära"}
    async with database.transaction() as session:
        changes = audit.record(session, actor, "updated", product, before, note="as told")
    async with database.reading() as session:
        entry = (await session.scalars(select(AuditEntry))).one()
    assert (entry.actor_id, entry.actor_label) == (actor.id, "alice@demo.example")
    assert (entry.source, entry.address, entry.request_id) == ("import", "192.0.2.7", actor.request_id)
    assert (entry.action, entry.kind, entry.row_id) == ("updated", "product", product.id)
    assert (entry.row_label, entry.version, entry.note) == ("Overkill", 7, "as told")
    assert entry.changes == changes == {"name": ["Ära", "Overkill"]}
    assert entry.at.tzinfo is not None


async def test_an_entry_goes_with_the_transaction_it_belongs_to(database: Database) -> None:
    async with database.reading() as session:
        audit.record(session, Actor.system(), "created", overkill())
        await session.flush()
        assert await count(session, "audit_entry") == 1
    async with database.reading() as session:
        assert await count(session, "audit_entry") == 0


async def test_what_is_gone_keeps_its_name_and_every_value_but_no_version(database: Database) -> None:
    product, person = overkill(), user(id=uuid4(), version=3)
    async with database.transaction() as session:
        await audit.record_gone(session, Actor.system(), "purged", [product])
        await audit.record_gone(session, Actor.system(), "deleted", [person])
        await audit.record_gone(session, Actor.system(), "deleted", [])
    async with database.reading() as session:
        first, second = (await session.scalars(select(AuditEntry).order_by(AuditEntry.id))).all()
    assert (first.row_label, first.version, first.changes["price"]) == ("Overkill", None, ["0.10", None])
    assert (second.row_label, second.changes["password_hash"]) == ("a@b.example", [HIDDEN, HIDDEN])


async def test_what_changes_no_row_is_noted_with_or_without_one(database: Database) -> None:
    product = overkill()
    async with database.transaction() as session:
        audit.note(session, Actor.system(), "refused", product, "to delete")
        audit.note(session, Actor.system(), "imported", Product, "60 rows")
    async with database.reading() as session:
        entries = (await session.scalars(select(AuditEntry).order_by(AuditEntry.action))).all()
    assert [(entry.action, entry.row_id, entry.row_label, entry.note) for entry in entries] == [
        ("imported", None, "", "60 rows"),
        ("refused", product.id, "Overkill", "to delete"),
    ]
    assert {entry.version for entry in entries} == {None}
    assert [entry.changes for entry in entries] == [{}, {}]
