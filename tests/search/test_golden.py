"""Whether the index finds what people mean, on the names of a real catalogue of music."""

import random
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from string import ascii_lowercase
from uuid import UUID, uuid5

import pytest
from sqlalchemy import select, text

from admin_app.database import Database, limit_time
from admin_app.domains.products.models import ProductSearchDocument
from admin_app.search_index import SearchDocument
from admin_app.search_postgres import PostgresIndex
from tests.search.conftest import product_index

HERE = Path(__file__).parent
GOLDEN: dict[str, dict[str, str]] = tomllib.loads((HERE / "golden.toml").read_text())
ENOUGH = {
    "typing-errors": 12,
    "accents": 6,
    "swapped": 6,
    "unfinished": 6,
    "punctuation": 4,
    "with-artist": 6,
}
MISTAKES = 200
NAMESPACE = UUID(int=0)


def catalogue() -> Iterator[SearchDocument]:
    """The names in the file below the "# " line of their artist, described as such a shop would."""
    artist = ""
    for number, line in enumerate((HERE / "catalogue.txt").read_text().splitlines()):
        if line.startswith("# "):
            artist = line[2:]
        else:
            body = f"A track by {artist}. MPEG audio file."
            yield SearchDocument(uuid5(NAMESPACE, str(number)), 1, line, "shop@demo.example", body)


@pytest.fixture
async def index(database: Database) -> AsyncIterator[PostgresIndex]:
    async with database.reading() as session:
        index = product_index(session)
        await index.upsert(list(catalogue()))
        yield index


def test_there_are_enough_queries_of_each_kind() -> None:
    assert {kind for kind, least in ENOUGH.items() if len(GOLDEN[kind]) >= least} == set(ENOUGH)
    assert sum(map(len, GOLDEN.values())) >= 40
    assert {name for queries in GOLDEN.values() for name in queries.values()} <= {
        document.title for document in catalogue()
    }


async def test_each_golden_query_has_its_product_among_the_first_three(index: PostgresIndex) -> None:
    names = {document.id: document.title for document in catalogue()}
    missed = {}
    for queries in GOLDEN.values():
        for typed, name in queries.items():
            first = [names[hit.id] for hit in await index.search(typed, limit=3)]
            if name not in first:
                missed[typed] = first
    assert missed == {}


async def test_statistics_from_before_the_catalogue_came_do_no_harm(database: Database) -> None:
    """After everything was replaced, PostgreSQL may believe there is nothing. No plan may read it all."""
    async with database.transaction() as session:
        await product_index(session).upsert(list(catalogue()))
        for table in ("product_search_document", "product_search_word"):
            await session.execute(text(f"DELETE FROM {table}"))
    async with database.transaction() as session:
        for table in ("product_search_document", "product_search_word"):
            await session.execute(text(f"ANALYZE {table}"))
    async with database.reading() as session:
        index = product_index(session)
        await index.upsert(list(catalogue()))
        await limit_time(session, 1)
        for typed in ("balls to the wal", "xylophonst", "motorhed", "zz", "no such thing at all"):
            await index.search(typed, limit=3)


def mistaken(word: str, chance: random.Random) -> str:
    """One letter missing, doubled, swapped with the next, wrong or too many."""
    at = chance.randrange(len(word) - 1)
    letter = chance.choice(ascii_lowercase)
    return chance.choice(
        [
            word[:at] + word[at + 1 :],
            word[: at + 1] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + letter + word[at + 1 :],
            word[:at] + letter + word[at:],
        ]
    )


async def test_a_mistake_somewhere_is_forgiven_nearly_always(
    index: PostgresIndex, database: Database
) -> None:
    """Not always: some mistakes make another word of the catalogue."""
    titles = {document.id: document.title for document in catalogue()}
    plain = select(ProductSearchDocument.id, ProductSearchDocument.title)
    documents = {row.id: row.title for row in await index._session.execute(plain)}
    assert documents.keys() == titles.keys()
    occurring = Counter(documents.values())
    chance = random.Random(20)
    found = tried = 0
    while tried < MISTAKES:
        row_id = chance.choice(list(documents))
        words = documents[row_id].split()
        long = [number for number, word in enumerate(words) if len(word) > 3]
        if not long or occurring[documents[row_id]] > 1:
            continue
        at = chance.choice(long)
        words[at] = mistaken(words[at], chance)
        tried += 1
        found += row_id in [hit.id for hit in await index.search(" ".join(words), limit=3)]
    assert found >= 0.95 * tried, f"{found} of {tried}"
