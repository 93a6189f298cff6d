"""All that can be done to imports before they are confirmed. Each is its actor's; superusers see all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import token_hex
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.actor import Actor, Role, Source
from admin_app.bulk.models import ACTIVE, BulkOperation, State
from admin_app.errors import Conflict, Forbidden, NotFound
from admin_app.imports.events import ImportMatched
from admin_app.imports.importer import IMPORTERS, Importer, Importers
from admin_app.imports.matching import REASON, Chosen, guess_key, guess_matching, require_matching
from admin_app.imports.models import Import, ImportRow, ImportState, Verdict
from admin_app.imports.reading import Layout
from admin_app.outbox import OutboxBus

NONE: Mapping[str, str] = MappingProxyType({})

CONFIRMED = "This import is confirmed already."
NOT_ARRIVED = "The file has not arrived yet. Try again in a moment."
NOT_CHECKED = "The file is not checked yet, so nobody knows what would change."
CHECKED_AGAIN = "The file was checked again meanwhile. Look at what it would do now, then confirm."
NOTHING_TO_DO = "Nothing would change: no row of the file is new or different."


@dataclass(frozen=True)
class Arrival:
    """A file, as it is before anything is stored: what it is called, how large it is, and its first rows."""

    name: str
    size_bytes: int
    layout: Layout
    columns: Sequence[str]
    sample: Sequence[Sequence[str]]


class ImportService:
    """Runs inside the caller's transaction, as the actor.

    Raises Forbidden for who may not import rows of this kind, NotFound for an import that is not this
    actor's. Superusers see those of others, but to change them is Forbidden: a file is checked as its actor.
    """

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    def importer(self, kind: str) -> Importer:
        """Raises NotFound for a kind that cannot be imported, Forbidden for who may not."""
        importers: Importers = self._session.info[IMPORTERS]
        found = importers.get(kind)
        if found is None:
            raise NotFound
        if not found.may_import(self._actor):
            raise Forbidden
        return found

    async def begin(self, kind: str, arrival: Arrival) -> Import:
        """A place for a file that is about to be stored under `file`; its columns are matched as guessed."""
        importer = self.importer(kind)
        import_ = Import(
            kind=kind,
            name=arrival.name,
            file=f"imports/{token_hex(32)}",
            actor_id=self._actor.id,
            actor_label=self._actor.label,
            address=self._actor.address,
            request_id=self._actor.request_id,
            state=ImportState.UPLOADING,
        )
        await self._lay_out(importer, import_, arrival)
        self._session.add(import_)
        await self._session.flush()
        return import_

    async def arrived(self, import_id: UUID) -> Import:
        """Its file is stored now."""
        import_ = await self._lock(import_id)
        if import_.state is ImportState.UPLOADING:
            import_.state = ImportState.MATCHING
        return import_

    async def get_by_id(self, import_id: UUID) -> Import:
        return await self._find(self._visible().where(Import.id == import_id))

    async def get_own(self, import_id: UUID) -> Import:
        """To go on with it."""
        return _own(await self.get_by_id(import_id), self._actor)

    async def recent(self, kind: str, limit: int = 20) -> list[Import]:
        """The actor's, the newest first, discarded ones left out."""
        self.importer(kind)
        statement = self._visible().where(self._is_own(), Import.kind == kind)
        return list(await self._session.scalars(statement.order_by(Import.id.desc()).limit(limit)))

    async def under_way(self, kind: str) -> list[Import]:
        """The actor's, which were confirmed and are not at their end, the oldest first."""
        self.importer(kind)
        statement = self._visible().where(self._is_own(), Import.kind == kind)
        active = statement.join(BulkOperation, BulkOperation.id == Import.operation_id).where(
            BulkOperation.state.in_(ACTIVE)
        )
        return list(await self._session.scalars(active.order_by(Import.id)))

    async def relaid(self, import_id: UUID, arrival: Arrival) -> Import:
        """The file read in another way: other columns, matched as guessed. Nothing is checked yet."""
        import_ = await self._lock_open(import_id)
        await self._lay_out(self.importer(import_.kind), import_, arrival)
        import_.state = ImportState.MATCHING
        _forget_check(import_)
        await self._session.flush()
        return import_

    async def match(
        self,
        import_id: UUID,
        matching: Mapping[int, str],
        key: str,
        constants: Mapping[str, str] = NONE,
    ) -> Import:
        """Say which field each column is (the column's place -> the field's name), and have the file checked.

        `constants` say the same for every row, as cells of columns the file has not: field -> text.
        Raises InvalidInput for a field that is given twice or missing, or a key that is no column; Conflict
        when it is confirmed already.
        """
        import_ = await self._lock_open(import_id)
        importer = self.importer(import_.kind)
        required = importer.required(self._actor)
        require_matching(importer, required, import_.columns, Chosen(matching, constants, key))
        import_.matching = {str(place): name for place, name in sorted(matching.items())}
        import_.constants = dict(constants)
        import_.key = key
        import_.state = ImportState.CHECKING
        _forget_check(import_)
        await self._session.flush()
        OutboxBus(self._session, self._actor).publish(ImportMatched(import_.id, import_.attempt))
        return import_

    async def rows(
        self, import_id: UUID, verdict: Verdict | None, after_line: int = 0, limit: int = 50
    ) -> tuple[list[ImportRow], bool]:
        """Rows in the order of the file, and whether there are more."""
        import_ = await self.get_by_id(import_id)
        if import_.state not in {ImportState.CHECKED, ImportState.CONFIRMED}:
            return [], False  # what an earlier check found is of no use any more
        statement = select(ImportRow).where(ImportRow.import_id == import_id, ImportRow.line > after_line)
        if verdict is not None:
            statement = statement.where(ImportRow.verdict == verdict)
        found = list(await self._session.scalars(statement.order_by(ImportRow.line).limit(limit + 1)))
        return found[:limit], len(found) > limit

    async def confirm(self, import_id: UUID, attempt: int | None = None) -> BulkOperation:
        """Let it be done, in the background, as it was shown; a second time, the operation there is.

        `attempt` is the check that was looked at. Raises Conflict for another one, for what is not checked
        or would change nothing, and ProofRequired.
        """
        import_ = await self._lock(import_id)
        importer = self.importer(import_.kind)
        if import_.state is ImportState.CONFIRMED:
            return await self._operation(import_)
        if import_.state is not ImportState.CHECKED:
            raise Conflict(NOT_CHECKED)
        if attempt not in {None, import_.attempt}:
            raise Conflict(CHECKED_AGAIN)
        number = import_.to_create + import_.to_update
        if not number:
            raise Conflict(NOTHING_TO_DO)
        importer.action.require_proof(self._actor, number)
        operation = self._operation_of(importer, import_)
        operation.confirmed_at = await self._session.scalar(select(func.now()))
        self._session.add(operation)
        await self._session.flush()
        import_.operation_id = operation.id
        import_.state = ImportState.CONFIRMED
        told = f"import #{import_.number}, {import_.name}: {_counted(import_)}"
        actor = replace(self._actor, source=Source.IMPORT, operation_id=operation.id)
        audit.note(self._session, actor, "imported", importer.action.model, told)
        await self._session.flush()
        return operation

    async def discard(self, import_id: UUID) -> Import:
        """Its file and rows are deleted. Raises Conflict when it is confirmed."""
        import_ = await self._lock(import_id)
        if import_.state is ImportState.CONFIRMED:
            raise Conflict(CONFIRMED)
        import_.state = ImportState.DISCARDED
        await self._session.flush()
        return import_

    def _visible(self) -> Select[Import]:
        if self._actor.role is Role.SUPPORT:
            raise Forbidden
        theirs = true() if self._actor.is_superuser else self._is_own()
        return select(Import).where(Import.state != ImportState.DISCARDED, theirs)

    def _is_own(self) -> ColumnElement[bool]:
        return Import.actor_id.is_not_distinct_from(self._actor.id)

    async def _find(self, statement: Select[Import]) -> Import:
        found = (await self._session.scalars(statement)).one_or_none()
        if found is None:
            raise NotFound
        self.importer(found.kind)  # a role may have changed since
        return found

    async def _lock(self, import_id: UUID) -> Import:
        """To be changed: only by whose it is."""
        locked = self._visible().where(Import.id == import_id).with_for_update()
        return _own(await self._find(locked.execution_options(populate_existing=True)), self._actor)

    async def _lock_open(self, import_id: UUID) -> Import:
        import_ = await self._lock(import_id)
        if import_.state is ImportState.CONFIRMED:
            raise Conflict(CONFIRMED)
        if import_.state is ImportState.UPLOADING:
            raise Conflict(NOT_ARRIVED)
        return import_

    async def _lay_out(self, importer: Importer, import_: Import, arrival: Arrival) -> None:
        import_.size_bytes = arrival.size_bytes
        import_.format = arrival.layout.format.value
        import_.encoding, import_.delimiter = arrival.layout.encoding, arrival.layout.delimiter
        import_.columns = list(arrival.columns)
        import_.sample = [list(row) for row in arrival.sample]
        import_.constants = {}
        remembered = await self._remembered(importer.kind, import_.columns)
        if remembered:
            fields = {remembered.columns[int(place)]: name for place, name in remembered.matching.items()}
            import_.matching = {
                str(place): fields[column]
                for place, column in enumerate(import_.columns)
                if column in fields and column != REASON
            }
            import_.key = remembered.key
            return
        guessed = guess_matching(importer.fields, import_.columns)
        import_.matching = {str(place): name for place, name in sorted(guessed.items())}
        import_.key = guess_key(importer, guessed.values())

    async def _remembered(self, kind: str, columns: list[str]) -> Import | None:
        """What this actor said last time of a file with these columns, or with these and reasons."""
        own = [column for column in columns if column != REASON]
        statement = (
            select(Import)
            .where(self._is_own(), Import.kind == kind, func.array_remove(Import.columns, REASON) == own)
            .where(Import.checked_at.is_not(None))
            .order_by(Import.id.desc())
            .limit(1)
        )
        with self._session.no_autoflush:
            return (await self._session.scalars(statement)).one_or_none()

    async def _operation(self, import_: Import) -> BulkOperation:
        operation = await self._session.get(BulkOperation, import_.operation_id)
        if operation is None:
            raise NotFound
        return operation

    def _operation_of(self, importer: Importer, import_: Import) -> BulkOperation:
        number = import_.to_create + import_.to_update
        return BulkOperation(
            kind=importer.action.kind,
            action=importer.action.name,
            label=importer.action.label,
            parameters={"import_id": str(import_.id)},
            selection=f"Import #{import_.number} of {import_.name}",
            actor_id=self._actor.id,
            actor_label=self._actor.label,
            address=self._actor.address,
            request_id=self._actor.request_id,
            state=State.WAITING,
            total=number,
            confirmed=number,
        )


def _own(import_: Import, actor: Actor) -> Import:
    if import_.actor_id != actor.id:
        raise Forbidden("Only whoever uploaded a file can have it imported.")
    return import_


def _forget_check(import_: Import) -> None:
    """What is known of its rows, and what is being found out, is of no use any more."""
    import_.attempt += 1
    import_.checked_bytes = import_.rows = 0
    import_.to_create = import_.to_update = import_.unchanged = import_.refused = 0
    import_.reasons, import_.error, import_.checked_at = {}, None, None


def _counted(import_: Import) -> str:
    told = f"{import_.to_create:,} to create, {import_.to_update:,} to change"
    return f"{told}, {import_.unchanged:,} unchanged, {import_.refused:,} refused"
