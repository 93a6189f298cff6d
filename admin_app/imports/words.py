"""What people write into cells, as pydantic types of the domains' rows."""

from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, StringConstraints, TypeAdapter

from admin_app.text import EmailAddress

_STATES = {
    **dict.fromkeys(("active", "yes", "true", "1"), True),
    **dict.fromkeys(("inactive", "no", "false", "0", "draft", "archived"), False),
}


def _state(word: object) -> object:
    if isinstance(word, str):
        if word.casefold() not in _STATES:
            raise ValueError("Write active or inactive, yes or no.")
        return _STATES[word.casefold()]
    return word


_ADDRESS: TypeAdapter[str] = TypeAdapter(EmailAddress)


@lru_cache(maxsize=10_000)
def _email(text: str) -> str:
    """Remembered: a file of products names the same few owners, and judging one takes a while."""
    return _ADDRESS.validate_python(text)


State = Annotated[bool, BeforeValidator(_state)]
Email = Annotated[str, AfterValidator(_email), StringConstraints(max_length=254)]
