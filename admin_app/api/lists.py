"""What lists of any kind take: conditions, an order, and the place a page begins."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from admin_app.listing import Listing, ListQuery, Page

MAX_LIMIT = 100
STORABLE = r"^[^\x00]*$"

Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str, Field(description="`next` or `previous` of another page of the same list.")]


def text_like(pattern: str, told: str) -> Any:
    """The type of a text that matches all of this; `told` is the sentence for one that does not."""
    matches = re.compile(pattern).fullmatch

    def check(value: str) -> str:
        if not matches(value):
            raise ValueError(told)
        return value

    return Annotated[str, AfterValidator(check), Field(json_schema_extra={"pattern": f"^{pattern}$"})]


Day: Any = text_like(r"([0-9]{4}-[0-9]{2}-[0-9]{2})?", "Enter a date such as 2026-01-31.")
Amount: Any = text_like(r"([0-9]{1,10}(\.[0-9]{1,2})?)?", "Enter a price such as 12.50.")
Period = Literal["", "today", "7d", "month"]
Words = Annotated[
    str,
    Field(description="Every word must be somewhere in the texts; “phrases” stay together."),
]


class Conditions(BaseModel):
    """What rows must be like, all of it. Subclasses name what the list of one kind can be filtered by."""

    model_config = ConfigDict(extra="forbid")

    def texts(self) -> dict[str, str]:
        """As the address of the website's list has them."""
        given = self.model_dump(exclude_defaults=True, exclude={"limit", "cursor", "sort"})
        words = {True: "yes", False: "no"}
        return {name: words[value] if isinstance(value, bool) else value for name, value in given.items()}

    def words(self) -> str:
        """For people."""
        told = ", ".join(f"{name.replace('_', ' ')} “{text}”" for name, text in self.texts().items())
        return f"All with {told}" if told else "All"


class PageQuery(Conditions):
    """With where a page begins, and how long it is. `sort` begins with a minus for the opposite direction."""

    limit: Limit = MAX_LIMIT
    cursor: Cursor = ""
    sort: str = ""

    def parsed(self, listing: Listing[Any]) -> ListQuery:
        """As the list of the website understands it. Raises BadQuery."""
        direction = "desc" if self.sort.startswith("-") else "asc"
        order = {"sortBy": self.sort.removeprefix("-"), "sort": direction if self.sort else ""}
        query = listing.parse(list({**self.texts(), **order, "cursor": self.cursor}.items()))
        return replace(query, size=self.limit)


def sort_by(names: Sequence[str]) -> Any:
    """The type of a parameter that names one of these, with a minus in front for the opposite direction."""
    choices: list[JsonValue] = [*names, *(f"-{name}" for name in names)]

    def check(value: str) -> str:
        if value not in choices:
            raise ValueError(f"Choose one of: {', '.join(map(str, choices))}.")
        return value

    return Annotated[str, AfterValidator(check), Field(json_schema_extra={"enum": choices})]


def cursors(listing: Listing[Any], query: ListQuery, page: Page) -> dict[str, str | None]:
    """Of the pages beside this one, by relation."""
    found = {"next": page.next, "prev": page.previous}
    return {rel: listing.encode(cursor, query) if cursor else None for rel, cursor in found.items()}
