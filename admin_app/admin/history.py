"""How the history is told: an entry in a line, and its fields, old and new, as people know them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

from markupsafe import Markup
from sqlalchemy import JSON, Column, DateTime, Enum, Numeric, String, inspect
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Role, Source
from admin_app.admin.base_view import ServiceView
from admin_app.admin.diffs import FEW_STEPS, Piece, as_html, cut, shortened, word_diff
from admin_app.admin.formatting import exact_time, money
from admin_app.admin.pictures import Numbered, Picture, PictureChanges, as_words, pictures_of
from admin_app.audit import (
    ACTIONS,
    AT_THE_DOOR,
    BY_IMPORT,
    BY_OPERATION,
    HIDDEN,
    IN_TITLE,
    NOUNS,
    SOURCES,
    Snapshot,
    fields_of,
    kind_of,
)
from admin_app.database import Base
from admin_app.domains.activity.service import ActivityService
from admin_app.search import as_id

ICONS = {
    "created": "plus",
    "updated": "edit",
    "reverted": "undo",
    "deleted": "trash",
    "purged": "trash",
    "restored": "history",
    "signed in": "key",
    "sign-in failed": "close",
    "signed out": "leave",
    "token created": "key",
    "token revoked": "close",
    "link made": "key",
    "link sent": "key",
    "link used": "key",
    "second factor set up": "key",
    "second factor removed": "close",
    "recovery codes made": "key",
    "refused": "close",
}
MAX_SUMMARY = 120
MAX_SHORT_TEXT = 30
IN_BIN = "deleted_at"
"""What "deleted" and "restored" say already."""


@dataclass(frozen=True)
class ToldField:
    """A field with what it was and is, None for nothing. Of a secret neither is told."""

    name: str
    label: str
    kind: Literal["text", "value", "pictures", "secret"]
    old: str | None
    new: str | None
    old_pictures: Sequence[Picture] = ()
    new_pictures: Sequence[Picture] = ()

    @cached_property
    def pieces(self) -> list[Piece]:
        return word_diff(self.old or "", self.new or "")

    @property
    def diff(self) -> Markup:
        """Old and new in one, with <del> and <ins>."""
        return as_html(self.pieces)

    @property
    def short_diff(self) -> Markup:
        """What changed and a little around it; more roughly, for there may be many on a page."""
        return as_html(shortened(word_diff(self.old or "", self.new or "", FEW_STEPS)))

    @cached_property
    def pictures(self) -> PictureChanges:
        return PictureChanges(self.old_pictures, self.new_pictures)

    @property
    def picture_texts(self) -> list[tuple[Numbered, Markup]]:
        """The pictures with another text, and what became of it."""
        return [
            (new, as_html(shortened(word_diff(old.picture.alt, new.picture.alt, FEW_STEPS))))
            for old, new in self.pictures.reworded
        ]

    @property
    def old_side(self) -> Markup:
        """What it was, with <del> around what is gone."""
        return as_html([piece for piece in self.pieces if piece.kind != "new"])

    @property
    def new_side(self) -> Markup:
        return as_html([piece for piece in self.pieces if piece.kind != "gone"])

    @property
    def summary(self) -> str:
        values = [value for value in (self.old, self.new) if value is not None]
        if self.kind == "secret":
            return f"{self.label} changed"
        if self.kind == "pictures":
            return self._pictures_summary
        if self.kind == "text" and (len(values) < 2 or max(map(len, values)) > MAX_SHORT_TEXT):
            return self.label
        return f"{self.label} {' → '.join(value or 'nothing' for value in values)}"

    @property
    def _pictures_summary(self) -> str:
        """ "" for a row that is new or gone and had none."""
        sides = ((self.old, self.old_pictures), (self.new, self.new_pictures))
        numbers = [len(pictures) for words, pictures in sides if words is not None]
        if numbers == [0]:
            return ""
        if len(set(numbers)) == len(numbers):
            return f"{self.label} {' → '.join(map(str, numbers))}"
        has_more = self.pictures.added or self.pictures.removed or self.pictures.reworded
        return f"{self.label} {'changed' if has_more else 'reordered'}"


@dataclass(frozen=True)
class ToldEntry:
    """An entry of the activity's rows, and the pictures it names that are still here, by id."""

    entry: Any
    pictures: Mapping[str, Picture]

    @property
    def verb(self) -> str:
        action: str = self.entry.action
        return ACTIONS.get(action, action.capitalize())

    @property
    def title(self) -> str:
        """What was done to what, as plain text: "Changed product “Anvil”"."""
        is_at_door = self.entry.action in AT_THE_DOOR
        if is_at_door and self.entry.actor_id == self.entry.row_id:
            return self.verb
        sign = ":" if is_at_door or self.entry.action == "refused" else ""
        return f"{self.verb}{sign} {self._subject}{self._remark}"

    @property
    def what(self) -> str:
        """As `title`, beside other entries of the same row."""
        return f"{self.verb}{self._remark}"

    @property
    def icon(self) -> str:
        return ICONS.get(self.entry.action, "history")

    @property
    def where(self) -> str:
        """From where it was done."""
        if self.entry.operation_number is not None:
            by = BY_IMPORT if self.entry.source == Source.IMPORT else BY_OPERATION
            return f"{by}{self.entry.operation_number}"
        source = self.entry.source
        return SOURCES[Source(source)] if source in set(Source) else str(source).capitalize()

    def has_operation_for(self, actor: Actor) -> bool:
        """Whether there is an operation this actor may look at."""
        is_own = self.entry.actor_id is not None and self.entry.actor_id == actor.id
        return self.entry.operation_number is not None and (is_own or actor.role is not Role.ADMINISTRATOR)

    @cached_property
    def fields(self) -> list[ToldField]:
        """In the order of the model; those it does not have any more come last."""
        changes = self.entry.changes
        names = [name for name in field_labels(self.entry.kind) if name in changes]
        names += sorted(set(changes) - set(names))
        people = self.entry.people or {}
        return [told_field(self.entry.kind, name, changes[name], people, self.pictures) for name in names]

    @property
    def has_values(self) -> bool:
        """Whether it made a version of the row with other values than before, not only put it elsewhere."""
        return self.entry.version is not None and self.entry.changes.keys() != {IN_BIN}

    @property
    def is_whole(self) -> bool:
        """A row that was not there before, or is not since: no field went from one value to another."""
        sides = [(field.old, field.new) for field in self.fields if field.kind != "secret"]
        return bool(sides) and any(all(pair[side] is None for pair in sides) for side in (0, 1))

    @property
    def summary(self) -> str:
        """What changed, in short, as plain text; of rows that are new or gone the values."""
        parts = [
            field.summary
            for field in self.fields
            if field.name != IN_BIN and not (self.is_whole and field.kind in {"text", "secret"})
        ]
        if self.entry.note and self.entry.action not in IN_TITLE:
            parts.insert(0, self.entry.note)
        return cut(", ".join(filter(None, parts)), MAX_SUMMARY)

    @property
    def _remark(self) -> str:
        return f" ({self.entry.note})" if self.entry.note and self.entry.action in IN_TITLE else ""

    @property
    def _subject(self) -> str:
        noun = self.entry.kind
        if self.entry.row_id is None:
            return NOUNS.get(noun, f"{noun}s")
        return f"{noun} “{self.entry.row_label}”" if self.entry.row_label else f"{noun} {self.entry.row_id}"


@dataclass(frozen=True)
class Timeline:
    """A piece of a row's history, the newest first; the next piece begins before the entry `older`."""

    entries: Sequence[ToldEntry]
    older: UUID | None


def told(entry: Any, pictures: Mapping[str, Picture] = MappingProxyType({})) -> ToldEntry:
    return ToldEntry(entry, pictures)


async def timeline(
    session: AsyncSession,
    actor: Actor,
    view: ServiceView,
    row_id: UUID,
    *,
    limit: int,
    before: UUID | None = None,
    only_changes: bool = False,
) -> Timeline:
    found = await ActivityService(session, actor).of_row(
        kind_of(view.model), row_id, limit=limit, before=before, only_changes=only_changes
    )
    older = found.entries[-1].id if found.has_more else None
    pictures = await pictures_in(session, actor, view, (entry.changes for entry in found.entries))
    return Timeline([told(entry, pictures) for entry in found.entries], older)


async def pictures_in(
    session: AsyncSession, actor: Actor, view: ServiceView, changes: Iterable[Mapping[str, Sequence[Any]]]
) -> dict[str, Picture]:
    """Whatever these changes name and this actor may see, by id."""
    sides = [side for fields in changes for pair in fields.values() for side in pair if _is_pictures(side)]
    images = {image["id"]: image for side in sides for image in side}
    found = await pictures_of(session, actor, view, list(images.values()))
    return {picture.id: picture for picture in found}


