"""What happened, in the past tense: the base of all events, and the table that says who reacts."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True)
class Event:
    """Something a service did. Events speak of lists of rows, so one can stand for a whole chunk."""

    @property
    def name(self) -> str:
        return type(self).__name__

    def payload(self) -> dict[str, Any]:
        """The event's fields as JSON values; UUIDs become strings."""
        return {item.name: _plain(getattr(self, item.name)) for item in dataclasses.fields(self)}


@dataclass(frozen=True)
class TaskCall:
    """A task to run, by name, with JSON arguments."""

    task: str
    arguments: dict[str, Any] = field(default_factory=dict)


Handler = Callable[[Any], TaskCall | None]
"""A pure function from one kind of event to the task it asks for, if any. It does no I/O."""

Handlers = Mapping[type[Event], Sequence[Handler]]

Tasks = Mapping[str, Callable[..., Awaitable[None]]]
"""Task name -> coroutine function of a session and the call's arguments. It never commits."""


class EventBus(Protocol):
    def publish(self, event: Event) -> None:
        """Make the event known if, and only if, the current transaction commits."""


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
