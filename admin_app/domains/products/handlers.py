"""Who reacts to what: the events products care about, and the task each one asks for."""

from collections.abc import Sequence
from uuid import UUID

from admin_app.domains.products.events import (
    ProductCreated,
    ProductDeleted,
    ProductImageAdded,
    ProductIndexRequested,
    ProductRestored,
    ProductUpdated,
)
from admin_app.domains.users.events import UserUpdated
from admin_app.events import Handlers, TaskCall

UPDATE_PRODUCT_INDEX = "update_product_index"
UPDATE_OWNER_INDEX = "update_owner_index"
PROCESS_PRODUCT_IMAGES = "process_product_images"


def on_product_created(event: ProductCreated) -> TaskCall:
    return _update_index(event.product_ids)


def on_product_updated(event: ProductUpdated) -> TaskCall:
    # Any field: the index also keeps the version, by which late deliveries are told from new ones.
    return _update_index(event.product_ids)


def on_product_deleted(event: ProductDeleted) -> TaskCall:
    return _update_index(event.product_ids)


def on_product_restored(event: ProductRestored) -> TaskCall:
    return _update_index(event.product_ids)


def on_product_index_requested(event: ProductIndexRequested) -> TaskCall:
    # Whoever asks doubts what the index believes to have.
    call = _update_index(event.product_ids)
    return TaskCall(call.task, {**call.arguments, "anew": True})


def on_product_image_added(event: ProductImageAdded) -> TaskCall:
    return TaskCall(PROCESS_PRODUCT_IMAGES, {"image_ids": [str(image_id) for image_id in event.image_ids]})


def on_user_updated(event: UserUpdated) -> TaskCall | None:
    """Products are found by their owner's e-mail, so a new one changes their index entries."""
    if "email" not in event.fields:
        return None
    return TaskCall(UPDATE_OWNER_INDEX, {"user_ids": [str(user_id) for user_id in event.user_ids]})


HANDLERS: Handlers = {
    ProductCreated: (on_product_created,),
    ProductUpdated: (on_product_updated,),
    ProductDeleted: (on_product_deleted,),
    ProductRestored: (on_product_restored,),
    ProductIndexRequested: (on_product_index_requested,),
    ProductImageAdded: (on_product_image_added,),
    UserUpdated: (on_user_updated,),
}


def _update_index(product_ids: Sequence[UUID]) -> TaskCall:
    return TaskCall(UPDATE_PRODUCT_INDEX, {"product_ids": [str(product_id) for product_id in product_ids]})
