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
    """Raises Forbidden. `public_origin` is what browsers call this site; '' means: what Host says.

    Below `token_prefix` an access token counts and not the cookie, and no browser sends one on its own.
    """

    def __init__(self, app: ASGIApp, public_origin: str = "", token_prefix: str = "") -> None:
        self._app = app
        self._public_origin = public_origin
        self._token_prefix = token_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = Headers(scope=scope)
            has_token = self._token_prefix and scope["path"].startswith(self._token_prefix)
            has_token = has_token and headers.get("authorization", "").lower().startswith("bearer ")
            if not has_token and not self._is_own(headers, str(scope.get("scheme", "http"))):
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
