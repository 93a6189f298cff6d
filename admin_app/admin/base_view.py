"""What the admin knows of one model: its service, its columns and its form. Subclass it per domain."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from sqladmin import ModelView
from sqlalchemy.ext.asyncio import AsyncSession
from wtforms import Form

from admin_app.actor import Actor
from admin_app.audit import Snapshot
from admin_app.bulk.actions import BulkAction
from admin_app.errors import InvalidInput
from admin_app.filters import Filter
from admin_app.listing import Count, Listing, ListQuery, Page
from admin_app.merging import Made


@dataclass(frozen=True)
class Column:
    """A column of the list, or a line of the details. `name` is also the sort key, if there is one.

    A "status" is a text with how it looks. An `is_extra` column is in the list only for those who choose it.
    """

    name: str
    label: str
    kind: Literal["text", "title", "long", "money", "state", "role", "time", "id", "status"] = "text"
    value: Callable[[Any], Any] | None = None
    is_extra: bool = False

    def of(self, row: Any) -> Any:
        return self.value(row) if self.value else getattr(row, self.name)


@dataclass(frozen=True)
class Line:
    """A line of the details page."""

    label: str
    text: str


@dataclass(frozen=True)
class Saved:
    """A row as it was saved, and what others had changed of it meanwhile, which is kept."""

    row: Any
    kept: Sequence[Made]


class Service(Protocol):
    """What a domain's service must be able to do to be shown here. It enforces every permission itself."""

    listing: ClassVar[Listing[Any]]
    noun: ClassVar[str]
    """What many rows are called: "products"."""
    kept: Sequence[Made]
    """What others changed since the version the last `update` was based on."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None: ...

    def require_export(self) -> None:
        """Raises Forbidden, or ProofRequired, for who may not export."""

    async def page(self, query: ListQuery) -> Page: ...

    async def count(self, query: ListQuery, *, exactly: bool) -> Count: ...

    async def facets(self, query: ListQuery) -> dict[str, dict[str, Count]]: ...

    async def rank(self, text: str, limit: int, /) -> Sequence[tuple[Any, float]]:
        """The rows that fit best, typo-tolerant, each with how well, from 1 to 0."""

    async def get_by_id(self, row_id: UUID, /) -> Any: ...

    async def get_changeable(self, row_id: UUID, /) -> Any: ...

    async def create(self, data: Any, /) -> Any: ...

    async def update(self, row_id: UUID, data: Any, /, *, expected_version: int | None) -> Any:
        """Merged with what others changed since that version; raises EditConflict where both did."""

    async def delete(self, row_id: UUID, /, *, expected_version: int | None) -> Any:
        """The row that is gone."""


class Bin(Protocol):
    """What a service must be able to do, too, if what it deletes lies in a bin for a while."""

    bin_listing: ClassVar[Listing[Any]]
    bin_days: ClassVar[int]

    def __init__(self, session: AsyncSession, actor: Actor) -> None: ...

    async def bin_page(self, query: ListQuery) -> Page:
        """Its rows know when they were deleted: `deleted_at`."""

    async def get_in_bin(self, row_id: UUID, /) -> Any:
        """The row in the bin. Raises NotFound, also for one this actor does not see there."""

    async def restore(self, row_id: UUID, /) -> Any:
        """The row, back in the list, where it may have been already. Who may delete it may restore it."""


class Past(Protocol):
    """What a service must be able to do, too, if rows can be compared with how they were, and taken back."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None: ...

    async def at_version(self, row: Any, version: int, /) -> Snapshot:
        """Raises Conflict for a version the row never had, or of which nothing is known."""

    def may_revert(self, row: Any, name: str, /) -> bool:
        """Whether this actor may give this column a value it had before."""

    async def emails_of(self, ids: Collection[UUID], /) -> Mapping[str, str]:
        """id -> e-mail of the people the row's columns name."""

    async def revert(
        self, row_id: UUID, version: int, names: Collection[str], /, *, expected_version: int | None
    ) -> Any:
        """The row, with these columns as they were. Raises as `update` does."""


class Images(Protocol):
    """What a service must be able to do, too, if the forms of its rows carry pictures.

    A picture has `id`, `state`, `reason` and `files`, and is stored under `original` as it came.
    """

    def __init__(self, session: AsyncSession, actor: Actor) -> None: ...

    async def begin(self, row_id: UUID | None, /) -> Any:
        """A picture whose file is about to be stored; None is a row to be made."""

    async def arrived(self, image_id: UUID, /) -> Any:
        """The picture, stored now."""

    async def give_up(self, image_id: UUID, /) -> None:
        """It could not be stored."""

    async def add_url(self, row_id: UUID | None, url: str, /) -> Any:
        """A picture to be downloaded."""

    async def find(self, ids: Collection[UUID], /) -> Sequence[Any]:
        """Those of these pictures this actor may see, in any order."""


