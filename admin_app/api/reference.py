"""The OpenAPI document as plain values for the page that shows it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from admin_app.api.lists import STORABLE

JSON = "application/json"

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """A parameter, or a member of a body. `kind` says in words what it may be."""

    name: str
    kind: str
    is_required: bool
    about: str


@dataclass(frozen=True)
class Example:
    title: str
    text: str


@dataclass(frozen=True)
class Answer:
    status: str
    about: str
    is_problem: bool
    example: str


@dataclass(frozen=True)
class Operation:
    """`call` is a command line that sends its first example."""

    name: str
    anchor: str
    method: str
    path: str
    title: str
    about: str
    parameters: Sequence[Field]
    members: Sequence[Field]
    examples: Sequence[Example]
    answers: Sequence[Answer]
    call: str


@dataclass(frozen=True)
class Group:
    name: str
    operations: Sequence[Operation]


def groups_of(document: Document, names: Sequence[str]) -> list[Group]:
    """Operations that belong together, in the order of these names of theirs."""
    found = [
        (operation["tags"][0], _operation(document, method, path, operation))
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    found.sort(key=lambda pair: names.index(pair[1].name))
    order = list(dict.fromkeys(tag for tag, _ in found))
    found.sort(key=lambda pair: order.index(pair[0]))
    return [
        Group(tag, [operation for _, operation in pairs])
        for tag, pairs in groupby(found, key=lambda pair: pair[0])
    ]


def _operation(document: Document, method: str, path: str, operation: Document) -> Operation:
    content = operation.get("requestBody", {}).get("content", {})
    examples = list(_examples(content.get(JSON, {})))
    return Operation(
        name=operation["operationId"],
        anchor=operation["operationId"].replace("_", "-"),
        method=method.upper(),
        path=path,
        title=operation["summary"],
        about=operation.get("description", ""),
        parameters=[
            Field(
                item["name"],
                _kind(document, item["schema"]),
                item.get("required", False),
                item.get("description", ""),
            )
            for item in operation.get("parameters", [])
        ],
        members=list(_members(document, content)),
        examples=examples,
        answers=[_answer(status, answer) for status, answer in sorted(operation["responses"].items())],
        call=_call(method, path, operation, examples[0].text if examples else ""),
    )


def _members(document: Document, content: Document) -> Iterator[Field]:
    """Of an object; of one of several kinds, what all of those have."""
    schema = _resolved(document, content.get(JSON, {}).get("schema", {}))
    shapes = [_resolved(document, choice) for choice in schema.get("oneOf", []) if "$ref" in choice] or [
        schema
    ]
    for name in shapes[0].get("properties", {}):
        members = [shape["properties"][name] for shape in shapes]
        kinds = list(dict.fromkeys(_kind(document, member) for member in members))
        if len(kinds) > 1:
            is_choice = all("const" in member for member in members)
            kinds = [f"one of {', '.join(kinds)}"] if is_choice else ["an object, depending on the action"]
        is_required = all(name in shape.get("required", []) for shape in shapes)
        yield Field(name, kinds[0], is_required, members[0].get("description", ""))


def _examples(content: Document) -> Iterator[Example]:
    if "example" in content:
        yield Example("", shown(content["example"]))
    for example in content.get("examples", {}).values():
        value = example["value"]
        yield Example(f"{value['kind']}: {value['action']}", shown(value))


def _answer(status: str, answer: Document) -> Answer:
    content = answer.get("content", {})
    example = content.get(JSON, {}).get("example")
    return Answer(
        status,
        answer["description"],
        "application/problem+json" in content,
        shown(example) if example is not None else "",
    )


def shown(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _call(method: str, path: str, operation: Document, body: str) -> str:
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    words = ["curl"]
    if method != "get":
        words.append(f"-X {method.upper()}")
    words.append('-H "Authorization: Bearer $TOKEN"')
    if form is not None:
        words.append(f"-F file=@{form.get('x-file-name', 'clock.jpg')}")
    elif body:
        compact = json.dumps(json.loads(body), ensure_ascii=False).replace("'", "'\\''")
        words += ["-H 'Content-Type: application/json'", f"-d '{compact}'"]
    address = re.sub(r"\{(\w+)\}", lambda found: f"${found[1].upper()}", path)
    query = "&".join(
        f"{item['name']}={item['schema'].get('enum', ['…'])[0]}"
        for item in operation.get("parameters", [])
        if item["in"] == "query" and item.get("required")
    )
    address += f"?{query}" if query else ""
    return " \\\n  ".join([" ".join(words[:2]), *words[2:], f'"$API{address}"'])


def _kind(document: Document, schema: Document) -> str:
    """In words."""
    schema = _resolved(document, schema)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = [_kind(document, choice) for choice in schema[several] if choice != {"type": "null"}]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"] if value != "")
    if "const" in schema:
        return f"`{schema['const']}`"
    match schema.get("type"):
        case "string":
            return {
                "uuid": "an id",
                "date-time": "a time",
                "password": "a password",
                "binary": "a file",
            }.get(schema.get("format", ""), f"text{_length(schema)}{_form(schema)}")
        case "integer":
            return f"a whole number{_range(schema)}"
        case "number":
            return "a number"
        case "boolean":
            return "true or false"
        case "array":
            most = f" of up to {schema['maxItems']:,}" if "maxItems" in schema else ""
            return f"a list{most}: {_kind(document, schema.get('items', {}))} each"
        case "object":
            return "an object" + _names(schema)
    return "anything"


def _names(schema: Document) -> str:
    names = ", ".join(f"`{name}`" for name in schema.get("properties", {}))
    return f" of {names}" if names else ""


def _range(schema: Document) -> str:
    low, high, below = (schema.get(name) for name in ("minimum", "maximum", "exclusiveMaximum"))
    words = [f" from {low:,}"] if low is not None else []
    words += [f" to {high:,}"] if high is not None else []
    words += [f" below {below:,}"] if below is not None else []
    return "".join(words)


def _length(schema: Document) -> str:
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    if high is None:
        return f" of {low:,} characters or more" if low else ""
    return f" of {low:,} to {high:,} characters" if low else f" of up to {high:,} characters"


def _form(schema: Document) -> str:
    """Its pattern. One that only keeps out what cannot be stored is nothing to know."""
    pattern = schema.get("pattern", "")
    return f", like `{pattern}`" if pattern and pattern != STORABLE else ""


def _resolved(document: Document, schema: Document) -> Document:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        found: Document = document["components"]["schemas"][name]
        return found
    return schema
