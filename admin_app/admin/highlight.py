"""Where a text has the words somebody searched for, as list search finds them: without case and accents."""

import unicodedata
from html import escape

from admin_app.search import is_short

# What Unicode does not take apart, but PostgreSQL's unaccent does.
LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h"}
)
BEFORE, AFTER = 30, 80

Range = tuple[int, int]


def mark(text: str, words: list[str]) -> str:
    """The text as HTML, with <mark> around each hit."""
    found, end = "", 0
    for start, stop in _merged(hits(text, words)):
        found += f"{escape(text[end:start])}<mark>{escape(text[start:stop])}</mark>"
        end = stop
    return found + escape(text[end:])


def excerpt(text: str, words: list[str]) -> str | None:
    """The surroundings of the first hit as HTML, marked; None without one."""
    found = hits(text, words)
    if not found:
        return None
    start = max(0, min(found)[0] - BEFORE)
    stop = min(found)[1] + AFTER
    start = text.rfind(" ", 0, start) + 1 if start else 0
    ends = "…" if start else "", "…" if stop < len(text) else ""
    return f"{ends[0]}{mark(text[start:stop].rstrip(), words)}{ends[1]}"


def hits(text: str, words: list[str]) -> list[Range]:
    """(start, stop) of every place where one of the words is."""
    folded, origins = _folded(text)
    found = []
    for word in words:
        wanted, _ = _folded(word)
        place = folded.find(wanted) if wanted else -1
        while place >= 0:
            starts_word = place == 0 or not folded[place - 1].isalnum()
            if starts_word or not is_short(word):
                found.append((origins[place], origins[place + len(wanted) - 1] + 1))
            place = folded.find(wanted, place + 1)
    return found


def _folded(text: str) -> tuple[str, list[int]]:
    """The text in plain letters, and for each of them the place of the character it comes from."""
    if text.isascii():
        return text.lower(), list(range(len(text)))
    letters: list[str] = []
    origins: list[int] = []
    for place, character in enumerate(text):
        plain = unicodedata.normalize("NFKD", character.lower().translate(LETTERS))
        for letter in plain:
            if not unicodedata.combining(letter):
                letters.append(letter)
                origins.append(place)
    return "".join(letters), origins


def _merged(ranges: list[Range]) -> list[Range]:
    merged: list[Range] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return merged
