"""Reading and writing one value as JSON: validators and serializers cut out of a model's or an adapter's core schema.

Pydantic's own methods work on whole models; one field written through them costs ten times as much.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from pydantic_core import SchemaSerializer, SchemaValidator, core_schema

from rapyer._inside import with_plain_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import BaseModel, TypeAdapter

    from rapyer._path import Step

    Writer: TypeAlias = Callable[[Any], bytes]

#: Types whose values are what they are annotated as once validated: nobody can change what is inside.
_SCALARS = frozenset({"bool", "int", "str"})
_WRAPPERS = frozenset({"default", "nullable"})
#: What is validated by Pydantic's own code alone, if its parts are.
_PLAIN = _WRAPPERS | _SCALARS | {"float", "bytes", "date", "time", "datetime", "timedelta", "none"}
_PLAIN |= {"json-or-python", "list", "dict"}
_encode = msgspec.json.Encoder().encode


class FieldReaders(dict["Step", "SchemaValidator | InformedReader | AnyReader"]):
    """Field name -> a validator of its values; made when first asked for. Extra fields have none of their own."""

    def __init__(self, cls: type[BaseModel]) -> None:
        super().__init__()
        self._cls = cls

    def __missing__(self, name: Step) -> SchemaValidator | InformedReader | AnyReader:
        """Make the reader of a field."""
        if name not in self._cls.__pydantic_fields__:
            return _any
        schema, config = _field(self._cls, name)
        opened, definitions = _opened(schema)
        told = _told(opened, name)
        reader: Any = SchemaValidator(schema if told is opened else _closed(told, definitions), config)
        self[name] = reader if told is opened else InformedReader(reader, name)
        return self[name]


class PlainReaders(dict[str, "SchemaValidator | None"]):
    """Field name -> a validator of its values that is all there is to assigning one; made when first asked for.

    None where there is more: the field or the model is frozen or has code of the user's, or the field holds models.

    Attributes:
        validator: the model's, when they were made: a model that is rebuilt has another.
    """

    def __init__(self, cls: type[BaseModel]) -> None:
        super().__init__()
        self._cls = cls
        self.validator: Any = None

    def renew(self, validator: Any) -> None:
        """Forget what was made for a model that was rebuilt."""
        self.clear()
        self.validator = validator

    def __missing__(self, name: str) -> SchemaValidator | None:
        """Make the reader of a field."""
        cls: Any = self._cls
        field = cls.__pydantic_fields__.get(name)
        # There may be any number of extra fields; a class may be incomplete yet, or watched by a plugin of Pydantic.
        if field is None or type(cls.__pydantic_validator__) is not SchemaValidator:
            return None
        self[name] = None
        if _is_bare(cls) and not field.frozen:
            schema, config = _field(cls, name)
            if _is_plain(schema):
                self[name] = SchemaValidator(_strict_containers(schema), config)
        return self[name]


class AnyReader:
    """Reads what is in an extra field, whatever it is."""

    def validate_json(self, text: bytes, **_: Any) -> Any:
        """Return the value of a JSON text."""
        return json.loads(text)


_any = AnyReader()


class InformedReader:
    """A validator of a field some of whose validators may look at the model's other fields.

    Args:
        validator: it, with its validators told by `_told`.
        name: the field.
    """

    def __init__(self, validator: SchemaValidator, name: str, data: Mapping[str, Any] | None = None) -> None:
        self._validator = validator
        self._name = name
        self._data = data or {}

    def knowing(self, model: BaseModel) -> InformedReader:
        """Return this for a field of this model."""
        others = {name: value for name, value in model.__dict__.items() if name != self._name}
        return InformedReader(self._validator, self._name, others)

    def validate_json(self, text: bytes, **options: Any) -> Any:
        """Do what the validator does."""
        token = _data.set(self._data)
        try:
            return self._validator.validate_json(text, **options)
        finally:
            _data.reset(token)

    def validate_python(self, value: Any) -> Any:
        """Do what the validator does."""
        token = _data.set(self._data)
        try:
            return self._validator.validate_python(value)
        finally:
            _data.reset(token)


_data: ContextVar[Mapping[str, Any]] = ContextVar("rapyer_data")


class _Info:
    """What a validator is told: Pydantic's account, and the fields that stand beside the validated one."""

    def __init__(self, info: Any, name: str) -> None:
        self.data = dict(_data.get({}))
        self.field_name = name
        self.context, self.config, self.mode = info.context, info.config, info.mode


