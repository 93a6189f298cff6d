"""The OpenAPI document: what routes say of themselves, with the shapes they name."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from admin_app.api.examples import EXAMPLES
from admin_app.api.problems import MEDIA_TYPE, Problem
from admin_app.api.requests import FORM, KEY

REFERENCES = "#/components/schemas/{name}"
DESCRIPTION = """
The same products, rules and history as on the website.

Sign in with an access token from your account page (`Authorization: Bearer adm_…`), or with the cookie of a
session. Every error is `application/problem+json`. Repeat a change safely with an `Idempotency-Key`.
"""
REASONS = {
    400: "The request cannot be understood.",
    401: "Not signed in, or the access token is not valid.",
    403: "This role, or this access token, may not do this; or a new password or second factor is due.",
    404: "There is no such thing, or it is not yours to change.",
    408: "The body took too long to arrive.",
    409: "It cannot be done now: something else was done at the same time, or stands against it.",
    412: "It was changed since: `If-Match` does not hold.",
    413: "The body is too large.",
    415: "The body is of a kind that is not taken here.",
    422: "Some values cannot be accepted; `errors` says which.",
    429: "Too many requests. `Retry-After` says how many seconds to wait.",
    503: "Not now. `Retry-After` says how many seconds to wait.",
}

ALWAYS, OF_CHANGES, OF_BODIES = (400, 401, 403, 429, 503), (409, 422), (408, 413, 415)
WAITS = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer", "minimum": 0}}}


def _header(name: str, about: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": about, "schema": schema}


TAGS = {
    "anyOf": [{"const": "*"}, {"type": "string", "pattern": r'^(W/)?"[!#-~]*"(, (W/)?"[!#-~]*")*$'}],
    "examples": ['"7"'],
}
KEYS = {"type": "string", "pattern": f"^{KEY.pattern}$"}
IF_MATCH = _header("If-Match", "Only if the row has one of these versions still. `*` is any.", TAGS)
IF_NONE_MATCH = _header(
    "If-None-Match", "Only if it is not as it was with one of these tags; else 304.", TAGS
)
IDEMPOTENCY_KEY = _header(
    "Idempotency-Key", "Of your own choice. Sent again with it within a day, this is done once.", KEYS
)

_shapes: dict[str, type] = {"Problem": Problem}
"""Every shape a route names."""


def returns(
    shape: type[msgspec.Struct],
    status: int = 200,
    *,
    has_tag: bool = False,
    has_location: bool = False,
    has_links: bool = False,
) -> dict[int | str, dict[str, Any]]:
    """What a route answers when all is well."""
    headers = {
        "ETag": (has_tag, "For `If-Match` and `If-None-Match`. Begins with the version."),
        "Location": (has_location, "Where it is."),
        "Link": (has_links, "The first, next and previous page (RFC 8288)."),
    }
    found = {
        name: {"description": told, "schema": {"type": "string"}}
        for name, (is_there, told) in headers.items()
        if is_there
    }
    content = {"application/json": _content(shape)}
    return {status: {"description": HTTPStatus(status).phrase, "content": content, "headers": found}}


def returns_text(media_type: str, about: str) -> dict[int | str, dict[str, Any]]:
    """As `returns`, of a file."""
    return {200: {"description": about, "content": {media_type: {"schema": {"type": "string"}}}}}


def body(shape: type[BaseModel], *, is_patch: bool = False, file: str = "") -> dict[str, Any]:
    """What a route takes, or instead a form with one file. It reads that itself, when it knows who asks."""
    kinds = ["application/json", *(["application/merge-patch+json"] if is_patch else [])]
    content = {kind: _content(shape) for kind in kinds}
    if file:
        content[FORM] = {"schema": _form(file)}
    return {"requestBody": {"required": True, "content": content}}


def form(file: str, sample: str) -> dict[str, Any]:
    """As `body`, only a form with one file; `sample` is what such a file may be called."""
    return {
        "requestBody": {"required": True, "content": {FORM: {"schema": _form(file), "x-file-name": sample}}}
    }


def one_of(shapes: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """As `body`, of any of these."""
    known = {shape.__name__: _reference(shape) for shape in shapes}
    examples = {name: {"value": EXAMPLES[name]} for name in known if name in EXAMPLES}
    content = {"application/json": {"schema": {"oneOf": [*known.values()]}, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


def document(routes: Sequence[BaseRoute], url: str) -> dict[str, Any]:
    found = get_openapi(
        title="Admin API",
        version="1",
        description=DESCRIPTION,
        routes=[_described(route) for route in routes if isinstance(route, APIRoute)],
        servers=[{"url": url}],
    )
    for item in found["paths"].values():
        for method, operation in item.items():
            _complete(method, operation)
    components = found.setdefault("components", {})
    components["schemas"] = _schemas()
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A personal access token."},
        "session": {"type": "apiKey", "in": "cookie", "name": "session", "description": "As on the website."},
    }
    found["security"] = [{"token": []}, {"session": []}]
    return found


def with_cookie(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The document with the name of the session's cookie, which depends on where it is asked for."""
    components = found["components"]
    schemes = components["securitySchemes"]
    session = {**schemes["session"], "name": name}
    return {**found, "components": {**components, "securitySchemes": {**schemes, "session": session}}}


