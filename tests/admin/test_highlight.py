"""Hits are marked where list search finds them."""

from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_app.admin.highlight import excerpt, hits, mark


@pytest.mark.parametrize(
    ("text", "words", "marked"),
    [
        ("Balls to the Wall", ["wall"], "Balls to the <mark>Wall</mark>"),
        ("Motörhead", ["motor"], "<mark>Motör</mark>head"),
        ("Motorhead", ["MOTÖR"], "<mark>Motor</mark>head"),
        ("Große Straße", ["strasse"], "Große <mark>Straße</mark>"),
        ("a & b", ["&"], "a <mark>&amp;</mark> b"),
        ("<b>bold</b>", ["bold"], "&lt;b&gt;<mark>bold</mark>&lt;/b&gt;"),
        ("<b>", ["<b>"], "<mark>&lt;b&gt;</mark>"),
        ("100% _x_", ["%", "_"], "100<mark>%</mark> <mark>_</mark>x<mark>_</mark>"),
        ("abcabc", ["abc", "bca"], "<mark>abcabc</mark>"),
        ("Radio io", ["io"], "Radio <mark>io</mark>"),
        ("to the top", ["to the"], "<mark>to the</mark> top"),
        ("nothing", ["x"], "nothing"),
        ("nothing", [], "nothing"),
    ],
)
def test_each_hit_is_marked_and_everything_escaped(text: str, words: list[str], marked: str) -> None:
    assert mark(text, words) == marked


@given(st.text(max_size=30), st.lists(st.text(max_size=5), max_size=3))
def test_marking_changes_no_letter(text: str, words: list[str]) -> None:
    marked = mark(text, words)
    assert marked.replace("<mark>", "").replace("</mark>", "") == escape(text)
    assert all(0 <= start < stop <= len(text) for start, stop in hits(text, words))


def test_an_excerpt_shows_the_first_hit_with_whole_words_before_it() -> None:
    text = f"{'Long before. ' * 20}A wireless keyboard & mouse. {'Long after. ' * 20}"
    shown = excerpt(text, ["wireless"])
    assert shown is not None
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert "A <mark>wireless</mark> keyboard &amp; mouse." in shown
    assert len(shown) < 160
    assert excerpt("Short and wireless", ["wireless"]) == "Short and <mark>wireless</mark>"
    assert excerpt(text, ["missing"]) is None
