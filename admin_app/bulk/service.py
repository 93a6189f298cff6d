"""Everything that can be done to operations. Each is its actor's; superusers may do it to all of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Role
from admin_app.audit import label_of
from admin_app.bulk.actions import BulkAction
from admin_app.bulk.exporting import COLUMNS
from admin_app.bulk.listing import LISTING, ROWS, readable_by
from admin_app.bulk.models import ACTIVE, UNDO, UNDOING, BulkItem, BulkOperation, Outcome, State
from admin_app.bulk.plan import Counts, Plan, Preview, UnknownAction, find_action, plan_of
from admin_app.errors import Conflict, Forbidden, InvalidInput, NotFound
from admin_app.exports.exportable import all_rows
from admin_app.listing import Count, ListQuery, Page, Rows

MAX_SELECTED = 100_000
"""Of rows selected one by one. A list's query may find any number."""

TYPED_ABOVE = 1_000
"""To change more rows than this, their number must be typed."""

ITEMS_PER_PAGE = 50

TYPED = "typed"

NONE_YET: Mapping[str, Any] = MappingProxyType({})


class SelectionChanged(Conflict):
    """What would be changed is not what was shown. Nothing was started."""

    def __init__(self) -> None:
        super().__init__("This is not what you saw any more, so nothing was started. Look again.")


@dataclass(frozen=True)
class Item:
    """`title` is None for a row that is gone."""

    row_id: UUID
    title: str | None
    outcome: Outcome
    reason: str | None