def told_field(
    kind: str,
    name: str,
    pair: Sequence[Any],
    people: Mapping[str, str],
    pictures: Mapping[str, Picture],
) -> ToldField:
    """`people` says who is meant by an id; whoever is not there any more is shown as the id."""
    old, new = pair
    column = _columns(kind).get(name)
    label = field_labels(kind).get(name, name)
    if HIDDEN in (old, new) if column is None else column.info.get("secret"):
        return ToldField(name, label, "secret", None, None)
    if (
        column is not None
        and isinstance(column.type, JSON)
        and all(value is None or _is_pictures(value) for value in pair)
    ):
        old_pictures, new_pictures = ([_picture(image, pictures) for image in value or ()] for value in pair)
        old_words, new_words = (None if value is None else as_words(value) for value in pair)
        return ToldField(name, label, "pictures", old_words, new_words, old_pictures, new_pictures)
    is_text = column is not None and isinstance(column.type, String) and not isinstance(column.type, Enum)
    return ToldField(
        name,
        label,
        "text"
        if is_text and all(value is None or isinstance(value, str) for value in (old, new))
        else "value",
        _shown(name, column, old, people),
        _shown(name, column, new, people),
    )


def people_of(kind: str, *states: Snapshot) -> set[UUID]:
    """The people rows of this kind name in such states."""
    named = [name for name, column in _columns(kind).items() if _names_person(column)]
    found = {as_id(str(state.get(name))) for state in states for name in named}
    return {person for person in found if person is not None}


def _is_pictures(value: Any) -> bool:
    """As rows carry them; also for none."""
    return isinstance(value, list) and all(
        isinstance(item, dict) and item.keys() == {"id", "alt"} for item in value
    )


def _picture(image: Mapping[str, str], pictures: Mapping[str, Picture]) -> Picture:
    """With the text it had then."""
    return replace(pictures.get(image["id"], Picture(image["id"])), alt=image["alt"])


def _shown(name: str, column: Column[Any] | None, value: Any, people: Mapping[str, str]) -> str | None:
    """The history knows a value as JSON has it. One that is not of its column is shown as it is."""
    if value is None:
        return None
    if isinstance(value, bool):
        words = ("Active", "Inactive") if name == "is_active" else ("Yes", "No")
        return words[0] if value else words[1]
    text = str(value)
    if column is None:
        return text
    if _names_person(column):
        return people.get(text, text)
    match column.type:
        case Numeric():
            return _money(text)
        case DateTime():
            return _time(text)
        case Enum():
            return text.capitalize()
    return text


def _names_person(column: Column[Any]) -> bool:
    return any(key.target_fullname == "users.id" for key in column.foreign_keys)


def _money(text: str) -> str:
    try:
        value = Decimal(text)
        return money(value) if value == round(value, 2) else text
    except InvalidOperation:
        return text


def _time(text: str) -> str:
    try:
        return exact_time(datetime.fromisoformat(text))
    except ValueError:
        return text


@cache
def _columns(kind: str) -> Mapping[str, Column[Any]]:
    """Of the model whose rows the history calls so; none for a kind there is not any more."""
    return {column.key: column for model in _models(kind) for column in inspect(model).columns}


@cache
def field_labels(kind: str) -> Mapping[str, str]:
    return {name: label for model in _models(kind) for name, label in fields_of(model).items()}


def _models(kind: str) -> list[type[Base]]:
    return [mapper.class_ for mapper in Base.registry.mappers if kind_of(mapper.class_) == kind]
