"""What can be done to many products at once."""

from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from sqlalchemy import ColumnElement, Numeric, Select, Text, case, false, func, literal, null, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.bulk.actions import BulkAction, NoParameters, Parameters, state_texts
from admin_app.bulk.changes import Change, Refusal
from admin_app.domains.products import access
from admin_app.domains.products.many_service import DELETED, INDEXED, RESTORED
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import MAX_PRICE, Price, without_comma
from admin_app.domains.products.service import BIN_DAYS, ProductService
from admin_app.domains.users.models import User
from admin_app.domains.users.service import UserService
from admin_app.errors import InvalidInput
from admin_app.text import EmailAddress

Compared = dict[str, tuple[ColumnElement[Any], ColumnElement[Any]]]


class ProductAction(BulkAction[Parameters]):
    model = Product
    service = ProductService

    def may_run(self, actor: Actor) -> bool:
        return access.may_write(actor)

    async def related(self, session: AsyncSession, changing: Select[Any]) -> list[str]:
        owners = select(func.count(Product.owner_id.distinct())).where(Product.id.in_(changing))
        number = await session.scalar(owners) or 0
        return [f"They belong to {number:,} people."] if number > 1 else []


class Activate(ProductAction[NoParameters]):
    name = "activate"
    label = "Activate"

    def change(self, parameters: NoParameters) -> Change:
        return Change({"is_active": true()}, [Refusal("already active", Product.is_active)])

    def compared(self, change: Change) -> Compared:
        return {"State": state_texts(Product.is_active, change)}


class Deactivate(Activate):
    name = "deactivate"
    label = "Deactivate"

    def change(self, parameters: NoParameters) -> Change:
        return Change({"is_active": false()}, [Refusal("already inactive", ~Product.is_active)])


class Unit(StrEnum):
    PERCENT = "percent"
    AMOUNT = "amount"


class Rounding(StrEnum):
    CENT = "0.01"
    FIVE = "0.05"
    TEN = "0.10"
    WHOLE = "1.00"
    NINETY_NINE = ".99"


class PriceChange(BaseModel):
    unit: Unit = Field(
        Unit.PERCENT,
        title="By",
        json_schema_extra={"labels": {"percent": "Percent", "amount": "Amount"}},
    )
    change: Decimal = Field(
        title="Change",
        description="Such as 5 or -12.5: with a minus sign, prices go down.",
        gt=-MAX_PRICE,
        lt=MAX_PRICE,
        decimal_places=2,
        allow_inf_nan=False,
    )
    rounding: Rounding = Field(
        Rounding.CENT,
        title="Round to",
        description="To the nearest, halves up.",
        json_schema_extra={
            "labels": {
                "0.01": "The cent",
                "0.05": "5 cents",
                "0.10": "10 cents",
                "1.00": "Whole amounts",
                ".99": "Amounts that end in .99",
            }
        },
    )
    floor: Price | None = Field(None, title="But not below", description="May be left empty.")
    ceiling: Price | None = Field(None, title="And not above", description="May be left empty.")

    _no_comma = field_validator("change", mode="before")(without_comma)

    @field_validator("change")
    @classmethod
    def _sensible(cls, value: Decimal, info: ValidationInfo) -> Decimal:
        if value == 0:
            raise ValueError("By 0, nothing would change.")
        if info.data.get("unit") is Unit.PERCENT and not -100 < value <= 1000:
            raise ValueError("Enter a percentage above -100 and up to 1000.")
        return value

    @field_validator("ceiling")
    @classmethod
    def _above_floor(cls, value: Decimal | None, info: ValidationInfo) -> Decimal | None:
        floor = info.data.get("floor")
        if value is not None and floor is not None and value < floor:
            raise ValueError(f"This is below the lowest price, {floor}.")
        return value


class ChangePrice(ProductAction[PriceChange]):
    name = "change_price"
    label = "Change price"
    parameters = PriceChange

    def change(self, parameters: PriceChange) -> Change:
        price = _changed(parameters)
        return Change(
            {"price": price},
            [
                Refusal("price would fall to 0", price <= 0),
                Refusal("price would be too high", price >= MAX_PRICE),
                Refusal("price stays the same", price == Product.price),
            ],
        )