def _form(file: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {file: {"type": "string", "format": "binary"}},
        "required": [file],
        "additionalProperties": False,
    }


def _complete(method: str, operation: dict[str, Any]) -> None:
    """With what follows from its method, path, query, body and tag."""
    parameters = operation.setdefault("parameters", [])
    answers = operation["responses"]
    kinds = {parameter["in"] for parameter in parameters}
    has_tag = method == "get" and "ETag" in answers["200"].get("headers", {})
    answers.pop("422", None)  # FastAPI's own
    if "204" in answers:
        answers["204"]["description"] = HTTPStatus.NO_CONTENT.phrase
    statuses = set(ALWAYS)
    if "path" in kinds:
        statuses.add(404)
    if "query" in kinds:
        statuses.add(422)
    if method != "get":
        statuses.update(OF_CHANGES)
        parameters.append(IDEMPOTENCY_KEY)
    if "requestBody" in operation:
        statuses.update(OF_BODIES)
    if has_tag or method in {"patch", "put", "delete"}:
        parameters.append(IF_MATCH)
    if IF_MATCH in parameters:
        statuses.add(412)
    if has_tag:
        parameters.append(IF_NONE_MATCH)
        answers["304"] = {
            "description": "You have it as it is: `If-None-Match` does not hold.",
            "headers": answers["200"]["headers"],
        }
    for status in sorted(statuses):
        waits = {"headers": WAITS} if status in {429, 503} else {}
        content = {MEDIA_TYPE: _content(Problem)}
        answers[str(status)] = {"description": REASONS[status], "content": content, **waits}


def _described(route: APIRoute) -> APIRoute:
    """By the name of its function. HEAD is as GET: said twice, it would be two operations of one id."""
    found = copy(route)
    found.methods = set(route.methods or ()) - {"HEAD"}
    found.operation_id = route.name
    return found


def _content(shape: type) -> dict[str, Any]:
    name = shape.__name__
    return {"schema": _reference(shape)} | ({"example": EXAMPLES[name]} if name in EXAMPLES else {})


def _reference(shape: type) -> dict[str, str]:
    _shapes[shape.__name__] = shape
    return {"$ref": REFERENCES.format(name=shape.__name__)}


def _schemas() -> dict[str, Any]:
    structs = [shape for shape in _shapes.values() if issubclass(shape, msgspec.Struct)]
    models = [shape for shape in _shapes.values() if issubclass(shape, BaseModel)]
    _, components = msgspec.json.schema_components(structs, ref_template=REFERENCES)
    _, taken = models_json_schema(
        [(model, "validation") for model in models], ref_template=REFERENCES.replace("{name}", "{model}")
    )
    return {**components, **{name: _without_null(schema) for name, schema in taken.get("$defs", {}).items()}}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A field that may be left out is not for that reason null; None only marks it in the shape."""
    for name, field in schema.get("properties", {}).items():
        choices = [item for item in field.get("anyOf", []) if item != {"type": "null"}]
        if len(choices) == 1:
            rest = {key: value for key, value in field.items() if key not in {"anyOf", "default"}}
            schema["properties"][name] = {**rest, **choices[0]}
    return schema
