"""Reading and writing one value as JSON: validators and serializers cut out of a model's or an adapter's core schema.

Pydantic's own methods work on whole models; one field written through them costs ten times as much.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import SchemaSerializer, SchemaValidator, core_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel, TypeAdapter

    Writer: TypeAlias = Callable[[Any], bytes]

#: Types whose values are what they are annotated as once validated: nobody can change what is inside.
_SCALARS = frozenset({"bool", "int", "str"})
_WRAPPERS = frozenset({"default", "nullable"})


class FieldReaders(dict[str, SchemaValidator]):
    """Field name -> a validator of its values; made when first asked for."""

    def __init__(self, cls: type[BaseModel]) -> None:
        super().__init__()
        self._cls = cls

    def __missing__(self, name: str) -> SchemaValidator:
        """Make the reader of a field."""
        self[name] = SchemaValidator(*_field(self._cls, name))
        return self[name]


class FieldWriters(dict[str, "Writer | None"]):
    """Field name -> what makes JSON text of its values; made when first asked for.

    None where the model has a say in how its fields are written.
    """

    def __init__(self, cls: type[BaseModel]) -> None:
        super().__init__()
        self._cls = cls

    def __missing__(self, name: str) -> Writer | None:
        """Make the writer of a field."""
        marks = self._cls.__pydantic_decorators__
        field = self._cls.__pydantic_fields__.get(name)
        own = field is not None and field.exclude is None and getattr(field, "exclude_if", None) is None
        simple = own and not marks.field_serializers and not marks.model_serializers
        self[name] = _writer(*_field(self._cls, name)) if simple else None
        return self[name]


def element_reader(adapter: TypeAdapter[list[Any]], config: Any) -> SchemaValidator:
    """Return the validator of one element, for the adapter of a list."""
    return SchemaValidator(*_element(adapter, config))


def element_writer(adapter: TypeAdapter[list[Any]], config: Any) -> Writer:
    """Return what makes JSON text of one element, for the adapter of a list."""
    return _writer(*_element(adapter, config))


def _element(adapter: TypeAdapter[list[Any]], config: Any) -> tuple[Any, Any]:
    schema, definitions = _opened(adapter.core_schema)
    return _closed(schema.get("items_schema") or core_schema.any_schema(), definitions), config


def fields_reader(cls: type[BaseModel]) -> SchemaValidator:
    """Return the validator of a model's fields, without the model's own validators; it works on `__dict__`."""
    model, fields, definitions = _model(cls)
    return SchemaValidator(_closed(fields, definitions), model.get("config"))


def _field(cls: type[BaseModel], name: str) -> tuple[Any, Any]:
    model, fields, definitions = _model(cls)
    return _closed(fields["fields"][name]["schema"], definitions), model.get("config")


def _model(cls: type[BaseModel]) -> tuple[Any, Any, list[Any]]:
    """Return the schemas of a model and of its fields, and the definitions that they need."""
    schema, definitions = _opened(cls.__pydantic_core_schema__)
    known = {item["ref"]: item for item in definitions}
    while schema["type"] != "model":
        schema = known[schema["schema_ref"]] if schema["type"] == "definition-ref" else schema["schema"]
    fields = schema["schema"]
    while fields["type"] != "model-fields":
        fields = fields["schema"]
    return schema, fields, definitions


def _opened(schema: Any) -> tuple[Any, list[Any]]:
    return (schema["schema"], schema["definitions"]) if schema["type"] == "definitions" else (schema, [])


def _closed(schema: Any, definitions: list[Any]) -> Any:
    return core_schema.definitions_schema(schema, definitions) if definitions else schema


def _writer(schema: Any, config: Any) -> Writer:
    to_json = SchemaSerializer(schema, config).to_json
    while schema["type"] in _WRAPPERS and "serialization" not in schema:
        schema = schema["schema"]
    if schema["type"] in _SCALARS and "serialization" not in schema:
        return partial(to_json, round_trip=True)
    # Asking for errors takes longer than writing a small value.
    return partial(to_json, round_trip=True, by_alias=False, warnings="error")
