"""Pages of work done beside requests: how it goes, one delivery, and what can be done about it."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_app.actor import Actor
from admin_app.admin import forms
from admin_app.admin.base_view import ServiceView
from admin_app.admin.flash import flash
from admin_app.admin.listing import conditions, spoken_conditions
from admin_app.admin.pages import Pages, Site, actor_of, row_id_of, signed_in
from admin_app.database import limit_time
from admin_app.domains.deliveries.access import may_change
from admin_app.domains.deliveries.admin import STATES, next_try
from admin_app.domains.deliveries.names import LOST, TASKS, event_name, task_name
from admin_app.domains.deliveries.service import AT_ONCE, TYPED, TYPED_ABOVE, Change, DeliveryService, State
from admin_app.errors import Forbidden, InvalidInput, TooSlow
from admin_app.listing import ListQuery
from admin_app.presence import processes
from admin_app.queue_state import LOOK_SECONDS, look
from admin_app.search import as_id
from admin_app.upkeep import PAUSE_SECONDS, schedule

MANY_SECONDS = 20.0
IDENTITY = "delivery"
SHOWN = "shown"
MAX_IDS = 10
OF_ROWS = {"product_ids": "product", "user_ids": "user"}
"""Arguments that are ids of rows with a history, and the list they are of."""

DONE = {Change.RETRY: "tried again", Change.PARK: "parked", Change.PURGE: "deleted for good"}
ALREADY = {
    Change.RETRY: "There was nothing to retry.",
    Change.PARK: "There was nothing to park.",
    Change.PURGE: "There was nothing to delete: only what is parked can be.",
}


@dataclass(frozen=True)
class Ids:
    """Rows a delivery is about; `identity` is their list, if they have a history there."""

    label: str
    ids: list[str]
    more: int
    identity: str | None


class JobsPages(Pages):
    def __init__(self, site: Site, redis_url: str) -> None:
        super().__init__(site)
        self._redis_url = redis_url

    @signed_in
    async def overview(self, request: Request) -> Response:
        actor = actor_of(request)
        if not self._list.allows(actor, "list"):
            raise Forbidden
        found = None
        async with self._reading(request) as session:
            seen, chores = await processes(session), await schedule(session)
            with suppress(TooSlow):  # the rest of the page still stands
                found = await DeliveryService(session, actor).overview()
        queues = await look(self._redis_url)
        jobs = [job for queue in queues or [] for job in queue.jobs]
        tasks: Mapping[Any, str] = {}
        if jobs:
            async with self._database.reading() as session:
                tasks = await DeliveryService(session, actor).tasks_of([job.delivery_id for job in jobs])
        context = {
            "overview": found,
            "states": [(state, *STATES[state]) for state in State],
            "State": State,
            "queues": queues,
            "look_seconds": LOOK_SECONDS,
            "jobs": jobs,
            "tasks": tasks,
            "task_name": task_name,
            "listed_tasks": TASKS,
            "processes": seen,
            "chores": chores,
            "pause_minutes": round(PAUSE_SECONDS / 60),
            "now": datetime.now(UTC),
            "list_url": self._list_url(self._list),
        }
        return self._page(request, "jobs.html", context)

    @signed_in
    async def details(self, request: Request) -> Response:
        delivery_id, actor = row_id_of(request), actor_of(request)
        async with self._reading(request) as session:
            row = await DeliveryService(session, actor).get_by_id(delivery_id)
        context = {
            "model_view": self._list,
            "row": row,
            "task": task_name(row.task),
            "event": event_name(row.event_name),
            "state": STATES[State(row.state)],
            "next_try": next_try(row),
            "about": _ids_of(row.arguments),
            "buttons": _buttons(actor, State(row.state)),
        }
        return self._page(request, "delivery.html", context)

    @signed_in
    async def retry(self, request: Request) -> Response:
        return await self._change_one(request, Change.RETRY)

    @signed_in
    async def park(self, request: Request) -> Response:
        return await self._change_one(request, Change.PARK)

    @signed_in
    async def purge(self, request: Request) -> Response:
        """GET asks whether to."""
        if request.method == "POST":
            return await self._change_one(request, Change.PURGE)
        delivery_id, actor = row_id_of(request), actor_of(request)
        _require_changer(actor)
        async with self._reading(request) as session:
            row = await DeliveryService(session, actor).get_by_id(delivery_id)
        found = {row.task: 1} if row.state == State.PARKED else {}
        asked = {"words": "This delivery", "back": self._url(delivery_id)}
        return self._question(request, Change.PURGE, found, asked)

    @signed_in
    async def retry_all(self, request: Request) -> Response:
        return await self._change_all(request, Change.RETRY)

    @signed_in
    async def park_all(self, request: Request) -> Response:
        return await self._change_all(request, Change.PARK)

    @signed_in
    async def purge_all(self, request: Request) -> Response:
        return await self._change_all(request, Change.PURGE)

    @property
    def _list(self) -> ServiceView:
        return self.site.view(IDENTITY)

    async def _change_one(self, request: Request, change: Change) -> Response:
        delivery_id = row_id_of(request)
        async with self._changing(request) as (session, actor):
            is_changed = await DeliveryService(session, actor).change(change, delivery_id)
        flash(request, f"The delivery was {DONE[change]}." if is_changed else ALREADY[change])
        is_gone = is_changed and change is Change.PURGE
        return RedirectResponse(
            self._list_url(self._list) if is_gone else self._url(delivery_id), status_code=303
        )

    async def _change_all(self, request: Request, change: Change) -> Response:
        """To all the list in the address finds. GET asks whether to."""
        _require_changer(actor_of(request))
        view = self._list
        query = view.service.listing.parse(request.query_params.multi_items()).first_page()
        if request.method != "POST":
            return await self._ask(request, change, query)
        posted = await forms.read(request)
        shown, typed = str(posted.get(SHOWN, "")), str(posted.get(TYPED, ""))
        try:
            async with self._changing(request) as (session, actor):
                await limit_time(session, MANY_SECONDS)
                number = await DeliveryService(session, actor).change_all(
                    change, query, spoken_conditions(view, query), shown=_number(shown), typed=typed
                )
        except InvalidInput as error:
            return await self._ask(request, change, query, error)
        many = f"{number:,} deliveries were" if number != 1 else "1 delivery was"
        none = f"{ALREADY[change]} What a worker is at is left alone."
        flash(request, f"{many} {DONE[change]}." if number else none)
        return RedirectResponse(self._back(query), status_code=303)

    async def _ask(
        self,
        request: Request,
        change: Change,
        query: ListQuery,
        error: InvalidInput | None = None,
    ) -> Response:
        async with self._reading(request) as session:
            await limit_time(session, MANY_SECONDS)
            found = await DeliveryService(session, actor_of(request)).changeable(change, query)
        asked = {"words": spoken_conditions(self._list, query), "back": self._back(query)}
        return self._question(request, change, found, asked, error)

    def _question(
        self,
        request: Request,
        change: Change,
        found: Mapping[str, int],
        asked: Mapping[str, str],
        error: InvalidInput | None = None,
    ) -> Response:
        number = sum(found.values())
        context = {
            "change": change.value,
            "tasks": [(task_name(task), tasks, LOST.get(task)) for task, tasks in sorted(found.items())],
            "number": number,
            "is_cut": number >= AT_ONCE,
            "must_type": change is Change.PURGE and number > TYPED_ABOVE,
            **asked,
            "here": str(request.url.replace(scheme="", netloc="")),
            "error": error and error.message,
            "typed_error": error and error.fields.get(TYPED),
            "list_url": self._list_url(self._list),
        }
        return self._page_again(request, "deliveries_ask.html", context, error)

    def _back(self, query: ListQuery) -> str:
        return self._list_url(self._list, urlencode(conditions(query)))

    def _url(self, delivery_id: UUID) -> str:
        return f"{self.site.base_url}/{IDENTITY}/details/{delivery_id}"


def _require_changer(actor: Actor) -> None:
    if not may_change(actor):
        raise Forbidden


def _buttons(actor: Actor, state: State) -> set[str]:
    """What of it would do something now."""
    if not may_change(actor):
        return set()
    useful = {
        Change.RETRY: {State.FAILING, State.PARKED},
        Change.PARK: {State.WAITING, State.TRYING, State.FAILING},
        Change.PURGE: {State.PARKED},
    }
    return {change.value for change, states in useful.items() if state in states}


def _ids_of(arguments: Mapping[str, Any]) -> list[Ids]:
    """What a task is about, as far as it is ids; all else may be personal, and is shown to nobody."""
    found = []
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        ids = [item for item in values if isinstance(item, str) and as_id(item)]
        if ids:
            label = name.replace("_", " ").removesuffix(" ids").removesuffix(" id").capitalize()
            found.append(Ids(label, ids[:MAX_IDS], len(ids[MAX_IDS:]), OF_ROWS.get(name)))
    return found


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
