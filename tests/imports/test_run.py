"""Confirmed imports: what they do to rows, what they leave alone, and what taking them back does."""

from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from admin_app.actor import Actor, Role, Source
from admin_app.audit import AuditEntry
from admin_app.bulk.models import Outcome, State
from admin_app.bulk.plan import UnknownAction
from admin_app.database import Database
from admin_app.domains.products.models import ImageState, Product, ProductImage
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.imports.models import Import
from admin_app.outbox import RecordedEvent
from admin_app.security import sessions
from admin_app.security.passwords import UNUSABLE
from admin_app.security.sessions import AuthSession
from tests.admin.rows import every, history, load
from tests.bulk.operations import Operations
from tests.conftest import Cast, MakeProduct, SignIn
from tests.imports.staged import Staged, confirm


@pytest.fixture
def operations(database: Database) -> Operations:
    return Operations(database, chunk=4)


async def product(database: Database, product_id: UUID) -> Product:
    found = await load(database, Product, product_id)
    assert found is not None
    return found


async def change(database: Database, actor: Actor, product_id: UUID, **values: object) -> None:
    async with database.transaction() as session:
        await ProductService(session, actor).update(product_id, ProductUpdate(**values))


async def test_products_are_made_and_changed_and_each_row_tells_why_not(
    database: Database, cast: Cast, operations: Operations, make_product: MakeProduct
) -> None:
    mine = await make_product(cast.alice, price=Decimal(10), external_id="A-1")
    stale = await make_product(cast.alice)
    foreign = await make_product(cast.bob, external_id="B-1")
    await change(database, cast.alice, stale.id, description="since the check")
    operation_id, ids, number = await confirm(
        database,
        cast.alice,
        [
            Staged({"name": "New", "price": "1.50", "owner_id": str(cast.alice.id), "external_id": "N-1"}),
            Staged({"name": "Taken", "price": "1.50", "external_id": "B-1"}),
            Staged({"name": "Given away", "price": "1.50", "owner_id": str(cast.bob.id)}),
            Staged({"price": "12.00", "is_active": False}, mine.id, 1, {"price": "10.00", "is_active": True}),
            Staged({"price": "12.00"}, stale.id, 1, {"price": "0.99"}),
            Staged({"price": "12.00"}, foreign.id, 1, {"price": "0.99"}),
            Staged({"external_id": "B-1"}, (await make_product(cast.alice)).id, 1),
            Staged({"name": "Plain", "price": "3.00"}),
        ],
    )
    await operations.run()
    assert (await operations.truth(operation_id)).state is State.FINISHED
    told = await operations.outcomes(operation_id)
    taken = "another product has this external id"
    assert [told[row_id] for row_id in ids] == [
        (Outcome.DONE, None),
        (Outcome.SKIPPED, taken),
        (Outcome.SKIPPED, "only a superuser may choose its owner"),
        (Outcome.DONE, None),
        (Outcome.SKIPPED, "changed meanwhile"),
        (Outcome.SKIPPED, "not yours"),
        (Outcome.SKIPPED, taken),
        (Outcome.DONE, None),
    ]
    new, changed, plain = await product(database, ids[0]), await product(database, mine.id), ids[7]
    assert (new.name, new.price, new.external_id, new.version) == ("New", Decimal("1.50"), "N-1", 1)
    assert (new.owner_id, new.description, new.is_active, new.images) == (cast.alice.id, "", True, [])
    assert (await product(database, plain)).owner_id == cast.alice.id
    assert (changed.price, changed.is_active, changed.version) == (Decimal("12.00"), False, 2)
    assert (changed.name, changed.external_id) == (mine.name, "A-1")

    [made], [_, updated] = await history(database, new.id), await history(database, mine.id)
    assert (made.action, made.note, made.version) == ("created", f"import #{number}, line 2", 1)
    assert (made.source, made.actor_id, made.operation_id) == ("import", cast.alice.id, operation_id)
    assert (updated.action, updated.note, updated.version) == ("updated", f"import #{number}, line 5", 2)
    assert updated.changes == {"price": ["10.00", "12.00"], "is_active": [True, False]}


