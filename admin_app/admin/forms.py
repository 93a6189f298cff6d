"""Between what a browser posts and what a service takes: complete, single values, and errors in place."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

from starlette.datastructures import FormData
from starlette.requests import Request
from wtforms import Field, Form

from admin_app.errors import AppError, InvalidInput
from admin_app.security.body_limit import MAX_SELECTION_BYTES

VERSION = "version"
KEY = "key"
RESUME = "resume"
"""Says that nothing is to be saved yet: the form is only shown as it was left."""
MAX_FIELDS = 1000
"""More than a full page of selected rows."""
MAX_ESCAPES = 350_000
"""Percent signs: more than a form of 1 MB needs for any text, and a selection of ids needs none. Each takes
Python about 0.5 microseconds."""
MAX_INLINE_BYTES = 50_000
"""Longer forms are parsed in a thread, beside other requests."""
MAX_UPLOAD_FIELD_BYTES = 10_000


class Incomplete(AppError):
    """The browser sent less than the form has. Nothing is guessed: a missing field is not an empty one."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The form arrived incomplete: “{name}” is missing. Open it again and retry.")


class Unreadable(AppError):
    def __init__(self) -> None:
        super().__init__("The form arrived in an encoding that cannot be read. Open it again and retry.")


class TooManyFields(AppError):
    status = 413

    def __init__(self) -> None:
        super().__init__(f"The form has too many fields: send at most {MAX_FIELDS:,}. Nothing was changed.")


async def read(request: Request) -> FormData:
    """The posted fields, all of which UTF-8 can carry.

    Raises TooManyFields, HTTPException 400 for a body that is not a form or a multipart one of too many
    fields, and Unreadable for the encodings a multipart body may claim to have: Python knows some that fail
    in ways of their own, or decode to lone surrogates.
    """
    return await _read(request, max_files=0, max_fields=MAX_FIELDS, max_part_size=MAX_SELECTION_BYTES)


async def read_upload(request: Request) -> FormData:
    """As `read`, of a short form with a file."""
    return await _read(request, max_files=1, max_fields=5, max_part_size=MAX_UPLOAD_FIELD_BYTES)


async def _read(request: Request, **limits: int) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return await _read_urlencoded(await request.body())
    try:
        form = await request.form(**limits)
        for item in form.multi_items():
            "".join(map(str, item)).encode()
    except UnicodeError:
        raise Unreadable from None
    return form


async def _read_urlencoded(body: bytes) -> FormData:
    """As Starlette's, which stops all other requests for 3 seconds over 4 MB of percent signs."""
    if body.count(b"&") >= MAX_FIELDS:
        raise TooManyFields
    if body.count(b"%") > MAX_ESCAPES:
        raise Unreadable
    text = body.decode("latin-1")
    if len(body) <= MAX_INLINE_BYTES:
        fields = parse_qsl(text, keep_blank_values=True)
    else:
        fields = await asyncio.to_thread(parse_qsl, text, keep_blank_values=True)
    return FormData([*fields])


def text_values(form: FormData, names: tuple[str, ...], optional: Sequence[str] = ()) -> dict[str, str]:
    """Exactly these fields, `optional` ones only if they arrived.

    Of a checkbox with its hidden companion the last value counts.
    """
    values = {}
    for name in names:
        given = form.getlist(name)
        if not given and name in optional:
            continue
        if not given or not isinstance(given[-1], str):
            raise Incomplete(name)
        values[name] = given[-1]
    return values


def given_values(form: FormData, names: tuple[str, ...]) -> dict[str, str]:
    """Those of these fields that arrived: enough to show them again, never to save them."""
    return text_values(form, tuple(name for name in names if name in form))


def version_of(form: FormData, name: str = VERSION) -> int:
    text = text_values(form, (name,))[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Incomplete(name)
    return int(text)


def key_of(form: FormData) -> UUID:
    """The form's own key, by which a second submission of it is told from a second form."""
    try:
        return UUID(text_values(form, (KEY,))[KEY])
    except ValueError:
        raise Incomplete(KEY) from None


def new_key() -> str:
    return str(uuid4())


def shown(
    form_class: type[Form],
    names: tuple[str, ...],
    *,
    values: Mapping[str, Any] | None = None,
    typed: Mapping[str, str] | None = None,
    error: InvalidInput | None = None,
) -> list[Field]:
    """The fields to show, in order: with what was typed, else with a row's values, errors beside them."""
    form = form_class(None if typed is None else FormData(typed), data=dict(values or {}))
    fields = [form[name] for name in names]
    for field in fields:
        field.errors = [error.fields[field.name]] if error and field.name in error.fields else []
    return fields
