"""Forgotten passwords: asking for a link by e-mail, making one for somebody else, and choosing with one."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_app.admin import forms
from admin_app.admin.authentication import client_address, visitor_of
from admin_app.admin.flash import flash
from admin_app.admin.pages import Pages, row_id_of, signed_in
from admin_app.admin.password_page import require_same
from admin_app.domains.users.reset_service import DeadLink, ResetService
from admin_app.domains.users.schemas import MIN_PASSWORD_LENGTH
from admin_app.errors import AppError, InvalidInput, TooMany
from admin_app.mail import mailer_of
from admin_app.security.passwords import hashing_slot
from admin_app.security.throttle import RESET_LINK, RESET_REQUEST
from admin_app.text import is_storable

MAX_EMAIL_LENGTH = 254
NO_EMAIL = "Enter an e-mail address."
ASKED = "If this is the e-mail address of an account, a mail with a link is on its way. Look into your inbox."
LOGGED = (
    "If this is the e-mail address of an account, a link is in the log of this site. Ask whoever runs it."
)
CHOSEN = "Your new password is set, and you were signed out everywhere. Sign in with it."


class ResetPages(Pages):
    async def forgot(self, request: Request) -> Response:
        """The answer says nothing about who has an account, nor does the time it takes."""
        if request.method != "POST":
            return self._ask(request)
        posted = await forms.read(request)
        email = forms.text_values(posted, ("email",))["email"].strip()
        try:
            if not 3 <= len(email) <= MAX_EMAIL_LENGTH or "@" not in email or not is_storable(email):
                raise InvalidInput(NO_EMAIL, {"email": NO_EMAIL})
            await self.site.door.throttle.count(RESET_REQUEST, email, client_address(request))
            async with self._database.transaction() as session:
                ResetService(session, visitor_of(request)).request_link(email)
        except (InvalidInput, TooMany) as error:
            return self._ask(request, error, email[:MAX_EMAIL_LENGTH] if is_storable(email) else "")
        flash(request, ASKED if mailer_of(self._database).has_server else LOGGED)
        return RedirectResponse(f"{self.site.base_url}/login", status_code=303)

    async def choose(self, request: Request) -> Response:
        """GET uses nothing up: programs that look through mails open every link."""
        token: str = request.path_params["token"]
        try:
            async with self._database.reading() as session:
                owner = await ResetService(session, visitor_of(request)).owner_of(token)
            if request.method != "POST":
                return self._form(request, owner.email)
            values = forms.text_values(await forms.read(request), ("new", "repeated"))
            require_same(values)
            async with hashing_slot, self._database.transaction() as session:
                await ResetService(session, visitor_of(request)).choose_password(token, values["new"])
        except DeadLink as error:
            await self.site.door.throttle.count(RESET_LINK, None, client_address(request))
            return self._ask(request, error)
        except InvalidInput as error:
            return self._form(request, owner.email, error)
        flash(request, CHOSEN)
        return RedirectResponse(f"{self.site.base_url}/login", status_code=303)

    @signed_in
    async def make_link(self, request: Request) -> Response:
        """The link is in the answer to the form, and nowhere else."""
        user_id = row_id_of(request)
        request.state.button_page = f"{self.site.base_url}/user/details/{user_id}"
        async with self._changing(request) as (session, actor):
            user, token = await ResetService(session, actor).make_link(user_id)
            url = mailer_of(session).url(f"{self.site.base_url}/reset/{token}")
        if url.startswith("/"):  # no PUBLIC_URL is set: as this browser calls the site
            url = f"{request.url.scheme}://{request.url.netloc}{url}"
        return self._page(request, "reset_link.html", {"user": user, "url": url}, 201)

    def _ask(self, request: Request, error: AppError | None = None, email: str = "") -> Response:
        """For the address; also where a dead link leads."""
        context = {
            "email": email,
            "sends_mail": mailer_of(self._database).has_server,
            "error": error.message if error else None,
            "is_dead": isinstance(error, DeadLink),
        }
        return self._page_again(request, "forgot.html", context, error)

    def _form(self, request: Request, email: str, error: InvalidInput | None = None) -> Response:
        """Always empty: no page shows a password."""
        context = {
            "email": email,
            "min_length": MIN_PASSWORD_LENGTH,
            "error": error.message if error else None,
            "errors": error.fields if error else {},
        }
        return self._page_again(request, "reset.html", context, error)
