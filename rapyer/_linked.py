"""Plain Pydantic models in documents: each has a linked class, a subclass of its own, whose instances stand for its.

Rules:
- A linked instance is equal to a plain one of the same content, and is pickled by the plain one's name.
- A plain instance that is put into a document is copied; what JSON would change in it is refused.
- The fields of a plain model may be called anything.
"""

from __future__ import annotations

import warnings
from collections import deque
from contextlib import contextmanager, suppress
from copy import copy, deepcopy
from functools import reduce
from operator import or_
from types import GenericAlias, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from rapyer._inside import all_in, items_of, plain_numbers, put
from rapyer._readable import EXACT, MODEL, RELINKS, exact_inside, inner_schemas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_linked_classes: dict[type[Any], type[Any]] = {}


def register(cls: Any) -> None:
    """Take notice of a linked class while it is made: it may have parts of its own kind."""
    _linked_classes[cls._rapyer_plain] = cls


def linked_class(plain: Any, base: Any) -> type[Any]:
    """Return the class that instances of a plain Pydantic model have inside documents: itself, and linked."""
    if plain not in _linked_classes:
        namespace = {"__module__": plain.__module__, "__qualname__": plain.__qualname__, "_rapyer_plain": plain}
        if plain.__eq__ is BaseModel.__eq__:
            namespace |= {"__eq__": _equal, "__hash__": plain.__hash__}
        try:
            with warnings.catch_warnings():
                # Of fields that are called like what every linked model has: they hide it, as is meant.
                warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
                _linked_classes[plain] = type(plain)(plain.__name__, (plain, base), namespace | _anew(plain, base))
        except BaseException:
            _linked_classes.pop(plain, None)
            raise
    return _linked_classes[plain]


def _anew(plain: Any, base: Any) -> dict[str, Any]:
    """Return the fields, as in a class body, that Pydantic would get wrong in a subclass.

    Those whose names `base` has, which it would take for their defaults; and those of a generic model's own kind.
    """
    annotations = {name: _with_itself(field.annotation, plain) for name, field in plain.__pydantic_fields__.items()}
    fields = {
        name: copy(field)
        for name, field in plain.__pydantic_fields__.items()
        if hasattr(base, name) or annotations[name] is not field.annotation
    }
    return {**fields, "__annotations__": {name: annotations[name] for name in fields}}


def _with_itself(annotation: Any, plain: Any) -> Any:
    """Return an annotation with the model where Pydantic's generics leave a mark for it, known to this model only."""
    origin = plain.__pydantic_generic_metadata__["origin"]
    if type(annotation).__name__ == "PydanticRecursiveRef":
        return plain if f":{id(origin)}[" in annotation.type_ref else annotation
    args = get_args(annotation)
    if origin is None or not args or get_origin(annotation) is Literal:
        return annotation
    new = tuple(_with_itself(arg, plain) for arg in args)
    if all(one is other for one, other in zip(new, args, strict=True)):
        return annotation
    if get_origin(annotation) is Annotated:
        return Annotated[new]  # its marks are among them
    if isinstance(annotation, GenericAlias):
        return GenericAlias(get_origin(annotation), new)
    return reduce(or_, new) if isinstance(annotation, UnionType) else annotation.copy_with(new)


def _equal(self: Any, other: Any) -> Any:
    """Compare with a plain instance as with a linked one: each of its parts does the same."""
    if type(other) is not self._rapyer_plain:
        return BaseModel.__eq__(self, other)
    kind: Any = type(self)
    twin = kind.__new__(kind)
    for slot in BaseModel.__slots__:
        object.__setattr__(twin, slot, getattr(other, slot))
    return BaseModel.__eq__(self, twin)


def new_linked(plain: Any, base: Any) -> Any:
    """Return an empty instance of a linked class, for unpickling."""
    linked: Any = linked_class(plain, base)
    return linked.__new__(linked)


class Relink:
    """A validator that turns an instance of a plain model into one of its linked class, same content.

    Args:
        plain: the model.
        linked: its linked class.
        others: subclasses of the model whose instances are somebody else's, as another choice's of a union.
    """

    __slots__ = ("_linked", "_others", "plain")

    def __init__(self, plain: Any, linked: Any, others: tuple[Any, ...] = ()) -> None:
        self.plain, self._linked, self._others = plain, linked, others

    def __call__(self, value: Any) -> Any:
        """Return the value linked.

        Raises:
            ValueError: it is somebody else's.
        """
        linked = self._linked
        if not isinstance(value, self.plain) or isinstance(value, linked):
            return value
        if isinstance(value, self._others):
            msg = f"this is a {type(value).__name__}, for which there is a choice of its own"
            raise ValueError(msg)  # noqa: TRY004 - Pydantic goes on to the other choices
        new = linked.__new__(linked)
        for slot in BaseModel.__slots__:
            object.__setattr__(new, slot, copy(getattr(value, slot)))
        for name, item in new.__dict__.items():
            if item.__class__ not in EXACT and name in linked.__pydantic_fields__:
                new.__dict__[name] = _storable(item, new, name)
        return new