class NewPrice(BaseModel):
    price: Price = Field(title="New price", description="Such as 12.50.")


class SetPrice(ProductAction[NewPrice]):
    name = "set_price"
    label = "Set price"
    parameters = NewPrice

    def change(self, parameters: NewPrice) -> Change:
        same = Refusal("already at this price", Product.price == parameters.price)
        return Change({"price": literal(parameters.price, Numeric(10, 2))}, [same])


class NewOwner(BaseModel):
    owner: EmailAddress = Field(
        title="New owner", description="The e-mail address of a superuser or an administrator."
    )


class Transfer(ProductAction[NewOwner]):
    name = "transfer"
    label = "Transfer to another owner"
    parameters = NewOwner
    is_dangerous = True
    needs_proof_above = 100
    undo_hint = "Only its new owner can change a product, so only a superuser can undo this."

    def may_undo(self, actor: Actor) -> bool:
        return actor.is_superuser

    async def check(self, session: AsyncSession, actor: Actor, parameters: NewOwner) -> None:
        found = await UserService(session, actor).ids_by_email([parameters.owner])
        owner_id = found.get(parameters.owner.lower())
        if owner_id is None or not await ProductService(session, actor).may_own(owner_id):
            reason = "No active superuser or administrator has this e-mail address."
            raise InvalidInput("There is no such owner.", {"owner": reason})

    def change(self, parameters: NewOwner) -> Change:
        email = func.lower(User.email) == func.lower(parameters.owner)
        owner_id = select(User.id).where(email).scalar_subquery()
        return Change({"owner_id": owner_id}, [Refusal("already theirs", Product.owner_id == owner_id)])

    def compared(self, change: Change) -> Compared:
        return {"Owner": (_email(Product.owner_id), _email(change.values["owner_id"]))}


class Delete(ProductAction[NoParameters]):
    name = "delete"
    label = "Delete"
    is_dangerous = True
    needs_proof_above = 100
    undo_word = RESTORED

    def change(self, parameters: NoParameters) -> Change:
        return Change({"deleted_at": func.now()}, word=DELETED)

    def compared(self, change: Change) -> Compared:
        return {"Place": (_place(Product.deleted_at), _place(change.values["deleted_at"]))}

    async def related(self, session: AsyncSession, changing: Select[Any]) -> list[str]:
        kept = f"They lie in the bin for {BIN_DAYS} days and can be restored from there."
        return [*await super().related(session, changing), kept]


class RebuildIndex(ProductAction[NoParameters]):
    name = "rebuild_index"
    label = "Rebuild search index"
    can_be_undone = False

    def change(self, parameters: NoParameters) -> Change:
        return Change({}, word=INDEXED)

    async def related(self, session: AsyncSession, changing: Select[Any]) -> list[str]:
        return ["The products stay as they are. Quick search reads them anew, one after the other."]


ACTIONS: tuple[BulkAction[Any], ...] = (
    Activate(),
    Deactivate(),
    ChangePrice(),
    SetPrice(),
    Transfer(),
    Delete(),
    RebuildIndex(),
)


def _changed(by: PriceChange) -> ColumnElement[Decimal]:
    """The price as it would be, of any size."""
    change = literal(by.change, Numeric())
    price: ColumnElement[Any] = (
        Product.price * (1 + change / 100) if by.unit is Unit.PERCENT else Product.price + change
    )
    if by.rounding is Rounding.NINETY_NINE:
        price = func.round(price) - literal(Decimal("0.01"), Numeric())
    else:
        step = literal(Decimal(by.rounding.value), Numeric())
        price = func.round(func.round(price / step) * step, 2)
    if by.floor is not None:
        price = func.greatest(price, literal(by.floor, Numeric()))
    if by.ceiling is not None:
        price = func.least(price, literal(by.ceiling, Numeric()))
    return price


def _email(owner_id: Any) -> ColumnElement[Any]:
    return select(User.email).where(User.id == owner_id).scalar_subquery()


def _place(deleted_at: Any) -> ColumnElement[Any]:
    return case((deleted_at.is_(null()), literal("In the list", Text())), else_=literal("In the bin", Text()))
