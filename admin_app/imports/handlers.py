"""Who reacts to what happens to imports."""

from admin_app.events import Handlers, TaskCall
from admin_app.imports.events import ImportMatched

CHECK_IMPORT = "check_import"


def on_import_matched(event: ImportMatched) -> TaskCall:
    return TaskCall(CHECK_IMPORT, {"import_id": str(event.import_id), "attempt": event.attempt})


HANDLERS: Handlers = {ImportMatched: (on_import_matched,)}
