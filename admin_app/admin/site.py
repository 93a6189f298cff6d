"""The admin site: sqladmin's frame with our pages in it, and the only routes there are."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from sqladmin import Admin
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from admin_app.admin import error_pages
from admin_app.admin.account_pages import AccountPages
from admin_app.admin.assets import Assets
from admin_app.admin.authentication import Authentication
from admin_app.admin.base_view import ServiceView
from admin_app.admin.bin_pages import BinPages
from admin_app.admin.dashboard import Dashboard
from admin_app.admin.export_pages import ExportPages
from admin_app.admin.flash import flashed
from admin_app.admin.formatting import FILTERS
from admin_app.admin.history_pages import HistoryPages
from admin_app.admin.image_pages import ImagePages
from admin_app.admin.import_pages import ImportPages
from admin_app.admin.jobs_pages import JobsPages
from admin_app.admin.list_pages import ListPages
from admin_app.admin.menu import MenuLink, menu
from admin_app.admin.notification_pages import NotificationPages
from admin_app.admin.operation_pages import OperationPages
from admin_app.admin.operations import OperationAdmin
from admin_app.admin.pages import render
from admin_app.admin.password_page import PasswordPage
from admin_app.admin.proof_page import ProofPage
from admin_app.admin.quick_search import QuickSearch
from admin_app.admin.reset_pages import ResetPages
from admin_app.admin.row_pages import RowPages
from admin_app.admin.second_factor_pages import SecondFactorPages
from admin_app.admin.sign_in_pages import SignInPages
from admin_app.config import Settings
from admin_app.database import Database
from admin_app.domains.activity.admin import ActivityAdmin
from admin_app.domains.deliveries.admin import DeliveryAdmin
from admin_app.domains.products.admin import ProductAdmin
from admin_app.domains.users.admin import UserAdmin
from admin_app.errors import AppError, NotFound, ProofRequired
from admin_app.failures import ErrorsMiddleware
from admin_app.security.throttle import Throttle
from admin_app.storage import storage_of

BASE_URL = "/admin"
HERE = Path(__file__).parent
STATIC = HERE.parent / "static"
VIEWS: tuple[type[ServiceView], ...] = (
    ProductAdmin,
    UserAdmin,
    OperationAdmin,
    ActivityAdmin,
    DeliveryAdmin,
)


class AppAdmin(Admin):
    """sqladmin gives the form scaffolding; every endpoint is ours.

    What sqladmin would route and we do not: file download and preview (they serve files named by any
    text column), export and import (around the service), and changes by GET or DELETE.
    """

    def __init__(self, app: Starlette, database: Database, settings: Settings, throttle: Throttle) -> None:
        self.door = Authentication(database, settings, BASE_URL, throttle)
        super().__init__(
            app,
            # Its own session maker: sqladmin turns autoflush off on the one it is given.
            session_maker=database.sessionmaker(),
            base_url=BASE_URL,
            title="Admin",
            # Inside the mount too: its own last resort would answer in plain text, and raise again.
            middlewares=[Middleware(ErrorsMiddleware, respond=self._on_error)],
        )
        self.database = database
        self.storage = storage_of(database)
        assets = Assets(STATIC, f"{BASE_URL}/statics")
        self.asset = assets.url
        self.environment = environment()
        self.environment.globals |= {"admin": self, "asset": assets.url, "media": self.media_url}
        lists, rows, deleted, history = ListPages(self), RowPages(self), BinPages(self), HistoryPages(self)
        operations, images, self._doors = OperationPages(self), ImagePages(self), SignInPages(self)
        account, resets, exports = AccountPages(self), ResetPages(self), ExportPages(self)
        self._proof, factors, imports = ProofPage(self), SecondFactorPages(self), ImportPages(self)
        jobs = JobsPages(self, settings.redis_url)
        dashboard = Dashboard(self)
        notifications = NotificationPages(self)
        post, both = ["POST"], ["GET", "POST"]
        routes = [
            Route("/statics/{file}", assets.respond, name="statics"),
            Route("/", dashboard.show, name="index"),
            Route("/tile/{tile}", dashboard.tile, name="tile"),
            Route("/search", QuickSearch(self).show, name="search"),
            Route("/login", self._doors.show, name="login", methods=both),
            Route("/login/code", self._doors.code, name="login_code", methods=both),
            Route("/confirm", self._proof.show, name="confirm", methods=both),
            Route("/logout", self._doors.leave, name="logout", methods=post),
            Route("/password", PasswordPage(self).show, name="password", methods=both),
            Route("/forgot", resets.forgot, name="forgot", methods=both),
            Route("/reset/{token}", resets.choose, name="reset", methods=both),
            Route("/user/reset-link/{pk}", resets.make_link, name="reset_link", methods=post),
            Route("/account", account.show, name="account"),
            Route("/account/second-factor", factors.show, name="second_factor", methods=both),
            Route("/account/second-factor/remove", factors.remove, name="remove_factor", methods=both),
            Route("/account/recovery-codes", factors.renew_codes, name="recovery_codes", methods=both),
            Route("/user/second-factor/{pk}", factors.remove_of, name="remove_factor_of", methods=both),
            Route("/account/sessions/end", account.end_sessions, name="end_sessions", methods=post),
            Route("/account/tokens", account.create_token, name="tokens", methods=both),
            Route("/account/tokens/revoke", account.revoke_token, name="revoke_token", methods=both),
            Route("/user/sign-out/{pk}", account.sign_out_user, name="sign_out_user", methods=post),
            Route("/operation/details/{pk}", operations.show, name="operation"),
            Route("/operation/live/{pk}", operations.live, name="operation_live"),
            Route("/operation/confirm/{pk}", operations.confirm, name="operation_confirm", methods=post),
            Route("/operation/cancel/{pk}", operations.cancel, name="operation_cancel", methods=post),
            Route("/operation/retry/{pk}", operations.retry, name="operation_retry", methods=post),
            Route("/operation/undo/{pk}", operations.undo, name="operation_undo", methods=post),
            Route("/activity/details/{pk}", history.entry, name="entry"),
            Route("/jobs", jobs.overview, name="jobs"),
            Route("/delivery/details/{pk}", jobs.details, name="delivery"),
            Route("/delivery/retry/{pk}", jobs.retry, name="delivery_retry", methods=post),
            Route("/delivery/park/{pk}", jobs.park, name="delivery_park", methods=post),
            Route("/delivery/purge/{pk}", jobs.purge, name="delivery_purge", methods=both),
            Route("/delivery/retry", jobs.retry_all, name="deliveries_retry", methods=both),
            Route("/delivery/park", jobs.park_all, name="deliveries_park", methods=both),
            Route("/delivery/purge", jobs.purge_all, name="deliveries_purge", methods=both),
            Route("/media/images/{picture}/{file}", images.media, name="media"),
            Route("/notifications", notifications.show, name="notifications"),
            Route("/notifications/live", notifications.live, name="notifications_live"),
            Route("/notifications/seen", notifications.mark_seen, name="notifications_seen", methods=post),
            Route("/exports", exports.list, name="exports"),
            Route("/export/details/{pk}", exports.show, name="export_details"),
            Route("/export/live/{pk}", exports.live, name="export_live"),
            Route("/export/cancel/{pk}", exports.cancel, name="export_cancel", methods=post),
            Route("/export/file/{pk}", exports.file, name="export_file"),
            Route("/import/details/{pk}", imports.show, name="import_details"),
            Route("/import/live/{pk}", imports.live, name="import_live"),
            Route("/import/match/{pk}", imports.match, name="import_match", methods=post),
            Route("/import/reread/{pk}", imports.reread, name="import_reread", methods=post),
            Route("/import/confirm/{pk}", imports.confirm, name="import_confirm", methods=post),
            Route("/import/discard/{pk}", imports.discard, name="import_discard", methods=post),
            Route("/import/refused/{pk}", imports.refused, name="import_refused"),
            Route("/{identity}/import", imports.upload, name="import", methods=both),
            Route("/{identity}/export", exports.export, name="export", methods=both),
            Route("/{identity}/list", lists.show, name="list"),
            Route("/{identity}/count", lists.count, name="count"),
            Route("/{identity}/facets", lists.facets, name="facets"),
            Route("/{identity}/suggest", lists.suggest, name="suggest"),
            Route("/{identity}/inline/{pk}", lists.inline, name="inline", methods=post),
            Route("/{identity}/bulk", lists.bulk, name="bulk", methods=post),
            Route("/{identity}/preferences", lists.prefer, name="preferences", methods=post),
            Route("/{identity}/views", lists.save_view, name="save_view", methods=post),
            Route("/{identity}/views/delete", lists.delete_view, name="delete_view", methods=post),
            Route("/{identity}/ajax/lookup", lists.ajax_lookup, name="ajax_lookup"),
            Route("/{identity}/create", rows.create, name="create", methods=both),
            Route("/{identity}/details/{pk}", rows.details, name="details"),
            Route("/{identity}/edit/{pk}", rows.edit, name="edit", methods=both),
            Route("/{identity}/delete/{pk}", rows.delete, name="delete", methods=both),
            Route("/{identity}/images", images.pictures, name="images", methods=both),
            Route("/{identity}/images/{pk}", images.add_to_row, name="row_images", methods=post),
            Route("/{identity}/bin", deleted.show, name="bin"),
            Route("/{identity}/restore/{pk}", deleted.restore, name="restore", methods=post),
            Route("/{identity}/history/{pk}", history.show, name="history"),
            Route("/{identity}/compare/{pk}", history.compare, name="compare"),
            Route("/{identity}/revert/{pk}", history.revert, name="revert", methods=post),
        ]
        self.admin.router.routes = list(routes)
        # Paths without scheme and host are right behind any proxy, whatever it says of itself.
        paths = {f"admin:{route.name}": f"{BASE_URL}{route.path_format}" for route in routes}
        self.environment.globals["url_for"] = lambda name, **values: paths[name].format(**values)
        # What is the same on every page is drawn once.
        self.environment.globals["same"] = {
            name: Markup(self.environment.get_template(f"sqladmin/{name}.html").render())  # noqa: S704
            for name in ("_keys", "_theme", "_quick_search")
        }
        # Such a redirect would be an absolute one, made from the Host header.
        self.admin.router.redirect_slashes = app.router.redirect_slashes = False
        self.admin.exception_handlers = {
            **dict.fromkeys((401, 403), self._on_turned_away),
            ProofRequired: self._proof.demand,
            HTTPException: self._on_error,
            AppError: self._on_error,
        }
        for view in VIEWS:
            self.add_view(view)

    def view(self, identity: str) -> ServiceView:
        """Raises NotFound."""
        for view in self.service_views:
            if view.identity == identity:
                return view
        raise NotFound

    def media_url(self, name: str) -> str:
        """On the CDN, if there is one, else from here."""
        return self.storage.public_url(name) or f"{BASE_URL}/media/{name}"

    def menu(self, request: Request) -> list[MenuLink]:
        return menu(self.service_views, BASE_URL, request)

    @property
    def service_views(self) -> list[ServiceView]:
        return [view for view in self.views if isinstance(view, ServiceView)]

    async def error_page(self, request: Request, status: int, message: str) -> Response:
        """Without a query, and without a word that depends on which row was asked for."""
        return render(self, request, "error.html", {"status_code": status, "message": message}, status)

    async def _on_turned_away(self, request: Request, error: Exception) -> Response:
        """By the door: 401 signed out, or 403 while something else is due. What was typed is kept."""
        assert isinstance(error, HTTPException)
        due = getattr(error, "due", None)
        kept = await self._doors.keep(request, due) if due or error.status_code == 401 else None
        return kept or await self._on_error(request, error)

    async def _on_error(self, request: Request, error: Exception) -> Response:
        return await error_pages.respond(self.error_page, request, error)


def environment() -> Environment:
    """Our templates. Not sqladmin's environment, whose asynchronous loops take longer over a list."""
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters.update(FILTERS)
    found.globals["flashed"] = flashed
    return found
