"""What can be done to selected rows, and how the outcome is told."""

from uuid import UUID

from starlette.datastructures import FormData

from admin_app.bulk import BulkOutcome
from admin_app.errors import AppError

MAX_SELECTED = 250
ACTIONS = {"activate": True, "deactivate": False}
"""The button's value -> the state it sets."""


def selection_of(form: FormData) -> list[UUID]:
    """The ids of the checked rows. Raises AppError for none, too many, or what is no id."""
    given = form.getlist("ids")
    if not given:
        raise AppError("Select at least one row first.")
    if len(given) > MAX_SELECTED:
        raise AppError(f"Select at most {MAX_SELECTED} rows at once.")
    try:
        return [UUID(text) for text in given if isinstance(text, str)]
    except ValueError:
        raise AppError("The selection could not be read. Open the list again.") from None


def action_of(form: FormData) -> bool:
    action = form.get("action")
    if not isinstance(action, str) or action not in ACTIONS:
        raise AppError("There is no such action.")
    return ACTIONS[action]


def sentence(outcome: BulkOutcome, active: bool) -> str:
    """What happened to each selected row, in one breath."""
    word = "activated" if active else "deactivated"
    parts = [f"{outcome.changed} {word}"]
    if outcome.unchanged:
        parts.append(f"{outcome.unchanged} already {'active' if active else 'inactive'}")
    if outcome.refused:
        parts.append(f"{outcome.refused} skipped: not yours or gone")
    return ", ".join(parts) + "."
