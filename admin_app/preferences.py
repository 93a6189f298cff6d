"""What a person likes: page size and columns of each list, and saved views. One row per person.

Read with the session on every request, so it stays small. It is nobody else's business: no history.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import ForeignKey, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base
from admin_app.errors import InvalidInput

MAX_VIEWS = 50
MAX_VIEW_NAME = 60
MAX_VIEW_QUERY = 2000


class Preference(Base):
    __tablename__ = "preference"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class ListPreference(_Frozen):
    """`columns` are names, in no order; empty for the list's own choice. Whoever uses them checks them."""

    size: int | None = None
    columns: tuple[str, ...] = ()


class SavedView(_Frozen):
    """`query` is what comes after the "?" in the list's address."""

    id: UUID = Field(default_factory=uuid4)
    name: Annotated[str, Field(max_length=MAX_VIEW_NAME)]
    list: str
    query: Annotated[str, Field(max_length=MAX_VIEW_QUERY)]

    def replaces(self, other: "SavedView") -> bool:
        return self.list == other.list and self.name.casefold() == other.name.casefold()


class Preferences(_Frozen):
    lists: dict[str, ListPreference] = {}
    views: tuple[SavedView, ...] = ()

    def of_list(self, name: str) -> ListPreference:
        return self.lists.get(name, ListPreference())

    def with_list(
        self, name: str, *, size: int | None = None, columns: Sequence[str] | None = None
    ) -> "Preferences":
        """What is None stays as it was."""
        old = self.of_list(name)
        new = ListPreference(
            size=old.size if size is None else size,
            columns=old.columns if columns is None else tuple(columns),
        )
        return self.model_copy(update={"lists": {**self.lists, name: new}})

    def with_view(self, view: SavedView) -> "Preferences":
        """A view of the same list and name is replaced. Raises InvalidInput when there are too many."""
        others = [old for old in self.views if not view.replaces(old)]
        if len(others) >= MAX_VIEWS:
            raise InvalidInput(f"You have {MAX_VIEWS} saved views. Remove one first.")
        views = sorted([*others, view], key=lambda item: (item.list, item.name.casefold()))
        return self.model_copy(update={"views": tuple(views)})

    def without_view(self, view_id: UUID) -> "Preferences":
        return self.model_copy(update={"views": tuple(view for view in self.views if view.id != view_id)})


def read(data: Any) -> Preferences:
    """From what the database holds. What an older version left and this one cannot read counts as nothing."""
    try:
        return Preferences.model_validate(data or {})
    except ValidationError:
        return Preferences()


async def change(
    session: AsyncSession, user_id: UUID, changed: Callable[[Preferences], Preferences]
) -> Preferences:
    """Read, change, write; two at once wait for each other, so that neither is lost."""
    await session.execute(insert(Preference).values(user_id=user_id, data={}).on_conflict_do_nothing())
    mine = Preference.user_id == user_id
    new = changed(read(await session.scalar(select(Preference.data).where(mine).with_for_update())))
    await session.execute(update(Preference).where(mine).values(data=new.model_dump(mode="json")))
    return new
