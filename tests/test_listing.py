"""Lists: keyset pages against the full order, forged cursors, and every query a URL can ask for."""

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Text, delete, func, insert, select, text
from sqlalchemy import cast as cast_
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import listing
from admin_app.actor import Role
from admin_app.database import Database, limit_time
from admin_app.domains.products.models import Product
from admin_app.domains.products.repository import LISTING as PRODUCTS
from admin_app.domains.products.repository import ProductRepository
from admin_app.domains.users.models import User
from admin_app.domains.users.repository import LISTING as USERS
from admin_app.errors import TooSlow
from admin_app.keyset import Cursor
from admin_app.listing import PAGE_SIZES, BadQuery, Count, Listing, ListQuery, Page
from tests.conftest import Cast, MakeProduct

WITH_DATABASE = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

MOMENTS = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)] + [
    datetime(2026, 1, 3, 0, 0, 0, 1, tzinfo=UTC)
]
PEOPLE = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["Ann", "ann", "Ánn", "Bob", "Ölaf", "100%", "_", "\\"]),
        "role": st.sampled_from(Role),
        "created_at": st.sampled_from(MOMENTS),
        "last_sign_in_at": st.sampled_from([None, *MOMENTS]),
    }
)
"""Few different values, so that there are many ties, and NULLs."""

GOODS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["Ann", "ann", "Ánn", "Bob", "Ölaf"]),
        "price": st.sampled_from([Decimal("0.99"), Decimal("1.00"), Decimal("10.00")]),
        "is_active": st.booleans(),
        "created_at": st.sampled_from(MOMENTS),
        "updated_at": st.sampled_from(MOMENTS),
    }
)


async def add_people(session: AsyncSession, people: Sequence[dict[str, Any]]) -> None:
    if people:
        unique = [{**person, "email": f"{uuid4()}@demo.example", "password_hash": "!"} for person in people]
        await session.execute(insert(User), unique)


async def in_order(session: AsyncSession, query: ListQuery) -> list[UUID]:
    """The ids of the whole list, in its order."""
    key = USERS.sorts[query.sort]
    statement = select(User.id).where(*USERS.conditions(query))
    order = (key.desc(), User.id.desc()) if query.descending else (key.asc(), User.id.asc())
    return list(await session.scalars(statement.order_by(*order)))


async def page(session: AsyncSession, query: ListQuery) -> Page:
    return await USERS.page(session, select(User.__table__), query)


def through_a_link(one: Listing[Any], query: ListQuery, cursor: Cursor | str) -> ListQuery:
    """The query of the page a link with this cursor leads to; the link is written and read again."""
    parameters = [("sortBy", query.sort), ("sort", "desc" if query.descending else "asc")]
    parameters += [("search", query.search), *query.filters.items()]
    parameters += [("cursor", one.encode(cursor, query))]
    parsed = one.parse(parameters)
    assert parsed.cursor == cursor
    return replace(parsed, size=query.size)


async def walk(session: AsyncSession, query: ListQuery) -> list[UUID]:
    """The ids of all pages from this one on, as somebody sees them who follows the links."""
    backwards = query.cursor == "last"
    seen: list[UUID] = []
    while True:
        found = await page(session, query)
        ids = [row.id for row in found.rows]
        assert len(ids) <= query.size
        seen = ids + seen if backwards else seen + ids
        cursor = found.previous if backwards else found.next
        if cursor is None:
            return seen
        assert len(ids) == query.size
        query = through_a_link(USERS, query, cursor)


