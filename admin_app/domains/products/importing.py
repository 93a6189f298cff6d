"""Products from a CSV file: bad rows are refused by line and reason, good ones are created in chunks.

Each chunk is one transaction, so a killed import is completed by running it again. Run twice it changes
nothing: the k-th row with the same owner, name and description stands for the k-th such product.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from io import BufferedReader, TextIOWrapper
from itertools import islice
from os import fstat
from pathlib import Path
from stat import S_ISREG
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.actor import Actor, Role, Source
from admin_app.database import Database
from admin_app.domains.products import access
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductCreate
from admin_app.domains.products.service import CHUNK, ProductService
from admin_app.domains.users.schemas import UserCreate
from admin_app.domains.users.service import UserService
from admin_app.errors import AppError, InvalidInput
from admin_app.text import EmailAddress

REQUIRED = ("name", "price", "owner_email")
OPTIONAL = ("description", "is_active")
DELIMITERS = ",;\t"
MAX_HEADER_CHARACTERS = 10_000
MAX_LINE_CHARACTERS = 1_000_000
"""Of a longer line the rest is not even read; no product is nearly as long, so its row is refused anyway."""

LOCK = 0x696D706F7274  # any constant: whoever imports holds this advisory lock while its chunk is written

ALREADY_THERE = "already there"
DIFFERS = "already there; price or state differ, import does not change existing products"
SURROGATE = re.compile("[\ud800-\udfff]")  # what bytes became that are not UTF-8
NOT_UTF8 = "This is not valid UTF-8. Save the file as “CSV UTF-8” and try again."
BROKEN_QUOTES = "The quotation marks of this row do not pair up."
TOO_LONG = "A cell is far too long; perhaps a quotation mark is missing."


class ProductRow(ProductCreate):
    """What a line of the file says."""

    owner_email: EmailAddress


class Verdict(StrEnum):
    CREATED = "created"
    SKIPPED = "skipped"
    REFUSED = "refused"


@dataclass(frozen=True)
class Outcome:
    """What became of the row that starts on this physical line of the file, counted from 1."""

    line: int
    verdict: Verdict
    reason: str = ""
    product_id: UUID | None = None


@dataclass(frozen=True)
class Row:
    """Cells by column, or the problem that kept the row from being read."""

    line: int
    cells: Mapping[str, str]
    problem: str = ""


@dataclass(frozen=True)
class Draft:
    """A row whose values are good."""

    line: int
    data: ProductCreate
    email: str


class Lines:
    """The file's physical lines, numbered, for csv.reader; those of a row can be given back."""

    def __init__(self, file: TextIOWrapper) -> None:
        self.number = 1  # of the line handed out last; the header was the first
        self._file = file
        self._row: list[str] = []
        self._again: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self._row.append(line)
        return line

    def begin_row(self) -> int:
        """The number of the line the next row starts on."""
        self._row.clear()
        return self.number + 1

    def give_back(self) -> None:
        """All lines of this row but the first are handed out once more."""
        self.number -= len(self._row) - 1
        self._again.extend(reversed(self._row[1:]))
        del self._row[1:]

    def _read(self) -> str:
        line = self._file.readline(MAX_LINE_CHARACTERS)
        rest = line
        while len(rest) == MAX_LINE_CHARACTERS and not rest.endswith(("\n", "\r")):
            rest = self._file.readline(MAX_LINE_CHARACTERS)
        return line


class ProductFile:
    """A CSV file whose header fits; its rows can be iterated once."""

    def __init__(self, raw: BufferedReader, name: str) -> None:
        """Raises InvalidInput with a sentence about the file."""
        self.name = Path(name).name
        self._raw = raw
        file = TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
        self._lines = Lines(file)
        header = file.readline(MAX_HEADER_CHARACTERS)
        if not header:
            raise InvalidInput(f"{name} is empty.")
        # Bytes that are not UTF-8 have become surrogates, which are not printable either.
        if not header.rstrip("\r\n").replace("\t", "").isprintable() or len(header) == MAX_HEADER_CHARACTERS:
            raise InvalidInput(f"{name} is not a CSV file in UTF-8. Save it as “CSV UTF-8” and try again.")
        self._delimiter, self._columns = _read_header(header)
        _require_columns(self._columns)
        self._rows = self._read_rows()
        self._first = next(self._rows, None)
        if self._first is None:
            raise InvalidInput(f"{name} has a header but no rows.")

    def __iter__(self) -> Iterator[Row]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._rows

    def size_bytes(self) -> int | None:
        """None for a pipe."""
        status = fstat(self._raw.fileno())
        return status.st_size if S_ISREG(status.st_mode) else None

    def position_bytes(self) -> int:
        """How far it has been read, a little ahead of the rows handed out. Not for a pipe."""
        return self._raw.tell()

    def _read_rows(self) -> Iterator[Row]:
        # strict: otherwise a forgotten quotation mark would melt two rows into one that looks good.
        reader = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        while True:
            line = self._lines.begin_row()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                # The rows such a quotation mark has swallowed are read again, each from its own line.
                self._lines.give_back()
                yield Row(line, {}, TOO_LONG if "field limit" in str(error) else BROKEN_QUOTES)
                continue
            if cells is None:
                return
            if cells:
                yield self._row(line, cells)

    def _row(self, line: int, cells: list[str]) -> Row:
        if len(cells) == len(self._columns):
            return Row(line, dict(zip(self._columns, cells, strict=True)))
        problem = f"The row has {len(cells)} cells, the header has {len(self._columns)}."
        if self._lines.number > line:
            problem += f" It runs to line {self._lines.number}: check its quotation marks."
        return Row(line, {}, problem)


