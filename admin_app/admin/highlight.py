"""Where a text has the words somebody searched for, as list search finds them: without case and accents."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from html import escape

from admin_app.search import is_short

# What Unicode does not take apart, but PostgreSQL's unaccent does.
LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h"}
)
ACCENTS = re.compile("[\u0300-\u036f]+")
BEFORE, AFTER = 30, 80
MAX_PLAIN, MAX_OTHER = 5_000, 500
"""How far an excerpt is looked for: in a text that keeps its length when it is folded, and in any other."""


class Highlight:
    """The words of one search. It runs beside other requests, so whatever it looks at is bounded."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [(_folded(word), is_short(word)) for word in words]

    def mark(self, text: str) -> str:
        """The text as HTML, with <mark> around each hit."""
        folded, origins = _located(text)
        hits = sorted(
            (origins[start], origins[stop - 1] + 1)
            for word, is_start in self._words
            for start, stop in _hits(folded, word, is_start)
        )
        found, end = "", 0
        for start, stop in hits:
            if stop > end:
                first = max(start, end)
                found += f"{escape(text[end:first])}<mark>{escape(text[first:stop])}</mark>"
                end = stop
        return (found + escape(text[end:])).replace("</mark><mark>", "")

    def excerpt(self, text: str, visible: Sequence[str]) -> str | None:
        """The text around the first hit of a word that is in no visible text, as HTML; None without one."""
        shown = [_folded(other) for other in visible]
        unseen = [
            (word, is_start)
            for word, is_start in self._words
            if not any(True for other in shown for _ in _hits(other, word, is_start))
        ]
        if not unseen:
            return None
        text = text[:MAX_PLAIN]
        if len(_folded(text)) != len(text):
            text = text[:MAX_OTHER]
        folded, origins = _located(text)
        for word, is_start in unseen:
            for start, stop in _hits(folded, word, is_start):
                return self._around(text, origins[start], origins[stop - 1] + 1)
        return None

    def _around(self, text: str, first: int, last: int) -> str:
        start, stop = max(0, first - BEFORE), last + AFTER
        start = text.rfind(" ", 0, start) + 1 if start else 0
        ends = "…" if start else "", "…" if stop < len(text) else ""
        return f"{ends[0]}{self.mark(text[start:stop].rstrip())}{ends[1]}"


def _hits(folded: str, word: str, is_start: bool) -> Iterator[tuple[int, int]]:
    """Where the word is, side by side; a short one only at the beginning of words."""
    place = folded.find(word) if word else -1
    while place >= 0:
        if not is_start or place == 0 or not folded[place - 1].isalnum():
            yield place, place + len(word)
        place = folded.find(word, place + len(word))


def _folded(text: str) -> str:
    """In plain small letters."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text.lower().translate(LETTERS))
    return ACCENTS.sub("", plain).lower()


def _located(text: str) -> tuple[str, Sequence[int]]:
    """The text folded, and for each of its letters the place of the character it comes from."""
    folded = _folded(text)
    if len(folded) == len(text):  # nearly always: letter for letter
        return folded, range(len(text))
    pieces = [_folded(character) for character in text]
    origins = [place for place, piece in enumerate(pieces) for _ in piece]
    return "".join(pieces), origins
