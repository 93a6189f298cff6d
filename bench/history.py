"""What history costs: its pages, with few and with very many entries, and a save with it and without."""

import asyncio
import re
import statistics
from dataclasses import dataclass, field

from bench import history_data
from bench.cases import HISTORY
from bench.client import Client
from bench.measure import WARM_UP, Measured, expect, one_side, pages
from bench.recording import Recording, record

VERSION = re.compile(rb'name="version" value="([0-9]+)"')
FEWER = 10
"""So many times fewer are the entries its growth is told from."""
SAVE_ROUNDS = 10
"""Times the rounds of a page: the difference looked for is small."""


@dataclass
class Saves:
    """Milliseconds of each."""

    written: list[float] = field(default_factory=list)
    forgotten: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return statistics.median(self.written) / statistics.median(self.forgotten)


@dataclass(frozen=True)
class History:
    """Its pages by number of entries; `refused` as in a recording."""

    pages: dict[int, Measured]
    saves: Saves
    refused: dict[str, int]


def measure(catalogue_url: str, entries: int, rounds: int) -> History:
    """In copies of the catalogue, made now if they are not there."""
    sizes = {
        size: asyncio.run(history_data.ensure(catalogue_url, size)) for size in (entries // FEWER, entries)
    }
    recordings = {url: asyncio.run(record(url, HISTORY)) for url in sizes.values()}
    found = pages(recordings, rounds)
    url = sizes[entries]
    return History(
        pages={size: found[url] for size, url in sizes.items()},
        saves=_saves(url, recordings[url], rounds * SAVE_ROUNDS),
        refused=recordings[url].refused,
    )


def _saves(url: str, recording: Recording, rounds: int) -> Saves:
    """Of one product, in turn by a server that writes history and by one that does not."""
    found = Saves()
    with (
        one_side("app", url) as writing,
        one_side("bare", url) as forgetting,
        Client(writing, recording.token) as one,
        Client(forgetting, recording.token) as other,
    ):
        [version] = map(int, VERSION.findall(expect(200, one.get(recording.edit)).page))
        for turn in range(WARM_UP + rounds):
            for client, times in ((one, found.written), (other, found.forgotten)):
                changed = {"price": f"{version % 90 + 10}.75", "version": str(version)}
                answer = expect(303, client.post(recording.edit, recording.form | changed))
                version += 1
                if turn >= WARM_UP:
                    times.append(answer.milliseconds)
    return found