class ServiceView(ModelView):
    """A sqladmin view that reads and writes through a service, and through nothing else.

    sqladmin's own hooks (`on_model_change`, `insert_model`, ...) are never called: the site's pages
    call the methods below, inside a transaction they own.
    """

    service: ClassVar[type[Service]]
    create_schema: ClassVar[type[BaseModel]]
    update_schema: ClassVar[type[BaseModel]]
    columns: ClassVar[Sequence[Column]]
    details: ClassVar[Sequence[Column]]
    search_hint: ClassVar[str] = "Search"
    finds_words: ClassVar[bool] = True
    """Whether its search is for words, and not for ids alone."""
    empty: ClassVar[tuple[str, str]] = (
        "There are no {plural} yet.",
        "They appear here as soon as somebody creates one.",
    )
    """What a list says that has no rows, to whom cannot make one."""
    actions: ClassVar[Sequence[BulkAction[Any]]] = ()
    """What can be done to many rows at once."""
    thumbnail: ClassVar[Literal["picture", "initials"]] = "initials"
    excerpt_of: ClassVar[str | None] = None
    """The text a list shows a piece of, when a search found the row by that."""
    inline_fields: ClassVar[Mapping[str, Literal["text", "price", "state"]]] = {}
    """The columns that can be changed in the list, and what they are typed into."""
    form_names: ClassVar[Mapping[str, str]] = {}
    """Columns whose form field is called differently."""
    references: ClassVar[Sequence[str]] = ()
    """Form fields that name another row by a text, which may change: left as shown, they say nothing."""
    optional_fields: ClassVar[Sequence[str]] = ()
    """Form fields that say nothing if they are not sent; without any other, a form is incomplete."""
    side_fields: ClassVar[Sequence[str]] = ()
    """The form fields that stand beside the others where there is room."""
    bin: ClassVar[type[Bin] | None] = None
    """The service once more, if it has a bin; without one, deleting is final."""
    bin_columns: ClassVar[Sequence[Column]] = ()
    has_history: ClassVar[bool] = False
    """Whether the history has entries of its rows."""
    past: ClassVar[type[Past] | None] = None
    """The service once more, if it can take rows back to how they were."""
    part: ClassVar[str] = ""
    """A template of what only these rows have among their details, drawn with what `get_part` found."""
    images: ClassVar[type[Images] | None] = None
    """What takes the pictures its forms carry, if they do: in the field `pictures.IMAGES`."""
    overview: ClassVar[tuple[str, str] | None] = None
    """Title and address of a page about all these rows, to which the menu leads instead of the list."""
    toolbar: ClassVar[str] = ""
    """A template of what can be done above the list, beside "Export"."""
    can_export = False  # sqladmin's export ignores the filters and loads every row
    can_import = False  # sqladmin's import goes around the service

    def allows(self, actor: Actor, action: str, row: Any | None = None) -> bool:
        """May this actor "list", see "details", "create", "edit" or "delete" (this row)?

        It decides which buttons are shown. What is done, the service decides.
        """
        raise NotImplementedError(f"{type(self).__name__}.allows")

    def counted(self, number: int) -> str:
        """ "1 product", "2,000 products"."""
        return f"{number:,} {self.name.lower() if number == 1 else self.service.noun}"

    async def get_details(self, session: AsyncSession, actor: Actor, row_id: UUID) -> tuple[Any, list[Line]]:
        """The row, and lines to show about it beyond its columns."""
        return await self.service(session, actor).get_by_id(row_id), []

    async def get_part(self, session: AsyncSession, actor: Actor, row: Any) -> Mapping[str, Any] | None:
        """None where `part` has nothing to show this actor."""
        return None

    async def create(self, session: AsyncSession, actor: Actor, values: Mapping[str, str]) -> Any:
        """Create from typed text. Raises InvalidInput, whose fields are the form's."""
        return await self.service(session, actor).create(validated(self.create_schema, values))

    async def update(
        self, session: AsyncSession, actor: Actor, row_id: UUID, values: Mapping[str, str], version: int
    ) -> Saved:
        """Change from text typed when the row was at this version."""
        service = self.service(session, actor)
        row = await service.update(row_id, validated(self.update_schema, values), expected_version=version)
        return Saved(row, service.kept)

    async def lookup(
        self, session: AsyncSession, actor: Actor, name: str, term: str
    ) -> list[dict[str, str]] | None:
        """Choices for a form field, as {"id", "text"}; None when there is no such field."""
        return None

    def filters(self, actor: Actor) -> Sequence[Filter]:
        """The filters to offer; others work nevertheless."""
        return self.service.listing.filters

    async def suggest(self, session: AsyncSession, actor: Actor, name: str, term: str) -> list[str] | None:
        """Values for a filter of kind "person"; None when there is no such filter."""
        return None

    def form_fields(self, actor: Actor) -> tuple[str, ...]:
        """The fields this actor fills in. A POST must carry all of them."""
        return tuple(self._form_prop_names)

    def form_values(self, row: Any) -> dict[str, Any]:
        """What the form shows of a row as it is."""
        return {name: getattr(row, name) for name in self._form_prop_names}

    def hints(self, *, is_new: bool) -> Mapping[str, str]:
        """A sentence below a form field, by the field's name."""
        return {}

    def actions_of(self, actor: Actor) -> list[BulkAction[Any]]:
        """What this actor may do to many rows at once."""
        return [action for action in self.actions if action.may_run(actor)]

    async def form_class(self) -> type[Form]:
        """sqladmin's form for the model, scaffolded once: each scaffolding would add validators again."""
        if self._form_class is None:
            self._form_class = await self.scaffold_form()
        return self._form_class

    _form_class: type[Form] | None = None


Schema = TypeVar("Schema", bound=BaseModel)


def validated(schema: type[Schema], values: Mapping[str, Any]) -> Schema:
    """The schema's value; raises InvalidInput with a sentence per field."""
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidInput.from_validation(error) from None
