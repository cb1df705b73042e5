"""What a model's own validators have to say to a change.

Rules:
- Several fields that change together are judged together: each is validated by itself, then the model once.
- What the model's validators change in other fields belongs to the change.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from rapyer import _session
from rapyer._schema import fields_reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import SchemaValidator

_MISSING: Any = object()


class FieldsAlone:
    """Validates fields of a model class without the class's own validators."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls

    @cached_property
    def _reader(self) -> SchemaValidator:
        return fields_reader(self._cls)

    def assign(self, model: Any, name: str, value: Any) -> None:
        """Set one field, validated."""
        outcome: Any = self._reader.validate_assignment(model.__dict__, name, value)
        object.__setattr__(model, "__dict__", outcome[0])


def assign_all(model: Any, values: Mapping[str, Any]) -> None:
    """Set fields of a model that is nobody's, and have its class's validators judge them as a whole."""
    # A validator that assigns a field by itself has nothing to record.
    token = _session._recording.set(None)
    try:
        if len(values) > 1:
            for name, value in values.items():
                model._fields_alone.assign(model, name, value)
        # The model's validators run with the last of them, and see all.
        for name in list(values)[-1:]:
            model.__pydantic_validator__.validate_assignment(model, name, values[name])
    finally:
        _session._recording.reset(token)


def changed_besides(names: Any, before: Mapping[str, Any], model: Any) -> list[str]:
    """Return the fields, other than these, that are not what they were: the model's validators changed them.

    Args:
        names: the fields that were given.
        before: all values as they were.
        model: what has the values now.
    """
    after = model.__dict__
    found = []
    for name in type(model).__pydantic_fields__:
        if name not in names:
            old, new = before.get(name, _MISSING), after.get(name, _MISSING)
            # A value that a validator looked at is a linked one now, and equal.
            if new is not old and (new is _MISSING or old is _MISSING or new != old):
                found.append(name)
    return found
