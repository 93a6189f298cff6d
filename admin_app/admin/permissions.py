"""sqladmin's questions about permissions, answered by the views, which ask the domains' access rules."""

from typing import TYPE_CHECKING, Any

from sqladmin.authorization import AuthorizationBackend
from starlette.requests import Request

from admin_app.actor import Actor

if TYPE_CHECKING:
    from sqladmin.application import BaseAdmin

    from admin_app.admin.base_view import ServiceView


class Permissions(AuthorizationBackend):
    """Used by sqladmin for its menu. The services hold the rules, whatever a button shows."""

    def setup(self, admin: "BaseAdmin") -> None:
        self._admin = admin

    def has_permission(self, request: Request, identity: str, action: str, obj: Any | None = None) -> bool:
        actor: Actor | None = getattr(request.state, "actor", None)
        if actor is None:
            return False
        view: ServiceView = self._admin._find_model_view(identity)  # type: ignore[assignment]
        return view.allows(actor, action, obj)
