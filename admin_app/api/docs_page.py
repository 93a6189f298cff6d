"""The page that tells people how to use the API: drawn from the OpenAPI document, without a script."""

import re
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from admin_app.api.auth import doors_of
from admin_app.api.examples import EXAMPLES
from admin_app.api.problems import PROOF_REQUIRED
from admin_app.api.reference import Document, groups_of, shown

QUOTED = re.compile("`([^`]*)`")

Asset = Callable[[str], str]
"""A static file's name -> its URL."""


class DocsPage:
    """`site_url` is where the website begins, to sign in and to go back to."""

    def __init__(self, document: Callable[[], Document], asset: Asset, site_url: str, origin: str) -> None:
        self._document = document
        self._site_url = site_url
        self._origin = origin
        self._environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {"code": _code, "breakable": _breakable}
        self._environment.globals["asset"] = asset

    async def show(self, request: Request) -> Response:
        try:
            async with doors_of(request).reading(request):
                pass
        except HTTPException as error:
            if error.status_code == 401:
                return RedirectResponse(f"{self._site_url}/login?next={request.scope['path']}", 302)
            if error.status_code == 403:  # they must do something else first: the website says what
                return RedirectResponse(f"{self._site_url}/", 302)
            raise
        document = self._document()
        context = {
            "groups": groups_of(document, [route.name for route in request.app.routes]),
            "problem": shown(EXAMPLES["Problem"]),
            "proof_type": PROOF_REQUIRED[0],
            "api_url": request.scope["root_path"],
            "origin": self._origin or str(request.base_url.replace(path="")).rstrip("/"),
            "start_url": f"{self._site_url}/",
            "account_url": f"{self._site_url}/account",
        }
        return HTMLResponse(self._environment.get_template("docs.html").render(context))


def _code(text: str) -> Markup:
    """What stands between backticks is set as code."""
    return Markup(QUOTED.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped


def _breakable(path: str) -> Markup:
    return Markup(str(escape(path)).replace("/", "/<wbr>"))  # noqa: S704  # escaped
