"""Pages of what happened: the history of a row, one entry of it, and a row beside how it was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_app.actor import Actor
from admin_app.admin import forms
from admin_app.admin.base_view import Past, ServiceView
from admin_app.admin.flash import flash, short
from admin_app.admin.history import (
    ToldField,
    field_labels,
    people_of,
    pictures_in,
    timeline,
    told,
    told_field,
)
from admin_app.admin.pages import Pages, actor_of, row_id_of, signed_in
from admin_app.audit import kind_of, snapshot
from admin_app.domains.activity.access import may_read_addresses
from admin_app.domains.activity.service import ActivityService
from admin_app.errors import AppError, Conflict, InvalidInput, NotFound
from admin_app.merging import EditConflict
from admin_app.search import as_id

PAGE_SIZE = 25
VERSION = "version"
"""In the address, the version to compare with."""
PAST = "past"
"""The same in the form, where "version" is what the row has today."""
FIELDS = "fields"
NOTHING_CHOSEN = "Choose at least one field to bring back."


@dataclass(frozen=True)
class Compared:
    """A field as it was and as it is today; `error` says why it cannot be brought back."""

    field: ToldField
    may_revert: bool
    is_chosen: bool
    error: str | None


class HistoryPages(Pages):
    @signed_in
    async def show(self, request: Request) -> Response:
        """Everything that happened to a row, for whoever may read it, if it is in the bin also."""
        view, actor, row_id = self._view(request), actor_of(request), row_id_of(request)
        if not view.has_history:
            raise NotFound
        before = request.query_params.get("before")
        last = as_id(before) if before is not None else None
        if before is not None and last is None:
            raise AppError("There is no such place in this history. Open it again.")
        async with self._reading(request) as session:
            row, is_in_bin = await _find(session, actor, view, row_id)
            found = await timeline(session, actor, view, row_id, limit=PAGE_SIZE, before=last)
        context = {
            "model_view": view,
            "row": row,
            "row_id": row_id,
            "is_in_bin": is_in_bin,
            "history": found,
            "is_newest": last is None,
        }
        return self._page(request, "history.html", context)

    @signed_in
    async def entry(self, request: Request) -> Response:
        actor = actor_of(request)
        row: Any = None
        is_in_bin = False
        async with self._reading(request) as session:
            entry = await ActivityService(session, actor).get_by_id(row_id_of(request))
            views = [view for view in self.site.service_views if kind_of(view.model) == entry.kind]
            if views and entry.row_id is not None:
                try:
                    row, is_in_bin = await _find(session, actor, views[0], entry.row_id)
                except NotFound:
                    row = None
            pictures = await pictures_in(session, actor, views[0], [entry.changes]) if views else {}
        context = {
            "model_view": views[0] if views else None,
            "entry": entry,
            "told": told(entry, pictures),
            "row": row,
            "is_in_bin": is_in_bin,
            "may_read_address": may_read_addresses(actor) or entry.actor_id == actor.id,
        }
        return self._page(request, "entry.html", context)

    @signed_in
    async def compare(self, request: Request) -> Response:
        view, actor, row_id = self._view(request), actor_of(request), row_id_of(request)
        _past(view)
        async with self._reading(request) as session:
            row, is_in_bin = await _find(session, actor, view, row_id)
            if is_in_bin:
                return self._in_bin(request, view, row)
            version = _version(request.query_params.get(VERSION))
            if not 1 <= version <= row.version:
                raise AppError(
                    f"Choose a version from 1 to {row.version}: that is what this {view.name.lower()} "
                    "is at today."
                )
            context = await _comparison(session, actor, view, row, version)
        return self._page(request, "compare.html", context)

    @signed_in
    async def revert(self, request: Request) -> Response:
        """A second time it changes nothing and says the same."""
        view, row_id = self._view(request), row_id_of(request)
        service = _past(view)
        self._allowed(request, "edit")
        posted = await forms.read(request)
        try:
            version, today, names = _sent(posted, view)
        except AppError:
            await self._require_changeable(request, view, row_id)
            raise
        try:
            if not names:
                raise InvalidInput(NOTHING_CHOSEN)
            async with self._changing(request) as (session, actor):
                row = await service(session, actor).revert(row_id, version, names, expected_version=today)
        except (InvalidInput, EditConflict, NotFound) as error:
            return await self._not_reverted(request, view, version, names, error)
        title = f"{view.name} “{short(str(row))}”"
        if row.version == today:
            flash(request, f"{title} is like that already, so nothing was changed.")
        else:
            labels = ", ".join(field_labels(kind_of(view.model))[name] for name in names)
            flash(request, f"{title}: {labels} brought back from version {version}.")
        return RedirectResponse(f"{self.site.base_url}/{view.identity}/details/{row_id}", status_code=303)

    async def _not_reverted(
        self, request: Request, view: ServiceView, version: int, names: Sequence[str], error: AppError
    ) -> Response:
        """The page again, with the row as it is by now; raises NotFound for whom it does not exist."""
        actor, row_id = actor_of(request), row_id_of(request)
        async with self._reading(request) as session:
            row, is_in_bin = await _find(session, actor, view, row_id)
            if is_in_bin:
                return self._in_bin(request, view, row)
            row = await view.service(session, actor).get_changeable(row_id)
            context = await _comparison(session, actor, view, row, version, chosen=names, error=error)
            if isinstance(error, EditConflict):
                context["error"] = _contested(view, error)
        return self._page(request, "compare.html", context, error.status)

    def _in_bin(self, request: Request, view: ServiceView, row: Any) -> Response:
        message = f"This {view.name.lower()} is in the bin. Restore it before anything of it is brought back."
        context = {"model_view": view, "row": row, "row_id": row.id, "is_in_bin": True, "error": message}
        return self._page(request, "compare.html", context, Conflict.status)


async def _find(session: AsyncSession, actor: Actor, view: ServiceView, row_id: UUID) -> tuple[Any, bool]:
    """The row, and whether it is in the bin. Raises NotFound for whom it does not exist there either."""
    try:
        return await view.service(session, actor).get_by_id(row_id), False
    except NotFound:
        if view.bin is None:
            raise
        return await view.bin(session, actor).get_in_bin(row_id), True


async def _comparison(
    session: AsyncSession,
    actor: Actor,
    view: ServiceView,
    row: Any,
    version: int,
    *,
    chosen: Sequence[str] | None = None,
    error: AppError | None = None,
) -> dict[str, Any]:
    """All that can be changed is chosen, or what somebody chose already, but not what changed meanwhile."""
    contested = error.clashes if isinstance(error, EditConflict) else {}
    kind, service = kind_of(view.model), _past(view)(session, actor)
    past, today = await service.at_version(row, version), snapshot(row)
    people = await service.emails_of(people_of(kind, past, today))
    pairs = {name: (past[name], today[name]) for name in _comparable(view)}
    pictures = await pictures_in(session, actor, view, [pairs])
    reasons: Mapping[str, str] = error.fields if isinstance(error, InvalidInput) else {}
    compared = [
        Compared(
            told_field(kind, name, pair, people, pictures),
            service.may_revert(row, name),
            name not in contested and (chosen is None or name in chosen),
            reasons.get(name) or reasons.get(view.form_names.get(name, name)),
        )
        for name, pair in pairs.items()
    ]
    return {
        "model_view": view,
        "row": row,
        "row_id": row.id,
        "version": version,
        "different": [item for item in compared if past[item.field.name] != today[item.field.name]],
        "unchanged": [item.field for item in compared if past[item.field.name] == today[item.field.name]],
        "error": error.message if error else None,
    }


def _contested(view: ServiceView, error: EditConflict) -> str:
    labels = field_labels(kind_of(view.model))
    people = " and ".join(dict.fromkeys(clash.who for clash in error.clashes.values()))
    names = " and ".join(labels[name] for name in error.clashes)
    return f"Meanwhile {people} changed {names}. Nothing is brought back yet: look again, and choose."


def _comparable(view: ServiceView) -> list[str]:
    """The columns a form changes; whether a row is in the bin is none of them."""
    return [name for name in field_labels(kind_of(view.model)) if name in view.update_schema.model_fields]


def _past(view: ServiceView) -> type[Past]:
    if view.past is None:
        raise NotFound
    return view.past


def _sent(posted: FormData, view: ServiceView) -> tuple[int, int, list[str]]:
    """The version to go back to, the one of today, and the fields. Raises AppError for what none offers."""
    version, today = forms.version_of(posted, PAST), forms.version_of(posted)
    given, offered = set(posted.getlist(FIELDS)), _comparable(view)
    if not given <= set(offered):
        raise AppError("This is not a field that can be brought back. Open the page again.")
    return version, today, [name for name in offered if name in given]


def _version(text: str | None) -> int:
    """0 for what is no version."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 9 else 0
