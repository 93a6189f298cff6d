"""The rows of an operation: written down when it begins, and what becomes of them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Select,
    SmallInteger,
    Text,
    Uuid,
    bindparam,
    case,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.bulk.changes import CHANGED_MEANWHILE
from admin_app.bulk.models import BulkItem, BulkOperation, Outcome, State
from admin_app.bulk.plan import Plan

NOT_FOUND = "not found any more"
NO_LONGER = "no longer allowed"

COLUMNS = ["operation_id", "row_id", "version", "outcome", "reason"]
ITEMS: Any = BulkItem.__table__


async def freeze(session: AsyncSession, plan: Plan, actor: Actor) -> None:
    """Write the rows down, as they were when it was confirmed.

    What appeared since is left out. What changed since is told and not touched; whether a search found it
    before it changed, nobody knows any more, so it is not tried again either. Changes on their way while
    it was confirmed count as made before.
    """
    operation = plan.operation
    if plan.is_undo:
        found = _of_undone(plan)
    elif plan.action.is_listed:
        found = await _of_selection(session, plan, actor)
    else:
        found = _of_action(plan)
    await session.execute(insert(ITEMS).from_select(COLUMNS, found))
    await _tally(session, operation)
    operation.state = State.RUNNING


def _of_undone(plan: Plan) -> Select[Any]:
    """What was done to, in the versions that left."""
    assert plan.undone is not None
    columns = (
        literal(plan.operation.id),
        ITEMS.c.row_id,
        ITEMS.c.version + 1,
        _plain(Outcome.OPEN),
        literal(None, Text()),
    )
    done = (ITEMS.c.operation_id == plan.undone.id, ITEMS.c.outcome == Outcome.DONE)
    return select(*columns).where(*done).order_by(ITEMS.c.row_id)


def _of_action(plan: Plan) -> Select[Any]:
    """Those it brings, in the versions it knows."""
    rows = plan.action.rows(plan.parameters()).subquery()
    columns = (literal(plan.operation.id), rows.c.row_id, rows.c.version, _plain(Outcome.OPEN))
    return select(*columns, literal(None, Text())).order_by(rows.c.row_id)


async def _of_selection(session: AsyncSession, plan: Plan, actor: Actor) -> Select[Any]:
    """The rows of a search, or those selected one by one, which may be gone by now: their turn will tell."""
    operation, table = plan.operation, plan.action.model.__table__
    confirmed = literal(operation.confirmed_at, DateTime(timezone=True))
    is_new = table.c.updated_at > confirmed

    changed = Outcome.FAILED if operation.query is None else Outcome.SKIPPED

    def columns(row_id: ColumnElement[UUID]) -> tuple[ColumnElement[Any], ...]:
        return (
            literal(operation.id),
            row_id,
            func.coalesce(table.c.version, 0),
            case((is_new, _plain(changed)), else_=_plain(Outcome.OPEN)),
            case((is_new, literal(CHANGED_MEANWHILE, Text()))),
        )

    if operation.query is None:
        ids = literal(await plan.row_ids(session), ARRAY(Uuid()))
        wanted = select(func.unnest(ids).label("row_id")).subquery()
        return (
            select(*columns(wanted.c.row_id))
            .select_from(wanted)
            .outerjoin(table, table.c.id == wanted.c.row_id)
        )
    selected = (await plan.selected(session, actor)).where(table.c.created_at <= confirmed)
    return selected.order_by(table.c.id).with_only_columns(*columns(table.c.id), maintain_column_froms=True)


async def reopen(session: AsyncSession, plan: Plan) -> None:
    """Failed rows are open again, in the versions they have now; if versions count, in those they had."""
    operation, table = plan.operation, plan.action.model.__table__
    failed = update(ITEMS).where(ITEMS.c.operation_id == operation.id, ITEMS.c.outcome == Outcome.FAILED)
    version = select(table.c.version).where(table.c.id == ITEMS.c.row_id).scalar_subquery()
    values = {} if plan.is_of_versions else {"version": func.coalesce(version, ITEMS.c.version)}
    await session.execute(failed.values(outcome=Outcome.OPEN, reason=None, **values))
    await _tally(session, operation)
    operation.cursor = None
    operation.state = State.RUNNING


async def _tally(session: AsyncSession, operation: BulkOperation) -> None:
    """Count all items anew."""
    statement = (
        select(BulkItem.outcome, BulkItem.reason, func.count())
        .where(BulkItem.operation_id == operation.id)
        .group_by(BulkItem.outcome, BulkItem.reason)
    )
    numbers: Counter[Outcome] = Counter()
    reasons: dict[str, dict[str, int]] = {}
    for outcome, reason, number in await session.execute(statement):
        numbers[outcome] += number
        if reason is not None:
            reasons.setdefault(outcome.name.lower(), {})[reason] = number
    lost = max(0, operation.confirmed - numbers.total())
    if lost:
        numbers[Outcome.SKIPPED] += lost
        reasons.setdefault(Outcome.SKIPPED.name.lower(), {})[NOT_FOUND] = lost
    operation.total = numbers.total()
    operation.done = numbers[Outcome.DONE]
    operation.skipped = numbers[Outcome.SKIPPED]
    operation.failed = numbers[Outcome.FAILED]
    operation.reasons = reasons


async def next_rows(session: AsyncSession, operation: BulkOperation, limit: int) -> dict[UUID, int]:
    statement = (
        select(BulkItem.row_id, BulkItem.version)
        .where(BulkItem.operation_id == operation.id, BulkItem.outcome == Outcome.OPEN)
        .order_by(BulkItem.row_id)
        .limit(limit)
    )
    if operation.cursor is not None:
        statement = statement.where(BulkItem.row_id > operation.cursor)
    return {row.row_id: row.version for row in await session.execute(statement)}


def outcomes(plan: Plan, reasons: Mapping[UUID, str | None]) -> dict[UUID, tuple[Outcome, str | None]]:
    """Only what may succeed when tried again has failed."""

    def outcome(reason: str | None) -> Outcome:
        if reason is None:
            return Outcome.DONE
        if reason == NO_LONGER or (reason == CHANGED_MEANWHILE and not plan.is_of_versions):
            return Outcome.FAILED
        return Outcome.SKIPPED

    return {row_id: (outcome(reason), reason) for row_id, reason in reasons.items()}


async def conclude(
    session: AsyncSession, operation: BulkOperation, outcomes: Mapping[UUID, tuple[Outcome, str | None]]
) -> None:
    """Write down what became of these rows; they are the next after the cursor."""
    if not outcomes:
        return
    groups: dict[tuple[Outcome, str | None], list[UUID]] = {}
    for row_id, key in outcomes.items():
        groups.setdefault(key, []).append(row_id)
    for (outcome, reason), row_ids in groups.items():
        await session.execute(
            update(BulkItem)
            .where(
                BulkItem.operation_id == operation.id,
                BulkItem.row_id == func.any(bindparam("row_ids", row_ids, ARRAY(Uuid()))),
            )
            .values(outcome=outcome, reason=reason)
            .execution_options(synchronize_session=False)
        )
    told = {name: dict(numbers) for name, numbers in operation.reasons.items()}
    for (outcome, reason), row_ids in groups.items():
        match outcome:
            case Outcome.DONE:
                operation.done += len(row_ids)
            case Outcome.SKIPPED:
                operation.skipped += len(row_ids)
            case Outcome.FAILED:
                operation.failed += len(row_ids)
        if reason is not None:
            numbers = told.setdefault(outcome.name.lower(), {})
            numbers[reason] = numbers.get(reason, 0) + len(row_ids)
    operation.reasons = told
    operation.cursor = max(outcomes)


def _plain(outcome: Outcome) -> ColumnElement[int]:
    return literal(outcome.value, SmallInteger())
