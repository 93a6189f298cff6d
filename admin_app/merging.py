"""Two people change one row: what each changed survives; where both did, nobody overwrites anybody.

Against the version a form was opened on, as in any three-way merge; the history knows how that looked.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, ColumnElement, Integer, Text, literal_column, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.audit import HIDDEN, AuditEntry, Snapshot, kind_of, plain, snapshot
from admin_app.errors import Conflict

FROM_THE_FUTURE = "This is not a version there is. Open it again."
NOT_ON_RECORD = "What was changed since is not on record, so nothing was done. Open it again."


class Made(NamedTuple):
    """What made a version of a row: who, when, and which fields changed."""

    version: int
    who: str
    when: datetime
    names: Sequence[str]


@dataclass(frozen=True)
class Clash:
    """A field two people changed: as it was, as it is, as it should be; values as the history writes them.

    `who` and `when` are of the last change by others.
    """

    before: Any
    theirs: Any
    mine: Any
    who: str
    when: datetime


@dataclass(frozen=True)
class Merge:
    """The values to write, and what others changed since, which stays."""

    values: dict[str, Any]
    kept: Sequence[Made] = ()


class EditConflict(Conflict):
    """`clashes` by field, the other fields whoever wrote changed, and everything that was changed since.

    `version` is what the row has now.
    """

    def __init__(
        self, version: int, clashes: Mapping[str, Clash], changed: Collection[str], since: Sequence[Made]
    ) -> None:
        super().__init__("The same was changed after you opened this. Nothing is saved yet.")
        self.version = version
        self.clashes = dict(clashes)
        self.changed = frozenset(changed)
        self.since = since


def require_version(row: Any, expected: int | None) -> None:
    """For what is done to a row as a whole. Raises Conflict when it is at another version."""
    if expected is None or row.version == expected:
        return
    if expected > row.version:
        raise Conflict(FROM_THE_FUTURE)
    raise Conflict("Somebody else changed this after you opened it.")


async def merge(session: AsyncSession, row: Any, values: Mapping[str, Any], version: int | None) -> Merge:
    """Of the values wanted by whoever saw the row at `version`, those they changed. The row is locked.

    Raises EditConflict where somebody else changed the same field to something else since, and Conflict for
    a version the row never had, or whose values are not known any more.
    """
    if version is None or version == row.version:
        return Merge(dict(values))
    since = await changes_since(session, row, version)
    before = await _before(session, row, since)
    found: dict[str, Any] = {}
    clashes: dict[str, Clash] = {}
    for name, wanted in values.items():
        mine, now = plain(wanted), plain(getattr(row, name))
        if mine == now:
            continue
        if name not in before:
            found[name] = wanted
        elif mine != before[name]:
            last = next(made for made in reversed(since) if name in made.names)
            if before[name] == HIDDEN:
                now = mine = HIDDEN
            clashes[name] = Clash(before[name], now, mine, last.who, last.when)
    if clashes:
        raise EditConflict(row.version, clashes, found, since)
    return Merge(found, since)


async def state_at(session: AsyncSession, row: Any, version: int) -> Snapshot:
    """The row as it was at this version. Raises Conflict as `merge` does."""
    since = await changes_since(session, row, version)
    return {**snapshot(row), **await _before(session, row, since)}


async def changes_since(session: AsyncSession, row: Any, version: int) -> Sequence[Made]:
    """What made the versions after this one, in their order. Raises Conflict as `merge` does."""
    if not 1 <= version <= row.version:
        raise Conflict(FROM_THE_FUTURE)
    names = literal_column("ARRAY(SELECT jsonb_object_keys(audit_entry.changes))", ARRAY(Text))
    number = type_coerce(AuditEntry.version, Integer)
    statement = (
        select(number, AuditEntry.actor_label, AuditEntry.at, names)
        # Not those above the row's own: somebody may have changed it since it was read.
        .where(*_of(row), AuditEntry.version > version, AuditEntry.version <= row.version)
        .order_by(AuditEntry.version)
    )
    since = [Made(*made) for made in await session.execute(statement)]
    if [made.version for made in since] != list(range(version + 1, row.version + 1)):
        raise Conflict(NOT_ON_RECORD)
    return since


async def _before(session: AsyncSession, row: Any, since: Sequence[Made]) -> dict[str, Any]:
    """What the fields changed since were before. Only the entries that say so are read: texts may be long."""
    first: dict[str, int] = {}
    for made in since:
        for name in made.names:
            first.setdefault(name, made.version)
    if not first:
        return {}
    entries = select(AuditEntry.version, AuditEntry.changes).where(
        *_of(row), AuditEntry.version.in_(set(first.values()))
    )
    changes = {entry.version: entry.changes for entry in await session.execute(entries)}
    return {name: changes[version][name][0] for name, version in first.items()}


def _of(row: Any) -> tuple[ColumnElement[bool], ...]:
    return AuditEntry.kind == kind_of(type(row)), AuditEntry.row_id == row.id
