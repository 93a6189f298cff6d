"""Kinds of text people type, as pydantic types: what can be stored and shown safely, and how long."""

import re
from typing import Annotated, Any

from email_validator import validate_email
from pydantic import AfterValidator, StringConstraints, field_validator

MAX_DESCRIPTION_LENGTH = 20_000
DOTS = re.compile(r"\.{2,}")


def is_storable(text: str) -> bool:
    """False for NUL and for lone surrogates, which UTF-8 cannot carry."""
    return "\0" not in text and not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def _printable(value: str) -> str:
    """PostgreSQL cannot store NUL; other control characters only hide what a text says."""
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise ValueError("This text contains control characters. Remove them and try again.")
    return value


def _printable_lines(value: str) -> str:
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    _printable(text.replace("\n", "").replace("\t", ""))
    return text


def _email(value: str) -> str:
    """An address as it was typed, its domain in normal form.

    Dots in a row are let through: RFC 5322 forbids them, but such addresses exist and receive mail.
    """
    local, at, domain = value.strip().rpartition("@")
    checked = validate_email(f"{DOTS.sub('.', local)}{at}{domain}", check_deliverability=False)
    return f"{local}@{checked.domain}"


Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    AfterValidator(_printable),
]
Caption = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=300),
    AfterValidator(_printable),
]
Paragraphs = Annotated[
    str,
    StringConstraints(max_length=MAX_DESCRIPTION_LENGTH),
    AfterValidator(_printable_lines),
]
EmailAddress = Annotated[str, AfterValidator(_email), StringConstraints(max_length=254)]


def legible(text: str) -> str:
    """For sentences and terminals, which obey some of the characters that cannot be shown."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def name_from(email: str) -> str:
    """A readable name: `elis.regina@shop.example` -> "Elis Regina"."""
    words = re.split(r"[._+-]+", email.partition("@")[0])
    name = " ".join(word[:1].upper() + word[1:] for word in words if word)
    return name or email


def reject_null(*names: str) -> Any:
    """For schemas of partial updates: a field, any or one of these, may be left out, but not be null."""

    def check(value: object) -> object:
        if value is None:
            raise ValueError("This field cannot be empty.")
        return value

    return field_validator(*(names or ("*",)), mode="before")(check)
