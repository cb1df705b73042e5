"""From Pydantic's schema of a model to one whose values RedisJSON can hold.

Rules:
- Integers are bounded to 64 bits, doubles have to be finite, frozen sets become sets, which their operations change.
- Plain Pydantic models become instances of a linked class (`_linked`).
- Members of sets are made such that equal ones have the same text: membership is decided by the text.
- A UTC offset with seconds, which Pydantic's JSON would lose, is refused.
- A type that JSON cannot hold is an error here, at class definition.
"""

from __future__ import annotations

from datetime import datetime, time, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import GetCoreSchemaHandler, PydanticSchemaGenerationError
from pydantic_core import core_schema

from rapyer import _codec
from rapyer._linked import Relink, linked_class, linked_default, register, set_apart, template_of
from rapyer._readable import (
    MODEL,
    OWN,
    RELINKS,
    comes_back,
    exact_inside,
    has_keys_of,
    inner_schemas,
    keys_come_back,
    listed_inside,
    readable,
    whole_minutes,
    whole_text,
    with_parts,
)
from rapyer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


class Storable:
    """Marks an annotation whose schema is to be one that RedisJSON can hold."""

    def __init__(self, base: type[Any], *, inside_set: bool = False) -> None:
        self.base = base
        self.inside_set = inside_set

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Rework the schema Pydantic makes."""
        schema = handler(source)
        _check_listed(schema, handler, str(source))
        change = _inside_set if self.inside_set else rework
        return readable(change(schema, handler, self.base, str(source)), member=self.inside_set)


def rework_model(cls: type[Any], schema: Any, handler: GetCoreSchemaHandler, base: type[Any]) -> Any:
    """Return the schema of a model with the schemas of its fields reworked, in place."""
    if "_rapyer_plain" in vars(cls):
        register(cls)
    found = _resolved(schema, handler)
    if found is None:
        return schema
    _mark_validators(found)
    made = _makes_values(found)
    fields = _model_fields(found)
    for name, field in (fields or {}).items():
        place = f"{cls.__name__}.{name}"
        _check_listed(field["schema"], handler, place)
        reworked = rework(field["schema"], handler, base, place)
        if made:
            reworked = _as_python(reworked)
        # As numbers, which Pydantic does not read where they are keys.
        if cls.model_config.get("ser_json_timedelta") == "float" and has_keys_of(reworked, "timedelta"):
            raise unstorable(place)
        field["schema"] = reworked if field.get("serialization_exclude") else readable(reworked)
    return schema


def _resolved(schema: Any, handler: GetCoreSchemaHandler) -> Any:
    """Return what a reference stands for; None for a model that is in the making, whose schema is reworked there."""
    if schema["type"] != "definition-ref":
        return schema
    try:
        return handler.resolve_ref_schema(schema)
    except LookupError:
        return None


def _mark_validators(schema: Any) -> None:
    """Let the model's own validators, which run after its fields', assign its fields without being asked again."""
    while schema["type"] != "model" and "schema" in schema:
        if schema["type"] == "function-after" and not isinstance(schema["function"]["function"], _OwnValidator):
            schema["function"] = {**schema["function"], "function": _OwnValidator(schema["function"]["function"])}
        schema = schema["schema"]


def _makes_values(schema: Any) -> bool:
    """Whether the model's own validators run before its fields', so that they may make of JSON what they like."""
    while schema["type"] != "model-fields" and "schema" in schema:
        if schema["type"] in ("function-before", "function-wrap"):
            return True
        schema = schema["schema"]
    return False


#: Models whose own validators run, by identity.
under_validation: set[int] = set()


class _OwnValidator:
    """A validator that works on the model itself."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, model: Any, *info: Any) -> Any:
        identity = id(model)
        if identity in under_validation:
            return self._function(model, *info)
        under_validation.add(identity)
        try:
            return self._function(model, *info)
        finally:
            under_validation.discard(identity)


def _model_fields(schema: Any) -> dict[str, Any] | None:
    while schema["type"] != "model-fields":
        if "schema" not in schema:
            return None
        schema = schema["schema"]
    fields: dict[str, Any] = schema["fields"]
    return fields


