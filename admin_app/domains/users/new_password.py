"""A password that is to open an account: what is refused of it, wherever it is chosen, and its hash."""

from pydantic import ValidationError

from admin_app.domains.users.schemas import OwnPassword
from admin_app.errors import InvalidInput
from admin_app.security.guessing import reason_to_refuse
from admin_app.security.passwords import hash_password


def refused(field: str, reason: str) -> InvalidInput:
    return InvalidInput("The password was not changed. Correct the marked field.", {field: reason})


def require_acceptable(password: str, field: str) -> None:
    """Quickly, by length and signs. Raises InvalidInput about this field."""
    try:
        OwnPassword.model_validate({"new": password})
    except ValidationError as error:
        raise refused(field, InvalidInput.from_validation(error).fields["new"]) from None


async def hash_for(email: str, name: str, password: str, field: str) -> str:
    """For the account of this e-mail address and name. To be called in a `hashing_slot`.

    Raises InvalidInput about this field for a password that is too easy to guess.
    """
    reason = await reason_to_refuse(password, email=email, name=name)
    if reason:
        raise refused(field, reason)
    return await hash_password(password)
