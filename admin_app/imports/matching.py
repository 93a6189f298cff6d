"""Which column of a file is which field: guessed by what it is called."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from admin_app.errors import InvalidInput
from admin_app.imports.importer import Field, Importer
from admin_app.text import is_storable

KEY = "key"
"""The name under which a complaint about the key is told."""


class Chosen(NamedTuple):
    """The column's place -> the field's name; what every row says of other fields; and how rows are found."""

    matching: Mapping[int, str]
    constants: Mapping[str, str]
    key: str


def guess_matching(fields: Iterable[Field], columns: Sequence[str]) -> dict[int, str]:
    """The column's place -> the field's name; each field at most once, by the best of its names."""
    places: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        places.setdefault(_normal(column), []).append(place)
    guessed: dict[int, str] = {}
    for field in fields:
        for name in (field.name, field.label, *field.also):
            free = [place for place in places.get(_normal(name), ()) if place not in guessed]
            if free:
                guessed[free[0]] = field.name
                break
    return guessed


def guess_key(importer: Importer, matched: Iterable[str]) -> str:
    """The best key among the fields the file has; '' when it has none."""
    names = set(matched)
    return next((key for key in importer.keys if key in names), "")


def require_matching(
    importer: Importer, required: Iterable[str], columns: Sequence[str], chosen: Chosen
) -> None:
    """Raises InvalidInput, whose fields are the importer's, or KEY."""
    matching, constants, key = chosen
    known = {field.name: field for field in importer.fields}
    problems: dict[str, str] = {}
    named = [*matching.values(), *constants]
    for name in named:
        if name not in known:
            raise InvalidInput("A column is matched with a field that does not exist.")
        if named.count(name) > 1:
            problems[name] = f"{known[name].label} is chosen more than once. Choose it for one column only."
    if not all(is_storable(text) for text in constants.values()):
        raise InvalidInput("A value for every row has characters that cannot be stored.")
    if any(not 0 <= place < len(columns) for place in matching):
        raise InvalidInput("The file has no such column.")
    if key and key not in importer.keys:
        problems[KEY] = "Choose one of the ways there are to find existing rows."
    elif key and key not in matching.values():
        problems[KEY] = (
            f"Say which column is {known[key].label}, or choose another way to find existing rows."
        )
    elif not key:
        for name in required:
            if name not in named:
                problems[name] = f"Say which column is {known[name].label}: a new row needs it."
    if problems:
        raise InvalidInput("The columns do not fit yet. Correct what is marked.", problems)


REASON = "Reason"
"""A column of the files of refused rows, which belongs to no field."""


def places_of(columns: Sequence[str], matching: Mapping[str, str]) -> dict[int, str]:
    """What is matched by the columns' names, by their places.

    Raises InvalidInput, whose fields are the columns, for names that no column has.
    """
    places = {column: place for place, column in enumerate(columns)}
    unknown = [column for column in matching if column not in places]
    if unknown:
        told = "The file has no such column."
        raise InvalidInput(told, dict.fromkeys(unknown, told))
    return {places[column]: field for column, field in matching.items()}


def _normal(name: str) -> str:
    """`External_ID ` and "external id" are the same."""
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()
