"""Who reacts to what happens to accounts: the mails they get."""

from admin_app.domains.users.events import CredentialChanged, PasswordResetRequested
from admin_app.events import Handlers, TaskCall

SEND_PASSWORD_LINK = "send_password_link"  # noqa: S105  # the task's name
SEND_NOTICE = "send_notice"


def on_password_reset_requested(event: PasswordResetRequested) -> TaskCall:
    """The task makes the link: a secret has no place in an event."""
    return TaskCall(SEND_PASSWORD_LINK, {"email": event.email, "address": event.address})


def on_credential_changed(event: CredentialChanged) -> TaskCall:
    return TaskCall(SEND_NOTICE, {"email": event.email, "credential": event.credential})


HANDLERS: Handlers = {
    PasswordResetRequested: (on_password_reset_requested,),
    CredentialChanged: (on_credential_changed,),
}
