"""Routes that FastAPI describes and Starlette runs: FastAPI's own way takes longer than most of them."""

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi import params
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, request_response
from starlette.types import Receive, Scope, Send

from admin_app.api.auth import doors_of
from admin_app.api.problems import Fault, InvalidQuery, complaints_of
from admin_app.listing import BadQuery

MAX_PARAMETERS = 100


class PlainRoute(APIRoute):
    """For a function of the request, of values that its path itself converts, and of one query."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        name, shape = _query_of(endpoint)

        async def run(request: Request) -> Response:
            values = dict(request.path_params)
            try:
                if shape is not None:
                    values[name] = _read(request, shape)
                response: Response = await endpoint(request, **values)
            except BadQuery:
                await doors_of(request).enter(request)  # who may not ask at all is told that
                raise
            return response

        self.app = request_response(run)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return Route.matches(self, scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Route.handle(self, scope, receive, send)


def _query_of(endpoint: Callable[..., Any]) -> tuple[str, type[BaseModel] | None]:
    hints = get_type_hints(endpoint, include_extras=True)
    for name in inspect.signature(endpoint).parameters:
        hint = hints[name]
        if get_origin(hint) is Annotated and any(isinstance(item, params.Query) for item in get_args(hint)):
            return name, get_args(hint)[0]
    return "", None


def _read(request: Request, shape: type[BaseModel]) -> BaseModel:
    """Raises InvalidQuery, also for what is given twice."""
    text = request.scope["query_string"]
    if text.count(b"&") >= MAX_PARAMETERS:
        raise InvalidQuery([], f"Use at most {MAX_PARAMETERS} parameters.")
    given = request.query_params.multi_items() if text else []
    values = dict(given)
    if len(values) < len(given):
        times = Counter(name for name, _ in given)
        raise InvalidQuery([Fault("Give this once.", parameter=name) for name in times if times[name] > 1])
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise InvalidQuery.of(complaints_of(error)) from None