def set_apart(union: Any) -> None:
    """Have each choice of a union that is a plain model leave instances of its subclasses to the choices for those."""
    functions = list(_relinks(union))
    plains = [function["function"].plain for function in functions]
    for function, plain in zip(functions, plains, strict=True):
        others = tuple(other for other in plains if other is not plain and issubclass(other, plain))
        function["function"] = Relink(plain, _linked_classes[plain], others)


def _relinks(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield what links the plain models that are the choices of a union, whatever is around them."""
    metadata, kind = schema.get("metadata"), schema["type"]
    if metadata == MODEL:
        yield schema["python_schema"]["function"]
    elif metadata == RELINKS and kind == "function-before":
        yield schema["function"]
    elif kind in ("union", "tagged-union", "nullable", "default") or kind.startswith("function-"):
        for inner in inner_schemas(schema):
            yield from _relinks(inner)


def _storable(item: Any, model: Any, name: str) -> Any:
    """Return what a plain model has in a field as it is in documents.

    Raises:
        ValueError: JSON would change it.
    """
    if _is_made_anew(item):
        return model._reader(name).validate_python(item)
    return item if type(model).__pydantic_fields__[name].exclude else exact_inside(item)


def _is_made_anew(value: Any) -> bool:
    """Whether this is something else inside documents, or contains that: plain models, frozen sets, some of sets."""
    if isinstance(value, BaseModel):
        return not hasattr(value, "_rapyer_plain")
    if isinstance(value, dict):
        return any(_is_made_anew(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_is_made_anew(item) for item in value)
    return isinstance(value, frozenset) or (isinstance(value, set) and not EXACT.issuperset(map(type, value)))


def linked_default(schema: dict[str, Any]) -> None:
    """Have plain models in the default of a schema be linked.

    One that can be hashed would be the same object in all models: they get one each, as of a factory.
    """
    if "default" not in schema:
        factory = schema["default_factory"]
        schema["default_factory"] = lambda *data: _relinked_parts(factory(*data))
        return
    default = schema["default"]
    linked = _relinked_parts(default)
    if not _is_hashable(default):
        schema["default"] = linked
    elif linked is not default:
        del schema["default"]
        schema["default_factory"] = lambda: _relinked_parts(default)


def _relinked_parts(value: Any) -> Any:
    """Return a value with linked models for plain ones, and sets for frozen ones, in new containers."""
    if isinstance(value, (set, frozenset)):
        return set(map(_relinked, value))
    if type(value) is tuple:
        return tuple(item if isinstance(item, frozenset) else _relinked_parts(item) for item in value)
    if not isinstance(value, (list, dict, deque)):
        return _relinked(value)
    new = copy(value)
    for place, item in items_of(value).items():
        new[place] = _relinked_parts(item)
    return new


def template_of(default: Any, base: Any) -> Any:
    """Return a default such that the copies that Pydantic makes of it, if it does, have no documents in them."""
    if _is_hashable(default) or not list(_models_in(default, base)):
        return default
    template = deepcopy(default)
    for model in _models_in(template, base):
        object.__setattr__(model, "_own_pk", None)
    return template


def _is_hashable(value: Any) -> bool:
    """Whether Pydantic gives all instances the same default, and not a copy each."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _models_in(value: Any, base: Any) -> Iterator[Any]:
    return (part for part in all_in(value) if isinstance(part, base))


@contextmanager
def relinked_inside(model: Any, names: Iterable[str] | None = None) -> Iterator[None]:
    """Make linked ones of the plain models that were put unseen into these fields, as into a list below a union.

    Only in fields that cannot be written as they are: where anything may stand, a plain model is written as itself. If
    the block fails all the same, everything is put back. Linked numbers are plain ones while the block runs.
    """
    undo: list[tuple[Any, Any, Any]] = []
    try:
        with suppress(RecursionError):  # what is that deep cannot be written, which is told then
            _relink_items(model, set(), undo, names)
        with plain_numbers(model):
            yield
    except BaseException:
        for value, place, item in reversed(undo):
            put(value, place, item)
        raise


def _relink_items(
    value: Any, seen: set[int], undo: list[tuple[Any, Any, Any]], names: Iterable[str] | None = None
) -> None:
    if id(value) in seen:
        return  # in itself, which is refused when it is written
    seen.add(id(value))
    linked = hasattr(value, "_rapyer_plain")
    for place, item in items_of(value).items():
        if linked and ((names is not None and place not in names) or _is_written(value, place)):
            continue
        new = item if isinstance(value, tuple) else _relinked(item)
        if new is not item:
            undo.append((value, place, item))
            put(value, place, new)
        _relink_items(new, seen, undo)


def _is_written(model: Any, name: str) -> bool:
    """Whether a field can be written as it is."""
    try:
        model.__pydantic_serializer__.to_json(model, include={name}, round_trip=True, by_alias=False, warnings="error")
    except PydanticSerializationError:
        return False
    return True


def _relinked(value: Any) -> Any:
    """Return a plain model as an instance of the linked class, if there is one; anything else as it is."""
    if type(value) is tuple:
        items = tuple(map(_relinked, value))
        return value if all(new is item for new, item in zip(items, value, strict=True)) else items
    if not isinstance(value, BaseModel) or hasattr(value, "_rapyer_plain"):
        return value
    plain = next((kind for kind in type(value).__mro__ if kind in _linked_classes), None)
    return value if plain is None else Relink(plain, _linked_classes[plain])(value)