async def test_the_history_of_an_imported_row_is_that_of_one_made_by_a_form(
    database: Database, cast: Cast, operations: Operations, make_product: MakeProduct
) -> None:
    values = {"name": "Clock", "description": "Ticks", "external_id": "C"}
    by_form = await make_product(cast.alice, price=Decimal("2.00"), **values | {"external_id": "D"})
    account = {"email": "nora@demo.example", "name": "Nora", "role": "support", "is_active": True}
    _, [product_id], _ = await confirm(database, cast.alice, [Staged(values | {"price": "2.00"})])
    _, [user_id], _ = await confirm(database, cast.root, [Staged(account)], "user")
    await operations.run()
    [form], [imported] = await history(database, by_form.id), await history(database, product_id)
    assert imported.changes == form.changes | {"external_id": [None, "C"]}
    assert (imported.row_label, imported.kind) == (form.row_label, form.kind)
    [of_account] = await history(database, user_id)
    [of_sam] = await history(database, cast.sam.id)
    assert of_account.changes == of_sam.changes | {
        "email": [None, "nora@demo.example"],
        "name": [None, "Nora"],
    }


async def test_an_import_can_be_taken_back_and_the_taking_back_too(
    database: Database, cast: Cast, operations: Operations, make_product: MakeProduct
) -> None:
    mine, since = await make_product(cast.alice, external_id="A"), await make_product(cast.alice)
    operation_id, ids, _ = await confirm(
        database,
        cast.alice,
        [
            Staged({"name": "New", "price": "1.50", "external_id": "N"}),
            Staged({"name": "New and changed since", "price": "1.50"}),
            Staged({"name": "Better", "price": "5.00", "external_id": "B"}, mine.id, 1, {"external_id": "A"}),
            Staged({"price": "5.00"}, since.id, 1),
        ],
    )
    await operations.run()
    await change(database, cast.alice, ids[1], price=Decimal(2))
    await change(database, cast.alice, since.id, price=Decimal(3))

    draft = await operations.draft_of_undo(cast.alice, operation_id)
    shown = await operations.preview(cast.alice, draft)
    assert (shown.counts.changing, shown.counts.skipped) == (2, [("changed meanwhile", 2)])
    assert {sample.row_id: sample.values for sample in shown.samples} == {
        ids[0]: {"Values": ("In the list", "In the bin")},
        mine.id: {
            "Values": (
                "External id: B, Name: Better, Price: 5.00",
                "External id: A, Name: Balls to the Wall, Price: 0.99",
            )
        },
    }
    undo_id = (await operations.confirm(cast.alice, draft, shown=shown)).id
    await operations.run()
    await operations.truth(undo_id)
    assert await operations.outcomes(undo_id) == {
        ids[0]: (Outcome.DONE, None),
        ids[1]: (Outcome.SKIPPED, "changed meanwhile"),
        mine.id: (Outcome.DONE, None),
        since.id: (Outcome.SKIPPED, "changed meanwhile"),
    }
    new, old = await product(database, ids[0]), await product(database, mine.id)
    assert new.deleted_at is not None
    assert (old.name, old.price, old.external_id) == (mine.name, mine.price, "A")
    assert (await product(database, since.id)).price == Decimal(3)
    words = [entry.action for entry in await history(database, ids[0])]
    assert words == ["created", "deleted"]

    redo_id = await operations.undo(cast.alice, undo_id)
    await operations.run()
    await operations.truth(redo_id)
    new, old = await product(database, ids[0]), await product(database, mine.id)
    assert (new.deleted_at, new.external_id, new.version) == (None, "N", 3)
    assert (old.name, old.price, old.external_id) == ("Better", Decimal("5.00"), "B")
    assert [entry.action for entry in await history(database, ids[0])][-1] == "restored"
    assert {entry.source for entry in await every(database, AuditEntry, operation_id=redo_id)} == {"bulk"}

    await make_product(cast.bob, external_id="A")
    again = await operations.undo(cast.alice, redo_id)
    await operations.run()
    assert await operations.outcomes(again) == {
        ids[0]: (Outcome.DONE, None),
        mine.id: (Outcome.SKIPPED, "another product has this external id"),
    }


