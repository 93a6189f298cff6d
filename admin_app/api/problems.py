"""Every error of the API as problem details (RFC 9457): the sentence a page would show, and what is wrong."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request
from starlette.responses import Response

from admin_app.errors import AppError, InvalidInput, ProofRequired, sentence
from admin_app.failures import failure_of
from admin_app.listing import BadQuery
from admin_app.merging import EditConflict

MEDIA_TYPE = "application/problem+json"
PROOF_REQUIRED = ("/api/v1/docs#proof-required", "Proof Required")
"""Its URI and title: the one problem a program may want to tell from others of its status."""
PROOF = (
    "This needs a fresh proof that it is you, which no access token is: confirm your password on the "
    "website, and do it there, or by the cookie of that session. Nothing was changed."
)
MAX_FAULTS = 50
SEVERAL = "Some values cannot be accepted. Correct them and try again."
TOO_MANY = f"More than {MAX_FAULTS} values cannot be accepted: too many to name them."


class Fault(msgspec.Struct, omit_defaults=True):
    """One thing that is wrong: in the body (`pointer`, a JSON pointer as a fragment) or in the address."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(msgspec.Struct, omit_defaults=True):
    """`instance` names a fault of ours as the log does; an error of the caller's has none."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[Fault] = []


class InvalidBody(AppError):
    """The body is JSON, but not what this address takes."""

    status = 422

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(SEVERAL if faults else TOO_MANY)
        self.faults = list(faults)

    @classmethod
    def of(cls, complaints: Sequence[ErrorDetails], *within: str) -> "InvalidBody":
        """`within` is where in the body that was which could not be read."""
        return cls([Fault(told, pointer=pointer_to(*within, *where)) for where, told in _told(complaints)])


class InvalidQuery(BadQuery):
    """As InvalidBody, of the parameters in the address."""

    def __init__(self, faults: Sequence[Fault], message: str = "") -> None:
        super().__init__(message or (SEVERAL if faults else TOO_MANY))
        self.faults = list(faults)

    @classmethod
    def of(cls, complaints: Sequence[ErrorDetails]) -> "InvalidQuery":
        return cls([Fault(told, parameter=str(where[0])) for where, told in _told(complaints)])


def complaints_of(error: ValidationError) -> list[ErrorDetails]:
    """None at all when they are too many: to list a hundred thousand takes seconds."""
    if error.error_count() > MAX_FAULTS:
        return []
    return error.errors(include_url=False, include_input=False)


async def respond(request: Request, error: Exception) -> Response:
    """The answer to a request that failed."""
    if isinstance(error, BadQuery):
        return _response(422, error.message, _faults(error))
    if isinstance(error, ProofRequired):
        return _answer(Problem(*PROOF_REQUIRED, error.status, PROOF))
    failure = failure_of(request, error)
    instance = failure.incident.urn if failure.incident else None
    return _response(failure.status, failure.message, _faults(error), instance, failure.headers)


def pointer_to(*names: object) -> str:
    """RFC 6901, 6: as the fragment of a URI."""
    return "#" + "".join(f"/{str(name).replace('~', '~0').replace('/', '~1')}" for name in names)


def _faults(error: Exception) -> list[Fault]:
    match error:
        case InvalidBody() | InvalidQuery():
            return error.faults
        case BadQuery() if error.parameter:
            return [Fault(error.message, parameter=error.parameter)]
        case InvalidInput():
            return [Fault(told, pointer=pointer_to(name)) for name, told in error.fields.items()]
        case EditConflict():
            return [
                Fault(f"{clash.who} changed this after you read it.", pointer=pointer_to(name))
                for name, clash in error.clashes.items()
            ]
        case _:
            return []


def _told(complaints: Sequence[ErrorDetails]) -> list[tuple[tuple[Any, ...], str]]:
    """Where, and what: the first complaint about each place."""
    found: dict[tuple[Any, ...], str] = {}
    for item in complaints:
        found.setdefault(item["loc"], sentence(item["type"], item["msg"], item.get("ctx", {})))
    return list(found.items())


def _response(
    status: int,
    detail: str,
    faults: Sequence[Fault],
    instance: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    return _answer(
        Problem("about:blank", HTTPStatus(status).phrase, status, detail, instance, list(faults)), headers
    )


def _answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(problem), problem.status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )
