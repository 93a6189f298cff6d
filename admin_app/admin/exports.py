"""How an export is told to people: what it is of, how far it is, how large its file."""

from dataclasses import dataclass

from admin_app.admin.base_view import ServiceView
from admin_app.admin.listing import spoken
from admin_app.exports.models import UNDER_WAY, Export, ExportState, Format
from admin_app.exports.service import FORMAT_NAMES
from admin_app.listing import Count

HINTS = {
    Format.CSV: "For spreadsheets, and most other programs.",
    Format.EXCEL: "A workbook. It is always written in the background.",
    Format.JSON_LINES: "For programs: names and values as in the API.",
}
LOOKS = {
    ExportState.WAITING: ("Waiting", "busy"),
    ExportState.RUNNING: ("Being written", "busy"),
    ExportState.FINISHED: ("Ready", "on"),
    ExportState.FAILED: ("Failed", "bad"),
    ExportState.CANCELLED: ("Cancelled", "off"),
    ExportState.EXPIRED: ("Deleted", "off"),
}
UNITS = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"))


@dataclass(frozen=True)
class ToldExport:
    """`state` is a word and how it looks."""

    export: Export
    title: str
    state: tuple[str, str]
    percent: int
    sentence: str
    rows: str
    size: str

    @property
    def is_active(self) -> bool:
        return self.export.state in UNDER_WAY

    @property
    def is_ready(self) -> bool:
        return self.export.state is ExportState.FINISHED


def told(view: ServiceView, export: Export) -> ToldExport:
    is_ready = export.state is ExportState.FINISHED
    number = export.rows if is_ready else max(export.expected, export.rows)
    percent = 100 if is_ready or not number else min(99, 100 * export.rows // number)
    many, rows, size = view.counted(number), view.counted(export.rows), size_text(export.size_bytes or 0)
    if is_ready:
        sentence = f"{many} · {size}"
    elif export.state is ExportState.RUNNING:
        sentence = f"{export.rows:,} of about {many}"
    elif export.state is ExportState.WAITING:
        sentence = f"About {many}"
    else:
        sentence = f"Stopped after {rows}" if export.rows else "Nothing was written"
    is_cancelling = export.is_cancelling and export.state in UNDER_WAY
    state = ("Cancelling", "busy") if is_cancelling else LOOKS[export.state]
    title = f"{view.name_plural} as {FORMAT_NAMES[export.format]}"
    return ToldExport(export, title, state, percent, sentence, rows, size)


def counted_text(view: ServiceView, count: Count | None) -> str:
    """How many rows there are to export; None is not known."""
    if count is None:
        return f"All {view.service.noun} of this list"
    if count.is_exact:
        return view.counted(count.number)
    return f"{spoken(count)} {view.service.noun}".capitalize()


def size_text(size_bytes: int) -> str:
    for unit, name in UNITS:
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} bytes"
