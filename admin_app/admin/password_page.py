"""The page where somebody changes their own password; the only one there is while they must."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from admin_app.admin import forms
from admin_app.admin.flash import flash
from admin_app.admin.pages import Pages, signed_in
from admin_app.domains.users.schemas import MIN_PASSWORD_LENGTH
from admin_app.errors import InvalidInput, TooMany

NAMES = ("current", "new", "repeated")
CHANGED = "Your password was changed. Everywhere else you were signed out."


class PasswordPage(Pages):
    @signed_in
    async def show(self, request: Request) -> Response:
        if request.method != "POST":
            return self._form(request, request.query_params.get("next"))
        posted = await forms.read(request)
        values, target = forms.text_values(posted, NAMES), posted.get("next")
        try:
            require_same(values)
            response = await self.site.door.change_password(request, values["current"], values["new"], target)
        except (InvalidInput, TooMany) as error:
            return self._form(request, target, error)
        flash(request, CHANGED)
        return response

    def _form(
        self, request: Request, target: object, error: InvalidInput | TooMany | None = None
    ) -> Response:
        """Always empty: no page shows a password."""
        context = {
            "next": self.site.door.local_target(target),
            "is_due": request.state.must_change_password,
            "min_length": MIN_PASSWORD_LENGTH,
            "error": error.message if error else None,
            "errors": error.fields if isinstance(error, InvalidInput) else {},
        }
        return self._page_again(request, "password.html", context, error)


def require_same(values: Mapping[str, str]) -> None:
    """Raises InvalidInput unless the new password was typed twice."""
    if values["new"] != values["repeated"]:
        reason = "This is not the same as the new password above."
        raise InvalidInput("The password was not changed. Type the new one twice.", {"repeated": reason})
