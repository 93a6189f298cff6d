"""Deliveries as a list: what waits for a worker, and what went wrong with it."""

from typing import Any

from admin_app.actor import Actor
from admin_app.admin.base_view import Column, ServiceView
from admin_app.admin.formatting import until
from admin_app.domains.deliveries.access import may_read
from admin_app.domains.deliveries.names import event_name, task_name
from admin_app.domains.deliveries.service import DeliveryService, State
from admin_app.outbox import Delivery

STATES = {
    State.WAITING: ("Waiting", "off"),
    State.TRYING: ("Being tried", "busy"),
    State.FAILING: ("Failing", "warn"),
    State.PARKED: ("Parked", "bad"),
    State.DONE: ("Done", "on"),
}
"""In a word, and how that looks."""


def next_try(row: Any) -> str:
    if row.done_at is not None or row.dead_at is not None:
        return ""
    return until(row.next_try_at)


class DeliveryAdmin(ServiceView, model=Delivery):
    """To look at; what is done to deliveries stands on their page, and above the list."""

    name = "Delivery"
    name_plural = "Deliveries"
    icon = "jobs"
    service = DeliveryService  # type: ignore[assignment]  # nothing here creates or edits a row
    search_hint = "Words of an error, or an id"
    empty = ("There are no deliveries.", "Whatever is to be done after a change appears here.")
    overview = ("Jobs", "jobs")
    toolbar = "_delivery_actions.html"
    columns = (
        Column("task", "Task", "title", value=lambda row: task_name(row.task)),
        Column("event", "Event", value=lambda row: event_name(row.event_name)),
        Column("state", "State", "status", value=lambda row: STATES[State(row.state)]),
        Column("tries", "Tries", value=lambda row: f"{row.tries} {'try' if row.tries == 1 else 'tries'}"),
        Column("last_error", "Last error", value=lambda row: row.last_error),
        Column("created_at", "Created", "time"),
        Column("next_try_at", "Next try", value=next_try),
        Column("done_at", "Done", "time", is_extra=True),
        Column("dead_at", "Parked", "time", is_extra=True),
        Column("id", "Id", "id", is_extra=True),
    )
    thumbnail = "picture"

    def allows(self, actor: Actor, action: str, row: Any | None = None) -> bool:
        return action in {"list", "details"} and may_read(actor)
