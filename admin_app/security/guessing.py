"""Which passwords are guessed first: used by many, patterns, words, and what is known of their owner.

Judged by the lists and patterns of zxcvbn (Wheeler, "zxcvbn: Low-Budget Password Strength Estimation", 2016).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import anyio.to_thread
from zxcvbn import zxcvbn

PIECE_LENGTH = 24
"""Of a longer password only the beginning and the end are looked at: the work grows faster than the length.

So much takes 5 ms, at worst half a second: of nothing but signs that could all stand for letters.
"""

HARD_TO_GUESS = 10**9
"""Guesses it takes whoever tries the likely ones first."""

SHORTEST_WORD = 3
SITE_WORDS = "admin(?:istrator|_app)?s?|catalog(?:ue)?s?|dashboard|products?|sqladmin|superuser|support"
PARTS = re.compile(r"[\W_]+")

REASONS = {
    "repeat": "it repeats itself",
    "sequence": "its signs follow each other as in the alphabet, or as numbers do",
    "spatial": "its signs lie beside each other on the keyboard",
    "date": "most of it is a date",
    "regex": "most of it is a year",
    "passwords": "it is one of the passwords most people think of, or close to one",
}
WORD = "it is little more than a common word or name"
KNOWN = "without the words of the site, your name and your e-mail address little is left of it"
ADVICE = "Three or four words that have nothing to do with each other are good."


async def reason_to_refuse(password: str, *, email: str, name: str) -> str | None:
    """A sentence for whoever chose a password that is too easy to guess, else None."""
    reason = await anyio.to_thread.run_sync(_weakness, password, known_words(email, name))
    return f"This password is too easy to guess: {reason}. {ADVICE}" if reason else None


def known_words(email: str, name: str) -> list[str]:
    """What anybody would try first who knows the person, longest first."""
    local, _, domain = email.lower().rpartition("@")
    labels = domain.split(".")[:-1]
    words = {email.lower(), local, *PARTS.split(local), *labels, name.lower(), *PARTS.split(name.lower())}
    return sorted((word for word in words if len(word) >= SHORTEST_WORD), key=len, reverse=True)


def _weakness(password: str, words: Sequence[str]) -> str | None:
    rest = _without(password, words)
    if not rest:
        return KNOWN
    for piece in dict.fromkeys((rest[:PIECE_LENGTH], rest[-PIECE_LENGTH:])):
        judged = zxcvbn(piece)
        if judged["guesses"] >= HARD_TO_GUESS:
            return None
    return _reason(judged["sequence"]) if rest == password else KNOWN


def _without(password: str, words: Iterable[str]) -> str:
    """A known word says nothing, however it is spelled out."""
    known = "|".join([*map(re.escape, words), SITE_WORDS])
    return re.sub(known, "", password, flags=re.IGNORECASE)


def _reason(sequence: Sequence[Mapping[str, Any]]) -> str:
    """What most of it is. Signs without any pattern count for enough, twelve of them."""
    most = max(sequence, key=lambda match: (match["pattern"] != "bruteforce", len(match["token"])))
    return REASONS.get(most.get("dictionary_name") or most["pattern"], WORD)
