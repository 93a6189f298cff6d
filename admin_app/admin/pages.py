"""What all groups of pages share: who asks, for which model, in which transaction, and how it is drawn."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Protocol, TypeVar
from uuid import UUID

from jinja2 import Environment
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from admin_app.actor import Actor
from admin_app.admin import refused
from admin_app.admin.authentication import Authentication
from admin_app.admin.base_view import ServiceView
from admin_app.database import Database, limit_time
from admin_app.errors import AppError, Forbidden, NotFound, ProofRequired
from admin_app.notifications import Unseen
from admin_app.preferences import Preferences
from admin_app.security.cross_site import SAFE_METHODS
from admin_app.storage import Storage

MAX_BACK_LENGTH = 4000

Group = TypeVar("Group", bound="Pages")
Endpoint = Callable[[Group, Request], Awaitable[Response]]


class Site(Protocol):
    """The site as its pages see it."""

    admin: Starlette
    """Its routes."""
    base_url: str
    database: Database
    door: Authentication
    environment: Environment
    storage: Storage

    @property
    def service_views(self) -> Sequence[ServiceView]: ...

    def view(self, identity: str) -> ServiceView:
        """Raises NotFound."""

    def menu(self, request: Request) -> Sequence[Any]: ...

    def media_url(self, name: str) -> str:
        """Where browsers get a file made from a picture."""


class Pages:
    """A group of endpoints."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._database = site.database

    def _view(self, request: Request) -> ServiceView:
        return self.site.view(request.path_params["identity"])

    @asynccontextmanager
    async def _reading(self, request: Request, seconds: float | None = None) -> AsyncIterator[AsyncSession]:
        """The session a page looks with, and its time for a statement, if it is not READ_SECONDS.

        After a form it is a new one. A page has it already: two connections at once could use up the pool.
        """
        session: AsyncSession | None = getattr(request.state, "reading", None)
        if session is None:
            async with self._database.reading() as session:
                yield session
            return
        if seconds is not None:
            await limit_time(session, seconds)
        yield session
        await session.close()  # before the page is drawn: others want the connection

    @asynccontextmanager
    async def _changing(self, request: Request) -> AsyncIterator[tuple[AsyncSession, Actor]]:
        """The transaction of a change, and who makes it as they are now, not when the request began."""
        async with self._database.transaction() as session:
            yield session, await self.site.door.current_actor(session, request)

    def _allowed(self, request: Request, action: str) -> tuple[ServiceView, Actor]:
        """The view, if this actor's role may do such a thing there at all."""
        view, actor = self._view(request), actor_of(request)
        if not view.allows(actor, action):
            raise Forbidden
        return view, actor

    async def _note_refusal(self, request: Request, wish: str, error: Forbidden | NotFound) -> None:
        """When the page's own session has ended: two connections at once could use up the pool."""
        if request.method == "HEAD" or "identity" not in request.path_params:
            return
        try:
            view = self._view(request)
            row_id = row_id_of(request) if "pk" in request.path_params else None
        except NotFound:
            return
        await refused.write_down(self._database, actor_of(request), view, error, wish=wish, row_id=row_id)

    async def _require_changeable(self, request: Request, view: ServiceView, row_id: UUID) -> None:
        """Before telling what is wrong with a form: whoever may not change the row learns nothing of it."""
        async with self._reading(request) as session:
            await view.service(session, actor_of(request)).get_changeable(row_id)

    def _list_url(self, view: ServiceView, back: object = None, page: str = "list") -> str:
        """The list (or the bin), as it was left when `back` is the query its links carried."""
        query = f"?{back}" if isinstance(back, str) and back and len(back) <= MAX_BACK_LENGTH else ""
        return f"{self.site.base_url}/{view.identity}/{page}{query}"

    def _page(self, request: Request, template: str, context: dict[str, Any], status: int = 200) -> Response:
        return render(self.site, request, template, context, status)

    def _page_again(
        self, request: Request, template: str, context: dict[str, Any], error: AppError | None
    ) -> Response:
        """A form, or what came of it: the same page, which tells what is wrong."""
        response = self._page(request, template, context, error.status if error else 200)
        response.headers.update(error.headers if error else {})
        return response


def signed_in(endpoint: Endpoint[Group]) -> Endpoint[Group]:
    """Turns away whoever is not.

    A page that only looks goes on in the transaction in which its reader was looked up: one connection,
    and two round trips less. A form may take its time to arrive, and holds none meanwhile.
    """

    @wraps(endpoint)
    async def guarded(pages: Group, request: Request) -> Response:
        try:
            async with pages.site.database.reading() as session:
                refusal = await pages.site.door.enter(session, request)
                if refusal is None and request.method in SAFE_METHODS:
                    request.state.reading = session
                    return await endpoint(pages, request)
            return refusal or await endpoint(pages, request)
        except ProofRequired:
            raise  # a question, no refusal
        except (Forbidden, NotFound) as error:
            await pages._note_refusal(request, endpoint.__name__, error)
            raise

    return guarded


def render(
    site: Site, request: Request, template: str, context: dict[str, Any], status: int = 200
) -> HTMLResponse:
    """A template with what the frame around every page needs."""
    text = site.environment.get_template(f"sqladmin/{template}").render(
        {
            "request": request,
            "actor": getattr(request.state, "actor", None),
            "user_name": getattr(request.state, "user_name", ""),
            "menu": site.menu(request),
            "unseen": getattr(request.state, "unseen", None) or Unseen(),
            **context,
        }
    )
    return HTMLResponse(text, status_code=status)


def actor_of(request: Request) -> Actor:
    actor: Actor = request.state.actor
    return actor


def preferences_of(request: Request) -> Preferences:
    """Of whoever is signed in; nobody's are empty."""
    found: Preferences = getattr(request.state, "preferences", None) or Preferences()
    return found


def row_id_of(request: Request) -> UUID:
    """Only the canonical spelling is an id; anything else is a row that does not exist."""
    text = request.path_params["pk"]
    try:
        row_id = UUID(text)
    except ValueError:
        raise NotFound from None
    if str(row_id) != text:
        raise NotFound
    return row_id
