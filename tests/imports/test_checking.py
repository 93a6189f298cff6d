"""What each row of a file would do: verdicts, changes and sentences, for both kinds and in every role."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Source
from admin_app.database import Database
from admin_app.domains.products.importing import ProductRow
from admin_app.domains.products.models import ImageState, Product, ProductImage
from admin_app.domains.users.models import User
from admin_app.imports import checking, staging
from admin_app.imports.models import ImportRow, ImportState, Verdict
from admin_app.text import MAX_DESCRIPTION_LENGTH
from tests.conftest import Cast, MakeProduct
from tests.imports.checks import checked

CREATE, UPDATE, UNCHANGED, REFUSED = Verdict
ALICE = "alice@demo.example"


def told(row: ImportRow) -> tuple[Verdict, object]:
    """The verdict, and what it is about: why not, or what would be different."""
    return row.verdict, row.reason if row.verdict is REFUSED else row.changes


async def test_new_rows_get_ids_in_the_order_of_the_file_and_all_that_is_said_of_them(
    database: Database, cast: Cast
) -> None:
    import_, rows = await checked(
        database,
        cast.alice,
        "External id;Name;Description;Price;State;Pictures;Colour\n"
        'T-1; Tea ;" two\nlines";12.5; INACTIVE;https://pics.example/a.png https://pics.example/b.png;red\n'
        "T-2;Coffee;;3;;;\n",
    )
    assert (import_.state, import_.key) == (ImportState.CHECKED, "external_id")
    assert (import_.rows, import_.to_create, import_.refused, import_.reasons) == (2, 2, 0, {})
    assert import_.checked_bytes == import_.size_bytes
    tea, coffee = rows
    images = tea.changes.pop("images")
    assert tea.changes == {
        "external_id": [None, "T-1"],
        "name": [None, "Tea"],
        "description": [None, " two\nlines"],
        "price": [None, "12.50"],
        "is_active": [None, False],
        "owner_id": [None, str(cast.alice.id)],
    }
    assert images[0] is None
    assert [(image["alt"], image["url"]) for image in images[1]] == [
        ("", "https://pics.example/a.png"),
        ("", "https://pics.example/b.png"),
    ]
    assert coffee.changes.keys() == {"external_id", "name", "description", "price", "owner_id"}
    assert (tea.line, coffee.line, tea.version, tea.label, tea.cells) == (2, 4, 0, "Tea", None)
    assert tea.row_id < coffee.row_id


REFUSALS = {
    "T-1,,1": "name: This field is required.",
    "T-2,Tea,": "price: Enter a number such as 12.50.",
    'T-3,Tea,"1,5"': "price: Use a point for decimals and no comma, such as 1250.50.",
    "T-4,Tea,1.005": "price: Use at most 2 decimals.",
    "T-5, ,-3": "name: This field is required. price: Enter a number greater than 0.",
    "T-6,Tea": "The row has 2 cells, the header has 3.",
    "T-7,Tea,100000000": "price: Enter a number below 100000000.",
    "T-8,T\x07,1": "name: This text contains control characters. Remove them and try again.",
    f"{'x' * 256},Tea,1": "external_id: Use at most 255 characters.",
    "T-2,Good again,1": "external_id: It is in line 3 of this file already.",
}


async def test_bad_rows_are_refused_with_what_the_form_would_say_and_hold_up_no_other(
    database: Database, cast: Cast
) -> None:
    lines = [*REFUSALS, "G-1,Good,2"]
    import_, rows = await checked(database, cast.alice, "\n".join(["external_id,name,price", *lines]))
    assert [row.reason for row in rows] == [*REFUSALS.values(), ""]
    assert [row.verdict for row in rows] == [REFUSED] * len(REFUSALS) + [CREATE]
    assert all((row.row_id, row.version, row.changes) == (None, None, {}) for row in rows[:-1])
    assert rows[2].cells == ["T-3", "Tea", "1,5"]
    assert (rows[5].cells, rows[5].label, rows[6].label) == (["T-6", "Tea"], "", "Tea")
    # One reason, whatever line it names.
    assert import_.reasons == {
        reason.replace("in line 3 of", "in an earlier line of"): 1 for reason in REFUSALS.values()
    }


@pytest.mark.parametrize("price", ["1e2", "1_000", "\uff11\uff12", "١٢", "+5", "NaN", "1 0"])
def test_a_price_is_written_in_plain_digits(price: str) -> None:
    with pytest.raises(ValidationError, match=r"Enter a number such as 12\.50\."):
        ProductRow.model_validate({"price": price})


async def test_rows_are_found_by_external_id_or_id_and_compared_with_what_is_there(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    mine = await make_product(cast.alice, name="Tea", description="Green", price=Decimal("1.50"))
    same = await make_product(cast.alice, name="Same", price=Decimal(2))
    theirs = await make_product(cast.bob, name="Theirs")
    gone = await make_product(cast.alice, name="Gone")
    async with database.transaction() as session:
        for product, external_id in ((mine, "M"), (same, "S"), (theirs, "T")):
            await session.execute(
                update(Product).where(Product.id == product.id).values(external_id=external_id)
            )
        await session.execute(
            update(Product).where(Product.id == gone.id).values(external_id="G", deleted_at=gone.created_at)
        )
    by_external_id = (
        "external_id,name,description,price,is_active\n"
        "M,Tea,,9.00,\n"  # a description is emptied; of the state nothing is said
        "S,Same,,2,yes\n"
        "T,Stolen,,1,yes\n"
        "G,New one,,1,yes\n"  # what lies in the bin is not there
        "M,Again,,1,yes\n"
    )
    import_, rows = await checked(database, cast.alice, by_external_id)
    assert [told(row) for row in rows] == [
        (UPDATE, {"price": ["1.50", "9.00"], "description": ["Green", ""]}),
        (UNCHANGED, {}),
        (REFUSED, "external_id: A product of somebody else has it."),
        (CREATE, rows[3].changes),
        (REFUSED, "external_id: It is in line 2 of this file already."),
    ]
    assert (rows[0].row_id, rows[0].version, rows[0].label) == (mine.id, 1, "Tea")
    counts = (import_.to_create, import_.to_update, import_.unchanged, import_.refused)
    assert counts == (1, 1, 1, 2)

    by_id = (
        "id,price,external_id\n"
        f"{str(mine.id).upper()},1.50,\n"  # an empty external id leaves it alone
        f"{theirs.id},5,\n{gone.id},5,\n{uuid4()},5,\n"  # one sentence for all of them
        f"{same.id},2,M\n"
        f"{mine.id},7,\n"
        "nonsense,7,\n"
        ",7,\n"
    )
    _, rows = await checked(database, cast.alice, by_id)
    no_such = (REFUSED, "There is no such product.")
    assert [told(row) for row in rows] == [
        (UNCHANGED, {}),
        *[no_such] * 3,
        (REFUSED, "external_id: Another product has it already."),
        (REFUSED, "id: It is in line 2 of this file already."),
        (REFUSED, "id: This is not a valid id."),
        (REFUSED, "name: This field is required."),
    ]
    _, rows = await checked(database, cast.root, by_id)
    assert told(rows[1]) == (UPDATE, {"price": ["0.99", "5.00"]})


async def test_owners_are_as_the_rules_of_ownership_have_them(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == cast.bob.id).values(is_active=False))
    mine, bobs = await make_product(cast.alice), await make_product(cast.bob)
    lines = [
        f"{mine.id},Balls to the Wall,0.99,{ALICE.upper()}",
        f"{mine.id},Balls to the Wall,0.99,root@demo.example",
        ",New,1,",
        ",New,1,nobody@demo.example",
        ",New,1,sam@demo.example",
        ",New,1,bob@demo.example",
    ]
    for actor, expected in (
        (
            cast.alice,
            [
                (UNCHANGED, {}),
                (REFUSED, "id: It is in line 2 of this file already."),
                (CREATE, str(cast.alice.id)),
                *[(REFUSED, "owner_email: Only superusers may choose who owns a product.")] * 3,
            ],
        ),
        (
            cast.root,
            [
                (UNCHANGED, {}),
                (REFUSED, "id: It is in line 2 of this file already."),
                (CREATE, str(cast.root.id)),
                (REFUSED, "owner_email: Nobody has the e-mail nobody@demo.example."),
                (
                    REFUSED,
                    "owner_email: sam@demo.example has the role support and cannot own products.",
                ),
                (REFUSED, "owner_email: bob@demo.example is not active and cannot own products."),
            ],
        ),
    ):
        content = "\n".join(["id,name,price,owner_email", *lines])
        _, rows = await checked(database, actor, content)
        assert [
            (verdict, what["owner_id"][1] if verdict is CREATE else what) for verdict, what in map(told, rows)
        ] == expected
    given_away = f"id,owner_email\n{mine.id},root@demo.example\n{bobs.id},bob@demo.example\n"
    _, rows = await checked(database, cast.root, given_away)
    assert [told(row) for row in rows] == [
        (UPDATE, {"owner_id": [str(cast.alice.id), str(cast.root.id)]}),
        (UNCHANGED, {}),  # who cannot own any more keeps what is theirs
    ]
    _, rows = await checked(database, cast.alice, given_away)
    assert [told(row) for row in rows] == [
        (REFUSED, "owner_email: Only superusers may choose who owns a product."),
        (REFUSED, "There is no such product."),
    ]


async def test_the_installation_itself_needs_an_owner_for_what_is_new(database: Database, cast: Cast) -> None:
    system = Actor.system(Source.IMPORT)
    _, rows = await checked(database, system, f"name,price,owner_email\nTea,1,{ALICE}\nTea,2,\n", "")
    assert [told(row)[0] for row in rows] == [CREATE, REFUSED]
    assert rows[1].reason == "owner_email: This field is required."
    _, rows = await checked(
        database, system, "name,price\nTea,1\n", "", constants={"owner_email": "BOB@demo.example"}
    )
    assert rows[0].changes["owner_id"] == [None, str(cast.bob.id)]


async def test_without_a_key_the_same_file_twice_duplicates_nothing(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    teas = [
        await make_product(cast.alice, name="Tëa", description="Green", price=Decimal(price))
        for price in (1, 2, 3)
    ]
    await make_product(cast.bob, name="Mint", price=Decimal(1))
    lines = "Tëa,Green,1\nTëa,Green,2\nTëa,Green,1\nTëa,Green,1\nTëa,,1\nTEA,Green,1\nMint,,1\n"
    _, rows = await checked(database, cast.alice, f"name,description,price\n{lines}", "")
    assert [row.verdict for row in rows] == [UNCHANGED, UNCHANGED, REFUSED, *[CREATE] * 4]
    assert [row.row_id for row in rows[:2]] == [tea.id for tea in teas[:2]]
    assert rows[2].reason.startswith("There is such a product already, and something of it is different.")


async def test_long_cells_are_neither_held_together_nor_kept_whole(
    database: Database, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill, chunks = staging.fill, []

    async def filled(session: AsyncSession, rows: Sequence[staging.StagedRow]) -> None:
        chunks.append(len(rows))
        await fill(session, rows)

    monkeypatch.setattr(staging, "fill", filled)
    monkeypatch.setattr(checking, "CHUNK_CHARACTERS", 50_000)
    long = "x" * 40_000
    lines = [f"Tea,1,{long}", f"Tea,1,{long}", "Tea,1,", "Tea,1,"]
    _, rows = await checked(database, cast.alice, "\n".join(["name,price,description", *lines]), "")
    assert chunks == [2, 2]
    assert [row.verdict for row in rows] == [REFUSED, REFUSED, CREATE, CREATE]
    assert rows[0].cells == ["Tea", "1", "x" * checking.KEPT_CHARACTERS]
    assert checking.KEPT_CHARACTERS > MAX_DESCRIPTION_LENGTH


async def test_pictures_a_product_has_from_the_same_addresses_are_kept(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    async with database.transaction() as session:
        kept = ProductImage(
            state=ImageState.READY, url="https://pics.example/a", original="o", product_id=product.id
        )
        session.add(kept)
        await session.flush()
        images = [{"id": str(kept.id), "alt": "Ours"}]
        await session.execute(update(Product).where(Product.id == product.id).values(images=images))
    lines = [
        "https://pics.example/a",
        "",
        "https://pics.example/b https://pics.example/a https://pics.example/b",
        "ftp://pics.example/a",
        " ".join(f"https://pics.example/{number}" for number in range(13)),
    ]
    found = []
    for line in lines:
        _, rows = await checked(database, cast.alice, f"id,pictures\n{product.id},{line}\n")
        found += rows
    assert [row.verdict for row in found] == [UNCHANGED, UNCHANGED, UPDATE, REFUSED, REFUSED]
    old, new = found[2].changes["images"]
    assert old == images
    assert new[1] == images[0]
    assert (new[0]["url"], len(new)) == ("https://pics.example/b", 2)
    assert found[3].reason.startswith("images: ftp://pics.example/a: Give an address that begins with http")
    assert found[4].reason == "images: A product has at most 12 pictures, and these are 13."


async def test_accounts_are_found_by_e_mail_and_nobody_changes_their_own(
    database: Database, cast: Cast
) -> None:
    content = (
        "E-mail,Name,Role,State\n"
        "ALICE@demo.example,Alice,Support,active\n"
        "bob@demo.example,Bob,administrator,\n"
        "new@demo.example,New,SUPERUSER,inactive\n"
        "root@demo.example,Root,superuser,active\n"
        "new@DEMO.example,New,support,\n"
        "no address,,boss,maybe\n"
    )
    _, rows = await checked(database, cast.root, content, kind="user")
    assert [told(row) for row in rows[:5]] == [
        (UPDATE, {"role": ["administrator", "support"]}),
        (UNCHANGED, {}),
        (
            CREATE,
            {
                "email": [None, "new@demo.example"],
                "name": [None, "New"],
                "role": [None, "superuser"],
                "is_active": [None, False],
            },
        ),
        (UNCHANGED, {}),
        (REFUSED, "email: It is in line 4 of this file already."),
    ]
    assert rows[5].reason == (
        "email: An email address must have an @-sign. name: This field is required. "
        "role: Choose one of: superuser, administrator or support. "
        "is_active: Write active or inactive, yes or no."
    )
    by_id = (
        f"id,email\n{cast.alice.id},bob@demo.example\n{cast.root.id},boss@demo.example\n{uuid4()},x@y.example"
    )
    _, rows = await checked(database, cast.root, by_id, "id", kind="user")
    assert [row.reason for row in rows] == [
        "email: Somebody already has this e-mail address.",
        "This is you. An import does not change your own account.",
        "There is no such account.",
    ]
    async with database.reading() as session:
        assert len((await session.scalars(select(User.id))).all()) == 4
