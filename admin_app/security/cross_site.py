"""Refuses changes asked for by other sites: by Fetch Metadata where the browser sends it, else by Origin.

A cookie alone proves nothing: a page on another port of this host is "same-site", and its forms carry
our SameSite=Lax cookie. Facts and order of checks after the OWASP CSRF cheat sheet (Fetch Metadata).
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_app.errors import Forbidden

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MESSAGE = "This request came from another site, so nothing was changed. Open the page here and try again."


class CrossSiteMiddleware:
    """Raises Forbidden. `public_origin` is what browsers call this site; '' means: what Host says."""

    def __init__(self, app: ASGIApp, public_origin: str = "") -> None:
        self._app = app
        self._public_origin = public_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = Headers(scope=scope)
            if not self._is_own(headers, str(scope.get("scheme", "http"))):
                raise Forbidden(MESSAGE)
        await self._app(scope, receive, send)

    def _is_own(self, headers: Headers, scheme: str) -> bool:
        fetch_site = headers.get("sec-fetch-site")
        if fetch_site is not None:
            return fetch_site in {"same-origin", "none"}
        origin = headers.get("origin")
        if origin is not None:
            return origin == (self._public_origin or f"{scheme}://{headers.get('host', '')}")
        # Not a browser of this decade. Without a cookie there is no one to impersonate.
        return "cookie" not in headers
