"""What happened to a row, one entry of it, and taking a product back to how it was."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import delete as delete_rows
from sqlalchemy import update

from admin_app import audit
from admin_app.actor import Actor, Role, Source
from admin_app.admin.history import told
from admin_app.audit import HIDDEN, AuditEntry
from admin_app.database import Database
from admin_app.domains.products.models import Product, ProductImage
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.outbox import RecordedEvent
from tests.admin.pages import Element, fields_of, form_of, link, notices, parse
from tests.admin.rows import every, history, load, traces
from tests.bulk.operations import Operations
from tests.conftest import Cast, MakeProduct, SignIn
from tests.domains.products.pictures import add_picture

KNOWN, UNKNOWN = str(UUID(int=1)), str(UUID(int=2))
MOMENT = "2026-01-31T12:00:00+00:00"
FRONT, SIDE = {"id": KNOWN, "alt": "Front"}, {"id": UNKNOWN, "alt": ""}
NASTY = "<script>alert(1)</script> & “co”"


def details(product: Product) -> str:
    return f"/admin/product/details/{product.id}"


def timeline(product: Product) -> str:
    return f"/admin/product/history/{product.id}"


def compare(product: Product, version: object) -> str:
    return f"/admin/product/compare/{product.id}?version={version}"


def revert(product: Product) -> str:
    return f"/admin/product/revert/{product.id}"


async def change(database: Database, actor: Actor, product: Product, **values: Any) -> None:
    async with database.transaction() as session:
        await ProductService(session, actor).update(product.id, ProductUpdate(**values))


async def delete(database: Database, actor: Actor, product: Product) -> None:
    async with database.transaction() as session:
        await ProductService(session, actor).delete(product.id)


async def close(database: Database, user_id: UUID | None) -> None:
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == user_id).values(is_active=False))


def events(page: Element) -> list[str]:
    return [event.text for event in page.all("li", class_="event")]


def changes(page: Element) -> dict[str, str]:
    """Label -> what the page says became of it; each label once."""
    found = {}
    for part in page.all("dl", class_="changes"):
        for line in part.all("div"):
            found[line.one("dt").text] = " ".join(line.one("dd").raw_text.split())
    return found


def sides(page: Element) -> dict[str, list[str]]:
    """Field -> as it was and as it is; of what is the same the one cell."""
    return {
        row.one("th").text: [cell.text for cell in row.all("td")]
        for body in page.all("tbody")
        for row in body.all("tr")
    }


def offered(page: Element) -> list[str]:
    """The fields that can be brought back."""
    return [box.attributes["value"] for box in page.all("input", type="checkbox", name="fields")]


def posted(page: Element, *names: str) -> dict[str, str | list[str]]:
    return {**fields_of(form_of(page)), "fields": list(names)}


def entry(**values: Any) -> SimpleNamespace:
    """An entry as the activity service gives it."""
    given = {
        "action": "updated",
        "kind": "product",
        "row_id": uuid4(),
        "row_label": "Anvil",
        "source": "form",
        "operation_number": None,
        "operation_id": None,
        "actor_id": None,
        "note": None,
        "people": None,
        "changes": {},
    }
    return SimpleNamespace(**{**given, **values})


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ({}, "Changed product “Anvil”"),
        ({"action": "created", "kind": "user", "row_label": "a@b.example"}, "Created user “a@b.example”"),
        ({"action": "signed in", "actor_id": UUID(int=1), "row_id": UUID(int=1)}, "Signed in"),
        ({"action": "signed out", "kind": "user", "row_label": "Al"}, "Signed out: user “Al”"),
        ({"action": "refused", "kind": "user", "note": "to edit"}, "Refused: user “Anvil” (to edit)"),
        ({"action": "refused", "row_id": None, "note": "to create"}, "Refused: products (to create)"),
        ({"action": "reverted", "note": "to version 3"}, "Brought back product “Anvil” (to version 3)"),
        ({"action": "imported", "row_id": None, "note": "2 created"}, "Imported products"),
        ({"action": "deleted"}, "Deleted product “Anvil”"),
        ({"action": "purged"}, "Deleted for good product “Anvil”"),
        ({"action": "polished", "kind": "lamp"}, "Polished lamp “Anvil”"),
        ({"row_label": NASTY}, f"Changed product “{NASTY}”"),
        ({"row_label": "", "row_id": UUID(int=1)}, f"Changed product {UUID(int=1)}"),
    ],
)  # fmt: skip
def test_an_entry_is_told_in_a_line(values: dict[str, Any], title: str) -> None:
    assert told(entry(**values)).title == title


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({}, "Form"),
        ({"source": "inline"}, "In the list"),
        ({"source": "bulk", "operation_number": 12}, "Bulk #12"),
        ({"source": "import", "operation_number": 12}, "Import, operation #12"),
        ({"source": "bulk"}, "Bulk operation"),
        ({"source": "import"}, "Import"),
        ({"source": "system"}, "System"),
        ({"source": "telegraph"}, "Telegraph"),
    ],
)
def test_an_entry_says_from_where(values: dict[str, Any], where: str) -> None:
    assert told(entry(**values)).where == where


def test_every_source_has_a_name() -> None:
    assert all(told(entry(source=source.value)).where for source in Source)


@pytest.mark.parametrize(
    ("kind", "name", "pair", "shown"),
    [
        ("product", "price", ["12.00", "1234.50"], ("Price", "12.00", "1,234.50")),
        ("product", "price", ["0.001", "NaN"], ("Price", "0.001", "NaN")),
        ("product", "price", ["cheap", None], ("Price", "cheap", None)),
        ("product", "is_active", [True, False], ("State", "Active", "Inactive")),
        ("user", "must_change_password", [False, True], ("New password demanded", "No", "Yes")),
        ("user", "role", ["support", "superuser"], ("Role", "Support", "Superuser")),
        ("user", "last_sign_in_at", [None, MOMENT], ("Last sign-in", None, "2026-01-31 12:00:00 UTC")),
        ("user", "last_sign_in_at", ["long ago", None], ("Last sign-in", "long ago", None)),
        ("product", "owner_id", [KNOWN, UNKNOWN], ("Owner", "a@b.example", UNKNOWN)),
        ("product", "name", ["Old", "New"], ("Name", "Old", "New")),
        ("product", "images", [[FRONT], [FRONT, SIDE]], ("Pictures", "1. Front", "1. Front, 2. no text")),
        ("product", "images", [None, []], ("Pictures", None, "")),
        ("product", "images", ["none", [{"id": KNOWN}]], ("Pictures", "none", f"[{{'id': '{KNOWN}'}}]")),
        ("product", "colour", ["red", 3], ("colour", "red", "3")),
        ("product", "is_blue", [True, None], ("is_blue", "Yes", None)),
        ("lamp", "name", ["Old", "New"], ("name", "Old", "New")),
    ],
)  # fmt: skip
def test_values_look_as_everywhere_else(
    kind: str, name: str, pair: list[Any], shown: tuple[str, str | None, str | None]
) -> None:
    [field] = told(entry(kind=kind, changes={name: pair}, people={KNOWN: "a@b.example"})).fields
    assert (field.label, field.old, field.new) == shown


def test_of_a_secret_only_is_told_that_it_changed() -> None:
    for pair in ([HIDDEN, HIDDEN], ["$argon2id$secret", "$argon2id$other"]):
        item = told(entry(kind="user", changes={"password_hash": pair}))
        [field] = item.fields
        assert (field.kind, field.old, field.new) == ("secret", None, None)
        assert item.summary == "Password changed"
    [gone] = told(entry(kind="user", changes={"pin": [HIDDEN, HIDDEN]})).fields
    assert (gone.label, gone.kind) == ("pin", "secret")


def test_what_somebody_wrote_is_no_secret() -> None:
    [field] = told(entry(changes={"description": [HIDDEN, "A lamp"]})).fields
    assert (field.old, field.new) == (HIDDEN, "A lamp")


def test_a_summary_is_short_plain_text() -> None:
    long = "word " * 2000
    item = told(
        entry(changes={"description": ["", long], "price": ["12.00", "13.00"], "name": ["Anvil", "Bell"]})
    )
    assert item.summary == "Name Anvil → Bell, Description, Price 12.00 → 13.00"
    item = told(entry(changes={f"field{number:02}": [number, number + 1] for number in range(40)}))
    assert len(item.summary) <= 120
    assert item.summary.endswith("…")
    item = told(entry(action="imported", row_id=None, note="12 created, 3 skipped: lamps.csv"))
    assert item.summary == "12 created, 3 skipped: lamps.csv"
    deleted = {"deleted_at": [None, MOMENT]}
    assert told(entry(action="deleted", changes=deleted)).summary == ""
    created = {"name": [None, "Anvil"], "description": [None, long], "price": [None, "12.00"]}
    assert told(entry(action="created", changes=created)).summary == "Price 12.00"
    assert told(entry(kind="user", changes={"name": ["", "Anne"]})).summary == "Name nothing → Anne"


@pytest.mark.parametrize(
    ("pair", "summary"),
    [
        ([[FRONT], [FRONT, SIDE]], "Pictures 1 → 2"),
        ([[FRONT], []], "Pictures 1 → 0"),
        ([[FRONT, SIDE], [SIDE, FRONT]], "Pictures reordered"),
        ([[FRONT], [SIDE]], "Pictures changed"),
        ([[FRONT], [FRONT | {"alt": "The front"}]], "Pictures changed"),
        ([None, [FRONT, SIDE]], "Pictures 2"),
        ([None, []], ""),
    ],
)
def test_of_pictures_a_summary_tells_how_many(pair: list[Any], summary: str) -> None:
    assert told(entry(changes={"images": pair})).summary == summary


async def test_pictures_are_shown_in_the_history_as_long_as_they_are_here(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    front, side = [await add_picture(database, cast.alice) for _ in range(2)]
    product = await make_product(cast.alice, images=[front | {"alt": "Front"}, side | {"alt": NASTY}])
    await change(database, cast.alice, product, images=[front | {"alt": "Front"}])
    file = {"format": "webp", "width": 96, "height": 64, "name": f"images/{front['id']}/file.webp"}
    async with database.transaction() as session:
        here = update(ProductImage).where(ProductImage.id == UUID(front["id"]))
        await session.execute(here.values(files=[file]))
        await session.execute(delete_rows(ProductImage).where(ProductImage.id == UUID(side["id"])))
    sam = await sign_in("sam")
    newest = (await history(database, product.id))[-1]
    for path in (timeline(product), details(product), f"/admin/activity/details/{newest.id}"):
        [told_changes] = parse(await sam.get(path)).all("ul", class_="picture-changes")
        assert [item.text for item in told_changes.all("li")] == [f"Removed 2. {NASTY}", "1 unchanged"]
        assert not told_changes.all("img")
    page = parse(await sam.get(compare(product, 1)))
    assert sides(page)["Pictures"] == [f"1. Front 2. {NASTY} removed", "1. Front"]
    shown = [image.attributes["src"] for image in page.all("img")]
    assert shown == [f"/admin/media/{file['name']}"] * 2


A, B, C, D, E = ({"id": str(UUID(int=number)), "alt": letter} for number, letter in enumerate("ABCDE", 1))


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ([A], [A, B], ["Added 2. B", "1 unchanged"]),
        ([A, B | {"alt": ""}], [A], ["Removed Picture 2", "1 unchanged"]),
        ([A, B, C], [B, A, C], ["Reordered: 1 ↔ 2", "New main picture 1. B", "1 unchanged"]),
        ([A, B, C, D], [A, B, D, C], ["Reordered: 3 ↔ 4", "2 unchanged"]),
        ([A, B, C, D, E], [A, E, B, C, D], ["Reordered: 5 → 2", "4 unchanged"]),
        ([A, B], [A, B | {"alt": "B <b>"}], ["New text 2. B<b>", "1 unchanged"]),
        ([A, B], [A | {"alt": ""}, B], ["New text 1. A", "1 unchanged"]),
        ([A, B, C], [D, C, B | {"alt": "b"}], ["Added 1. D", "Removed 1. A", "New text 3. Bb",
            "Reordered: 2 ↔ 3", "New main picture 1. D"]),
        ([E, A, B, C, D], [B, C, A, D], ["Removed 1. E", "Reordered: 2 → 3", "New main picture 1. B",
            "3 unchanged"]),
        ([A, B, C, D], [B, C, A], ["Removed 4. D", "Reordered: 1 → 3", "New main picture 1. B",
            "2 unchanged"]),
        ([A], [], ["Removed 1. A"]),
        ([], [A, B], ["Added 1. A 2. B"]),
    ],
)  # fmt: skip
async def test_of_pictures_the_history_tells_what_became_of_them(
    sign_in: SignIn,
    cast: Cast,
    database: Database,
    make_product: MakeProduct,
    old: list[dict[str, str]],
    new: list[dict[str, str]],
    lines: list[str],
) -> None:
    product = await make_product(cast.alice)
    async with database.transaction() as session:
        made = AuditEntry(
            actor_label="alice@demo.example",
            source="form",
            request_id=uuid4(),
            action="updated",
            kind="product",
            row_id=product.id,
            version=2,
            changes={"images": [old, new]},
        )
        session.add(made)
    page = parse(await (await sign_in("sam")).get(timeline(product)))
    [told_changes] = page.all("ul", class_="picture-changes")
    assert [item.text for item in told_changes.all("li")] == lines


@pytest.mark.parametrize(
    ("old", "new", "before", "after"),
    [
        ([A, B], [B, C], "1. A removed 2. B", "1. B 2. C added"),
        ([A, B, C], [B, A, C], "1. A moved 2. B moved 3. C", "1. B moved 2. A moved 3. C"),
        ([A], [A | {"alt": ""}], "1. A other text", "Picture 1 other text"),
        (
            [A, B, C],
            [C, A | {"alt": "a"}, B],
            "1. A other text 2. B 3. C moved",
            "1. C moved 2. a other text 3. B",
        ),
    ],
)
async def test_two_sets_of_pictures_beside_each_other_say_in_words_what_differs(
    sign_in: SignIn,
    cast: Cast,
    database: Database,
    make_product: MakeProduct,
    old: list[dict[str, str]],
    new: list[dict[str, str]],
    before: str,
    after: str,
) -> None:
    ids = {image["id"]: (await add_picture(database, cast.alice))["id"] for image in (A, B, C)}
    sets = [[image | {"id": ids[image["id"]]} for image in images] for images in (old, new)]
    product = await make_product(cast.alice, images=sets[0])
    await change(database, cast.alice, product, images=sets[1])
    page = parse(await (await sign_in("sam")).get(compare(product, 1)))
    assert sides(page)["Pictures"] == [before, after]


async def test_the_details_page_shows_the_latest_changes_field_by_field(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(
        cast.alice, name="Lamp", description="A small lamp of brass.", price=Decimal(12)
    )
    await change(database, cast.alice, product, price=Decimal(13), description="A large lamp of brass.")
    await change(database, cast.root, product, owner_id=cast.bob.id)
    page = parse(await (await sign_in("sam")).get(details(product)))
    first, second, third = events(page)
    assert first.startswith(
        "Changed root@demo.example just now · Form · Version 3 "
        "Owneralice@demo.example becomes bob@demo.example"
    )
    assert second.startswith("Changed alice@demo.example just now · Form")
    assert third.startswith(
        "Created alice@demo.example just now · Form · Version 1 Price 12.00, State Active, Owner alice"
    )
    assert changes(page)["Price"] == "12.00 becomes 13.00"
    words = page.all("span", class_="words")[0]
    assert (words.one("del").text, words.one("ins").text) == ("small", "large")
    assert link(page, "Whole history") == timeline(product)


async def test_the_details_page_shows_five_entries_and_the_history_all(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    for number in range(30):
        await change(database, cast.alice, product, name=f"Name {number}")
    sam = await sign_in("sam")
    assert len(events(parse(await sam.get(details(product))))) == 5
    page = parse(await sam.get(timeline(product)))
    assert len(events(page)) == 25
    assert link(page, "To the newest") is None
    older = link(page, "Older")
    assert older is not None
    last = parse(await sam.get(older))
    assert len(events(last)) == 6
    assert "Created" in events(last)[-1]
    assert link(page, "Compare with before") == compare(product, 30)
    assert link(last, "Compare with before") is None
    assert link(last, "Compare with today") == compare(product, 6)
    assert link(last, "Older") is None
    assert link(last, "To the newest") == timeline(product)
    entries = await history(database, product.id)
    shown = re.findall(r"activity/details/([0-9a-f-]{36})", (await sam.get(timeline(product))).text)
    shown += re.findall(r"activity/details/([0-9a-f-]{36})", (await sam.get(older)).text)
    assert shown == [str(item.id) for item in reversed(entries)]
    assert (await sam.get(f"{timeline(product)}?before=x")).status_code == 400
    beyond = parse(await sam.get(f"{timeline(product)}?before={entries[0].id}"))
    assert events(beyond) == []
    assert "Nothing more is on record." in beyond.text


async def test_values_are_never_html(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name=NASTY, description="plain")
    await change(database, cast.alice, product, description=f"plain {NASTY}", name=f"{NASTY} 2")
    alice = await sign_in("alice")
    [_, newest] = await history(database, product.id)
    for path in (
        details(product),
        timeline(product),
        compare(product, 1),
        f"/admin/activity/details/{newest.id}",
    ):
        response = await alice.get(path)
        assert response.status_code == 200
        assert "<script>alert" not in response.text
        assert "alert" in parse(response).one("main").text


async def test_a_history_is_for_whoever_may_read_the_row(
    sign_in: SignIn, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    for name in ("alice", "bob", "sam", "root"):
        client = await sign_in(name)
        assert (await client.get(timeline(product))).status_code == 200
        missing = await client.get(f"/admin/product/history/{uuid4()}")
        assert missing.status_code == 404
        foreign = await client.get(f"/admin/user/history/{cast.sam.id}")
        assert foreign.status_code == (404 if name in {"alice", "bob"} else 200)
        if foreign.status_code == 404:
            assert foreign.content == (await client.get(f"/admin/user/history/{uuid4()}")).content
        for path in (f"operation/history/{uuid4()}", "product/history/x", f"nothing/history/{product.id}"):
            assert (await client.get(f"/admin/{path}")).status_code == 404
    own = parse(await (await sign_in("alice")).get(f"/admin/user/history/{cast.alice.id}"))
    assert "Created system" in events(own)[0]
    assert link(own, "Compare with before") is None
    nobody = await sign_in("nobody")
    assert (await nobody.get(timeline(product))).status_code == 302


async def test_a_history_goes_on_in_the_bin_and_comes_back_from_it(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Overkill", description="First")
    await change(database, cast.alice, product, description="Second")
    await delete(database, cast.alice, product)
    alice = await sign_in("alice")
    bin_page = parse(await alice.get("/admin/product/bin"))
    assert link(bin_page, "History of Overkill") == timeline(product)
    for name in ("alice", "sam", "root"):
        page = parse(await (await sign_in(name)).get(timeline(product)))
        assert [text.split()[0] for text in events(page)] == ["Deleted", "Changed", "Created"]
        assert notices(page) == ["This product is in the bin, deleted just now."]
        assert link(page, "Compare with today") is None
    bob = await sign_in("bob")
    assert (await bob.get(timeline(product))).content == (
        await bob.get(f"/admin/product/history/{uuid4()}")
    ).content
    await alice.post(f"/admin/product/restore/{product.id}")
    page = parse(await alice.get(details(product)))
    assert [text.split()[0] for text in events(page)] == ["Restored", "Deleted", "Changed", "Created"]
    assert [text.partition("Compare with ")[2] for text in events(page)] == ["", "", "before", "today"]
    assert link(page, "Compare with before") == compare(product, 1)
    response = await alice.post(
        revert(product), data=posted(parse(await alice.get(compare(product, 1))), "description")
    )
    assert response.status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.description, saved.deleted_at) == ("First", None)


async def test_an_entry_is_told_in_full_and_the_address_only_to_whom_it_concerns(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    alice = replace(cast.alice, address="192.0.2.7")
    product = await make_product(alice, name="Lamp", description="one two " * 200)
    await change(database, alice, product, description="one two " * 100 + "three " + "one two " * 100)
    first, second = await history(database, product.id)
    seen = {}
    for name in ("alice", "bob", "sam", "root"):
        page = parse(await (await sign_in(name)).get(f"/admin/activity/details/{second.id}"))
        assert page.one("h1").text == "Changed product “Lamp”"
        seen[name] = "192.0.2.7" in page.text
        assert str(second.request_id) in page.text
        assert second.at.astimezone(UTC).isoformat(" ", "seconds")[:19] in page.text
        assert changes(page)["Description"] == " ".join(["one two"] * 100 + ["three"] + ["one two"] * 100)
        assert link(page, "This product") == details(product)
        assert link(page, "Its history") == timeline(product)
        assert link(page, "Compare with before") == compare(product, 1)
    assert seen == {"alice": True, "bob": False, "sam": False, "root": True}
    created = parse(await (await sign_in("sam")).get(f"/admin/activity/details/{first.id}"))
    assert link(created, "Compare with before") is None
    assert changes(created)["Owner"] == "alice@demo.example"
    assert link(created, "Compare with today") == compare(product, 1)


async def test_an_entry_nobody_may_read_does_not_exist(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    [about_sam] = await history(database, cast.sam.id)
    alice, root = await sign_in("alice"), await sign_in("root")
    answers = [await alice.get(f"/admin/activity/details/{name}") for name in (about_sam.id, uuid4(), "x")]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert answers[0].content == answers[1].content
    page = parse(await root.get(f"/admin/activity/details/{about_sam.id}"))
    assert page.one("h1").text == "Created user “sam@demo.example”"
    assert changes(page)["Password"] == "changed"
    assert link(page, "Its history") == f"/admin/user/history/{cast.sam.id}"


async def test_an_entry_outlives_its_row(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Overkill")
    await delete(database, cast.alice, product)
    [created, _] = await history(database, product.id)
    path = f"/admin/activity/details/{created.id}"
    alice = await sign_in("alice")
    page = parse(await alice.get(path))
    assert link(page, "In the bin") == f"/admin/product/bin?search={product.id}"
    assert link(page, "Compare with today") is None
    async with database.transaction() as session:
        assert await ProductService(session, Actor.system()).purge(datetime.now(UTC), 10) == 1
    page = parse(await alice.get(path))
    assert "Gone for good" in page.text
    assert link(page, "Its history") is None
    assert changes(page)["Name"] == "Overkill"
    purged = (await history(database, product.id))[-1]
    page = parse(await alice.get(f"/admin/activity/details/{purged.id}"))
    assert page.one("h1").text == "Deleted for good product “Overkill”"


async def test_a_bulk_change_leads_to_its_operation_for_whoever_may_open_it(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    operations = Operations(database)
    operation_id = await operations.start(cast.alice, "deactivate", [product.id])
    await operations.run()
    operation = await operations.get(operation_id)
    where = f"Bulk #{operation.number}"
    for name, is_link in {"alice": True, "bob": False, "sam": True, "root": True}.items():
        page = parse(await (await sign_in(name)).get(timeline(product)))
        assert where in events(page)[0]
        assert changes(page)["State"] == "Active becomes Inactive"
        assert (link(page, where) == f"/admin/operation/details/{operation_id}") is is_link


async def test_a_sign_in_and_a_note_without_a_row_are_told(
    sign_in: SignIn, cast: Cast, database: Database
) -> None:
    async with database.transaction() as session:
        audit.note(session, cast.root, "imported", Product, "12 created: lamps.csv")
        audit.note(session, cast.root, "refused", await session.get_one(User, cast.sam.id), "to edit")
    entries = [item for item in await every(database, AuditEntry) if item.action in {"imported", "refused"}]
    root = await sign_in("root")
    imported, refused = [parse(await root.get(f"/admin/activity/details/{item.id}")) for item in entries]
    assert imported.one("h1").text == "Imported products"
    assert "12 created: lamps.csv" in imported.text
    assert "Gone for good" not in imported.text
    assert refused.one("h1").text == "Refused: user “sam@demo.example” (to edit)"
    assert "No row was changed." in refused.text


async def test_passwords_never_appear(sign_in: SignIn, cast: Cast, database: Database) -> None:
    async with database.transaction() as session:
        data = UserUpdate(password="another long password", name="Alice B.")
        await UserService(session, cast.root).update(cast.alice.id, data)
    root = await sign_in("root")
    newest = (await history(database, cast.alice.id))[-1]
    for path in (
        f"user/details/{cast.alice.id}",
        f"user/history/{cast.alice.id}",
        f"activity/details/{newest.id}",
    ):
        response = await root.get(f"/admin/{path}")
        assert "argon2" not in response.text
        assert HIDDEN not in response.text
        assert changes(parse(response))["Password"] == "changed"


async def test_a_past_version_is_compared_with_today(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Lamp", description="A small lamp.", price=Decimal(12))
    await change(database, cast.alice, product, description="A large lamp.", price=Decimal(13))
    await change(database, cast.root, product, owner_id=cast.bob.id)
    await change(database, cast.root, product, price=Decimal(14))
    expected = {
        "Description": ["A small lamp.", "A large lamp."],
        "Price": ["12.00", "14.00"],
        "Owner": ["alice@demo.example", "bob@demo.example"],
        "Name": ["Lamp the same"],
        "State": ["Active the same"],
        "Pictures": ["nothing the same"],
        "External id": ["nothing the same"],
    }
    offers = {
        "alice": [],
        "bob": ["description", "price"],
        "sam": [],
        "root": ["description", "price", "owner_id"],
    }
    for name, fields in offers.items():
        page = parse(await (await sign_in(name)).get(compare(product, 1)))
        assert sides(page) == expected
        assert offered(page) == fields
        assert ("Bring back" in page.one("main").text) is bool(fields)
        [old, new] = page.all("td", data_label="Version 1")[0], page.all("td", data_label="Today")[0]
        assert (old.one("del").text, new.one("ins").text) == ("small", "large")
    page = parse(await (await sign_in("sam")).get(compare(product, 3)))
    assert sides(page)["Price"] == ["13.00", "14.00"]
    assert (link(page, "Version 2"), link(page, "Version 4")) == (compare(product, 2), None)
    page = parse(await (await sign_in("bob")).get(compare(product, 4)))
    assert "Version 4 was as the product is today." in page.text
    assert offered(page) == []


@pytest.mark.parametrize("version", ["", "0", "-1", "3", "x", "1.0", "9" * 30, "٣"])
async def test_a_version_there_is_not_is_said_to_be_none(
    version: str, sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    await change(database, cast.alice, product, name="Renamed")
    alice = await sign_in("alice")
    response = await alice.get(compare(product, version))
    assert response.status_code == 400
    assert "Choose a version from 1 to 2" in parse(response).text
    assert (await alice.get(compare(product, 2))).status_code == 200
    without = await alice.get(f"/admin/product/compare/{product.id}")
    assert without.status_code == 400
    data = {"past": version, "version": "2", "fields": ["name"]}
    before = await traces(database)
    refused = await alice.post(revert(product), data=data)
    assert refused.status_code in {400, 409}
    assert "Open it again" in parse(refused).text
    assert await traces(database) == before


async def test_chosen_fields_are_brought_back_with_an_entry_and_an_event(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(
        cast.alice, name="Lamp", description="First", price=Decimal(12), is_active=False
    )
    await change(
        database, cast.alice, product, name="Light", description="Second", price=Decimal(13), is_active=True
    )
    alice = await sign_in("alice")
    page = parse(await alice.get(compare(product, 1)))
    data = posted(page, "price", "name")
    response = await alice.post(revert(product), data=data)
    assert (response.status_code, response.headers["location"]) == (303, details(product))
    page = parse(await alice.get(details(product)))
    message = "Product “Lamp”: Name, Price brought back from version 1."
    assert notices(page) == [message]
    assert events(page)[0].startswith("Brought back (to version 1) alice@demo.example just now · Form")
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, saved.description, saved.price, saved.is_active) == (
        "Lamp",
        "Second",
        Decimal(12),
        True,
    )
    newest = (await history(database, product.id))[-1]
    assert (newest.action, newest.actor_id, newest.source, newest.version) == (
        "reverted",
        cast.alice.id,
        "form",
        3,
    )
    assert newest.changes == {"name": ["Light", "Lamp"], "price": ["13.00", "12.00"]}
    recorded = (await every(database, RecordedEvent))[-1]
    assert recorded.name == "ProductUpdated"
    before = await traces(database)
    again = await alice.post(revert(product), data=data)
    assert again.status_code == 303
    assert notices(parse(await alice.get(details(product)))) == [message]
    assert await traces(database) == before


async def test_identical_values_change_nothing_and_that_is_said(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Lamp", price=Decimal(12))
    await change(database, cast.alice, product, price=Decimal(13))
    alice = await sign_in("alice")
    before = await traces(database)
    data = {"past": "1", "version": "2", "fields": ["name"]}
    assert (await alice.post(revert(product), data=data)).status_code == 303
    assert notices(parse(await alice.get(details(product)))) == [
        "Product “Lamp” is like that already, so nothing was changed."
    ]
    assert await traces(database) == before


async def test_a_superuser_gives_a_product_back_to_its_former_owner(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    await change(database, cast.root, product, owner_id=cast.bob.id)
    bob, root = await sign_in("bob"), await sign_in("root")
    data = {"past": "1", "version": "2", "fields": ["owner_id"]}
    refused = await bob.post(revert(product), data=data)
    assert refused.status_code == 403
    assert "Only superusers may choose who owns a product." in parse(refused).text
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert saved.owner_id == cast.bob.id
    before = await traces(database)
    await close(database, cast.alice.id)
    refused = await root.post(revert(product), data=data)
    page = parse(refused)
    assert refused.status_code == 422
    assert page.one("p", class_="field-error").text == "Choose an active superuser or administrator."
    [box] = page.all("input", name="fields")
    assert box.attributes["aria-describedby"] == page.one("p", class_="field-error").attributes["id"]
    assert await traces(database) == before
    async with database.transaction() as session:
        await session.execute(update(User).values(is_active=True))
    assert (await root.post(revert(product), data=data)).status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert saved.owner_id == cast.alice.id


async def test_a_former_owner_who_is_gone_is_shown_by_the_id_and_cannot_own(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.bob)
    await change(database, cast.root, product, owner_id=cast.alice.id)
    async with database.transaction() as session:
        await UserService(session, cast.root).delete(cast.bob.id)
    root = await sign_in("root")
    page = parse(await root.get(compare(product, 1)))
    assert sides(page)["Owner"] == [str(cast.bob.id), "alice@demo.example"]
    assert (await root.post(revert(product), data=posted(page, "owner_id"))).status_code == 422


async def test_a_value_refused_today_is_told_beside_its_field(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Lamp", price=Decimal(12))
    await change(database, cast.alice, product, name="Light", price=Decimal(13))
    async with database.transaction() as session:
        [_, newest] = await history(database, product.id)
        await session.execute(
            update(AuditEntry)
            .where(AuditEntry.id == newest.id)
            .values(changes={"name": ["Lamp", "Light"], "price": ["1000000000.00", "13.00"]})
        )
    alice = await sign_in("alice")
    page = parse(await alice.get(compare(product, 1)))
    assert sides(page)["Price"] == ["1,000,000,000.00", "13.00"]
    before = await traces(database)
    refused = await alice.post(revert(product), data=posted(page, "name", "price"))
    assert refused.status_code == 422
    page = parse(refused)
    assert page.one("p", class_="field-error").text == "Enter a number below 100000000."
    boxes = {box.attributes["value"]: box.attributes for box in page.all("input", name="fields")}
    assert "aria-invalid" in boxes["price"]
    assert "aria-invalid" not in boxes["name"]
    assert await traces(database) == before
    assert (await alice.post(revert(product), data=posted(page, "name"))).status_code == 303


async def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Lamp", description="First", price=Decimal(12))
    await change(database, cast.alice, product, name="Light", description="Second", price=Decimal(13))
    alice = await sign_in("alice")
    data = posted(parse(await alice.get(compare(product, 1))), "price", "name")
    await change(database, cast.root, product, price=Decimal(99), description="Third")
    before = await traces(database)
    conflict = await alice.post(revert(product), data=data)
    assert conflict.status_code == 409
    assert await traces(database) == before
    page = parse(conflict)
    assert notices(page)[0].startswith("Meanwhile root@demo.example changed Price.")
    assert sides(page)["Price"] == ["12.00", "99.00"]
    chosen = [box for box in page.all("input", name="fields") if "checked" in box.attributes]
    assert [box.attributes["value"] for box in chosen] == ["name"]
    assert (await alice.post(revert(product), data=posted(page, "price", "name"))).status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, saved.price, saved.description) == ("Lamp", Decimal(12), "Third")


async def test_what_somebody_else_changed_in_other_fields_is_kept(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Lamp", price=Decimal(12))
    await change(database, cast.alice, product, price=Decimal(13))
    alice = await sign_in("alice")
    data = posted(parse(await alice.get(compare(product, 1))), "price")
    await change(database, cast.root, product, name="Light")
    assert (await alice.post(revert(product), data=data)).status_code == 303
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert (saved.name, saved.price) == ("Light", Decimal(12))


async def answers(client: httpx.AsyncClient, product: Product, data: dict[str, Any]) -> list[httpx.Response]:
    """For this product, and for one that never was."""
    missing = f"/admin/product/revert/{uuid4()}"
    return [await client.post(path, data=data) for path in (revert(product), missing)]


@pytest.mark.parametrize(
    "data",
    [
        {"past": "1", "version": "2", "fields": ["name"]},
        {"past": "1", "version": "2"},
        {"past": "9", "version": "2", "fields": ["name"]},
        {"past": "1", "version": "9", "fields": ["name"]},
        {"past": "1", "version": "2", "fields": ["deleted_at"]},
        {"past": "1", "version": "2", "fields": ["owner_id"]},
        {"past": "x"},
        {},
    ],
)
async def test_a_stranger_gets_the_page_of_what_never_was_and_support_is_refused(
    data: dict[str, Any], sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Lamp")
    await change(database, cast.alice, product, name="Light")
    before = await traces(database)
    found = await answers(await sign_in("bob"), product, data)
    assert [answer.status_code for answer in found] == [404, 404]
    assert found[0].content == found[1].content
    for name, status in (("sam", 403), ("nobody", 401)):
        found = await answers(await sign_in(name), product, data)
        assert [answer.status_code for answer in found] == [status, status]
    saved = await load(database, Product, product.id)
    assert saved is not None
    assert saved.name == "Light"
    assert [item for item in await traces(database) if item in before] == before


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        ({"past": "1", "version": "2"}, 422, "Choose at least one field to bring back."),
        ({"past": "1", "version": "9", "fields": ["name"]}, 409, "This is not a version there is."),
        ({"past": "9", "version": "2", "fields": ["name"]}, 409, "This is not a version there is."),
        ({"past": "1", "version": "2", "fields": ["deleted_at"]}, 400, "This is not a field"),
        ({"past": "1", "version": "2", "fields": ["search_text"]}, 400, "This is not a field"),
        ({"version": "2", "fields": ["name"]}, 400, "“past” is missing"),
        ({"past": "1", "fields": ["name"]}, 400, "“version” is missing"),
    ],
)  # fmt: skip
async def test_a_wrong_form_is_answered_with_a_sentence(
    data: dict[str, Any],
    status: int,
    sentence: str,
    sign_in: SignIn,
    cast: Cast,
    database: Database,
    make_product: MakeProduct,
) -> None:
    product = await make_product(cast.alice, name="Lamp")
    await change(database, cast.alice, product, name="Light")
    before = await traces(database)
    response = await (await sign_in("alice")).post(revert(product), data=data)
    assert response.status_code == status
    assert sentence in parse(response).one("main").text
    assert await traces(database) == before


async def test_a_product_in_the_bin_is_to_be_restored_first(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Lamp")
    await change(database, cast.alice, product, name="Light")
    await delete(database, cast.alice, product)
    before = await traces(database)
    data = {"past": "1", "version": "3", "fields": ["name"]}
    for name in ("alice", "root"):
        client = await sign_in(name)
        for response in (
            await client.get(compare(product, 1)),
            await client.post(revert(product), data=data),
        ):
            assert response.status_code == 409
            page = parse(response)
            assert "Restore it before" in notices(page)[0]
            assert link(page, "To the bin") == f"/admin/product/bin?search={product.id}"
    bob = await sign_in("bob")
    found = await answers(bob, product, data)
    found += [
        await bob.get(path) for path in (compare(product, 1), f"/admin/product/compare/{uuid4()}?version=1")
    ]
    assert [answer.status_code for answer in found] == [404] * 4
    assert len({answer.content for answer in found}) == 1
    assert await traces(database) == before


@pytest.mark.parametrize("identity", ["user", "operation", "nothing"])
async def test_only_products_are_taken_back(identity: str, sign_in: SignIn, cast: Cast) -> None:
    for name in ("alice", "sam", "root"):
        client = await sign_in(name)
        assert (await client.get(f"/admin/{identity}/compare/{cast.alice.id}?version=1")).status_code == 404
        response = await client.post(
            f"/admin/{identity}/revert/{cast.alice.id}", data={"past": "1", "version": "1"}
        )
        assert response.status_code == 404


async def test_a_past_nobody_recorded_is_a_conflict(
    sign_in: SignIn, cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    async with database.transaction() as session:
        await session.execute(update(Product).values(version=5))
    alice = await sign_in("alice")
    assert (await alice.get(compare(product, 1))).status_code == 409
    data = {"past": "1", "version": "5", "fields": ["name"]}
    assert (await alice.post(revert(product), data=data)).status_code == 409


async def test_only_roles_that_may_choose_owners_are_offered_one(
    cast: Cast, database: Database, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    async with database.reading() as session:
        for actor, offers in ((cast.alice, True), (cast.bob, False), (cast.sam, False), (cast.root, True)):
            service = ProductService(session, actor)
            assert service.may_revert(product, "name") is offers
            assert service.may_revert(product, "owner_id") is (actor.role is Role.SUPERUSER)
            assert service.may_revert(product, "deleted_at") is False