def _told(schema: Any, name: str) -> Any:
    """Return a field's schema whose validators are told of the model's other fields; the same one if none asks."""
    if _is_model(schema):
        return schema  # has fields of its own to tell of
    changed: dict[str, Any] = {}
    function = schema.get("function")
    if isinstance(function, dict) and function.get("type") == "with-info":
        changed["function"] = {**function, "function": _informed(function["function"], name)}
    for part in _SINGLE:
        inner = schema.get(part)
        if isinstance(inner, dict) and (told := _told(inner, name)) is not inner:
            changed[part] = told
    return {**schema, **changed} if changed else schema


def _informed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        *others, info = arguments
        return function(*others, _Info(info, name))

    return call


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


class Restrictions:
    """What a model's fields are held to beyond their plain types: constraints and validators.

    Attributes:
        levels: field -> whether its values, their elements, the elements of those ... are restricted as such; a nested
            model's fields are its own business. Fields that are not restricted at any level are left out.
        deep: fields with a restriction anywhere inside, nested models included.
    """

    def __init__(self, schemas: dict[str, Any], definitions: list[Any], *, text: bool) -> None:
        self._known = {item["ref"]: item for item in definitions}
        self._text = text
        self.levels = {name: levels for name, schema in schemas.items() if any(levels := self._levels(schema))}
        self.deep = frozenset(name for name, schema in schemas.items() if self._anywhere(schema, set()))

    @classmethod
    def of(cls, model: type[BaseModel]) -> Restrictions:
        """Return those of a model."""
        schema, fields, definitions = _model(model)
        schemas = {name: field["schema"] for name, field in fields["fields"].items()}
        return cls(schemas, definitions, text=_restricts_text(schema))

    def _levels(self, schema: Any) -> list[bool]:
        levels: list[bool] = []
        self._look(schema, 0, levels, set())
        return levels

    def _look(self, schema: Any, level: int, levels: list[bool], seen: set[str]) -> None:
        schema = self._resolved(schema, seen)
        if schema is None or _is_model(schema):
            return
        levels += [False] * (level + 1 - len(levels))
        levels[level] = levels[level] or self._restricts(schema)
        inner = level + 1 if schema["type"] in _CONTAINERS else level
        for name, part in _parts(schema):
            self._look(part, inner if name in _ELEMENTS else level, levels, seen)

    def _anywhere(self, schema: Any, seen: set[str]) -> bool:
        schema = self._resolved(schema, seen)
        if schema is None:
            return False
        fields = schema.get("fields", {})
        named = fields.values() if isinstance(fields, dict) else fields
        inner = [field["schema"] for field in named if isinstance(field, dict)]
        return self._restricts(schema) or any(
            self._anywhere(part, seen) for part in (*inner, *(part for _, part in _parts(schema)))
        )

    def _resolved(self, schema: Any, seen: set[str]) -> Any:
        if schema["type"] != "definition-ref":
            return schema
        ref = schema["schema_ref"]
        if ref in seen:
            return None
        seen.add(ref)
        return self._known[ref]

    def _restricts(self, schema: Any) -> bool:
        kind = schema["type"]
        if kind.startswith("function-"):
            return "rapyer" not in schema.get("metadata", {})
        if kind == "model":
            return _restricts_text(schema)
        if kind == "default" and schema.get("default", "") is None:  # not validated, and written as if it were valid
            return not (schema.get("validate_default") or self._takes_none(schema["schema"]))
        if kind == "str" and self._text:
            return True
        bounds = _BOUNDS.items() if kind == "int" else ()
        return not _CONSTRAINTS.isdisjoint(
            schema.keys() - {name for name, value in bounds if schema.get(name) == value}
        )

    def _takes_none(self, schema: Any) -> bool:
        if schema["type"] in ("nullable", "any", "none"):
            return True
        try:
            SchemaValidator(_closed(schema, [*self._known.values()])).validate_python(None)
        except Exception:  # noqa: BLE001 - a validator of the user's may raise anything
            return False
        return True


