"""Rows of JSON lines: an object a line, whose keys are the columns."""

import json
from collections.abc import Iterator, Mapping
from io import BufferedReader, TextIOWrapper
from itertools import chain, islice
from os import fstat
from typing import Any

from admin_app.errors import InvalidInput
from admin_app.imports.decoding import undecodable
from admin_app.imports.row_file import (
    MAX_CELL_CHARACTERS,
    MAX_ROW_CHARACTERS,
    NOT_STORABLE,
    TOO_LONG,
    Layout,
    Row,
    RowFile,
    checked,
    column_names,
    storable,
)
from admin_app.text import legible

SAMPLE_ROWS = 100
"""In which every key must have appeared."""
NOT_AN_OBJECT = "This line is not a JSON object."
REPEATED = "The same key stands in this line more than once."
NO_OBJECTS = "None of the first lines of this file is a JSON object. Write one object a line."


class NotAnObject(Exception):
    pass


class Ambiguous(dict[str, Any]):
    """An object with a key more than once."""


def read_json(raw: BufferedReader, text: TextIOWrapper, layout: Layout) -> RowFile:
    """`text` is what `raw` says. Raises InvalidInput."""
    lines = _lines(text)
    sample = list(islice(lines, SAMPLE_ROWS))
    keys: dict[str, None] = {}
    for _, line in sample:
        try:
            keys.update(dict.fromkeys(_object(line)))
        except NotAnObject:
            continue
    if not keys:
        raise InvalidInput(NO_OBJECTS)
    places = {key: place for place, key in enumerate(keys)}
    not_storable = undecodable(layout.encoding)
    rows = (_row(number, line, places, not_storable) for number, line in chain(sample, lines))
    return RowFile(column_names(keys), rows, fstat(raw.fileno()).st_size, raw.tell)


def _lines(file: TextIOWrapper) -> Iterator[tuple[int, str]]:
    """Numbered from 1; empty ones are passed over, and of those far too long comes the beginning."""
    number = 0
    while line := file.readline(MAX_ROW_CHARACTERS + 1):
        number += 1
        rest = line
        while len(rest) > MAX_ROW_CHARACTERS and not rest.endswith(("\n", "\r")):
            rest = file.readline(MAX_ROW_CHARACTERS + 1)
        if line.strip():
            yield number, line


def _object(text: str) -> Mapping[str, Any]:
    """Numbers stay as they were written. Raises NotAnObject."""
    try:
        found = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise NotAnObject from None
    if not isinstance(found, dict):
        raise NotAnObject
    return found


def _row(line: int, text: str, places: Mapping[str, int], not_storable: str) -> Row:
    problem = TOO_LONG if len(text) > MAX_ROW_CHARACTERS else ""
    try:
        found: Mapping[str, Any] = {} if problem else _object(text)
    except NotAnObject:
        found, problem = {}, NOT_AN_OBJECT
    if isinstance(found, Ambiguous):
        problem = REPEATED
    if problem:
        return Row(line, storable([text.strip()[:MAX_CELL_CHARACTERS]]), problem)
    cells = [""] * len(places)
    for key, value in found.items():
        place = places.get(key)
        if place is None:
            problem = f"“{legible(key[:40])}” is no key of the first {SAMPLE_ROWS} rows."
            continue
        cell = _cell(value)
        if cell is None:
            problem = f"“{legible(key[:40])}” is neither a text nor a number, nor a list of such."
            continue
        cells[place] = cell
    row = checked(line, cells, len(places), NOT_STORABLE if text.isascii() else not_storable)
    return Row(line, row.cells, problem) if problem else row


def _cell(value: object) -> str | None:
    """None for what cannot be one. A list is written one item a line, as addresses of pictures are."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return value if isinstance(value, str) else None


def _refuse(constant: str) -> None:
    """NaN and the infinities, which JSON does not have."""
    raise ValueError(constant)


def _gathered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Ambiguous(found)


_DECODER = json.JSONDecoder(
    parse_float=str, parse_int=str, parse_constant=_refuse, object_pairs_hook=_gathered
)
