"""What `admin-app import` does: a file is checked, and what can be imported is, in this process."""

import asyncio
import csv
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import UUID

from admin_app.actor import Actor, Role, Source
from admin_app.bulk.models import State
from admin_app.cli_data import count_of, progress_bar
from admin_app.config import ConfigurationError, Settings
from admin_app.database import Database
from admin_app.domains import find_role, open_database
from admin_app.domains.products.importing import unknown_owner
from admin_app.domains.users.schemas import UserCreate
from admin_app.domains.users.service import UserService
from admin_app.errors import InvalidInput
from admin_app.imports.arriving import take_in
from admin_app.imports.here import ImportHere, Stopped
from admin_app.imports.matching import guess_key, guess_matching, places_of
from admin_app.imports.models import Import, ImportRow, Verdict
from admin_app.imports.reading import FileFormat, Layout, guess, open_rows
from admin_app.installation import configured, installation, require_schema
from admin_app.refusals import explain
from admin_app.text import legible, name_from

TELL_EVERY = 5000
NO_KEY = "none"
OWNER = "owner_email"
ONLY_ONE = "--create-owners makes accounts and --dry-run leaves nothing: use one of them."
NO_OWNER = f"Say whose the products are: map a column as {OWNER}, or use --owner or --as."

Say = Callable[[str], None]
Note = Callable[[ImportRow, str, str], None]
"""A row, what became of it, and why."""


@dataclass(frozen=True)
class Order:
    """`email` is whose name it is done in. `columns` are texts such as "Title=name"."""

    kind: str
    file: Path
    email: str | None = None
    key: str | None = None
    columns: Sequence[str] = ()
    encoding: str | None = None
    delimiter: str | None = None
    owner: str | None = None
    creates_owners: bool = False
    is_dry_run: bool = False
    report: Path | None = None


def run(order: Order, data_dir: Path | None) -> int:
    """Returns the exit code. What goes wrong before anything was imported is a ConfigurationError."""
    if order.is_dry_run and order.creates_owners:
        raise ConfigurationError(ONLY_ONE)
    begun: list[UUID] = []
    try:
        layout = _layout(order)
        with _report(order.report, order.file) as note, installation(data_dir) as settings:
            require_schema(settings, is_private=not configured(data_dir).database_url)
            return asyncio.run(_import(settings, order, layout, note, begun))
    except Exception as error:
        sentences = explain(error)
        if begun or not sentences:
            raise
        raise ConfigurationError(" ".join(sentences)) from None


def _layout(order: Order) -> Layout:
    """Raises InvalidInput for what cannot be a file of rows."""

    if not order.file.exists():
        raise InvalidInput(f"There is no file {order.file}.")
    layout = guess(order.file, str(order.file))
    if order.encoding or order.delimiter:
        if layout.format is not FileFormat.CSV:
            raise InvalidInput("Only a CSV file has an encoding and a delimiter to choose.")
        layout = replace(
            layout,
            encoding=order.encoding or layout.encoding,
            delimiter=order.delimiter or layout.delimiter,
        )
    with open_rows(order.file, layout):
        return layout


async def _import(settings: Settings, order: Order, layout: Layout, note: Note, begun: list[UUID]) -> int:
    database = open_database(settings)
    try:
        with _first_signal() as signals, progress_bar() as progress:
            bar = progress.add_task("", total=None)
            told = 0

            def say(sentence: str) -> None:
                progress.console.out(legible(sentence), highlight=False)

            def tell(doing: str, done: int, total: int) -> None:
                nonlocal told
                progress.update(bar, description=doing, completed=done, total=total or None)
                if progress.disable and doing == "Importing" and done - told >= TELL_EVERY:
                    told = done
                    say(f"{done:,} of {total:,} rows so far")

            actor = await _actor(database, order.email)
            here = ImportHere(database, actor, find_role, tell=tell, is_stopped=lambda: bool(signals))
            command = Command(here, order, note, say, begun, settings.public_url)
            try:
                code = await command.run(layout)
            except Stopped:
                accounts = count_of(command.accounts, "account")
                but = f" but {accounts} created for owners" if command.accounts else ""
                say(f"Stopped. Nothing was imported{but}.")
                code = 0
    finally:
        await database.close()
    return 128 + signals[0] if signals else code


