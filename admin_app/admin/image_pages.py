"""Pictures for the forms that carry them: adding one, asking what became of some, and their files."""

import asyncio
import re
from typing import Any
from uuid import UUID

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from admin_app.admin import forms
from admin_app.admin.base_view import Images, ServiceView
from admin_app.admin.pages import Pages, actor_of, row_id_of, signed_in
from admin_app.admin.pictures import Picture, ids_of, pictures_of
from admin_app.errors import AppError, Forbidden, InvalidInput, NotFound, Unavailable
from admin_app.images.containers import MAX_BYTES, ImageRefused, look_at
from admin_app.images.downloads import require_public

MAX_ASKED = 50
FILE, URL = "file", "url"
NAME = re.compile(r"images/[0-9a-f-]{36}/[0-9a-f]{32}\.(webp|jpeg)")
HEADERS = {
    # Whoever is signed in may keep what is named after its content, and nobody between.
    "Cache-Control": "private, max-age=31536000, immutable",
    # The style is the browser's own, around an image that is opened by itself.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ImagePages(Pages):
    @signed_in
    async def pictures(self, request: Request) -> Response:
        """POST takes a picture for a row that is about to be made, GET tells what became of some."""
        if request.method == "POST":
            self._allowed(request, "create")
            return await self._add(request, None)
        view, actor = self._view(request), actor_of(request)
        _images_of(view)
        asked = ids_of(request.query_params.getlist("id")[:MAX_ASKED])
        async with self._reading(request) as session:
            found = await pictures_of(session, actor, view, [{"id": str(row_id)} for row_id in asked])
        return JSONResponse({"images": [self._told(picture) for picture in found]})

    @signed_in
    async def add_to_row(self, request: Request) -> Response:
        """Takes a picture for a row. It shows it when the form with it is saved."""
        (view, _), row_id = self._allowed(request, "edit"), row_id_of(request)
        await self._require_changeable(request, view, row_id)
        return await self._add(request, row_id)

    async def _add(self, request: Request, row_id: UUID | None) -> Response:
        """A file, or the URL to fetch it from."""
        images = _images_of(self._view(request))
        try:
            posted = await forms.read_upload(request)
            given, url = posted.get(FILE), posted.get(URL)
            if isinstance(given, UploadFile):
                image = await self._upload(request, images, row_id, await _content(given))
            elif isinstance(url, str) and url.strip():
                await require_public(url.strip())
                async with self._changing(request) as (session, actor):
                    image = await images(session, actor).add_url(row_id, url.strip())
            else:
                raise InvalidInput("Choose a picture, or enter the address of one.")
        except ImageRefused as error:
            return JSONResponse({"message": error.reason}, status_code=InvalidInput.status)
        except (Forbidden, NotFound):
            raise
        except AppError as error:
            return JSONResponse({"message": error.message}, status_code=error.status)
        return JSONResponse(self._told(Picture(str(image.id), "", image.state.value)), status_code=201)

    @signed_in
    async def media(self, request: Request) -> Response:
        """A file made here from a picture, and nothing else: never what somebody uploaded."""
        name = "images/{picture}/{file}".format(**request.path_params)
        matched = NAME.fullmatch(name)
        content = await self.site.storage.get(name) if matched else None
        if matched is None or content is None:
            raise NotFound
        return Response(content, media_type=f"image/{matched[1]}", headers=HEADERS)

    async def _upload(
        self, request: Request, images: type[Images], row_id: UUID | None, content: bytes
    ) -> Any:
        """Its row is written before the file and once more after it, so no file is without a row."""
        await asyncio.to_thread(look_at, content)
        async with self._changing(request) as (session, actor):
            image = await images(session, actor).begin(row_id)
        try:
            await self.site.storage.put(image.original, content, "application/octet-stream")
        except Unavailable:
            async with self._changing(request) as (session, actor):
                await images(session, actor).give_up(image.id)
            raise
        async with self._changing(request) as (session, actor):
            return await images(session, actor).arrived(image.id)

    def _told(self, picture: Picture) -> dict[str, Any]:
        file = picture.thumbnail
        return {
            "id": picture.id,
            "state": picture.state,
            "reason": picture.reason,
            "thumbnail": self.site.media_url(file["name"]) if file else None,
        }


def _images_of(view: ServiceView) -> type[Images]:
    if view.images is None:
        raise NotFound
    return view.images


async def _content(given: UploadFile) -> bytes:
    """One byte more than may be is enough to be refused."""
    try:
        return await given.read(MAX_BYTES + 1)
    finally:
        await given.close()
