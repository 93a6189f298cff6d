"""What changed in a text, word by word, as HTML. However long the texts are, it takes some milliseconds."""

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from html import escape
from itertools import pairwise
from typing import Literal, NamedTuple

from markupsafe import Markup

WORDS = re.compile(r"\w+|\n|[^\S\n]+|[^\w\s]")
MAX_STEPS = 80_000
"""How many pairs of words are compared before a part counts as changed as a whole."""
FEW_STEPS = 5_000
MAX_REPEATED = 10
"""Words more frequent in a text say little about which places of it are the same."""

NEAR = 40
"""Characters left and right of a change that a short version keeps."""
MAX_SHORT = 400
MAX_SHORT_PIECE = 160


Range = tuple[int, int, int, int]
"""Where a part of the old words begins and ends, and a part of the new ones."""
Block = tuple[int, int, int]
"""Where the same words begin in the old ones and in the new, and how many they are."""


class Piece(NamedTuple):
    kind: Literal["same", "gone", "new"]
    text: str


def word_diff(old: str, new: str, max_steps: int = MAX_STEPS) -> list[Piece]:
    """Pieces that give `old` without the new ones, and `new` without those that are gone."""
    before, after = WORDS.findall(old), WORDS.findall(new)
    found: list[Piece] = []
    old_end = new_end = 0
    for in_old, in_new, size in [*_matches(before, after, max_steps), (len(before), len(after), 0)]:
        _add(found, "gone", before[old_end:in_old])
        _add(found, "new", after[new_end:in_new])
        old_end, new_end = in_old + size, in_new + size
        _add(found, "same", before[in_old:old_end])
    return found


def as_html(pieces: Sequence[Piece]) -> Markup:
    """With <del> and <ins>, everything else escaped."""
    return Markup("".join(map(_marked, pieces)))  # noqa: S704  # escaped piece by piece


def shortened(pieces: Sequence[Piece]) -> list[Piece]:
    """Only what changed and a few words around it, with "…" for what is left out."""
    found: list[Piece] = []
    length = 0
    for index, (kind, text) in enumerate(pieces):
        is_last = index == len(pieces) - 1
        shown = _around(text, index == 0, is_last) if kind == "same" else cut(text, MAX_SHORT_PIECE)
        found.append(Piece(kind, shown))
        length += len(shown)
        if length > MAX_SHORT and not is_last:
            return [*found, Piece("same", " …")]
    return found


def cut(text: str, length: int) -> str:
    """The beginning of the text, at most so long and not ending within a word if that can be."""
    if len(text) <= length:
        return text
    kept = text[: length - 1]
    return f"{kept[: kept.rfind(' ')] if ' ' in kept[length // 2 :] else kept}…"


def _add(pieces: list[Piece], kind: Literal["same", "gone", "new"], words: Sequence[str]) -> None:
    text = "".join(words)
    if pieces and pieces[-1].kind == kind:
        pieces[-1] = Piece(kind, pieces[-1].text + text)
    elif text:
        pieces.append(Piece(kind, text))


def _matches(before: Sequence[str], after: Sequence[str], max_steps: int) -> list[Block]:
    """Where both have the same words, in order."""
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    old_end, new_end = len(before) - end, len(after) - end
    # First the words each has once: they say most, and divide the texts into parts that take little time.
    once = _once(before[start:old_end]) & _once(after[start:new_end])
    old = [place for place in range(start, old_end) if before[place] in once]
    new = [place for place in range(start, new_end) if after[place] in once]
    rare = [before[place] for place in old], [after[place] for place in new]
    anchors = [
        (old[in_old + place], new[in_new + place], 1)
        for in_old, in_new, size in _blocks(*rare, [(0, len(old), 0, len(new))], max_steps)
        for place in range(size)
    ]
    corners = [(start, start, 0), *anchors, (old_end, new_end, 0)]
    gaps = [
        (in_old + size, next_old, in_new + size, next_new)
        for (in_old, in_new, size), (next_old, next_new, _) in pairwise(corners)
    ]
    return sorted(
        [(0, 0, start), *anchors, *_blocks(before, after, gaps, max_steps), (old_end, new_end, end)]
    )


def _blocks(
    before: Sequence[str], after: Sequence[str], ranges: Iterable[Range], max_steps: int
) -> list[Block]:
    """As SequenceMatcher.get_matching_blocks, in these ranges; but that takes a minute for some texts."""
    numbers = Counter(after)

    def says_little(word: str) -> bool:
        """It is only the same where words beside it are."""
        return numbers[word] > MAX_REPEATED or not word[0].isalnum()

    matcher = SequenceMatcher(says_little, before, after, autojunk=False)
    costs = [1 + min(numbers[word], MAX_REPEATED) for word in before]
    found: list[Block] = []
    steps = 0
    waiting = deque(ranges)
    while waiting:
        old_start, old_end, new_start, new_end = waiting.popleft()
        size = _common(before[old_start:old_end], after[new_start:new_end])
        found.append((old_start, new_start, size))
        old_start, new_start = old_start + size, new_start + size
        size = _common(before[old_start:old_end][::-1], after[new_start:new_end][::-1])
        old_end, new_end = old_end - size, new_end - size
        found.append((old_end, new_end, size))
        cost = sum(costs[old_start:old_end])
        if new_start == new_end or steps + cost > max_steps:
            continue
        steps += cost
        in_old, in_new, size = matcher.find_longest_match(old_start, old_end, new_start, new_end)
        if size:
            found.append((in_old, in_new, size))
            waiting.append((old_start, in_old, new_start, in_new))
            waiting.append((in_old + size, old_end, in_new + size, new_end))
    return sorted(block for block in found if block[2])


def _once(words: Sequence[str]) -> set[str]:
    return {word for word, number in Counter(words).items() if number == 1 and word[0].isalnum()}


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    """How many words both begin with."""
    number = 0
    for old, new in zip(before, after, strict=False):
        if old != new:
            break
        number += 1
    return number


def _marked(piece: Piece) -> str:
    text = escape(piece.text)
    if piece.kind == "same":
        return text
    if not text.strip():
        text = text.replace("\n", "↵\n")  # a line break alone would be struck out unseen
    return f"<del>{text}</del>" if piece.kind == "gone" else f"<ins>{text}</ins>"


def _around(text: str, is_first: bool, is_last: bool) -> str:
    """The ends of the text that touch a change."""
    left, right = ("" if is_first else text[:NEAR]), ("" if is_last else text[-NEAR:])
    if len(text) <= len(left) + len(right) + NEAR // 2:
        return text
    return f"{left}…{right}"
