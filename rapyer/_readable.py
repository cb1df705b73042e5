"""What comes back from JSON as it was, and the walk through the parts of a schema.

Rules:
- A member of a set has to be one again when it is read: a list or dict, which JSON makes of many things, cannot be.
- Each value of an enumeration or a literal that is neither plain text nor a number is tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, SchemaSerializer, SchemaValidator, core_schema, to_jsonable_python

if TYPE_CHECKING:
    from collections.abc import Callable

#: Marks validators that are made here and that defaults have to pass.
RELINKS = {"rapyer": "relinks"}
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


def changed_parts(part: Any, change: Callable[[Any], Any]) -> Any:
    """Return a part of a schema with all schemas in it changed."""
    if isinstance(part, dict) and isinstance(part.get("type"), str):
        return change(part)
    if isinstance(part, dict):
        return {key: changed_parts(item, change) for key, item in part.items()}
    if isinstance(part, list):
        return [changed_parts(item, change) for item in part]
    if isinstance(part, tuple):
        return (changed_parts(part[0], change), *part[1:])
    return part


def hashable(schema: Any, *, member: bool = False) -> Any:
    """Refuse, among members of sets that may be anything, what JSON gives back as a list or dict: no set has those."""
    kind = schema["type"]
    if member and kind == "any":
        return core_schema.no_info_after_validator_function(_no_collection, schema, metadata=dict(RELINKS))
    has_members = kind in ("set", "frozenset")
    member = has_members or (member and kind in ("tuple", "nullable", "union", "default"))
    result = {"items_schema": core_schema.any_schema(), **schema} if has_members else dict(schema)
    for part in PARTS:
        if part in result and kind != "model":
            result[part] = changed_parts(result[part], lambda inner: hashable(inner, member=member))
    return result


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


class _Trial:
    """Writes a value and reads it again; called, it tells whether that can be done."""

    def __init__(self, schema: Any) -> None:
        self._dump = SchemaSerializer(schema, _BYTES).to_json
        self._load = SchemaValidator(schema, _BYTES).validate_json

    def __call__(self, value: Any) -> bool:
        try:
            self._load(self._dump(value))
        except (ValidationError, PydanticSerializationError):
            return False
        return True
