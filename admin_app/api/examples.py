"""An example of every body the API takes or answers, by the name of its shape: for the OpenAPI document."""

from typing import Any

_PRODUCT_ID, _OTHER_ID = "019a8f2e-6c1d-7d3a-9b52-0f6a7c1e4b21", "019a8f2e-6c1d-7d3a-9b52-0f6a7c1e4b22"
_USER_ID, _IMAGE_ID = "019a8e11-02aa-7f10-8c3e-5d1f2a9b7c44", "019a8f30-1b7e-7a02-b1c5-9e8d7f6a5b43"
_OPERATION_ID, _REQUEST_ID = "019a8f41-77c0-7b1e-a2d4-3c5b6a798081", "5f0c7a3e-2b1d-4e6f-8a90-1c2d3e4f5a6b"
_FINGERPRINT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_AT = "2026-05-04T09:30:00Z"

_FILE = {"url": f"/admin/media/images/{_IMAGE_ID}/0a1b.webp", "format": "webp", "width": 400, "height": 300}
_PRODUCT = {
    "id": _PRODUCT_ID,
    "name": "Walnut clock",
    "description": "Ticks quietly.",
    "price": "49.90",
    "is_active": True,
    "owner_id": _USER_ID,
    "images": [{"id": _IMAGE_ID, "alt": "The clock on a wall", "state": "ready", "urls": [_FILE]}],
    "version": 3,
    "created_at": _AT,
    "updated_at": _AT,
}
_USER = {
    "id": _USER_ID,
    "email": "nora@example.com",
    "name": "Nora Lind",
    "role": "administrator",
    "is_active": True,
    "must_change_password": False,
    "version": 2,
    "created_at": _AT,
    "updated_at": _AT,
    "last_sign_in_at": None,
}
_ENTRY = {
    "id": "019a8f35-9d02-7c44-8f7a-6b5c4d3e2f10",
    "at": _AT,
    "action": "updated",
    "kind": "product",
    "row_id": _PRODUCT_ID,
    "row_label": "Walnut clock",
    "version": 3,
    "note": None,
    "changes": {"price": ["45.00", "49.90"]},
    "actor_id": _USER_ID,
    "actor_label": "nora@example.com",
    "source": "api",
    "address": None,
    "request_id": _REQUEST_ID,
    "operation_id": None,
}
_SUMMARY = {
    "id": _OPERATION_ID,
    "number": 17,
    "kind": "product",
    "label": "Change price",
    "selection": "All with search “clock”",
    "undoes": None,
    "actor_id": _USER_ID,
    "actor_label": "nora@example.com",
    "state": "finished",
    "is_cancelling": False,
    "total": 120,
    "done": 118,
    "skipped": 2,
    "failed": 0,
    "created_at": _AT,
    "finished_at": _AT,
}
_NOT_YOURS = {"outcome": "skipped", "reason": "not yours", "number": 2}
_SAMPLE = {"id": _PRODUCT_ID, "title": "Walnut clock", "values": {"Price": ["49.90", "52.40"]}}
_PREVIEW = {
    "fingerprint": _FINGERPRINT,
    "total": 120,
    "changing": 118,
    "skipped": [_NOT_YOURS],
    "samples": [_SAMPLE],
    "related": [],
}


def _page(item: Any) -> dict[str, Any]:
    return {"items": [item], "limit": 100, "next": None, "previous": None}


def _new(kind: str, action: str, parameters: dict[str, str] | None = None) -> dict[str, Any]:
    """Of everything that a search finds, or of one row."""
    selected = {"where": {"search": "clock"}} if parameters else {"ids": [_PRODUCT_ID]}
    given = {"parameters": parameters} if parameters else {}
    return {"kind": kind, "action": action, **selected, **given}


EXAMPLES: dict[str, Any] = {
    "Problem": {
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "Some values cannot be accepted. Correct them and try again.",
        "errors": [{"detail": "Enter a number greater than 0.", "pointer": "#/price"}],
    },
    "NewProduct": {"name": "Walnut clock", "description": "Ticks quietly.", "price": "49.90"},
    "ProductChanges": {"price": "52.40", "images": [{"id": _IMAGE_ID, "alt": "The clock on a wall"}]},
    "ProductRead": _PRODUCT,
    "ProductPage": {**_page(_PRODUCT), "offset": 0},
    "ProductHits": {"items": [_PRODUCT], "limit": 20},
    "ImageAddress": {"url": "https://example.com/clock.jpg"},
    "ImageRead": {
        "id": _IMAGE_ID,
        "product_id": None,
        "state": "waiting",
        "reason": None,
        "urls": [],
    },
    "NewUser": {"email": "nora@example.com", "name": "Nora Lind", "role": "administrator"},
    "UserChanges": {"name": "Nora Lind-Berg"},
    "UserRead": _USER,
    "UserPage": _page(_USER),
    "EntryPage": _page(_ENTRY),
    "HistoryPage": {"items": [_ENTRY], "limit": 25, "next": None},
    "ActionList": {
        "items": [
            {
                "kind": "product",
                "action": "activate",
                "label": "Activate",
                "parameters": {"type": "object", "properties": {}},
                "is_dangerous": False,
                "can_be_undone": True,
            }
        ]
    },
    "OperationRead": {
        **_SUMMARY,
        "action": "change_price",
        "parameters": {"unit": "percent", "change": "5", "rounding": "0.10"},
        "undone_by": None,
        "state": "draft",
        "total": 0,
        "done": 0,
        "skipped": 0,
        "left": 0,
        "reasons": [],
        "error": None,
        "confirmed_at": None,
        "started_at": None,
        "finished_at": None,
        "preview": _PREVIEW,
    },
    "OperationPage": _page({**_SUMMARY, "is_undone": False}),
    "ItemPage": {
        "items": [
            {"row_id": _OTHER_ID, "title": "Oak clock", "outcome": "skipped", "reason": "not yours"},
        ],
        "next": None,
    },
    "Confirmation": {"fingerprint": _FINGERPRINT, "changing": 118},
    "NewProductActivate": _new("product", "activate"),
    "NewProductDeactivate": _new("product", "deactivate"),
    "NewProductChangePrice": _new("product", "change_price", {"change": "5", "rounding": "0.10"}),
    "NewProductSetPrice": _new("product", "set_price", {"price": "49.90"}),
    "NewProductTransfer": _new("product", "transfer", {"owner": "nora@example.com"}),
    "NewProductDelete": _new("product", "delete"),
    "NewProductRebuildIndex": _new("product", "rebuild_index"),
    "NewUserActivate": _new("user", "activate"),
    "NewUserDeactivate": _new("user", "deactivate"),
    "NewUserRequireNewPassword": _new("user", "require_new_password"),
}
