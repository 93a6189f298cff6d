"""Which passwords are refused, wherever one is chosen; and that nothing but guessing counts against one."""

import unicodedata
from time import process_time

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import update

from admin_app.database import Database
from admin_app.domains.users.models import User
from admin_app.domains.users.schemas import UserCreate, UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import InvalidInput
from admin_app.security import passwords
from admin_app.security.guessing import reason_to_refuse
from admin_app.security.passwords import hashing_slot
from tests.admin.pages import errors_of, form_of, open_form, parse
from tests.conftest import PASSWORD, Cast, SignIn, browser

TOO_EASY = "This password is too easy to guess: "

EASY = {
    "password1234": "one of the passwords most people think of",
    "P@ssw0rd2026!": "one of the passwords most people think of",
    "qwerty123456": "one of the passwords most people think of",
    "Summer2026!!": "one of the passwords most people think of",
    "sunshine sunshine": "one of the passwords most people think of",
    "aaaaaaaaaaaa": "it repeats itself",
    "            ": "it repeats itself",
    "abcabcabcabcabc": "it repeats itself",
    "a" * 256: "it repeats itself",
    "abcdefghijklm": "as in the alphabet",
    "asdfghjkl;'\\": "on the keyboard",
    "correcthorse": "a common word or name",
    "administrator": "without the words of the site, your name and your e-mail address",
    "Product-Catalogue-1": "without the words of the site, your name and your e-mail address",
    "alice@demo.example": "without the words of the site, your name and your e-mail address",
    "AliceSmith2026!": "without the words of the site, your name and your e-mail address",
    "demo.alice.demo": "without the words of the site, your name and your e-mail address",
}

HARD = [
    "correct horse battery staple",
    "four elks in a very small boat",
    "Alice likes old trains in spring",
    "administrators dance in red shoes",
    "zkwtqpbvnhxr",
    "          x4 9!          q",
    "\t~`'\"<b>{{7*7}}\\",
    "пять синих слонов на лодке",
    "東京で青い象が三頭も泳ぐ日",
    "🦈🦊🐙🦉 🐢🦔 🐬🦩🐝🦚🐘",
    "internationalisation of four blue elks",
    "x7#qL9!vT2@m" * 21,
]


async def judged(password: str) -> str | None:
    async with hashing_slot:
        return await reason_to_refuse(password, email="alice@demo.example", name="Alice Smith")


@pytest.mark.parametrize("password", EASY)
async def test_what_is_guessed_first_is_refused_with_its_reason(password: str) -> None:
    reason = await judged(password)
    assert reason is not None
    assert reason.startswith(TOO_EASY)
    assert EASY[password] in reason
    assert password.strip() == "" or password not in reason


@pytest.mark.parametrize("password", HARD)
async def test_what_is_hard_to_guess_needs_no_special_signs(password: str) -> None:
    assert await judged(password) is None


async def test_judging_has_a_bound() -> None:
    """Processor time, so that a busy machine does not matter: such a one once took minutes."""
    begun = process_time()
    for password in ("4@8({[<3691!|70$5+%2" * 12, "@$0135!7|(86+%" * 18, "a@4" * 80, "1" * 256):
        await judged(password)
    assert process_time() - begun < 10


async def test_it_is_refused_wherever_one_is_chosen(sign_in: SignIn, cast: Cast, database: Database) -> None:
    """And the words of the account are those it will have."""
    chosen = "robert.smith.2026"
    async with database.transaction() as session:
        root = UserService(session, cast.root)
        data = UserCreate(
            email="robert.smith@demo.example", name="R", role=cast.bob.role, password=SecretStr(chosen)
        )
        with pytest.raises(InvalidInput) as refusal:
            await root.create(data)
        assert refusal.value.fields["password"].startswith(TOO_EASY)
    async with database.transaction() as session:
        root = UserService(session, cast.root)
        with pytest.raises(InvalidInput) as refusal:
            await root.update(cast.bob.id, UserUpdate(name="Robert Smith", password=SecretStr(chosen)))
        assert refusal.value.fields["password"].startswith(TOO_EASY)
        async with hashing_slot:
            with pytest.raises(InvalidInput) as refusal:
                await UserService(session, cast.bob).change_own_password(PASSWORD, "bob@demo.example")
        assert refusal.value.fields["new"].startswith(TOO_EASY)
    root_there = await sign_in("root")
    address = f"/admin/user/edit/{cast.bob.id}"
    fields = await open_form(root_there, address)
    response = await root_there.post(address, data=fields | {"password": "bobbobbobbob"})
    assert response.status_code == 422
    assert errors_of(form_of(parse(response)))["password"].startswith(TOO_EASY)
    assert "bobbobbobbob" not in response.text


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC"])
async def test_the_same_letters_are_the_same_password_however_a_keyboard_sends_them(
    form: str, client: httpx.AsyncClient, cast: Cast, database: Database
) -> None:
    chosen = "Sjötomte åker båt över älven"
    async with database.transaction() as session:
        data = UserUpdate(password=SecretStr(unicodedata.normalize("NFD", chosen)))
        await UserService(session, cast.root).update(cast.bob.id, data)
    typed = {"email": "bob@demo.example", "password": unicodedata.normalize(form, chosen), "next": ""}
    assert (await client.post("/admin/login", data=typed)).status_code == 303


async def test_a_hash_from_before_of_what_was_typed_still_opens(
    website: object, cast: Cast, database: Database
) -> None:
    typed = unicodedata.normalize("NFD", "Sjötomte åker båt över älven")
    old = passwords._hasher.hash(typed)
    async with database.transaction() as session:
        await session.execute(
            update(User).where(User.id == cast.bob.id).values(password_hash=old, updated_at=User.updated_at)
        )
    async with browser(website) as client:  # type: ignore[arg-type]
        data = {"email": "bob@demo.example", "password": typed, "next": ""}
        assert (await client.post("/admin/login", data=data)).status_code == 303


async def test_password_fields_help_password_managers(sign_in: SignIn) -> None:
    """Typed blind, and pasted as one likes."""
    alice, root = await sign_in("alice"), await sign_in("root")
    for browser_, path in ((alice, "/admin/password"), (root, "/admin/user/create"), (alice, "/admin/login")):
        fields = form_of(parse(await browser_.get(path))).all("input", type="password")
        assert fields
        for field in fields:
            assert field.attributes["autocomplete"] in {"current-password", "new-password"}
            assert "maxlength" not in field.attributes
            assert "onpaste" not in field.attributes
