"""What every response must carry, and pages that fail."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from admin_app.app import Website

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
}


def add_failing_pages(website: Website) -> None:
    """/boom outside the admin, and /admin/boom inside it."""
    [mount] = [route for route in website.routes if isinstance(route, Mount)]
    mount.app.router.routes.insert(0, Route("/boom", _fail))  # type: ignore[attr-defined]
    website.router.routes.insert(0, Route("/boom", _fail))


async def _fail(_request: Request) -> Response:
    raise RuntimeError("SELECT secret FROM nowhere")
