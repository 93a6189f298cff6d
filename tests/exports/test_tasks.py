"""Exports in the background: whole files or none, for their owners only, for a week."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import gettempdir

import pytest
from sqlalchemy import select, text, update

from admin_app.actor import Role
from admin_app.audit import AuditEntry
from admin_app.database import Database
from admin_app.domains.users.models import User
from admin_app.errors import InvalidInput, NotFound, Unavailable
from admin_app.exports import tasks
from admin_app.exports.models import Export, ExportState, Format
from admin_app.exports.service import ExportService
from admin_app.outbox import Delivery
from admin_app.storage import Storage, storage_of
from tests.conftest import Cast, MakeProduct
from tests.deliveries import work
from tests.exports.asking import asked, cells, objects, requested, written


async def _now(database: Database, export_id: object) -> Export:
    async with database.reading() as session:
        return (await session.scalars(select(Export).where(Export.id == export_id))).one()


async def test_a_file_is_written_noted_and_its_owners_alone(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    for name in ("Teapot", "Kettle", "Teacup"):
        await make_product(cast.alice, name=name)
    request = await asked(database, cast.alice, "product", Format.CSV, ["name"], search="tea", sortBy="name")
    export, content = await written(database, cast.alice, request)
    assert cells(content or b"") == [["Teacup"], ["Teapot"]]
    assert (export.state, export.rows, export.expected) == (ExportState.FINISHED, 2, 2)
    assert export.size_bytes == len(content or b"")
    async with database.reading() as session:
        [entry] = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "exported"))).all()
        assert (entry.actor_id, entry.note) == (cast.alice.id, "2 rows as CSV: “tea”")
        assert entry.request_id == cast.alice.request_id
        for stranger in (cast.bob, cast.root, cast.sam):
            service = ExportService(session, stranger)
            assert await service.recent() == []
            for refused in (service.get_by_id, service.cancel, service.note_seen):
                with pytest.raises(NotFound):
                    await refused(export.id)
        [own] = await ExportService(session, cast.alice).recent()
        assert own.id == export.id
    async with database.transaction() as session:
        await ExportService(session, cast.alice).note_seen(export.id)
        assert (await ExportService(session, cast.alice).cancel(export.id)).is_cancelling is False
    assert (await _now(database, export.id)).seen_at is not None


async def test_a_file_is_written_in_the_role_its_owner_has_then(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    request = await asked(database, cast.root, "user", Format.JSON_LINES, ["email"])
    export = await requested(database, cast.root, request)
    async with database.transaction() as session:
        role = update(User).where(User.id == cast.root.id).values(role=Role.ADMINISTRATOR)
        await session.execute(role)
    await work(database)
    content = await storage_of(database).get(export.file)
    assert objects(content or b"") == [{"email": cast.root.label}]
    export = await requested(database, cast.root, request)
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == cast.root.id).values(is_active=False))
    await work(database)
    export = await _now(database, export.id)
    assert (export.state, export.error) == (ExportState.FAILED, tasks.MAY_NOT)
    assert await storage_of(database).get(export.file) is None


async def test_one_that_is_cancelled_stops_and_leaves_no_file(
    database: Database, cast: Cast, make_product: MakeProduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "PROGRESS_SECONDS", 0.01)
    await make_product(cast.alice)
    put_large = Storage.put_large
    begun = asyncio.Event()

    async def never(self: Storage, *given: object) -> None:
        await put_large(self, *given)  # type: ignore[arg-type]
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Storage, "put_large", never)
    request = await asked(database, cast.alice, "product", Format.CSV)
    export = await requested(database, cast.alice, request)
    working = asyncio.create_task(work(database))
    await begun.wait()
    async with database.transaction() as session:
        assert (await ExportService(session, cast.alice).cancel(export.id)).state is ExportState.RUNNING
    await working
    cancelled = await _now(database, export.id)
    assert (cancelled.state, cancelled.error) == (ExportState.CANCELLED, None)
    async with database.transaction() as session:
        await tasks.sweep(session)
    assert await storage_of(database).get(export.file) is None
    async with database.reading() as session:
        found = select(AuditEntry).where(AuditEntry.action == "exported")
        assert (await session.scalars(found)).all() == []


async def test_a_storage_that_is_away_is_waited_for_and_other_faults_are_told_in_a_sentence(
    database: Database, cast: Cast, make_product: MakeProduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_product(cast.alice)
    put_large = Storage.put_large

    async def away(*_given: object) -> None:
        raise Unavailable("Away.")

    monkeypatch.setattr(Storage, "put_large", away)
    request = await asked(database, cast.alice, "product", Format.CSV)
    export = await requested(database, cast.alice, request)
    await work(database, until_done=False)
    assert (await _now(database, export.id)).state is ExportState.RUNNING
    old = await requested(database, cast.alice, request)
    async with database.transaction() as session:
        long_ago = datetime.now(UTC) - timedelta(hours=1, minutes=1)
        await session.execute(update(Export).where(Export.id == old.id).values(created_at=long_ago))
    await work(database, until_done=False)
    old = await _now(database, old.id)
    assert (old.state, old.error) == (ExportState.FAILED, tasks.NO_STORAGE)
    monkeypatch.setattr(Storage, "put_large", put_large)
    async with database.transaction() as session:
        await session.execute(update(Delivery).values(last_error=None))
    await work(database)
    assert (await _now(database, export.id)).state is ExportState.FINISHED

    export = await requested(database, cast.alice, request)
    async with database.transaction() as session:
        await session.execute(update(Export).where(Export.id == export.id).values(query="sortBy=nothing"))
    await work(database)
    export = await _now(database, export.id)
    assert (export.state, export.error) == (
        ExportState.FAILED,
        "This list cannot be sorted by “nothing”.",
    )

    export = await requested(database, cast.alice, await asked(database, cast.alice, "product", Format.EXCEL))

    async def broken(*_given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Storage, "put_large", broken)
    await work(database)
    export = await _now(database, export.id)
    assert (export.state, export.error) == (ExportState.FAILED, tasks.WENT_WRONG)
    assert not (Path(gettempdir()) / f"admin-app-export-{export.id}").exists()


async def test_files_go_when_nobody_can_fetch_them_any_more(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    request = await asked(database, cast.alice, "product", Format.CSV)
    young, _ = await written(database, cast.alice, request)
    old, _ = await written(database, cast.alice, request)
    lost = await requested(database, cast.alice, request)
    storage = storage_of(database)
    await storage.put(lost.file, b"half", "text/csv")
    long_ago = datetime.now(UTC) - timedelta(days=7, minutes=1)
    async with database.transaction() as session:
        await session.execute(update(Export).where(Export.id == old.id).values(finished_at=long_ago))
        await session.execute(update(Export).where(Export.id == lost.id).values(created_at=long_ago))
        await session.execute(
            update(Delivery).where(Delivery.done_at.is_(None)).values(dead_at=datetime.now(UTC))
        )
    async with database.transaction() as session:
        assert await tasks.sweep(session) == 2
    assert (await _now(database, old.id)).state is ExportState.EXPIRED
    assert await storage.get(old.file) is not None  # first nobody can fetch it, then it goes
    async with database.transaction() as session:
        assert await tasks.sweep(session) == 2
    async with database.transaction() as session:
        assert await tasks.sweep(session) == 0
    assert [await storage.get(export.file) for export in (old, lost)] == [None, None]
    assert await storage.get(young.file) is not None
    async with database.reading() as session:
        kept = [export.id for export in await ExportService(session, cast.alice).recent()]
    assert kept == [lost.id, young.id]
    async with database.transaction() as session:
        await session.execute(text("UPDATE export SET created_at = created_at - interval '91 days'"))
        await tasks.sweep(session)
        assert set(await session.scalars(select(Export.id))) == {young.id}


async def test_what_cannot_be_exported_is_refused(database: Database, cast: Cast) -> None:
    request = await asked(database, cast.alice, "product", Format.CSV, ["name", "search_text"])
    async with database.reading() as session:
        service = ExportService(session, cast.alice)
        with pytest.raises(InvalidInput, match="no column named “search_text”"):
            await service.request(request)
        with pytest.raises(NotFound):
            service.columns("session")
