"""Mails about accounts. Each task runs in the transaction that marks its delivery done.

A mail goes out before that is committed: killed in between, it is sent again, and never not at all.
"""

import logging
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor
from admin_app.domains.users.handlers import SEND_NOTICE, SEND_PASSWORD_LINK
from admin_app.domains.users.reset_service import ResetService
from admin_app.events import Tasks
from admin_app.mail import MailRefused, mailer_of

logger = logging.getLogger(__name__)

LINK_SUBJECT = "Choose a new password"
LINK_TEXT = """\
Somebody, probably you, wants to choose a new password for your account {email}.

Open this link within an hour to choose it:

{url}

It works once. If you did not ask for it, do nothing: your password stays as it is.
"""

NOTICE_SUBJECT = "Your {credential} was changed"
NOTICE_TEXT = """\
The {credential} of your account {email} was changed.

If you know of this, all is well. If not, tell a superuser, and choose another password at once:

{url}
"""


async def send_password_link(session: AsyncSession, email: str, address: str | None) -> None:
    """If the e-mail is an account's. `address`: where it was asked for. Each try has a link of its own."""
    mailer = mailer_of(session)

    async def send(recipient: str, token: str) -> None:
        url = mailer.url(f"/admin/reset/{token}")
        await mailer.send(recipient, LINK_SUBJECT, LINK_TEXT.format(email=recipient, url=url))

    try:
        await ResetService(session, replace(Actor.system(), address=address)).send_link(email, send)
    except MailRefused as error:
        logger.warning("A link to choose a password was not sent. %s", error)


async def send_notice(session: AsyncSession, email: str, credential: str) -> None:
    """So that nothing that opens an account is changed unnoticed."""
    mailer = mailer_of(session)
    text = NOTICE_TEXT.format(credential=credential, email=email, url=mailer.url("/admin/forgot"))
    try:
        await mailer.send(email, NOTICE_SUBJECT.format(credential=credential), text)
    except MailRefused as error:
        logger.warning("A notice was not sent. %s", error)


TASKS: Tasks = {SEND_PASSWORD_LINK: send_password_link, SEND_NOTICE: send_notice}
