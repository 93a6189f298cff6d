"""What people call the tasks that deliveries run."""

import re

from admin_app.domains.products import handlers as products
from admin_app.domains.users import handlers as users
from admin_app.exports import handlers as exports
from admin_app.imports import handlers as imports

TASKS = {
    products.UPDATE_PRODUCT_INDEX: "Update the search index",
    products.UPDATE_OWNER_INDEX: "Update the search index of an owner",
    products.PROCESS_PRODUCT_IMAGES: "Convert pictures",
    users.SEND_PASSWORD_LINK: "Send a link to choose a password",
    users.SEND_NOTICE: "Send a notice of a changed account",
    exports.WRITE_EXPORT: "Write an export",
    imports.CHECK_IMPORT: "Check an import",
}

LOST = {
    products.UPDATE_PRODUCT_INDEX: "Quick search goes on showing these products as they were, until they "
    "change again or the index is rebuilt.",
    products.UPDATE_OWNER_INDEX: "Quick search goes on finding these products by their owner's old e-mail, "
    "until they change or the index is rebuilt.",
    products.PROCESS_PRODUCT_IMAGES: "These pictures are never converted, and never shown.",
    users.SEND_PASSWORD_LINK: "The link is never sent. Whoever wants it must ask again.",
    users.SEND_NOTICE: "Nobody is told that something that opens their account was changed.",
    exports.WRITE_EXPORT: "The file is never written. Whoever wants it must ask again.",
    imports.CHECK_IMPORT: "The file is never checked. It must be uploaded again.",
}
"""What never happens if such a delivery is deleted before it is done."""


def task_name(task: str) -> str:
    """Also of a task that there is no more."""
    return TASKS.get(task, task)


def event_name(event: str) -> str:
    """ "ProductUpdated" -> "Product updated"."""
    return re.sub(r"(?<=[a-z])[A-Z]", lambda found: f" {found[0].lower()}", event)
