"""What was selected on a list, and what is to be done to it."""

from urllib.parse import parse_qsl
from uuid import UUID

from starlette.datastructures import FormData

from admin_app.errors import AppError

SEPARATOR = "."
"""Between the ids of rows on other pages, which come in one field. It is sent as it is."""

MAX_CONDITIONS_LENGTH = 20_000


def selection_of(form: FormData) -> list[UUID]:
    """The ids of the chosen rows. Raises AppError for what is no id."""
    given = [text for item in form.getlist("ids") if isinstance(item, str) for text in item.split(SEPARATOR)]
    try:
        return [UUID(text) for text in given if text]
    except ValueError:
        raise AppError("The selection could not be read. Open the list again.") from None


def conditions_of(form: FormData) -> list[tuple[str, str]]:
    """What the list was searched and filtered by. Raises AppError when that is missing: nothing means all."""
    given = form.get("conditions")
    if not isinstance(given, str) or len(given) > MAX_CONDITIONS_LENGTH:
        raise AppError("It did not arrive which rows are meant. Open the list again.")
    return parse_qsl(given)


def action_of(form: FormData) -> str:
    action = form.get("action")
    if not isinstance(action, str):
        raise AppError("Choose what to do with the rows.")
    return action
