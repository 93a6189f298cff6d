"""What every database session carries: how this installation sends mail, keeps files, and keeps secrets."""

from typing import Any, Protocol


class Carrier(Protocol):
    """A session, or the database that makes them."""

    @property
    def info(self) -> Any: ...  # SQLAlchemy: a dictionary of whatever was put there
