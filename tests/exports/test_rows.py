"""An export has what its list shows, in every format, whatever is asked of it."""

import io
from decimal import Decimal
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import literal, update

from admin_app import audit
from admin_app.actor import Actor
from admin_app.admin.history import told
from admin_app.admin.operations import outcome_text, state_text
from admin_app.bulk.models import BulkOperation, State
from admin_app.bulk.service import OperationService
from admin_app.database import Database
from admin_app.domains import EXPORTABLE
from admin_app.domains.activity.service import ActivityService
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductUpdate
from admin_app.domains.products.service import ProductService
from admin_app.errors import ProofRequired
from admin_app.exports.exportable import ExportColumn
from admin_app.exports.models import Format
from admin_app.exports.workbook import Workbook
from admin_app.formula_cells import restore
from tests.conftest import Cast, MakeProduct
from tests.exports.asking import asked, cells, objects, streamed, written

HOSTILE = [
    "=1+1",
    "+49 30",
    "-5",
    "@SUM(A1)",
    "\tTab",
    "'quoted'",
    "'=already",
    'say "hi", twice',
    "back\\slash \\. \\N",
    "100% _wild_ $1 {0}",
    "line\nbreak\r\nand more",
    "ü 日本 😀 \u2028",
    "\uff1dfull width",
    "\\.",
    "\x01\x02",
]


async def test_hostile_texts_come_out_of_every_format_as_they_went_in(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="x", description="y")
    for text in HOSTILE:
        async with database.transaction() as session:
            await session.execute(
                update(Product).where(Product.id == product.id).values(name=f"{text}!", description=text)
            )
        [[name, description]] = cells(
            await streamed(database, cast.sam, "product", Format.CSV, "name", "description")
        )
        assert (restore(name), restore(description)) == (f"{text}!", text)
        assert not description.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
        [line] = objects(
            await streamed(database, cast.sam, "product", Format.JSON_LINES, "name", "description")
        )
        assert line == {"name": f"{text}!", "description": text}


