"""Reading files of rows, as short as the tests need it."""

from pathlib import Path

from admin_app.errors import InvalidInput
from admin_app.imports.reading import Layout, Row, guess, open_rows


def read(path: Path, content: bytes | str, layout: Layout | None = None) -> tuple[list[str], list[Row]]:
    """Columns and rows of such a file, read as guessed unless it is said how."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with open_rows(path, layout or guess(path, path.name)) as file:
        rows = list(file)
        assert 0 < file.position_bytes() <= file.size_bytes == path.stat().st_size
        return list(file.columns), rows


def refusal(path: Path, content: bytes | str, layout: Layout | None = None) -> str:
    try:
        read(path, content, layout)
    except InvalidInput as error:
        return error.message
    raise AssertionError("The file was read.")


def problems(rows: list[Row]) -> dict[int, str]:
    return {row.line: row.problem for row in rows if row.problem}
