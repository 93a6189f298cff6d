"""A form of which somebody else changed fields, too: what to tell, to choose from, and what was chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import inspect
from starlette.datastructures import FormData
from wtforms import Field

from admin_app.actor import Actor
from admin_app.admin import forms
from admin_app.admin.base_view import ServiceView
from admin_app.admin.flash import short
from admin_app.admin.formatting import ago
from admin_app.admin.history import IN_BIN
from admin_app.admin.pictures import IMAGES, as_words, typed_images
from admin_app.audit import fields_of
from admin_app.errors import InvalidInput
from admin_app.merging import EditConflict, Made

CLASH = "clash"
"""Names each field to choose for."""
TAKE = "take."
"""Before a field's name: whose value to take, MINE or THEIRS."""
MINE, THEIRS = "mine", "theirs"
SHOWN = "shown."
"""Before the name of a reference: how the form came with it."""
OPENED = "opened"
"""The version the form was opened on, while `version` is the one somebody else's values are of."""


@dataclass(frozen=True)
class Theirs:
    """What somebody else made of a field. `value` is what its control takes; of a secret there is none.

    `before` is the text it had when the form was opened, where the form would show it.
    """

    who: str
    when: datetime
    value: str | None
    shown: str
    before: str | None


@dataclass(frozen=True)
class Choice:
    """A form as it is shown after such a conflict."""

    version: int
    typed: Mapping[str, str]
    """Of what others alone changed, theirs."""
    theirs: Mapping[str, Theirs]
    has_more: bool
    """Whether others changed further fields, which nobody must choose for."""


@dataclass(frozen=True)
class Settled:
    """What is to be saved of a form: without the fields left to others."""

    values: Mapping[str, str]
    version: int


def settled(view: ServiceView, posted: FormData, typed: Mapping[str, str]) -> Settled:
    """As long as one choice is open, it is as if none had been made."""
    version = forms.version_of(posted)
    left = {name for name in view.references if name in typed and _is_as_shown(posted, name)}
    clashing = [str(name) for name in posted.getlist(CLASH) if name in typed]
    taken = {name: posted.get(f"{TAKE}{name}") for name in clashing}
    is_open = not set(taken.values()) <= {MINE, THEIRS}
    if is_open:
        version = forms.version_of(posted, OPENED)
    else:
        left |= {name for name, whose in taken.items() if whose == THEIRS}
    return Settled({name: text for name, text in typed.items() if name not in left}, version)


def require_secrets(view: ServiceView, posted: FormData, settled: Settled) -> None:
    """No page shows a secret, so whoever keeps their own types it again. Raises InvalidInput."""
    kept = [name for name in settled.values if posted.get(f"{TAKE}{name}") == MINE]
    empty = [name for name in kept if _is_secret(view, name) and not settled.values[name]]
    if empty:
        raise InvalidInput(
            "Nothing is saved yet. Correct the marked field.", dict.fromkeys(empty, "Type yours again.")
        )


def choice(
    view: ServiceView, row: Any, fields: Sequence[Field], values: Mapping[str, str], error: EditConflict
) -> Choice:
    """What to choose from, given the fields of the row as it is now and the values that were sent."""
    labels = {field.name: field for field in fields}
    now = typed_values(view, row)
    names = {column: view.form_names.get(column, column) for column in {*error.clashes, *error.changed}}
    mine = set(names.values())
    theirs = {
        names[column]: Theirs(
            who=clash.who,
            when=clash.when,
            value=now.get(names[column]),
            shown=_shown(labels[names[column]], now.get(names[column])),
            before=_shown(labels[column], clash.before)
            if column == names[column] and isinstance(clash.before, str)
            else None,
        )
        for column, clash in error.clashes.items()
    }
    typed = {name: value if name in mine else now.get(name, value) for name, value in values.items()}
    further = {name for made in error.since for name in made.names} - {IN_BIN, *names}
    return Choice(error.version, typed, theirs, has_more=bool(further))


def typed_values(view: ServiceView, row: Any) -> dict[str, str]:
    """What the form shows of a row, as a browser would send it."""
    return {
        name: "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in view.form_values(row).items()
    }


def kept_sentence(view: ServiceView, actor: Actor, kept: Sequence[Made]) -> str:
    """What was changed meanwhile, by whom; "" when nothing was."""
    labels = fields_of(view.model)
    told = [made for made in kept if set(made.names) - {IN_BIN}]
    if not told:
        return ""
    people = dict.fromkeys("you" if made.who == actor.label else short(made.who) for made in told)
    names = dict.fromkeys(labels.get(name, name) for made in told for name in made.names if name != IN_BIN)
    return f"Meanwhile {' and '.join(people)} had changed {' and '.join(names)}: that is kept, too."


def deleted_sentence(view: ServiceView, row: Any) -> str:
    """Of a row in the bin."""
    return (
        f"This {view.name.lower()} was deleted {ago(row.deleted_at)}, after you opened it, and is in the bin."
    )


def spoken(choice: Choice, actor: Actor) -> dict[str, dict[str, str | None]]:
    """For scripts: field -> who changed it when, to what, and what its control takes."""
    return {
        name: {
            "who": "you" if item.who == actor.label else item.who,
            "when": ago(item.when),
            "value": item.value,
            "shown": item.shown,
        }
        for name, item in choice.theirs.items()
    }


def _is_as_shown(posted: FormData, name: str) -> bool:
    given, shown = posted.get(name), posted.get(f"{SHOWN}{name}")
    return isinstance(given, str) and isinstance(shown, str) and given.strip().lower() == shown.lower()


def _is_secret(view: ServiceView, name: str) -> bool:
    columns = [column for column, field in view.form_names.items() if field == name]
    return any(inspect(view.model).columns[column].info.get("secret") for column in columns)


def _shown(field: Field, value: str | None) -> str:
    if value is None:
        return "Something else, which is not shown"
    if field.name == IMAGES:
        return as_words(typed_images(value))
    if field.type == "BooleanField":
        return "Yes" if value == "true" else "No"
    return str(dict(getattr(field, "choices", None) or []).get(value, value))
