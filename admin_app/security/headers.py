"""Headers on every response, whoever made it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)

DENIED_FEATURES = """
    accelerometer autoplay camera clipboard-read compute-pressure display-capture encrypted-media
    fullscreen gamepad geolocation gyroscope hid idle-detection local-fonts magnetometer microphone midi
    payment picture-in-picture publickey-credentials-create publickey-credentials-get screen-wake-lock
    serial storage-access usb window-management xr-spatial-tracking
"""
"""What a page can ask a browser for and none here does; only what Chromium knows, or it warns."""

HSTS, HSTS_NAME = "max-age=31536000", b"strict-transport-security"


def security_headers(*, is_https: bool, image_origin: str = "") -> dict[str, str]:
    """Of a response that says nothing else itself. Pages may show images of that origin, too."""
    policy = CONTENT_SECURITY_POLICY
    if image_origin:
        policy = policy.replace("img-src 'self'", f"img-src 'self' {image_origin}")
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # Not no-referrer: that makes the Origin of our own forms "null", and they would be refused.
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": ", ".join(f"{feature}=()" for feature in DENIED_FEATURES.split()),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        # Nothing may be stored by a browser or a proxy but what says otherwise itself, as static files do.
        "Cache-Control": "no-store",
    }
    return headers | ({"Strict-Transport-Security": HSTS} if is_https else {})


class SecurityHeadersMiddleware:
    """Outside everything that answers, so that error pages carry the headers too."""

    def __init__(self, app: ASGIApp, *, is_https: bool, image_origin: str = "") -> None:
        self._app = app
        self._is_https = is_https
        headers = security_headers(is_https=is_https, image_origin=image_origin)
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                said = {name.lower() for name, _ in headers}
                headers += [item for item in self._headers if item[0] not in said]
                if scope["scheme"] == "https" and not self._is_https and HSTS_NAME not in said:
                    headers.append((HSTS_NAME, HSTS.encode()))
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, send_with_headers)
