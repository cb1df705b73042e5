"""Reading one field of a model from JSON, with its validators, out of the model's own core schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import SchemaValidator, core_schema

if TYPE_CHECKING:
    from pydantic import BaseModel


class FieldReaders(dict[str, SchemaValidator]):
    """Field name -> a validator of a JSON array that holds one value of that field; made when first asked for."""

    def __init__(self, cls: type[BaseModel]) -> None:
        super().__init__()
        self._cls = cls

    def __missing__(self, name: str) -> SchemaValidator:
        """Make the reader of a field."""
        schema: Any = self._cls.__pydantic_core_schema__
        definitions = schema["definitions"] if schema["type"] == "definitions" else []
        model = _model_schema(schema, {item["ref"]: item for item in definitions})
        field = core_schema.list_schema(_fields(model)[name]["schema"])
        reader = SchemaValidator(
            core_schema.definitions_schema(field, definitions) if definitions else field, model.get("config")
        )
        self[name] = reader
        return reader


def _model_schema(schema: Any, definitions: dict[str, Any]) -> Any:
    while schema["type"] != "model":
        schema = definitions[schema["schema_ref"]] if schema["type"] == "definition-ref" else schema["schema"]
    return schema


def _fields(model: Any) -> dict[str, Any]:
    schema = model["schema"]
    while schema["type"] != "model-fields":
        schema = schema["schema"]
    fields: dict[str, Any] = schema["fields"]
    return fields
