"""The search of the product list, complete at once."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from admin_app.actor import Actor
from admin_app.database import Database
from admin_app.domains.products.models import SEARCH_TEXT, Product
from admin_app.domains.products.repository import ProductRepository
from admin_app.search import contains, is_short
from tests.conftest import Cast, MakeProduct

TEXT = st.text(st.characters(min_codepoint=0x21, exclude_categories=("Cs", "Zs", "Zl", "Zp")), min_size=1)


async def found(database: Database, words: str) -> set[str]:
    """Names the list's search finds."""
    async with database.reading() as session:
        rows = await ProductRepository(session, Actor.system()).search(words, 100)
        return {row.name for row in rows}


LIVE_INDEXES = {
    str(index.name)
    for index in Product.__table__.indexes
    if index.dialect_options["postgresql"]["where"] is not None and index.name != "ix_products_search_text"
}


class TestList:
    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("motörhead", {"Motörhead – Overkill"}),
            ("MOTORHEAD", {"Motörhead – Overkill"}),
            ("overkill motor", {"Motörhead – Overkill"}),
            ("overkill absent", set()),
            ("verk", {"Motörhead – Overkill"}),
            ("100%", {"100% Pure"}),
            ("%", {"100% Pure", "Full ％ width"}),
            ("_", {"snake_case"}),
            ("snakeXcase", set()),
            ("\\", {"back\\slash"}),
            ('"pure 100%"', set()),
            ("“100% pure”", {"100% Pure"}),
            ("„pure 100%“", set()),
            ("ˆ", set()),
            ('"100% pure"', {"100% Pure"}),
            ("'", {"Don't"}),
            ("vinyl", {"Don't"}),
            ("bob@demo", {"snake_case"}),
            ("bob snake", {"snake_case"}),
            ("bob pure", set()),
            ("½", {"½ Speed"}),
        ],
    )
    async def test_every_word_must_be_somewhere_and_means_itself(
        self, words: str, expected: set[str], cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        for name in ("Motörhead – Overkill", "100% Pure", "Full ％ width", "back\\slash", "½ Speed"):
            await make_product(cast.alice, name=name)
        await make_product(cast.alice, name="Don't", description="Limited VINYL edition")
        await make_product(cast.bob, name="snake_case")
        assert await found(database, words) == expected

    @pytest.mark.parametrize("word", ["io", "z", "42", "é", "wireless", "50%", "O'Neill"])
    async def test_a_word_is_looked_up_in_the_index(self, word: str, database: Database) -> None:
        statement = select(Product.id).where(contains(SEARCH_TEXT, word), Product.deleted_at.is_(None))
        async with database.reading() as session:
            # In a table without rows, any index over the living ones would do: here only, there is but this.
            await session.execute(text("DROP INDEX " + ", ".join(sorted(LIVE_INDEXES))))
            await session.execute(text("SET LOCAL enable_seqscan = off"))
            await session.execute(text("SET LOCAL enable_indexscan = off"))
            compiled = statement.compile(dialect=dialect(), compile_kwargs={"literal_binds": True})
            explain = text(f"EXPLAIN {compiled}".replace(":", "\\:"))
            plan = "\n".join(await session.scalars(explain))
        assert "Bitmap Index Scan on ix_products_search_text" in plan, plan

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("io", {"Io speaker", "(io)", "x-io"}),
            ("IO", {"Io speaker", "(io)", "x-io"}),
            ("ra", {"Radio"}),
            ("i sp", {"Io speaker"}),
            ("él", {"Élan"}),
            ("ad", set()),
            ("日本", {"新日本語"}),
        ],
    )
    async def test_one_or_two_letters_match_beginnings_of_words(
        self, words: str, expected: set[str], cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        for name in ("Io speaker", "(io)", "x-io", "Radio", "Élan", "新日本語"):
            await make_product(cast.alice, name=name)
        assert await found(database, words) == expected

    async def test_the_start_of_an_id_finds_its_row_or_what_holds_it_as_a_word(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        product = await make_product(cast.alice, name="Sought")
        row_id = str(product.id)
        # The first 8 digits are the time to a minute, so another row is told apart by more of them.
        await make_product(cast.alice, name=f"Spare part {row_id[:8]}")
        both = {"Sought", f"Spare part {row_id[:8]}"}
        assert await found(database, row_id[:8]) == both
        for start in (row_id[:23], row_id[:23].upper(), f" {row_id[:30]} ", row_id.replace("-", "")):
            assert await found(database, start) == {"Sought"}
        for other in (row_id[:7], row_id[:18].replace("-", "_"), f"{row_id}0", row_id[:14] + "x"):
            assert "Sought" not in await found(database, other)

    @pytest.mark.parametrize("words", ["", "  ", '""', '"'])
    async def test_no_words_leave_the_list_as_it_is(
        self, words: str, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        product = await make_product(cast.alice)
        assert await found(database, words) == {product.name}

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(name=TEXT.filter(lambda text: len(text) <= 40), data=st.data())
    @example(name="％", data=None)
    @example(name="a＼_b", data=None)
    async def test_any_piece_of_a_name_finds_it(
        self, database: Database, cast: Cast, name: str, data: st.DataObject | None
    ) -> None:
        start = data.draw(st.integers(0, len(name) - 1)) if data else 0
        piece = name[start : start + data.draw(st.integers(1, 10))] if data else name
        assume(not set('"“”„«»') & set(piece) and piece.strip() and not any(map(str.isspace, piece)))
        assume(not is_short(piece))  # looked for at the beginning of words only
        async with database.reading() as session:
            product = Product(name=f"x{name}x", price=Decimal(1), owner_id=cast.alice.id)
            session.add(product)
            await session.flush()
            rows = await ProductRepository(session, cast.alice).search(piece, 10)
            assert product.id in {row.id for row in rows}

    async def test_price_range_includes_both_ends_cheapest_first(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        for price in ("9.99", "10.00", "10.01", "20.00", "20.01"):
            await make_product(cast.alice, price=price)
        async with database.reading() as session:
            repository = ProductRepository(session, cast.sam)
            rows = await repository.get_price_range(Decimal(10), Decimal(20))
            assert [str(row.price) for row in rows] == ["10.00", "10.01", "20.00"]
            assert await repository.get_price_range(Decimal(20), Decimal(10)) == []

    async def test_the_newest_come_first_up_to_the_limit(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        rows = [await make_product(cast.alice) for _ in range(4)]
        async with database.reading() as session:
            newest = await ProductRepository(session, cast.sam).search("balls", 2)
        assert [row.id for row in newest] == [rows[3].id, rows[2].id]
