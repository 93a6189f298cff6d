"""An import as a bulk operation: what its file said, done row by row, and taken back."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Protocol
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    FromClause,
    Select,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Source
from admin_app.audit import CREATED, fields_of
from admin_app.bulk.actions import BulkAction, BulkService
from admin_app.bulk.changes import Change
from admin_app.imports.models import Import, ImportRow, Verdict

Compared = Mapping[str, tuple[ColumnElement[Any], ColumnElement[Any]]]


class ImportParameters(BaseModel):
    import_id: UUID = Field(title="Import")


class CreatingService(BulkService, Protocol):
    async def create_rows(self, ids: Collection[UUID], change: Change) -> dict[UUID, str | None]:
        """As `creating.create_rows`, with the events; raises Forbidden before anything is written."""


class ImportAction(BulkAction[ImportParameters]):
    name = "import"
    label = "Import"
    service: ClassVar[type[CreatingService]]
    parameters = ImportParameters
    source: ClassVar[Source] = Source.IMPORT
    is_listed: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, ColumnElement[Any]]]
    """What a file can say of a row -> what a new row has that it says nothing of."""

    def rows(self, parameters: ImportParameters) -> Select[Any]:
        """What there is to do, as it was when the file was checked."""
        table = ImportRow.__table__
        return select(table.c.row_id, func.coalesce(table.c.version, 0).label("version")).where(
            ImportRow.import_id == parameters.import_id,
            ImportRow.verdict.in_([Verdict.CREATE, Verdict.UPDATE]),
        )

    def change(self, parameters: ImportParameters) -> Change:
        return self._change(parameters, self.columns)

    async def apply(
        self, session: AsyncSession, actor: Actor, rows: Mapping[UUID, int], parameters: ImportParameters
    ) -> dict[UUID, str | None]:
        new = [row_id for row_id, version in rows.items() if not version]
        others = {row_id: version for row_id, version in rows.items() if version}
        service = self.service(session, actor)
        reasons: dict[UUID, str | None] = {}
        if new:
            reasons |= await service.create_rows(new, self.creation(parameters, actor))
        if others:
            names = await self._named(session, parameters, others)
            reasons |= await service.change_many(others, self._change(parameters, names))
        return reasons

    def compared(self, change: Change) -> Compared:
        """What differs, in one column."""
        called = fields_of(self.model)
        sides: tuple[list[Any], list[Any]] = [], []
        for name, value in change.values.items():
            old = self.model.__table__.c[name]
            differs = old.is_distinct_from(value)
            for texts, side in zip(sides, (old, value), strict=True):
                text = literal(f"{called[name]}: ") + func.coalesce(self.text_of(name, side), "none")
                texts.append(case((differs, text)))
        before, after = (func.concat_ws(", ", *texts) for texts in sides)
        return {"Values": (before, after)}

    def text_of(self, name: str, value: ColumnElement[Any]) -> ColumnElement[Any]:
        """A value of this column, for people."""
        if isinstance(self.model.__table__.c[name].type, Boolean):
            return case((value, literal("Active")), else_=literal("Inactive"))
        return cast(value, Text())

    def creation(self, parameters: ImportParameters, actor: Actor) -> Change:
        """New rows in terms of what is staged of them."""
        staged = _staged(parameters)
        values = {
            name: case((_is_given(staged, name), self.given(staged, name)), else_=default)
            for name, default in self.columns.items()
        }
        return Change(values, word=CREATED, beside=staged, note=_note(parameters, staged))

    def given(self, staged: FromClause, name: str) -> ColumnElement[Any]:
        """What the file says that a column is to hold."""
        return cast(staged.c.changes[name][1].astext, self.model.__table__.c[name].type)

    def _change(self, parameters: ImportParameters, names: Collection[str]) -> Change:
        staged, own = _staged(parameters), self.model.__table__.c
        values = {
            name: case((_is_given(staged, name), self.given(staged, name)), else_=own[name]) for name in names
        }
        return Change(values, is_strict=True, beside=staged, note=_note(parameters, staged))

    async def _named(
        self, session: AsyncSession, parameters: ImportParameters, row_ids: Collection[UUID]
    ) -> list[str]:
        """The columns that are to change in any of these rows: a file of prices leaves the others alone."""
        ids = bindparam("row_ids", sorted(row_ids), ARRAY(Uuid()))
        names = func.jsonb_object_keys(ImportRow.changes).label("name")
        statement = select(names).distinct()
        found = await session.scalars(
            statement.where(ImportRow.import_id == parameters.import_id, ImportRow.row_id == func.any(ids))
        )
        known = set(found)
        return [name for name in self.columns if name in known]


def _staged(parameters: ImportParameters) -> FromClause:
    return (
        select(ImportRow.row_id, ImportRow.line, ImportRow.changes)
        .where(ImportRow.import_id == parameters.import_id)
        .subquery("staged")
    )


def _is_given(staged: FromClause, name: str) -> ColumnElement[bool]:
    found: ColumnElement[bool] = staged.c.changes.has_key(name)
    return found


def _note(parameters: ImportParameters, staged: FromClause) -> ColumnElement[str]:
    """As "import #3, line 217"."""
    number = select(Import.number).where(Import.id == parameters.import_id).scalar_subquery()
    return func.format("import #%s, line %s", number, staged.c.line)
