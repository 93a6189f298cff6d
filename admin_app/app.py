"""The website, put together: the one place where settings, database, doors and pages meet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from admin_app.admin import error_pages
from admin_app.admin.compression import CompressionMiddleware
from admin_app.admin.error_pages import ErrorPagesMiddleware
from admin_app.admin.site import BASE_URL, VIEWS, AppAdmin
from admin_app.config import Settings
from admin_app.domains import open_database
from admin_app.security.body_limit import BodyLimitMiddleware
from admin_app.security.cross_site import CrossSiteMiddleware
from admin_app.security.headers import SecurityHeadersMiddleware

FLASH_SECONDS = 600


class Website(Starlette):
    """Starlette, with the security headers outside everything, its own error handler included."""

    is_https = False
    image_origin = ""

    def build_middleware_stack(self) -> ASGIApp:
        return SecurityHeadersMiddleware(
            super().build_middleware_stack(), is_https=self.is_https, image_origin=self.image_origin
        )


def create_app(settings: Settings) -> Website:
    """The ASGI application. It connects to PostgreSQL on the first request, and to nothing else."""
    database = open_database(settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await database.close()

    async def render_error(request: Request, status: int, message: str) -> Response:
        return await site.error_page(request, status, message)

    async def on_http_error(request: Request, error: Exception) -> Response:
        return await error_pages.respond(render_error, request, error)

    app = Website(
        routes=[Route("/", _to_admin), Route(BASE_URL, _to_admin), Route("/live", _live)],
        lifespan=lifespan,
        exception_handlers={HTTPException: on_http_error},
        middleware=[
            # Outermost first.
            Middleware(CompressionMiddleware),
            Middleware(
                SessionMiddleware,  # carries flash messages only; who is signed in is kept in PostgreSQL
                secret_key=settings.secret_key.get_secret_value(),
                session_cookie="flash",
                max_age=FLASH_SECONDS,
                https_only=settings.is_https,
            ),
            Middleware(ErrorPagesMiddleware, render=render_error),
            Middleware(TrustedHostMiddleware, allowed_hosts=settings.hosts, www_redirect=False),
            Middleware(
                BodyLimitMiddleware,
                anonymous_paths={f"{BASE_URL}/login"},
                selection_paths={f"{BASE_URL}/{view.identity}/bulk" for view in VIEWS},
                upload_prefixes=[f"{BASE_URL}/{view.identity}/images" for view in VIEWS if view.images],
            ),
            Middleware(CrossSiteMiddleware, public_origin=settings.public_url),
        ],
    )
    app.is_https = settings.is_https
    app.image_origin = settings.cdn_origin
    app.state.database = database
    site = AppAdmin(app, database, settings)
    return app


async def _to_admin(_request: Request) -> Response:
    return RedirectResponse(f"{BASE_URL}/")


async def _live(_request: Request) -> Response:
    """The process runs. Says nothing of the database: a restart would not mend that."""
    return PlainTextResponse("ok")
