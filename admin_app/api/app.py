"""The API, put together: routes of every domain on one FastAPI application below the website."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_app.api import exports, imports, problems
from admin_app.api.answers import answer
from admin_app.api.auth import Doors, doors_of
from admin_app.api.docs_page import Asset, DocsPage
from admin_app.api.documentation import document, with_cookie
from admin_app.api.lists import Conditions
from admin_app.api.operation_shapes import OperationConditions
from admin_app.api.operations import routes_for
from admin_app.api.routing import PlainRoute
from admin_app.bulk.actions import ACTIONS
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.activity import api as activity
from admin_app.domains.products import api as products
from admin_app.domains.products import image_api as images
from admin_app.domains.users import api as users
from admin_app.exports.exportable import EXPORTABLE
from admin_app.failures import ErrorsMiddleware

API_URL = "/api/v1"
about = APIRouter(route_class=PlainRoute)


@about.get("/openapi.json", include_in_schema=False)
async def read_document(request: Request) -> Response:
    doors = doors_of(request)
    async with doors.reading(request):
        pass
    return answer(with_cookie(request.app.openapi(), doors.cookie_name(request)))


ROUTERS = (products.router, about, images.router, users.router, activity.router)
UPLOADS, IMPORTS = images.UPLOADS, imports.UPLOADS
SELECTIONS: Mapping[str, type[Conditions]] = {
    "product": products.ProductConditions,
    "user": users.UserConditions,
}
"""What the rows of a bulk operation can be selected by."""
EXPORTS: Mapping[str, type[Conditions]] = {
    **SELECTIONS,
    "operation": OperationConditions,
    "activity": activity.ActivityConditions,
}
"""What the rows of an export can be selected by."""


class Api(FastAPI):
    """FastAPI without its own error pages, documentation pages and telemetry."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Starlette.__call__(self, scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        # Starlette's router, for FastAPI's own would look for what is included in what.
        router = Router(self.routes, redirect_slashes=False)
        return ErrorsMiddleware(router, respond=self._respond)

    def openapi(self) -> dict[str, Any]:
        self.openapi_schema = self.openapi_schema or document(self.routes, API_URL)
        return self.openapi_schema

    async def _respond(self, request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            error.headers = {"Allow": ", ".join(sorted(self._methods_at(request.scope["route"].path)))}
        return await problems.respond(request, error)

    def _methods_at(self, path: str) -> set[str]:
        """Each method has a route of its own, which would name only that."""
        found = [route for route in self.routes if isinstance(route, APIRoute) and route.path == path]
        return {method for route in found for method in route.methods or ()}


def create_api(
    database: Database, settings: Settings, media_url: Callable[[str], str], asset: Asset, site_url: str
) -> Api:
    """`media_url` says where browsers get a file made from a picture."""
    api = Api(openapi_url=None, redirect_slashes=False)
    docs = DocsPage(api.openapi, asset, site_url, settings.public_url)
    api.router.routes.append(PlainRoute("/docs", docs.show, include_in_schema=False))
    exports_router = exports.routes_for(database.info[EXPORTABLE], EXPORTS)
    for router in (*ROUTERS, routes_for(database.info[ACTIONS], SELECTIONS), imports.router, exports_router):
        # As they are, and not included: FastAPI would look through each of its routers first.
        api.router.routes.extend(router.routes)
    for route in api.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")
    api.state.doors = Doors(database, settings)
    api.state.database = database
    api.state.media_url = media_url
    return api