@contextmanager
def open_products(path: Path) -> Iterator[ProductFile]:
    """Raises InvalidInput with one sentence when this cannot be a file of products."""
    name = "".join(character if character.isprintable() else "�" for character in str(path))
    try:
        raw = path.open("rb")
    except FileNotFoundError:
        raise InvalidInput(f"There is no file {name}.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise InvalidInput(f"{name} cannot be read ({reason}).") from None
    with raw:
        yield ProductFile(raw, name)


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


class Owners:
    """Who the e-mails belong to. It remembers them from chunk to chunk."""

    def __init__(self, actor: Actor, *, create_missing: bool) -> None:
        self.created: set[str] = set()
        self._actor = actor
        self._create_missing = create_missing
        self._known: dict[str, UUID | str] = {}

    async def find(self, session: AsyncSession, emails: Iterable[str]) -> Mapping[str, UUID | str]:
        """Lower-case e-mail -> the owner's id, or the reason why nobody with it can own a product."""
        service = UserService(session, self._actor)
        missing = {email.lower(): email for email in emails if email.lower() not in self._known}
        found = await service.ids_by_email(list(missing)) if missing else {}
        for lower, email in missing.items():
            if lower in found:
                self._known[lower] = await self._judge(service, found[lower], email)
            elif self._create_missing:
                self._known[lower] = await self._create(session, service, email)
            else:
                self._known[lower] = f"Nobody has the e-mail {email}. --create-owners makes an account."
        return self._known

    def forget(self) -> None:
        self._known.clear()

    async def _judge(self, service: UserService, user_id: UUID, email: str) -> UUID | str:
        user = await service.get_by_id(user_id)
        if user.role not in access.WRITERS:
            return f"{email} has the role {user.role} and cannot own products."
        if not user.is_active:
            return f"{email} is not active and cannot own products."
        return user.id

    async def _create(self, session: AsyncSession, service: UserService, email: str) -> UUID | str:
        data = UserCreate(email=email, name=name_from(email), role=Role.ADMINISTRATOR)
        try:
            async with session.begin_nested():
                user = await service.create(data)
        except InvalidInput as error:
            return " ".join(error.fields.values())
        self.created.add(email)
        return user.id


class ProductImport:
    """One import. Several at once take turns chunk by chunk, and do not duplicate each other's rows."""

    def __init__(self, database: Database, *, create_owners: bool) -> None:
        self._database = database
        self._actor = Actor.system(Source.IMPORT)
        self._owners = Owners(self._actor, create_missing=create_owners)
        self._seen: Counter[bytes] = Counter()
        self._verdicts: Counter[Verdict] = Counter()
        self.owners_created = 0

    async def take(self, rows: Sequence[Row]) -> list[Outcome]:
        """Import these rows in one transaction, and say what became of each, in their order."""
        read = [read_row(row) for row in rows]
        drafts = [draft for draft in read if isinstance(draft, Draft)]
        outcomes = [outcome for outcome in read if isinstance(outcome, Outcome)]
        if drafts:
            try:
                outcomes += await self._store(drafts)
            except AppError:
                # An owner was disabled or removed since it was last looked up.
                self._owners.forget()
                outcomes += await self._store(drafts)
        self._verdicts.update(outcome.verdict for outcome in outcomes)
        return sorted(outcomes, key=lambda outcome: outcome.line)

    async def finish(self, name: str) -> None:
        """Write into the history that a file of this name was imported, and what became of its rows."""
        told = ", ".join(f"{self._verdicts[verdict]:,} {verdict}" for verdict in Verdict)
        async with self._database.transaction() as session:
            audit.note(session, self._actor, "imported", Product, f"{name}: {told}")

    async def _store(self, drafts: Sequence[Draft]) -> list[Outcome]:
        seen: Counter[bytes] = Counter()
        outcomes: list[Outcome] = []
        owned: list[tuple[Draft, UUID]] = []
        new: list[tuple[Draft, UUID]] = []
        async with self._database.transaction() as session:
            await session.execute(select(func.pg_advisory_xact_lock(LOCK)))
            service = ProductService(session, self._actor)
            owners = await self._owners.find(session, [draft.email for draft in drafts])
            for draft in drafts:
                owner = owners[draft.email.lower()]
                if isinstance(owner, UUID):
                    owned.append((draft, owner))
                else:
                    outcomes.append(Outcome(draft.line, Verdict.REFUSED, f"owner_email: {owner}"))
            identical = await service.find_identical({_key(draft, owner) for draft, owner in owned})
            for draft, owner in owned:
                key = _key(draft, owner)
                digest = _digest(*key)
                place = self._seen[digest] + seen[digest]
                seen[digest] += 1
                products = identical.get(key, [])
                if place < len(products):
                    outcomes.append(_skipped(draft, products[place]))
                else:
                    new.append((draft, owner))
            created = await service.create_many([(draft.data, owner) for draft, owner in new])
            for (draft, _), product in zip(new, created, strict=True):
                outcomes.append(Outcome(draft.line, Verdict.CREATED, product_id=product.id))
        self._seen.update(seen)
        self.owners_created = len(self._owners.created)
        return outcomes


def read_row(row: Row) -> Draft | Outcome:
    """The row's values, or why they cannot be accepted."""
    if row.problem:
        return Outcome(row.line, Verdict.REFUSED, row.problem)
    problems = {column: NOT_UTF8 for column, text in row.cells.items() if SURROGATE.search(text)}
    if not problems:
        # Spaces around a number or a word are the habit of spreadsheets; a description keeps its own.
        cells = {
            column: text if column == "description" else text.strip() for column, text in row.cells.items()
        }
        try:
            values = ProductRow.model_validate(cells)
        except ValidationError as error:
            problems = InvalidInput.from_validation(error).fields
        else:
            data = ProductCreate(**values.model_dump(exclude={"owner_email"}))
            return Draft(row.line, data, values.owner_email)
    reason = " ".join(f"{column}: {sentence}" for column, sentence in problems.items())
    return Outcome(row.line, Verdict.REFUSED, reason)


def name_from(email: str) -> str:
    """A readable name: `elis.regina@shop.example` -> "Elis Regina"."""
    words = re.split(r"[._+-]+", email.partition("@")[0])
    name = " ".join(word[:1].upper() + word[1:] for word in words if word)
    return name or email


def _read_header(header: str) -> tuple[str, list[str]]:
    """The delimiter that yields the most known columns, and the columns."""

    def split(delimiter: str) -> list[str]:
        try:
            cells = next(csv.reader([header], delimiter=delimiter, strict=True), [])
        except csv.Error:
            return []
        return [cell.strip().lower() for cell in cells]

    known = {*REQUIRED, *OPTIONAL}
    best = max(DELIMITERS, key=lambda delimiter: len(known.intersection(split(delimiter))))
    return best, split(best)


def _require_columns(columns: Sequence[str]) -> None:
    unknown = [column for column in columns if column not in {*REQUIRED, *OPTIONAL}]
    missing = [column for column in REQUIRED if column not in columns]
    twice = [column for column, count in Counter(columns).items() if count > 1]
    problems = [
        f"{wrong} {', '.join(f'“{column[:40]}”' for column in named[:5])}"
        for wrong, named in (("unknown", unknown), ("missing", missing), ("given twice", twice))
        if named
    ]
    if problems:
        raise InvalidInput(
            f"The columns do not fit: {'; '.join(problems)}. The first line must name the columns "
            f"{', '.join(REQUIRED)}, and may name {' and '.join(OPTIONAL)}."
        )


def _key(draft: Draft, owner: UUID) -> tuple[UUID, str, str]:
    return owner, draft.data.name, draft.data.description


def _digest(owner: UUID, name: str, description: str) -> bytes:
    """16 bytes instead of a description: a file may have a million rows."""
    return blake2b(f"{name}\0{description}".encode(), digest_size=16, key=owner.bytes).digest()


def _skipped(draft: Draft, product: Product) -> Outcome:
    same = product.price == draft.data.price and product.is_active == draft.data.is_active
    return Outcome(draft.line, Verdict.SKIPPED, ALREADY_THERE if same else DIFFERS, product.id)
