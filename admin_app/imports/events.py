"""What happens to imports before they are confirmed."""

from dataclasses import dataclass
from uuid import UUID

from admin_app.events import Event


@dataclass(frozen=True)
class ImportMatched(Event):
    """It is known which column is what, so its file can be checked."""

    import_id: UUID
    attempt: int
