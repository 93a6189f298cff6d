"""An example of every body the API takes or answers, by the name of its shape: for the OpenAPI document."""

from typing import Any

_PRODUCT_ID, _OTHER_ID = "019a8f2e-6c1d-7d3a-9b52-0f6a7c1e4b21", "019a8f2e-6c1d-7d3a-9b52-0f6a7c1e4b22"
_USER_ID, _IMAGE_ID = "019a8e11-02aa-7f10-8c3e-5d1f2a9b7c44", "019a8f30-1b7e-7a02-b1c5-9e8d7f6a5b43"
_OPERATION_ID, _REQUEST_ID = "019a8f41-77c0-7b1e-a2d4-3c5b6a798081", "5f0c7a3e-2b1d-4e6f-8a90-1c2d3e4f5a6b"
_IMPORT_ID = "019a8f52-10aa-7c3e-b6f1-8d7e6c5b4a39"
_FINGERPRINT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_AT = "2026-05-04T09:30:00Z"

_FILE = {"url": f"/admin/media/images/{_IMAGE_ID}/0a1b.webp", "format": "webp", "width": 400, "height": 300}
_PRODUCT = {
    "id": _PRODUCT_ID,
    "external_id": "CLK-7",
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
_IMPORT = {
    "id": _IMPORT_ID,
    "number": 3,
    "kind": "product",
    "name": "products.csv",
    "size_bytes": 81_920,
    "state": "checked",
    "rows": 1_200,
    "refused": 2,
    "operation_id": None,
    "created_at": _AT,
}
_EXPORT_ID = "019a8f44-0b21-7c5e-9d3a-7e8f90a1b2c3"
_EXPORT = {
    "id": _EXPORT_ID,
    "kind": "product",
    "format": "csv",
    "selection": "All with search “clock”",
    "columns": ["name", "price", "is_active"],
    "state": "finished",
    "is_cancelling": False,
    "expected": 120,
    "rows": 120,
    "size_bytes": 4_913,
    "error": None,
    "created_at": _AT,
    "started_at": _AT,
    "finished_at": _AT,
    "open_until": _AT,
    "file": f"/api/v1/exports/{_EXPORT_ID}/file",
}
_NO_PRICE = "price: Enter a number such as 12.50."
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
    "NewExport": {"kind": "product", "format": "csv", "where": {"search": "clock"}, "sort": "-price"},
    "ExportRead": _EXPORT,
    "ExportList": {"items": [_EXPORT]},
    "OperationPage": _page({**_SUMMARY, "is_undone": False}),
    "ItemPage": {
        "items": [
            {"row_id": _OTHER_ID, "title": "Oak clock", "outcome": "skipped", "reason": "not yours"},
        ],
        "next": None,
    },
    "KindList": {
        "items": [
            {
                "kind": "product",
                "fields": [{"name": "name", "label": "Name", "hint": "", "is_required": True}],
                "keys": ["id", "external_id"],
            }
        ]
    },
    "ImportRead": {
        **_IMPORT,
        "format": "csv",
        "encoding": "utf-8",
        "delimiter": ",",
        "columns": [
            {"name": "SKU", "sample": ["CLOCK-1", "CLOCK-2"], "field": "external_id"},
            {"name": "Title", "sample": ["Walnut clock", "Oak clock"], "field": "name"},
            {"name": "Price", "sample": ["49.90", "39.90"], "field": "price"},
        ],
        "key": "external_id",
        "actor_id": _USER_ID,
        "actor_label": "nora@example.com",
        "checked_bytes": 81_920,
        "to_create": 1_180,
        "to_update": 12,
        "unchanged": 6,
        "reasons": [{"reason": _NO_PRICE, "number": 2}],
        "error": None,
        "checked_at": _AT,
    },
    "ImportList": {"items": [_IMPORT]},
    "RowPage": {
        "items": [
            {
                "line": 17,
                "verdict": "update",
                "row_id": _PRODUCT_ID,
                "label": "Walnut clock",
                "changes": {"price": ["45.00", "49.90"]},
                "reason": "",
            },
            {
                "line": 42,
                "verdict": "refused",
                "row_id": None,
                "label": "Oak clock",
                "changes": {},
                "reason": _NO_PRICE,
            },
        ],
        "next": None,
    },
    "ColumnMatching": {
        "matching": {"SKU": "external_id", "Title": "name", "Price": "price"},
        "key": "external_id",
    },
    "FileLayout": {"encoding": "cp1252", "delimiter": ";"},
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
