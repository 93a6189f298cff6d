"""Charts as plain numbers: how long each bar is, and what is written beside it, in per cent of the place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

STEPS = 4
"""At most so many lines across."""
LEAST_HEIGHT = 1.0
"""Of what is there at all, so that it can be seen."""


@dataclass(frozen=True)
class Bar:
    """`url` is the list of what it counts."""

    label: str
    number: int
    url: str = ""


@dataclass(frozen=True)
class Placed:
    """A bar with how long it is."""

    bar: Bar
    left: float
    length: float


@dataclass(frozen=True)
class Line:
    """A line across, and the number it stands for."""

    text: str
    top: float


@dataclass(frozen=True)
class Mark:
    """A text below the bars."""

    text: str
    left: float
    anchor: Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Chart:
    """Columns side by side. `gist` is what it tells, in a sentence; `heading` what its bars are."""

    gist: str
    heading: str
    bars: Sequence[Placed]
    width: float
    lines: Sequence[Line]
    marks: Sequence[Mark]


def chart(gist: str, heading: str, bars: Sequence[Bar], marks: Mapping[int, str]) -> Chart:
    """`marks`: what is written where a bar begins, by its place; the place after the last is the end."""
    highest = max((bar.number for bar in bars), default=0)
    step = step_for(highest)
    top = step * max(1, -(-highest // step))
    width = 100 / max(1, len(bars))
    return Chart(
        gist,
        heading,
        [Placed(bar, place * width, length_of(bar.number, top)) for place, bar in enumerate(bars)],
        width,
        [Line(compact(number), 100 - 100 * number / top) for number in range(0, top + 1, step)],
        [Mark(text, place * width, _anchor(place, len(bars))) for place, text in marks.items()],
    )


def rows(bars: Sequence[Bar], whole: int) -> list[Placed]:
    """Bars one below the other, each as long as its part of the whole."""
    return [Placed(bar, 0, length_of(bar.number, whole)) for bar in bars]


def step_for(highest: int) -> int:
    """The smallest of 1, 2, 5, 10, 20 … with which STEPS of them are enough."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if factor * step * STEPS >= highest:
                return factor * step
        step *= 10


def length_of(number: int, whole: int) -> float:
    return max(100 * number / whole, LEAST_HEIGHT) if number and whole else 0.0


def compact(number: int) -> str:
    """ "950", "1.5k", "20M": of a round number, all of it."""
    for size, sign in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + sign
    return str(number)


def _anchor(place: int, bars: int) -> Literal["start", "middle", "end"]:
    if place == 0:
        return "start"
    return "end" if place == bars else "middle"
