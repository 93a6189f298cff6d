"""What an operation means: its action, its change, its rows, and what it would do to them now."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from pydantic import BaseModel, ValidationError
from sqlalchemy import ARRAY, BigInteger, ColumnElement, Uuid, case, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Source
from admin_app.audit import AuditEntry, label_of
from admin_app.bulk.actions import ACTIONS, Actions, BulkAction, NoParameters, Selected
from admin_app.bulk.changes import GONE, Change
from admin_app.bulk.models import UNDO, BulkItem, BulkOperation, Outcome
from admin_app.errors import AppError, InvalidInput, NotFound
from admin_app.text import is_storable

SAMPLES = 5
STRICT_LIMIT = 10_000
"""Of so many rows, a confirmation is for the very versions that were shown; of more, for the very rows and
what becomes of each: somewhere in a million, somebody is always at work."""


Compared = Mapping[str, tuple[ColumnElement[Any], ColumnElement[Any]]]


class UnknownAction(AppError):
    def __init__(self) -> None:
        super().__init__("There is no such action.")


@dataclass(frozen=True)
class Sample:
    row_id: UUID
    title: str
    values: Mapping[str, tuple[Any, Any]]
    """label -> (before, after)"""


@dataclass(frozen=True)
class Counts:
    """`skipped` by reason, the most frequent first; `fingerprint` ties a confirmation to what was shown."""

    total: int
    changing: int
    skipped: Sequence[tuple[str, int]]
    fingerprint: str


@dataclass(frozen=True)
class Preview:
    counts: Counts
    samples: Sequence[Sample]
    related: Sequence[str]


@dataclass(frozen=True)
class _Judged:
    """The rows an operation is about, what is to become of them, and why not, by row."""

    rows: Selected
    change: Change
    reason: ColumnElement[str | None]
    is_made: ColumnElement[bool] | None = None
    """Of rows of which some were made by what is taken back: whether this one was."""


@dataclass(frozen=True)
class Plan:
    """An operation with its action. Of one that takes another back, the action is the other's."""

    operation: BulkOperation
    action: BulkAction[Any]
    undone: BulkOperation | None = None
    generation: int = 0
    """1 when it takes back, 2 when it takes back a taking back."""

    @property
    def is_undo(self) -> bool:
        return self.undone is not None

    @property
    def is_forward(self) -> bool:
        """False when it takes back, True again when it takes back a taking back."""
        return self.generation % 2 == 0

    @property
    def source(self) -> Source:
        return Source.BULK if self.is_undo else self.action.source

    @property
    def is_of_versions(self) -> bool:
        """Whether rows that changed since are left for good: to try again would overwrite that."""
        return self.is_undo or not self.action.is_listed

    @property
    def undo_label(self) -> str:
        """What taking this back is called."""
        return f"{'Undo' if self.is_forward else 'Redo'}: {self.action.label}"

    def change(self, parameters: BaseModel) -> Change:
        """Without the service's guards; not of rows that the action made."""
        return self._after_undoing(self.action, self.action.change(parameters), self.generation)

    def change_of_made(self) -> Change | None:
        """What becomes of rows that the action made, when it is taken back; their version is `generation`."""
        action = self.action.takes_back_made
        if action is None or not self.is_undo:
            return None
        return self._after_undoing(action, action.change(NoParameters()), self.generation - 1)

    async def apply(
        self, session: AsyncSession, actor: Actor, rows: Mapping[UUID, int], parameters: BaseModel
    ) -> dict[UUID, str | None]:
        """Do it to the rows that are at these versions: id -> why not, or None."""
        if not self.is_undo:
            return await self.action.apply(session, actor, rows, parameters)
        change_many = self.action.service(session, actor).change_many
        of_made = self.change_of_made()
        if of_made is None:
            return await change_many(rows, self.change(parameters))
        made = {row_id: version for row_id, version in rows.items() if version == self.generation}
        others = {row_id: version for row_id, version in rows.items() if row_id not in made}
        reasons = await change_many(made, of_made) if made else {}
        return reasons | (await change_many(others, self.change(parameters)) if others else {})

    def parameters(self, given: Mapping[str, Any] | None = None) -> BaseModel:
        """Those of the operation, or the `given` ones; raises InvalidInput, whose fields are theirs."""
        source = self.undone or self.operation
        return _read_parameters(self.action, source.parameters if given is None or self.undone else given)

    async def selected(self, session: AsyncSession, actor: Actor) -> Selected:
        """The rows it is about, in columns `id` and `version`; those that are gone are not among them."""
        model: Any = self.action.model
        if self.undone is not None:
            return (
                select(model.id, (BulkItem.version + 1).label("version"))
                .join(BulkItem, BulkItem.row_id == model.id)
                .where(BulkItem.operation_id == self.undone.id, BulkItem.outcome == Outcome.DONE)
            )
        if self.operation.query is not None:
            service = self.action.service(session, actor)
            return await service.selection(service.listing.parse(parse_qsl(self.operation.query)))
        ids = literal(await self.row_ids(session), ARRAY(Uuid()))
        return select(model.id, model.version).where(model.id == func.any(ids))

    async def row_ids(self, session: AsyncSession) -> list[UUID]:
        """Of a selection by hand."""
        statement = select(BulkOperation.row_ids).where(BulkOperation.id == self.operation.id)
        return await session.scalar(statement) or []

    async def count(self, session: AsyncSession, actor: Actor, parameters: BaseModel) -> Counts:
        """One look at all the rows."""
        return await self._count(session, await self._judge(session, actor, parameters), parameters)

    async def preview(self, session: AsyncSession, actor: Actor, parameters: BaseModel) -> Preview:
        judged = await self._judge(session, actor, parameters)
        counts = await self._count(session, judged, parameters)
        if not counts.changing:
            return Preview(counts, [], [])
        model: Any = self.action.model
        changing = judged.rows.where(judged.reason.is_(None)).with_only_columns(
            model.id, maintain_column_froms=True
        )
        compared = self.action.compared(judged.change)
        if judged.is_made is not None:
            compared = _as_one_column(compared, self._compared_of_made(), judged.is_made)
        pairs = [
            value.label(f"value_{index}") for index, value in enumerate(sum(compared.values(), start=()))
        ]
        statement = changing.order_by(model.id).limit(SAMPLES)
        shown = statement.add_columns(label_of(model).label("title"), *pairs)
        samples = [
            Sample(
                row.id,
                row.title,
                {label: (row[2 + 2 * at], row[3 + 2 * at]) for at, label in enumerate(compared)},
            )
            for row in await session.execute(shown)
        ]
        related = [] if self.is_undo else await self.action.related(session, changing)
        return Preview(counts, samples, related)

    async def _judge(self, session: AsyncSession, actor: Actor, parameters: BaseModel) -> _Judged:
        rows = await self.selected(session, actor)
        service = self.action.service(session, actor)
        change = service.guarded(self.change(parameters))
        version = rows.selected_columns["version"] if self.undone is not None else None
        reason = change.reason(self.action.model, version, is_brief=self._is_brief)
        of_made = self.change_of_made()
        if of_made is None or version is None:
            return _Judged(rows, change, reason)
        is_made = version == self.generation
        why = service.guarded(of_made).reason(self.action.model, version, is_brief=self._is_brief)
        return _Judged(rows, change, case((is_made, why), else_=reason), is_made)

    async def _count(self, session: AsyncSession, judged: _Judged, parameters: BaseModel) -> Counts:
        model: Any = self.action.model
        statement = judged.rows.with_only_columns(
            judged.reason.label("why"),
            func.count().label("number"),
            func.bit_xor(_hash(model.id, 0)).label("rows"),
            func.bit_xor(_hash(model.id, model.version)).label("versions"),
            maintain_column_froms=True,
        ).group_by("why")
        found = (await session.execute(statement)).all()
        numbers = {row.why: row.number for row in found}
        gone = self._expected(sum(numbers.values())) - sum(numbers.values())
        if gone:
            numbers[GONE] = numbers.get(GONE, 0) + gone
        total = sum(numbers.values())
        name = "versions" if total <= STRICT_LIMIT else "rows"
        seen = sorted((str(row.why), row.number, getattr(row, name)) for row in found)
        changing = numbers.pop(None, 0)
        return Counts(
            total,
            changing,
            sorted(numbers.items(), key=lambda item: (-item[1], item[0])),
            hashlib.sha256(
                json.dumps([total, seen, parameters.model_dump(mode="json")]).encode()
            ).hexdigest(),
        )

    def _expected(self, found: int) -> int:
        """How many rows there were when they were selected, where that is known."""
        if self.undone is not None:
            return self.undone.done
        return found if self.operation.query is not None else self.operation.total

    @property
    def _is_brief(self) -> bool:
        """To undo, each row's values are looked up in the history: too much of very many, to be shown."""
        return self.undone is not None and self.undone.done > STRICT_LIMIT

    def _after_undoing(self, action: BulkAction[Any], change: Change, times: int) -> Change:
        if self.undone is None or not times:
            return change
        values = {name: self._before(name, self.undone.id) for name in change.values}
        return Change(values, word=action.undo_word if times % 2 else change.word)

    def _compared_of_made(self) -> Compared:
        action, change = self.action.takes_back_made, self.change_of_made()
        assert action is not None
        assert change is not None
        return action.compared(change)

    def _before(self, name: str, operation_id: UUID) -> Any:
        """What the history says a column held before that operation; of one row, as a look-up."""
        model: Any = self.action.model
        column = model.__table__.c[name]
        before = cast(AuditEntry.changes[name][0].astext, column.type)
        return (
            select(case((AuditEntry.changes.has_key(name), before), else_=column))
            .where(
                AuditEntry.kind == self.action.kind,
                AuditEntry.row_id == model.id,
                AuditEntry.operation_id == operation_id,
            )
            .correlate(model.__table__)
            .order_by(AuditEntry.id.desc())
            .limit(1)
            .scalar_subquery()
        )


