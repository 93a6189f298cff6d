"""The history as it is read: who sees which entries, what filters find, and how pages go on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.dialects import postgresql

from admin_app import audit, listing
from admin_app.actor import Actor, Role, Source
from admin_app.audit import AuditEntry
from admin_app.database import Database
from admin_app.domains.activity.models import FIELDS
from admin_app.domains.activity.repository import MAX_PEOPLE
from admin_app.domains.activity.service import ActivityService
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import NotFound
from admin_app.listing import BadQuery, Count, Page
from tests.admin.rows import every, history
from tests.bulk.operations import Operations
from tests.conftest import Cast, MakeProduct

LISTING = ActivityService.listing


async def page(database: Database, actor: Actor, **given: str) -> Page:
    async with database.reading() as session:
        return await ActivityService(session, actor).page(LISTING.parse(list(given.items())))


async def found(database: Database, actor: Actor, **given: str) -> list[Any]:
    return list((await page(database, actor, **given)).rows)


def told(entries: Sequence[Any]) -> list[tuple[str, str, str]]:
    return [(entry.action, entry.kind, entry.row_label) for entry in entries]


async def rename(database: Database, actor: Actor, product: Product, name: str) -> None:
    async with database.transaction() as session:
        await ProductService(session, actor).update(product.id, ProductUpdate(name=name))


async def change_account(database: Database, actor: Actor, user_id: UUID, **values: Any) -> None:
    async with database.transaction() as session:
        await UserService(session, actor).update(user_id, UserUpdate(**values))


@pytest.fixture
async def vase(database: Database, cast: Cast, make_product: MakeProduct) -> Product:
    """Created as "Bowl" and renamed by Alice; somebody had changed Bob's account."""
    product = await make_product(cast.alice, name="Bowl")
    await change_account(database, cast.root, cast.bob.id, name="Robert")
    await rename(database, cast.alice, product, "Vase")
    return product


@pytest.mark.parametrize("name", ["root", "sam"])
async def test_superusers_and_support_read_everything_the_newest_first(
    name: str, database: Database, cast: Cast, vase: Product
) -> None:
    entries = await found(database, getattr(cast, name))
    assert told(entries)[:3] == [
        ("updated", "product", "Vase"),
        ("updated", "user", "bob@demo.example"),
        ("created", "product", "Bowl"),
    ]
    assert len(entries) == len(await every(database, AuditEntry)) == 7


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_an_administrator_reads_of_accounts_only_their_own(
    name: str, database: Database, cast: Cast, vase: Product
) -> None:
    actor = getattr(cast, name)
    entries = await found(database, actor)
    assert {entry.row_id for entry in entries if entry.kind == "user"} == {actor.id}
    assert [entry.row_label for entry in entries if entry.kind == "product"] == ["Vase", "Bowl"]
    foreign = next(
        entry
        for entry in await every(database, AuditEntry)
        if entry.row_id in {cast.alice.id, cast.bob.id} - {actor.id}
    )
    async with database.reading() as session:
        service = ActivityService(session, actor)
        with pytest.raises(NotFound):
            await service.get_by_id(foreign.id)
        assert (await service.of_row("user", foreign.row_id)).entries == []
        assert len((await service.of_row("user", actor.id)).entries) == (1 if name == "alice" else 2)


@pytest.mark.parametrize(
    "given", [{"kind": "user"}, {"action": "signed in"}, {"field": "role"}, {"who": "root"}, {"at": "today"}]
)
async def test_no_filter_shows_an_administrator_more(
    given: dict[str, str], database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch, vase: Product
) -> None:
    monkeypatch.setattr(listing, "FACET_SECONDS", 30)  # what takes longer is left out
    async with database.transaction() as session:
        for actor in (cast.alice, cast.bob):
            audit.note(session, actor, "signed in", await session.get_one(User, actor.id))
    await change_account(database, cast.root, cast.alice.id, role=Role.SUPPORT)
    await change_account(database, cast.root, cast.bob.id, role=Role.SUPPORT)
    entries = await found(database, cast.alice, **given)
    assert {entry.row_id for entry in entries if entry.kind == "user"} == {cast.alice.id}
    everything = {entry.id for entry in await found(database, cast.root, **given)}
    assert {entry.id for entry in entries} < everything
    async with database.reading() as session:
        service = ActivityService(session, cast.alice)
        query = LISTING.parse(list(given.items()))
        assert await service.count(query, exactly=True) == Count(len(entries), is_exact=True)
        facets = await service.facets(LISTING.parse([]))
    own = [entry for entry in await found(database, cast.alice) if entry.kind == "user"]
    assert facets["kind"]["user"] == Count(len(own), is_exact=True)


