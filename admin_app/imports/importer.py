"""What can be imported: the fields of a model, and how its rows are found. Each domain declares its own."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Select, SelectBase
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Role
from admin_app.bulk.actions import BulkAction

IMPORTERS = "importers"
"""The key under which every session carries the table of importers (see `Database.session_info`)."""


@dataclass(frozen=True)
class Field:
    """`also` are other names a column of it goes by, in lower case, such as those other shops use."""

    name: str
    label: str
    hint: str = ""
    is_required: bool = False
    """To make a new row. An empty cell of it is refused, of new rows and of others."""
    also: Sequence[str] = ()
    can_be_emptied: bool = False
    """An empty cell says that it is empty. Of other fields that are not required it says nothing."""
    is_text: bool = False
    """Spaces around it count."""


@dataclass(frozen=True)
class Matching:
    """What is known of every row of a file before its rows are looked at."""

    fields: Collection[str]
    """Those the file has."""
    key: str
    """The one that finds rows; '': every row is a new one."""
    missing: Collection[str]
    """Those a new row would need and the file has not."""


class Importer:
    kind: ClassVar[str]
    """As the addresses of lists call it."""
    noun: ClassVar[str]
    """What the rows are called, many of them: "products"."""
    fields: ClassVar[Sequence[Field]]
    keys: ClassVar[Mapping[str, str]]
    """Names of fields that find a row -> what to call that: {"id": "Id", "external_id": "External id"}."""
    label: ClassVar[str]
    """The field a row is called by."""
    schema: ClassVar[type[BaseModel]]
    """What the cells of a row may say: every field may be left out, and each is judged for itself."""
    action: ClassVar[BulkAction[Any]]

    def may_import(self, actor: Actor) -> bool:
        raise NotImplementedError(f"{type(self).__name__}.may_import")

    async def role_of(self, session: AsyncSession, user_id: UUID) -> Role | None:
        """The role in which somebody may act now; None for who may not."""
        raise NotImplementedError(f"{type(self).__name__}.role_of")

    def required(self, actor: Actor) -> Collection[str]:
        """The fields a new row needs."""
        return [field.name for field in self.fields if field.is_required]

    def found(self, actor: Actor, matching: Matching) -> SelectBase:
        """The rows that those in `staging.STAGED` are about: `line` and id, at most one for each."""
        raise NotImplementedError(f"{type(self).__name__}.found")

    def judged(self, actor: Actor, matching: Matching) -> Select[Any]:
        """What they would do to those in `staging.FOUND`, one row each, in these columns:

        `line`; `row_id`, `version` and `label` of the row that was found, or NULL; `changes` as ImportRow
        has them; and `refusal`, a sentence, or NULL.
        """
        raise NotImplementedError(f"{type(self).__name__}.judged")


Importers = Mapping[str, Importer]
"""kind -> importer."""
