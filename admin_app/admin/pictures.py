"""Pictures of rows, as pages show them: what became of each, and its files."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.admin.base_view import ServiceView
from admin_app.search import as_id

IMAGES = "images"
"""The form field that carries them, as JSON: a list of {"id", "alt"}, the main one first."""

GONE = "gone"
READY = "ready"

File = Mapping[str, Any]
"""{"format", "width", "height", "name"}"""


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
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


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
