"""The shapes of bulk operations in the API: what comes in, and what is told of one."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from admin_app.api.answers import Moment
from admin_app.api.lists import STORABLE, Conditions, Day, PageQuery, Period, Words, sort_by, text_like
from admin_app.bulk.actions import BulkAction, NoParameters
from admin_app.bulk.models import BulkOperation
from admin_app.bulk.plan import Preview
from admin_app.bulk.service import OperationService
from admin_app.text import reject_null

MAX_REASON = 200
MAX_IDS = 20_000
"""What fits well into a body of 1 MB."""


class ActionRead(msgspec.Struct):
    """`parameters` is a JSON Schema. To start it: `POST /operations/` with `kind` and `action`."""

    kind: str
    action: str
    label: str
    parameters: dict[str, Any]
    is_dangerous: bool
    can_be_undone: bool


class ActionList(msgspec.Struct):
    """Those the caller may run."""

    items: list[ActionRead]


class Reason(msgspec.Struct):
    """Why how many rows are not changed."""

    outcome: str
    reason: str
    number: int


class SampleRead(msgspec.Struct):
    """A row that would change: what people call a value -> before and after."""

    id: UUID
    title: str
    values: dict[str, list[Any]]


class PreviewRead(msgspec.Struct):
    """What a draft would do now. Confirm it by its `fingerprint`."""

    fingerprint: str
    total: int
    changing: int
    skipped: list[Reason]
    samples: list[SampleRead]
    related: list[str]


class OperationRead(msgspec.Struct):
    """A `draft` waits to be confirmed; then it is `waiting`, `running`, at last `finished` or `cancelled`.

    `retrying` is running once more, `broken` could not begin. `left` rows are still to be done.
    """

    id: UUID
    number: int
    kind: str
    action: str
    label: str
    selection: str
    parameters: dict[str, Any]
    undoes: UUID | None
    undone_by: UUID | None
    actor_id: UUID | None
    actor_label: str
    state: str
    is_cancelling: bool
    total: int
    done: int
    skipped: int
    failed: int
    left: int
    reasons: list[Reason]
    error: str | None
    created_at: Moment
    confirmed_at: Moment | None
    started_at: Moment | None
    finished_at: Moment | None
    preview: PreviewRead | None


class OperationSummary(msgspec.Struct):
    id: UUID
    number: int
    kind: str
    label: str
    selection: str
    undoes: UUID | None
    actor_id: UUID | None
    actor_label: str
    state: str
    is_cancelling: bool
    is_undone: bool
    total: int
    done: int
    skipped: int
    failed: int
    created_at: Moment
    finished_at: Moment | None


class OperationPage(msgspec.Struct):
    """`next` and `previous` are cursors: the pages beside this one."""

    items: list[OperationSummary]
    limit: int
    next: str | None
    previous: str | None


class ItemRead(msgspec.Struct):
    """What became of one row. `title` is null for one that is gone."""

    row_id: UUID
    title: str | None
    outcome: str
    reason: str | None


class ItemPage(msgspec.Struct):
    """In the order of the ids. `next` is the cursor of the next page."""

    items: list[ItemRead]
    next: str | None


class OperationName(BaseModel):
    """Enough of a new operation to know the shape of the rest."""

    kind: str
    action: str


class NewOperation(OperationName):
    """Rows are selected by `ids`, or by `where` as its list is filtered: `{}` are all of them.

    With `expected_changes` it starts at once if exactly so many rows would change, and not at all otherwise.
    Without, it is a draft, which tells what would happen and waits to be confirmed.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"oneOf": [{"required": ["ids"]}, {"required": ["where"]}]}
    )

    ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_IDS)] | None = None
    parameters: dict[str, JsonValue] = {}
    expected_changes: Annotated[int, Field(ge=1, lt=2**31)] | None = None

    _no_null = reject_null()


class Confirmation(BaseModel):
    """The `fingerprint` of the preview. Above 1,000 rows, `changing` repeats how many are to change."""

    model_config = ConfigDict(extra="forbid")

    fingerprint: text_like("[0-9a-f]{64}", "Send the `fingerprint` of the preview.")  # type: ignore[valid-type]
    changing: Annotated[int, Field(ge=1, lt=2**31)] | None = None

    _no_null = reject_null()


class OperationConditions(Conditions):
    search: Words = ""
    state: Literal["", "active", "finished", "cancelled", "broken"] = ""
    outcome: Literal["", "changed", "skipped", "failed"] = ""
    actor: str = ""
    created: Period = ""
    created_from: Day = ""
    created_to: Day = ""


class OperationQuery(OperationConditions, PageQuery):
    """Conditions and place of a list of operations; every condition must hold."""

    sort: sort_by([*OperationService.listing.sorts]) = "-created_at"  # type: ignore[valid-type]


class ItemQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    outcome: Literal["done", "skipped", "failed", "left"] | None = None
    reason: Annotated[str, Field(max_length=MAX_REASON, pattern=STORABLE)] = ""
    cursor: UUID | None = None


@dataclass(frozen=True)
class Shape:
    """What starts an action: as it is read, and as it is told, which is with its `parameters`.

    These are read by themselves: as JSON is, strictly, a decimal would not be taken from a text.
    """

    read: type[BaseModel]
    told: type[BaseModel]
    parameters: type[BaseModel]


@cache
def shape_of(action: BulkAction[Any], where: type[Conditions]) -> Shape:
    name = "".join(word.capitalize() for word in f"new_{action.kind}_{action.name}".split("_"))
    parameters: Any = type(
        f"{name}Parameters", (action.parameters,), {"model_config": ConfigDict(extra="forbid")}
    )
    fields: dict[str, Any] = {
        "kind": (Literal[action.kind], ...),
        "action": (Literal[action.name], ...),
        "where": (where | None, None),
    }
    default = Field(default_factory=parameters) if action.parameters is NoParameters else ...
    read = create_model(name, __base__=NewOperation, __doc__=f"{action.label}.", **fields)
    told = create_model(name, __base__=read, __doc__=f"{action.label}.", parameters=(parameters, default))
    return Shape(read, told, parameters)


def reasons_of(operation: BulkOperation) -> list[Reason]:
    found = [
        Reason(outcome, reason, number)
        for outcome, numbers in operation.reasons.items()
        for reason, number in numbers.items()
    ]
    return sorted(found, key=lambda item: (-item.number, item.reason))


def preview_of(preview: Preview) -> PreviewRead:
    counts = preview.counts
    samples = [
        SampleRead(sample.row_id, sample.title, {label: [*pair] for label, pair in sample.values.items()})
        for sample in preview.samples
    ]
    skipped: list[Reason] = [Reason("skipped", reason, number) for reason, number in counts.skipped]
    return PreviewRead(
        counts.fingerprint, counts.total, counts.changing, skipped, samples, [*preview.related]
    )


def action_of(action: BulkAction[Any]) -> ActionRead:
    schema = action.parameters.model_json_schema()
    return ActionRead(
        action.kind, action.name, action.label, schema, action.is_dangerous, action.can_be_undone
    )
