"""Quick search: rows, saved views and pages in one ranked list; as a page, and for the palette."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from admin_app.actor import Actor
from admin_app.admin.base_view import Column, ServiceView
from admin_app.admin.pages import Pages, actor_of, preferences_of, signed_in
from admin_app.errors import TooSlow
from admin_app.filters import parse_text
from admin_app.listing import BadQuery
from admin_app.search import ExactOnly

MAX_ROWS = 8
"""Of each list."""
MAX_RESULTS = 15
SECONDS = 0.3
EXACT_ONLY = "Search is simpler for the moment: only exact words are found."
TOO_SLOW = "Searching took too long, so only pages are shown. Try more or longer words."
ALIKE = 0.75
MAX_COMPARED = 60
"""Letters of a name, and of what was typed: comparing takes the product of both."""
SHOWN = {"text", "money", "state", "role"}


@dataclass(frozen=True)
class PageLink:
    """Somewhere to go: a page of the site, or a saved view of a list."""

    title: str
    url: str
    icon: str
    kind: str = "Page"


@dataclass(frozen=True)
class Result:
    """`cells` are a row's columns to show beside its title."""

    kind: str
    icon: str
    title: str
    url: str
    score: float
    cells: Sequence[tuple[Column, Any]] = ()


class QuickSearch(Pages):
    @signed_in
    async def show(self, request: Request) -> Response:
        """The whole page, or only its list for whoever asks for the fragment."""
        is_fragment = request.headers.get("X-Fragment") == "results"
        template = "_quick_results.html" if is_fragment else "search.html"
        try:
            text = parse_text(request.query_params.get("q", ""))
        except ValueError as error:
            message = BadQuery(f"Search: {error}").message
            return self._page(request, template, {"q": "", "results": [], "error": message}, 400)
        actor = actor_of(request)
        links = list(self._links(request, actor))
        results = [
            Result(link.kind, link.icon, link.title, link.url, likeness(text, link.title) if text else 0.5)
            for link in links
        ]
        problem = note = None
        if text:
            try:
                rows, is_exact_only = await self._rows(request, actor, text)
                results += rows
                note = EXACT_ONLY if is_exact_only else None
            except TooSlow:
                problem = TOO_SLOW
        found = sorted((result for result in results if result.score > 0), key=lambda result: -result.score)
        context = {
            "q": text,
            "results": found[:MAX_RESULTS] if text else found,
            "error": problem,
            "note": note,
        }
        return self._page(request, template, context)

    async def _rows(self, request: Request, actor: Actor, text: str) -> tuple[list[Result], bool]:
        """Of all lists, and whether one of them was searched without its index."""
        results: list[Result] = []
        is_exact_only = False
        async with self._reading(request, SECONDS) as session:
            for view in self.site.service_views:
                if view.allows(actor, "list"):
                    ranked = await view.service(session, actor).rank(text, MAX_ROWS)
                    results += [self._result(view, row, score) for row, score in ranked]
                    is_exact_only |= isinstance(ranked, ExactOnly)
        return results, is_exact_only

    def _result(self, view: ServiceView, row: Any, score: float) -> Result:
        url = f"{self.site.base_url}/{view.identity}/details/{row.id}"
        shown = [column for column in view.columns if column.kind in SHOWN and not column.is_extra]
        cells = [(column, column.of(row)) for column in shown]
        return Result(view.name, view.icon, str(row), url, score, cells)

    def _links(self, request: Request, actor: Actor) -> Iterator[PageLink]:
        base = self.site.base_url
        yield PageLink("Home", f"{base}/", "home")
        views = [view for view in self.site.service_views if view.allows(actor, "list")]
        for view in views:
            if view.overview:
                title, page = view.overview
                yield PageLink(title, f"{base}/{page}", view.icon)
            yield PageLink(view.name_plural, f"{base}/{view.identity}/list", view.icon)
            if view.allows(actor, "create"):
                yield PageLink(f"New {view.name.lower()}", f"{base}/{view.identity}/create", "plus")
        yield PageLink("Your account", f"{base}/account", "key")
        for saved in preferences_of(request).views:
            if any(saved.list == view.identity for view in views):
                url = f"{base}/{saved.list}/list?{saved.query}"
                yield PageLink(saved.name, url, "view", "Saved view")


def likeness(text: str, title: str) -> float:
    """How well a title fits what was typed, from 1 to 0; without regard to case and accents."""
    typed, words = _plain(text), _plain(title).split()
    whole = " ".join(words)
    if whole == typed:
        return 1.0
    if whole.startswith(typed):
        return 0.95
    if all(any(word.startswith(part) for word in words) for part in typed.split()):
        return 0.85
    return 0.8 * max(_alike(typed, candidate) for candidate in (whole, *words))


def _alike(one: str, other: str) -> float:
    matcher = SequenceMatcher(None, one, other)
    # The first two are quick, and never less than the third.
    steps = (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio)
    return matcher.ratio() if all(step() >= ALIKE for step in steps) else 0.0


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(plain[:MAX_COMPARED].split())
