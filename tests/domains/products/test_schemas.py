"""What may come in as a product, for any text anybody types; and that it comes out of the database again."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import select, text

from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductCreate, ProductRead, ProductUpdate
from admin_app.errors import InvalidInput
from admin_app.text import MAX_DESCRIPTION_LENGTH
from tests.conftest import Cast, MakeProduct

TYPED = st.text(st.characters(exclude_categories=()), max_size=300)
"""Any text at all: with NUL, control characters and lone surrogates."""

WITH_DATABASE = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def refusal(**values: Any) -> dict[str, str] | None:
    """The sentence beside each refused field; None when everything is accepted."""
    try:
        ProductCreate(**{"name": "Overkill", "price": "0.99", **values})
    except ValidationError as error:
        return InvalidInput.from_validation(error).fields
    return None


def is_sentence(text: str) -> bool:
    return text[:1].isupper() and text.endswith(".") and "Value error" not in text and "\n" not in text


@WITH_DATABASE
@given(name=TYPED)
@example(name="")
@example(name=" \N{NO-BREAK SPACE}\t")
@example(name="a\0b")
@example(name="\ud800")
@example(name="x" * 255)
@example(name="x" * 256)
@example(name="\N{ZERO WIDTH SPACE}")
@example(name="½" * 255)
@example(name="\N{MUSICAL SYMBOL G CLEF}" * 255)
async def test_any_name_is_refused_with_a_sentence_or_stored_as_it_is(
    database: Database, cast: Cast, name: str
) -> None:
    sentences = refusal(name=name)
    if sentences is not None:
        assert set(sentences) == {"name"}
        assert is_sentence(sentences["name"])
        return
    accepted = ProductCreate(name=name, price=Decimal(1)).name
    before, found, after = name.partition(accepted)
    assert found
    assert not (before + after).strip()  # nothing but spaces around it was dropped
    assert await stored(database, cast, "name", accepted) == accepted


@WITH_DATABASE
@given(description=TYPED)
@example(description="")
@example(description="one\r\ntwo\rthree\n\tfour  ")
@example(description="a\0b")
@example(description="\ud800")
@example(description="\x1b[31m")
@example(description="x" * MAX_DESCRIPTION_LENGTH)
@example(description="x" * (MAX_DESCRIPTION_LENGTH + 1))
async def test_any_description_is_refused_with_a_sentence_or_stored_with_unix_line_ends(
    database: Database, cast: Cast, description: str
) -> None:
    sentences = refusal(description=description)
    if sentences is not None:
        assert set(sentences) == {"description"}
        assert is_sentence(sentences["description"])
        return
    accepted = ProductCreate(name="x", price=Decimal(1), description=description).description
    assert accepted == description.replace("\r\n", "\n").replace("\r", "\n")
    assert await stored(database, cast, "description", accepted) == accepted


async def stored(database: Database, cast: Cast, field: str, value: str) -> str:
    """The value after a journey through the database; nothing is committed."""
    async with database.reading() as session:
        values = {"name": "x", "price": Decimal(1), "owner_id": cast.alice.id, field: value}
        session.add(Product(**values))
        await session.flush()
        column = getattr(Product, field)
        return (await session.scalars(select(column))).one()


@pytest.mark.parametrize(
    "price",
    [
        *("NaN", "sNaN", "Infinity", "-Infinity", "inf", "", " ", "abc", "12,50", "1/2", "€ 5", "0x10"),
        *("0", "0.00", "-0", "-1", "-0.01", "0.001", "12.345", "1e-3", "100000000", "1e8", "1e999999"),
        *("9" * 5_000, "0." + "1" * 5_000, "1" + "0" * 5_000, "a\0b", "\ud800"),
        *(float("nan"), float("inf"), 12.345, 0, -1, 10**8, 10**5_000, Decimal("NaN"), None, True, [], {}),
    ],
    ids=lambda price: ascii(price)[:20] if not isinstance(price, int) else f"{float(min(price, 10**300)):g}",
)
def test_a_price_nobody_can_pay_is_refused(price: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        ProductCreate(name="Overkill", price=price)
    assert set(InvalidInput.from_validation(refused.value).fields) == {"price"}


@given(
    price=TYPED | st.from_regex(r"[+-]?[0-9]{0,12}([.,][0-9]{0,4})?([eE][+-]?[0-9]{1,6})?", fullmatch=True)
)
@example(price="NaN")
@example(price="1e999999999999999999")
def test_any_typed_price_is_refused_with_a_sentence_or_is_money(price: str) -> None:
    sentences = refusal(price=price)
    if sentences is not None:
        assert set(sentences) == {"price"}
        assert is_sentence(sentences["price"])
        return
    accepted = ProductCreate(name="x", price=price).price
    assert accepted == Decimal(price.strip())
    assert Decimal(0) < accepted < 10**8
    assert accepted.as_tuple().exponent == -2


@WITH_DATABASE
@given(price=st.decimals("0.01", "99999999.99", places=2))
async def test_every_price_is_the_same_decimal_end_to_end(
    database: Database, cast: Cast, price: Decimal
) -> None:
    data = ProductCreate(name="x", price=str(price))
    async with database.reading() as session:
        session.add(Product(**data.model_dump(), owner_id=cast.alice.id))
        await session.flush()
        session.expunge_all()
        product = (await session.scalars(select(Product))).one()
        assert await session.scalar(text("SELECT price::text FROM products")) == str(price)
    read = ProductRead.model_validate(product)
    for value in (product.price, read.price):
        assert isinstance(value, Decimal)
        assert str(value) == str(price)
    assert json.loads(read.model_dump_json())["price"] == str(price)


@pytest.mark.parametrize("field", ["name", "description", "price", "is_active", "owner_id"])
def test_a_field_left_out_of_an_update_stays_and_null_is_refused(field: str) -> None:
    assert field not in ProductUpdate().model_dump(exclude_unset=True)
    with pytest.raises(ValidationError) as refused:
        ProductUpdate(**{field: None})
    assert InvalidInput.from_validation(refused.value).fields == {field: "This field cannot be empty."}


def test_every_missing_field_is_named() -> None:
    with pytest.raises(ValidationError) as refused:
        ProductCreate()
    assert set(InvalidInput.from_validation(refused.value).fields) == {"name", "price"}


async def test_what_is_read_out_has_no_field_of_the_owner(cast: Cast, make_product: MakeProduct) -> None:
    read = ProductRead.model_validate(await make_product(cast.alice))
    assert "password" not in read.model_dump_json()
