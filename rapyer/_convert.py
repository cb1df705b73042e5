"""From annotations to plans: how values of a field are wrapped when they are touched. Annotations stay as written."""

from __future__ import annotations

import types
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, FutureDatetime, NaiveDatetime, PastDatetime

from rapyer._linked import linked_class
from rapyer._storable import Storable
from rapyer.types import RedisBytes, RedisDatetime, RedisDict, RedisFloat, RedisInt, RedisList, RedisSet, RedisStr
from rapyer.types._base import Plan

_SCALARS: dict[Any, type[Any]] = {
    str: RedisStr,
    int: RedisInt,
    float: RedisFloat,
    bytes: RedisBytes,
    datetime: RedisDatetime,
}
_SCALARS |= {kind: kind for kind in list(_SCALARS.values())}
# To a type checker these are `datetime`, too.
_SCALARS |= dict.fromkeys((AwareDatetime, NaiveDatetime, PastDatetime, FutureDatetime), RedisDatetime)
_SETS = (set, frozenset, RedisSet)
_UNIONS = (Union, types.UnionType)


# -- plans -----------------------------------------------------------------------------------------------------------


def plan_of(annotation: Any, base: type[Any]) -> Plan:
    """Return the plan of an annotation.

    Args:
        annotation: resolved, as Pydantic has it.
        base: `AtomicRedisModel`.
    """
    storable = Annotated[annotation, Storable(base)]
    core = _core_of(annotation)
    if core in _SCALARS:
        return Plan(storable, _SCALARS[core])
    origin, args = get_origin(core) or core, get_args(core)
    if origin in _SETS:
        return Plan(storable, RedisSet, Plan(Annotated[args[0] if args else Any, Storable(base, inside_set=True)]))
    if origin in (list, RedisList):
        return Plan(storable, RedisList, plan_of(args[0] if args else Any, base))
    if _is_text_dict(origin, args):
        return Plan(storable, RedisDict, plan_of(args[-1] if args else Any, base))
    kind = _model_kind(annotation, core, base)
    return Plan(storable, kind, model=kind is not None, changeable=_may_change(annotation))


#: Values of these do not change in place.
_FIXED = (str, bytes, int, float, complex, Enum, date, time, timedelta, Decimal, UUID, PurePath, type(None))


def _may_change(annotation: Any) -> bool:
    """Whether a value of this annotation, or what it contains, may change in place; True where that is not known."""
    core = _core_of(annotation)
    origin = get_origin(core) or core
    if origin is Literal:
        return False
    parts = _members(annotation) if core is None else get_args(core)
    if parts and (core is None or origin in (tuple, frozenset)):
        return any(part is not ... and _may_change(part) for part in parts)
    return not (isinstance(origin, type) and issubclass(origin, _FIXED))


def _model_kind(annotation: Any, core: Any, base: type[Any]) -> type[Any] | None:
    """Return the class that models of this annotation become; for a union of models whatever is one."""
    if _is_model(core):
        return core if issubclass(core, base) else linked_class(core, base)
    return base if core is None and any(map(_may_be_model, _members(annotation))) else None


def _may_be_model(annotation: Any) -> bool:
    core = _core_of(annotation)
    return _is_model(core) or (core is None and any(map(_may_be_model, _members(annotation))))


def _members(annotation: Any) -> tuple[Any, ...]:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return get_args(annotation)


def _is_model(core: Any) -> bool:
    return isinstance(core, type) and issubclass(core, BaseModel) and not core.__pydantic_root_model__


def _core_of(annotation: Any) -> Any:
    """Return what is inside `Annotated` and `Optional`."""
    if get_origin(annotation) is Annotated:
        return _core_of(get_args(annotation)[0])
    if isinstance(annotation, TypeVar):
        return annotation.__bound__ or Any
    if _is_name(annotation):
        return _core_of(_named(annotation))
    if get_origin(annotation) in _UNIONS:
        others = [arg for arg in get_args(annotation) if arg is not type(None)]
        return _core_of(others[0]) if len(others) == 1 else None
    return annotation


def _is_name(annotation: Any) -> bool:
    """Whether this is another name of a type: an alias, with arguments or without, or a `NewType`."""
    alias = get_origin(annotation) or annotation
    return type(alias).__name__ == "TypeAliasType" or hasattr(annotation, "__supertype__")


def _named(annotation: Any) -> Any:
    """Return the type that this is a name of."""
    if hasattr(annotation, "__supertype__"):
        return annotation.__supertype__
    alias = get_origin(annotation)
    if alias is None:
        return annotation.__value__
    arguments = dict(zip(alias.__type_params__, get_args(annotation), strict=False))
    value = alias.__value__
    parameters = getattr(value, "__parameters__", ())
    if parameters:
        return value[tuple(arguments.get(parameter, parameter) for parameter in parameters)]
    return arguments.get(value, value) if isinstance(value, TypeVar) else value


def _is_text_dict(origin: Any, args: tuple[Any, ...]) -> bool:
    return origin is RedisDict or (origin is dict and (not args or _core_of(args[0]) is str))
