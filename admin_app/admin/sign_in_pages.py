"""Signing in and out. Whoever was signed out while filling in a form gets it back as it was left.

What was typed travels from page to page in hidden fields: the server keeps none of it, and no script is
needed. Nothing is written on the way: at its end the form is shown once more.
"""

import re
from collections.abc import Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from wtforms import PasswordField

from admin_app.admin import forms
from admin_app.admin.base_view import ServiceView
from admin_app.admin.pages import Pages
from admin_app.text import is_storable

WRONG_SIGN_IN = "E-mail or password is wrong."

PREFIX = "typed."
"""Apart from the fields of the sign-in form: an account has an e-mail and a password, too."""

MAX_TYPED_BYTES = 350_000
"""As a browser encodes it. A character may take 12, so the longest form that can be saved has 305,000."""

MAX_TYPED_FIELDS = 100


class SignInPages(Pages):
    async def show(self, request: Request) -> Response:
        if request.method != "POST":
            target = self.site.door.local_target(request.query_params.get("next"))
            return self._page(request, "login.html", {"next": target})
        form = await forms.read(request)
        target = self.site.door.local_target(form.get("next"))
        given = [item for item in form.multi_items() if item[0].startswith(PREFIX)]
        typed = await self._typed(target, [(name.removeprefix(PREFIX), value) for name, value in given])
        entry = await self.site.door.sign_in(request, form)
        if entry is None:
            email = form.get("email")
            context = {
                "next": target,
                "typed": typed,
                "email": email if isinstance(email, str) and len(email) <= 254 and is_storable(email) else "",
                "error": WRONG_SIGN_IN,
            }
            return self._page(request, "login.html", context, 401)
        response: Response = RedirectResponse(target, status_code=303)
        if typed:
            way_back = {"next": target, "typed": typed, "is_due": entry.must_change_password}
            response = self._page(request, "resume.html", way_back)
        return self.site.door.let_in(request, response, entry.token)

    async def leave(self, request: Request) -> Response:
        return await self.site.door.sign_out(request)

    async def keep(self, request: Request, status: int) -> Response | None:
        """For whoever the door turned away with this status: the way through, and what was typed.

        None if that was no form, or holds more than any form that could be saved.
        """
        path = request.url.path
        # Nobody knows who sent it: only what is announced as short is read at all.
        length = int(request.headers.get("content-length", 0))
        if self._view_of_form(path) is None or not 0 < length <= MAX_TYPED_BYTES:
            return None
        try:
            typed = await self._typed(path, (await forms.read(request)).multi_items())
        except (HTTPException, forms.Unreadable):
            return None
        if not typed:
            return None
        template = "login.html" if status == 401 else "resume.html"
        return self._page(request, template, {"next": path, "typed": typed, "is_due": True}, status)

    def _view_of_form(self, path: str) -> ServiceView | None:
        """Whose form for a new row, or for changing one, is at this address of our own."""
        form = rf"{re.escape(self.site.base_url)}/(\w+)/(?:create|edit/[0-9a-f-]{{36}})"
        found = re.fullmatch(form, path, re.ASCII)
        views = (view for view in self.site.service_views if hasattr(view, "update_schema"))
        return next((view for view in views if found and view.identity == found[1]), None)

    async def _typed(self, path: str, given: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
        """What may be carried to this address: text for a form, never a password; to any other, nothing."""
        view = self._view_of_form(path)
        if view is None or len(given) > MAX_TYPED_FIELDS:
            return []
        form = (await view.form_class())()
        left_out = {forms.RESUME, *(field.name for field in form if isinstance(field, PasswordField))}
        return [(name, value) for name, value in given if isinstance(value, str) and name not in left_out]
