"""Pages of one list: the rows, what stands beside them, changes in place, and how a person likes it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from admin_app.actor import Source
from admin_app.admin import actions, conflicts, forms
from admin_app.admin.base_view import ServiceView
from admin_app.admin.flash import flash, short
from admin_app.admin.highlight import Highlight
from admin_app.admin.imports import may_import
from admin_app.admin.listing import (
    address,
    columns_of,
    conditions,
    filter_groups,
    list_page,
    parameters,
    spoken,
    spoken_conditions,
    with_preferences,
)
from admin_app.admin.pages import MAX_BACK_LENGTH, Pages, actor_of, preferences_of, row_id_of, signed_in
from admin_app.admin.rows import Rows
from admin_app.bulk.service import OperationService
from admin_app.database import READ_SECONDS
from admin_app.domains.users.service import UserService
from admin_app.errors import AppError, Conflict, Forbidden, InvalidInput, NotFound, TooSlow
from admin_app.filters import parse_text
from admin_app.listing import PAGE_SIZES, BadQuery, ListQuery
from admin_app.merging import EditConflict
from admin_app.preferences import MAX_VIEW_NAME, MAX_VIEW_QUERY, SavedView
from admin_app.search import words

COUNT_SECONDS = 20.0
TOO_SLOW = (
    f"This search took more than {READ_SECONDS:.0f} seconds, so it was stopped. "
    "Use longer or more words, or add a filter."
)
TOO_MANY_TO_COUNT = f"Counting took more than {COUNT_SECONDS:.0f} seconds, so it was stopped."


class ListPages(Pages):
    @signed_in
    async def show(self, request: Request) -> Response:
        view, actor = self._allowed(request, "list")
        listing = view.service.listing
        given = request.query_params.multi_items()
        context: dict[str, Any] = {
            "model_view": view,
            "filter_groups": list(filter_groups(view.filters(actor))),
            "may_create": view.allows(actor, "create"),
            "may_import": may_import(self._database, actor, view.identity),
            "given": dict(given),
            "list_url": self._list_url(view),
            "order": listing.default_sort,
        }
        try:
            asked = listing.parse(given, [column.name for column in view.columns])
            shown = self._liked(request, view, asked)
            async with self._reading(request) as session:
                page = await view.service(session, actor).page(shown)
        except (BadQuery, TooSlow) as error:
            context["error"] = (
                TOO_SLOW if isinstance(error, TooSlow) and "search" in request.query_params else error.message
            )
            if "cursor" in request.query_params:
                rest = urlencode([item for item in given if item[0] != "cursor"])
                context["first_url"] = self._list_url(view, rest)
            return self._page(request, "list.html", context, error.status)
        if asked.cursor is not None and not page.rows:
            # The rows of this page have gone or changed; those before it may still be there.
            return RedirectResponse(address(listing, asked.first_page(), request.url.path), status_code=302)
        rows = self._rows(request, view, asked, shown)
        result = list_page(rows, asked, shown, page, request.url.path)
        context |= {
            "page": result,
            "asked": asked,
            "order": (asked.sort, asked.descending),
            "chosen_columns": shown.columns,
            "sizes": PAGE_SIZES,
            "actions": view.actions_of(actor),
            "saved_views": [item for item in preferences_of(request).views if item.list == view.identity],
        }
        return self._page(request, "list.html", context)

    @signed_in
    async def count(self, request: Request) -> Response:
        """How many rows the conditions of a list find: quickly and roughly, or with `exactly` for sure."""
        view, actor = self._allowed(request, "list")
        given = [item for item in request.query_params.multi_items() if item[0] != "exactly"]
        exactly = request.query_params.get("exactly") == "1"
        query = self._query(view, given).first_page()
        try:
            async with self._reading(request, COUNT_SECONDS if exactly else None) as session:
                count = await view.service(session, actor).count(query, exactly=exactly)
        except TooSlow:
            raise TooSlow(TOO_MANY_TO_COUNT if exactly else TOO_SLOW) from None
        return JSONResponse({"text": spoken(count), "exact": count.is_exact})

    @signed_in
    async def facets(self, request: Request) -> Response:
        """How many rows each choice of a filter would show, as far as that is quickly told."""
        view, actor = self._allowed(request, "list")
        query = self._query(view, request.query_params.multi_items()).first_page()
        async with self._reading(request) as session:
            found = await view.service(session, actor).facets(query)
        told = {
            name: {value: spoken(count) for value, count in counts.items()} for name, counts in found.items()
        }
        return JSONResponse(told)

    @signed_in
    async def suggest(self, request: Request) -> Response:
        view, actor = self._allowed(request, "list")
        term = _term(request)
        async with self._reading(request) as session:
            found = await view.suggest(session, actor, request.query_params.get("name", ""), term)
        if found is None:
            raise BadQuery("There is nothing to choose from under this name.")
        return JSONResponse({"results": [{"text": text} for text in found]})

    @signed_in
    async def ajax_lookup(self, request: Request) -> Response:
        view, actor = self._allowed(request, "create")
        term = _term(request)
        async with self._reading(request) as session:
            found = await view.lookup(session, actor, request.query_params.get("name", ""), term)
        if found is None:
            raise BadQuery("There is nothing to choose from under this name.")
        return JSONResponse({"results": found})

    @signed_in
    async def inline(self, request: Request) -> Response:
        """Change some fields of a row where it stands. The answer has the row as it is now, as HTML.

        Of fields that somebody else changed, too, it has `theirs`, and the `version` to send with a choice.
        """
        (view, actor), row_id = self._allowed(request, "edit"), row_id_of(request)
        posted = await forms.read(request)
        try:
            names = tuple(name for name in view.inline_fields if name in posted)
            values, version = forms.text_values(posted, names), forms.version_of(posted)
            asked = self._back(view, posted)
            rows = self._rows(request, view, asked, self._liked(request, view, asked))
        except AppError:
            await self._require_changeable(request, view, row_id)
            raise
        try:
            async with self._changing(request) as (session, actor):
                saved = await view.update(session, actor.acting_by(Source.INLINE), row_id, values, version)
                row = await view.service(session, actor).get_by_id(row_id)
                told: dict[str, Any] = {"row": rows.html([row])}
        except NotFound:
            if view.bin is None:
                raise
            async with self._reading(request) as session:
                row = await view.bin(session, actor_of(request)).get_in_bin(row_id)
            return JSONResponse({"message": conflicts.deleted_sentence(view, row)}, status_code=409)
        except (InvalidInput, Conflict) as error:
            told = {"message": error.message, "fields": getattr(error, "fields", {})}
            async with self._reading(request) as session:
                row = await view.service(session, actor_of(request)).get_changeable(row_id)
            if isinstance(error, Conflict):
                told["row"] = rows.html([row])
            if isinstance(error, EditConflict):
                form = forms.shown(await view.form_class(), names, typed=values)
                choice = conflicts.choice(view, row, form, values, error)
                told |= {"version": choice.version, "theirs": conflicts.spoken(choice, actor_of(request))}
            return JSONResponse(told, status_code=error.status)
        return JSONResponse({**told, "message": conflicts.kept_sentence(view, actor, saved.kept)})

    @signed_in
    async def bulk(self, request: Request) -> Response:
        """Draft an operation on the chosen rows, or on all of the list; leads to the question whether to."""
        view, actor = self._allowed(request, "list")
        if not view.actions_of(actor):
            raise Forbidden
        posted = await forms.read(request)
        action = actions.action_of(posted)
        row_ids, asked = [], None
        if posted.get("all") == "1":
            asked = self._query(view, actions.conditions_of(posted))
        else:
            row_ids = actions.selection_of(posted)
        async with self._changing(request) as (session, actor):
            service = OperationService(session, actor)
            if asked is not None:
                query = urlencode(conditions(view.service.listing.fixed(asked)))
                words = spoken_conditions(view, asked)
                draft = await service.draft_of_query(view.identity, action, query, words)
            else:
                draft = await service.draft_of_rows(view.identity, action, row_ids)
        back = f"?{urlencode({'back': posted['back']})}" if posted.get("back") else ""
        return RedirectResponse(f"{self.site.base_url}/operation/details/{draft.id}{back}", status_code=303)

    @signed_in
    async def prefer(self, request: Request) -> Response:
        """Remember the page size or the columns this person wants here."""
        view, _ = self._allowed(request, "list")
        posted = await forms.read(request)
        size, columns = _size(posted), _columns(view, posted)
        if size is None and columns is None:
            raise AppError("Choose a page size or columns.")
        back = replace(self._back(view, posted), cursor=None)
        async with self._changing(request) as (session, actor):
            await UserService(session, actor).change_preferences(
                lambda liked: liked.with_list(view.identity, size=size, columns=columns)
            )
        # What the address said of it would win over what was chosen now.
        back = replace(
            back, size=back.size if size is None else None, columns=back.columns if columns is None else ()
        )
        return RedirectResponse(address(view.service.listing, back, self._list_url(view)), status_code=303)

    @signed_in
    async def save_view(self, request: Request) -> Response:
        """Keep the filters, the order and the columns of a list under a name, in place of what had it."""
        view, _ = self._allowed(request, "list")
        posted = await forms.read(request)
        name = " ".join(str(posted.get("name", "")).split())
        if not name or len(name) > MAX_VIEW_NAME or not name.isprintable():
            raise InvalidInput(f"A view needs a name of at most {MAX_VIEW_NAME} characters.")
        asked = self._back(view, posted)
        shown = self._liked(request, view, asked)
        kept = replace(asked, cursor=None, size=None, columns=shown.columns)
        query = urlencode(parameters(view.service.listing, kept))
        if len(query) > MAX_VIEW_QUERY:
            raise InvalidInput("This list has too many conditions to be saved.")
        saved = SavedView(name=name, list=view.identity, query=query)
        async with self._changing(request) as (session, actor):
            await UserService(session, actor).change_preferences(lambda liked: liked.with_view(saved))
        is_known = any(saved.replaces(item) for item in preferences_of(request).views)
        done = "was replaced" if is_known else "was saved. It is in the menu"
        flash(request, f"The view “{short(name)}” {done}.")
        return RedirectResponse(self._list_url(view, query), status_code=303)

    @signed_in
    async def delete_view(self, request: Request) -> Response:
        view, _ = self._allowed(request, "list")
        posted = await forms.read(request)
        try:
            view_id = UUID(str(posted.get("id", "")))
        except ValueError:
            raise AppError("There is no such view.") from None
        async with self._changing(request) as (session, actor):
            await UserService(session, actor).change_preferences(lambda liked: liked.without_view(view_id))
        flash(request, "The view was removed.")
        return RedirectResponse(self._list_url(view, posted.get("back")), status_code=303)

    def _rows(self, request: Request, view: ServiceView, asked: ListQuery, shown: ListQuery) -> Rows:
        actor = actor_of(request)
        here = urlencode(parameters(view.service.listing, asked))
        return Rows(
            view=view,
            actor=actor,
            columns=columns_of(view, shown),
            found_by=Highlight(words(shown.search)) if shown.search else None,
            base=f"{self.site.base_url}/{view.identity}",
            media_url=self.site.media_url,
            back=urlencode({"back": here}) if here else "",
            may_bulk=bool(view.actions_of(actor)),
        )

    def _liked(self, request: Request, view: ServiceView, asked: ListQuery) -> ListQuery:
        return with_preferences(asked, preferences_of(request).of_list(view.identity), view)

    def _query(self, view: ServiceView, given: Sequence[tuple[str, str]]) -> ListQuery:
        return view.service.listing.parse(given, [column.name for column in view.columns])

    def _back(self, view: ServiceView, posted: FormData) -> ListQuery:
        """The list a form stands on."""
        back = str(posted.get("back", ""))
        if len(back) > MAX_BACK_LENGTH:
            raise BadQuery("The address of this list is too long. Go to its first page, or use fewer words.")
        return self._query(view, parse_qsl(back))


def _term(request: Request) -> str:
    try:
        return parse_text(request.query_params.get("term", ""))
    except ValueError as error:
        raise BadQuery(f"Search: {error}") from None


def _size(posted: FormData) -> int | None:
    text = posted.get("size")
    if text is None:
        return None
    if text not in {str(size) for size in PAGE_SIZES}:
        raise AppError(f"The page size must be one of {', '.join(map(str, PAGE_SIZES))}.")
    return int(str(text))


def _columns(view: ServiceView, posted: FormData) -> list[str] | None:
    """None when the form was not about columns; the usual ones again when none is checked."""
    if "choose" not in posted:
        return None
    chosen = set(map(str, posted.getlist("column")))
    known = [column.name for column in view.columns]
    if not chosen <= set(known):
        raise AppError("There is no such column.")
    return [name for name in known if name in chosen]
