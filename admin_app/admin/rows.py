"""The rows of a list as HTML.

Not a template: looking up and escaping a few thousand small values there took half the time of a page.
Every text that comes from a row is escaped here, and only here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from admin_app.actor import Actor
from admin_app.admin.base_view import Column, ServiceView
from admin_app.admin.formatting import ago, exact_time, initials, money
from admin_app.admin.highlight import Highlight
from admin_app.admin.pictures import thumbnail_of

MAX_CELL = 160
MAX_HINT = 2_000


def icon(name: str) -> str:
    """One of the drawings list.html has on the page once."""
    return f'<svg class="icon" aria-hidden="true" focusable="false"><use href="#icon-{name}"/></svg>'


CURSOR, PENCIL, BIN = icon("cursor"), icon("edit"), icon("trash")


@dataclass(frozen=True)
class Rows:
    """How the rows of one list look to one person. `back` is the query by which to come back to it."""

    view: ServiceView
    actor: Actor
    columns: Sequence[Column]
    found_by: Highlight | None
    """None without a search."""
    base: str
    media_url: Callable[[str], str]
    back: str
    may_bulk: bool

    def html(self, rows: Sequence[Any]) -> str:
        return "\n".join([self._row(row) for row in rows])

    def _row(self, row: Any) -> str:
        may_edit = self.view.allows(self.actor, "edit", row)
        title = escape(str(self.view.columns[0].of(row)))
        cells = [self._cell(column, row, may_edit) for column in self.columns]
        version = f' data-version="{row.version}"' if may_edit else ""
        box = ""
        if self.may_bulk:
            box = (
                f'<td class="cell-check"><label><input type="checkbox" name="ids" value="{row.id}" '
                f'aria-label="Select {title}"></label></td>'
            )
        return (
            f'<tr data-row data-id="{row.id}"{version}>{box}{"".join(cells)}'
            f'<td class="cell-actions">{self._actions(row, title, may_edit)}</td></tr>'
        )

    def _actions(self, row: Any, title: str, may_edit: bool) -> str:
        suffix = f"?{escape(self.back)}" if self.back else ""
        found = ""
        if may_edit and self.view.inline_fields:
            found += (
                '<button class="icon-button needs-script" type="button" data-inline-start '
                f'title="Edit in the list" aria-label="Edit {title} in the list">{CURSOR}</button>'
            )
        if may_edit:
            found += (
                f'<a class="icon-button" data-edit href="{self.base}/edit/{row.id}{suffix}" title="Edit" '
                f'aria-label="Edit {title}">{PENCIL}</a>'
            )
        if self.view.allows(self.actor, "delete", row):
            found += (
                f'<a class="icon-button" href="{self.base}/delete/{row.id}{suffix}" title="Delete" '
                f'aria-label="Delete {title}">{BIN}</a>'
            )
        return found

    def _cell(self, column: Column, row: Any, may_edit: bool) -> str:
        """`data-field` marks what can be changed here, `data-raw` what its input begins with."""
        value, kind = column.of(row), column.kind
        is_field = may_edit and column.name in self.view.inline_fields
        field = f' data-field="{column.name}"' if is_field else ""
        label = f' data-label="{column.label}"'
        match kind:
            case "title":
                return self._title(column, row, field)
            case "money":
                raw = f' data-raw="{value}"' if is_field else ""
                return f'<td class="cell-money"{label}{field}{raw}>{money(value)}</td>'
            case "state":
                look, text, raw = ("on", "Active", "true") if value else ("off", "Inactive", "false")
                raw = f' data-raw="{raw}"' if is_field else ""
                return (
                    f'<td class="cell-state"{field}{raw}><span class="badge badge-{look}">{text}</span></td>'
                )
            case "status":
                text, look = value
                return f'<td class="cell-state"><span class="badge badge-{look}">{escape(text)}</span></td>'
            case "role":
                return f'<td class="cell-role"{label}>{escape(value.value.capitalize())}</td>'
            case "id":
                return f'<td class="cell-id"{label}>{value}</td>'
            case "time" if value is not None:
                time = f'<time datetime="{value.isoformat()}" title="{exact_time(value)}">{ago(value)}</time>'
                return f'<td class="cell-time"{label}>{time}</td>'
        text = str(value or "")
        if not text:
            nothing, look = ("Never", "time") if kind == "time" else ("" if column.value else "None", "text")
            return f'<td class="cell-{look}"{label}><span class="faint">{nothing}</span></td>'
        raw = f' data-raw="{escape(text)}"' if is_field else ""
        return f'<td class="cell-text"{label}{field}{raw} title="{_hint(text)}">{self._shown(text)}</td>'

    def _title(self, column: Column, row: Any, field: str) -> str:
        text = str(column.of(row))
        picture = escape(initials(text)) if self.view.thumbnail == "initials" else self._picture(row)
        why = self._excerpt(row)
        below = f'<span class="excerpt">{why}</span>' if why else ""
        link = (
            f'<a class="row-link" href="{self.base}/details/{row.id}" title="{_hint(text)}">'
            f"{self._shown(text)}</a>"
        )
        thumbnail = f'<span class="thumbnail" aria-hidden="true">{picture}</span>'
        texts = f'<span class="title-text">{link}{below}</span>'
        return f'<td class="cell-title"{field}><div class="title-box">{thumbnail}{texts}</div></td>'

    def _picture(self, row: Any) -> str:
        file = thumbnail_of(row.main_files or ()) if self.view.images else None
        if file is None:
            return icon(self.view.icon)
        url = escape(self.media_url(file["name"]))
        size = f'width="{file["width"]}" height="{file["height"]}"'
        return f'<img src="{url}" {size} alt="" loading="lazy" decoding="async">'

    def _shown(self, text: str) -> str:
        cut = text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"
        return self.found_by.mark(cut) if self.found_by else escape(cut)

    def _excerpt(self, row: Any) -> str | None:
        """Why this row was found, if none of its cells says so."""
        name = self.view.excerpt_of
        if self.found_by is None or name is None or any(column.name == name for column in self.columns):
            return None
        visible = [str(column.of(row)) for column in self.columns if column.kind in {"title", "text"}]
        return self.found_by.excerpt(str(getattr(row, name)), visible)


def _hint(text: str) -> str:
    return escape(text[:MAX_HINT])