async def test_pictures_come_by_their_addresses_in_the_transaction_of_their_row(
    database: Database, cast: Cast, operations: Operations, make_product: MakeProduct
) -> None:
    first, second, third = (str(uuid4()) for _ in range(3))
    new = [
        {"id": first, "alt": "", "url": "https://pics.example/1.jpg"},
        {"id": second, "alt": "Side", "url": "https://pics.example/2.jpg"},
    ]
    operation_id, [product_id], _ = await confirm(
        database, cast.alice, [Staged({"name": "Seen", "price": "1.00", "images": new})]
    )
    await operations.run()
    shown = [{"id": first, "alt": ""}, {"id": second, "alt": "Side"}]
    assert (await product(database, product_id)).images == shown
    [entry] = await history(database, product_id)
    assert entry.changes["images"] == [None, shown]
    images = {str(image.id): image for image in await every(database, ProductImage)}
    assert {(image.state, image.product_id, image.uploaded_by) for image in images.values()} == {
        (ImageState.WAITING, product_id, cast.alice.id)
    }
    assert images[second].url == "https://pics.example/2.jpg"
    assert len({image.original for image in images.values()}) == 2
    events = await every(database, RecordedEvent, name="ProductImageAdded")
    assert sorted(event.payload["image_ids"] for event in events) == sorted([[first], [second]])

    others = [shown[1], {"id": third, "alt": "", "url": "https://pics.example/3.jpg"}]
    other_id, _, _ = await confirm(
        database, cast.alice, [Staged({"images": others}, product_id, 1, {"images": shown})]
    )
    await operations.run()
    assert (await product(database, product_id)).images == [shown[1], {"id": third, "alt": ""}]
    removed = {str(i.id): i.removed_at is not None for i in await every(database, ProductImage)}
    assert removed == {first: True, second: False, third: False}
    undo_id = await operations.undo(cast.alice, other_id)
    await operations.run()
    assert await operations.outcomes(undo_id) == {product_id: (Outcome.DONE, None)}
    assert (await product(database, product_id)).images == shown
    removed = {str(i.id): i.removed_at is not None for i in await every(database, ProductImage)}
    assert removed == {first: False, second: False, third: True}
    assert (await operations.get(operation_id)).done == 1


async def test_accounts_are_made_closed_and_signed_out_as_by_hand(
    database: Database, cast: Cast, operations: Operations
) -> None:
    async with database.transaction() as session:
        for actor in (cast.alice, cast.bob, cast.sam):
            await sessions.open_session(session, actor.id, address=None, user_agent=None)
    operation_id, ids, _ = await confirm(
        database,
        cast.root,
        [
            Staged({"email": "nora@demo.example", "name": "Nora", "role": "administrator"}),
            Staged({"email": "BOB@demo.example", "name": "Bob again", "role": "support"}),
            Staged({"name": "Alice Cooper"}, cast.alice.id, 1),
            Staged({"role": "support"}, cast.bob.id, 1, {"role": "administrator"}),
            Staged({"email": "sam@other.example"}, cast.sam.id, 1),
            Staged({"name": "Me"}, cast.root.id, 1),
        ],
        "user",
    )
    await operations.run()
    assert await operations.outcomes(operation_id) == {
        ids[0]: (Outcome.DONE, None),
        ids[1]: (Outcome.SKIPPED, "somebody else has this e-mail address"),
        cast.alice.id: (Outcome.DONE, None),
        cast.bob.id: (Outcome.DONE, None),
        cast.sam.id: (Outcome.DONE, None),
        cast.root.id: (Outcome.SKIPPED, "this is you"),
    }
    nora, bob = await load(database, User, ids[0]), await load(database, User, cast.bob.id)
    assert nora is not None
    assert bob is not None
    assert (nora.password_hash, nora.role, nora.is_active) == (UNUSABLE, Role.ADMINISTRATOR, True)
    assert bob.role is Role.SUPPORT
    # A new name or address ends nobody's session; a new role does.
    assert {row.user_id for row in await every(database, AuthSession)} == {cast.alice.id, cast.sam.id}
    [notice] = await every(database, RecordedEvent, name="CredentialChanged")
    assert notice.payload["email"] == "sam@demo.example"
    changed = await every(database, RecordedEvent, name="UserUpdated")
    assert {field for event in changed for field in event.payload["fields"]} == {"name", "role", "email"}

    undo_id = await operations.undo(cast.root, operation_id)
    await operations.run()
    assert (await operations.get(undo_id)).done == 4
    nora, bob = await load(database, User, ids[0]), await load(database, User, cast.bob.id)
    assert nora is not None
    assert bob is not None
    assert (nora.is_active, bob.role) == (False, Role.ADMINISTRATOR)


