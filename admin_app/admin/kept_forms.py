"""A form that somebody was filling in when a door closed: it comes back as it was left.

What was typed travels from page to page in hidden fields: the server keeps none of it, and no script is
needed. Nothing is written on the way: at its end the form is shown once more.
"""

import re
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from wtforms import PasswordField

from admin_app.admin import forms
from admin_app.admin.base_view import ServiceView
from admin_app.admin.pages import Pages

PREFIX = "typed."
"""Apart from the fields of the page it travels through: an account has an e-mail and a password, too."""

MAX_TYPED_BYTES = 350_000
"""As a browser encodes it. A character may take 12, so the longest form that can be saved has 305,000."""

MAX_TYPED_FIELDS = 100

Typed = Sequence[tuple[str, str]]


class FormKeepingPages(Pages):
    async def _sent(self, request: Request) -> Typed:
        """What may be kept of a form that was sent to an address of its own.

        Nothing if that was no form, or holds more than any form that could be saved.
        """
        path = request.url.path
        # Nobody knows who sent it: only what is announced as short is read at all.
        length = int(request.headers.get("content-length", 0))
        if self._view_of_form(path) is None or not 0 < length <= MAX_TYPED_BYTES:
            return []
        try:
            return await self._keepable(path, (await forms.read(request)).multi_items())
        except (HTTPException, forms.Unreadable, forms.TooManyFields):
            return []

    async def _carried(self, form: FormData, target: str) -> Typed:
        """What a page was given to carry to this address."""
        given = [item for item in form.multi_items() if item[0].startswith(PREFIX)]
        return await self._keepable(target, [(name.removeprefix(PREFIX), value) for name, value in given])

    def _view_of_form(self, path: str) -> ServiceView | None:
        """Whose form for a new row, or for changing one, is at this address of our own."""
        form = rf"{re.escape(self.site.base_url)}/(\w+)/(?:create|edit/[0-9a-f-]{{36}})"
        found = re.fullmatch(form, path, re.ASCII)
        views = (view for view in self.site.service_views if hasattr(view, "update_schema"))
        return next((view for view in views if found and view.identity == found[1]), None)

    async def _keepable(self, path: str, given: Sequence[tuple[str, Any]]) -> Typed:
        """What may be carried to this address: text for a form, never a password; to any other, nothing."""
        view = self._view_of_form(path)
        if view is None or len(given) > MAX_TYPED_FIELDS:
            return []
        form = (await view.form_class())()
        left_out = {forms.RESUME, *(field.name for field in form if isinstance(field, PasswordField))}
        return [(name, value) for name, value in given if isinstance(value, str) and name not in left_out]
