"""Which models are known by their JSON text: what that is read back as equals what they hold already.

It is so where fields are of types that JSON has, with nothing but the type said about them, and where nobody has a say
in how they are read or written. Nested models are left out: they remember which of their fields were given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

#: Kinds of values -> what a schema may say of them; one that says more is not looked into.
_VALUES: Mapping[str, frozenset[str]] = {
    "str": frozenset(),
    "int": frozenset({"ge", "le"}),  # every integer is held to some
    "float": frozenset({"allow_inf_nan"}),
    "bool": frozenset(),
    "none": frozenset(),
    "uuid": frozenset(),
    "literal": frozenset({"expected"}),
    "nullable": frozenset({"schema"}),
    "default": frozenset({"schema", "default", "default_factory", "default_factory_takes_data", "copy_default"}),
    "list": frozenset({"items_schema"}),
    "dict": frozenset({"keys_schema", "values_schema"}),
}
_PARTS = ("schema", "items_schema", "keys_schema", "values_schema")
_FIELD = frozenset({"schema", "frozen", "validation_alias", "serialization_alias"})
_FIELDS = frozenset({"fields", "model_name", "computed_fields"})
_MODEL = frozenset({"schema", "cls", "config", "custom_init", "root_model"})
_CONFIG = frozenset(
    {"title", "frozen", "extra_fields_behavior", "validate_by_alias", "validate_by_name", "allow_inf_nan"}
    | {"ser_json_bytes", "ser_json_inf_nan", "val_json_bytes"}
)


def is_native(cls: type[BaseModel]) -> bool:
    """Whether models of a class without constraints and validators are known by their text."""
    model: Any = cls.__pydantic_core_schema__
    fields, config = model.get("schema", {}), model.get("config", {})
    if not (_says(model, "model", _MODEL) and _says(fields, "model-fields", _FIELDS) and config.keys() <= _CONFIG):
        return False
    if model["custom_init"] or model["root_model"] or config.get("extra_fields_behavior") == "allow":
        return False
    return all(
        _says(field, "model-field", _FIELD) and _is_value(field["schema"]) for field in fields["fields"].values()
    )


def _is_value(schema: Any) -> bool:
    kind = schema["type"]
    return (
        kind in _VALUES
        and _says(schema, kind, _VALUES[kind])
        and all(_is_value(schema[name]) for name in _PARTS if name in schema)
    )


def _says(schema: Mapping[str, Any], kind: str, things: frozenset[str]) -> bool:
    """Whether a schema is of this kind and says nothing besides these things."""
    return schema.get("type") == kind and schema.keys() - {"type", "ref", "metadata"} <= things
