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
    "permissions-policy": "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), "
    "compute-pressure=(), display-capture=(), encrypted-media=(), fullscreen=(), gamepad=(), geolocation=(), "
    "gyroscope=(), hid=(), idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), midi=(), "
    "payment=(), picture-in-picture=(), publickey-credentials-create=(), publickey-credentials-get=(), "
    "screen-wake-lock=(), serial=(), storage-access=(), usb=(), window-management=(), "
    "xr-spatial-tracking=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def add_failing_pages(website: Website) -> None:
    """/boom outside the admin, and /admin/boom inside it."""
    [mount] = [route for route in website.routes if isinstance(route, Mount) and route.name == "admin"]
    mount.app.router.routes.insert(0, Route("/boom", _fail))  # type: ignore[attr-defined]
    website.router.routes.insert(0, Route("/boom", _fail))


async def _fail(_request: Request) -> Response:
    raise RuntimeError("SELECT secret FROM nowhere")
