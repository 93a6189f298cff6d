"""The start page: tiles by role, each drawn from a summary or looked up in a short time of its own."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from admin_app import summaries
from admin_app.actor import Actor, Role
from admin_app.admin import dashboard_tiles as tiles
from admin_app.admin.dashboard_tiles import Content, Look
from admin_app.admin.pages import Pages, actor_of, signed_in
from admin_app.errors import NotFound, TooSlow
from admin_app.summaries import Counted

Result = TypeVar("Result")

SECONDS = 0.3
"""For each statement of a tile."""
TOO_LATE = "This could not be read in time. It is tried again."
BEING_COUNTED = "This is being counted for the first time."

EVERYBODY = frozenset(Role)
SUPERUSERS = frozenset({Role.SUPERUSER})


@dataclass(frozen=True)
class Tile:
    """`load` makes what `template` draws. With a `summary`, from its data, and not before it was counted.

    The title leads to `path`.
    """

    name: str
    title: str
    template: str
    load: Callable[[Look], Awaitable[Content]]
    summary: str = ""
    roles: frozenset[Role] = EVERYBODY
    path: str = ""
    is_wide: bool = False


TILES: Sequence[Tile] = (
    Tile(
        "own",
        "My products",
        "_tile_bars.html",
        tiles.own,
        roles=frozenset({Role.ADMINISTRATOR}),
        path="product/list?mine=yes",
    ),
    Tile("products", "Products", "_tile_bars.html", tiles.by_state, "products_by_state", path="product/list"),
    Tile(
        "deliveries", "Background jobs", "_tile_backlog.html", tiles.deliveries, roles=SUPERUSERS, path="jobs"
    ),
    Tile(
        "index",
        "Search index",
        "_tile_backlog.html",
        tiles.index_lag,
        roles=SUPERUSERS,
        path="delivery/list?task=update_product_index",
    ),
    Tile("operations", "Operations", "_tile_operations.html", tiles.operations, path="operation/list"),
    Tile("created", "Created per day", "_tile_columns.html", tiles.by_day, "products_by_day", is_wide=True),
    Tile(
        "prices",
        "Prices",
        "_tile_columns.html",
        tiles.by_price,
        "products_by_price",
        roles=frozenset({Role.SUPERUSER, Role.ADMINISTRATOR}),
        is_wide=True,
    ),
    Tile("owners", "Top owners", "_tile_bars.html", tiles.by_owner, "products_by_owner", is_wide=True),
    Tile(
        "activity",
        "Recent activity",
        "_tile_activity.html",
        tiles.activity,
        path="activity/list",
        is_wide=True,
    ),
)
"""In this order on the page. What each shows is told in docs/dashboard.md."""


@dataclass(frozen=True)
class Shown:
    """A tile with what it shows; without content it says why."""

    tile: Tile
    content: Content | None = None
    problem: str = ""
    counted: Counted | None = None


def tiles_for(actor: Actor) -> list[Tile]:
    return [tile for tile in TILES if actor.role in tile.roles]


class Dashboard(Pages):
    @signed_in
    async def show(self, request: Request) -> Response:
        actor = actor_of(request)
        shown = await self._load(request, tiles_for(actor))
        views = [view for view in self.site.service_views if view.allows(actor, "list")]
        return self._page(request, "index.html", {"tiles": shown, "model_views": views})

    async def tile(self, request: Request) -> Response:
        """One of them as it is now. Asked for by the page itself, it keeps no session alive."""
        request.state.by_itself = True
        return await self._tile(request)

    @signed_in
    async def _tile(self, request: Request) -> Response:
        wanted = [tile for tile in tiles_for(actor_of(request)) if tile.name == request.path_params["tile"]]
        if not wanted:
            raise NotFound
        [shown] = await self._load(request, wanted)
        return self._page(request, "_tile.html", {"shown": shown})

    async def _load(self, request: Request, wanted: Sequence[Tile]) -> list[Shown]:
        actor = actor_of(request)
        async with self._reading(request, SECONDS) as session:
            counted: Mapping[str, Counted] | None = {}
            if any(tile.summary for tile in wanted):
                counted = await _in_time(session, summaries.read(session))
            return [await self._shown(session, actor, tile, counted) for tile in wanted]

    async def _shown(
        self, session: AsyncSession, actor: Actor, tile: Tile, counted: Mapping[str, Counted] | None
    ) -> Shown:
        found = None
        if tile.summary:
            found = counted.get(tile.summary) if counted is not None else None
            if found is None:
                return Shown(tile, problem=TOO_LATE if counted is None else BEING_COUNTED)
        look = Look(session, actor, self.site.base_url, found.data if found else {})
        content = await _in_time(session, tile.load(look))
        if content is None:
            return Shown(tile, problem=TOO_LATE)
        return Shown(tile, content, counted=found)


async def _in_time(session: AsyncSession, loading: Awaitable[Result]) -> Result | None:
    """None for what took too long, after which the session goes on as before."""
    try:
        async with session.begin_nested():
            return await loading
    except TooSlow:
        return None
