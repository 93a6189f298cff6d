"""Text search: words that must all match."""

import re
import unicodedata
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, SQLColumnExpression, Text, and_, func, literal

MAX_WORDS = 10
SHORT = 2
EXACT_SCORE = 0.7
LETTERS_AND_DIGITS = {"Lu", "Ll", "Lt", "Lo", "Nd"}
QUOTES = str.maketrans(dict.fromkeys("“”„«»", '"'))
"""Phones type these on their own."""
IDEOGRAPHS = "\u2e80"
"""From here on Unicode has scripts that set no spaces between words."""
WORD_START = r"""(^|[ \t\n\u00a0!"#$%&'()*+,./:;<=>?@\[\\\]^_`{|}~-])"""
"""Spelled out: for [^[:alnum:]], or a character above U+07FF, pg_trgm would not use its index.
Most other punctuation plain_text makes ASCII."""


class ExactOnly(list[tuple[Any, float]]):
    """What a search found without the ranked index: rows with all words as they were typed, newest first."""


def plain(text: Any) -> ColumnElement[str]:
    """Lower case without accents: the SQL function `plain_text` of the first migration, indexable."""
    return func.plain_text(text, type_=Text())


def words(text: str) -> list[str]:
    """Words, and "quoted phrases" whole."""
    text = text.translate(QUOTES)
    found = (phrase or word for phrase, word in re.findall(r'"([^"]+)"|(\S+)', text))
    return [word.strip('"') for word in found if word.strip('" ')]


def contains(column: SQLColumnExpression[str], word: str) -> ColumnElement[bool]:
    """Whether this plain text has the word in it; case and accents do not matter, %, _ and \\ are literal.

    One or two letters have no trigram to look up, but the beginning of a word has: so short they match
    there only.
    """
    typed = plain(literal(word))
    # || and not concat(): that is only STABLE, and the planner would not see which word it is.
    if is_short(word):
        return column.regexp_match(literal(WORD_START).concat(typed))
    pattern: ColumnElement[str] = typed
    for special in ("\\", "%", "_"):  # after plain_text, which makes a "%" of a full-width one
        pattern = func.replace(pattern, special, f"\\{special}")
    return column.like(literal("%").concat(pattern).concat("%"))


def is_short(word: str) -> bool:
    """Only letters and digits, and so few that they are looked for at the beginning of words."""
    is_plain = all(unicodedata.category(character) in LETTERS_AND_DIGITS for character in word)
    return 0 < len(word) <= SHORT and is_plain and max(word) < IDEOGRAPHS


def as_id(text: str) -> UUID | None:
    """The id this text is, written as ids are; searching for one means that row and nothing else."""
    try:
        row_id = UUID(text.strip())
    except ValueError:
        return None
    return row_id if str(row_id) == text.strip().lower() else None


def begins_id(text: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin like this text; None if it is not the start of an id."""
    start = text.strip().lower()
    if not 8 <= len(start) <= 36 or not re.fullmatch(r"[0-9a-f-]+", start):
        return None
    digits = start.replace("-", "")
    bounds = UUID(digits.ljust(32, "0")[:32]), UUID(digits.ljust(32, "f")[:32])
    return bounds if start in {str(bounds[0])[: len(start)], digits} and len(digits) <= 32 else None


def every_word(text: str, matches_word: Any) -> ColumnElement[bool]:
    """`matches_word(word)` for each word of the text. No words match nothing in particular: everything."""
    return and_(True, *(matches_word(word) for word in words(text)))
