"""What was selected on a list, and what is to be done to it."""

from uuid import UUID

from starlette.datastructures import FormData

from admin_app.errors import AppError

SEPARATOR = "."
"""Between the ids of rows on other pages, which come in one field. It is sent as it is."""


def selection_of(form: FormData) -> list[UUID]:
    """The ids of the chosen rows. Raises AppError for what is no id."""
    given = [text for item in form.getlist("ids") if isinstance(item, str) for text in item.split(SEPARATOR)]
    try:
        return [UUID(text) for text in given if text]
    except ValueError:
        raise AppError("The selection could not be read. Open the list again.") from None


def action_of(form: FormData) -> str:
    action = form.get("action")
    if not isinstance(action, str):
        raise AppError("Choose what to do with the rows.")
    return action
