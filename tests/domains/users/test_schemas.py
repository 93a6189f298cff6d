"""What may come in as an account; nothing about a password goes out."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import select

from admin_app.actor import Role
from admin_app.database import Database
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserCreate, UserRead, UserUpdate
from admin_app.errors import InvalidInput

TYPED = st.text(st.characters(exclude_categories=()), max_size=300)
"""Any text at all: with NUL, control characters and lone surrogates."""

VALID = {"email": "carol@demo.example", "name": "Carol", "role": "support"}


def refusal(**values: Any) -> dict[str, str] | None:
    """The sentence beside each refused field; None when everything is accepted."""
    try:
        UserCreate(**{**VALID, **values})
    except ValidationError as error:
        return InvalidInput.from_validation(error).fields
    return None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(email=TYPED | st.emails() | TYPED.map(lambda text: f"{text}@demo.example"), name=TYPED)
@example(email="ÉMILE@Demo.Example", name="Émile")
@example(email="Carol <carol@demo.example>", name="x")
@example(email=" carol@demo.example ", name=" x ")
@example(email="carol@bücher.example", name="x")
@example(email="a" * 64 + "@" + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + ".example", name="x")
@example(email="carol@demo.example\0", name="x")
async def test_any_e_mail_and_name_are_refused_with_a_sentence_or_stored(
    database: Database, email: str, name: str
) -> None:
    sentences = refusal(email=email, name=name)
    if sentences is not None:
        assert set(sentences) <= {"email", "name"}
        for sentence in sentences.values():
            assert sentence[:1].isupper()
            assert sentence.endswith(".")
            assert "value is not a valid" not in sentence
        return
    data = UserCreate(**{**VALID, "email": email, "name": name})
    async with database.reading() as session:
        session.add(User(**data.model_dump(exclude={"password"}), password_hash="!"))
        await session.flush()
        stored = (await session.execute(select(User.email, User.name))).one()
    assert tuple(stored) == (data.email, data.name)
    assert len(data.email) <= 254


@pytest.mark.parametrize("password", ["", "x" * 11, "x" * 257, "x" * 5_000, "\ud800" * 12, "x" * 12 + "\0"])
def test_a_password_too_short_too_long_or_impossible_is_refused(password: str) -> None:
    sentences = refusal(password=password)
    assert sentences is not None
    assert set(sentences) == {"password"}
    assert password not in sentences["password"] or not password


@pytest.mark.parametrize("password", ["x" * 12, "x" * 256, "pass wörd ☃ " * 2, " " * 12])
def test_a_password_of_the_right_length_is_kept_as_it_is_and_never_shown(password: str) -> None:
    data = UserCreate(**VALID, password=password)
    assert data.password.get_secret_value() == password
    for shown in (repr(data), str(data), data.model_dump_json(), str(data.model_dump())):
        assert password not in shown or not password.strip()


@pytest.mark.parametrize("role", ["", "emperor", "SUPERUSER", None])
def test_an_unknown_role_is_refused(role: Any) -> None:
    assert set(refusal(role=role) or {}) == {"role"}


@pytest.mark.parametrize("field", ["email", "name", "role", "is_active", "must_change_password", "password"])
def test_a_field_left_out_of_an_update_stays_and_null_is_refused(field: str) -> None:
    assert field not in UserUpdate().model_dump(exclude_unset=True)
    with pytest.raises(ValidationError) as refused:
        UserUpdate(**{field: None})
    assert InvalidInput.from_validation(refused.value).fields == {field: "This field cannot be empty."}


def test_what_is_read_out_has_no_field_of_the_password() -> None:
    assert not [name for name in UserRead.model_fields if "password" in name or "hash" in name]
    assert set(UserRead.model_fields) == {
        *("id", "email", "name", "role", "is_active", "version"),
        *("created_at", "updated_at", "last_sign_in_at"),
    }


def test_every_role_can_be_chosen() -> None:
    assert [UserCreate(**{**VALID, "role": role.value}).role for role in Role] == list(Role)
