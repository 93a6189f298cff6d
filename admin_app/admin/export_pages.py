"""Pages of exports: choose a format and columns, follow what is written in the background, fetch the file."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID, uuid5

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from admin_app import submissions
from admin_app.admin import forms
from admin_app.admin.base_view import ServiceView
from admin_app.admin.exports import HINTS, counted_text, told
from admin_app.admin.listing import spoken_conditions, with_preferences
from admin_app.admin.notification_pages import forget_one
from admin_app.admin.pages import Pages, actor_of, preferences_of, row_id_of, signed_in
from admin_app.errors import InvalidInput, NotFound, TooSlow
from admin_app.exports.files import attachment, headers_of
from admin_app.exports.models import KEPT_DAYS, UNDER_WAY, Export, ExportState, Format
from admin_app.exports.service import AT_ONCE, FORMAT_NAMES, ExportRequest, ExportService
from admin_app.exports.streaming import ExportStream, stream
from admin_app.listing import Count, ListQuery
from admin_app.submissions import AlreadySubmitted


class _Sent(StreamingResponse):
    """An export while PostgreSQL still reads it: `until_sent` is left whether or not all of it was sent."""

    def __init__(self, found: ExportStream, until_sent: AsyncExitStack) -> None:
        # asyncpg gives bytearrays, which Starlette does not take.
        chunks = (bytes(chunk) async for chunk in found.chunks)
        super().__init__(chunks, media_type=found.media_type, headers=attachment(found.file_name))
        self._until_sent = until_sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._until_sent:
            await super().__call__(scope, receive, send)


class ExportPages(Pages):
    @signed_in
    async def export(self, request: Request) -> Response:
        """GET asks how; POST sends the file, or has it written and leads to how far it is."""
        view, _ = self._allowed(request, "list")
        asked = self._asked(request, view)
        if request.method != "POST":
            return await self._question(request, view, asked)
        posted = await forms.read(request)
        request.state.button_page = str(request.url.replace(scheme="", netloc=""))
        async with self._changing(request) as (session, actor):
            view.service(session, actor).require_export()
            known = [column.name for column in ExportService(session, actor).columns(view.identity)]
        try:
            wanted = _wanted(view, asked, posted, known)
        except InvalidInput as error:
            return await self._question(request, view, asked, posted, error)
        if wanted.format is not Format.EXCEL:
            async with AsyncExitStack() as stack:
                found = await stack.enter_async_context(stream(self._database, actor, wanted))
                if found is not None:
                    return _Sent(found, stack.pop_all())
        export_id = await self._request(request, wanted, forms.key_of(posted))
        return RedirectResponse(self._url(export_id), status_code=303)

    @signed_in
    async def list(self, request: Request) -> Response:
        async with self._reading(request) as session:
            found = await ExportService(session, actor_of(request)).recent()
        exports = [told(self.site.view(export.kind), export) for export in found]
        return self._page(request, "exports.html", {"exports": exports, "kept_days": KEPT_DAYS})

    @signed_in
    async def show(self, request: Request) -> Response:
        return await self._followed(request, "export.html")

    @signed_in
    async def live(self, request: Request) -> Response:
        """What changes on the page while it is written, as HTML without a frame."""
        return await self._followed(request, "_export.html")

    @signed_in
    async def cancel(self, request: Request) -> Response:
        export_id = row_id_of(request)
        async with self._changing(request) as (session, actor):
            await ExportService(session, actor).cancel(export_id)
        return RedirectResponse(self._url(export_id), status_code=303)

    @signed_in
    async def file(self, request: Request) -> Response:
        export_id, actor = row_id_of(request), actor_of(request)
        async with self._reading(request) as session:
            export = await ExportService(session, actor).get_file(export_id)
        stored = await self.site.storage.get_large(export.file)
        if stored is None:
            raise NotFound
        headers = headers_of(export, self.site.view(export.kind).service.noun, stored.size_bytes)
        if request.method == "HEAD":
            return Response(headers=headers)
        await self._note_seen(request, export)
        return StreamingResponse(stored.pieces, headers=headers)

    def _asked(self, request: Request, view: ServiceView) -> ListQuery:
        given = request.query_params.multi_items()
        return view.service.listing.parse(given, [column.name for column in view.columns]).first_page()

    async def _question(
        self,
        request: Request,
        view: ServiceView,
        asked: ListQuery,
        posted: FormData | None = None,
        error: InvalidInput | None = None,
    ) -> Response:
        shown = with_preferences(asked, preferences_of(request).of_list(view.identity), view)
        chosen = shown.columns if posted is None else posted.getlist("column")
        count: Count | None = None
        try:
            async with self._reading(request) as session:
                view.service(session, actor_of(request)).require_export()
                service = ExportService(session, actor_of(request))
                columns = service.columns(view.identity)
                count = await service.count(view.identity, asked)
        except TooSlow:
            pass  # how many there are is good to know, and not needed
        context = {
            "model_view": view,
            "columns": columns,
            "chosen": chosen,
            "formats": [(kind, FORMAT_NAMES[kind], hint) for kind, hint in HINTS.items()],
            "format": str(posted.get("format", "")) if posted else Format.CSV.value,
            "counted": counted_text(view, count),
            "conditions": spoken_conditions(view, asked) if asked.search or asked.filters else "",
            "order": next((item.label for item in view.columns if item.name == asked.sort), ""),
            "is_descending": asked.descending,
            "is_known": count is not None,
            "here": self._list_url(view, request.url.query, "export"),
            "is_large": count is not None and count.number > AT_ONCE,
            "at_once": AT_ONCE,
            "kept_days": KEPT_DAYS,
            "list_url": self._list_url(view, request.url.query),
            "key": forms.new_key(),
        }
        return self._page_again(
            request, "export_new.html", context | {"error": error and error.message}, error
        )

    async def _request(self, request: Request, wanted: ExportRequest, key: UUID) -> UUID:
        """The id of a new export, or of the one the same form asked for, of the same list and choices."""
        address = f"{request.url.path}?{request.url.query}"
        key = uuid5(key, " ".join([address, wanted.format.value, *wanted.columns]))
        try:
            async with self._changing(request) as (session, actor):
                export = await ExportService(session, actor).request(wanted)
                await submissions.claim(session, actor, key, export.id)
                return export.id
        except AlreadySubmitted:
            async with self._reading(request) as session:
                found = await submissions.find(session, actor_of(request), key)
            assert found is not None
            return found

    async def _followed(self, request: Request, template: str) -> Response:
        export_id, actor = row_id_of(request), actor_of(request)
        async with self._reading(request) as session:
            service = ExportService(session, actor)
            export = await service.get_by_id(export_id)
            labels = {column.name: column.label for column in service.columns(export.kind)}
        if export.state not in UNDER_WAY:
            await self._note_seen(request, export)
        context = {
            "told": told(self.site.view(export.kind), export),
            "columns": [labels.get(name, name) for name in export.columns],
            "live_url": self._url(export.id, "live"),
        }
        return self._page(request, template, context)

    async def _note_seen(self, request: Request, export: Export) -> None:
        """Whoever looks at it or fetches it knows."""
        if export.seen_at is None and request.method == "GET":
            async with self._database.transaction() as session:
                await ExportService(session, actor_of(request)).note_seen(export.id)
            if export.state in {ExportState.FINISHED, ExportState.FAILED}:
                forget_one(request)

    def _url(self, export_id: UUID, page: str = "details") -> str:
        return f"{self.site.base_url}/export/{page}/{export_id}"


def _wanted(view: ServiceView, asked: ListQuery, posted: FormData, known: Sequence[str]) -> ExportRequest:
    """Raises InvalidInput."""
    try:
        kind = Format(str(posted.get("format", "")))
    except ValueError:
        raise InvalidInput("Choose a format.") from None
    chosen = set(map(str, posted.getlist("column")))
    if not chosen <= set(known):
        raise InvalidInput("There is no such column.")
    columns = [name for name in known if name in chosen or "every" in posted]
    if not columns:
        raise InvalidInput("Choose at least one column.")
    return ExportRequest(view.identity, kind, asked, columns)
