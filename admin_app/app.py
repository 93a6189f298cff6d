"""The website, put together: the one place where settings, database, doors and pages meet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_app.admin import error_pages
from admin_app.admin.compression import CompressionMiddleware
from admin_app.admin.site import BASE_URL, VIEWS, AppAdmin
from admin_app.api import problems
from admin_app.api.app import API_URL, IMPORTS, UPLOADS, create_api
from admin_app.config import Settings
from admin_app.domains import open_database
from admin_app.failures import ErrorsMiddleware
from admin_app.health import Health
from admin_app.metrics import CONTENT_TYPE, Metrics, MetricsMiddleware
from admin_app.presence import Kind, Presence
from admin_app.request_log import RequestLogMiddleware
from admin_app.security.body_limit import BodyLimitMiddleware
from admin_app.security.cross_site import CrossSiteMiddleware
from admin_app.security.headers import SecurityHeadersMiddleware
from admin_app.security.proxies import Network, TrustedProxiesMiddleware
from admin_app.security.throttle import Throttle
from admin_app.storage import storage_of

FLASH_SECONDS = 600
ANSWER_SECONDS = 30.0
"""The longest anybody waits for a database that accepts a statement and says nothing more."""

LIVE, READY, METRICS = "/live", "/ready", "/metrics"


class Website(Starlette):
    """Starlette, with the security headers outside everything, its own error handler included."""

    is_https = False
    image_origin = ""
    trusted_proxies: tuple[Network, ...] = ()

    def build_middleware_stack(self) -> ASGIApp:
        answering = SecurityHeadersMiddleware(
            super().build_middleware_stack(), is_https=self.is_https, image_origin=self.image_origin
        )
        proxied = TrustedProxiesMiddleware(answering, self.trusted_proxies)
        return RequestLogMiddleware(proxied, self.trusted_proxies)

    def note_end(self) -> None:
        """From now on /ready says that it takes no more requests."""
        self.state.health.is_stopping = True


def create_app(settings: Settings) -> Website:
    """The ASGI application. It connects to PostgreSQL when it is served, to Redis at a sign-in."""
    database = open_database(settings, answer_seconds=ANSWER_SECONDS)
    throttle = Throttle(settings.redis_url)
    health = Health(settings, storage_of(database))
    token = settings.metrics_token.get_secret_value()
    metrics = Metrics(token, database, health) if token else None

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with Presence(database, Kind.WEB):
            yield
        await health.close()
        await throttle.close()
        await database.close()

    async def render_error(request: Request, status: int, message: str) -> Response:
        return await site.error_page(request, status, message)

    async def on_error(request: Request, error: Exception) -> Response:
        if f"{request.scope['path']}/".startswith(f"{API_URL}/"):
            return await problems.respond(request, error)
        return await error_pages.respond(render_error, request, error)

    async def ready(_request: Request) -> Response:
        status = await health.status()
        return JSONResponse({"status": status}, status.code)

    async def show_metrics(request: Request) -> Response:
        if metrics is None or not metrics.opens(request.headers.get("authorization", "")):
            raise HTTPException(404)
        return Response(await metrics.text(), media_type=CONTENT_TYPE)

    app = Website(
        routes=[
            Route("/", _to_admin),
            Route(BASE_URL, _to_admin),
            Route(LIVE, _live),
            Route(READY, ready),
            Route(METRICS, show_metrics),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: on_error},
        middleware=[
            # Outermost first.
            *([Middleware(MetricsMiddleware, metrics=metrics)] if metrics else []),
            Middleware(CompressionMiddleware),
            Middleware(
                FlashMiddleware,
                secret_key=settings.secret_key.get_secret_value(),
                session_cookie="flash",
                max_age=FLASH_SECONDS,
                https_only=settings.is_https,
            ),
            Middleware(ErrorsMiddleware, respond=on_error),
            Middleware(HostMiddleware, allowed_hosts=settings.hosts, www_redirect=False),
            Middleware(
                BodyLimitMiddleware,
                anonymous_paths={f"{BASE_URL}/{name}" for name in ("login", "login/code", "forgot")},
                selection_paths={f"{BASE_URL}/{view.identity}/bulk" for view in VIEWS},
                upload_paths=[
                    *(f"{BASE_URL}/{view.identity}/images(/.*)?" for view in VIEWS if view.images),
                    f"{API_URL}({UPLOADS})",
                ],
                import_paths=[
                    f"{API_URL}{IMPORTS}",
                    *(f"{BASE_URL}/{view.identity}/import" for view in VIEWS),
                ],
            ),
            Middleware(CrossSiteMiddleware, public_origin=settings.public_url, token_prefix=f"{API_URL}/"),
        ],
    )
    app.is_https = settings.is_https
    app.image_origin = settings.cdn_origin
    app.trusted_proxies = settings.trusted_proxies
    app.state.database = database
    app.state.throttle = throttle
    app.state.health = health
    site = AppAdmin(app, database, settings, throttle)
    app.mount(API_URL, create_api(database, settings, site.media_url, site.asset, BASE_URL), name="api")
    return app


class HostMiddleware(TrustedHostMiddleware):
    """Whatever watches over this process asks by its address, or by a name only that knows."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_watching = (
            scope["type"] == "http"
            and scope["path"] in {LIVE, READY, METRICS}
            and "host" in Headers(scope=scope)
        )
        await (self.app if is_watching else super().__call__)(scope, receive, send)


class FlashMiddleware(SessionMiddleware):
    """Carries flash messages, and only to pages; who is signed in is kept in PostgreSQL."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and not scope["path"].startswith(f"{API_URL}/")
        await (super().__call__ if is_page else self.app)(scope, receive, send)


async def _to_admin(_request: Request) -> Response:
    return RedirectResponse(f"{BASE_URL}/")


async def _live(_request: Request) -> Response:
    """The process runs. Says nothing of the database: a restart would not mend that."""
    return PlainTextResponse("ok")
