"""What a service must be able to do for its list to be exported, and the columns it has to offer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.listing import Conditions, Count, Listing, ListQuery, Rows

EXPORTABLE = "exportable"
"""The key under which every session carries the table of services (see `Database.session_info`)."""


@dataclass(frozen=True)
class ExportColumn:
    """`name` is the list's. `shown` is what people read in CSV and Excel: a text, a number or a time; `value`
    is what programs read in JSON, under `key`: without them, `shown` under `name`. Of what a person typed,
    `is_typed` is true: it may look like a formula.
    """

    name: str
    label: str
    shown: SQLColumnExpression[Any]
    value: SQLColumnExpression[Any] | None = None
    key: str = ""
    is_typed: bool = False
    is_usual: bool = True
    """Whether the list shows it to who has not chosen columns."""


class ExportableService(Protocol):
    """It enforces every permission itself."""

    listing: ClassVar[Listing[Any]]
    export_columns: ClassVar[Sequence[ExportColumn]]
    noun: ClassVar[str]
    """What the rows are called, many of them: "products"."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None: ...

    def require_export(self) -> None:
        """Raises Forbidden, or ProofRequired, for who may not export."""

    async def count(self, query: ListQuery, *, exactly: bool = False) -> Count: ...

    async def export(self, query: ListQuery, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        """These columns of all the rows a list's query finds for this actor, as `all_rows`."""


def all_rows(
    listing: Listing[Any],
    base: Rows,
    query: ListQuery,
    columns: Sequence[ColumnElement[Any]],
    known: Conditions | None = None,
) -> Select[Any]:
    """These columns of what the pages of a list show, all of them together, in their order.

    Without columns, the ids in any order, and none of the joins that only serve to show a row: to be counted.
    """
    conditions = listing.conditions(query, known)
    key, row_id = listing.sorts[query.sort], listing.model.id
    if not columns:
        scope = [] if base.whereclause is None else [base.whereclause]
        return select(row_id).where(*scope, *conditions)
    order = (key.desc(), row_id.desc()) if query.descending else (key.asc(), row_id.asc())
    found = base.where(*conditions).order_by(*order)
    return found.with_only_columns(*columns, maintain_column_froms=True)


Exportables = Mapping[str, type[ExportableService]]
"""kind -> service."""
