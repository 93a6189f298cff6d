"""The admin site: sqladmin's frame with our pages in it, and the only routes there are."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqladmin import Admin
from sqladmin.authentication import login_required
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from wtforms import Field

from admin_app import submissions
from admin_app.actor import Actor, Source
from admin_app.admin import actions, error_pages, forms
from admin_app.admin.authentication import Authentication
from admin_app.admin.base_view import ServiceView
from admin_app.admin.error_pages import ErrorPagesMiddleware
from admin_app.admin.flash import flash, short
from admin_app.admin.formatting import FILTERS, path_for
from admin_app.admin.listing import address, list_page
from admin_app.admin.permissions import Permissions
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.products.admin import ProductAdmin
from admin_app.domains.users.admin import UserAdmin
from admin_app.errors import AppError, Conflict, Forbidden, InvalidInput, NotFound
from admin_app.listing import BadQuery, is_storable, parse_text
from admin_app.submissions import AlreadySubmitted

BASE_URL = "/admin"
HERE = Path(__file__).parent
STATIC = HERE.parent / "static"
MAX_BACK_LENGTH = 4000
WRONG_SIGN_IN = "E-mail or password is wrong."
VIEWS: tuple[type[ServiceView], ...] = (ProductAdmin, UserAdmin)


class AppAdmin(Admin):
    """sqladmin gives the menu, the template chain and the form scaffolding; every endpoint is ours.

    What sqladmin would route and we do not: file download and preview (they serve files named by any
    text column), export and import (around the service), and changes by GET or DELETE.
    """

    def __init__(self, app: Starlette, database: Database, settings: Settings) -> None:
        self.door = Authentication(database, settings, BASE_URL)
        super().__init__(
            app,
            # Its own session maker: sqladmin turns autoflush off on the one it is given.
            session_maker=database.sessionmaker(),
            base_url=BASE_URL,
            title="Admin",
            templates_dir=str(HERE / "templates"),
            # Inside the mount too: its own last resort would answer in plain text, and raise again.
            middlewares=[Middleware(ErrorPagesMiddleware, render=self.error_page)],
            authentication_backend=self.door,
            authorization_backend=Permissions(),
        )
        self._database = database
        self.templates.env.filters.update(FILTERS)
        self.templates.env.globals["url_for"] = path_for
        self.admin.router.routes = [
            Mount("/statics", app=StaticFiles(directory=STATIC), name="statics"),
            Route("/", self.index, name="index"),
            Route("/login", self.login, name="login", methods=["GET", "POST"]),
            Route("/logout", self.logout, name="logout", methods=["POST"]),
            Route("/{identity}/list", self.list, name="list"),
            Route("/{identity}/create", self.create, name="create", methods=["GET", "POST"]),
            Route("/{identity}/bulk", self.bulk, name="bulk", methods=["POST"]),
            Route("/{identity}/details/{pk}", self.details, name="details"),
            Route("/{identity}/edit/{pk}", self.edit, name="edit", methods=["GET", "POST"]),
            Route("/{identity}/delete/{pk}", self.delete, name="delete", methods=["GET", "POST"]),
            Route("/{identity}/ajax/lookup", self.ajax_lookup, name="ajax_lookup"),
        ]
        # Such a redirect would be an absolute one, made from the Host header.
        self.admin.router.redirect_slashes = app.router.redirect_slashes = False
        self.admin.exception_handlers = {HTTPException: self._on_error, AppError: self._on_error}
        for view in VIEWS:
            self.add_view(view)

    @login_required
    async def index(self, request: Request) -> Response:
        views = [view for view in self.views if view.has_permission(request, "list")]
        return await self._page(request, "sqladmin/index.html", {"model_views": views})

    async def login(self, request: Request) -> Response:
        if request.method != "POST":
            context = {"next": self.door.local_target(request.query_params.get("next"))}
            return await self._page(request, "sqladmin/login.html", context)
        form = await forms.read(request)
        response = await self.door.sign_in(request, form)
        if response is not None:
            return response
        email = form.get("email")
        context = {
            "next": self.door.local_target(form.get("next")),
            "email": email if isinstance(email, str) and len(email) <= 254 and is_storable(email) else "",
            "error": WRONG_SIGN_IN,
        }
        return await self._page(request, "sqladmin/login.html", context, 401)

    async def logout(self, request: Request) -> Response:
        return await self.door.sign_out(request)

    @login_required
    async def list(self, request: Request) -> Response:
        view, actor = self._view(request), _actor(request)
        if not view.allows(actor, "list"):
            raise Forbidden
        parameters = request.query_params.multi_items()
        context: dict[str, Any] = {
            "model_view": view,
            "listing": view.service.listing,
            "may_create": view.allows(actor, "create"),
            "given": dict(parameters),
        }
        try:
            query = view.service.listing.parse(parameters)
        except BadQuery as error:
            return await self._page(request, "sqladmin/list.html", {**context, "error": error.message}, 400)
        async with self._database.reading() as session:
            page = await view.service(session, actor).page(query)
        if query.cursor is not None and not page.rows:
            # The rows of this page have gone or changed; those before it may still be there.
            first = address(view.service.listing, query.first_page(), request.url.path)
            return RedirectResponse(first, status_code=302)
        context["page"] = list_page(view, actor, query, page, request.url.path)
        context["may_bulk"] = view.allows(actor, "bulk")
        return await self._page(request, "sqladmin/list.html", context)

    @login_required
    async def details(self, request: Request) -> Response:
        view, actor, row_id = self._view(request), _actor(request), _row_id(request)
        async with self._database.reading() as session:
            row, lines = await view.get_details(session, actor, row_id)
        context = {
            "model_view": view,
            "row": row,
            "cells": [(column, column.of(row)) for column in view.details],
            "lines": lines,
            "may_edit": view.allows(actor, "edit", row),
            "may_delete": view.allows(actor, "delete", row),
        }
        return await self._page(request, "sqladmin/details.html", context)

    @login_required
    async def create(self, request: Request) -> Response:
        view, actor = self._view(request), _actor(request)
        if not view.allows(actor, "create"):
            raise Forbidden
        names = view.form_fields(actor)
        form_class = await view.form_class()
        if request.method != "POST":
            fields = forms.shown(form_class, names)
            return await self._form_page(request, view, fields, key=forms.new_key())
        posted = await forms.read(request)
        values, key = forms.text_values(posted, names), forms.key_of(posted)
        try:
            row_id, title = await self._create_once(request, view, values, key)
        except InvalidInput as error:
            fields = forms.shown(form_class, names, typed=values, error=error)
            return await self._form_page(request, view, fields, key=str(key), error=error)
        flash(request, f"{view.name} “{short(title)}” was created.")
        return self._after_save(view, posted.get("save"), row_id)

    @login_required
    async def edit(self, request: Request) -> Response:
        view, actor, row_id = self._view(request), _actor(request), _row_id(request)
        names, form_class = view.form_fields(actor), await view.form_class()
        if request.method != "POST":
            async with self._database.reading() as session:
                row = await view.service(session, actor).get_changeable(row_id)
            fields = forms.shown(form_class, names, values=view.form_values(row))
            back = request.query_params.get("back", "")
            return await self._form_page(request, view, fields, row_id=row_id, version=row.version, back=back)
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
            return await self._form_page(
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

    @login_required
    async def delete(self, request: Request) -> Response:
        """GET asks, POST deletes."""
        view, row_id = self._view(request), _row_id(request)
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
        flash(request, f"{view.name} “{short(title)}” was deleted.")
        return RedirectResponse(self._list_url(view, posted.get("back")), status_code=303)

    @login_required
    async def bulk(self, request: Request) -> Response:
        view, actor = self._view(request), _actor(request)
        if not view.allows(actor, "bulk"):
            raise Forbidden
        posted = await forms.read(request)
        active, row_ids = actions.action_of(posted), actions.selection_of(posted)
        async with self._changing(request) as (session, actor):
            service = view.service(session, actor.acting_by(Source.BULK))
            outcome = await service.set_active(row_ids, active)
        flash(request, actions.sentence(outcome, active), "warning" if outcome.refused else "success")
        return RedirectResponse(self._list_url(view, posted.get("back")), status_code=303)

    @login_required
    async def ajax_lookup(self, request: Request) -> Response:
        view, actor = self._view(request), _actor(request)
        if not view.allows(actor, "create"):
            raise Forbidden
        try:
            term = parse_text(request.query_params.get("term", ""))
        except ValueError as error:
            raise BadQuery(f"Search: {error}") from None
        async with self._database.reading() as session:
            found = await view.lookup(session, actor, request.query_params.get("name", ""), term)
        if found is None:
            raise BadQuery("There is nothing to choose from under this name.")
        return JSONResponse({"results": found})

    async def error_page(self, request: Request, status: int, message: str) -> Response:
        """Without a query, and without a word that depends on which row was asked for."""
        context = {"status_code": status, "message": message}
        return await self._page(request, "sqladmin/error.html", context, status)

    async def _on_error(self, request: Request, error: Exception) -> Response:
        return await error_pages.respond(self.error_page, request, error)

    @asynccontextmanager
    async def _changing(self, request: Request) -> AsyncIterator[tuple[AsyncSession, Actor]]:
        """The transaction of a change, and who makes it as they are now, not when the request began."""
        async with self._database.transaction() as session:
            yield session, await self.door.confirm(session, request)

    async def _require_changeable(self, request: Request, view: ServiceView, row_id: UUID) -> None:
        """Before telling what is wrong with a form: whoever may not change the row learns nothing of it."""
        async with self._database.reading() as session:
            await view.service(session, _actor(request)).get_changeable(row_id)

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
            actor = _actor(request)
            async with self._database.reading() as session:
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
        *,
        row_id: UUID | None = None,
        key: str = "",
        version: int | None = None,
        error: AppError | None = None,
        back: object = "",
    ) -> Response:
        cancel = f"{BASE_URL}/{view.identity}/details/{row_id}" if row_id and not back else None
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
        return await self._page(request, "sqladmin/form.html", context, error.status if error else 200)

    async def _delete_page(
        self,
        request: Request,
        view: ServiceView,
        row_id: UUID,
        back: object,
        error: AppError | None = None,
    ) -> Response:
        """The question, about the row as it is now; after a refusal with the reason."""
        async with self._database.reading() as session:
            row = await view.service(session, _actor(request)).get_changeable(row_id)
        context = {
            "model_view": view,
            "row": row,
            "row_id": row_id,
            "version": row.version,
            "back": back,
            "error": error.message if error else None,
        }
        return await self._page(request, "sqladmin/delete.html", context, error.status if error else 200)

    async def _page(
        self, request: Request, template: str, context: dict[str, Any], status: int = 200
    ) -> Response:
        context.setdefault("actor", getattr(request.state, "actor", None))
        context.setdefault("user_name", getattr(request.state, "user_name", ""))
        return await self.templates.TemplateResponse(request, template, context, status_code=status)

    def _after_save(self, view: ServiceView, button: object, row_id: UUID, back: object = None) -> Response:
        match button:
            case "continue":
                target = f"{BASE_URL}/{view.identity}/edit/{row_id}"
            case "another":
                target = f"{BASE_URL}/{view.identity}/create"
            case _:
                target = self._list_url(view, back)
        return RedirectResponse(target, status_code=303)

    def _list_url(self, view: ServiceView, back: object = None) -> str:
        """The list, as it was left when `back` is the query its links carried."""
        query = f"?{back}" if isinstance(back, str) and back and len(back) <= MAX_BACK_LENGTH else ""
        return f"{BASE_URL}/{view.identity}/list{query}"

    def _view(self, request: Request) -> ServiceView:
        view = self._find_model_view(request.path_params["identity"])
        assert isinstance(view, ServiceView)
        return view


def _actor(request: Request) -> Actor:
    actor: Actor = request.state.actor
    return actor


def _row_id(request: Request) -> UUID:
    """Only the canonical spelling is an id; anything else is a row that does not exist."""
    text = request.path_params["pk"]
    try:
        row_id = UUID(text)
    except ValueError:
        raise NotFound from None
    if str(row_id) != text:
        raise NotFound
    return row_id