async def test_people_and_programs_get_what_they_can_read(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Teapot", price=Decimal("1200.50"), is_active=False)
    content = await streamed(database, cast.sam, "product", Format.CSV, *_names("product"))
    head, row = content.decode().splitlines()
    assert head == "\ufeffName,Description,Price,State,Owner,Created,Updated,External id,Id"
    created = f"{product.created_at:%Y-%m-%dT%H:%M:%S}Z"
    assert row == f'Teapot,"",1200.50,Inactive,alice@demo.example,{created},{created},,{product.id}'
    [line] = objects(await streamed(database, cast.sam, "product", Format.JSON_LINES, *_names("product")))
    moment = f"{product.created_at:%Y-%m-%dT%H:%M:%S.%f}Z"
    assert line == {
        "name": "Teapot",
        "description": "",
        "price": "1200.50",
        "is_active": False,
        "owner_email": "alice@demo.example",
        "created_at": moment,
        "updated_at": moment,
        "external_id": None,
        "id": str(product.id),
    }


async def test_a_workbook_has_numbers_and_dates_and_no_formulas(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    products = [
        await make_product(cast.alice, name=text, price=Decimal("12.50")) for text in ("=1+1", "Teapot")
    ]
    request = await asked(
        database,
        cast.sam,
        "product",
        Format.EXCEL,
        ["name", "price", "created_at", "id"],
        sortBy="created_at",
        sort="asc",
    )
    export, content = await written(database, cast.sam, request)
    assert (export.rows, export.size_bytes) == (2, len(content or b""))
    book = CalamineWorkbook.from_filelike(io.BytesIO(content or b""))
    [sheet] = book.sheet_names
    head, *rows = book.get_sheet_by_name(sheet).to_python()
    assert head == ["Name", "Price", "Created", "Id"]
    expected = [product.created_at.replace(microsecond=0, tzinfo=None) for product in products]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("=1+1", 12.5, str(products[0].id)),
        ("Teapot", 12.5, str(products[1].id)),
    ]
    assert [row[2].replace(microsecond=0) for row in rows] == expected


@pytest.mark.parametrize("kind", ["product", "user", "operation", "activity"])
async def test_every_condition_and_order_gives_the_rows_of_the_list(
    database: Database, cast: Cast, make_product: MakeProduct, kind: str
) -> None:
    products = [
        await make_product(
            cast.alice, name=f"Tea {number}", description='50% \\ o\'clock "x" $1', price=number
        )
        for number in (3, 1, 2)
    ]
    async with database.transaction() as session:
        await ProductService(session, cast.alice).update(products[0].id, ProductUpdate(price=Decimal(5)))
        session.add_all(_operation(cast.alice, number) for number in range(3))
    service = EXPORTABLE[kind]
    choices = [(item.name, value) for item in service.listing.filters for value, _ in item.choices]
    others = {
        "person": ["alice", "alice@demo.example", "o'x\\%\"$1", "nobody"],
        "text": ["o'x\\%\"$1"],
        "date": ["2026-01-01", "2900-01-01"],
        "price": ["2", "9999999999.99"],
    }
    choices += [(item.name, value) for item in service.listing.filters for value in others.get(item.kind, [])]
    searches = [str(products[0].id)]
    if kind != "activity":
        searches += [
            "tea",
            "alice",
            '"50% \\ o\'clock"',
            '"x',
            "$1 %",
            "_",
            "\\",
            str(products[0].id)[:9],
            "#1 2",
        ]
    asked_for = [{}, *({name: value} for name, value in choices), *({"search": text} for text in searches)]
    asked_for += [{"sortBy": name, "sort": way} for name in service.listing.sorts for way in ("asc", "desc")]
    for actor in (cast.root, cast.alice):
        for conditions in asked_for:
            async with database.reading() as session:
                query = service.listing.parse([*conditions.items(), ("pageSize", "250")])
                shown = [str(row.id) for row in (await service(session, actor).page(query)).rows]
            exported = cells(await streamed(database, actor, kind, Format.CSV, "id", **conditions))
            assert [row[0] for row in exported] == shown, (actor.label, conditions)


async def test_the_history_and_operations_are_told_as_on_the_screen(
    database: Database, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Teapot")
    async with database.transaction() as session:
        service = ProductService(session, cast.alice)
        await service.update(product.id, ProductUpdate(price=Decimal(5), is_active=False))
        await ActivityService(session, cast.bob).note_refusal(product, "edit")
        audit.note(session, cast.root, "signed in", Product, "from there")
        audit.note(session, cast.root, "exported", BulkOperation, "3 rows as CSV")
        audit.note(session, cast.root, "something new", Product)
        await service.delete(product.id)
        session.add_all(_operation(cast.alice, number) for number in range(4))
    lines = cells(await streamed(database, cast.root, "activity", Format.CSV, "what", "source", "changes"))
    async with database.reading() as session:
        activity = ActivityService(session, cast.root)
        # The newest entry is about this export, and was not there yet.
        _, *entries = [told(row) for row in (await activity.page(activity.listing.parse([]))).rows]
        assert [(entry.title, entry.where) for entry in entries] == [(line[0], line[1]) for line in lines]
        shown = {entry.title: line[2] for entry, line in zip(entries, lines, strict=True)}
        assert shown["Changed product “Teapot”"] == "Price 0.99 → 5.00, State Active → Inactive"
        assert shown["Exported operations"] == "3 rows as CSV"
        operations = OperationService(session, cast.root)
        rows = (await operations.page(operations.listing.parse([]))).rows
    lines = cells(
        await streamed(database, cast.root, "operation", Format.CSV, "label", "selection", "state", "outcome")
    )
    assert lines == [
        [
            f"#{row.number} {row.label}",
            f"{row.kind.capitalize()} · {row.selection}",
            state_text(row)[0],
            outcome_text(row),
        ]
        for row in rows
    ]


async def test_accounts_need_a_proof_and_hold_no_secret(database: Database, cast: Cast) -> None:
    assert not {"password_hash", "password"} & set(_names("user"))
    unproved = Actor(cast.root.id, cast.root.role, cast.root.label, needs_proof=True)
    with pytest.raises(ProofRequired):
        await streamed(database, unproved, "user", Format.CSV)
    own = cells(await streamed(database, cast.alice, "user", Format.CSV, "email", "role", "is_active"))
    assert own == [["alice@demo.example", "Administrator", "Active"]]


def _names(kind: str) -> list[str]:
    return [column.name for column in EXPORTABLE[kind].export_columns]


def _operation(actor: Actor, number: int) -> BulkOperation:
    states = (State.FINISHED, State.CANCELLED, State.RUNNING, State.WAITING)
    return BulkOperation(
        kind="product",
        action="set_price",
        label="Set price",
        selection="=search “50%”",
        actor_id=actor.id,
        actor_label=actor.label,
        request_id=actor.request_id,
        state=states[number],
        total=1000 * number,
        done=1000 * number,
        failed=number % 2,
    )


def test_a_workbook_gives_every_text_back(tmp_path: Path) -> None:
    texts = ["_x0041_", "_x005F_x0041_", "_x0041_x0042_", "__x000D__", "_x41_", "<r>&</r>", "<r><t>a</t></r>"]
    texts += ["a\rb", "a\nb", " a ", "\x01", "\t=1", "&amp;<", "😀", "'=1"]
    column = ExportColumn("name", "Name", literal(""), is_typed=True)
    book = Workbook(tmp_path / "texts.xlsx", "texts", [column])
    book.write([(text,) for text in texts])
    book.finish()
    _, *rows = CalamineWorkbook.from_path(tmp_path / "texts.xlsx").get_sheet_by_index(0).to_python()
    assert [row[0] for row in rows] == texts
