"""Imports in the API: a file is sent, matched, checked and looked at; confirmed, an operation does it."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from admin_app.actor import Actor, Role
from admin_app.api.answers import answer, links, location
from admin_app.api.auth import doors_of
from admin_app.api.documentation import IF_MATCH, body, form, returns, returns_text
from admin_app.api.import_shapes import (
    VERDICTS,
    ColumnMatching,
    FileLayout,
    ImportList,
    ImportQuery,
    ImportRead,
    KindList,
    RowPage,
    RowQuery,
    UploadQuery,
    import_of,
    kind_of,
    row_of,
    summary_of,
)
from admin_app.api.preconditions import etag, not_modified, require_unchanged
from admin_app.api.problems import Fault, InvalidBody, pointer_to
from admin_app.api.requests import read_json, saved_file
from admin_app.api.routing import PlainRoute
from admin_app.database import Database
from admin_app.errors import InvalidInput
from admin_app.imports.arriving import read_again, take_in
from admin_app.imports.importer import IMPORTERS, Importers
from admin_app.imports.matching import KEY, places_of
from admin_app.imports.models import Import
from admin_app.imports.reading import FileFormat, Layout
from admin_app.imports.refused import file_name, refused_rows
from admin_app.imports.service import ImportService

UPLOADS = "/imports/"
"""Below the API: where a body may be as long as a file to be imported."""
FILE = "file"

router = APIRouter(prefix="/imports", tags=["imports"], route_class=PlainRoute)


@router.get("/kinds", summary="List what can be imported", responses=returns(KindList))
async def list_kinds(request: Request) -> Response:
    """With the fields a column can be, and those by which rows are found."""
    async with doors_of(request).reading(request) as (session, actor):
        importers: Importers = session.info[IMPORTERS]
        found = [kind_of(importer) for importer in importers.values() if importer.may_import(actor)]
    return answer(KindList(found))


@router.post(
    "/",
    status_code=201,
    summary="Send a file",
    openapi_extra=form(FILE, "products.csv"),
    responses=returns(ImportRead, 201, has_location=True),
)
async def send_file(request: Request, query: Annotated[UploadQuery, Query()]) -> Response:
    """CSV, JSON lines or Excel, up to 200 MB. Its columns are matched as guessed; nothing is imported yet."""
    doors, database = doors_of(request), _database(request)
    async with doors.reading(request) as (session, actor):
        ImportService(session, actor).importer(query.kind)
    async with saved_file(request, FILE) as file:
        async with doors.changing(request) as (_, actor):
            pass  # who calls is asked again: the file may have taken its time
        taken = await take_in(database, actor, query.kind, file.path, file.name)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        return _told(request, await ImportService(session, actor).get_by_id(taken.id), 201)

    is_kept = False
    try:
        answered = await doors.change(request, work, file.digest)
        is_kept = str(taken.id) in answered.headers["location"]
    finally:
        if not is_kept:  # sent twice, and the other one was first
            async with database.transaction() as session:
                await ImportService(session, actor).discard(taken.id)
    return answered


@router.get("/", summary="List imports", responses=returns(ImportList))
async def list_imports(request: Request, query: Annotated[ImportQuery, Query()]) -> Response:
    """The caller's own, the newest first."""
    async with doors_of(request).reading(request) as (session, actor):
        service = ImportService(session, actor)
        service.importer(query.kind)
        found = await service.recent(query.kind, query.limit)
    return answer(ImportList([summary_of(item) for item in found]))


@router.get("/{import_id:uuid}", summary="Follow an import", responses=returns(ImportRead, has_tag=True))
async def read_import(request: Request, import_id: UUID) -> Response:
    """What its columns are taken for, how far the check is, and what it has found."""
    async with doors_of(request).reading(request) as (session, actor):
        found = await ImportService(session, actor).get_by_id(import_id)
    return not_modified(request, found.attempt, _tag(found)) or _told(request, found)


@router.put(
    "/{import_id:uuid}/layout",
    summary="Read the file in another way",
    openapi_extra=body(FileLayout),
    responses=returns(ImportRead),
)
async def read_file_again(request: Request, import_id: UUID) -> Response:
    """For a CSV file whose encoding or delimiter was guessed wrongly. Its columns are guessed again."""
    doors = doors_of(request)
    await doors.enter(request, _may_import)
    data = await read_json(request, FileLayout)
    async with doors.changing(request) as (session, actor):
        found = await ImportService(session, actor).get_by_id(import_id)
        require_unchanged(request, found.attempt)
    layout = Layout(FileFormat(found.format), data.encoding, data.delimiter)
    await read_again(_database(request), actor, found, layout)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        return _told(request, await ImportService(session, actor).get_by_id(import_id))

    return await doors.change(request, work)


