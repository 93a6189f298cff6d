"""Hashes: of the right kind, off the event loop, and no way in without one."""

import threading

import pytest

from admin_app.security import passwords
from admin_app.security.passwords import UNUSABLE, hash_password, verify_password


async def test_a_hash_is_argon2id_and_salted() -> None:
    first, second = await hash_password("a long sentence"), await hash_password("a long sentence")
    assert first.startswith("$argon2id$")
    assert first != second
    assert await verify_password("a long sentence", first)
    assert not await verify_password("A long sentence", first)


@pytest.mark.parametrize("stored", [None, "", UNUSABLE, "no hash at all"])
async def test_nothing_opens_an_account_without_a_hash(stored: str | None) -> None:
    for typed in ("", UNUSABLE, "a password nobody has", "no hash at all"):
        assert not await verify_password(typed, stored)


async def test_nobody_else_waits_while_a_hash_is_computed(
    monkeypatch: pytest.MonkeyPatch, password_hash: str
) -> None:
    threads: list[threading.Thread] = []
    verify = passwords._verify

    def watched(password: str, used_hash: str) -> bool:
        threads.append(threading.current_thread())
        return verify(password, used_hash)

    monkeypatch.setattr(passwords, "_verify", watched)
    await verify_password("x", password_hash)
    await verify_password("x", None)
    assert len(threads) == 2
    assert threading.main_thread() not in threads
