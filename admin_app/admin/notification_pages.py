"""The bell of the frame and the page behind it: what has ended of one's own operations and exports."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_app.admin import forms
from admin_app.admin.operations import outcome_text
from admin_app.admin.pages import Pages, actor_of, signed_in
from admin_app.bulk.models import BulkOperation, State
from admin_app.database import Database
from admin_app.errors import InvalidInput
from admin_app.exports.models import Export, ExportState
from admin_app.notifications import Ended, NotificationService, Unseen

TOLD_AT_ONCE = 3
NO_MOMENT = "That is no moment in time. Open the notifications again, and mark them there."


@dataclass(frozen=True)
class Notification:
    """`file_url` is where to fetch the file that is ready, if there is one."""

    sentence: str
    words: str
    url: str
    file_url: str | None
    ended_at: datetime | None
    is_unseen: bool
    look: str


class NotificationPages(Pages):
    @signed_in
    async def show(self, request: Request) -> Response:
        async with self._reading(request) as session:
            found = await NotificationService(session, actor_of(request)).recent()
        until = found[0].finished_at if found else None
        context = {"notifications": [self._told(item) for item in found], "until": until}
        return self._page(request, "notifications.html", context)

    async def live(self, request: Request) -> Response:
        """The bell as it is now, and what ended since then. Asked by the page itself: no sign of life."""
        request.state.by_itself = True
        return await self._live(request)

    @signed_in
    async def _live(self, request: Request) -> Response:
        since = _moment(text) if (text := request.query_params.get("since")) else None
        unseen: Unseen = request.state.unseen
        news: list[Ended] = []
        if unseen.newest_at is not None and (since is None or unseen.newest_at > since):
            async with self._reading(request) as session:
                news = await NotificationService(session, actor_of(request)).news(since, TOLD_AT_ONCE)
        return self._page(request, "_bell_live.html", {"news": [self._told(item) for item in news]})

    @signed_in
    async def mark_seen(self, request: Request) -> Response:
        """All that the page showed: what ended since then stays news."""
        until = _moment(str((await forms.read(request)).get("until", "")))
        async with self._changing(request) as (session, actor):
            await NotificationService(session, actor).mark_seen(until)
        return RedirectResponse(f"{self.site.base_url}/notifications", status_code=303)

    def _told(self, item: Ended) -> Notification:
        return self._export(item) if isinstance(item, Export) else self._operation(item)

    def _operation(self, operation: BulkOperation) -> Notification:
        look = "bad" if operation.error or operation.failed else "on"
        if operation.state is State.BROKEN:
            sentence = f"{operation.label}: it could not begin"
        elif operation.state is State.CANCELLED:
            ending = "stopped" if operation.error else "cancelled"
            sentence = f"{operation.label}: {ending}, {outcome_text(operation)}"
        else:
            sentence = f"{operation.label}: {outcome_text(operation)}"
        url = f"{self.site.base_url}/operation/details/{operation.id}"
        ended_at = operation.finished_at
        is_unseen = operation.seen_at is None
        return Notification(sentence, operation.selection, url, None, ended_at, is_unseen, look)

    def _export(self, export: Export) -> Notification:
        view, base_url = self.site.view(export.kind), self.site.base_url
        is_kept = export.open_until is not None and export.open_until > datetime.now(UTC)
        if export.state is ExportState.FINISHED:
            sentence, look = f"Your export of {view.counted(export.rows)} is ready", "on"
        else:
            sentence, look = f"Your export of {view.service.noun} could not be written", "bad"
        has_file = is_kept and export.state is ExportState.FINISHED
        file_url = f"{base_url}/export/file/{export.id}" if has_file else None
        url = f"{base_url}/export/details/{export.id}" if is_kept else f"{base_url}/exports"
        is_unseen = export.seen_at is None
        return Notification(sentence, export.selection, url, file_url, export.finished_at, is_unseen, look)


async def note_seen(database: Database, request: Request, told: Mapping[str, Any]) -> None:
    """Whoever looks at the end of an operation of their own knows of it: the bell has one less to tell."""
    operation = told.get("operation")
    actor = actor_of(request)
    if request.method != "GET" or not isinstance(operation, BulkOperation) or operation.actor_id != actor.id:
        return
    if operation.seen_at is None and operation.finished_at is not None:
        async with database.transaction() as session:
            await NotificationService(session, actor).note_seen(operation.id)
        forget_one(request)


def forget_one(request: Request) -> None:
    request.state.unseen = request.state.unseen.without_one()


def _moment(text: str) -> datetime:
    """Raises InvalidInput."""
    with suppress(ValueError, OverflowError):  # in UTC, an hour of year 1 may be of year 0
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    raise InvalidInput(NO_MOMENT)
