"""Where somebody who has been signed in for a while shows again who they are, before what matters."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Match, Route

from admin_app.admin import forms
from admin_app.admin.flash import flash
from admin_app.admin.kept_forms import FormKeepingPages, Typed
from admin_app.admin.pages import signed_in
from admin_app.errors import AppError, InvalidInput, ProofRequired, TooMany
from admin_app.security.cross_site import SAFE_METHODS

PAGE = "/confirm"
PURPOSES = {
    "tokens": "make an access token",
    "second_factor": "set up a second factor",
    "recovery_codes": "make new recovery codes",
    "remove_factor": "remove your second factor",
    "remove_factor_of": "remove somebody’s second factor",
    "reset_link": "make a link for a new password",
    "create": "make an account",
    "edit": "change what opens this account, or what it may do",
    "delete": "delete an account",
    "operation_confirm": "change so much at once",
    "export": "export accounts",
    "import_confirm": "import accounts",
}
"""What a proof is asked for, by the name of the route."""

AGAIN = "It is you. Nothing was changed yet: now do it again."


@dataclass(frozen=True)
class Asked:
    """What the question is asked for, and where it leads: `target` when it is answered, `back` when not."""

    target: str
    back: str
    purpose: str
    """The name of a route."""
    typed: Typed
    is_again: bool
    """There is a button to be pressed again."""


class ProofPage(FormKeepingPages):
    @signed_in
    async def show(self, request: Request) -> Response:
        if request.method != "POST":
            target = self.site.door.local_target(request.query_params.get("next"))
            return self._question(request, self._asked(request, target, target, is_page=True))
        form = await forms.read(request)
        target = self.site.door.local_target(form.get("next"))
        typed = await self._carried(form, target)
        given = forms.text_values(form, ("password", "code"), optional=("code",))
        is_again, purpose = "again" in form, str(form.get("purpose", ""))
        asked = Asked(
            target, self.site.door.local_target(form.get("back")), purpose, typed, is_again=is_again
        )
        try:
            token = await self.site.door.prove(request, given["password"], given.get("code", ""))
        except (InvalidInput, TooMany) as error:
            return self._question(request, asked, error)
        response: Response = RedirectResponse(target, status_code=303)
        if is_again:
            flash(request, AGAIN, "warning")
        if typed:
            way_back = {"next": target, "typed": typed, "heading": "Confirmed"}
            response = self._page(request, "resume.html", way_back)
        return self.site.door.let_in(request, response, token)

    async def demand(self, request: Request, error: Exception) -> Response:
        """In place of what needs a proof: the question, and afterwards back to where it was asked for.

        A form comes back as it was left; of any other change, the page that has its button.
        """
        assert isinstance(error, ProofRequired)
        if request.headers.get("sec-fetch-dest") == "empty":  # a script, which cannot show a page
            return JSONResponse({"message": error.message}, status_code=error.status)
        if request.method in SAFE_METHODS:
            return self.site.door.detour(request, PAGE)
        typed = await self._sent(request)
        asked = self._asked(request, self._way_back(request), request.url.path, typed)
        return self._question(request, asked, error)

    def _asked(
        self, request: Request, target: str, address: str, typed: Typed = (), *, is_page: bool = False
    ) -> Asked:
        """For a change at this address, or, with `is_page`, for looking at it."""
        route = self._route(address, "GET" if is_page else request.method)
        back = self._before(request, target, would_ask=is_page)
        return Asked(target, back, route.name if route else "", typed, is_again=not is_page and not typed)

    def _way_back(self, request: Request) -> str:
        """Where it says that its button is; else its own page, if it has one, or where the browser was."""
        told: str | None = getattr(request.state, "button_page", None)
        pages = [told or "", request.url.path, self._referer(request)]
        found = next((page for page in pages if self._route(page, "GET")), None)
        return self.site.door.local_target(found)

    def _before(self, request: Request, target: str, *, would_ask: bool) -> str:
        """Where the browser was, unless that page would ask for the same again."""
        account = f"{self.site.base_url}/account"
        asking = {f"{self.site.base_url}{PAGE}", *([urlsplit(target).path] if would_ask else [])}
        for page in (self._referer(request), target):
            path = urlsplit(page).path
            if path not in asking and not path.startswith(f"{account}/") and self._route(page, "GET"):
                return self.site.door.local_target(page)
        return account if target.startswith(f"{account}/") else f"{self.site.base_url}/"

    def _referer(self, request: Request) -> str:
        """The page of this site where the browser was, or ""."""
        try:
            came_from = urlsplit(request.headers.get("referer", ""))
        except ValueError:  # such as http://[
            return ""
        if came_from.netloc != request.url.netloc or not came_from.path.startswith(f"{self.site.base_url}/"):
            return ""
        return f"{came_from.path}?{came_from.query}" if came_from.query else came_from.path

    def _route(self, address: str, method: str) -> Route | None:
        path = urlsplit(address).path.removeprefix(self.site.base_url)
        scope = {"type": "http", "method": method, "path": path, "root_path": ""}
        routes = (route for route in self.site.admin.router.routes if isinstance(route, Route))
        return next((route for route in routes if route.matches(scope)[0] is Match.FULL), None)

    def _question(self, request: Request, asked: Asked, error: AppError | None = None) -> Response:
        fields = error.fields if isinstance(error, InvalidInput) else {}
        context = {
            "asked": asked,
            "purpose": PURPOSES.get(asked.purpose),
            "has_second_factor": request.state.has_second_factor,
            "is_due": request.state.must_add_second_factor,
            "error": error.message if error and not fields and not isinstance(error, ProofRequired) else None,
            "errors": fields,
        }
        return self._page_again(request, "proof.html", context, error)
