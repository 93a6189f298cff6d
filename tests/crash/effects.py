"""An event whose every effect leaves a row of its own: what is lost is missing, what is done twice shows."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.events import Event, Handlers, TaskCall, Tasks
from admin_app.outbox import HANDLERS as HANDLERS_KEY
from admin_app.outbox import OutboxBus
from tests.crash.waiting import eventually

NOTE_EFFECT = "note_effect"


@dataclass(frozen=True)
class Happened(Event):
    number: int


def on_happened(event: Happened) -> TaskCall:
    return TaskCall(NOTE_EFFECT, {"number": event.number})


HANDLERS: Handlers = {Happened: (on_happened,)}


async def note_effect(session: AsyncSession, number: int) -> None:
    await session.execute(text("INSERT INTO test_effect (number) VALUES (:number)"), {"number": number})


TASKS: Tasks = {NOTE_EFFECT: note_effect}


@asynccontextmanager
async def effect_database(settings: Settings, handlers: Handlers = HANDLERS) -> AsyncIterator[Database]:
    """The database with a table of effects (without any unique constraint), which goes afterwards."""
    database = Database(settings.database_url, session_info={HANDLERS_KEY: handlers})
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE test_effect (number int NOT NULL)"))
    try:
        yield database
    finally:
        async with database.transaction() as session:
            await session.execute(text("DROP TABLE test_effect"))
            await session.execute(text("DELETE FROM event"))
        await database.close()


async def publish(database: Database, numbers: Iterable[int]) -> None:
    """One transaction with one event for each number."""
    async with database.transaction() as session:
        bus = OutboxBus(session, Actor.system())
        for number in numbers:
            bus.publish(Happened(number))


async def effects(database: Database) -> Counter[int]:
    """How often each number took effect."""
    async with database.reading() as session:
        return Counter(await session.scalars(text("SELECT number FROM test_effect")))


async def open_deliveries(database: Database) -> int:
    async with database.reading() as session:
        query = text("SELECT count(*) FROM delivery WHERE done_at IS NULL AND dead_at IS NULL")
        return await session.scalar(query) or 0


async def all_done(database: Database) -> None:
    async def none_is_open() -> bool:
        return await open_deliveries(database) == 0

    await eventually(none_is_open)