def rework(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    """Return a schema with every part reworked that this module knows about."""
    metadata = schema.get("metadata", {})
    if metadata == MODEL or (metadata == RELINKS and schema["type"] == "function-before"):
        return schema  # it was
    if "pydantic_internal_union_discriminator" in metadata:
        return _as_python(_rework_parts(schema, handler, base, name))
    change = _CHANGES.get(schema["type"])
    if change is not None:
        return change(schema, handler, base, name)
    return _rework_parts(schema, handler, base, name)


def _rework_parts(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    return with_parts(schema, lambda inner: rework(inner, handler, base, name))


def _bounded(schema: Any, *_: Any) -> Any:
    low = max(schema.get("ge", _codec.LEAST_INT64), _codec.LEAST_INT64)
    high = min(schema.get("le", _codec.MOST_INT64), _codec.MOST_INT64)
    return {**schema, "ge": low, "le": high}


def _mutable(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    """Make a set of a frozen one, because its operations change it; inside other sets it has to stay as it is."""
    items = schema.get("items_schema")
    inside = {"items_schema": _inside_set(items, handler, base, name)} if items else {}
    # What is strict takes sets only, and a frozen one is none.
    return {**schema, **inside, "type": "set", "strict": False, "metadata": dict(RELINKS)}


def _set(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    items = schema.get("items_schema")
    return {**schema, **({"items_schema": _inside_set(items, handler, base, name)} if items else {})}


def _tuple(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    # A tuple is a plain value, and may have to be hashable.
    return {**schema, "items_schema": [_inside_set(item, handler, base, name) for item in schema["items_schema"]]}


def _dict(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    # As text in front of a colon, such a key is not read back.
    given = schema.get("keys_schema", core_schema.any_schema())
    if not keys_come_back(given, lambda part: _resolved(part, handler)):
        raise unstorable(name)
    keys = given["type"]
    result = _rework_parts(schema, handler, base, name)
    if keys == "str" or keys.startswith("function-"):  # others are no text, or refused by what writes them
        inner = result["keys_schema"]
        checked = core_schema.no_info_after_validator_function(whole_text, inner, metadata=dict(OWN))
        result["keys_schema"] = core_schema.json_or_python_schema(json_schema=inner, python_schema=checked)
    return result


def _inside_set(items: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    return items if items["type"] == "frozenset" else _uniform(rework(items, handler, base, name))


def _uniform(schema: Any) -> Any:
    """Have equal values be written alike, wherever in a member of a set they are."""
    kind = schema["type"]
    change = _UNIFORM.get(schema["json_schema"]["type"] if kind == "json-or-python" else kind)
    if change is not None:
        return core_schema.no_info_after_validator_function(change, schema, metadata=dict(RELINKS))
    return schema if kind == "model" else with_parts(schema, _uniform)


def _in_utc(value: datetime) -> datetime:
    offset = value.utcoffset()
    return value if offset is None else value.astimezone(timezone.utc)


def _shortest(value: Decimal) -> Decimal:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return value  # infinite or no number, where the user allows it
    kept = "".join(map(str, digits)).rstrip("0")
    return Decimal((sign, tuple(map(int, kept)), exponent + len(digits) - len(kept))) if kept else Decimal(0)


_UNIFORM: dict[str, Callable[[Any], Any]] = {"datetime": _in_utc, "decimal": _shortest}


def _moment(schema: Any, *_: Any) -> Any:
    """Refuse what JSON text cannot say; what comes as JSON text can be said."""
    checked = core_schema.no_info_after_validator_function(whole_minutes, schema, metadata=dict(OWN))
    return core_schema.json_or_python_schema(json_schema=schema, python_schema=checked)


def _finite(schema: Any, *_: Any) -> Any:
    return {**schema, "allow_inf_nan": False}


#: Plain values with parts of their own, which are as Pydantic has them.
_STRUCTURES = frozenset({"dataclass", "typed-dict", "call", "named-tuple"})


def _reference(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], _: str) -> Any:
    found = _resolved(schema, handler)
    if found is not None and found["type"] in _STRUCTURES:
        return _looked_into(schema)
    return schema if found is None else _model(schema, handler, base, found)


def _looked_into(schema: Any) -> Any:
    checked = core_schema.no_info_after_validator_function(exact_inside, schema, metadata=dict(OWN))
    return core_schema.json_or_python_schema(schema, checked)


def _model(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], found: Any) -> Any:
    cls = _model_class(found if isinstance(found, dict) else schema)
    if cls is None:
        return schema
    if cls.__pydantic_root_model__:
        return _looked_into(schema)
    if issubclass(cls, base):
        plain = vars(cls).get("_rapyer_plain")
        if plain is None:
            return schema
        # By its name in quotes a plain model may mean its linked class, which has the same.
        return _relinking(plain, cls, schema)
    linked = linked_class(cls, base)
    return _relinking(cls, linked, handler.generate_schema(linked))


def _relinking(plain: type[Any], linked: type[Any], schema: Any) -> Any:
    """Have instances of a plain model become linked ones; JSON has none, and reaches the model as JSON."""
    relinked = core_schema.no_info_before_validator_function(Relink(plain, linked), schema, metadata=dict(RELINKS))
    return core_schema.json_or_python_schema(schema, relinked, metadata=dict(MODEL))


def _union(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    schema = _rework_parts(schema, handler, base, name)
    set_apart(schema)
    return schema


def _as_python(schema: Any) -> Any:
    """Return a schema that takes instances of plain models where JSON is read, too.

    Validators of the user's make them, which give Python's values in any case; and Pydantic knows no others as choices
    of a union whose discriminator it has yet to apply.
    """
    if schema.get("metadata") == MODEL:
        return schema["python_schema"]
    return with_parts(schema, _as_python)


def _model_class(schema: Any) -> type[Any] | None:
    while schema["type"] != "model":
        if "schema" not in schema or not schema["type"].startswith("function"):
            return None
        schema = schema["schema"]
    cls: type[Any] = schema["cls"]
    return cls


def _defaulted(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    """Have a default be as it is in documents: with plain models linked; where there are none, sets are validated."""
    schema = {**schema, "schema": rework(schema["schema"], handler, base, name)}
    has_models = _is_marked(schema["schema"], MODEL)
    if not has_models and _is_marked(schema["schema"], RELINKS):
        schema["validate_default"] = True
    try:
        if isinstance(default := schema.get("default"), (datetime, time)):
            whole_minutes(default)
        if has_models:
            linked_default(schema)
    except ValueError as error:
        msg = f"the default of {name}: {error}"
        raise UsageError(msg) from None
    return {**schema, **({"default": template_of(schema["default"], base)} if "default" in schema else {})}


def _is_marked(schema: Any, mark: Any) -> bool:
    return schema.get("metadata") == mark or any(_is_marked(inner, mark) for inner in inner_schemas(schema))


def _unstorable(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:  # noqa: ARG001
    raise unstorable(name)


def _check_listed(schema: Any, handler: GetCoreSchemaHandler, name: str) -> None:
    if not all(map(comes_back, listed_inside(schema, lambda part: _resolved(part, handler)))):
        raise unstorable(name)


def _two_ways(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    """Refuse Pydantic's secrets, whose JSON is asterisks, unless the user says how to store them."""
    function = schema.get("serialization", {}).get("function")
    if schema["type"] == "lax-or-strict" and function is not None:
        return schema
    if getattr(function, "__module__", "") == "pydantic.types" and "secret" in function.__name__:
        raise unstorable(name)
    return _rework_parts(schema, handler, base, name)


def _around(schema: Any, handler: GetCoreSchemaHandler, base: type[Any], name: str) -> Any:
    function = schema["function"]["function"]
    if (getattr(function, "__module__", ""), getattr(function, "__name__", "")) == _IMPORT:
        msg = f"{name} is an ImportString, which runs the code that its text names: what Redis holds must not"
        raise UsageError(msg)
    inner = schema.get("schema")
    if inner is None or (_resolved(inner, handler) or inner)["type"] in _OPAQUE:
        # What comes in is the validator's own business: it may make any object out of JSON.
        return schema
    return {**schema, "schema": _as_python(rework(inner, handler, base, name))}


_IMPORT = ("pydantic._internal._validators", "import_string")
_OPAQUE = ("is-instance", "is-subclass", "callable")


def unstorable(name: str) -> UsageError:
    """Return the error for a field whose type has no JSON form."""
    return UsageError(
        f"{name} is of a type that Pydantic cannot turn into JSON and back: say how with "
        "Annotated[..., PlainValidator(...), PlainSerializer(...)], in this order, "
        "or mark it as no field (PrivateAttr, ClassVar)"
    )


_CHANGES: dict[str, Callable[..., Any]] = {
    "int": _bounded,
    "float": _finite,
    "datetime": _moment,
    "time": _moment,
    "set": _set,
    "dict": _dict,
    "tuple": _tuple,
    "union": _union,
    "frozenset": _mutable,
    "definition-ref": _reference,
    "model": _model,
    "is-instance": _unstorable,
    "is-subclass": _unstorable,
    "callable": _unstorable,
    "generator": _unstorable,
    "default": _defaulted,
    "json-or-python": _two_ways,
    "lax-or-strict": _two_ways,
    "function-wrap": _around,
    "function-before": _around,
    "function-plain": _around,
}


def guilty_field(cls: Any, handler: GetCoreSchemaHandler) -> str:
    """Return the name of the first field that Pydantic makes no schema of."""
    fields = cls.__pydantic_fields__.items()
    guilty = (name for name, field in fields if not _has_schema(field.annotation, handler))
    return f"{cls.__name__}.{next(guilty, '?')}"


def _has_schema(annotation: Any, handler: GetCoreSchemaHandler) -> bool:
    try:
        handler.generate_schema(annotation)
    except PydanticSchemaGenerationError:
        return False
    return True