async def plan_of(session: AsyncSession, operation: BulkOperation) -> Plan:
    """Raises UnknownAction for an action this installation does not have any more."""
    if operation.action != UNDO:
        return Plan(operation, find_action(session, operation.kind, operation.action))
    undone = await session.get(BulkOperation, operation.undoes) if operation.undoes else None
    if undone is None:
        raise NotFound("The operation to undo is not on record any more.")
    other = await plan_of(session, undone)
    return Plan(operation, other.action, undone, other.generation + 1)


def find_action(session: AsyncSession, kind: str, name: str) -> BulkAction[Any]:
    actions: Actions = session.info[ACTIONS]
    found = actions.get(kind, {}).get(name)
    if found is None:
        raise UnknownAction
    return found


def _as_one_column(compared: Compared, of_made: Compared, is_made: ColumnElement[bool]) -> Compared:
    """Of two actions that show one thing each."""
    [(label, (before, after))], [(old, new)] = compared.items(), of_made.values()
    return {label: (case((is_made, old), else_=before), case((is_made, new), else_=after))}


def _read_parameters(action: BulkAction[Any], given: Mapping[str, Any]) -> BaseModel:
    for name, value in given.items():
        if name in action.parameters.model_fields and isinstance(value, str) and not is_storable(value):
            reason = "This text contains characters that cannot be stored."
            raise InvalidInput("Some values cannot be accepted.", {name: reason})
    try:
        found: BaseModel = action.parameters.model_validate(dict(given))
    except ValidationError as error:
        raise InvalidInput.from_validation(error) from None
    return found


def _hash(row_id: Any, number: Any) -> Any:
    return func.uuid_hash_extended(row_id, cast(number, BigInteger))
