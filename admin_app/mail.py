"""Mails: plain text, sent by SMTP, or written to the log where no server is set."""

import asyncio
import logging
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime, make_msgid, parseaddr
from urllib.parse import parse_qsl, unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from admin_app.errors import Unavailable
from admin_app.session_info import Carrier

MAIL = "mail"
"""The key under which every session carries how to send one (see `Database.session_info`)."""

DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
TIMEOUT_SECONDS = 20.0
"""For the whole exchange, in the course of which a transaction is open."""

logger = logging.getLogger(__name__)


def mailer_of(session: Carrier) -> "Mailer":
    mailer: Mailer = session.info[MAIL]
    return mailer


class MailRefused(Exception):
    """The server wants this mail neither now nor later."""


class Mailer:
    """Of one sender, through one server."""

    def __init__(self, smtp_url: str, sender: str, public_url: str) -> None:
        """`smtp://` is encrypted by STARTTLS, or not at all with `?tls=none`; `smtps://` from the start."""
        parts = urlsplit(smtp_url)
        self._host, self._port = parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._is_tls = parts.scheme == "smtps"
        self._is_start_tls = parts.scheme == "smtp" and dict(parse_qsl(parts.query)).get("tls") != "none"
        self._sender = sender
        self._public_url = public_url

    @property
    def has_server(self) -> bool:
        """Else mails are written to the log."""
        return bool(self._host)

    def url(self, path: str) -> str:
        """For somebody who reads a mail."""
        return f"{self._public_url}{path}"

    async def send(self, recipient: str, subject: str, text: str) -> None:
        """Raises Unavailable as long as the server cannot be used, and MailRefused."""
        message = self._message(recipient, subject, text)
        if not self.has_server:
            logger.info(
                "SMTP_URL is not set, so this is not sent.\nTo: %s\n%s\n\n%s", recipient, subject, text
            )
            return
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), self._connection() as smtp:
                await smtp.send_message(message, sender=self._address, recipients=[recipient])
        except (SMTPException, OSError, TimeoutError) as error:
            if _is_final(error):
                raise MailRefused(f"The mail server refused: {error}") from error
            raise Unavailable("The mail server cannot be used just now.") from error

    async def check(self) -> str:
        """How the server is reached, having signed in there. Raises whatever is in the way."""
        if not self.has_server:
            return "SMTP_URL is not set: mails, and the links in them, are written to the worker's log"
        async with asyncio.timeout(TIMEOUT_SECONDS), self._connection() as smtp:
            await smtp.noop()
        kind = "TLS" if self._is_tls else "STARTTLS" if self._is_start_tls else "no encryption"
        return f"{self._host}:{self._port} with {kind}, from {self._address}"

    @property
    def _address(self) -> str:
        return parseaddr(self._sender)[1]

    def _connection(self) -> SMTP:
        """Signed in, if there is a user."""
        return SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user or None,
            password=self._password or None,
            use_tls=self._is_tls,
            start_tls=self._is_start_tls,
            timeout=TIMEOUT_SECONDS,
            local_hostname=self._address.rpartition("@")[2],
        )

    def _message(self, recipient: str, subject: str, text: str) -> EmailMessage:
        """Raises ValueError for a line break where none may be."""
        message = EmailMessage(policy=POLICY)
        message["From"] = self._sender
        message["To"] = recipient
        message["Subject"] = subject
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = make_msgid(domain=self._address.rpartition("@")[2] or None)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        # Lines as they are: a link broken by an encoding is a link that some programs break for good.
        message.set_content(text, cte="7bit" if text.isascii() else "quoted-printable")
        return message


def _is_final(error: Exception) -> bool:
    """Not of a refused sign-in: somebody will mend that, and the mail can wait."""
    match error:
        case SMTPAuthenticationError():
            return False
        case SMTPRecipientsRefused():
            return all(refusal.code >= 500 for refusal in error.recipients)
        case SMTPResponseException():
            return error.code >= 500
        case _:
            return isinstance(error, SMTPNotSupported)
