"""How an import is told: which column is what, how far its check is, and what each row would do."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.admin.base_view import ServiceView
from admin_app.admin.diffs import cut
from admin_app.admin.history import ToldField, field_labels, people_of, pictures_in, told_field
from admin_app.audit import kind_of
from admin_app.errors import InvalidInput
from admin_app.imports.importer import IMPORTERS, Importer, Importers
from admin_app.imports.matching import KEY
from admin_app.imports.models import Import, ImportRow, ImportState, Verdict
from admin_app.session_info import Carrier

SAMPLES = 3
MAX_SAMPLE = 60
MAX_SUMMARY = 200
FORMATS = {"csv": "CSV", "jsonl": "JSON lines", "xlsx": "Excel"}
DELIMITERS = {
    "comma": (",", "Comma"),
    "semicolon": (";", "Semicolon"),
    "tab": ("\t", "Tab"),
    "bar": ("|", "Vertical bar"),
    "colon": (":", "Colon"),
    "caret": ("^", "Caret"),
    "tilde": ("~", "Tilde"),
}
"""Names in the form -> the character, and what people call it."""

VERDICTS = {
    "create": (Verdict.CREATE, "New", "on"),
    "update": (Verdict.UPDATE, "Change", "busy"),
    "unchanged": (Verdict.UNCHANGED, "Unchanged", "off"),
    "refused": (Verdict.REFUSED, "Refused", "bad"),
}
"""Names in the address -> the verdict, in a word, and how that looks."""

STATES = {
    ImportState.UPLOADING: ("Not arrived", "off"),
    ImportState.MATCHING: ("To be matched", "busy"),
    ImportState.CHECKING: ("Being checked", "busy"),
    ImportState.CHECKED: ("To be confirmed", "busy"),
    ImportState.CONFIRMED: ("Confirmed", "on"),
}
STEPS = {ImportState.UPLOADING: 1, ImportState.MATCHING: 2, ImportState.CONFIRMED: 4}


@dataclass(frozen=True)
class ToldColumn:
    place: int
    name: str
    samples: Sequence[str]
    chosen: str
    """The field's name; "" leaves the column out."""
    error: str | None


@dataclass(frozen=True)
class ToldRow:
    row: ImportRow
    verdict: str
    look: str
    fields: Sequence[ToldField]
    reason: str

    @property
    def summary(self) -> str:
        """The values of a new row."""
        told = [
            f"{field.label} {len(field.new_pictures) or cut(field.new, MAX_SAMPLE)}"
            for field in self.fields
            if field.new
        ]
        return cut(" · ".join(told), MAX_SUMMARY)


def may_import(carrier: Carrier, actor: Actor, kind: str) -> bool:
    importers: Importers = carrier.info[IMPORTERS]
    importer = importers.get(kind)
    return importer is not None and importer.may_import(actor)


def columns_of(
    import_: Import, chosen: Mapping[int, str], error: InvalidInput | None = None
) -> list[ToldColumn]:
    """With a few different values of each, to recognise it by."""
    problems = error.fields if error else {}
    told = []
    for place, name in enumerate(import_.columns):
        values = [row[place].strip() for row in import_.sample if place < len(row)]
        samples = [cut(text, MAX_SAMPLE) for text in dict.fromkeys(values) if text][:SAMPLES]
        field = chosen.get(place, "")
        told.append(ToldColumn(place, name, samples, field, problems.get(field) if field else None))
    return told


def problems_of(error: InvalidInput, chosen: Mapping[int, str]) -> list[str]:
    """What is beside no column and not about the key, such as a field that no column is."""
    shown = {KEY, *chosen.values()}
    return [told for name, told in error.fields.items() if name not in shown]


def percent_of(import_: Import) -> int:
    return min(100, 100 * import_.checked_bytes // max(1, import_.size_bytes))


def counts_of(import_: Import) -> dict[str, int]:
    """By the names of VERDICTS."""
    numbers = (import_.to_create, import_.to_update, import_.unchanged, import_.refused)
    return dict(zip(VERDICTS, numbers, strict=True))


def deed(view: ServiceView, import_: Import) -> str:
    """ "Create 1,198 and change 12 products"; "" for nothing."""
    new, changed = import_.to_create, import_.to_update
    if new and changed:
        return f"Create {new:,} and change {view.counted(changed)}"
    if new:
        return f"Create {view.counted(new)}"
    return f"Change {view.counted(changed)}" if changed else ""


def in_words(importer: Importer, reason: str) -> str:
    """A reason, with fields as people call them: "price: ..." -> "Price: ..."."""
    labels = {field.name: field.label for field in importer.fields}
    names = "|".join(map(re.escape, labels))
    return re.sub(rf"(?:^|(?<=\. ))({names}):(?= )", lambda found: f"{labels[found[1]]}:", reason)


def reasons_of(importer: Importer, import_: Import) -> list[tuple[str, int]]:
    """Why rows are refused, the most frequent first."""
    told = [(in_words(importer, reason), number) for reason, number in import_.reasons.items()]
    return sorted(told, key=lambda item: -item[1])


async def told_rows(
    session: AsyncSession, actor: Actor, view: ServiceView, importer: Importer, rows: Sequence[ImportRow]
) -> list[ToldRow]:
    kind = kind_of(view.model)
    all_changes = [{name: _pair(pair) for name, pair in row.changes.items()} for row in rows]
    sides = [{name: pair[side] for name, pair in fields.items()} for fields in all_changes for side in (0, 1)]
    named = people_of(kind, *sides)
    people = await view.past(session, actor).emails_of(named) if view.past and named else {}
    pictures = await pictures_in(session, actor, view, all_changes)
    looks = {verdict: (word, look) for verdict, word, look in VERDICTS.values()}
    return [
        ToldRow(
            row,
            *looks[row.verdict],
            [
                told_field(kind, name, changes[name], people, pictures)
                for name in field_labels(kind)
                if name in changes and (row.verdict is not Verdict.CREATE or name != importer.label)
            ],
            in_words(importer, row.reason),
        )
        for row, changes in zip(rows, all_changes, strict=True)
    ]


def _pair(pair: Sequence[Any]) -> list[Any]:
    """A picture that is not here yet is called by its address."""
    return [[_image(item) for item in side] if isinstance(side, list) else side for side in pair]


def _image(item: Any) -> Any:
    if isinstance(item, dict) and "url" in item:
        return {"id": item["id"], "alt": item["url"]}
    return item