async def test_entries_are_found_by_person_action_kind_and_field(
    database: Database, cast: Cast, vase: Product
) -> None:
    async def labels(**given: str) -> list[str]:
        return [entry.row_label for entry in await found(database, cast.root, **given)]

    people = ["root@demo.example", "sam@demo.example", "bob@demo.example", "alice@demo.example"]
    assert await labels(who="alice@demo.example") == ["Vase", "Bowl"]
    assert await labels(who="ALICE") == ["Vase", "Bowl"]
    assert await labels(who="root") == ["bob@demo.example"]
    assert await labels(who="system") == people
    assert await labels(who="nobody@demo.example") == []
    assert await labels(who="demo.example") == ["Vase", "bob@demo.example", "Bowl"]
    assert await labels(action="created") == ["Bowl", *people]
    assert await labels(kind="user") == ["bob@demo.example", *people]
    assert await labels(field="name") == ["Vase", "bob@demo.example"]
    assert await labels(field="name", kind="product") == ["Vase"]
    assert await labels(field="name", who="root@demo.example") == ["bob@demo.example"]
    assert await labels(field="price") == []
    assert await labels(field="name", action="updated", kind="product") == ["Vase"]
    assert await labels(field="name", action="created") == []
    assert await labels(action="signed in", kind="product") == []


async def test_of_people_with_similar_addresses_the_whole_one_means_one(
    database: Database, cast: Cast
) -> None:
    async with database.transaction() as session:
        session.add(User(email="xalice@demo.example", name="X", password_hash="!", role=Role.SUPPORT))
        audit.note(session, replace(cast.alice, label="xAlice@demo.example"), "refused", Product, "to create")
        audit.note(session, cast.alice, "refused", Product, "to delete")
        audit.note(session, replace(cast.alice, label="left@demo.example"), "refused", Product, "to see")
    assert [entry.note for entry in await found(database, cast.root, who="alice@demo.example")] == [
        "to delete"
    ]
    both = {entry.note for entry in await found(database, cast.root, who="alice")}
    assert both == {"to create", "to delete"}
    # Of somebody who left, only the whole e-mail is known.
    assert [entry.note for entry in await found(database, cast.root, who="Left@demo.example")] == ["to see"]


async def test_a_part_that_names_too_many_people_is_refused(database: Database, cast: Cast) -> None:
    async with database.transaction() as session:
        session.add_all(
            User(email=f"p{number}@shop.example", name="P", password_hash="!", role=Role.SUPPORT)
            for number in range(MAX_PEOPLE + 1)
        )
    with pytest.raises(BadQuery, match="more than 10 people"):
        await found(database, cast.root, who="shop.example")
    assert await found(database, cast.root, who="p1@shop.example") == []


async def test_a_revert_is_found_by_what_it_changed(database: Database, cast: Cast, vase: Product) -> None:
    async with database.transaction() as session:
        await ProductService(session, cast.alice).revert(vase.id, 1, ["name"])
    entries = await found(database, cast.root, field="name", kind="product")
    assert [entry.action for entry in entries] == ["reverted", "updated"]
    assert await found(database, cast.root, action="reverted", kind="user") == []


async def test_only_the_whole_id_of_a_row_is_searched_for(
    database: Database, cast: Cast, vase: Product
) -> None:
    assert told(await found(database, cast.root, search=str(vase.id))) == [
        ("updated", "product", "Vase"),
        ("created", "product", "Bowl"),
    ]
    assert await found(database, cast.alice, search=str(cast.bob.id)) == []
    assert len(await found(database, cast.root, search=str(cast.bob.id))) == 2
    assert await found(database, cast.root, search=str(uuid4())) == []
    for words in ("Vase", str(vase.id)[:13]):
        with pytest.raises(BadQuery, match="Only the id"):
            await found(database, cast.root, search=words)


async def add_entries(database: Database, times: Sequence[datetime]) -> list[UUID]:
    """Refusals, written at these times."""
    async with database.transaction() as session:
        ids = [UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | 1) for at in times]
        session.add_all(
            AuditEntry(
                id=entry_id,
                at=at,
                actor_label="system",
                source=Source.SYSTEM.value,
                request_id=uuid4(),
                action="refused",
                kind="product",
                changes={},
            )
            for entry_id, at in zip(ids, times, strict=True)
        )
    return ids


async def test_periods_begin_and_end_with_their_days(database: Database, cast: Cast) -> None:
    midnight = datetime(2025, 6, 1, tzinfo=UTC)
    tick, day = timedelta(milliseconds=1), timedelta(days=1)
    before, first, last, after = await add_entries(
        database, [midnight - tick, midnight, midnight + day - tick, midnight + day]
    )

    async def ids(**given: str) -> list[UUID]:
        return [entry.id for entry in await found(database, cast.root, action="refused", **given)]

    assert await ids(at_from="2025-06-01", at_to="2025-06-01") == [last, first]
    assert await ids(at_from="2025-06-01") == [after, last, first]
    assert await ids(at_to="2025-05-31") == [before]
    assert await ids(at="today") == []
    assert len(await found(database, cast.root, at="today")) == 4


