"""Pages of one row: see it, make it, change it, delete it."""

from collections.abc import Sequence
from uuid import UUID

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from wtforms import Field

from admin_app import submissions
from admin_app.admin import forms
from admin_app.admin.base_view import ServiceView
from admin_app.admin.flash import flash, short
from admin_app.admin.pages import Pages, actor_of, row_id_of, signed_in
from admin_app.errors import AppError, Conflict, InvalidInput, NotFound
from admin_app.submissions import AlreadySubmitted


class RowPages(Pages):
    @signed_in
    async def details(self, request: Request) -> Response:
        view, actor, row_id = self._view(request), actor_of(request), row_id_of(request)
        async with self._reading(request) as session:
            row, lines = await view.get_details(session, actor, row_id)
        context = {
            "model_view": view,
            "row": row,
            "cells": [(column, column.of(row)) for column in view.details],
            "lines": lines,
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
            return self._form_page(request, view, fields, key=forms.new_key())
        posted = await forms.read(request)
        values, key = forms.text_values(posted, names), forms.key_of(posted)
        try:
            row_id, title = await self._create_once(request, view, values, key)
        except InvalidInput as error:
            fields = forms.shown(form_class, names, typed=values, error=error)
            return self._form_page(request, view, fields, key=str(key), error=error)
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
            back = request.query_params.get("back", "")
            return self._form_page(request, view, fields, row_id=row_id, version=row.version, back=back)
        posted = await forms.read(request)
        try:
            values, version = forms.text_values(posted, names), forms.version_of(posted)
        except forms.Incomplete:
            await self._require_changeable(request, view, row_id)
            raise
        try:
            async with self._changing(request) as (session, actor):
                row = await view.update(session, actor, row_id, values, version)
        except (InvalidInput, Conflict) as error:
            await self._require_changeable(request, view, row_id)
            invalid = error if isinstance(error, InvalidInput) else None
            fields = forms.shown(form_class, names, typed=values, error=invalid)
            return self._form_page(
                request,
                view,
                fields,
                row_id=row_id,
                version=version,
                error=error,
                back=posted.get("back"),
            )
        flash(request, f"{view.name} “{short(str(row))}” was saved.")
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
            return await self._delete_page(request, view, row_id, posted.get("back"), error)
        outcome = f"is in the bin for {view.bin.bin_days} days" if view.bin else "was deleted"
        flash(request, f"{view.name} “{short(title)}” {outcome}.")
        return RedirectResponse(self._list_url(view, posted.get("back")), status_code=303)

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

    def _form_page(
        self,
        request: Request,
        view: ServiceView,
        fields: Sequence[Field],
        *,
        row_id: UUID | None = None,
        key: str = "",
        version: int | None = None,
        error: AppError | None = None,
        back: object = "",
    ) -> Response:
        cancel = f"{self.site.base_url}/{view.identity}/details/{row_id}" if row_id and not back else None
        context = {
            "model_view": view,
            "fields": fields,
            "row_id": row_id,
            "key": key,
            "version": version,
            "error": error.message if error else None,
            "is_conflict": isinstance(error, Conflict),
            "hints": view.hints(is_new=row_id is None),
            "back": back,
            "cancel_url": cancel or self._list_url(view, back),
        }
        return self._page(request, "form.html", context, error.status if error else 200)

    async def _delete_page(
        self,
        request: Request,
        view: ServiceView,
        row_id: UUID,
        back: object,
        error: AppError | None = None,
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
