"""What the file of an export is called, and how it is handed out."""

from collections.abc import Mapping
from datetime import UTC, datetime

from admin_app.exports.models import Export, Format

MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.JSON_LINES: "application/jsonl",
    Format.EXCEL: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def file_name(noun: str, at: datetime, kind: Format) -> str:
    """`noun` is what the rows are called: "products-2026-11-23.csv"."""
    return f"{noun.replace(' ', '-')}-{at.astimezone(UTC):%Y-%m-%d}.{kind.value}"


def attachment(name: str) -> dict[str, str]:
    """The header (RFC 6266) that makes a browser keep what is sent."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def headers_of(export: Export, noun: str, size_bytes: int) -> Mapping[str, str]:
    return {
        **attachment(file_name(noun, export.created_at, export.format)),
        "Content-Type": MEDIA_TYPES[export.format],
        "Content-Length": str(size_bytes),
        # Compressing what is large, or a ZIP file, would hold up other requests, and hide the length.
        "Content-Encoding": "identity",
    }