_CONSTRAINTS = frozenset({"gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "now_op"})
#: What every integer is held to.
_BOUNDS = {"ge": -(2**63), "le": 2**63 - 1}
_CONTAINERS = frozenset({"list", "set", "dict"})
_ELEMENTS = frozenset({"items_schema", "values_schema"})
_SINGLE = ("schema", "items_schema", "keys_schema", "values_schema", "json_schema", "lax_schema", "strict_schema")
#: Where the parts of a plain schema stand that Python's values and JSON go by.
_PLAIN_PARTS = ("schema", "items_schema", "keys_schema", "values_schema", "json_schema", "python_schema")


def _restricts_text(schema: Any) -> bool:
    config = schema.get("config") or {}
    return config.get("str_max_length") is not None or bool(config.get("str_min_length"))


def _is_model(schema: Any) -> bool:
    """Whether this is all that a model class is, its own validators included."""
    own = "ref" in schema
    while own and schema["type"].startswith("function-") and "schema" in schema:
        schema = schema["schema"]
    return bool(schema["type"] == "model")


def _is_bare(cls: type[BaseModel]) -> bool:
    """Whether a model is its fields and no more, and nothing but these has a say in their assignment."""
    if cls.model_config.get("frozen") or cls.model_config.get("extra") == "allow":
        return False
    schema, _ = _opened(cls.__pydantic_core_schema__)
    return bool(schema["type"] == "model" and schema["schema"]["type"] == "model-fields")


def _is_plain(schema: Any) -> bool:
    """Whether validating a value runs no code but Pydantic's and ours, and looks at nothing besides the value."""
    kind = schema["type"]
    ours = kind.startswith("function-") and "rapyer" in schema.get("metadata", {})
    if not (ours or kind in _PLAIN) or "on_error" in schema or schema.get("default_factory_takes_data"):
        return False
    return all(_is_plain(schema[name]) for name in _PLAIN_PARTS if name in schema)


def _strict_containers(schema: Any) -> Any:
    """Return a plain schema that refuses containers that may give what is in them only once, as generators do."""
    parts = {name: _strict_containers(schema[name]) for name in _PLAIN_PARTS if name in schema}
    return {**schema, **parts, **({"strict": True} if schema["type"] in _CONTAINERS else {})}


def _parts(schema: Any) -> Iterator[tuple[str, Any]]:
    for name in _SINGLE:
        part = schema.get(name)
        for item in part if isinstance(part, list) else [part]:
            if item is not None:
                yield name, item
    choices = schema.get("choices", ())
    for choice in (*schema.get("steps", ()), *(choices.values() if isinstance(choices, dict) else choices)):
        item = choice[0] if isinstance(choice, tuple) else choice
        if isinstance(item, dict):
            yield "choices", item


def restricts(adapter: TypeAdapter[list[Any]]) -> bool:
    """Whether elements are held to more than their plain types, at any level, models in them included."""
    schema, definitions = _opened(adapter.core_schema)
    return bool(Restrictions({"": schema}, definitions, text=False).deep)


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


def _scalar_writer(kind: str, writer: Writer) -> Writer:
    """Return a writer that writes most scalars by itself, which takes a fifth of the time, to the same text."""
    if kind == "int":
        return lambda value: b"%d" % value if value.__class__ is int else writer(value)
    if kind == "str":
        return lambda value: _encode(value) if value.__class__ is str and value.isascii() else writer(value)
    return writer


def _writer(schema: Any, config: Any) -> Writer:
    to_json = SchemaSerializer(schema, config).to_json
    while schema["type"] in _WRAPPERS and "serialization" not in schema:
        schema = schema["schema"]
    if schema["type"] in _SCALARS and "serialization" not in schema:
        return _scalar_writer(schema["type"], partial(to_json, round_trip=True))
    # Asking for errors takes longer than writing a small value.
    return with_plain_numbers(partial(to_json, round_trip=True, by_alias=False, warnings="error"))
