"""The menu beside every page: the lists, below each the views somebody saved of it, and what one exported."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request

from admin_app.actor import Actor
from admin_app.admin.base_view import ServiceView
from admin_app.admin.pages import preferences_of

PAGING = {"cursor", "pageSize"}


@dataclass(frozen=True)
class MenuLink:
    title: str
    url: str
    icon: str
    is_current: bool
    is_open: bool = False
    """We are somewhere below it."""
    views: Sequence["MenuLink"] = ()


def menu(views: Sequence[ServiceView], base_url: str, request: Request) -> list[MenuLink]:
    """What this person may open; nothing for nobody."""
    actor: Actor | None = getattr(request.state, "actor", None)
    if actor is None:
        return []
    lists = [_link(view, base_url, request) for view in views if view.allows(actor, "list")]
    exports, path = f"{base_url}/exports", request.url.path
    is_open = path == exports or path.startswith(f"{base_url}/export/")
    return [*lists, MenuLink("Exports", exports, "download", is_open, is_open)]


def _link(view: ServiceView, base_url: str, request: Request) -> MenuLink:
    path = f"{base_url}/{view.identity}/"
    url = f"{path}list"
    title, page = view.overview or (view.name_plural, f"{view.identity}/list")
    front = f"{base_url}/{page}"
    # The pages of an import have no list's name in their address.
    is_open = request.url.path.startswith(path) or getattr(request.state, "below", "") == view.identity
    is_open = is_open or request.url.path == front
    here = ""
    if request.url.path == url:
        here = urlencode([item for item in request.query_params.multi_items() if item[0] not in PAGING])
    saved = [
        MenuLink(item.name, f"{url}?{item.query}", "view", is_open and bool(here) and item.query == here)
        for item in preferences_of(request).views
        if item.list == view.identity
    ]
    is_current = is_open and not any(link.is_current for link in saved)
    return MenuLink(title, front, view.icon, is_current, is_open, saved)
