"""Two people and one row: what each changed survives, and nobody overwrites what they have not seen."""

from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text

from admin_app.actor import Actor
from admin_app.audit import HIDDEN, AuditEntry
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import Conflict
from admin_app.merging import FROM_THE_FUTURE, NOT_ON_RECORD, EditConflict, state_at
from tests.admin.rows import history, load, traces
from tests.conftest import Cast, MakeProduct


async def update(
    database: Database, actor: Actor, row_id: Any, version: int | None = None, **values: Any
) -> ProductService:
    async with database.transaction() as session:
        service = ProductService(session, actor)
        await service.update(row_id, ProductUpdate(**values), expected_version=version)
    return service


async def test_different_fields_both_survive_and_it_is_told_whose(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Anvil", price=Decimal(1))
    await update(database, cast.root, product.id, 1, price=Decimal(2))
    # A form sends every field, also those its reader left alone.
    service = await update(
        database, cast.alice, product.id, 1, name="Ambos", price=Decimal(1), is_active=True
    )
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, saved.price, saved.version) == ("Ambos", Decimal(2), 3)
    assert [(made.version, made.who, made.names) for made in service.kept] == [
        (2, "root@demo.example", ["price"])
    ]
    assert [entry.changes for entry in await history(database, product.id)][1:] == [
        {"price": ["1.00", "2.00"]},
        {"name": ["Anvil", "Ambos"]},
    ]
    assert [entry.version for entry in await history(database, product.id)] == [1, 2, 3]


