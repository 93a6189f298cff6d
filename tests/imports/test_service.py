"""Imports up to their confirmation: who may see them, what holds them up, and what is left over."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from admin_app.actor import Actor
from admin_app.audit import AuditEntry
from admin_app.bulk.models import BulkOperation, State
from admin_app.database import Database
from admin_app.domains.users.models import User
from admin_app.errors import Conflict, Forbidden, InvalidInput, NotFound, ProofRequired
from admin_app.imports import staging
from admin_app.imports.models import Import, ImportState
from admin_app.imports.service import ImportService
from admin_app.imports.tasks import check_import, sweep
from admin_app.storage import storage_of
from tests.conftest import Cast, count
from tests.deliveries import work
from tests.imports.checks import checked, found, match, upload

TWO = "Title;Variant Price;SKU;Colour\nTea;1.50;T-1;red\nCoffee;3;T-2;black\n"


async def swept(database: Database) -> None:
    async with database.transaction() as session:
        while await sweep(session):
            pass


async def test_columns_are_guessed_and_what_was_chosen_is_remembered(database: Database, cast: Cast) -> None:
    import_ = await upload(database, cast.alice, TWO)
    assert (import_.state, import_.columns) == (
        ImportState.MATCHING,
        ["Title", "Variant Price", "SKU", "Colour"],
    )
    assert import_.sample == [["Tea", "1.50", "T-1", "red"], ["Coffee", "3", "T-2", "black"]]
    assert (import_.matching, import_.key) == ({"0": "name", "1": "price", "2": "external_id"}, "external_id")
    chosen = {0: "external_id", 1: "price", 3: "name"}
    async with database.transaction() as session:
        await ImportService(session, cast.alice).match(import_.id, chosen, "")
    await work(database)
    again = await upload(database, cast.alice, TWO)
    assert (again.matching, again.key) == ({"0": "external_id", "1": "price", "3": "name"}, "")
    assert (await upload(database, cast.bob, TWO)).key == "external_id"


@pytest.mark.parametrize(
    ("matching", "key", "fields"),
    [
        ({0: "name"}, "", {"price"}),
        ({0: "name", 1: "price", 2: "price"}, "", {"price"}),
        ({0: "name", 1: "price"}, "external_id", {"key"}),
        ({0: "name", 1: "price"}, "name", {"key"}),
        ({0: "name", 1: "password"}, "", set()),
        ({0: "name", 9: "price"}, "", set()),
    ],
)
async def test_columns_that_do_not_fit_are_told_and_nothing_is_checked(
    database: Database, cast: Cast, matching: dict[int, str], key: str, fields: set[str]
) -> None:
    import_ = await upload(database, cast.alice, TWO)
    with pytest.raises(InvalidInput) as refused:
        async with database.transaction() as session:
            await ImportService(session, cast.alice).match(import_.id, matching, key)
    assert refused.value.fields.keys() == fields
    import_, _ = await found(database, import_.id)
    assert (import_.state, import_.attempt) == (ImportState.MATCHING, 0)


async def test_an_import_is_its_actors_and_superusers_only_look(database: Database, cast: Cast) -> None:
    import_, _ = await checked(database, cast.alice, TWO)
    async with database.reading() as session:
        for actor, error in ((cast.bob, NotFound), (cast.sam, Forbidden)):
            with pytest.raises(error):
                await ImportService(session, actor).get_by_id(import_.id)
            with pytest.raises(error):
                await ImportService(session, actor).rows(import_.id, None)
        for change in ("confirm", "discard"):
            with pytest.raises(Forbidden):
                await getattr(ImportService(session, cast.root), change)(import_.id)
        rows, has_more = await ImportService(session, cast.root).rows(import_.id, None, limit=1)
        assert ([row.label for row in rows], has_more) == (["Tea"], True)
        assert await ImportService(session, cast.root).recent("product") == []
        with pytest.raises(Forbidden):
            ImportService(session, cast.alice).importer("user")
    for actor, kind, error in (
        (cast.sam, "product", Forbidden),
        (cast.bob, "user", Forbidden),
        (cast.root, "x", NotFound),
    ):
        with pytest.raises(error):
            await upload(database, actor, TWO, kind)
    with pytest.raises(InvalidInput):
        await upload(database, cast.alice, b"%PDF-1.7 and so on")
    async with database.reading() as session:
        assert await count(session, "import") == 1


async def test_it_is_confirmed_once_whatever_the_number_of_clicks(database: Database, cast: Cast) -> None:
    import_, _ = await checked(database, cast.alice, TWO)
    operations = []
    for _ in range(2):
        async with database.transaction() as session:
            operations.append(await ImportService(session, cast.alice).confirm(import_.id))
    operation = operations[0]
    assert operations[1].id == operation.id
    assert (operation.state, operation.total, operation.kind) == (State.WAITING, 2, "product")
    assert operation.parameters == {"import_id": str(import_.id)}
    assert operation.selection == f"Import #{import_.number} of rows.csv"
    async with database.reading() as session:
        [entry] = await session.scalars(select(AuditEntry).where(AuditEntry.action == "imported"))
        assert (entry.operation_id, entry.note) == (
            operation.id,
            f"import #{import_.number}, rows.csv: 2 to create, 0 to change, 0 unchanged, 0 refused",
        )
        assert (await ImportService(session, cast.alice).get_by_id(import_.id)).operation_id == operation.id
        for change in (ImportService(session, cast.alice).discard, _match_again(session, cast.alice)):
            with pytest.raises(Conflict):
                await change(import_.id)


def _match_again(session, actor: Actor):
    return lambda import_id: ImportService(session, actor).match(import_id, {0: "name", 1: "price"}, "")


async def test_what_is_not_checked_or_would_change_nothing_is_not_confirmed(
    database: Database, cast: Cast
) -> None:
    waiting = await upload(database, cast.alice, TWO)
    useless, _ = await checked(database, cast.alice, "name,price\n,5\n")
    accounts, _ = await checked(database, cast.root, "email,name,role\na@b.example,A,support\n", kind="user")
    for import_, actor, error in (
        (waiting, cast.alice, Conflict),
        (useless, cast.alice, Conflict),
        (accounts, replace(cast.root, needs_proof=True), ProofRequired),
    ):
        with pytest.raises(error):
            async with database.transaction() as session:
                await ImportService(session, actor).confirm(import_.id)
    async with database.reading() as session:
        assert await count(session, "bulk_operation") == 0


async def test_only_the_last_check_that_was_asked_for_counts(database: Database, cast: Cast) -> None:
    import_ = await upload(database, cast.alice, TWO)
    first = await match(database, cast.alice, import_)
    second = await match(database, cast.alice, import_, "")
    async with database.transaction() as session:
        await check_import(session, str(import_.id), first.attempt)
    import_, rows = await found(database, import_.id)
    assert (import_.state, rows) == (ImportState.CHECKING, [])
    await work(database)
    import_, rows = await found(database, import_.id)
    assert (import_.state, import_.attempt, len(rows)) == (ImportState.CHECKED, second.attempt, 2)


async def test_a_check_that_is_overtaken_or_killed_leaves_nothing(
    database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_ = await upload(database, cast.alice, TWO)
    matched = await match(database, cast.alice, import_)
    store = staging.store

    async def killed(session, *arguments) -> None:
        await store(session, *arguments)
        raise ConnectionError

    monkeypatch.setattr(staging, "store", killed)
    with pytest.raises(ConnectionError):
        async with database.transaction() as session:
            await check_import(session, str(import_.id), matched.attempt)

    async def overtaken(session, *arguments) -> None:
        await store(session, *arguments)
        async with database.transaction() as other:
            await ImportService(other, cast.alice).discard(import_.id)

    assert (await found(database, import_.id))[1] == []
    monkeypatch.setattr(staging, "store", overtaken)
    async with database.transaction() as session:
        await check_import(session, str(import_.id), matched.attempt)
    import_, rows = await found(database, import_.id)
    assert (import_.state, import_.rows, rows) == (ImportState.DISCARDED, 0, [])


async def test_two_checks_at_once_end_as_one(database: Database, cast: Cast) -> None:
    import_ = await upload(database, cast.alice, TWO)
    matched = await match(database, cast.alice, import_)

    async def check() -> None:
        async with database.transaction() as session:
            await check_import(session, str(import_.id), matched.attempt)

    await asyncio.gather(check(), check(), check())
    import_, rows = await found(database, import_.id)
    assert (import_.state, import_.rows, len(rows)) == (ImportState.CHECKED, 2, 2)


async def test_a_file_that_cannot_be_checked_is_to_be_matched_again(database: Database, cast: Cast) -> None:
    lost, shut_out = await upload(database, cast.alice, TWO), await upload(database, cast.bob, TWO)
    await match(database, cast.alice, lost)
    await match(database, cast.bob, shut_out)
    await storage_of(database).delete(lost.file)
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == cast.bob.id).values(is_active=False))
    await work(database)
    for import_, error in (
        (lost, "The file is not stored any more. Upload it again."),
        (shut_out, "Your role does not allow this."),
    ):
        after, rows = await found(database, import_.id)
        assert (after.state, after.error, rows) == (ImportState.MATCHING, error, [])


async def test_what_is_of_no_more_use_is_swept(database: Database, cast: Cast) -> None:
    discarded, _ = await checked(database, cast.alice, TWO)
    done, _ = await checked(database, cast.alice, TWO)
    kept, _ = await checked(database, cast.alice, TWO)
    old = await upload(database, cast.alice, TWO)
    async with database.transaction() as session:
        service = ImportService(session, cast.alice)
        await service.discard(discarded.id)
        operation = await service.confirm(done.id)
        await session.execute(
            update(Import)
            .where(Import.id == old.id)
            .values(created_at=operation.created_at.replace(year=2020))
        )
        with pytest.raises(NotFound):
            await service.get_by_id(discarded.id)
    await swept(database)
    storage = storage_of(database)
    assert [await storage.get(import_.file) is None for import_ in (discarded, done, kept, old)] == [
        True,
        False,  # its operation has not ended
        False,
        True,
    ]
    for year, rows_left in ((operation.created_at.year, 2), (2020, 0)):
        async with database.transaction() as session:
            ended = operation.created_at.replace(year=year)
            values = {"state": State.FINISHED, "finished_at": ended}
            await session.execute(
                update(BulkOperation).where(BulkOperation.id == operation.id).values(values)
            )
        await swept(database)
        import_, rows = await found(database, done.id)
        assert (import_.file, len(rows)) == ("", rows_left)
    assert await storage.get(done.file) is None
    async with database.reading() as session:
        left = set(await session.scalars(select(Import.id)))
        assert left == {done.id, kept.id}