class TestPages:
    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("sort", USERS.sorts)
    @WITH_DATABASE
    @given(people=st.lists(PEOPLE, max_size=12), size=st.integers(1, 5))
    async def test_walking_forwards_or_backwards_shows_every_row_once_in_order(
        self, database: Database, sort: str, descending: bool, people: list[dict[str, Any]], size: int
    ) -> None:
        async with database.reading() as session:
            await add_people(session, people)
            query = ListQuery(sort, descending, size=size)
            expected = await in_order(session, query)
            assert await walk(session, query) == expected
            assert await walk(session, replace(query, cursor="last")) == expected

    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("sort", PRODUCTS.sorts)
    @WITH_DATABASE
    @given(goods=st.lists(GOODS, max_size=10), size=st.integers(1, 4))
    async def test_products_too(
        self,
        database: Database,
        cast: Cast,
        sort: str,
        descending: bool,
        goods: list[dict[str, Any]],
        size: int,
    ) -> None:
        key = PRODUCTS.sorts[sort]
        order = (key.desc(), Product.id.desc()) if descending else (key.asc(), Product.id.asc())
        async with database.reading() as session:
            if goods:
                await session.execute(insert(Product), [{**row, "owner_id": cast.alice.id} for row in goods])
            expected = list(await session.scalars(select(Product.id).order_by(*order)))
            repository = ProductRepository(session, cast.bob)
            seen: list[UUID] = []
            query: ListQuery | None = ListQuery(sort, descending, size=size)
            while query:
                found = await repository.page(query)
                seen += [row.id for row in found.rows]
                query = through_a_link(PRODUCTS, query, found.next) if found.next else None
            assert seen == expected

    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("sort", USERS.sorts)
    @WITH_DATABASE
    @given(
        people=st.lists(PEOPLE, min_size=4, max_size=12),
        size=st.integers(1, 4),
        # Drawn beforehand: how many pages there are depends on ids, which no seed repeats.
        changes=st.lists(
            st.tuples(st.lists(st.integers(0, 11), max_size=2), st.lists(PEOPLE, max_size=2)), max_size=6
        ),
    )
    async def test_rows_that_come_and_go_between_pages_neither_repeat_nor_hide_others(
        self,
        database: Database,
        sort: str,
        descending: bool,
        people: list[dict[str, Any]],
        size: int,
        changes: list[tuple[list[int], list[dict[str, Any]]]],
    ) -> None:
        async with database.reading() as session:
            await add_people(session, people)
            query: ListQuery | None = ListQuery(sort, descending, size=size)
            staying = set(await in_order(session, query))
            waiting = iter(changes)
            seen: list[UUID] = []
            while query:
                found = await page(session, query)
                seen += [row.id for row in found.rows]
                query = through_a_link(USERS, query, found.next) if found.next else None
                places, coming = next(waiting, ([], []))
                candidates = sorted(staying)
                going = [candidates[place] for place in places if place < len(candidates)]
                await session.execute(delete(User).where(User.id.in_(going)))
                staying -= set(going)
                await add_people(session, coming)
            assert len(seen) == len(set(seen))
            assert staying <= set(seen)
            final = await in_order(session, ListQuery(sort, descending))
            assert [row_id for row_id in seen if row_id in staying] == [
                row_id for row_id in final if row_id in staying
            ]

    async def test_nulls_come_last_upwards_and_first_downwards(self, database: Database) -> None:
        async with database.reading() as session:
            base = {"name": "Ann", "role": Role.SUPPORT}
            for moment in (MOMENTS[1], None, MOMENTS[0]):
                await add_people(session, [{**base, "last_sign_in_at": moment}])
            shown = {}
            for descending in (False, True):
                query = ListQuery("last_sign_in_at", descending)
                shown[descending] = [row.last_sign_in_at for row in (await page(session, query)).rows]
        assert shown == {
            False: [MOMENTS[0], MOMENTS[1], None],
            True: [None, MOMENTS[1], MOMENTS[0]],
        }

    async def test_pages_link_to_their_neighbours_and_nowhere_else(self, database: Database) -> None:
        async with database.reading() as session:
            await add_people(session, [{"name": name, "role": Role.SUPPORT} for name in "abcde"])
            query = ListQuery("name", descending=False, size=2)
            first = await page(session, query)
            second = await page(session, replace(query, cursor=first.next))
            third = await page(session, replace(query, cursor=second.next))
            again = await page(session, replace(query, cursor=second.previous))
            last = await page(session, replace(query, cursor="last"))
        names = [[row.name for row in found.rows] for found in (first, second, third, again, last)]
        assert names == [["a", "b"], ["c", "d"], ["e"], ["a", "b"], ["d", "e"]]
        assert (first.previous, third.next, again.previous, last.next) == (None, None, None, None)
        for found in (second, last):
            assert found.previous is not None
        for found in (first, second, again):
            assert found.next is not None
        assert third.previous is not None

    async def test_an_empty_list_has_one_empty_page(self, database: Database) -> None:
        async with database.reading() as session:
            for cursor in (None, "last"):
                found = await page(session, ListQuery("name", descending=False, cursor=cursor))
                assert found == Page([], Count(0, is_exact=True), previous=None, next=None)

    async def test_a_page_takes_one_statement(self, database: Database, statements: list[str]) -> None:
        async with database.reading() as session:
            await page(session, ListQuery("name", descending=False, search="ann bob"))
        assert len(statements) == 1

    @pytest.mark.parametrize(("limit", "is_exact"), [(2, False), (3, False), (4, True), (5, True)])
    async def test_the_count_is_exact_up_to_a_limit(
        self,
        limit: int,
        is_exact: bool,
        cast: Cast,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(listing, "COUNT_LIMIT", limit)
        fresh = replace(USERS)  # what it counts by is made once
        async with database.reading() as session:
            await session.execute(text("ANALYZE users"))
            for cursor in (None, "last"):
                query = ListQuery("name", descending=False, cursor=cursor, size=1)
                found = await fresh.page(session, select(User.__table__), query)
                assert found.count is not None
                assert found.count.is_exact == is_exact
                assert found.count.number >= min(4, limit + 1)
                assert await USERS.count(session, select(User), query) == found.count
                exact = await USERS.count(session, select(User), query, exactly=True)
                assert exact == Count(4, is_exact=True)

    async def test_what_a_first_page_shows_whole_is_counted(self, cast: Cast, database: Database) -> None:
        async with database.reading() as session:
            found = await page(session, USERS.parse([("role", "administrator")]))
            assert found.count == Count(2, is_exact=True)
            assert len(found.rows) == 2

    async def test_other_conditions_are_counted_afterwards(self, cast: Cast, database: Database) -> None:
        async with database.reading() as session:
            query = replace(USERS.parse([("role", "administrator")]), size=1)
            assert (await page(session, query)).count is None
            assert await USERS.count(session, select(User), query) == Count(2, is_exact=True)
            scoped = select(User).where(User.email.like("alice%"))
            assert await USERS.count(session, scoped, query) == Count(1, is_exact=True)

    async def test_a_count_that_runs_out_of_time_is_an_estimate(
        self, cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow = replace(USERS, matches=lambda _: func.length(cast_(func.pg_sleep(5), Text)) >= 0)
        query = ListQuery("name", descending=False, search="x")
        async with database.reading() as session:
            await limit_time(session, 0.2)
            count = await slow.count(session, select(User), query)
            assert not count.is_exact
        async with database.reading() as session:
            await limit_time(session, 0.2)
            with pytest.raises(TooSlow):
                await slow.count(session, select(User), query, exactly=True)

    async def test_facets_count_every_choice_with_the_other_conditions_kept(
        self, cast: Cast, database: Database
    ) -> None:
        query = USERS.parse([("role", "support"), ("search", "demo")])
        async with database.reading() as session:
            found = await USERS.facets(session, select(User), query)
        numbers = {name: {value: count.number for value, count in of.items()} for name, of in found.items()}
        assert numbers["role"] == {"support": 1, "administrator": 2, "superuser": 1}
        assert numbers["is_active"] == {"yes": 1, "no": 0}
        assert numbers["created"] == {"today": 1, "7d": 1, "month": 1}

    async def test_facets_that_take_too_long_are_left_out(
        self, cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow = replace(USERS, matches=lambda _: func.length(cast_(func.pg_sleep(5), Text)) >= 0)
        started = time.monotonic()
        async with database.reading() as session:
            query = ListQuery("name", descending=False, search="x")
            found = await slow.facets(session, select(User), query)
        assert time.monotonic() - started < 3
        assert len([count for of in found.values() for count in of.values()]) < 9


class TestCursors:
    def cursor(self, query: ListQuery, value: Any, row_id: Any = None, direction: Any = "after") -> str:
        """A forged one: whoever can read this code can make the fingerprint."""
        text = json.dumps([direction, value, row_id or str(uuid4()), query.fingerprint()])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @pytest.mark.parametrize(
        "other",
        [
            [("sortBy", "email")],
            [("sort", "desc")],
            [("search", "ann")],
            [("role", "support")],
            [("created_from", "2026-01-01")],
        ],
    )
    def test_a_cursor_of_another_order_or_other_conditions_is_refused(
        self, other: list[tuple[str, str]]
    ) -> None:
        query = USERS.parse([("sortBy", "name")])
        cursor = USERS.encode(Cursor("after", "ann", uuid4()), query)
        assert isinstance(USERS.parse([("sortBy", "name"), ("cursor", cursor)]).cursor, Cursor)
        parameters = dict([("sortBy", "name"), *other, ("cursor", cursor)])
        with pytest.raises(BadQuery, match="Start again"):
            USERS.parse(list(parameters.items()))

    def test_a_cursor_outlives_a_change_of_the_page_size(self) -> None:
        query = USERS.parse([("pageSize", "25")])
        cursor = USERS.encode(Cursor("after", "ann", uuid4()), query)
        assert USERS.parse([("pageSize", "100"), ("cursor", cursor)]).size == 100

    @given(text=st.text(st.characters(exclude_categories=()), min_size=1, max_size=80))
    @example(text="LAST")
    @example(text="=")
    @example(text="bnVsbA")
    @example(text="[" * 60)
    def test_any_other_text_is_refused(self, text: str) -> None:
        if text != "last":
            with pytest.raises(BadQuery):
                USERS.parse([("cursor", text)])

    @pytest.mark.parametrize("deep", [10_000, 200_000])
    def test_a_cursor_nested_very_deeply_is_refused(self, deep: int) -> None:
        with pytest.raises(BadQuery):
            USERS.parse([("cursor", base64.urlsafe_b64encode(b"[" * deep).decode())])

    @given(data=st.data())
    def test_a_cursor_cut_or_changed_anywhere_is_refused_or_means_the_same(self, data: st.DataObject) -> None:
        query = USERS.parse([])
        cursor = Cursor("after", "ann@demo.example", UUID(int=1))
        text = USERS.encode(cursor, query)
        at = data.draw(st.integers(0, len(text) - 1))
        changed = text[:at] + data.draw(st.sampled_from(["", "A", "x", "-", "é", " "])) + text[at + 1 :]
        try:
            parsed = USERS.parse([("cursor", changed)]).cursor
        except BadQuery:
            return
        assert isinstance(parsed, Cursor)

    @pytest.mark.parametrize("one", [USERS, PRODUCTS], ids=["users", "products"])
    @WITH_DATABASE
    @given(data=st.data())
    async def test_a_forged_value_is_refused_or_gives_a_page(
        self, database: Database, one: Listing[Any], data: st.DataObject
    ) -> None:
        sort = data.draw(st.sampled_from(sorted(one.sorts)))
        values = (
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(st.characters(exclude_categories=()))
            | st.datetimes().map(datetime.isoformat)
            | st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
            | st.decimals().map(str)
            | st.lists(st.integers())
            | st.dictionaries(st.text(), st.integers())
        )
        await self.is_refused_or_gives_a_page(database, one, sort, data.draw(values))

    @pytest.mark.parametrize("sort", ["name", "price", "is_active", "created_at"])
    @pytest.mark.parametrize(
        "value",
        [
            *("2026-01-01T00:00:00", "2026-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
            *("NaN", "sNaN", "Infinity", "1e999999", "-1e999999", "1e-999999", "9" * 5000, 10**4000),
            *("a\0b", "\ud800", "x" * 60_000, "yes", "", 1e308, True, None, [], {}),
        ],
        ids=lambda value: ascii(value)[:24] if not isinstance(value, int) else "integer",
    )
    async def test_known_traps_are_refused_or_give_a_page(
        self, database: Database, sort: str, value: Any
    ) -> None:
        await self.is_refused_or_gives_a_page(database, PRODUCTS, sort, value)

    async def is_refused_or_gives_a_page(
        self, database: Database, one: Listing[Any], sort: str, value: Any
    ) -> None:
        for direction in ("asc", "desc"):
            parameters = [("sortBy", sort), ("sort", direction)]
            cursor = self.cursor(one.parse(parameters), value)
            try:
                query = one.parse([*parameters, ("cursor", cursor)])
            except BadQuery:
                continue
            async with database.reading() as session:
                await one.page(session, select(one.model.id), query)

    @pytest.mark.parametrize("row_id", ["x", "1", 1, None, [], "\0", f"{UUID(int=1)}x"])
    @pytest.mark.parametrize("direction", ["after", "sideways", None, [], {}])
    def test_a_forged_id_or_direction_is_refused(self, row_id: Any, direction: Any) -> None:
        query = USERS.parse([])
        text = json.dumps([direction, "ann", row_id, query.fingerprint()])
        with pytest.raises(BadQuery):
            USERS.parse([("cursor", base64.urlsafe_b64encode(text.encode()).decode())])

    @pytest.mark.parametrize("decoded", [1, None, "text", [], [1, 2, 3], [1, 2, 3, 4, 5], {"a": 1}])
    def test_a_cursor_of_another_shape_is_refused(self, decoded: Any) -> None:
        with pytest.raises(BadQuery):
            USERS.parse([("cursor", base64.urlsafe_b64encode(json.dumps(decoded).encode()).decode())])


class TestQueries:
    def test_an_address_without_parameters_asks_for_the_first_page(self) -> None:
        query = PRODUCTS.parse([])
        assert query == ListQuery("created_at", descending=True)
        assert PRODUCTS.parse([("search", ""), ("is_active", ""), ("pageSize", ""), ("cursor", "")]) == query

    @pytest.mark.parametrize(
        ("parameters", "sentence"),
        [
            ([("color", "red")], "no filter named “color”"),
            ([("page", "1000000000")], "no filter named “page”"),
            ([("sortBy", "password_hash")], "cannot be sorted by “password_hash”"),
            ([("sortBy", "x" * 10_000)], "cannot be sorted by “x{40}”"),
            ([("sort", "sideways")], "asc or desc"),
            ([("pageSize", "7")], "one of 25, 50, 100, 250"),
            ([("pageSize", "1e9")], "one of 25, 50, 100, 250"),
            ([("pageSize", "-25")], "one of 25, 50, 100, 250"),
            ([("pageSize", "２５")], "one of 25, 50, 100, 250"),
            ([("is_active", "perhaps")], "State: choose one of yes, no"),
            ([("created_from", "yesterday")], "Created from: enter a date such as"),
            ([("created_to", "2026-02-30")], "Created to: enter a date such as"),
            ([("created_from", "0001-01-01")], "between the years 1900 and 2999"),
            ([("created_to", "9999-12-31")], "between the years 1900 and 2999"),
            ([("price_from", "cheap")], "Price from: enter a price such as 12.50"),
            ([("price_to", "-1")], "Price to: enter a price"),
            ([("price_to", "1e5")], "Price to: enter a price"),
            ([("price_from", "9" * 5_000)], "Price from: enter a price"),
            ([("price_from", "1.234")], "Price from: enter a price"),
            (
                [("price_from", "2"), ("price_to", "1.99")],
                "Price from: 2 is beyond the end of the range, 1.99",
            ),
            (
                [("created_from", "2026-01-02"), ("created_to", "2026-01-01")],
                "Created from: 2026-01-02 is beyond",
            ),
            ([("created", "tomorrow")], "Created: choose one of today, 7d, month"),
            ([("mine", "no")], "Whose: choose one of yes"),
            ([("search", "a " * 11)], "Search: use at most 10 words"),
            ([("columns", "name.password")], "no column named “name”"),
            ([("owner", "x" * 201)], "Owner: use at most 200 characters"),
            ([("owner", "a\0b")], "Owner: this text contains characters"),
            ([("search", "x" * 201)], "Search: use at most 200 characters"),
            ([("search", "a\0b")], "Search: this text contains characters"),
            ([("search", "\ud800")], "Search: this text contains characters"),
            ([("search", "a"), ("search", "b")], "“search” is given more than once"),
            ([("is_active", "yes"), ("is_active", "no")], "“is_active” is given more than once"),
        ],
    )
    def test_what_a_list_cannot_do_is_refused_with_a_sentence(
        self, parameters: list[tuple[str, str]], sentence: str
    ) -> None:
        with pytest.raises(BadQuery, match=sentence) as refused:
            PRODUCTS.parse(parameters)
        assert len(refused.value.message) < 200

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    ["search", "sortBy", "sort", "pageSize", "cursor", "is_active", "owner", "created_from"]
                )
                | st.text(max_size=5),
                st.text(st.characters(exclude_categories=()), max_size=20),
            ),
            max_size=4,
        )
    )
    def test_any_parameters_are_a_query_or_refused(self, parameters: list[tuple[str, str]]) -> None:
        try:
            query = PRODUCTS.parse(parameters)
        except BadQuery:
            return
        assert query.size in {None, *PAGE_SIZES}
        assert query.sort in PRODUCTS.sorts

    @given(
        query=st.builds(
            ListQuery,
            sort=st.sampled_from(sorted(USERS.sorts)),
            descending=st.booleans(),
            search=st.text(max_size=20).map(str.strip).filter(lambda text: "\0" not in text),
            filters=st.fixed_dictionaries(
                {},
                optional={
                    "role": st.sampled_from([role.value for role in Role]),
                    "is_active": st.sampled_from(["yes", "no"]),
                    "created_from": st.dates(datetime(1900, 1, 1).date(), datetime(2999, 1, 1).date()).map(
                        str
                    ),
                },
            ),
        ),
        row_id=st.uuids(),
        direction=st.sampled_from(["after", "before"]),
        moment=st.datetimes(datetime(1900, 1, 1), datetime(2999, 1, 1)).map(
            lambda moment: moment.replace(tzinfo=UTC)
        ),
        name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=255),
        role=st.sampled_from(Role),
        missing=st.booleans(),
    )
    def test_a_query_and_its_cursor_survive_their_journey_through_an_address(
        self,
        query: ListQuery,
        row_id: UUID,
        direction: Any,
        moment: datetime,
        name: str,
        role: Role,
        missing: bool,
    ) -> None:
        value: Any = {"role": role, "created_at": moment, "last_sign_in_at": moment}.get(query.sort, name)
        cursor = Cursor(direction, None if missing else value, row_id)
        arrived = through_a_link(USERS, query, cursor)
        assert arrived == replace(query, cursor=cursor)
        assert type(arrived.cursor.value) is type(cursor.value)
        assert through_a_link(USERS, query, "last").cursor == "last"
        assert arrived.first_page() == query

    @given(price=st.decimals("0.01", "99999999.99", places=2))
    def test_a_price_in_a_cursor_stays_the_same_decimal(self, price: Decimal) -> None:
        query = ListQuery("price", descending=False)
        arrived = through_a_link(PRODUCTS, query, Cursor("after", price, uuid4()))
        assert str(arrived.cursor.value) == str(price)


