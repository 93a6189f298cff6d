"""The kinds of text people type."""

import pytest
from pydantic import TypeAdapter, ValidationError

from admin_app.text import EmailAddress

email = TypeAdapter(EmailAddress)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Alice@Demo.Example ", "Alice@demo.example"),
        ("a..b@demo.example", "a..b@demo.example"),
        ("motörhead@demo.example", "motörhead@demo.example"),
    ],
)
def test_an_address_is_kept_as_typed_with_its_domain_in_lower_case(typed: str, kept: str) -> None:
    assert email.validate_python(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "nobody",
        "a@b",
        ".a@demo.example",
        "a..@demo.example",
        "a b@demo.example",
        "a\0@demo.example",
        "a\ud800@demo.example",
        "Alice <a@demo.example>",
        "a@@demo.example",
        f"{'a' * 300}@demo.example",
    ],
)
def test_what_no_mail_can_reach_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError):
        email.validate_python(typed)
