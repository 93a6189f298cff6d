"""What requests bring along: JSON of a shape, a file, and a key against doing a thing twice."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from admin_app.api.problems import Fault, InvalidBody, complaints_of, pointer_to
from admin_app.errors import AppError

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
FORM = "multipart/form-data"
MAX_FIELD_BYTES = 10_000
MAX_KEY_LENGTH = 255
KEY = re.compile(rf"[!#-\[\]-~]{{1,{MAX_KEY_LENGTH}}}")
"""Any visible ASCII but quotes and backslashes."""

Shape = TypeVar("Shape", bound=BaseModel)


class BadRequest(AppError):
    status = 400


@dataclass(frozen=True)
class SavedFile:
    """`digest` is of its name and content."""

    path: Path
    name: str
    digest: bytes


class UnsupportedMediaType(AppError):
    status = 415

    def __init__(self, message: str = "Send JSON, as Content-Type: application/json.") -> None:
        super().__init__(message)


async def read_json(request: Request, shape: type[Shape]) -> Shape:
    """The body. Raises InvalidBody, BadRequest for what is no JSON, and UnsupportedMediaType."""
    _require_plain(request)
    kind = _kind(request)
    if kind != JSON and (request.method != "PATCH" or kind != MERGE_PATCH):
        raise UnsupportedMediaType
    try:
        return shape.model_validate_json(await request.body(), strict=True)
    except ValidationError as error:
        complaints = complaints_of(error)
        if complaints and complaints[0]["type"] == "json_invalid":
            raise BadRequest("The body is not valid JSON.") from None
        raise InvalidBody.of(complaints) from None


def is_form(request: Request) -> bool:
    return _kind(request) == FORM


async def read_file(request: Request, name: str) -> UploadFile:
    """The file of a form that has nothing else. Raises as `read_json`, and HTTPException 400."""
    _require_plain(request)
    await request.body()  # which is kept for whoever tells by it whether this was sent before
    return await _file_of_form(request, name)


@asynccontextmanager
async def saved_file(request: Request, name: str) -> AsyncIterator[SavedFile]:
    """As `read_file`, a file of any size: it is on the disk until the block ends, and never in memory."""
    _require_plain(request)
    if not is_form(request):
        raise UnsupportedMediaType(f"Send a form with the file as “{name}”, as {FORM}.")
    given = await _file_of_form(request, name)
    with NamedTemporaryFile(prefix="admin-app-") as file:

        def save() -> bytes:
            shutil.copyfileobj(given.file, file)
            file.seek(0)
            content = file_digest(file, lambda: blake2b(digest_size=32))
            content.update(f"\0{given.filename}".encode(errors="surrogatepass"))
            return content.digest()

        digest = await asyncio.to_thread(save)
        await given.close()
        yield SavedFile(Path(file.name), given.filename or "", digest)


async def _file_of_form(request: Request, name: str) -> UploadFile:
    try:
        form = await request.form(max_files=1, max_fields=1, max_part_size=MAX_FIELD_BYTES)
        given = form.get(name)
    except UnicodeError:
        raise BadRequest("The form is in an encoding that cannot be read.") from None
    if not isinstance(given, UploadFile) or len(form) > 1:
        raise InvalidBody([Fault(f"Send one file, as “{name}”, and nothing else.", pointer_to(name))])
    return given


def _require_plain(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise UnsupportedMediaType("Send the body as it is, without a Content-Encoding.")


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def idempotency_key(request: Request) -> str | None:
    """Quoted, as the draft has it, or bare, as most send it. Raises BadRequest."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    text = given[0].strip()
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        text = text[1:-1]
    if len(given) > 1 or not KEY.fullmatch(text):
        raise BadRequest(
            f"Idempotency-Key must be one text of up to {MAX_KEY_LENGTH} letters, digits and signs."
        )
    return text
