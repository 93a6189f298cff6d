"""One's own account: who one is, where one is signed in, access tokens; and signing out somebody else."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_app import submissions
from admin_app.admin import forms
from admin_app.admin.base_view import validated
from admin_app.admin.flash import flash, short
from admin_app.admin.pages import Pages, actor_of, row_id_of, signed_in
from admin_app.domains.users.second_factor_service import SecondFactorService
from admin_app.domains.users.session_service import SessionService
from admin_app.domains.users.token_service import (
    MAX_TOKEN_NAME_LENGTH,
    AccessTokenService,
    Lifetime,
    TokenCreate,
)
from admin_app.errors import Conflict, InvalidInput, NotFound
from admin_app.security.tokens import Scope
from admin_app.submissions import AlreadySubmitted

FIELDS = ("name", "scope", "days")
SCOPES = {Scope.READ: "Read", Scope.WRITE: "Read and write"}
LIFETIMES = {
    Lifetime.WEEK: "7 days",
    Lifetime.MONTH: "30 days",
    Lifetime.QUARTER: "90 days",
    Lifetime.YEAR: "1 year",
}
SENT_BEFORE = (
    "This form was sent before, and made a token that cannot be shown again. "
    "If you did not copy it, revoke it below and create another one."
)


class AccountPages(Pages):
    @signed_in
    async def show(self, request: Request) -> Response:
        return await self._account(request)

    @signed_in
    async def end_sessions(self, request: Request) -> Response:
        """`which` is the id of one of them, "others", or "all"."""
        posted = await forms.read(request)
        which = forms.text_values(posted, ("which",))["which"]
        here: UUID = request.state.session_id
        async with self._changing(request) as (session, actor):
            service = SessionService(session, actor)
            if which == "others":
                await service.end_others(here)
            elif which == "all":
                await service.end_all()
            else:
                await service.end(_id(which))
        if which in ("all", str(here)):
            return await self.site.door.sign_out(request)
        told = "Everywhere else you are signed out." if which == "others" else "That session has ended."
        flash(request, told)
        return self._to_account("sessions")

    @signed_in
    async def create_token(self, request: Request) -> Response:
        """The token is in the answer to the form, and nowhere else: there is no address to see it again."""
        if request.method != "POST":
            actor_of(request).require_proof()
            return self._token_form(request, {"scope": Scope.READ.value, "days": str(Lifetime.MONTH.value)})
        posted = await forms.read(request)
        values, key = forms.text_values(posted, FIELDS), forms.key_of(posted)
        try:
            data = validated(TokenCreate, values)
            async with self._changing(request) as (session, actor):
                token, text = await AccessTokenService(session, actor).create(data)
                await submissions.claim(session, actor, key, token.id)
        except AlreadySubmitted:
            return await self._account(request, Conflict(SENT_BEFORE))
        except (InvalidInput, Conflict) as error:
            return self._token_form(request, values, error, key=str(key))
        return self._page(request, "account_token.html", {"token": token, "text": text}, 201)

    @signed_in
    async def revoke_token(self, request: Request) -> Response:
        """GET asks, POST revokes."""
        if request.method != "POST":
            token_id = _id(request.query_params.get("id", ""))
            async with self._reading(request) as session:
                token = await AccessTokenService(session, actor_of(request)).get_by_id(token_id)
            return self._page(request, "account_revoke.html", {"token": token})
        token_id = _id(_text(await forms.read(request), "id"))
        async with self._changing(request) as (session, actor):
            name = await AccessTokenService(session, actor).revoke(token_id)
        flash(request, f"Access token “{short(name)}” was revoked.")
        return self._to_account("tokens")

    @signed_in
    async def sign_out_user(self, request: Request) -> Response:
        """Somebody else, everywhere; with `tokens` their access tokens are revoked, too."""
        user_id, posted = row_id_of(request), await forms.read(request)
        with_tokens = "tokens" in posted
        async with self._changing(request) as (session, actor):
            user = await SessionService(session, actor).sign_out(user_id, with_tokens=with_tokens)
        rest = " Their access tokens are revoked." if with_tokens else ""
        flash(request, f"{short(str(user))} is signed out everywhere.{rest}")
        return RedirectResponse(f"{self.site.base_url}/user/details/{user_id}", status_code=303)

    async def _account(self, request: Request, error: Conflict | None = None) -> Response:
        actor, here = actor_of(request), request.state.session_id
        async with self._reading(request) as session:
            own = await SessionService(session, actor).own()
            context: dict[str, Any] = {
                "sessions": sorted(own, key=lambda each: each.id != here),
                "tokens": await AccessTokenService(session, actor).own(),
                "second_factor": await SecondFactorService(session, actor).status(),
            }
        context |= {
            "here": here,
            "now": datetime.now(UTC),
            "scopes": SCOPES,
            "error": error.message if error else None,
        }
        return self._page(request, "account.html", context, error.status if error else 200)

    def _token_form(
        self,
        request: Request,
        values: dict[str, str],
        error: InvalidInput | Conflict | None = None,
        *,
        key: str | None = None,
    ) -> Response:
        context = {
            "values": values,
            "key": key or forms.new_key(),
            "scopes": SCOPES,
            "lifetimes": LIFETIMES,
            "max_length": MAX_TOKEN_NAME_LENGTH,
            "error": error.message if error else None,
            "errors": error.fields if isinstance(error, InvalidInput) else {},
        }
        return self._page(request, "account_tokens.html", context, error.status if error else 200)

    def _to_account(self, part: str) -> Response:
        return RedirectResponse(f"{self.site.base_url}/account#{part}", status_code=303)


def _text(form: FormData, name: str) -> str:
    return forms.text_values(form, (name,))[name]


def _id(text: str) -> UUID:
    """Raises NotFound for what is no id."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound from None
