"""Exports in the API: lists of any kind, written to a file in the background, and fetching the file."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from admin_app.actor import Actor
from admin_app.api.answers import Moment, answer, location
from admin_app.api.auth import doors_of
from admin_app.api.documentation import body, returns
from admin_app.api.lists import Conditions
from admin_app.api.problems import Fault, InvalidBody, complaints_of, pointer_to
from admin_app.api.requests import read_json
from admin_app.api.routing import PlainRoute
from admin_app.errors import NotFound
from admin_app.exports.exportable import EXPORTABLE, Exportables, ExportableService
from admin_app.exports.files import MEDIA_TYPES, headers_of
from admin_app.exports.models import Export, ExportState, Format
from admin_app.exports.service import ExportRequest, ExportService
from admin_app.listing import BadQuery
from admin_app.storage import storage_of
from admin_app.text import reject_null

MAX_COLUMNS = 100
FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "OK",
        "content": {
            kind.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
            for kind in MEDIA_TYPES.values()
        },
    }
}

Where = Mapping[str, type[Conditions]]
"""kind -> what its rows can be selected by."""


class NewExport(BaseModel):
    """`where` and `sort` are those of the list of this kind; `{}` are all rows.

    `columns` are those of the list on the website, in this order; without, it has the usual ones.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["product", "user", "operation", "activity"]
    format: Literal["csv", "jsonl", "xlsx"]
    where: dict[str, JsonValue] = {}
    sort: str = ""
    columns: Annotated[list[str], Field(min_length=1, max_length=MAX_COLUMNS)] | None = None

    _no_null = reject_null()


class ExportRead(msgspec.Struct):
    """`waiting`, `running`, then `finished`, `failed` or `cancelled`. `expected` rows are an estimate.

    `file` is where it can be fetched, until `open_until`.
    """

    id: UUID
    kind: str
    format: str
    selection: str
    columns: list[str]
    state: str
    is_cancelling: bool
    expected: int
    rows: int
    size_bytes: int | None
    error: str | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    open_until: Moment | None
    file: str | None


class ExportList(msgspec.Struct):
    """The newest first, up to 50 of them; one whose file is gone is not among them."""

    items: list[ExportRead]


def routes_for(exportables: Exportables, where: Where) -> APIRouter:
    """`exportables` are all there are; who may export what, they decide."""
    router = APIRouter(prefix="/exports", tags=["exports"], route_class=PlainRoute)

    @router.post(
        "/",
        status_code=201,
        summary="Start an export",
        openapi_extra=body(NewExport),
        responses=returns(ExportRead, 201, has_location=True),
    )
    async def start_export(request: Request) -> Response:
        """It is written in the background, as the caller would see the list then. Fetch it within 7 days."""
        await doors_of(request).enter(request)
        data = await read_json(request, NewExport)
        service = exportables[data.kind]
        wanted = _wanted(data, service, where[data.kind])

        async def work(session: AsyncSession, actor: Actor) -> Response:
            export = await ExportService(session, actor).request(wanted)
            await session.refresh(export)
            return answer(_read(request, export), 201, headers=location(request, f"/exports/{export.id}"))

        return await doors_of(request).change(request, work)

    router.routes.extend(_router.routes)
    return router


_router = APIRouter(prefix="/exports", tags=["exports"], route_class=PlainRoute)


@_router.get("/", summary="List exports", responses=returns(ExportList))
async def list_exports(request: Request) -> Response:
    """The caller's own."""
    async with doors_of(request).reading(request) as (session, actor):
        found = await ExportService(session, actor).recent()
    return answer(ExportList([_read(request, export) for export in found]))


@_router.get("/{export_id:uuid}", summary="Follow an export", responses=returns(ExportRead))
async def read_export(request: Request, export_id: UUID) -> Response:
    """How far it is."""
    async with doors_of(request).reading(request) as (session, actor):
        export = await ExportService(session, actor).get_by_id(export_id)
    return answer(_read(request, export))


@_router.get(
    "/{export_id:uuid}/file",
    summary="Fetch the file of an export",
    response_class=Response,
    responses=FILES,
)
async def read_export_file(request: Request, export_id: UUID) -> Response:
    """404 until it is `finished`, and 7 days after. One of users takes a fresh proof: no token gets it."""
    async with doors_of(request).reading(request) as (session, actor):
        export = await ExportService(session, actor).get_file(export_id)
        noun = session.info[EXPORTABLE][export.kind].noun
        storage = storage_of(session)
    stored = await storage.get_large(export.file)
    if stored is None:
        raise NotFound
    headers = headers_of(export, noun, stored.size_bytes)
    if request.method == "HEAD":
        return Response(headers=headers)
    if export.seen_at is None:
        async with doors_of(request).changing(request) as (session, actor):
            await ExportService(session, actor).note_seen(export_id)
    return StreamingResponse(stored.pieces, headers=headers)


@_router.post("/{export_id:uuid}/cancel", summary="Cancel an export", responses=returns(ExportRead))
async def cancel_export(request: Request, export_id: UUID) -> Response:
    """One that has ended stays as it is."""
    await doors_of(request).enter(request)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        export = await ExportService(session, actor).cancel(export_id)
        await session.refresh(export)
        return answer(_read(request, export))

    return await doors_of(request).change(request, work)


def _wanted(data: NewExport, service: type[ExportableService], shape: type[Conditions]) -> ExportRequest:
    """Raises InvalidBody."""
    names = {column.name: column.is_usual for column in service.export_columns}
    columns = [name for name, is_usual in names.items() if is_usual] if data.columns is None else data.columns
    unknown = [place for place, name in enumerate(columns) if name not in names]
    if unknown:
        choices = f"Choose among: {', '.join(names)}."
        raise InvalidBody([Fault(choices, pointer_to("columns", str(place))) for place in unknown])
    try:
        where = shape.model_validate_json(to_json(data.where), strict=True)
    except ValidationError as error:
        raise InvalidBody.of(complaints_of(error), "where") from None
    listing = service.listing
    order = {"sortBy": data.sort.removeprefix("-"), "sort": "desc" if data.sort.startswith("-") else "asc"}
    given = {**where.texts(), **(order if data.sort else {})}
    try:
        query = listing.parse(list(given.items()))
    except BadQuery as error:
        at = ("sort",) if error.parameter == "sort" else ("where", error.parameter)
        raise InvalidBody([Fault(error.message, pointer_to(*at))]) from None
    return ExportRequest(data.kind, Format(data.format), query, list(dict.fromkeys(columns)))


def _read(request: Request, export: Export) -> ExportRead:
    is_ready = export.state is ExportState.FINISHED
    special: dict[str, Any] = {
        "open_until": export.open_until if is_ready else None,
        "file": f"{request.scope['root_path']}/exports/{export.id}/file" if is_ready else None,
    }
    names = [name for name in ExportRead.__struct_fields__ if name not in special]
    values = {name: getattr(export, name) for name in names}
    return ExportRead(**values, **special)