class OperationService:
    """Runs inside the caller's transaction, as the actor.

    Raises NotFound for an operation that is not this actor's to see or change, Forbidden for a role that
    never runs any.
    """

    listing: ClassVar = LISTING
    export_columns: ClassVar = COLUMNS
    noun: ClassVar = "operations"

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    async def draft_of_rows(
        self, kind: str, action: str, row_ids: Sequence[UUID], *, parameters: Mapping[str, Any] = NONE_YET
    ) -> BulkOperation:
        """For rows selected one by one. Nothing is done before it is confirmed.

        The draft keeps these `parameters` for whoever confirms it; they are not looked at here.
        """
        label = self._startable(kind, action).label
        row_ids = sorted(set(row_ids))
        if not row_ids:
            raise InvalidInput("Select at least one row first.")
        if len(row_ids) > MAX_SELECTED:
            raise InvalidInput(
                f"Select at most {MAX_SELECTED:,} rows one by one, or all that match a search and filters."
            )
        words = "1 selected row" if len(row_ids) == 1 else f"{len(row_ids):,} selected rows"
        return await self._draft(
            kind,
            action,
            label=label,
            row_ids=row_ids,
            selection=words,
            total=len(row_ids),
            parameters=dict(parameters),
        )

    async def draft_of_query(
        self, kind: str, action: str, query: str, words: str, *, parameters: Mapping[str, Any] = NONE_YET
    ) -> BulkOperation:
        """For all rows a list's query finds; `words` say what that is. `parameters` as in `draft_of_rows`."""
        label = self._startable(kind, action).label
        values = {"query": query, "selection": words, "parameters": dict(parameters)}
        return await self._draft(kind, action, label=label, **values)

    async def draft_of_undo(self, operation_id: UUID) -> BulkOperation:
        """To take an operation back: the draft there is already, or a new one."""
        undone = await self._lock(operation_id)
        plan = await plan_of(self._session, undone)
        why_not = await self.why_not_undo(plan)
        if why_not:
            raise Conflict(why_not)
        found = await self.undo_of(undone.id) or await self._own_draft_of_undo(undone.id)
        return found or await self._draft(
            undone.kind,
            UNDO,
            label=plan.undo_label,
            undoes=undone.id,
            selection=f"What operation #{undone.number} changed",
        )

    async def why_not_undo(self, plan: Plan) -> str | None:
        """In a sentence, or None when it can be undone now. Being undone already is no reason."""
        operation = plan.operation
        if operation.state not in {State.FINISHED, State.CANCELLED} or not operation.done:
            return "There is nothing to undo."
        if not plan.action.can_be_undone:
            return "This cannot be undone."
        if not plan.action.may_undo(self._actor):
            return "Only a superuser can undo this."
        if not _is_recent(operation):
            return "This is too long ago to be undone."
        return None

    async def get_by_id(self, operation_id: UUID) -> BulkOperation:
        return await self._find(self._visible(operation_id))

    async def plan(self, operation: BulkOperation) -> Plan:
        return await plan_of(self._session, operation)

    async def undo_of(self, operation_id: UUID) -> BulkOperation | None:
        """The confirmed operation that takes this one back, unless it ended without undoing anything."""
        statement = select(BulkOperation).where(BulkOperation.undoes == operation_id, text(UNDOING))
        return (await self._session.scalars(statement)).one_or_none()

    async def preview(self, plan: Plan, given: Mapping[str, Any]) -> Preview:
        """What a draft would do now. Raises InvalidInput for parameters that cannot be used."""
        parameters = await self._parameters(plan, given)
        return await plan.preview(self._session, self._actor, parameters)

    async def confirm(
        self, operation_id: UUID, given: Mapping[str, Any], fingerprint: str, typed: str
    ) -> BulkOperation:
        """Let it begin, if it would do what was shown. Confirmed before, it is as it is.

        Raises SelectionChanged otherwise, InvalidInput for a number that was not typed, and ProofRequired
        for more rows than the action allows without, also to take it back. Trying the rest again needs none.
        """
        operation, undone = await self._lock_with_undone(operation_id)
        if operation.state is not State.DRAFT:
            return operation
        plan = await plan_of(self._session, operation)
        if not plan.action.may_run(self._actor):
            raise Forbidden
        why_not = await self.why_not_undo(await plan_of(self._session, undone)) if undone else None
        if why_not:
            raise Conflict(why_not)
        parameters = await self._parameters(plan, given)
        await self._require_undoing_alone(operation)
        counts = await plan.count(self._session, self._actor, parameters)
        _require_shown(counts, fingerprint, typed)
        plan.action.require_proof(self._actor, counts.changing)
        operation.confirmed_at = await self._session.scalar(select(func.now()))
        operation.parameters = parameters.model_dump(mode="json")
        operation.total = operation.confirmed = counts.total
        operation.state = State.WAITING
        return operation

    async def cancel(self, operation_id: UUID) -> BulkOperation:
        """What is done stays done. It ends with the chunk that is being worked on."""
        operation = await self._lock(operation_id)
        if operation.state in ACTIVE:
            # Past the ORM: the worker writes the other columns at the same time.
            statement = update(BulkOperation).where(BulkOperation.id == operation.id)
            await self._session.execute(statement.values(is_cancelling=True))
        return operation

    async def retry(self, operation_id: UUID) -> BulkOperation:
        """Try the failed rows again as they are now, and go on where it was cancelled."""
        operation, _ = await self._lock_with_undone(operation_id)
        if operation.state in ACTIVE:
            return operation
        plan = await plan_of(self._session, operation)
        if not can_retry(operation) or await self.undo_of(operation.id):
            raise Conflict("There is nothing to try again.")
        if not plan.action.may_run(self._actor):
            raise Forbidden
        await self._require_undoing_alone(operation)
        operation.state = State.RETRYING if operation.started_at else State.WAITING
        operation.is_cancelling, operation.error = False, None
        # That it ended is no news any more; that it will have, is to come.
        operation.seen_at = await self._session.scalar(select(func.now()))
        return operation

    async def items(
        self, plan: Plan, outcome: Outcome | None, reason: str | None, after: UUID | None
    ) -> tuple[list[Item], bool]:
        """Rows of the operation in the order of their ids, and whether there are more."""
        model: Any = plan.action.model
        statement = (
            select(BulkItem.row_id, label_of(model), BulkItem.outcome, BulkItem.reason)
            .outerjoin(model, model.id == BulkItem.row_id)
            .where(BulkItem.operation_id == plan.operation.id)
            .order_by(BulkItem.row_id)
            .limit(ITEMS_PER_PAGE + 1)
        )
        if outcome is not None:
            statement = statement.where(BulkItem.outcome == outcome)
        if outcome is Outcome.OPEN and plan.operation.cursor is not None:
            statement = statement.where(BulkItem.row_id > plan.operation.cursor)
        if reason is not None:
            statement = statement.where(BulkItem.reason == reason)
        if after is not None:
            statement = statement.where(BulkItem.row_id > after)
        found = [Item(*row) for row in await self._session.execute(statement)]
        return found[:ITEMS_PER_PAGE], len(found) > ITEMS_PER_PAGE

    async def page(self, query: ListQuery) -> Page:
        return await LISTING.page(self._session, self._readable(), query)

    async def count(self, query: ListQuery, *, exactly: bool = False) -> Count:
        return await LISTING.count(self._session, self._readable(), query, exactly=exactly)

    def require_export(self) -> None:
        """Whoever reads the list may take it along."""

    async def export(self, query: ListQuery, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return all_rows(LISTING, self._readable(), query, columns)

    async def facets(self, query: ListQuery) -> dict[str, dict[str, Count]]:
        return await LISTING.facets(self._session, self._readable(), query)

    async def rank(self, text: str, limit: int, /) -> list[tuple[Any, float]]:
        """Quick search is about things, not about what was done to them."""
        return []

    def _readable(self) -> Rows:
        return ROWS.where(readable_by(self._actor), BulkOperation.state != State.DRAFT)

    async def _parameters(self, plan: Plan, given: Mapping[str, Any]) -> BaseModel:
        parameters = plan.parameters(given)
        if not plan.is_undo:  # what is taken back was checked, and its parameters are not what it brings back
            await plan.action.check(self._session, self._actor, parameters)
        return parameters

    def _startable(self, kind: str, name: str) -> BulkAction[Any]:
        action = find_action(self._session, kind, name)
        if not action.is_listed:
            raise UnknownAction
        if not action.may_run(self._actor):
            raise Forbidden
        return action

    async def _draft(self, kind: str, action: str, **values: Any) -> BulkOperation:
        assert self._actor.id is not None
        operation = BulkOperation(
            kind=kind,
            action=action,
            actor_id=self._actor.id,
            actor_label=self._actor.label,
            address=self._actor.address,
            request_id=self._actor.request_id,
            **values,
        )
        self._session.add(operation)
        await self._session.flush()
        return operation

    async def _lock(self, operation_id: UUID) -> BulkOperation:
        if self._actor.role is Role.SUPPORT:
            raise Forbidden
        locked = self._visible(operation_id).with_for_update()
        return await self._find(locked.execution_options(populate_existing=True))

    def _visible(self, operation_id: UUID) -> Select[BulkOperation]:
        """The operation, for whom it exists; a draft is nobody else's business."""
        return select(BulkOperation).where(
            BulkOperation.id == operation_id,
            readable_by(self._actor),
            or_(BulkOperation.state != State.DRAFT, BulkOperation.actor_id == self._actor.id),
        )

    async def _find(self, statement: Select[BulkOperation]) -> BulkOperation:
        found = (await self._session.scalars(statement)).one_or_none()
        if found is None:
            raise NotFound
        return found

    async def _lock_with_undone(self, operation_id: UUID) -> tuple[BulkOperation, BulkOperation | None]:
        """The operation, and the one it undoes; that is locked first, as in `draft_of_undo`."""
        undoes = select(BulkOperation.undoes).where(BulkOperation.id == operation_id)
        undone_id = await self._session.scalar(undoes)
        undone = await self._lock(undone_id) if undone_id else None
        return await self._lock(operation_id), undone

    async def _own_draft_of_undo(self, operation_id: UUID) -> BulkOperation | None:
        own = (BulkOperation.state == State.DRAFT, BulkOperation.actor_id == self._actor.id)
        statement = select(BulkOperation).where(BulkOperation.undoes == operation_id, *own).limit(1)
        return (await self._session.scalars(statement)).one_or_none()

    async def _require_undoing_alone(self, operation: BulkOperation) -> None:
        """Raises Conflict when another operation undoes the same one, which is to be locked."""
        other = await self.undo_of(operation.undoes) if operation.undoes else None
        if other is not None and other.id != operation.id:
            raise Conflict(f"Operation #{other.number} undoes it already.")


def can_retry(operation: BulkOperation) -> bool:
    """Whether there are failed rows, or rows left when it was cancelled."""
    if operation.state not in {State.FINISHED, State.CANCELLED} or not _is_recent(operation):
        return False
    return operation.failed > 0 or operation.left > 0


def _is_recent(operation: BulkOperation) -> bool:
    return operation.open_until is not None and operation.open_until > datetime.now(UTC)


def _require_shown(counts: Counts, fingerprint: str, typed: str) -> None:
    if counts.fingerprint != fingerprint:
        raise SelectionChanged
    if not counts.changing:
        raise InvalidInput("None of these rows would change.")
    number = re.sub(r"[\s,.'_]", "", typed)
    if (typed or counts.changing > TYPED_ABOVE) and number != str(counts.changing):
        reason = f"Type {counts.changing:,} to confirm that so many rows are meant."
        raise InvalidInput(reason, {TYPED: reason})
