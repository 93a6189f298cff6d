"""Hits are marked where list search finds them."""

import time
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_app.admin.highlight import Highlight


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
        ("Sign № 5", ["no"], "Sign <mark>№</mark> 5"),
    ],
)
def test_each_hit_is_marked_and_everything_escaped(text: str, words: list[str], marked: str) -> None:
    assert Highlight(words).mark(text) == marked


@given(st.text(max_size=30), st.lists(st.text(max_size=5), max_size=3))
def test_marking_changes_no_letter(text: str, words: list[str]) -> None:
    marked = Highlight(words).mark(text)
    assert marked.replace("<mark>", "").replace("</mark>", "") == escape(text)


def test_an_excerpt_shows_the_first_hit_with_whole_words_before_it() -> None:
    text = f"{'Long before. ' * 20}A wireless keyboard & mouse. {'Long after. ' * 20}"
    shown = Highlight(["wireless"]).excerpt(text, [])
    assert shown is not None
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert "A <mark>wireless</mark> keyboard &amp; mouse." in shown
    assert len(shown) < 160
    assert Highlight(["wireless"]).excerpt("Short and wireless", []) == "Short and <mark>wireless</mark>"
    assert Highlight(["missing"]).excerpt(text, []) is None


def test_an_excerpt_is_of_a_word_that_is_not_visible_already() -> None:
    text = "A lamp of oak, wireless"
    assert Highlight(["lamp"]).excerpt(text, ["Lámp"]) is None
    assert Highlight(["lamp", "oak"]).excerpt(text, ["Lámp"]) == (
        "A <mark>lamp</mark> of <mark>oak</mark>, wireless"
    )
    assert Highlight([]).excerpt(text, []) is None


def test_hostile_texts_take_no_time() -> None:
    """A page of 250 such rows is drawn while others wait."""
    words = ["a" * number for number in range(2, 11)] + ["zz"]
    started = time.process_time()
    for text in ("zz " + "a" * 19_900, "é" * 19_000, "\ufdfa" * 19_000):
        for _ in range(250):
            Highlight(words).excerpt(text, [text[:160]])
    assert time.process_time() - started < 5  # it was two minutes; a bound, no measurement
