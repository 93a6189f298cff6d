"""Pages of an import: send a file, match its columns, look at what would happen, let it happen."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from admin_app.actor import Actor
from admin_app.admin import forms
from admin_app.admin.flash import flash, short
from admin_app.admin.imports import (
    DELIMITERS,
    FORMATS,
    STATES,
    STEPS,
    VERDICTS,
    columns_of,
    counts_of,
    deed,
    percent_of,
    problems_of,
    reasons_of,
    told_rows,
)
from admin_app.admin.notification_pages import note_seen
from admin_app.admin.operations import outcome_text, state_text
from admin_app.admin.pages import Pages, actor_of, row_id_of, signed_in
from admin_app.bulk.service import OperationService
from admin_app.errors import AppError, Conflict, InvalidInput, Unavailable
from admin_app.imports.arriving import read_again, take_in
from admin_app.imports.matching import KEY
from admin_app.imports.models import KEPT_DAYS, Import, ImportState
from admin_app.imports.reading import ENCODINGS, MAX_FILE_BYTES, FileFormat, Layout
from admin_app.imports.refused import file_name, refused_rows
from admin_app.imports.service import ImportService

FILE, COLUMN, SHOWN = "file", "column-", "shown"
MAX_LINE = 2**62
BROKEN_FORM = (
    "The file could not be taken. If its name is very long, give it a shorter one, and send it again."
)


class ImportPages(Pages):
    @signed_in
    async def upload(self, request: Request) -> Response:
        """GET asks for a file; POST takes it, and leads to its columns."""
        view, error = self._view(request), None
        async with self._reading(request) as session:
            service = ImportService(session, actor_of(request))
            importer = service.importer(view.identity)
            recent = await service.recent(view.identity)
        if request.method == "POST":
            try:
                posted = await _posted(request)
                async with self._changing(request) as (_, actor):
                    pass  # who sends is asked again: the file may have taken its time
                async with _saved(posted.get(FILE)) as (path, name):
                    taken = await take_in(self._database, actor, view.identity, path, name)
                return RedirectResponse(self._url(taken.id), status_code=303)
            except (InvalidInput, Unavailable) as refused:
                error = refused
        context = {
            "model_view": view,
            "importer": importer,
            "required": importer.required(actor_of(request)),
            "recent": [(item, *STATES[item.state]) for item in recent],
            "max_bytes": MAX_FILE_BYTES,
            "kept_days": KEPT_DAYS,
            "step": 1,
            "error": error.message if error else None,
        }
        return self._page_again(request, "import_new.html", context, error)

    @signed_in
    async def show(self, request: Request) -> Response:
        return await self._shown(request, "import.html")

    @signed_in
    async def live(self, request: Request) -> Response:
        """What changes on the page while the file is checked, as HTML without a frame."""
        return await self._shown(request, "_import.html")

    @signed_in
    async def match(self, request: Request) -> Response:
        import_id = row_id_of(request)
        posted = await forms.read(request)
        async with self._reading(request) as session:
            columns = (await ImportService(session, actor_of(request)).get_own(import_id)).columns
        names = tuple(f"{COLUMN}{place}" for place in range(len(columns)))
        sent = forms.text_values(posted, (*names, KEY))
        chosen = {place: sent[name] for place, name in enumerate(names) if sent[name]}
        try:
            async with self._changing(request) as (session, actor):
                await ImportService(session, actor).match(import_id, chosen, sent[KEY])
        except (InvalidInput, Conflict) as error:
            return await self._again(request, error, chosen, sent[KEY])
        return RedirectResponse(self._url(import_id), status_code=303)

    @signed_in
    async def reread(self, request: Request) -> Response:
        """The file in another encoding, or with other delimiters: its columns are matched anew."""
        import_id = row_id_of(request)
        posted = await forms.read(request)
        async with self._changing(request) as (session, actor):
            import_ = await ImportService(session, actor).get_own(import_id)
        try:
            await read_again(self._database, actor, import_, _layout(import_, posted))
        except (InvalidInput, Conflict, Unavailable) as error:
            return await self._again(request, error)
        return RedirectResponse(f"{self._url(import_id)}?step=columns", status_code=303)

    @signed_in
    async def confirm(self, request: Request) -> Response:
        import_id = row_id_of(request)
        posted = await forms.read(request)
        request.state.button_page = self._url(import_id)
        try:
            async with self._changing(request) as (session, actor):
                operation = await ImportService(session, actor).confirm(import_id, _shown_attempt(posted))
        except Conflict as error:
            return await self._again(request, error)
        return RedirectResponse(f"{self.site.base_url}/operation/details/{operation.id}", status_code=303)

    @signed_in
    async def discard(self, request: Request) -> Response:
        import_id = row_id_of(request)
        try:
            async with self._changing(request) as (session, actor):
                import_ = await ImportService(session, actor).discard(import_id)
        except Conflict as error:
            return await self._again(request, error)
        flash(request, f"The import of “{short(import_.name)}” was discarded. Nothing was changed.")
        return RedirectResponse(f"{self.site.base_url}/{import_.kind}/import", status_code=303)

    @signed_in
    async def refused(self, request: Request) -> Response:
        """The refused rows as a file, to be corrected and sent again."""
        async with self._reading(request) as session:
            import_ = await ImportService(session, actor_of(request)).get_by_id(row_id_of(request))
        name = quote(file_name(import_.name), safe="")
        return StreamingResponse(
            refused_rows(self._database, actor_of(request), import_),
            media_type="text/csv",
            headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
        )

    async def _shown(self, request: Request, template: str) -> Response:
        import_id = row_id_of(request)
        async with self._reading(request) as session:
            import_ = await ImportService(session, actor_of(request)).get_by_id(import_id)
            context = await self._context(request, session, import_)
        await note_seen(self._database, request, context)
        return self._page(request, template, context)

    async def _again(
        self, request: Request, error: AppError, chosen: Mapping[int, str] | None = None, key: str = ""
    ) -> Response:
        """The page as it is now, which tells what is wrong."""
        async with self._reading(request) as session:
            import_ = await ImportService(session, actor_of(request)).get_by_id(row_id_of(request))
            context = await self._context(request, session, import_, error)
        if chosen is not None and isinstance(error, InvalidInput):
            context |= {
                "is_matching": True,
                "step": 2,
                "columns": columns_of(import_, chosen, error),
                "problems": problems_of(error, chosen),
                "key": key,
                "key_error": error.fields.get(KEY),
            }
        return self._page_again(request, "import.html", context, error)

    async def _context(
        self, request: Request, session: AsyncSession, import_: Import, error: AppError | None = None
    ) -> dict[str, Any]:
        actor, given = actor_of(request), request.query_params
        view = self.site.view(import_.kind)
        request.state.below = import_.kind
        importer = ImportService(session, actor).importer(import_.kind)
        is_matching = import_.state is ImportState.MATCHING or (
            import_.state is ImportState.CHECKED and given.get("step") == "columns"
        )
        context: dict[str, Any] = {
            "model_view": view,
            "importer": importer,
            "import_": import_,
            "state": import_.state.value,
            "step": 2 if is_matching else STEPS.get(import_.state, 3),
            "is_active": import_.state is ImportState.CHECKING,
            "is_own": import_.actor_id == actor.id,
            "is_matching": is_matching,
            "columns": columns_of(import_, {int(place): name for place, name in import_.matching.items()}),
            "key": import_.key,
            "required": importer.required(actor),
            "format": FORMATS[import_.format],
            "encodings": ENCODINGS,
            "delimiters": DELIMITERS,
            "counts": counts_of(import_),
            "verdicts": VERDICTS,
            "deed": deed(view, import_),
            "reasons": reasons_of(importer, import_),
            "percent": percent_of(import_),
            "live_url": f"{self.site.base_url}/import/live/{import_.id}",
            "error": error.message if error else None,
        }
        if is_matching or import_.state not in {ImportState.CHECKED, ImportState.CONFIRMED}:
            return context
        chosen = given.get("verdict", "")
        verdict = VERDICTS[chosen][0] if chosen in VERDICTS else None
        rows, has_more = await ImportService(session, actor).rows(import_.id, verdict, _after(request))
        more = {"verdict": chosen} if verdict else {}
        if import_.operation_id is not None:
            context |= await _carried_out(session, actor, import_.operation_id)
        return context | {
            "chosen": chosen if verdict else "",
            "rows": await told_rows(session, actor, view, importer, rows),
            "more": urlencode(more | {"after": rows[-1].line}) if has_more else None,
        }

    def _url(self, import_id: UUID) -> str:
        return f"{self.site.base_url}/import/details/{import_id}"


async def _carried_out(session: AsyncSession, actor: Actor, operation_id: UUID) -> dict[str, Any]:
    """How far it is, or what became of it."""
    service = OperationService(session, actor)
    operation = await service.get_by_id(operation_id)
    undo = await service.undo_of(operation_id)
    look = ("Undone", "off") if undo is not None and undo.done else state_text(operation)
    return {"operation": operation, "operation_state": look, "operation_outcome": outcome_text(operation)}


async def _posted(request: Request) -> FormData:
    try:
        return await forms.read_upload(request)
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise InvalidInput(BROKEN_FORM) from None


@asynccontextmanager
async def _saved(given: Any) -> AsyncIterator[tuple[Path, str]]:
    """Where an uploaded file is until the block ends, and its name. It is never in memory as a whole."""
    if not isinstance(given, UploadFile) or not given.filename:
        raise InvalidInput("Choose a file.")
    with NamedTemporaryFile(prefix="admin-app-") as file:
        await asyncio.to_thread(shutil.copyfileobj, given.file, file)
        file.flush()
        await given.close()
        yield Path(file.name), given.filename


def _layout(import_: Import, posted: FormData) -> Layout:
    """What is not asked of a format stays as it was."""
    encoding = str(posted.get("encoding", import_.encoding))
    delimiter = posted.get("delimiter")
    if delimiter is not None and delimiter not in DELIMITERS:
        raise InvalidInput("Choose one of these delimiters.")
    if encoding not in ENCODINGS:
        raise InvalidInput("Choose one of these encodings.")
    character = import_.delimiter if delimiter is None else DELIMITERS[str(delimiter)][0]
    return Layout(FileFormat(import_.format), encoding, character)


def _shown_attempt(posted: FormData) -> int:
    """The check whose result was on the page; 0 for none."""
    text = str(posted.get(SHOWN, ""))
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def _after(request: Request) -> int:
    """The line of the last row of the page before; 0 for what is no line."""
    text = request.query_params.get("after", "")
    return min(int(text), MAX_LINE) if text.isascii() and text.isdigit() and len(text) <= 19 else 0
