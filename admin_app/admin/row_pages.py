"""Pages of one row: see it, make it, change it, delete it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from wtforms import Field

from admin_app import submissions
from admin_app.admin import conflicts, forms
from admin_app.admin.base_view import ServiceView
from admin_app.admin.flash import flash, short
from admin_app.admin.history import timeline
from admin_app.admin.pages import Pages, actor_of, row_id_of, signed_in
from admin_app.admin.pictures import IMAGES, Picture, PictureChanges, pictures_of, typed_images
from admin_app.errors import AppError, Conflict, InvalidInput, NotFound
from admin_app.merging import EditConflict
from admin_app.submissions import AlreadySubmitted

RESTORE = "restore"
"""The button that takes the row out of the bin first."""
BACK_AGAIN = "This was deleted and is back again. Nothing is saved yet: save again."

LATEST = 5
"""Entries of the history a details page shows."""


class RowPages(Pages):
    @signed_in
    async def details(self, request: Request) -> Response:
        view, actor, row_id = self._view(request), actor_of(request), row_id_of(request)
        async with self._reading(request) as session:
            row, lines = await view.get_details(session, actor, row_id)
            part = await view.get_part(session, actor, row)
            pictures = await pictures_of(session, actor, view, row.images) if view.images else []
            history = None
            if view.has_history:
                history = await timeline(session, actor, view, row_id, limit=LATEST, only_changes=True)
        context = {
            "model_view": view,
            "row": row,
            "cells": [(column, column.of(row)) for column in view.details],
            "lines": lines,
            "part": part,
            "pictures": pictures,
            "history": history,
            "may_edit": view.allows(actor, "edit", row),
            "may_delete": view.allows(actor, "delete", row),
        }
        return self._page(request, "details.html", context)

    @signed_in
    async def create(self, request: Request) -> Response:
        view, actor = self._allowed(request, "create")
        names = view.form_fields(actor)
        form_class = await view.form_class()
        if request.method != "POST":
            fields = forms.shown(form_class, names)
            return await self._form_page(request, view, fields, key=forms.new_key())
        posted = await forms.read(request)
        if forms.RESUME in posted:
            fields = forms.shown(form_class, names, typed=forms.given_values(posted, names))
            same = str(forms.key_of(posted))
            return await self._form_page(request, view, fields, key=same, is_resumed=True)
        values = forms.text_values(posted, names, view.optional_fields)
        key = forms.key_of(posted)
        try:
            row_id, title = await self._create_once(request, view, values, key)
        except InvalidInput as error:
            fields = forms.shown(form_class, names, typed=values, error=error)
            return await self._form_page(request, view, fields, error, key=str(key))
        flash(request, f"{view.name} “{short(title)}” was created.")
        return self._after_save(view, posted.get("save"), row_id)

    @signed_in
    async def edit(self, request: Request) -> Response:
        (view, actor), row_id = self._allowed(request, "edit"), row_id_of(request)
        names, form_class = view.form_fields(actor), await view.form_class()
        if request.method != "POST":
            async with self._reading(request) as session:
                row = await view.service(session, actor).get_changeable(row_id)
            fields = forms.shown(form_class, names, values=view.form_values(row))
            context = {"version": row.version, "shown": conflicts.typed_values(view, row)}
            back = request.query_params.get("back", "")
            return await self._form_page(request, view, fields, row_id=row_id, back=back, **context)
        posted = await forms.read(request)
        if forms.RESUME in posted:
            return await self._edit_again(request, view, posted)
        try:
            typed = forms.text_values(posted, names, view.optional_fields)
            settled = conflicts.settled(view, posted, typed)
        except forms.Incomplete:
            await self._require_changeable(request, view, row_id)
            raise
        try:
            conflicts.require_secrets(view, posted, settled)
            async with self._changing(request) as (session, actor):
                if posted.get("save") == RESTORE and view.bin:
                    await view.bin(session, actor).restore(row_id)
                saved = await view.update(session, actor, row_id, settled.values, settled.version)
        except (InvalidInput, Conflict, NotFound) as error:
            return await self._edit_again(request, view, posted, error)
        flash(request, f"{view.name} “{short(str(saved.row))}” was saved.")
        meanwhile = conflicts.kept_sentence(view, actor, saved.kept)
        if meanwhile:
            flash(request, meanwhile)
        return self._after_save(view, posted.get("save"), row_id, posted.get("back"))

    @signed_in
    async def delete(self, request: Request) -> Response:
        """GET asks, POST deletes."""
        (view, _), row_id = self._allowed(request, "delete"), row_id_of(request)
        if request.method != "POST":
            return await self._delete_page(request, view, row_id, request.query_params.get("back"))
        posted = await forms.read(request)
        try:
            version = forms.version_of(posted)
        except forms.Incomplete:
            await self._require_changeable(request, view, row_id)
            raise
        try:
            async with self._changing(request) as (session, actor):
                title = str(await view.service(session, actor).delete(row_id, expected_version=version))
        except Conflict as error:
            return await self._delete_page(request, view, row_id, posted.get("back"), error, version=version)
        outcome = f"is in the bin for {view.bin.bin_days} days" if view.bin else "was deleted"
        flash(request, f"{view.name} “{short(title)}” {outcome}.")
        return RedirectResponse(self._list_url(view, posted.get("back")), status_code=303)

    async def _edit_again(
        self, request: Request, view: ServiceView, posted: FormData, error: AppError | None = None
    ) -> Response:
        """The form with all that was typed, after a refusal, or after signing in again.

        Raises NotFound where there is nothing to save it to.
        """
        actor, row_id = actor_of(request), row_id_of(request)
        names, form_class = view.form_fields(actor), await view.form_class()
        settled = conflicts.settled(view, posted, forms.given_values(posted, names))
        is_in_bin = False
        async with self._reading(request) as session:
            try:
                row = await view.service(session, actor).get_changeable(row_id)
            except NotFound:
                if view.bin is None:
                    raise
                row, is_in_bin = await view.bin(session, actor).get_in_bin(row_id), True
        now = conflicts.typed_values(view, row)
        typed = {name: settled.values.get(name, now.get(name, "")) for name in names}
        context: dict[str, Any] = {"version": settled.version, "shown": now, "is_in_bin": is_in_bin}
        if isinstance(error, EditConflict):
            fields = forms.shown(form_class, names)
            choice = conflicts.choice(view, row, fields, settled.values, error)
            typed |= choice.typed
            context |= {"version": choice.version, "opened": settled.version, "choice": choice}
        elif isinstance(error, NotFound) or (error is None and is_in_bin):
            still = "What you typed is still below: restore it and save, or leave it."
            error = Conflict(f"{conflicts.deleted_sentence(view, row)} {still}" if is_in_bin else BACK_AGAIN)
        else:
            context["is_resumed"] = error is None
        invalid = error if isinstance(error, InvalidInput) else None
        fields = forms.shown(form_class, names, typed=typed, error=invalid)
        back = posted.get("back")
        return await self._form_page(request, view, fields, error, row_id=row_id, back=back, **context)

    async def _create_once(
        self, request: Request, view: ServiceView, values: dict[str, str], key: UUID
    ) -> tuple[UUID, str]:
        """Create, or find what the same form created before."""
        try:
            async with self._changing(request) as (session, actor):
                row = await view.create(session, actor, values)
                await submissions.claim(session, actor, key, row.id)
                return row.id, str(row)
        except (AlreadySubmitted, InvalidInput) as error:
            # A second submission may also be refused because of the first, say for the e-mail it took.
            actor = actor_of(request)
            async with self._reading(request) as session:
                row_id = await submissions.find(session, actor, key)
                if row_id is None:
                    raise error
                try:
                    return row_id, str(await view.service(session, actor).get_by_id(row_id))
                except NotFound:
                    raise Conflict(
                        "This form was sent before, and what it made is gone. Open a new one."
                    ) from None

    async def _form_page(
        self,
        request: Request,
        view: ServiceView,
        fields: Sequence[Field],
        error: AppError | None = None,
        *,
        row_id: UUID | None = None,
        back: object = "",
        **context: Any,
    ) -> Response:
        has_details = row_id and not back and not context.get("is_in_bin")
        cancel = f"{self.site.base_url}/{view.identity}/details/{row_id}" if has_details else None
        context = {
            **context,
            "model_view": view,
            "fields": fields,
            **await self._pictures(request, view, fields, context.get("choice")),
            "row_id": row_id,
            "error": error.message if error else None,
            "hints": view.hints(is_new=row_id is None),
            "back": back,
            "cancel_url": cancel or self._list_url(view, back),
        }
        return self._page(request, "form.html", context, error.status if error else 200)

    async def _pictures(
        self, request: Request, view: ServiceView, fields: Sequence[Field], choice: conflicts.Choice | None
    ) -> dict[str, Any]:
        """Those of the form, and how those differ that somebody else gave the row meanwhile."""
        if view.images is None:
            return {}
        [mine] = [typed_images(field.data or "") for field in fields if field.name == IMAGES]
        their = choice.theirs.get(IMAGES) if choice else None
        theirs = typed_images(their.value or "") if their else []
        found: list[Picture] = []
        if mine or theirs:
            async with self._reading(request) as session:
                found = await pictures_of(session, actor_of(request), view, [*mine, *theirs])
        pictures = found[: len(mine)]
        their_pictures = PictureChanges(pictures, found[len(mine) :]) if their else None
        return {"pictures": pictures, "their_pictures": their_pictures}

    async def _delete_page(
        self,
        request: Request,
        view: ServiceView,
        row_id: UUID,
        back: object,
        error: AppError | None = None,
        *,
        version: int | None = None,
    ) -> Response:
        """The question, about the row as it is now; after a refusal with the reason."""
        async with self._reading(request) as session:
            row = await view.service(session, actor_of(request)).get_changeable(row_id)
        context = {
            "model_view": view,
            "row": row,
            "row_id": row_id,
            "version": row.version,
            "back": back,
            "error": error.message if error else None,
            "is_changed": version is not None and row.version != version and view.has_history,
        }
        return self._page(request, "delete.html", context, error.status if error else 200)

    def _after_save(self, view: ServiceView, button: object, row_id: UUID, back: object = None) -> Response:
        match button:
            case "continue":
                target = f"{self.site.base_url}/{view.identity}/edit/{row_id}"
            case "another":
                target = f"{self.site.base_url}/{view.identity}/create"
            case _:
                target = self._list_url(view, back)
        return RedirectResponse(target, status_code=303)
