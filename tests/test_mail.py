"""Mails to a real SMTP server: what arrives, and what is said when none does."""

import logging
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from admin_app.config import ConfigurationError, load_settings
from admin_app.errors import Unavailable
from admin_app.mail import Mailer, MailRefused
from tests.smtp import SENDER, make_certificate, smtp_server

SITE = "https://admin.example.com"
LONG = f"{SITE}/admin/reset/{'x' * 120}"


async def test_a_mail_arrives_as_it_was_meant() -> None:
    async with smtp_server() as inbox:
        await Mailer(inbox.url, SENDER, SITE).send("alice@demo.example", "Hello", f"Open this:\n\n{LONG}\n")
    [message] = inbox.messages
    assert inbox.recipients == [["alice@demo.example"]]
    assert (message["From"], message["To"], message["Subject"]) == (SENDER, "alice@demo.example", "Hello")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@admin.example.com>")
    assert parsedate_to_datetime(message["Date"]).utcoffset() is not None
    assert message.get_content_type() == "text/plain"
    # Not broken up by an encoding on the way, either.
    assert LONG in message.as_string()


async def test_letters_of_all_kinds_arrive() -> None:
    async with smtp_server() as inbox:
        await Mailer(inbox.url, SENDER, SITE).send("alice@demo.example", "Grüße", "Здравствуйте\n")
    assert (inbox.messages[0]["Subject"], inbox.texts()) == ("Grüße", ["Здравствуйте\r\n"])


@pytest.mark.parametrize("place", ["recipient", "subject"])
async def test_nobody_adds_a_header(place: str) -> None:
    values = {"recipient": "alice@demo.example", "subject": "Hello", "text": "Hello"}
    values[place] += "\r\nBcc: eve@evil.example"
    async with smtp_server() as inbox:
        with pytest.raises(ValueError, match="linefeed"):
            await Mailer(inbox.url, SENDER, SITE).send(**values)
    assert inbox.messages == []


async def test_it_is_encrypted_and_signed_in_by_starttls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with smtp_server(certificate, password="p@ss word") as inbox:
        mailer = Mailer(f"smtp://shop:p%40ss%20word@127.0.0.1:{inbox.port}", SENDER, SITE)
        assert await mailer.check() == f"127.0.0.1:{inbox.port} with STARTTLS, from shop@admin.example.com"
        await mailer.send("alice@demo.example", "Hello", "Hello\n")
        assert inbox.was_encrypted == [True]
        wrong = Mailer(f"smtp://shop:wrong@127.0.0.1:{inbox.port}", SENDER, SITE)
        with pytest.raises(Unavailable):
            await wrong.send("alice@demo.example", "Hello", "Hello\n")
    assert len(inbox.messages) == 1


async def test_nothing_is_sent_to_a_server_that_cannot_show_who_it_is(tmp_path: Path) -> None:
    async with smtp_server(make_certificate(tmp_path / "server.pem")) as inbox:
        with pytest.raises(Unavailable):
            await Mailer(f"smtp://127.0.0.1:{inbox.port}", SENDER, SITE).send(
                "a@demo.example", "Hello", "Hello"
            )
    assert inbox.messages == []


async def test_encryption_is_never_left_out_silently() -> None:
    async with smtp_server() as inbox:
        with pytest.raises((Unavailable, MailRefused)):
            await Mailer(f"smtp://127.0.0.1:{inbox.port}", SENDER, SITE).send(
                "a@demo.example", "Hello", "Hello"
            )
    assert inbox.messages == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("451 later, perhaps", Unavailable), ("554 never", MailRefused)],
    ids=["for now", "for good"],
)
async def test_a_refusal_for_now_is_told_from_one_for_good(answer: str, kind: type[Exception]) -> None:
    async with smtp_server() as inbox:
        inbox.answer = answer
        with pytest.raises(kind):
            await Mailer(inbox.url, SENDER, SITE).send("alice@demo.example", "Hello", "Hello")


async def test_a_server_that_is_down_is_unavailable() -> None:
    async with smtp_server() as inbox:
        url = inbox.url
    with pytest.raises(Unavailable):
        await Mailer(url, SENDER, SITE).send("alice@demo.example", "Hello", "Hello")
    with pytest.raises(ConnectionError):
        await Mailer(url, SENDER, SITE).check()


async def test_without_a_server_a_mail_is_written_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    mailer = Mailer("", "", "")
    await mailer.send("alice@demo.example", "Hello", "Open this")
    assert "To: alice@demo.example\nHello\n\nOpen this" in caplog.text
    assert "SMTP_URL is not set" in await mailer.check()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"smtp_url": "mail.example.com"}, "SMTP_URL must look like smtp://"),
        ({"smtp_url": "http://mail.example.com"}, "SMTP_URL must look like smtp://"),
        ({"smtp_url": "smtp://"}, "SMTP_URL must look like smtp://"),
        ({"smtp_url": "smtp://mail.example.com:x"}, "SMTP_URL must look like smtp://"),
        ({"smtp_url": "smtp://mail.example.com?starttls=no"}, "SMTP_URL must look like smtp://"),
        ({"smtp_url": "smtp://a:b@mail.example.com?tls=none"}, "SMTP_URL with tls=none must"),
        ({"smtp_url": "smtps://mail.example.com?tls=none"}, "SMTP_URL with tls=none must"),
        ({"smtp_url": "smtp://mail.example.com"}, "MAIL_FROM must be set when SMTP_URL is set"),
        (
            {"smtp_url": "smtp://mail.example.com", "mail_from": SENDER},
            "PUBLIC_URL must be set when SMTP_URL",
        ),
        ({"mail_from": "nobody"}, "MAIL_FROM must be an address"),
        ({"mail_from": "Shop <a@b.example>\nBcc: c@d.example"}, "MAIL_FROM must be an address"),
    ],
)
def test_a_wrong_setting_is_one_sentence(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(**values)
    assert str(refusal.value).startswith(sentence)
    assert "a:b" not in str(refusal.value)


def test_right_settings_are_taken_and_the_password_is_not_shown() -> None:
    url = "smtps://shop:hidden@mail.example.com"
    settings = load_settings(smtp_url=url, mail_from=SENDER, public_url=SITE)
    assert settings.smtp_url == url
    assert "hidden" not in repr(settings)
