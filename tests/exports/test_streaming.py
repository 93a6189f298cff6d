"""Exports that are sent at once: noted before, ended with whoever reads, and never too many of them."""

import asyncio
from contextlib import AsyncExitStack

import anyio
import pytest
from sqlalchemy import select, text

from admin_app.audit import AuditEntry
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import open_database
from admin_app.errors import TooSlow
from admin_app.exports import copying, streaming
from admin_app.exports.models import Format
from admin_app.exports.streaming import stream
from tests.conftest import Cast
from tests.exports.asking import asked

COPYING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND query LIKE 'COPY%' "
    "AND datname = current_database()"
)
FILL = text("""
    INSERT INTO products (name, description, price, owner_id)
    SELECT 'Product ' || number, repeat('long ', 200), number, :owner
    FROM generate_series(1, :products) number
""")


@pytest.fixture
async def many(database: Database, cast: Cast) -> None:
    """More than any buffer on the way holds."""
    async with database.transaction() as session:
        await session.execute(FILL, {"owner": cast.alice.id, "products": 6_000})


async def _is_free(database: Database) -> None:
    """Within a second: no connection is out, and PostgreSQL copies nothing."""
    async with asyncio.timeout(1):
        while database.engine.pool.checkedout():  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0)
        while True:
            async with database.reading() as session:
                if not await session.scalar(COPYING):
                    return


@pytest.mark.usefixtures("many")
async def test_whoever_goes_away_frees_the_connection_at_once(database: Database, cast: Cast) -> None:
    request = await asked(database, cast.sam, "product", Format.CSV, ["name", "description"])
    async with stream(database, cast.sam, request) as found:
        assert found is not None
        await anext(found.chunks)
        await anext(found.chunks)
        async with database.reading() as session:
            assert await session.scalar(COPYING) == 1
    await _is_free(database)

    # As a web server ends a request: whatever is awaited from then on is cancelled again.
    with anyio.CancelScope() as scope:
        async with stream(database, cast.sam, request) as found:
            assert found is not None
            await anext(found.chunks)
            scope.cancel()
            await asyncio.sleep(10)
    await _is_free(database)

    with pytest.raises(RuntimeError, match="lost"):
        async with stream(database, cast.sam, request) as found:
            raise RuntimeError("lost")
    await _is_free(database)


@pytest.mark.usefixtures("many")
async def test_it_is_in_the_history_before_the_first_byte_with_the_exact_number(
    database: Database, cast: Cast
) -> None:
    request = await asked(database, cast.sam, "product", Format.JSON_LINES, ["name"], price_to="123")
    async with stream(database, cast.sam, request):
        async with database.reading() as session:
            found = select(AuditEntry).where(AuditEntry.action == "exported")
            entry = (await session.scalars(found)).one()
        assert (entry.actor_label, entry.kind, entry.row_id) == (cast.sam.label, "product", None)
        assert entry.note == "123 rows as JSON lines: Price to: 123"


@pytest.mark.usefixtures("many")
async def test_what_is_too_much_or_too_slow_is_left_to_the_background(
    database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    request = await asked(database, cast.sam, "product", Format.CSV, ["name"])
    monkeypatch.setattr(streaming, "AT_ONCE", 5_999)
    async with stream(database, cast.sam, request) as found:
        assert found is None
    monkeypatch.setattr(streaming, "AT_ONCE", 6_000)
    monkeypatch.setattr(streaming, "READ_SECONDS", 0.001)
    async with stream(database, cast.sam, request) as found:
        assert found is None
    monkeypatch.undo()
    excel = await asked(database, cast.sam, "product", Format.EXCEL, ["name"])
    async with stream(database, cast.sam, excel) as found:
        assert found is None
    small = open_database(settings.model_copy(update={"database_pool_size": 2}))
    async with stream(small, cast.sam, request) as first, stream(small, cast.sam, request) as second:
        assert first is not None
        assert second is None
    # Whoever finds the last place taken a moment before does not wait for it.
    async with AsyncExitStack() as both:
        opened = [both.enter_async_context(stream(small, cast.sam, request)) for _ in range(2)]
        found = await asyncio.wait_for(asyncio.gather(*opened), 5)
        assert [given is None for given in found] == [False, True]
    await small.close()
    async with database.reading() as session:
        noted = select(AuditEntry).where(AuditEntry.action == "exported")
        assert len((await session.scalars(noted)).all()) == 2


@pytest.mark.usefixtures("many")
async def test_a_reader_who_is_too_slow_is_given_up_with_an_error(
    database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file must not look like a whole one."""
    monkeypatch.setattr(streaming, "STREAM_SECONDS", 0.2)
    request = await asked(database, cast.sam, "product", Format.CSV, ["name", "description"])
    async with stream(database, cast.sam, request) as found:
        assert found is not None
        await anext(found.chunks)
        await _is_free(database)
        with pytest.raises(TooSlow):
            async for _ in found.chunks:
                pass


async def test_what_is_sent_is_one_state_of_the_list(database: Database, cast: Cast) -> None:
    """Rows that are added between counting and reading are not in it: the history says how many there are."""
    request = await asked(database, cast.sam, "product", Format.CSV, ["name"])
    async with stream(database, cast.sam, request) as found:
        assert found is not None
        async with database.transaction() as session:
            await session.execute(FILL, {"owner": cast.alice.id, "products": 3})
        assert [piece async for piece in found.chunks] == [f"{copying.BOM}Name\n".encode()]
