"""What a bulk action is. Each domain declares its own, in its `bulk.py`."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, case, literal
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from admin_app.actor import Actor, Source
from admin_app.audit import UPDATED, kind_of
from admin_app.bulk.changes import Change
from admin_app.database import Base
from admin_app.listing import Listing, ListQuery

ACTIONS = "bulk_actions"
"""The key under which every session carries the table of actions (see `Database.session_info`)."""

Selected = Select[Any]
"""Rows of one model, in columns `id` and `version`: the version each must still have."""


class NoParameters(BaseModel):
    pass


class BulkService(Protocol):
    """What a domain's service does for its actions. It enforces every permission itself."""

    listing: ClassVar[Listing[Any]]

    def __init__(self, session: AsyncSession, actor: Actor) -> None: ...

    async def selection(self, query: ListQuery) -> Selected:
        """The rows a list's query finds."""

    def guarded(self, change: Change) -> Change:
        """The change with `guards` for the rows this actor may not change."""

    async def change_many(self, rows: Mapping[UUID, int], change: Change) -> dict[UUID, str | None]:
        """As `changes.change_rows`, with the events; raises Forbidden before anything is written."""


Parameters = TypeVar("Parameters", bound=BaseModel)


class BulkAction(Generic[Parameters]):
    """Something to do to many rows, declared by its values and by the reasons to leave a row alone.

    Subclasses are stateless. `parameters` becomes the form on the confirmation page: a field's title is
    its label, its description a hint.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    """In the imperative: "Change price"."""
    model: ClassVar[type[Base]]
    service: ClassVar[type[BulkService]]
    parameters: type[Parameters] = NoParameters  # type: ignore[assignment]  # of a subclass without a form
    is_dangerous: ClassVar[bool] = False
    can_be_undone: ClassVar[bool] = True
    needs_proof_above: ClassVar[int | None] = None
    """To change more rows than this, whoever confirms must have shown lately who they are."""
    undo_hint: ClassVar[str] = ""
    """What to know of taking it back, beyond that it can be, in a sentence."""
    taken_back: ClassVar[str] = ""
    """What becomes of rows when it is taken back or done again, beyond their values, in a sentence."""
    undo_word: ClassVar[str] = UPDATED
    """What the history calls it when the action is taken back."""
    source: ClassVar[Source] = Source.BULK
    is_listed: ClassVar[bool] = True
    """Whether it begins with a selection. Others bring their own `rows`, to be changed as they were then."""
    takes_back_made: ClassVar["BulkAction[NoParameters] | None"] = None
    """Of an action that makes rows: what is done to these when it is taken back."""

    @property
    def kind(self) -> str:
        return kind_of(self.model)

    def may_run(self, actor: Actor) -> bool:
        raise NotImplementedError(f"{type(self).__name__}.may_run")

    def may_undo(self, actor: Actor) -> bool:
        return self.may_run(actor)

    def require_proof(self, actor: Actor, number: int) -> None:
        """Before so many rows are changed. Raises ProofRequired."""
        if self.needs_proof_above is not None and number > self.needs_proof_above:
            actor.require_proof()

    def change(self, parameters: Parameters) -> Change:
        raise NotImplementedError(f"{type(self).__name__}.change")

    def rows(self, parameters: Parameters) -> Select[Any]:
        """Of an action that is not listed, in columns `row_id` and `version`: 0 of one to be made."""
        raise NotImplementedError(f"{type(self).__name__}.rows")

    async def apply(
        self, session: AsyncSession, actor: Actor, rows: Mapping[UUID, int], parameters: Parameters
    ) -> dict[UUID, str | None]:
        """Do it to the rows that are at these versions: id -> why not, or None."""
        return await self.service(session, actor).change_many(rows, self.change(parameters))

    async def check(self, session: AsyncSession, actor: Actor, parameters: Parameters) -> None:
        """Look what the parameters name up. Raises InvalidInput, whose fields are theirs."""

    def compared(self, change: Change) -> Mapping[str, tuple[ColumnElement[Any], ColumnElement[Any]]]:
        """What the samples show: label -> (before, after)."""
        return {
            name.replace("_", " ").capitalize(): (getattr(self.model, name), value)
            for name, value in change.values.items()
        }

    async def related(self, session: AsyncSession, changing: Select[Any]) -> list[str]:
        """Sentences on what else is affected; `changing` selects the ids of the rows that will change."""
        return []


def state_texts(
    is_active: InstrumentedAttribute[bool], change: Change
) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """For `compared`: a state before and after, as lists show it."""
    return _state(is_active), _state(change.values[is_active.key])


def _state(is_active: Any) -> ColumnElement[Any]:
    return case((is_active, literal("Active")), else_=literal("Inactive"))


Actions = Mapping[str, Mapping[str, BulkAction[Any]]]
"""kind -> name -> action."""


def table_of(actions: Iterable[BulkAction[Any]]) -> Actions:
    found: dict[str, dict[str, BulkAction[Any]]] = {}
    for action in actions:
        found.setdefault(action.kind, {})[action.name] = action
    return found