class TestFilters:
    async def names(self, database: Database, cast: Cast, *parameters: tuple[str, str]) -> set[str]:
        async with database.reading() as session:
            found = await ProductRepository(session, cast.sam).page(PRODUCTS.parse(parameters))
            assert found.count == Count(len(found.rows), is_exact=True)
            return {row.name for row in found.rows}

    async def test_each_filter_keeps_what_it_names_and_all_apply_together(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        await make_product(cast.alice, name="active")
        await make_product(cast.alice, name="inactive", is_active=False)
        await make_product(cast.bob, name="foreign")
        for parameters, expected in [
            ([("is_active", "yes")], {"active", "foreign"}),
            ([("is_active", "no")], {"inactive"}),
            ([("owner", "ALICE@")], {"active", "inactive"}),
            ([("owner", "_")], set()),
            ([("owner", "alice"), ("is_active", "no")], {"inactive"}),
            ([("owner", "alice@demo.example")], {"active", "inactive"}),
            ([("mine", "yes")], set()),
            ([("price_from", "0.99"), ("price_to", "0.99")], {"active", "inactive", "foreign"}),
            ([("price_from", "1")], set()),
            ([("created", "today")], {"active", "inactive", "foreign"}),
            ([("updated", "7d"), ("created", "month")], {"active", "inactive", "foreign"}),
            ([("created_to", "2026-01-01")], set()),
            ([("owner", "alice"), ("search", "active foreign")], set()),
            ([("search", "active bob@demo.example")], set()),
            ([("search", "foreign bob@demo.example")], {"foreign"}),
        ]:
            assert await self.names(database, cast, *parameters) == expected

    async def test_days_are_whole_and_in_utc(
        self, cast: Cast, make_product: MakeProduct, database: Database
    ) -> None:
        midnight = datetime(2026, 3, 10, tzinfo=UTC)
        moments = {
            "before": midnight - timedelta(microseconds=1),
            "first": midnight,
            "last": midnight + timedelta(days=1, microseconds=-1),
            "after": midnight + timedelta(days=1),
        }
        async with database.transaction() as session:
            for name, moment in moments.items():
                values = {"name": name, "price": Decimal(1), "owner_id": cast.alice.id, "created_at": moment}
                await session.execute(insert(Product).values(**values))
        day = "2026-03-10"
        assert await self.names(database, cast, ("created_from", day)) == {"first", "last", "after"}
        assert await self.names(database, cast, ("created_to", day)) == {"before", "first", "last"}
        assert await self.names(database, cast, ("created_from", day), ("created_to", day)) == {
            "first",
            "last",
        }