async def test_the_same_field_is_a_conflict_that_says_everything(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Anvil", price=Decimal(1))
    await update(database, cast.root, product.id, name="Root's", description="Heavy")
    await update(database, cast.root, product.id, name="R2")
    before = await traces(database)
    with pytest.raises(EditConflict) as raised:
        await update(
            database, cast.alice, product.id, 1, name="Hers", price=Decimal(9), description="", is_active=True
        )
    error = raised.value
    assert (error.version, error.changed, error.clashes.keys()) == (3, {"price"}, {"name"})
    clash = error.clashes["name"]
    assert (clash.before, clash.theirs, clash.mine, clash.who) == ("Anvil", "R2", "Hers", "root@demo.example")
    assert clash.when == (await history(database, product.id))[-1].at
    assert [(made.version, made.who, made.names) for made in error.since] == [
        (2, "root@demo.example", ["name", "description"]),
        (3, "root@demo.example", ["name"]),
    ]
    assert await traces(database) == before


async def test_the_same_change_made_by_both_is_no_conflict(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Anvil")
    await update(database, cast.root, product.id, name="Ambos")
    before = await traces(database)
    await update(database, cast.alice, product.id, 1, name="Ambos")
    assert await traces(database) == before


async def test_what_was_changed_and_changed_back_is_no_conflict_for_who_left_it(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Anvil")
    for name in ("Other", "Anvil"):
        await update(database, cast.root, product.id, name=name)
    await update(database, cast.alice, product.id, 1, name="Anvil", price=Decimal(5))
    with pytest.raises(EditConflict):
        await update(database, cast.alice, product.id, 1, name="Mine")


@pytest.mark.parametrize("version", [0, 2, 99])
async def test_a_version_the_row_never_had_is_refused(
    version: int, database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    before = await traces(database)
    with pytest.raises(Conflict) as raised:
        await update(database, cast.alice, product.id, version, name="New")
    assert raised.value.message == FROM_THE_FUTURE
    assert await traces(database) == before


async def test_what_is_not_on_record_is_not_guessed(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    for number in range(3):
        await update(database, cast.root, product.id, price=Decimal(number + 2))
    async with database.transaction() as session:
        await session.execute(delete(AuditEntry).where(AuditEntry.version == 3))
    with pytest.raises(Conflict) as raised:
        await update(database, cast.alice, product.id, 1, name="New")
    assert raised.value.message == NOT_ON_RECORD
    await update(database, cast.alice, product.id, 3, name="New")  # since then everything is


async def test_a_password_is_never_part_of_a_conflict(database: Database, cast: Cast) -> None:
    bob = await load(database, User, cast.bob.id)
    assert bob is not None

    async def set_password(password: str) -> None:
        async with database.transaction() as session:
            data = UserUpdate(name="Robert", password=password)
            await UserService(session, cast.root).update(bob.id, data, expected_version=bob.version)

    await set_password("one long enough password")
    with pytest.raises(EditConflict) as raised:
        await set_password("another long password")
    [(name, clash)] = raised.value.clashes.items()
    assert (name, clash.before, clash.theirs, clash.mine) == ("password_hash", HIDDEN, HIDDEN, HIDDEN)


async def test_a_past_state_is_today_with_every_change_since_taken_back(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="One", price=Decimal(1))
    await update(database, cast.alice, product.id, name="Two")
    await update(database, cast.alice, product.id, name="Three", price=Decimal(3))
    async with database.reading() as session:
        row = await session.get_one(Product, product.id)
        states = [await state_at(session, row, version) for version in (1, 2, 3)]
    assert [(state["name"], state["price"]) for state in states] == [
        ("One", "1.00"),
        ("Two", "1.00"),
        ("Three", "3.00"),
    ]
    assert all(state["description"] == "" for state in states)


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from("AB"),
        "price": st.sampled_from("12"),
        "description": st.sampled_from("XY"),
    },
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(theirs=FIELDS, mine=FIELDS)
async def test_nothing_anybody_changed_is_ever_lost(
    theirs: dict[str, str],
    mine: dict[str, str],
    database: Database,
    cast: Cast,
    make_product: MakeProduct,
) -> None:
    """Whatever the two change: every change of both, or a conflict and nothing of the second."""
    product = await make_product(cast.alice, name="0", price=Decimal(9), description="Z")
    await update(database, cast.root, product.id, 1, **theirs)
    contested = {name for name in theirs.keys() & mine.keys() if theirs[name] != mine[name]}
    expected = theirs if contested else {**theirs, **mine}
    with pytest.raises(EditConflict) if contested else nullcontext() as raised:
        await update(database, cast.alice, product.id, 1, **mine)
    assert not raised or raised.value.clashes.keys() == contested
    saved = await load(database, Product, product.id)
    assert saved is not None
    start = {"name": "0", "price": "9", "description": "Z"}
    assert {"name": saved.name, "price": f"{saved.price:.0f}", "description": saved.description} == {
        **start,
        **expected,
    }


async def test_if_the_entry_cannot_be_written_the_change_does_not_happen(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Anvil")
    async with database.transaction() as session:
        await session.execute(
            text("ALTER TABLE audit_entry ADD CONSTRAINT full_disk CHECK (false) NOT VALID")
        )
    try:
        with pytest.raises(Exception, match="full_disk"):
            await update(database, cast.alice, product.id, name="Ambos")
    finally:
        async with database.transaction() as session:
            await session.execute(text("ALTER TABLE audit_entry DROP CONSTRAINT full_disk"))
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, saved.version) == ("Anvil", 1)


async def test_what_is_saved_while_somebody_compares_does_not_confuse(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="One")
    await update(database, cast.alice, product.id, name="Two")
    async with database.reading() as session:
        row = await session.get_one(Product, product.id)
        await update(database, cast.root, product.id, name="Three")
        assert (await state_at(session, row, 1))["name"] == "One"
        assert (await state_at(session, row, 2))["name"] == "Two"


async def test_of_a_long_history_only_what_matters_is_read(
    database: Database, cast: Cast, make_product: MakeProduct, statements: list[str]
) -> None:
    product = await make_product(cast.alice, name="0", description="long " * 100)
    for number in range(5):
        await update(database, cast.alice, product.id, description=f"{number} " * 1000)
    async with database.reading() as session:
        row = await session.get_one(Product, product.id)
        assert (await state_at(session, row, 1))["description"] == "long " * 100
    versions, values = statements[-2:]
    assert "jsonb_object_keys(audit_entry.changes)" in versions
    assert versions.count("audit_entry.changes") == 1
    assert "audit_entry.changes" in values
