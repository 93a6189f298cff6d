"""Who reacts to what happens to exports."""

from admin_app.events import Handlers, TaskCall
from admin_app.exports.events import ExportRequested

WRITE_EXPORT = "write_export"


def on_export_requested(event: ExportRequested) -> TaskCall:
    return TaskCall(WRITE_EXPORT, {"export_id": str(event.export_id)})


HANDLERS: Handlers = {ExportRequested: (on_export_requested,)}
