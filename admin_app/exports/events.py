"""What happens to exports."""

from dataclasses import dataclass
from uuid import UUID

from admin_app.events import Event


@dataclass(frozen=True)
class ExportRequested(Event):
    export_id: UUID
