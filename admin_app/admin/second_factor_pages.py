"""Setting up one's second factor, new recovery codes, and taking it off: one's own, or somebody else's."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import segno
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_app import submissions
from admin_app.admin import forms
from admin_app.admin.flash import flash, short
from admin_app.admin.pages import Pages, actor_of, row_id_of, signed_in
from admin_app.domains.users.second_factor_service import CODE, Offer, SecondFactorService
from admin_app.errors import AppError, Conflict, InvalidInput
from admin_app.submissions import AlreadySubmitted

MADE_BEFORE = (
    "This form was sent before, and made codes that cannot be shown again. "
    "If you did not keep them, make new ones."
)


class SecondFactorPages(Pages):
    @signed_in
    async def show(self, request: Request) -> Response:
        """What there is, or the way to set one up.

        The recovery codes are in the answer to the form: there is no address to see them again.
        """
        if request.method != "POST":
            return await self._shown(request, request.query_params.get("next"))
        posted = await forms.read(request)
        values = forms.text_values(posted, ("sealed", CODE))
        target, offer = posted.get("next"), None
        try:
            async with self._changing(request) as (session, actor):
                service = SecondFactorService(session, actor)
                offer = service.offered(values["sealed"], _site_name(request))
                codes = await service.set_up(offer, values[CODE])
        except Conflict as error:
            return await self._shown(request, target, error)
        except InvalidInput as error:
            if offer is None:  # it was too old
                return await self._shown(request, target, error)
            return self._offered(request, offer, target, error)
        return self._codes(request, codes, self._after(target), is_new=True)

    @signed_in
    async def renew_codes(self, request: Request) -> Response:
        """GET asks, POST makes them; the same form again makes no others."""
        if request.method != "POST":
            async with self._reading(request) as session:
                await SecondFactorService(session, actor_of(request)).require_renewable()
            return self._page(request, "recovery_codes_new.html", {"key": forms.new_key()})
        key = forms.key_of(await forms.read(request))
        try:
            async with self._changing(request) as (session, actor):
                assert actor.id is not None
                await submissions.claim(session, actor, key, actor.id)
                codes = await SecondFactorService(session, actor).renew_recovery_codes()
        except AlreadySubmitted:
            return await self._shown(request, None, Conflict(MADE_BEFORE))
        return self._codes(request, codes, f"{self.site.base_url}/account/second-factor", is_new=False)

    @signed_in
    async def remove(self, request: Request) -> Response:
        """GET asks, POST removes."""
        if request.method != "POST":
            async with self._reading(request) as session:
                await SecondFactorService(session, actor_of(request)).require_removable()
            return self._page(request, "second_factor_remove.html", {"is_own": True})
        async with self._changing(request) as (session, actor):
            await SecondFactorService(session, actor).remove()
        flash(request, "Your second factor is removed. Your password alone signs you in now.", "warning")
        return RedirectResponse(f"{self.site.base_url}/account", status_code=303)

    @signed_in
    async def remove_of(self, request: Request) -> Response:
        """GET asks, POST removes that of somebody else."""
        user_id = row_id_of(request)
        if request.method != "POST":
            async with self._reading(request) as session:
                service = SecondFactorService(session, actor_of(request))
                user = await service.require_removable_of(user_id)
                context = {"row": user, "is_required_of": service.is_required_of(user)}
            return self._page(request, "second_factor_remove.html", context)
        async with self._changing(request) as (session, actor):
            user = await SecondFactorService(session, actor).remove_of(user_id)
        flash(request, f"The second factor of {short(str(user))} is removed. They are signed out everywhere.")
        return RedirectResponse(f"{self.site.base_url}/user/details/{user_id}", status_code=303)

    async def _shown(self, request: Request, target: object, error: AppError | None = None) -> Response:
        """What there is, else a new offer."""
        async with self._reading(request) as session:
            service = SecondFactorService(session, actor_of(request))
            status = await service.status()
            if status.since is None:
                offer = await service.offer(_site_name(request))
        if status.since is None:
            return self._offered(request, offer, target, error)
        told = error.message if error else None
        context = {"status": status, "is_required": service.is_required, "error": told}
        return self._page_again(request, "second_factor.html", context, error)

    def _offered(
        self, request: Request, offer: Offer, target: object, error: AppError | None = None
    ) -> Response:
        # Black on white in the dark theme, too: not every app reads the reverse.
        code = segno.make(offer.uri, error="m", micro=False)
        context = {
            "offer": offer,
            "qr": Markup(code.svg_inline(omitsize=True, dark="#000", light="#fff")),  # noqa: S704
            "secret_groups": " ".join(re.findall(".{4}", offer.secret)),
            "is_due": request.state.must_add_second_factor,
            "next": self._after(target),
            "error": error.message if error else None,
        }
        return self._page_again(request, "second_factor_new.html", context, error)

    def _codes(self, request: Request, codes: Sequence[str], target: str, *, is_new: bool) -> Response:
        context = {
            "codes": codes,
            "next": target,
            "is_new": is_new,
            "site": _site_name(request),
            "now": datetime.now(UTC),
        }
        return self._page(request, "recovery_codes.html", context, 201)

    def _after(self, target: object) -> str:
        return self.site.door.local_target(target) if target else f"{self.site.base_url}/account"


def _site_name(request: Request) -> str:
    """What the app calls this site: somebody may have accounts on several installations."""
    return request.url.hostname or ""
