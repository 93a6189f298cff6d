"""What a page says, as a browser would read it: a small tree of elements."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

VOID = frozenset({"meta", "link", "input", "br", "hr", "img", "source", "wbr", "col"})


@dataclass
class Element:
    """`text` is everything written inside, with single spaces."""

    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = [child if isinstance(child, str) else child.text for child in self.children]
        return " ".join("".join(parts).split())

    @property
    def raw_text(self) -> str:
        return "".join(child if isinstance(child, str) else child.raw_text for child in self.children)

    def walk(self) -> Iterator["Element"]:
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child.walk()

    def all(self, tag: str, **attributes: str) -> list["Element"]:
        """`class_` asks for one of the classes; `data_x` for the attribute data-x."""
        return [element for element in self.walk() if element.tag == tag and element.has(**attributes)]

    def one(self, tag: str, **attributes: str) -> "Element":
        [found] = self.all(tag, **attributes)
        return found

    def has(self, **attributes: str) -> bool:
        for name, wanted in attributes.items():
            value = self.attributes.get(name.rstrip("_").replace("_", "-"))
            if value is None:
                return False
            if wanted not in (value.split() if name == "class_" else [value]):
                return False
        return True


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parse(response: httpx.Response) -> Element:
    """The page; fails on one whose elements do not nest."""
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    builder = _Builder()
    builder.feed(response.text)
    builder.close()
    assert len(builder._open) == 1, f"<{builder._open[-1].tag}> stays open"
    return builder.root


def notices(page: Element) -> list[str]:
    """What the page says at its top, each once."""
    return [
        element.text for element in page.walk() if "notice" in element.attributes.get("class", "").split()
    ]


def bell(page: Element) -> str:
    """What the bell of the frame is called."""
    return next(link.attributes["aria-label"] for link in page.all("a") if "data-bell" in link.attributes)


def form_of(page: Element) -> Element:
    """The form the page is about."""
    [form] = page.all("form", data_submit_once="")
    return form


def fields_of(form: Element) -> dict[str, str]:
    """What a browser would post of this form, untouched and without a button."""
    values = {}
    for control in form.walk():
        name = control.attributes.get("name", "")
        if not name:
            continue
        if control.tag == "input" and control.attributes.get("type") == "checkbox":
            if "checked" in control.attributes:
                values[name] = control.attributes["value"]
        elif control.tag == "input":
            values[name] = control.attributes.get("value", "")
        elif control.tag == "textarea":
            # The first line break of a textarea is not part of its value (HTML standard).
            values[name] = re.sub(r"\A\r?\n", "", control.raw_text)
        elif control.tag == "select":
            chosen = [option for option in control.all("option") if "selected" in option.attributes]
            values[name] = (chosen or control.all("option"))[0].attributes["value"]
    return values


def errors_of(form: Element) -> dict[str, str]:
    """Field name -> the sentence beside it, which the field points to."""
    found = {}
    for control in form.walk():
        if control.tag in {"input", "textarea", "select"} and "aria-invalid" in control.attributes:
            described = control.attributes["aria-describedby"].split()
            found[control.attributes["name"]] = " ".join(
                message.text
                for message in form.all("p", class_="field-error")
                if message.attributes["id"] in described
            )
    unmarked = [message.text for message in form.all("p", class_="field-error")]
    assert len(unmarked) == len(found), f"a sentence beside no field: {unmarked}"
    return found


def rows_of(page: Element) -> list[Element]:
    return [row for body in page.all("tbody") for row in body.all("tr")]


def titles_of(page: Element) -> list[str]:
    """The first column of the list, top to bottom."""
    return [row.one("a", class_="row-link").text for row in rows_of(page)]


def link(page: Element, label: str) -> str | None:
    """Where the link with this text or label goes, if there is one."""
    for element in page.all("a"):
        if label in (element.text, element.attributes.get("aria-label")):
            return element.attributes["href"]
    return None


async def open_form(client: httpx.AsyncClient, path: str) -> dict[str, str]:
    """What the form at this address would post, untouched."""
    response = await client.get(path)
    assert response.status_code == 200
    return fields_of(form_of(parse(response)))
