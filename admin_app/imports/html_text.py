"""Descriptions in HTML as plain text.

Every step looks at each character a bounded number of times. The standard library's html.parser does not, on
texts that are broken on purpose.
"""

import re
from html import unescape

_DECLARATION = re.compile(r"<[!?][^<>]*>")
_HIDDEN = re.compile(r"<(script|style)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(
    r"""<(/?[a-z][a-z0-9]*)(?:(?:[\s/](?:[^<>"']|"[^"<]*"|'[^'<]*')*)?>|[\s/][^<>]*>)""", re.IGNORECASE
)
_EMPTY_LINES = re.compile(r"\n{3,}")
_LINES = {"address", "article", "br", "dd", "div", "dt", "figure", "footer", "header", "section", "tr"}
_PARAGRAPHS = {"blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ol", "p", "pre", "table", "ul"}


def plain_text(html: str) -> str:
    """Paragraphs are parted by an empty line, and items of lists begin with a dash."""
    if "<" not in html and "&" not in html:
        return html
    in_one_line = " ".join(html.split())
    pieces = _TAG.split(_DECLARATION.sub("", _without_hidden(_without_comments(in_one_line))))
    pieces[1::2] = [_between(tag.lower()) for tag in pieces[1::2]]
    lines = [" ".join(unescape(line).split()) for line in "".join(pieces).split("\n")]
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


def _between(tag: str) -> str:
    """What a tag puts between two texts."""
    name = tag.removeprefix("/")
    if name == "li":
        return "" if tag.startswith("/") else "\n- "
    if name in {"td", "th"}:
        return " "
    return "\n\n" if name in _PARAGRAPHS else "\n" if name in _LINES else ""


def _without_comments(html: str) -> str:
    before, *comments = html.split("<!--")
    return before + "".join(comment.partition("-->")[2] for comment in comments)


def _without_hidden(html: str) -> str:
    kept, at = [], 0
    while (hidden := _HIDDEN.search(html, at)) is not None:
        kept.append(html[at : hidden.start()])
        end = re.compile(f"</{hidden[1]}[^<>]*>", re.IGNORECASE).search(html, hidden.end())
        at = len(html) if end is None else end.end()
    return "".join(kept) + html[at:]
