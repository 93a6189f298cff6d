"""The bin: what was deleted and can be restored for a while."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_app.admin import forms
from admin_app.admin.base_view import Bin, Column, ServiceView
from admin_app.admin.flash import flash, short
from admin_app.admin.listing import address, parameters, spoken
from admin_app.admin.pages import Pages, actor_of, row_id_of, signed_in
from admin_app.errors import Forbidden, NotFound
from admin_app.keyset import Cursor


@dataclass(frozen=True)
class BinRow:
    id: UUID
    cells: Sequence[tuple[Column, Any]]
    deleted_at: datetime
    gone_at: datetime
    time_left: str
    may_restore: bool


class BinPages(Pages):
    @signed_in
    async def show(self, request: Request) -> Response:
        view, service = self._bin(request)
        actor = actor_of(request)
        if not view.allows(actor, "list"):
            raise Forbidden
        listing = service.bin_listing
        asked = listing.parse(request.query_params.multi_items())
        async with self._reading(request) as session:
            page = await service(session, actor).bin_page(asked)
        path = request.url.path
        if asked.cursor is not None and not page.rows:
            # The rows of this page were restored or are gone; those before it may still be there.
            return RedirectResponse(address(listing, asked.first_page(), path), status_code=302)

        def url(cursor: Cursor | Literal["last"] | None) -> str:
            return address(listing, replace(asked, cursor=cursor), path)

        gone_after = timedelta(days=service.bin_days)
        context = {
            "model_view": view,
            "rows": [
                BinRow(
                    id=row.id,
                    cells=[(column, column.of(row)) for column in view.bin_columns],
                    deleted_at=row.deleted_at,
                    gone_at=row.deleted_at + gone_after,
                    time_left=time_left(row.deleted_at + gone_after),
                    may_restore=view.allows(actor, "delete", row),
                )
                for row in page.rows
            ],
            "count": spoken(page.count) if page.count else None,
            "search": asked.search,
            "back": urlencode(parameters(listing, asked)),
            "first_url": url(None) if page.previous else None,
            "previous_url": url(page.previous) if page.previous else None,
            "next_url": url(page.next) if page.next else None,
            "last_url": url("last") if page.next else None,
        }
        return self._page(request, "bin.html", context)

    @signed_in
    async def restore(self, request: Request) -> Response:
        """A second time it changes nothing and says the same."""
        view, service = self._bin(request)
        row_id = row_id_of(request)
        posted = await forms.read(request)
        async with self._changing(request) as (session, actor):
            title = str(await service(session, actor).restore(row_id))
        flash(request, f"{view.name} “{short(title)}” was restored.")
        return RedirectResponse(self._list_url(view, posted.get("back"), page="bin"), status_code=303)

    def _bin(self, request: Request) -> tuple[ServiceView, type[Bin]]:
        view = self._view(request)
        if view.bin is None:
            raise NotFound
        return view, view.bin


def time_left(end: datetime) -> str:
    days = ceil((end - datetime.now(UTC)) / timedelta(days=1))
    return f"in {days} days" if days > 1 else "within a day" if days == 1 else "any time now"
