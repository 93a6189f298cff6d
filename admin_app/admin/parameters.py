"""The form of an action's parameters, made from their schema."""

from collections.abc import Mapping
from datetime import date
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from wtforms import BooleanField, Field, Form, SelectField, StringField

from admin_app.admin import forms
from admin_app.errors import InvalidInput


def parameter_fields(
    schema: type[BaseModel], typed: Mapping[str, str], error: InvalidInput | None = None
) -> list[Field]:
    """In the order of the schema, with what was typed or else the defaults."""
    names = tuple(schema.model_fields)
    members = {name: _field(name, info) for name, info in schema.model_fields.items()}
    form_class: type[Form] = type("ParameterForm", (Form,), members)
    return forms.shown(form_class, names, typed={**_defaults(schema), **typed}, error=error)


def hints_of(schema: type[BaseModel]) -> dict[str, str]:
    return {name: info.description for name, info in schema.model_fields.items() if info.description}


def given(schema: type[BaseModel], sent: Mapping[str, Any]) -> dict[str, str]:
    """What was sent of the schema's fields; what was left empty is as if it was not sent."""
    return {name: str(sent[name]) for name in schema.model_fields if str(sent.get(name, "")).strip()}


def _field(name: str, info: FieldInfo) -> Any:
    label = info.title or name.replace("_", " ").capitalize()
    kind = info.annotation
    if kind is bool:
        return BooleanField(label)
    if kind is date:
        return StringField(label, render_kw={"type": "date"})
    if isinstance(kind, type) and issubclass(kind, Enum):
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        labels: Any = extra.get("labels", {})
        choices = [(item.value, labels.get(item.value, item.value)) for item in kind]
        return SelectField(label, choices=choices)
    return StringField(label)


def _defaults(schema: type[BaseModel]) -> dict[str, str]:
    found = {name: info.default for name, info in schema.model_fields.items() if not info.is_required()}
    return {
        name: value.value if isinstance(value, Enum) else str(value)
        for name, value in found.items()
        if value is not None and value is not False
    }
