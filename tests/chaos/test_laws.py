"""The laws can be broken: each of these small violations is named by the law it breaks."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains import open_database
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from tests.bulk.operations import Operations
from tests.chaos.facts import gather
from tests.chaos.laws import judge
from tests.chaos.ledger import Ledger, Told
from tests.conftest import Cast, MakeProduct
from tests.deliveries import work
from tests.domains.products.pictures import add_picture
from tests.imports.staged import Staged, confirm
from tests.samples import jpeg


@dataclass
class World:
    database: Database
    media: Path
    ledger: Ledger
    names: dict[str, str]
    """What stands for ids in SQL."""

    async def broken(self, sql: str = "") -> dict[str, str]:
        """law -> its first violation, after these statements, which are taken back."""
        for name, value in self.names.items():
            sql = sql.replace(f":{name}", f"'{value}'")
        async with self.database.reading() as session:
            for statement in filter(None, sql.split(";")):
                await session.execute(text(statement))
            findings = judge(await gather(session, self.media), self.ledger)
        return {each.law: each.violations[0] for each in findings if each.violations}


@pytest.fixture
async def stored(settings: Settings, database: Database, tmp_path: Path) -> AsyncIterator[Database]:
    """The same database, with a folder for files that is its own."""
    own = open_database(settings.model_copy(update={"storage_url": tmp_path.as_uri()}))
    yield own
    await own.close()


@pytest.fixture
async def world(stored: Database, cast: Cast, make_product: MakeProduct, tmp_path: Path) -> World:
    """All of it lawful: a product with a picture, changed by hand and by an operation, and an import."""
    database, ledger, alice = stored, Ledger(), cast.alice
    picture = await add_picture(database, alice, jpeg())
    ledger.begin("upload", alice.label, row_id=UUID(picture["id"]), told=Told.ACKNOWLEDGED)
    product = await make_product(alice, name="Anvil 1", price="1.01", images=[picture])
    created = {"name": "Anvil 1", "price": "1.01"}
    ledger.begin("create", alice.label, row_id=product.id, values=created, told=Told.ACKNOWLEDGED)
    async with database.transaction() as session:
        await ProductService(session, alice).update(product.id, ProductUpdate(name="Anvil 2"))
    ledger.begin("edit", alice.label, row_id=product.id, values={"name": "Anvil 2"}, told=Told.ACKNOWLEDGED)
    operations = Operations(database)
    operation_id = await operations.start(alice, "set_price", [product.id], {"price": "1.03"})
    ledger.begin(
        "confirm", alice.label, row_id=operation_id, values={"price": "1.03"}, told=Told.ACKNOWLEDGED
    )
    await operations.run()
    row = {"name": "Bell 4", "price": "1.04"}
    _, [bell], number = await confirm(database, alice, [Staged(row)])
    await operations.run()
    await work(database)
    async with database.transaction() as session:
        checked = text("UPDATE import SET rows = 1, to_create = 1 WHERE number = :number RETURNING id")
        import_id = await session.scalar(checked, {"number": number})
    ledger.begin("import", alice.label, row_id=import_id, rows=[row], told=Told.ACKNOWLEDGED)
    names = {
        "product": str(product.id),
        "operation": str(operation_id),
        "import": str(import_id),
        "bell": str(bell),
        "picture": picture["id"],
        "bob": str(cast.bob.id),
    }
    return World(database, tmp_path, ledger, names)


IN_TABLES = {
    "a lost save": (
        "acknowledged saves are there, once",
        "DELETE FROM audit_entry WHERE row_id = :product AND version = 2",
    ),
    "a save of which half is missing": (
        "acknowledged saves are there, once",
        "UPDATE audit_entry SET changes = changes - 'price' WHERE row_id = :product AND version = 1",
    ),
    "a save by somebody else": (
        "acknowledged saves are there, once",
        "UPDATE audit_entry SET actor_label = 'bob' WHERE row_id = :product AND version = 2",
    ),
    "a doubled audit entry": (
        "one entry per version, unbroken",
        "INSERT INTO audit_entry (actor_label, source, request_id, action, kind, row_id, version, changes)"
        " SELECT actor_label, 'bulk', request_id, action, kind, row_id, version, changes"
        " FROM audit_entry WHERE row_id = :product AND version = 3",
    ),
    "a change without an entry": (
        "one entry per version, unbroken",
        "UPDATE products SET description = 'x' WHERE id = :product",
    ),
    "a chain with a gap": (
        "one entry per version, unbroken",
        "UPDATE audit_entry SET changes = jsonb_set(changes, '{name,0}', '\"Bell\"')"
        " WHERE row_id = :product AND version = 2",
    ),
    "a product that is gone": (
        "one entry per version, unbroken",
        "DELETE FROM products WHERE id = :bell",
    ),
    "a ghost": (
        "nothing is there that nobody tried",
        "UPDATE audit_entry SET operation_id = NULL, source = 'form' WHERE row_id = :product AND version = 3",
    ),
    "an event too few": (
        "one event per change",
        "DELETE FROM event WHERE name = 'ProductUpdated' AND payload::text LIKE '%' || :product || '%'",
    ),
    "an event too many": (
        "one event per change",
        "INSERT INTO event (name, payload, request_id) SELECT name, payload, request_id FROM event"
        " WHERE name = 'ProductUpdated'",
    ),
    "a missing delivery": (
        "every delivery asked for is done",
        "DELETE FROM delivery WHERE task = 'process_product_images'",
    ),
    "a doubled delivery": (
        "every delivery asked for is done",
        "INSERT INTO delivery (event_id, task, arguments, done_at)"
        " SELECT event_id, task, arguments, done_at FROM delivery WHERE task = 'process_product_images'",
    ),
    "a delivery that was given up": (
        "every delivery asked for is done",
        "UPDATE delivery SET done_at = NULL, dead_at = now() WHERE task = 'process_product_images'",
    ),
    "an operation that never ends": (
        "operations ended, and add up",
        "UPDATE bulk_operation SET state = 'running' WHERE id = :operation",
    ),
    "an operation that tells of more than it did": (
        "operations ended, and add up",
        "UPDATE bulk_operation SET done = 2, total = 2 WHERE id = :operation",
    ),
    "a row that was done without being changed": (
        "operations ended, and add up",
        "DELETE FROM audit_entry WHERE operation_id = :operation",
    ),
    "a confirmation that was lost": (
        "operations ended, and add up",
        "UPDATE bulk_operation SET state = 'draft' WHERE id = :operation",
    ),
    "an imported row that is lost": (
        "imported rows are there, once",
        "DELETE FROM audit_entry WHERE row_id = :bell",
    ),
    "a row of a file that is not staged": (
        "imported rows are there, once",
        "DELETE FROM import_row WHERE import_id = :import",
    ),
    "a picture that is never ready": (
        "pictures are ready",
        "UPDATE product_image SET state = 'processing' WHERE id = :picture",
    ),
    "a picture that is nobody's": (
        "pictures are ready",
        "UPDATE product_image SET product_id = NULL WHERE id = :picture",
    ),
    "a stale row of the index": (
        "the index equals the database",
        "UPDATE product_search_document SET version = version - 1 WHERE id = :product",
    ),
    "a row too many in the index": (
        "the index equals the database",
        "DELETE FROM import_row; UPDATE products SET deleted_at = now() WHERE id = :bell",
    ),
    "a product that is somebody else's": (
        "products belong to who changed them",
        "UPDATE products SET owner_id = :bob WHERE id = :product",
    ),
}


async def test_what_is_lawful_breaks_no_law_and_each_violation_is_named(world: World) -> None:
    assert await world.broken() == {}
    for violation, (law, sql) in IN_TABLES.items():
        assert law in await world.broken(sql), violation
    assert await world.broken() == {}


async def test_laws_about_files_name_what_is_lost_damaged_or_nobodys(world: World) -> None:
    [one] = (world.media / "images").rglob("*.webp")
    [two] = (world.media / "images").rglob("*.jpeg")
    content = one.read_bytes()
    one.write_bytes(content[:-1])
    assert [*await world.broken()] == ["pictures are ready"]
    one.unlink()
    assert [*await world.broken()] == ["pictures are ready"]
    one.write_bytes(content)
    two.with_name(f"{two.name}#3").write_bytes(b"cut short")
    assert await world.broken() == {}
    (two.parent / "stray.webp").write_bytes(content)
    assert [*await world.broken()] == ["every file is known"]
    (two.parent / "stray.webp").rename(world.media / "originals" / "stray")
    assert [*await world.broken()] == ["every file is known"]


async def test_the_books_are_held_against_the_tables(world: World) -> None:
    [edit] = world.ledger.of("edit")
    edit.told = Told.REFUSED
    assert [*await world.broken()] == ["acknowledged saves are there, once"]
    edit.told = Told.UNKNOWN
    assert [*await world.broken()] == ["what was denied is not there"]
    edit.is_unanswered = True
    assert await world.broken() == {}
    edit.values = {"name": "Anvil 2", "price": "9.99"}
    assert "acknowledged saves are there, once" in await world.broken()
    edit.values = {"name": "Anvil 2"}
    world.ledger.fault("alice was answered 500")
    assert await world.broken() == {"no errors, nobody stuck": "alice was answered 500"}