async def test_pages_go_on_where_one_ended_and_back(database: Database, cast: Cast) -> None:
    start = datetime(2025, 6, 1, tzinfo=UTC)
    made = await add_entries(database, [start + timedelta(minutes=number) for number in range(60)])
    newest_first = made[::-1]
    async with database.reading() as session:
        service = ActivityService(session, cast.root)
        query = LISTING.parse([("action", "refused")])
        first = await service.page(query)
        assert first.next is not None
        # Through the address and back, as a browser carries it.
        link = LISTING.encode(first.next, query)
        second = await service.page(LISTING.parse([("action", "refused"), ("cursor", link)]))
        assert second.previous is not None
        back = await service.page(replace(query, cursor=second.previous))
        last = await service.page(replace(query, cursor="last"))
        oldest = await service.page(replace(query, descending=False))
    assert [entry.id for entry in first.rows] == newest_first[:25]
    assert [entry.id for entry in second.rows] == newest_first[25:50]
    assert [entry.id for entry in back.rows] == newest_first[:25]
    assert [entry.id for entry in last.rows] == newest_first[-25:]
    assert [entry.id for entry in oldest.rows] == made[:25]
    with pytest.raises(BadQuery):
        LISTING.parse([("action", "refused"), ("cursor", link[:-3])])


async def test_owners_are_told_by_their_addresses_as_long_as_they_are_here(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    async with database.transaction() as session:
        await ProductService(session, cast.root).update(product.id, ProductUpdate(owner_id=cast.bob.id))
    entry = (await found(database, cast.sam))[0]
    assert entry.changes["owner_id"] == [str(cast.alice.id), str(cast.bob.id)]
    assert entry.people == {str(cast.alice.id): cast.alice.label, str(cast.bob.id): cast.bob.label}
    async with database.transaction() as session:
        await UserService(session, cast.root).delete(cast.alice.id)
    gone = (await found(database, cast.sam, field="owner_id"))[0]
    assert gone.people == {str(cast.bob.id): cast.bob.label}
    assert [entry.people for entry in await found(database, cast.sam, kind="user")] == [None] * 5


async def test_an_entry_knows_its_operations_number(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product, operations = await make_product(cast.alice), Operations(database)
    operation_id = await operations.start(cast.alice, "deactivate", [product.id])
    await operations.run()
    operation = await operations.get(operation_id)
    entry = (await found(database, cast.root))[0]
    assert (entry.source, entry.operation_number) == ("bulk", operation.number)
    assert {entry.operation_number for entry in await found(database, cast.root, action="created")} == {None}


async def test_the_history_of_a_row_is_read_in_pieces(database: Database, cast: Cast, vase: Product) -> None:
    for number in range(4):
        await rename(database, cast.alice, vase, f"Vase {number}")
    made = [entry.id for entry in await history(database, vase.id)][::-1]
    async with database.reading() as session:
        service = ActivityService(session, cast.bob)
        first = await service.of_row("product", vase.id, limit=4)
        rest = await service.of_row("product", vase.id, limit=4, before=first.entries[-1].id)
        assert await service.rank("Vase", 8) == []
    assert [entry.id for entry in first.entries] == made[:4]
    assert [entry.id for entry in rest.entries] == made[4:]
    assert (first.has_more, rest.has_more) == (True, False)


async def test_the_same_refusal_within_a_minute_is_one_entry(
    database: Database, cast: Cast, vase: Product
) -> None:
    async def refuse(actor: Actor, subject: Any, wish: str) -> int:
        async with database.transaction() as session:
            await ActivityService(session, actor).note_refusal(subject, wish)
        return len(await every(database, AuditEntry, action="refused"))

    assert await refuse(cast.bob, vase, "to edit") == 1
    assert await refuse(cast.bob, vase, "to edit") == 1
    assert await refuse(cast.bob, vase, "to delete") == 2
    assert await refuse(cast.sam, vase, "to edit") == 3
    assert await refuse(cast.sam, Product, "to create") == 4
    assert await refuse(cast.sam, Product, "to create") == 4
    assert await refuse(cast.sam, User, "to create") == 5
    async with database.transaction() as session:
        earlier = datetime.now(UTC) - timedelta(seconds=61)
        [old, _] = await every(database, AuditEntry, action="refused", note="to edit")
        moved = UUID(int=(int(earlier.timestamp() * 1000) << 80) | (old.id.int & ((1 << 80) - 1)))
        await session.execute(update(AuditEntry).where(AuditEntry.id == old.id).values(id=moved))
    assert await refuse(cast.bob, vase, "to edit") == 6


@pytest.mark.parametrize("field", sorted(FIELDS))
async def test_a_field_is_looked_for_in_its_own_index(field: str, database: Database, cast: Cast) -> None:
    """The condition must be word for word that of the index, or all of the history would be read."""
    query = LISTING.parse([("field", field)])
    statement = (
        select(AuditEntry.id).where(*LISTING.conditions(query)).order_by(AuditEntry.id.desc()).limit(26)
    )
    compiled = statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    async with database.reading() as session:  # ends in a rollback
        # For the few rows of a test, others of its indexes may do as well.
        for other in ("kind", "action", "actor", "row"):
            await session.execute(text(f"DROP INDEX ix_audit_entry_{other}"))
        plan = (await session.execute(text(f"EXPLAIN {compiled}".replace(":", "\\:")))).scalars().all()
    assert f"ix_audit_entry_changed_{field}" in "\n".join(plan)
