"""What every database session carries: how this installation sends mail, keeps files, and keeps secrets."""

from typing import Any, Protocol

FIND_ROLE = "find_role"
"""Under this key, a function of a session and somebody's id: the role in which they may act now, or None."""


class Carrier(Protocol):
    """A session, or the database that makes them."""

    @property
    def info(self) -> Any: ...  # SQLAlchemy: a dictionary of whatever was put there