async def test_the_installation_itself_imports_but_never_locks_everybody_out(
    database: Database, cast: Cast, operations: Operations
) -> None:
    installation = Actor.system(Source.IMPORT)
    operation_id, [new], _ = await confirm(
        database, installation, [Staged({"name": "New", "price": "1.00", "owner_id": str(cast.bob.id)})]
    )
    closing, _, _ = await confirm(
        database, installation, [Staged({"is_active": False}, cast.root.id, 1, {"is_active": True})], "user"
    )
    await operations.run()
    assert (await operations.truth(operation_id)).actor_id is None
    assert (await product(database, new)).owner_id == cast.bob.id
    assert (await operations.outcomes(closing))[cast.root.id] == (
        Outcome.FAILED,
        "This is the last active superuser. Make somebody else a superuser first.",
    )


async def test_who_may_not_any_more_changes_nothing_and_may_try_again_later(
    database: Database, cast: Cast, operations: Operations, make_product: MakeProduct
) -> None:
    mine, stale = await make_product(cast.alice), await make_product(cast.alice)
    operation_id, ids, _ = await confirm(
        database,
        cast.alice,
        [
            Staged({"name": "New", "price": "1.00"}),
            Staged({"price": "2.00"}, mine.id, 1),
            Staged({"price": "2.00"}, stale.id, 1),
        ],
    )

    async def become(role: Role) -> None:
        async with database.transaction() as session:
            await session.execute(update(User).where(User.id == cast.alice.id).values(role=role))

    await become(Role.SUPPORT)
    await operations.run()
    assert (await operations.truth(operation_id)).reasons == {"failed": {"no longer allowed": 3}}
    await become(Role.ADMINISTRATOR)
    await change(database, cast.alice, stale.id, description="since the check")
    await operations.retry(cast.alice, operation_id)
    await operations.run()
    await operations.truth(operation_id)
    assert await operations.outcomes(operation_id) == {
        ids[0]: (Outcome.DONE, None),
        mine.id: (Outcome.DONE, None),
        stale.id: (Outcome.SKIPPED, "changed meanwhile"),
    }


async def test_an_import_does_not_begin_with_a_selection(
    cast: Cast, operations: Operations, sign_in: SignIn
) -> None:
    with pytest.raises(UnknownAction):
        await operations.draft(cast.root, "import", [uuid4()])
    root = await sign_in("root")
    told = (await root.get("/api/v1/operations/actions")).json()["items"]
    assert told
    assert "import" not in {action["action"] for action in told}
    started = {"kind": "product", "action": "import", "where": {}, "parameters": {"import_id": str(uuid4())}}
    assert (await root.post("/api/v1/operations/", json=started)).status_code == 422


async def test_its_page_leads_to_the_file_and_the_question_whether_to_undo_it_tells_both(
    database: Database, cast: Cast, operations: Operations, make_product: MakeProduct, sign_in: SignIn
) -> None:
    mine = await make_product(cast.alice)
    rows = [Staged({"name": "New", "price": "1.00"}), Staged({"price": "5.00"}, mine.id, 1)]
    operation_id, [new, _], number = await confirm(database, cast.alice, rows)
    [import_] = await every(database, Import)
    alice = await sign_in("alice")
    address = f"/admin/operation/details/{operation_id}"
    link = f'<a href="/admin/import/details/{import_.id}">Import #{number} of file.csv</a>'
    assert link in (await alice.get(address)).text
    await operations.run()
    assert link in (await alice.get(address)).text
    asked = await alice.post(f"/admin/operation/undo/{operation_id}")
    page = (await alice.get(asked.headers["location"])).text
    assert "Price: 5.00" in page
    assert "Price: 0.99" in page
    assert "In the bin" in page
    undo = await operations.draft_of_undo(cast.alice, operation_id)
    told = (await alice.get(f"/api/v1/operations/{undo.id}")).json()["preview"]
    assert {sample["id"] for sample in told["samples"]} == {str(new), str(mine.id)}
