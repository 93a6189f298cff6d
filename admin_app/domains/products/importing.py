"""Products from a file."""

import re
from collections.abc import Collection
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator
from sqlalchemy import Select, SelectBase
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Role
from admin_app.domains.products import access
from admin_app.domains.products.import_action import ImportProducts
from admin_app.domains.products.import_repository import NOBODY, found, judged
from admin_app.domains.products.schemas import MAX_IMAGES, Price
from admin_app.domains.users.service import UserService
from admin_app.images.containers import ImageRefused
from admin_app.images.downloads import read_address
from admin_app.imports.importer import Field, Importer, Matching
from admin_app.imports.words import Email, State
from admin_app.text import Line, Paragraphs, legible

NOT_PLAIN = re.compile(r"[^0-9.,-]")
"""Of commas and of less than nothing the price itself complains."""


def _addresses(images: list[str]) -> list[str]:
    """Each once, in their order."""
    images = list(dict.fromkeys(images))
    if len(images) > MAX_IMAGES:
        raise ValueError(f"A product has at most {MAX_IMAGES} pictures, and these are {len(images):,}.")
    for address in images:
        try:
            read_address(address)
        except ImageRefused as error:
            raise ValueError(f"{legible(address[:80])}: {error.reason}") from None
    return images


def _plain_number(text: object) -> object:
    """Stricter than a form: of what a program writes, nobody sees that `1e2` or `1_000` was understood."""
    if isinstance(text, str) and NOT_PLAIN.search(text):
        raise ValueError("Enter a number such as 12.50.")
    return text


def _split(text: object) -> object:
    return text.split() if isinstance(text, str) else text


def unknown_owner(reason: str) -> str:
    """The e-mail nobody has, of a row that is refused for that; '' of other rows."""
    return reason.removeprefix(f"{NOBODY} ").removesuffix(".") if reason.startswith(NOBODY) else ""


class ProductRow(BaseModel):
    """What a row of a file may say."""

    id: UUID | None = None
    external_id: Line | None = None
    name: Line | None = None
    description: Paragraphs | None = None
    price: Annotated[Price, BeforeValidator(_plain_number)] | None = None
    is_active: State | None = None
    owner_email: Email | None = None
    images: Annotated[list[str], AfterValidator(_addresses), BeforeValidator(_split)] | None = None


class ProductImporter(Importer):
    kind = "product"
    noun = "products"
    fields = (
        Field("id", "Id", "Only to find products by."),
        Field(
            "external_id",
            "External id",
            "What another system calls it.",
            also=("handle", "url handle", "sku"),
        ),
        Field("name", "Name", is_required=True, also=("title",)),
        Field(
            "description",
            "Description",
            "Text, of any number of lines.",
            also=("body (html)",),
            can_be_emptied=True,
            is_text=True,
        ),
        Field("price", "Price", "Such as 1250.50.", is_required=True, also=("variant price",)),
        Field(
            "is_active",
            "State",
            "Active or inactive, yes or no, true or false.",
            also=("status", "published", "active"),
        ),
        Field("owner_email", "Owner", "An e-mail address.", also=("owner",)),
        Field(
            "images",
            "Pictures",
            "Their addresses, one a line.",
            also=("image src", "product image url", "image", "picture", "image_url"),
        ),
    )
    keys = {"id": "Id", "external_id": "External id"}  # noqa: RUF012
    label = "name"
    schema = ProductRow
    action = ImportProducts()

    def may_import(self, actor: Actor) -> bool:
        return access.may_write(actor)

    async def role_of(self, session: AsyncSession, user_id: UUID) -> Role | None:
        return await UserService(session, Actor.system()).role_of(user_id)

    def required(self, actor: Actor) -> Collection[str]:
        # The installation itself owns nothing.
        return [*super().required(actor), *(["owner_email"] if actor.id is None else [])]

    def found(self, actor: Actor, matching: Matching) -> SelectBase:
        return found(actor, matching)

    def judged(self, actor: Actor, matching: Matching) -> Select[Any]:
        return judged(actor, matching)
