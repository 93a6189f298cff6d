"""Bulk operations in the admin: their list, and how one of them is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from admin_app.actor import Actor
from admin_app.admin.base_view import Column, ServiceView
from admin_app.bulk.listing import STATES
from admin_app.bulk.models import ACTIVE, BulkOperation, Outcome, State
from admin_app.bulk.service import OperationService

LOOKS = {State.FINISHED: "on", State.BROKEN: "bad"}


def outcome_text(operation: Any) -> str:
    """ "118 done, 2 skipped": the numbers that are not 0."""
    numbers = [(operation.done, "done"), (operation.skipped, "skipped"), (operation.failed, "failed")]
    return ", ".join(f"{number:,} {word}" for number, word in numbers if number) or "nothing done"


def state_text(operation: Any) -> tuple[str, str]:
    """In a word, and how that looks."""
    if operation.is_cancelling and operation.state in ACTIVE:
        return "Cancelling", "busy"
    if getattr(operation, "is_undone", False):
        return "Undone", "off"
    look = "busy" if operation.state in ACTIVE else LOOKS.get(operation.state, "off")
    return STATES[operation.state], look


class OperationAdmin(ServiceView, model=BulkOperation):
    """To look at only: operations begin on the lists of what they change."""

    name = "Operation"
    name_plural = "Operations"
    icon = "layers"
    service = OperationService  # type: ignore[assignment]  # nothing here creates or changes a row
    search_hint = "What, who or number"
    empty = (
        ServiceView.empty[0],
        "They appear here as soon as something is done to rows of a list.",
    )
    columns = (
        Column("label", "What", "title", value=lambda row: f"#{row.number} {row.label}"),
        Column("selection", "Rows", value=lambda row: f"{row.kind.capitalize()} · {row.selection}"),
        Column("total", "How many", value=lambda row: f"{row.total:,} {'row' if row.total == 1 else 'rows'}"),
        Column("state", "State", "status", value=state_text),
        Column("outcome", "Outcome", value=outcome_text),
        Column("actor_label", "Who"),
        Column("created_at", "Started", "time"),
        Column("id", "Id", "id", is_extra=True),
    )
    thumbnail = "picture"

    def allows(self, actor: Actor, action: str, row: Any | None = None) -> bool:
        return action in {"list", "details"}


OperationAdmin.identity = "operation"  # sqladmin takes it from the model's name, whatever the class says


@dataclass(frozen=True)
class Progress:
    """`sentence` is how far it is and how long it may take yet."""

    processed: int
    percent: int
    sentence: str


def progress_of(operation: BulkOperation) -> Progress:
    processed = operation.total - operation.left if operation.started_at else 0
    percent = 100 * processed // operation.total if operation.total else 0
    parts = [f"{processed:,} of {operation.total:,}"]
    if operation.state is State.WAITING:
        parts = ["Writing down which rows it is about"]
    elif operation.state in ACTIVE and operation.started_at and operation.worked_at and processed:
        seconds = (operation.worked_at - operation.started_at).total_seconds()
        if seconds > 1:
            rate = processed / seconds
            parts += [f"{rate:,.0f} a second", f"{_spoken(operation.left / rate)} left"]
    return Progress(processed, percent, " · ".join(parts))


def reasons_of(operation: BulkOperation) -> Sequence[tuple[Outcome, str, int]]:
    """Why rows were not changed, the most frequent first."""
    found = [
        (Outcome[name.upper()], reason, number)
        for name, numbers in operation.reasons.items()
        for reason, number in numbers.items()
    ]
    return sorted(found, key=lambda item: -item[2])


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"
