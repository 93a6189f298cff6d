"""Every error a service may raise, with the HTTP status each edge answers.

AppError
├── InvalidInput  422  the values cannot be accepted; says which field and why
│   └── WrongCredential  a password or a code that opens nothing
├── Forbidden     403  this role may never do this
│   └── ProofRequired  only who has just shown who they are may do this
├── NotFound      404  no such row, or one this actor may not change
├── Conflict      409  the row is not what the actor last saw, or others depend on it
├── TooMany       429  too much was tried or asked for in a while; says how long to wait
├── TooSlow       503  the database was given a time for this, and it was not enough
└── Unavailable   503  something beside the database (file storage, search index) cannot be used just now
    └── OutcomeUnknown  the connection was lost while the database was told to keep a change
"""

from collections.abc import Mapping

from pydantic import ValidationError


class AppError(Exception):
    """A refusal with a sentence for the person who asked. It never holds SQL or a trace."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer carries besides its status."""
        return {}


class InvalidInput(AppError):
    """`fields` maps a field name to the sentence to show beside it."""

    status = 422

    def __init__(self, message: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = dict(fields or {})

    @classmethod
    def from_validation(cls, error: ValidationError) -> "InvalidInput":
        """The first complaint about each field, worded for people."""
        fields: dict[str, str] = {}
        for item in error.errors(include_url=False, include_input=False):
            name = str(item["loc"][0]) if item["loc"] else ""
            fields.setdefault(name, sentence(item["type"], item["msg"], item.get("ctx", {})))
        return cls("Some values cannot be accepted. Correct the marked fields.", fields)


class WrongCredential(InvalidInput):
    """Somebody may be guessing: whoever lets people try counts these."""


class Forbidden(AppError):
    status = 403

    def __init__(self, message: str = "Your role does not allow this.") -> None:
        super().__init__(message)


class ProofRequired(Forbidden):
    def __init__(self) -> None:
        super().__init__("Confirm that it is you, then do this again. Nothing was changed.")


class NotFound(AppError):
    """Also the answer for a row that exists but is not this actor's to change."""

    status = 404

    def __init__(self, message: str = "There is nothing here. It may have been deleted.") -> None:
        super().__init__(message)


class Conflict(AppError):
    status = 409


class TooMany(AppError):
    status = 429

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after_seconds)}


class TooSlow(AppError):
    """PostgreSQL stopped the statement; nothing runs on."""

    status = 503

    def __init__(self, message: str = "This took too long, so it was stopped.") -> None:
        super().__init__(message)


class Unavailable(AppError):
    """Nobody is to blame who asked. A task that raises it is tried again until it is over."""

    status = 503


class OutcomeUnknown(Unavailable):
    """It is there as a whole, or not at all; only looking can tell."""

    def __init__(self) -> None:
        super().__init__(
            "The connection to the database was lost while saving. Look whether the change is there before "
            "you try again."
        )


_SENTENCES = {
    "missing": "This field is required.",
    "decimal_parsing": "Enter a number such as 12.50.",
    "decimal_type": "Enter a number such as 12.50.",
    "finite_number": "Enter a finite number such as 12.50.",
    "decimal_max_places": "Use at most {decimal_places} decimals.",
    "decimal_whole_digits": "The number must be below 10^{whole_digits}.",
    "decimal_max_digits": "The number has too many digits.",
    "greater_than": "Enter a number greater than {gt}.",
    "less_than": "Enter a number below {lt}.",
    "string_too_short": "Enter at least {min_length} characters.",
    "string_too_long": "Use at most {max_length} characters.",
    "too_short": "Enter at least {min_length} characters.",
    "too_long": "Use at most {max_length} characters.",
    "list_too_short": "Choose at least one.",
    "list_too_long": "Use at most {max_length:,} items.",
    "string_pattern_mismatch": "This text contains characters that cannot be used here.",
    "string_unicode": "This text contains characters that cannot be stored.",
    "bool_parsing": "Choose yes or no.",
    "bool_type": "Choose yes or no.",
    "enum": "Choose one of: {expected}.",
    "literal_error": "Choose one of: {expected}.",
    "uuid_parsing": "This is not a valid id.",
    "uuid_type": "This is not a valid id.",
    "int_parsing": "Enter a whole number.",
    "int_parsing_size": "Enter a whole number of fewer digits.",
    "int_from_float": "Enter a whole number.",
    "int_type": "Enter a whole number.",
    "greater_than_equal": "Enter a number of at least {ge}.",
    "less_than_equal": "Enter a number of at most {le}.",
    "string_type": "This must be text.",
    "list_type": "This must be a list.",
    "model_type": "This must be an object.",
    "dict_type": "This must be an object.",
    "extra_forbidden": "Nothing of this name is known here.",
}


def sentence(kind: str, message: str, context: Mapping[str, object]) -> str:
    """What to tell people of one of pydantic's complaints."""
    if kind == "string_too_short" and context["min_length"] == 1:
        kind = "missing"
    if context.get("field_type") == "List":
        kind = f"list_{kind}"
    known = _SENTENCES.get(kind)
    if known is not None:
        return known.format(**{name: _plain(value) for name, value in context.items()})
    # Our own validators raise ValueError("A sentence."), which pydantic prefixes.
    return message.removeprefix("Value error, ").removeprefix("value is not a valid email address: ")


def _plain(value: object) -> object:
    """Choices without pydantic's quotes, and without the empty one, which is none."""
    return value.removeprefix("'', ").replace("'", "") if isinstance(value, str) else value
