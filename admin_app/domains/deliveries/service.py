"""Looking after deliveries: what is wrong, and what can be done about it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.actor import Actor
from admin_app.domains.deliveries.access import may_change, may_read
from admin_app.domains.deliveries.repository import (
    COUNTED,
    LISTING,
    Change,
    DeliveryRepository,
    State,
)
from admin_app.errors import Conflict, Forbidden, InvalidInput, NotFound
from admin_app.listing import Count, ListQuery, Page
from admin_app.outbox import KEPT_DAYS, Delivery

__all__ = ["COUNTED", "Change", "DeliveryService", "Overview", "State"]

AT_ONCE = 20_000
"""As many are changed at most by one click: a few seconds' work."""

TYPED_ABOVE = 1_000
"""To purge more than this, their number must be typed."""

TYPED = "typed"

PRUNED_AT_ONCE = 5_000

ACTIONS = {Change.RETRY: "retried", Change.PARK: "parked", Change.PURGE: "purged"}
"""What the history calls it."""


@dataclass(frozen=True)
class Overview:
    """`numbers` maps a task to how many of its deliveries are in each state, done ones of the last day."""

    numbers: Mapping[str, Mapping[State, int]]
    oldest: datetime | None
    """Since when the one that is open for the longest has waited."""

    def total(self, *states: State) -> int:
        return sum(numbers.get(state, 0) for numbers in self.numbers.values() for state in states)

    def is_more(self, state: State) -> bool:
        """Whether there are more than were counted."""
        ended = {State.PARKED, State.DONE}
        return self.total(*({state} if state in ended else set(State) - ended)) >= COUNTED


class DeliveryService:
    """Runs inside the caller's transaction, as the actor. Raises Forbidden for who may not do this."""

    listing: ClassVar = LISTING
    noun: ClassVar = "deliveries"

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._deliveries = DeliveryRepository(session, actor)

    async def page(self, query: ListQuery) -> Page:
        self._require_reader()
        return await self._deliveries.page(query)

    async def count(self, query: ListQuery, *, exactly: bool = False) -> Count:
        self._require_reader()
        return await self._deliveries.count(query, exactly=exactly)

    async def facets(self, query: ListQuery) -> dict[str, dict[str, Count]]:
        self._require_reader()
        return await self._deliveries.facets(query)

    async def rank(self, text: str, limit: int) -> list[tuple[Any, float]]:
        """Quick search is about rows, not about work on them."""
        return []

    def require_export(self) -> None:
        """This list is no file: what it has to tell is over in a minute."""
        raise NotFound

    async def get_by_id(self, delivery_id: UUID) -> Any:
        """The delivery with its event, as plain columns by name. Raises NotFound."""
        self._require_reader()
        found = await self._deliveries.details(delivery_id)
        if found is None:
            raise NotFound
        return found

    async def overview(self) -> Overview:
        self._require_reader()
        numbers: dict[str, dict[State, int]] = {}
        waiting: list[datetime] = []
        for task, state, number, oldest in await self._deliveries.tallies():
            numbers.setdefault(task, {})[State(state)] = number
            if state not in {State.PARKED, State.DONE}:
                waiting.append(oldest)
        return Overview(numbers, min(waiting, default=None))

    async def tasks_of(self, ids: Sequence[UUID]) -> Mapping[UUID, str]:
        """Their tasks, of those there are."""
        self._require_reader()
        return await self._deliveries.tasks_of(ids)

    async def change(self, change: Change, delivery_id: UUID) -> bool:
        """False when it is so already. Raises NotFound, and Conflict while a worker is at it."""
        self._require_changer()
        delivery = await self._deliveries.find(delivery_id)
        if delivery is None:
            raise NotFound
        if await self._deliveries.change_one(change, delivery_id, self._reason):
            audit.note(self._session, self._actor, ACTIONS[change], delivery)
            return True
        is_open = delivery.done_at is None and delivery.dead_at is None
        has_failed = delivery.last_error is not None
        if is_open and (change is Change.PARK or (change is Change.RETRY and has_failed)):
            raise Conflict("A worker is at it just now, so nothing was changed. Look again in a moment.")
        return False

    async def changeable(self, change: Change, query: ListQuery) -> Mapping[str, int]:
        """Of those a list's query finds, how many of each task it would be done to, at most AT_ONCE."""
        self._require_changer()
        return await self._deliveries.changeable(change, query, AT_ONCE)

    async def change_all(
        self, change: Change, query: ListQuery, words: str, *, shown: int = 0, typed: str = ""
    ) -> int:
        """To all that a list's query finds, `words` say what that is, at most AT_ONCE; returns how many.

        Those a worker is at are left alone. To purge needs the number that was `shown`, and many of them
        also that it was `typed`: raises InvalidInput.
        """
        self._require_changer()
        limit = AT_ONCE
        if change is Change.PURGE:
            found = await self._deliveries.changeable(change, query, AT_ONCE)
            limit = sum(found.values())  # and not what is parked from now on
            _require_meant(limit, shown, typed)
        changed = await self._deliveries.change_many(change, query, self._reason, limit)
        if changed:
            told = f"{changed:,} {'delivery' if changed == 1 else 'deliveries'}: {words}"
            audit.note(self._session, self._actor, ACTIONS[change], Delivery, told)
        return changed

    async def prune(self) -> int:
        """A portion of what was done longer ago than it is kept; returns how many rows."""
        self._require_changer()
        before = datetime.now(UTC) - timedelta(days=self._session.info[KEPT_DAYS])
        return await self._deliveries.prune(before, PRUNED_AT_ONCE)

    @property
    def _reason(self) -> str:
        return f"Parked by {self._actor.label}."

    def _require_reader(self) -> None:
        if not may_read(self._actor):
            raise Forbidden

    def _require_changer(self) -> None:
        if not may_change(self._actor):
            raise Forbidden


def _require_meant(number: int, shown: int, typed: str) -> None:
    if number > shown:
        raise InvalidInput(f"There are {number:,} by now, so nothing was deleted. Look again.")
    if shown > TYPED_ABOVE and re.sub(r"[\s,.'_]", "", typed) != str(shown):
        reason = f"Type {shown:,} to confirm that so many deliveries are meant."
        raise InvalidInput(reason, {TYPED: reason})
