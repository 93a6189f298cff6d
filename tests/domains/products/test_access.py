"""The ownership rule: its two forms, bool and WHERE, never disagree."""

from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from admin_app.actor import Actor, Role
from admin_app.database import Database
from admin_app.domains.products import access
from admin_app.domains.products.models import Product
from tests.conftest import Cast

PEOPLE = ("alice", "bob", "sam", "root")
ROLES = st.sampled_from(Role)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(owners=st.lists(st.sampled_from(PEOPLE), max_size=8), acting=st.sampled_from(PEOPLE), role=ROLES)
async def test_may_change_is_true_for_exactly_the_rows_changeable_by_selects(
    database: Database, cast: Cast, owners: list[str], acting: str, role: Role
) -> None:
    people: dict[str, Actor] = vars(cast)
    actor = Actor(people[acting].id, role, people[acting].label)
    async with database.reading() as session:
        rows = [
            {"name": owner, "price": Decimal(1), "is_active": number % 2 == 0, "owner_id": people[owner].id}
            for number, owner in enumerate(owners)
        ]
        if rows:
            await session.execute(insert(Product), rows)
        selected = set(await session.scalars(select(Product.id).where(access.changeable_by(actor))))
        products = list(await session.scalars(select(Product)))
        assert selected == {product.id for product in products if access.may_change(actor, product)}


@pytest.mark.parametrize(
    ("role", "writes", "changes_own", "changes_foreign", "chooses_owner"),
    [
        (Role.SUPERUSER, True, True, True, True),
        (Role.ADMINISTRATOR, True, True, False, False),
        (Role.SUPPORT, False, False, False, False),
    ],
)
def test_each_role_may_do_exactly_this(
    role: Role, writes: bool, changes_own: bool, changes_foreign: bool, chooses_owner: bool
) -> None:
    actor = Actor(uuid4(), role, "somebody")
    assert access.may_write(actor) is writes
    assert access.may_change(actor, Product(owner_id=actor.id)) is changes_own
    assert access.may_change(actor, Product(owner_id=uuid4())) is changes_foreign
    assert access.may_choose_owner(actor) is chooses_owner


@given(role=st.sampled_from([Role.ADMINISTRATOR, Role.SUPPORT]), owner_id=st.uuids())
def test_an_actor_without_an_id_owns_nothing(role: Role, owner_id: UUID) -> None:
    assert not access.may_change(Actor(None, role, "nobody"), Product(owner_id=owner_id))
