"""Pictures of rows, as pages show them: what became of each, and its files."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.admin.base_view import ServiceView
from admin_app.search import as_id

IMAGES = "images"
"""The form field that carries them, as JSON: a list of {"id", "alt"}, the main one first."""

GONE = "gone"

File = Mapping[str, Any]
"""{"format", "width", "height", "name"}"""
Mark = Literal["added", "removed", "moved", "reworded"]


@dataclass(frozen=True)
class Picture:
    """`state` is that of the image, or GONE for one that is not here, or not for who asks."""

    id: str
    alt: str = ""
    state: str = GONE
    reason: str | None = None
    files: Sequence[File] = field(default_factory=tuple)

    @property
    def thumbnail(self) -> File | None:
        return thumbnail_of(self.files)

    @property
    def largest(self) -> File | None:
        """The JPEG every browser shows."""
        return max(self.of_format("jpeg"), key=lambda file: int(file["width"]), default=None)

    def of_format(self, name: str) -> list[File]:
        """Narrow ones first, as in a srcset."""
        found = [file for file in self.files if file["format"] == name]
        return sorted(found, key=lambda file: int(file["width"]))


@dataclass(frozen=True)
class Numbered:
    """A picture of a set, and which one it is there, from 1 on."""

    number: int
    picture: Picture

    @property
    def caption(self) -> str:
        return f"{self.number}. {self.picture.alt}" if self.picture.alt else f"Picture {self.number}"


class PictureChanges:
    """What makes the set `new` of the set `old`."""

    def __init__(self, old: Sequence[Picture], new: Sequence[Picture]) -> None:
        self.old = [Numbered(number, picture) for number, picture in enumerate(old, 1)]
        self.new = [Numbered(number, picture) for number, picture in enumerate(new, 1)]
        self._old = {item.picture.id: item for item in self.old}
        self._new = {item.picture.id: item for item in self.new}

    @property
    def added(self) -> list[Numbered]:
        return [item for item in self.new if item.picture.id not in self._old]

    @property
    def removed(self) -> list[Numbered]:
        return [item for item in self.old if item.picture.id not in self._new]

    @property
    def reworded(self) -> list[tuple[Numbered, Numbered]]:
        """Those with another text, before and after."""
        return [(old, new) for old, new in self._kept if old.picture.alt != new.picture.alt]

    @cached_property
    def moved(self) -> list[tuple[Numbered, Numbered]]:
        """The fewest that explain the order, before and after: who only made room is not among them."""
        old = [image_id for image_id in self._old if image_id in self._new]
        new = [image_id for image_id in self._new if image_id in self._old]
        moved = {one for one, other in zip(old, new, strict=True) if one != other}
        if len(moved) > 2:
            for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
                moved.difference_update(old[block.a : block.a + block.size])
        return [pair for pair in self._kept if pair[0].picture.id in moved]

    @property
    def order(self) -> str:
        """What moved, by numbers: "1 ↔ 2", or "4 → 1, 6 → 3"; "" where numbers do not tell it."""
        moves = [(old.number, new.number) for old, new in self.moved if old.number != new.number]
        if len(moves) == 2 and moves[0] == moves[1][::-1]:
            return f"{min(moves[0])} ↔ {max(moves[0])}"
        return ", ".join(f"{old} → {new}" for old, new in moves)

    @property
    def new_main(self) -> Numbered | None:
        """The main picture, if there was another one."""
        has_both = self.old and self.new
        return self.new[0] if has_both and self.old[0].picture.id != self.new[0].picture.id else None

    @property
    def unchanged(self) -> int:
        """How many are there as before, beside those that moved or have another text."""
        changed = {new.picture.id for _, new in (*self.moved, *self.reworded)}
        return len(self._kept) - len(changed)

    def marks(self, item: Numbered) -> list[Mark]:
        """What became of a picture of either set."""
        if item in self.added:
            return ["added"]
        if item in self.removed:
            return ["removed"]
        found: list[Mark] = []
        if any(item in pair for pair in self.moved):
            found.append("moved")
        if any(item in pair for pair in self.reworded):
            found.append("reworded")
        return found

    @property
    def _kept(self) -> list[tuple[Numbered, Numbered]]:
        """Before and after, in the new order."""
        return [(self._old[item.picture.id], item) for item in self.new if item.picture.id in self._old]


def thumbnail_of(files: Sequence[File]) -> File | None:
    return min(files, key=lambda file: (int(file["width"]), file["format"] != "webp"), default=None)


async def pictures_of(
    session: AsyncSession, actor: Actor, view: ServiceView, images: Sequence[Mapping[str, Any]]
) -> list[Picture]:
    """In the order of these {"id", "alt"}."""
    ids = {row_id for image in images if (row_id := as_id(str(image.get("id"))))}
    if view.images is None or not ids:
        return [Picture(str(image.get("id")), str(image.get("alt", ""))) for image in images]
    found = {str(image.id): image for image in await view.images(session, actor).find(ids)}
    return [_picture(str(image.get("id")), str(image.get("alt", "")), found) for image in images]


def typed_images(text: str) -> list[dict[str, Any]]:
    """What a form's text says, as far as it can be read: enough to show it again."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    return [{name: _presentable(item.get(name, "")) for name in ("id", "alt")} for item in items]


def _presentable(value: object) -> str:
    """JSON can spell halves of characters, which no page can carry."""
    return str(value).encode(errors="replace").decode()


def as_text(images: Sequence[Mapping[str, str]]) -> str:
    """For the form: always the same text for the same images."""
    return json.dumps([{"id": image["id"], "alt": image["alt"]} for image in images], ensure_ascii=False)


def as_words(images: Sequence[Mapping[str, Any]]) -> str:
    """For people: "1. Front, 2. no text"."""
    return ", ".join(f"{number}. {image.get('alt') or 'no text'}" for number, image in enumerate(images, 1))


def ids_of(texts: Collection[str]) -> list[UUID]:
    return [row_id for text in texts if (row_id := as_id(text))]


def _picture(image_id: str, alt: str, found: Mapping[str, Any]) -> Picture:
    image = found.get(image_id)
    if image is None:
        return Picture(image_id, alt)
    return Picture(image_id, alt, image.state.value, image.reason, image.files)
