"""What rows of a file would do to accounts: compared with the table by PostgreSQL, not row by row."""

from typing import Any

from sqlalchemy import ColumnElement, Select, Text, Uuid, and_, case, cast, false, func, literal, null, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import aliased

from admin_app.actor import Actor
from admin_app.domains.users.models import User
from admin_app.imports.importer import Matching
from admin_app.imports.staging import FOUND, STAGED, Changes, first_line, repeated, required, sentence

OTHER = aliased(User, name="other")
"""Whoever has the e-mail of a row."""

NO_SUCH = "There is no such account."
TAKEN = "email: Somebody already has this e-mail address."
YOURSELF = "This is you. An import does not change your own account."


def found(matching: Matching) -> Select[Any]:
    """As `Importer.found`."""
    rows = _rows(matching).cte("given_row")
    by_key = User.id == rows.c.id if matching.key == "id" else func.lower(User.email) == rows.c.email
    return select(rows.c.line, User.id).join(User, by_key if matching.key else false())


def judged(actor: Actor, matching: Matching) -> Select[Any]:
    """As `Importer.judged`."""
    rows = _rows(matching).cte("given_row")
    changes = Changes(rows.c.given, User.id.is_(None))
    # As a key it is compared without case, and so no change of it.
    is_given = User.id.is_(None) if matching.key == "email" else rows.c.email.is_not(None)
    changes.add("email", is_given, User.email, rows.c.given["email"])
    for name in ("name", "role", "is_active"):
        changes.compare(name, getattr(User, name))
    changed = changes.built()
    is_found_by_email = and_(rows.c.email.is_not(None), func.lower(OTHER.email) == rows.c.email)
    return select(
        rows.c.line,
        User.id.label("row_id"),
        User.version,
        User.email.label("label"),
        changed.label("changes"),
        case(*_refusals(rows, actor, matching, changed)).label("refusal"),
    ).select_from(
        rows.outerjoin(FOUND, FOUND.c.line == rows.c.line)
        .outerjoin(User, User.id == FOUND.c.row_id)
        .outerjoin(OTHER, is_found_by_email)
    )


def _rows(matching: Matching) -> Select[Any]:
    given: Any = STAGED.c.given
    row_id = given["id"].astext if matching.key == "id" else cast(null(), Text())
    email = func.lower(given["email"].astext)
    return select(
        STAGED.c.line,
        STAGED.c.problem,
        given,
        cast(row_id, Uuid()).label("id"),
        email.label("email"),
        first_line(row_id).label("first_of_id"),
        first_line(email).label("first_of_email"),
    )


def _refusals(
    rows: Any, actor: Actor, matching: Matching, changed: ColumnElement[Any]
) -> list[tuple[ColumnElement[bool], ColumnElement[str]]]:
    """When, and the sentence: the first counts."""
    is_new = User.id.is_(None)
    told = [
        (rows.c.problem != "", rows.c.problem),
        repeated("id", rows.c.first_of_id, rows.c.line),
        repeated("email", rows.c.first_of_email, rows.c.line),
        (and_(rows.c.id.is_not(None), is_new), sentence(NO_SUCH)),
        (and_(OTHER.id.is_not(None), OTHER.id.is_distinct_from(User.id)), sentence(TAKEN)),
        (and_(User.id == literal(actor.id, Uuid()), changed != literal({}, JSONB())), sentence(YOURSELF)),
    ]
    if matching.missing:
        told.append((is_new, sentence(required(matching.missing))))
    return told
