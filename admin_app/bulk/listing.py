"""Operations as a list: what they are found by, and who sees which."""

from sqlalchemy import ColumnElement, exists, false, or_, select, true
from sqlalchemy.orm import aliased

from admin_app import filters
from admin_app.actor import Actor, Role
from admin_app.bulk.models import ACTIVE, BulkOperation, State
from admin_app.listing import Listing, Rows
from admin_app.search import as_id, contains, every_word, plain


def matches(text: str) -> ColumnElement[bool]:
    row_id = as_id(text)
    if row_id:
        return BulkOperation.id == row_id
    places = [plain(BulkOperation.actor_label), plain(BulkOperation.selection), plain(BulkOperation.label)]
    found = every_word(text, lambda word: or_(*(contains(place, word) for place in places)))
    number = text.strip().removeprefix("#")
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    return or_(found, BulkOperation.number == int(number)) if is_number else found


STATES = {
    State.WAITING: "Waiting",
    State.RUNNING: "Running",
    State.RETRYING: "Running",
    State.FINISHED: "Finished",
    State.CANCELLED: "Cancelled",
    State.BROKEN: "Could not begin",
}

LISTING = Listing(
    model=BulkOperation,
    sorts={"created_at": BulkOperation.created_at},
    default_sort=("created_at", True),
    filters=(
        filters.choice(
            "state",
            "State",
            {
                "active": ("Waiting or running", ACTIVE),
                "finished": ("Finished", (State.FINISHED,)),
                "cancelled": ("Cancelled", (State.CANCELLED,)),
                "broken": ("Could not begin", (State.BROKEN,)),
            },
            BulkOperation.state.in_,
        ),
        filters.choice(
            "outcome",
            "Outcome",
            {
                "changed": ("Some rows changed", BulkOperation.done > 0),
                "skipped": ("Some rows skipped", BulkOperation.skipped > 0),
                "failed": ("Some rows failed", BulkOperation.failed > 0),
            },
            lambda condition: condition,
        ),
        filters.Filter(
            "actor",
            "Who",
            "person",
            filters.parse_text,
            lambda text: contains(plain(BulkOperation.actor_label), text),
        ),
        *filters.moment("created", "When", BulkOperation.created_at),
    ),
    matches=matches,
)

_Undo = aliased(BulkOperation)

IS_UNDONE = exists().where(_Undo.undoes == BulkOperation.id, _Undo.done > 0)
"""Whether another operation has taken it back."""

ROWS: Rows = select(
    *BulkOperation.__table__.c[
        "id",
        "number",
        "kind",
        "label",
        "undoes",
        "selection",
        "actor_id",
        "actor_label",
        "state",
        "is_cancelling",
        "created_at",
        "finished_at",
        "total",
        "done",
        "skipped",
        "failed",
    ],
    IS_UNDONE.label("is_undone"),
)


def readable_by(actor: Actor) -> ColumnElement[bool]:
    """Superusers and support follow all of them, administrators their own."""
    if actor.role in {Role.SUPERUSER, Role.SUPPORT}:
        return true()
    return BulkOperation.actor_id == actor.id if actor.id else false()