@router.put(
    "/{import_id:uuid}/matching",
    status_code=202,
    summary="Match columns",
    openapi_extra=body(ColumnMatching),
    responses=returns(ImportRead, 202),
)
async def match_columns(request: Request, import_id: UUID) -> Response:
    """Says which column is what, and has the file checked, in the background. Nothing is imported yet."""
    await doors_of(request).enter(request, _may_import)
    data = await read_json(request, ColumnMatching)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        service = ImportService(session, actor)
        found = await service.get_by_id(import_id)
        require_unchanged(request, found.attempt)
        matching = _places(found, data.matching)
        try:
            matched = await service.match(import_id, matching, found.key if data.key is None else data.key)
        except InvalidInput as error:
            raise _pointing(error) from None
        return _told(request, matched, 202)

    return await doors_of(request).change(request, work)


@router.get(
    "/{import_id:uuid}/rows",
    summary="List the rows of a file",
    responses=returns(RowPage, has_links=True),
)
async def list_rows(request: Request, import_id: UUID, query: Annotated[RowQuery, Query()]) -> Response:
    """What each would do, as it was when the file was checked."""
    async with doors_of(request).reading(request) as (session, actor):
        verdict = VERDICTS[query.verdict] if query.verdict else None
        found, has_more = await ImportService(session, actor).rows(
            import_id, verdict, query.cursor, query.limit
        )
    following = found[-1].line if has_more else None
    page = RowPage([row_of(row) for row in found], following)
    return answer(page, headers=links(request, next=str(following) if following else None))


@router.get(
    "/{import_id:uuid}/refused",
    summary="Get the refused rows as a file",
    response_class=Response,
    responses=returns_text("text/csv", "The columns of the file, and why in front of them."),
)
async def get_refused_rows(request: Request, import_id: UUID) -> Response:
    """To be corrected, and sent as a new file."""
    async with doors_of(request).reading(request) as (session, actor):
        found = await ImportService(session, actor).get_by_id(import_id)
    name = quote(file_name(found.name), safe="")
    return StreamingResponse(
        refused_rows(_database(request), actor, found),
        media_type="text/csv",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


@router.post(
    "/{import_id:uuid}/confirm",
    status_code=202,
    summary="Confirm an import",
    openapi_extra={"parameters": [IF_MATCH]},
    responses=returns(ImportRead, 202, has_location=True),
)
async def confirm_import(request: Request, import_id: UUID) -> Response:
    """Lets an operation do what the check found: follow, cancel and undo that. Once is enough."""
    await doors_of(request).enter(request, _may_import)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        service = ImportService(session, actor)
        require_unchanged(request, (await service.get_by_id(import_id)).attempt)
        operation = await service.confirm(import_id)
        headers = location(request, f"/operations/{operation.id}")
        return _told(request, await service.get_by_id(import_id), 202, headers)

    return await doors_of(request).change(request, work)


@router.delete("/{import_id:uuid}", status_code=204, summary="Discard an import")
async def discard_import(request: Request, import_id: UUID) -> Response:
    """Its file and rows are deleted. One that is confirmed stays (409): cancel or undo its operation."""
    await doors_of(request).enter(request, _may_import)

    async def work(session: AsyncSession, actor: Actor) -> Response:
        service = ImportService(session, actor)
        require_unchanged(request, (await service.get_by_id(import_id)).attempt)
        await service.discard(import_id)
        return Response(status_code=204)

    return await doors_of(request).change(request, work)


def _may_import(actor: Actor) -> bool:
    """Support only looks."""
    return actor.role is not Role.SUPPORT


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _places(found: Import, given: Mapping[str, str] | None) -> dict[int, str]:
    if given is None:
        return {int(place): field for place, field in found.matching.items()}
    try:
        return places_of(found.columns, given)
    except InvalidInput as error:
        faults = [Fault(told, pointer_to("matching", name)) for name, told in error.fields.items()]
        raise InvalidBody(faults) from None


def _pointing(error: InvalidInput) -> InvalidInput | InvalidBody:
    """To where in the body its fields are: all but the key are about the matching."""
    if not error.fields:
        return error
    return InvalidBody(
        [Fault(told, pointer_to(KEY if name == KEY else "matching")) for name, told in error.fields.items()]
    )


def _tag(found: Import) -> str:
    return etag(found.attempt, [found.state, found.checked_bytes, found.encoding, found.delimiter])


def _told(
    request: Request, found: Import, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    headers = location(request, f"/imports/{found.id}") if status == 201 else headers
    return answer(import_of(found), status, tag=_tag(found), headers=headers)
