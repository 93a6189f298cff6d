"""The history of everything as a list: columns, and who is suggested to be looked for."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.admin.base_view import Column, ServiceView
from admin_app.admin.history import told
from admin_app.audit import AuditEntry
from admin_app.domains.activity.service import ActivityService
from admin_app.domains.users.service import UserService
from admin_app.listing import ListQuery


class ActivityAdmin(ServiceView, model=AuditEntry):
    """To look at only: entries are written by what they tell."""

    name = "Entry"
    name_plural = "Activity"
    icon = "history"
    service = ActivityService  # type: ignore[assignment]  # nothing here creates or changes a row
    search_hint = "Id of a product or user"
    finds_words = False
    empty = ("Nothing has happened yet.", "Changes, sign-ins and refusals appear here.")
    columns = (
        Column("what", "What", "title", value=lambda entry: told(entry).title),
        Column("changes", "Changes", value=lambda entry: told(entry).summary),
        Column("actor_label", "Who"),
        Column("source", "From where", value=lambda entry: told(entry).where),
        Column("at", "When", "time"),
        Column("id", "Id", "id", is_extra=True),
    )
    thumbnail = "picture"

    def allows(self, actor: Actor, action: str, row: Any | None = None) -> bool:
        return action in {"list", "details"}

    async def suggest(self, session: AsyncSession, actor: Actor, name: str, term: str) -> list[str] | None:
        if name != "who":
            return None
        people = await UserService(session, actor).page(
            ListQuery(sort="email", descending=False, search=term)
        )
        system = Actor.system().label
        return [*([system] if term.lower() in system else []), *(person.email for person in people.rows)]


ActivityAdmin.identity = "activity"  # sqladmin takes it from the model's name, whatever the class says
