"""What comes back from JSON as it was, and the walk through the parts of a schema.

Rules:
- A member of a set has to be one again when it is read: a list or dict, which JSON makes of many things, cannot be.
- Each value of an enumeration or a literal that is neither plain text nor a number is tried; as a key, each.
- Keys that may be anything have to be text, and those of several types the same again when their text is read.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import (
    SchemaError,
    SchemaSerializer,
    SchemaValidator,
    core_schema,
    to_jsonable_python,
)

from rapyer import _codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Marks validators that are made here and that defaults have to pass.
RELINKS = {"rapyer": "relinks"}
#: Values of these types are the same in documents.
EXACT = frozenset({str, int, float, bool, bytes, type(None)})
#: Marks where a plain model becomes a linked one.
MODEL = {"rapyer": "model"}
#: Marks other validators that are made here.
OWN = {"rapyer": "own"}
#: Where the parts of a schema stand.
PARTS = (
    "schema",
    "items_schema",
    "keys_schema",
    "values_schema",
    "json_schema",
    "lax_schema",
    "strict_schema",
    "steps",
    "choices",
    "fields",
    "extras_schema",
)


def with_parts(schema: Any, change: Callable[[Any], Any]) -> Any:
    """Return a schema with all schemas that are directly inside changed."""
    return {**schema, **{part: _changed(schema[part], change) for part in PARTS if part in schema}}


def _changed(part: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(part, dict) and isinstance(part.get("type"), str):
        return change(part)
    if isinstance(part, dict):
        return {key: _changed(item, change) for key, item in part.items()}
    if isinstance(part, list):
        return [_changed(item, change) for item in part]
    if isinstance(part, tuple):
        return (_changed(part[0], change), *part[1:])
    return part


def inner_schemas(schema: Any) -> Iterator[Any]:
    """Yield all schemas that are directly inside one."""
    for part in PARTS:
        yield from _schemas(schema.get(part))


def _schemas(part: Any) -> Iterator[Any]:
    if isinstance(part, dict) and isinstance(part.get("type"), str):
        yield part
    elif isinstance(part, (dict, list, tuple)):
        for item in part.values() if isinstance(part, dict) else part:
            yield from _schemas(item)


def readable(schema: Any, *, member: bool = False) -> Any:
    """Refuse what could not be a member of a set, or a key of a dict, when it is read, where the type does not tell."""
    kind = schema["type"]
    if member and kind == "any":
        return core_schema.no_info_after_validator_function(_no_collection, schema, metadata=dict(RELINKS))
    has_members = kind in ("set", "frozenset")
    member = has_members or (member and kind in ("tuple", "nullable", "union", "default"))
    result = {"items_schema": core_schema.any_schema(), **schema} if has_members else dict(schema)
    if kind != "model":
        result = with_parts(result, lambda inner: readable(inner, member=member))
    if kind == "dict":
        result["keys_schema"] = _readable_keys(result.get("keys_schema", core_schema.any_schema()))
    return result


def _readable_keys(keys: Any) -> Any:
    check = _key_check(keys)
    if check is None:
        return keys
    checked = core_schema.no_info_after_validator_function(check, keys, metadata=dict(OWN))
    if check is _text:  # what is strict is never asked here, only written by: it refuses what was put in unseen
        keys = core_schema.lax_or_strict_schema(keys, core_schema.str_schema(), strict=False)
    return core_schema.json_or_python_schema(keys, checked)


def _key_check(keys: Any) -> Callable[[Any], Any] | None:
    """Return what refuses keys whose text would be read as another key; None where there are none."""
    if keys["type"] == "any":
        return _text
    if keys["type"] != "union":
        return None
    try:
        trial = _KeyTrial(keys)
    except SchemaError:
        return None  # it refers to what is in the making
    return trial.checked


def _text(key: Any) -> Any:
    if not isinstance(key, str):
        msg = f"keys of a dict in a document are text, not {type(key).__name__}: use str(key), or annotate the keys"
        raise ValueError(msg)  # noqa: TRY004 - Pydantic takes it for what does not fit
    return key


def _no_collection(value: Any) -> Any:
    if isinstance(to_jsonable_python(value, bytes_mode="base64", fallback=str), (list, dict)):
        msg = "JSON would give this back as what no set holds: annotate the members, as in set[tuple[int, str]]"
        raise ValueError(msg)  # noqa: TRY004 - Pydantic takes it for what does not fit
    return value


#: Of values of these types JSON gives back the same.
_SAME = (str, int, float, type(None))
_BYTES = core_schema.CoreConfig(ser_json_bytes="base64", val_json_bytes="base64")


def comes_back(schema: Any) -> bool:
    """Whether what JSON makes of each member of an enumeration, or of each value of a literal, can be read."""
    values = schema["members"] if schema["type"] == "enum" else schema["expected"]
    own = "value" if schema["type"] == "enum" else ""
    odd = [value for value in values if type(getattr(value, own, value)) not in _SAME]
    return not odd or all(map(_Trial(schema), odd))


def listed_inside(schema: Any, resolved: Callable[[Any], Any]) -> Iterator[Any]:
    """Yield the enumerations and literals in a schema, except where the user says how they are read or written."""
    if schema["type"] == "model" or _is_said(schema):
        return
    found = resolved(schema)
    if found is not None and found["type"] in ("enum", "literal"):
        yield found
    for inner in inner_schemas(schema):
        yield from listed_inside(inner, resolved)


def _is_said(schema: Any) -> bool:
    """Whether validators of the user's take what is read, or functions of the user's make what is written."""
    if schema["type"] in ("function-before", "function-wrap", "function-plain"):
        return not is_pydantics(schema["function"]["function"])
    writes = schema.get("serialization")
    return writes is not None and not is_pydantics(writes.get("function"))


def is_pydantics(function: Any) -> bool:
    """Whether a validator or serializer comes with Pydantic."""
    return str(getattr(function, "__module__", "")).startswith("pydantic.")


#: What is written as text that is no such key again, and None, which is text then.
_UNREADABLE_KEYS = frozenset({"tuple", "frozenset", "model", "dataclass", "call", "named-tuple", "nullable"})


def keys_come_back(keys: Any, resolved: Callable[[Any], Any]) -> bool:
    """Whether what JSON makes of the keys of a dict can be read, as far as their type tells."""
    keys = resolved(keys) or keys
    kind = keys["type"]
    writes = keys.get("serialization")
    if writes is not None and not is_pydantics(writes.get("function")):
        return True  # the user says how
    if kind in ("enum", "literal"):
        return _listed_keys_come_back(keys)
    if kind == "union":
        choices = (choice[0] if isinstance(choice, tuple) else choice for choice in keys["choices"])
        return all(keys_come_back(choice, resolved) for choice in choices)
    if kind in ("function-after", "default"):
        return keys_come_back(keys["schema"], resolved)
    return kind not in _UNREADABLE_KEYS


def has_keys_of(schema: Any, kind: str) -> bool:
    """Whether a dict in a schema has keys of a kind; models are their own business."""
    if schema["type"] == "model":
        return False
    here = schema["type"] == "dict" and schema.get("keys_schema", {}).get("type") == kind
    return here or any(has_keys_of(inner, kind) for inner in inner_schemas(schema))


def _listed_keys_come_back(keys: Any) -> bool:
    values = keys["members"] if keys["type"] == "enum" else keys["expected"]
    trial = _KeyTrial(keys)
    distinct = {(type(value), value) for value in values}  # an enumeration's other names for a member are there, too
    return all(map(trial, values)) and len({trial.text(value) for value in values}) == len(distinct)


class _Trial:
    """Writes a value and reads it again; called, it tells whether that can be done."""

    def __init__(self, schema: Any) -> None:
        self._dump = SchemaSerializer(schema, _BYTES).to_json
        self._load = SchemaValidator(schema, _BYTES).validate_json

    def __call__(self, value: Any) -> bool:
        try:
            self._load(self._dump(value))
        except Exception:  # noqa: BLE001 - an enumeration's own `_missing_` may raise anything
            return False
        return True


def whole_text(value: Any) -> Any:
    """Refuse a key that Pydantic would write as another one; JSON text has none."""
    if isinstance(value, str) and not _codec.is_whole(value):
        raise ValueError(_codec.HALF)
    return value


def whole_minutes(value: Any) -> Any:
    """Refuse a moment or time whose UTC offset JSON text would lose."""
    offset = value.utcoffset()
    if offset is not None and (offset.seconds % 60 or offset.microseconds):
        msg = "a UTC offset with seconds cannot be stored exactly: convert it, as by .astimezone(timezone.utc)"
        raise ValueError(msg)
    return value


def exact_inside(value: Any) -> Any:
    """Refuse a value with a part that JSON would change: for what was made outside of documents, as dataclasses are."""
    left, seen = [value], set()
    while left:
        part = left.pop()
        if isinstance(part, (datetime, time)):
            whole_minutes(part)
        elif id(part) not in seen:
            seen.add(id(part))
            left += [inner for inner in _inside(part) if inner.__class__ not in EXACT]
    return value


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        for key in value:
            whole_text(key)
        return dict.values(value)
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return value
    if isinstance(value, BaseModel) or hasattr(value, "__dataclass_fields__"):
        fields: dict[str, Any] = getattr(value, "__dict__", {})
        return fields.values()
    return ()


class _KeyTrial(_Trial):
    """Writes a key and reads it again; called, it tells whether it is the same."""

    def __init__(self, keys: Any) -> None:
        super().__init__(core_schema.dict_schema(keys))

    def text(self, key: Any) -> bytes:
        """Return what JSON makes of the key."""
        return self._dump({key: 0}, warnings="error")

    def __call__(self, key: Any) -> bool:
        try:
            (again,) = self._load(self.text(key))
        except Exception:  # noqa: BLE001 - an enumeration's own `_missing_` may raise anything
            return False
        return bool(again == key)

    def checked(self, key: Any) -> Any:
        """Return the key if it is the same when it is read."""
        if not self(key):
            msg = "JSON would give this key back as another: use keys of one type"
            raise ValueError(msg)
        return key
