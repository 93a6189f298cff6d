"""Rows of a file in the database, before anything is made of them: a table as long as the transaction."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Select,
    SelectBase,
    SmallInteger,
    Table,
    Text,
    Uuid,
    and_,
    case,
    cast,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.schema import CreateTable

from admin_app.imports.models import ImportRow, Verdict

_OWN = MetaData()  # they are no tables of the installation

STAGED = Table(
    "staged_row",
    _OWN,
    Column("line", BigInteger),
    Column("label", Text),
    Column("problem", Text),
    Column("note", Text),
    Column("cells", ARRAY(Text)),
    Column("given", JSONB),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""`given` are the values of a row by field, as far as the file says something of it; of a row with a
problem, only those by which another one may be found to repeat it."""


FOUND = Table(
    "found_row",
    _OWN,
    Column("line", BigInteger),
    Column("row_id", Uuid),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""The rows that lines are about. Written down, for the planner could not guess how many there are."""


class StagedRow(NamedTuple):
    """`given` is JSON."""

    line: int
    label: str
    problem: str
    note: str
    cells: Sequence[str]
    given: str


class Changes:
    """The `changes` of a row, field by field: what is given and differs from what the row has."""

    def __init__(self, given: Any, is_new: ColumnElement[bool]) -> None:
        self._given = given
        self._is_new = is_new
        self._pairs: list[Any] = []

    def compare(self, name: str, old: ColumnElement[Any]) -> None:
        """What the row has with what is given; of numbers and ids, the history has the text."""
        self.add(name, self._given.has_key(name), old, self._given[name])

    def add(self, name: str, is_given: ColumnElement[bool], old: Any, new: Any) -> None:
        old, new = func.to_jsonb(old), func.to_jsonb(new)
        differs = and_(is_given, or_(self._is_new, old.is_distinct_from(new)))
        self._pairs += [name, case((differs, func.jsonb_build_array(old, new)))]

    def built(self) -> ColumnElement[Any]:
        # Only what is not given is left out: nothing inside of a value is null.
        return func.jsonb_strip_nulls(func.jsonb_build_object(*self._pairs))


def is_good() -> ColumnElement[bool]:
    return STAGED.c.problem == ""


def first_line(value: ColumnElement[Any]) -> ColumnElement[int]:
    """The first line of the file with this value; without one, NULL."""
    return case((value.is_not(None), func.min(STAGED.c.line).over(partition_by=value)))


def sentence(*parts: ColumnElement[Any] | str) -> ColumnElement[str]:
    words = [literal(part, Text()) if isinstance(part, str) else cast(part, Text()) for part in parts]
    return func.concat(*words, type_=Text())


def repeated(
    name: str, first: ColumnElement[int], line: ColumnElement[int]
) -> tuple[ColumnElement[bool], ColumnElement[str]]:
    """For a value that stands in an earlier line of the file: when, and the sentence."""
    return first < line, sentence(f"{name}: It is in line ", first, " of this file already.")


def required(names: Iterable[str]) -> str:
    return " ".join(f"{name}: This field is required." for name in names)


async def begin(session: AsyncSession) -> None:
    for table in (STAGED, FOUND):
        await session.execute(CreateTable(table))


async def fill(session: AsyncSession, rows: Sequence[StagedRow]) -> None:
    raw = await (await session.connection()).get_raw_connection()
    driver: Any = raw.driver_connection  # asyncpg's, in the transaction of the session
    await driver.copy_records_to_table(STAGED.name, records=rows, columns=StagedRow._fields)


async def find(session: AsyncSession, found: SelectBase) -> None:
    """To be called when all rows are staged."""
    await session.execute(text(f"ANALYZE {STAGED.name}"))  # of temporary tables nobody else tells the planner
    await session.execute(insert(FOUND).from_select(["line", "row_id"], found))
    await session.execute(text(f"ANALYZE {FOUND.name}"))


async def store(session: AsyncSession, import_id: UUID, judged: Select[Any]) -> None:
    """Write down what the rows would do; new ones get ids in the order of the file."""
    found = judged.subquery("found")
    verdict = case(
        (found.c.refusal.is_not(None), Verdict.REFUSED.value),
        (found.c.row_id.is_(None), Verdict.CREATE.value),
        (found.c.changes == literal({}, JSONB()), Verdict.UNCHANGED.value),
        else_=Verdict.UPDATE.value,
    )
    joined = STAGED.join(found, found.c.line == STAGED.c.line)
    rows = (
        select(
            STAGED.c.line,
            cast(verdict, SmallInteger()).label("verdict"),
            found.c.row_id,
            found.c.version,
            func.coalesce(found.c.label, STAGED.c.label).label("label"),
            found.c.changes,
            func.coalesce(found.c.refusal, STAGED.c.note).label("reason"),
            STAGED.c.cells,
        )
        .select_from(joined)
        .order_by(STAGED.c.line)
        .subquery("told")
    )
    is_refused, is_new = rows.c.verdict == Verdict.REFUSED.value, rows.c.verdict == Verdict.CREATE.value
    columns: dict[str, ColumnElement[Any]] = {
        "import_id": literal(import_id, Uuid()),
        "line": rows.c.line,
        "verdict": rows.c.verdict,
        "row_id": case((is_refused, null()), (is_new, func.uuidv7()), else_=rows.c.row_id),
        "version": case((is_refused, null()), (is_new, literal(0, Integer())), else_=rows.c.version),
        "label": rows.c.label,
        "changes": case((is_refused, literal({}, JSONB())), else_=rows.c.changes),
        "reason": rows.c.reason,
        "cells": case((is_refused, rows.c.cells)),
    }
    table: Any = ImportRow.__table__
    await session.execute(insert(table).from_select(list(columns), select(*columns.values())))
