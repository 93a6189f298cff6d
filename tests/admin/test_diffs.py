"""Word diffs: nothing lost, nothing trusted, and done in bounded time whatever the texts."""

from itertools import pairwise
from random import Random

import pytest

from admin_app.admin import diffs
from admin_app.admin.diffs import MAX_SHORT, MAX_STEPS, Piece, as_html, cut, shortened, word_diff
from admin_app.text import MAX_DESCRIPTION_LENGTH


def html(old: str, new: str) -> str:
    return str(as_html(word_diff(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("", "", ""),
        ("the same", "the same", "the same"),
        ("", "all new", "<ins>all new</ins>"),
        ("all gone", "", "<del>all gone</del>"),
        ("an old lamp", "a new lamp", "<del>an old</del><ins>a new</ins> lamp"),
        ("one two three", "one three", "one <del>two </del>three"),
        ("Made of brass.", "Made of brass!", "Made of brass<del>.</del><ins>!</ins>"),
        ("one two", "one  two", "one<del> </del><ins>  </ins>two"),
        ("one two", "one\ntwo", "one<del> </del><ins>↵\n</ins>two"),
        (
            "12 pieces, red",
            "14 pieces, blue",
            "<del>12</del><ins>14</ins> pieces, <del>red</del><ins>blue</ins>",
        ),
        ("naïve Größe", "naïve Grösse", "naïve <del>Größe</del><ins>Grösse</ins>"),
        ("a b c d", "d a b c", "<ins>d </ins>a b c<del> d</del>"),
    ],
)
def test_words_that_changed_are_marked(old: str, new: str, shown: str) -> None:
    assert html(old, new) == shown


def test_a_value_is_never_html() -> None:
    shown = html("<b>bold</b> & 'old'", "<script>alert(1)</script> & 'new'")
    tags = shown.replace("<del>", "").replace("</del>", "").replace("<ins>", "").replace("</ins>", "")
    assert "<" not in tags
    assert ">" not in tags
    assert "script" in shown


def rewritten(words: list[str], every: int) -> str:
    return " ".join(f"changed{place}" if place % every == 0 else word for place, word in enumerate(words))


def awkward_texts() -> dict[str, tuple[str, str]]:
    """As long as a description may be, and of the kinds that take a search for common words the longest."""
    random = Random(1)
    natural = random.choices([f"w{n}" for n in range(5000)], [1 / (n + 1) for n in range(5000)], k=4200)
    few = [random.choices([f"{n:x}" for n in range(100)], k=7500) for _ in range(2)]
    signs = [chr(0x4E00 + number) for number in range(9999)]
    pairs = {
        "no common word": (" ".join(f"a{n}" for n in range(3500)), " ".join(f"b{n}" for n in range(3500))),
        "two words": ("x y " * 5000, "y x " * 5000),
        "few words": (" ".join(few[0]), " ".join(few[1])),
        "some words changed": (" ".join(natural), rewritten(natural, 25)),
        "every fifth changed": (" ".join(natural), rewritten(natural, 5)),
        "a part moved": (" ".join(natural), " ".join(natural[1000:] + natural[:1000])),
        "other way round": (" ".join(signs), " ".join(reversed(signs))),
        "neighbours swapped": (" ".join(signs), " ".join(signs[place ^ 1] for place in range(9998))),
        "no words": ("., " * 6600, ",. " * 6600),
    }
    return {
        name: (old[:MAX_DESCRIPTION_LENGTH], new[:MAX_DESCRIPTION_LENGTH])
        for name, (old, new) in pairs.items()
    }


@pytest.mark.parametrize("name", awkward_texts())
def test_nothing_is_lost_and_the_work_is_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = awkward_texts()[name]
    steps = 0

    class Counting(diffs.SequenceMatcher):
        """Counts what its search looks at: every word of a part, and all places of it in the other text."""

        def find_longest_match(self, alo=0, ahi=None, blo=0, bhi=None):
            nonlocal steps
            steps += sum(1 + len(self.b2j.get(word, ())) for word in self.a[alo:ahi])
            return super().find_longest_match(alo, ahi, blo, bhi)

    monkeypatch.setattr(diffs, "SequenceMatcher", Counting)
    pieces = word_diff(old, new)
    assert "".join(piece.text for piece in pieces if piece.kind != "new") == old
    assert "".join(piece.text for piece in pieces if piece.kind != "gone") == new
    assert all(before.kind != after.kind for before, after in pairwise(pieces))
    assert steps <= 2 * MAX_STEPS


def test_changes_all_over_a_long_text_are_still_told_word_by_word() -> None:
    old, new = awkward_texts()["some words changed"]
    same = sum(len(piece.text) for piece in word_diff(old, new) if piece.kind == "same")
    assert same > 0.9 * len(old)


def test_in_short_only_what_is_around_a_change_is_told() -> None:
    words = [f"word{number}" for number in range(200)]
    old = " ".join(words)
    shown = str(as_html(shortened(word_diff(old, old.replace("word100 ", "other ")))))
    assert "<del>word100</del><ins>other</ins>" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert "word99" in shown
    assert "word90" not in shown
    assert len(shown) < 200


def test_in_short_many_changes_end_somewhere() -> None:
    old, new = awkward_texts()["every fifth changed"]
    pieces = shortened(word_diff(old, new))
    assert sum(len(piece.text) for piece in pieces) < 2 * MAX_SHORT
    assert pieces[-1] == Piece("same", " …")


def test_a_short_text_stays_whole_in_short() -> None:
    pieces = word_diff("A small lamp, made of brass.", "A large lamp, made of brass.")
    assert shortened(pieces) == pieces


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        ("short", 5, "short"),
        ("two words", 6, "two…"),
        ("indivisible", 5, "indi…"),
        ("a indivisible", 10, "a indivis…"),
    ],
)
def test_cut_ends_between_words_where_it_can(text: str, length: int, shown: str) -> None:
    assert cut(text, length) == shown
