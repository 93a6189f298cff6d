"""Signing in and out. Whoever was signed out while filling in a form gets it back as it was left."""

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_app.admin import forms
from admin_app.admin.authentication import Due, Entry, SignInEnded
from admin_app.admin.kept_forms import FormKeepingPages, Typed
from admin_app.errors import AppError, TooMany, WrongCredential
from admin_app.security.throttle import PASSWORD
from admin_app.text import is_storable


class SignInPages(FormKeepingPages):
    async def show(self, request: Request) -> Response:
        if request.method != "POST":
            target = self.site.door.local_target(request.query_params.get("next"))
            return self._page(request, "login.html", {"next": target})
        form = await forms.read(request)
        target = self.site.door.local_target(form.get("next"))
        typed = await self._carried(form, target)
        try:
            entry = await self.site.door.sign_in(request, form)
        except (WrongCredential, TooMany) as error:
            email = _email(form.get("email"))
            response = self._asked_again(request, "login.html", error, target, typed, email=email)
            if isinstance(error, WrongCredential):
                response.background = BackgroundTask(self.site.door.note_failure, request, PASSWORD, email)
            return response
        if not isinstance(entry, Entry):
            return self._page(request, "code.html", {"next": target, "typed": typed, "ticket": entry})
        return self._through(request, entry, target, typed)

    async def code(self, request: Request) -> Response:
        """After the password, whoever has a second factor shows it here."""
        if request.method != "POST":
            return RedirectResponse(f"{self.site.base_url}/login", status_code=302)
        form = await forms.read(request)
        target = self.site.door.local_target(form.get("next"))
        typed = await self._carried(form, target)
        try:
            entry = await self.site.door.sign_in_by_code(request, form)
        except SignInEnded as error:
            return self._asked_again(request, "login.html", error, target, typed)
        except (WrongCredential, TooMany) as error:
            return self._asked_again(request, "code.html", error, target, typed, ticket=form.get("ticket"))
        return self._through(request, entry, target, typed)

    async def leave(self, request: Request) -> Response:
        return await self.site.door.sign_out(request)

    async def keep(self, request: Request, due: Due | None) -> Response | None:
        """For whoever is signed out or has something else to do first: the way through, with what was typed.

        None if that was nothing that may be kept.
        """
        typed = await self._sent(request)
        if not typed:
            return None
        template, status = ("resume.html", 403) if due else ("login.html", 401)
        return self._page(request, template, {"next": request.url.path, "typed": typed, "due": due}, status)

    def _through(self, request: Request, entry: Entry, target: str, typed: Typed) -> Response:
        response: Response = RedirectResponse(target, status_code=303)
        if typed:
            way_back = {"next": target, "typed": typed, "due": entry.due, "heading": "Signed in again"}
            response = self._page(request, "resume.html", way_back)
        return self.site.door.let_in(request, response, entry.token)

    def _asked_again(
        self, request: Request, template: str, error: AppError, target: str, typed: Typed, **context: object
    ) -> Response:
        is_wrong = isinstance(error, WrongCredential)
        context |= {"next": target, "typed": typed, "error": error.message, "is_wrong": is_wrong}
        response = self._page_again(request, template, context, error)
        response.status_code = 401 if is_wrong else error.status
        return response


def _email(given: object) -> str:
    return given if isinstance(given, str) and len(given) <= 254 and is_storable(given) else ""