@dataclass
class Command:
    """`begun` gets the operation as soon as there is one; `accounts` were made for owners."""

    here: ImportHere
    order: Order
    note: Note
    say: Say
    begun: list[UUID]
    site_url: str
    accounts: int = 0

    async def run(self, layout: Layout) -> int:
        """Returns the exit code. Raises Stopped when nothing was imported."""
        async with self.here.turn(lambda: self.say("Another import is running here: waiting for its end.")):
            if not self.order.is_dry_run:
                for unfinished in await self.here.unfinished(self.order.kind):
                    assert unfinished.operation_id is not None
                    self.say(
                        f"Import #{unfinished.number} of {unfinished.name} goes first: it is not finished."
                    )
                    await self.here.carry_out(unfinished.operation_id)
            return await self._one(layout)

    async def _one(self, layout: Layout) -> int:
        here, file = self.here, self.order.file
        taken = await take_in(here.database, here.actor, self.order.kind, file, file.name, layout)
        is_confirmed = False
        try:
            checked = await self._check(taken)
            async for row in here.rows(taken.id, Verdict.REFUSED):
                self.say(f"line {row.line}: {row.reason}")
            self.say(
                f"{count_of(checked.rows, 'row')}: {checked.to_create:,} to create, {checked.to_update:,} to "
                f"change, {checked.unchanged:,} unchanged, {checked.refused:,} refused."
            )
            if not self.order.is_dry_run and checked.to_create + checked.to_update:
                self.begun.append(await here.confirm(taken.id))
                is_confirmed = True
                return await self._carry_out(checked)
            if self.order.report:
                async for row in here.rows(taken.id):
                    self.note(row, row.verdict.name.lower(), row.reason)
            return 1 if checked.refused else 0
        finally:
            if not is_confirmed:
                await here.discard(taken.id)

    async def _check(self, taken: Import) -> Import:
        matching, key = await self._matching(taken)
        constants = {OWNER: self.order.owner} if self.order.owner else {}
        try:
            checked = await self.here.check(taken.id, matching, key, constants)
        except InvalidInput as error:
            if OWNER in error.fields and self.here.actor.id is None and not self.order.owner:
                raise InvalidInput(NO_OWNER) from None
            raise
        if self.order.creates_owners:
            await self._create_owners(checked)
        if self.accounts:
            checked = await self.here.check(taken.id, matching, key, constants)
        return checked

    async def _matching(self, taken: Import) -> tuple[dict[int, str], str]:
        """As the command says; what it leaves open is guessed, whatever was said of such a file before."""
        importer = await self.here.importer(taken.kind)
        places = places_of(taken.columns, dict(map(_pair, self.order.columns)))
        guessed = guess_matching(importer.fields, taken.columns).items()
        free = {place: name for place, name in guessed if place not in places and name not in places.values()}
        matching = free | {place: name for place, name in places.items() if name}
        if self.order.key is None:
            return matching, guess_key(importer, matching.values())
        if self.order.key not in {*importer.keys, NO_KEY}:
            raise InvalidInput(f"--key is one of: {', '.join([*importer.keys, NO_KEY])}.")
        return matching, self.order.key.replace(NO_KEY, "")

    async def _create_owners(self, checked: Import) -> None:
        """Accounts for the e-mails that rows were refused for because nobody has them."""
        refused = self.here.rows(checked.id, Verdict.REFUSED)
        unknown = {(email := unknown_owner(row.reason)).lower(): email async for row in refused}
        unknown.pop("", None)
        async with self.here.database.transaction() as session:
            service = UserService(session, self.here.actor)
            for email in unknown.values():
                data = UserCreate(email=email, name=name_from(email), role=Role.ADMINISTRATOR)
                await service.create(data)
        self.accounts = len(unknown)
        if unknown:
            self.say(f"{count_of(len(unknown), 'account')} created for owners.")

    async def _carry_out(self, checked: Import) -> int:
        operation = await self.here.carry_out(self.begun[0])
        created, changed, problems = checked.to_create, checked.to_update, 0
        not_done = await self.here.not_done(operation)
        is_whole = operation.state is State.FINISHED
        if not_done or not is_whole or self.order.report:
            async for row in self.here.rows(checked.id):
                name, reason = row.verdict.name.lower(), row.reason
                if row.row_id in not_done:
                    name, reason = "refused", not_done[row.row_id]
                    self.say(f"line {row.line}: {reason}")
                    problems += 1
                elif name in {"create", "update"} and not is_whole and _is_left(row.row_id, operation.cursor):
                    name, reason = "left", "The import was stopped before this row."
                if name != row.verdict.name.lower():
                    created -= row.verdict is Verdict.CREATE
                    changed -= row.verdict is Verdict.UPDATE
                self.note(row, name, reason)
        ended = "done" if is_whole else "not finished"
        self.say(f"Import #{checked.number} is {ended}: {created:,} created, {changed:,} changed.")
        if operation.error:
            self.say(operation.error)
        if not is_whole:
            self.say("Run the same command again for the rest.")
        if operation.done:
            page = f"{self.site_url}/admin/operation/details/{operation.id}"
            self.say(f"To take it back, undo operation #{operation.number}: {page}")
        return 1 if checked.refused or problems or not is_whole else 0


def _pair(text: str) -> tuple[str, str]:
    """Raises ConfigurationError."""
    column, equals, field = text.rpartition("=")
    if not equals:
        raise ConfigurationError(f"--map {text}: write the name of a column, an equals sign and a field.")
    return column, field.strip()


def _is_left(row_id: UUID | None, cursor: UUID | None) -> bool:
    """Rows are done in the order of their ids."""
    return cursor is None or (row_id is not None and row_id > cursor)


async def _actor(database: Database, email: str | None) -> Actor:
    system = Actor.system(Source.IMPORT)
    if email is None:
        return system
    async with database.reading() as session:
        service = UserService(session, system)
        found = await service.ids_by_email([email])
        user = await service.get_by_id(found[email.lower()]) if found else None
    if user is None or not user.is_active:
        raise InvalidInput(f"Nobody with the e-mail {email} may sign in, so nothing is done in their name.")
    return Actor(user.id, user.role, user.email, Source.IMPORT)


@contextmanager
def _first_signal() -> Iterator[list[int]]:
    """Keeps the first SIGINT or SIGTERM, for work that stops at a good point. A second one acts at once."""
    kept: list[int] = []
    usual: dict[signal.Signals, Any] = {}

    def keep(number: int, _frame: FrameType | None) -> None:
        kept.append(number)
        restore()

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        usual[number] = signal.signal(number, keep)
    try:
        yield kept
    finally:
        restore()


@contextmanager
def _report(path: Path | None, source: Path) -> Iterator[Note]:
    """A function that writes down what became of a row."""
    if path is None:
        yield lambda _row, _verdict, _reason: None
        return
    if path.exists() and path.samefile(source):
        raise ConfigurationError("--report names the file to be imported. Choose another name.")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "verdict", "reason", "row_id"])
        file.flush()
        yield lambda row, verdict, reason: writer.writerow([row.line, verdict, reason, row.row_id])
