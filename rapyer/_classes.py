"""What is worked out once for a model class: options, key field, plans, descriptors, and who owns which keys."""

from __future__ import annotations

import sys
import weakref
from enum import Enum
from string import Formatter
from types import GenericAlias
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from pydantic import BaseModel

from rapyer import _convert
from rapyer.config import RedisConfig
from rapyer.errors import UsageError
from rapyer.fields import KeyAnnotation
from rapyer.types._base import STORAGE_CONFIG, Plan, RedisType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Plans(dict[str, Plan]):
    """Field name -> its plan, made when first asked for: by then forward references are resolved."""

    def __init__(self, cls: type[Any], base: type[Any]) -> None:
        super().__init__()
        self._cls = weakref.ref(cls)
        self._base = base

    def __missing__(self, name: str) -> Plan:
        """Make the plan of a field; extra fields have none of their own."""
        cls: Any = self._cls()
        if not cls.__pydantic_complete__:
            _complete(cls)
        field = cls.__pydantic_fields__.get(name)
        plan = (
            Plan(Any, changeable=True)
            if field is None
            else _convert.plan_of(_resolved(field.annotation, cls), self._base)
        )
        if field is not None and field.exclude:  # nothing of it is in Redis: what is done to it is Python's alone
            plan = Plan(plan.annotation, changeable=plan.model or plan.changeable or plan.element is not None)
        self[name] = plan.configured(cls.model_config)
        return plan


def _resolved(annotation: Any, cls: type[Any]) -> Any:
    """Return an annotation without names in quotes: Python 3.10 leaves those inside `list["Node"]` as they are."""
    if isinstance(annotation, str):
        holder = type("Holder", (), {"__annotations__": {"it": annotation}})
        return get_type_hints(holder, vars(sys.modules[cls.__module__]), _known_to(cls), include_extras=True)["it"]
    args = getattr(annotation, "__args__", ())
    if isinstance(annotation, GenericAlias) and any(isinstance(arg, (str, GenericAlias)) for arg in args):
        origin: Any = annotation.__origin__
        return GenericAlias(origin, tuple(_resolved(arg, cls) for arg in args))
    return annotation


def _known_to(cls: type[Any]) -> dict[str, Any]:
    """Return the classes that a name in quotes may mean in a class, besides what its module has."""
    return {model.__name__: model for model in models} | {cls.__name__: cls}


def _complete(cls: Any) -> None:
    """Have a linked class know the documents that its fields name, which came after it."""
    cls.model_rebuild(raise_errors=False, _types_namespace={**_known_to(cls), **vars(sys.modules[cls.__module__])})


class Field:
    """Gives a field's value with its link: wraps it when it is touched first."""

    __slots__ = ("_cls", "_name", "_plan")

    def __init__(self, name: str) -> None:
        self._name = name
        self._cls: type[Any] | None = None
        self._plan: Plan

    def __get__(self, model: Any, owner: Any = None) -> Any:
        """Return the linked value; a class has none."""
        name = self._name
        try:
            value = model.__dict__[name]
        except (KeyError, AttributeError):  # of a class there is no model
            raise AttributeError(name) from None
        plan = self._plan if owner is self._cls else self._plan_for(model)
        if value.__class__ is plan.own_type and value._owner is model and value._hint == name:
            return value
        linked = plan.wrap(value, model, name)
        if linked is not value:
            model.__dict__[name] = linked
        return linked

    def _plan_for(self, model: Any) -> Plan:
        """Return the plan of a model's class; remember it for the class that this descriptor was made for.

        A model of a subclass comes here by `super()`, and its field may be of another type.
        """
        cls = model.__class__
        plan: Plan = model._plans[self._name]
        if vars(cls).get(self._name) is self:
            self._plan = plan
            self._cls = cls
        return plan

    def __set__(self, model: Any, value: Any) -> None:
        """Keep a value that was validated before."""
        model.__dict__[self._name] = value

    def __delete__(self, model: Any) -> None:
        """Forget a value, as Pydantic's models do."""
        del model.__dict__[self._name]


class KeyField(Field):
    """Gives values that refuse operations: those would make the key another document's."""

    __slots__ = ()

    def __get__(self, model: Any, owner: Any = None) -> Any:
        """Return the linked value, marked."""
        value = super().__get__(model, owner)
        if isinstance(value, RedisType):
            value._of_key = True
        return value


def is_inherited(cls: type[Any], base: type[Any] | None, *names: str) -> bool:
    """Whether class methods and properties are a base class's, and not a class's own or of one between them."""
    return base is not None and all(
        getattr(found := getattr(cls, name), "__func__", found) is getattr(own := getattr(base, name), "__func__", own)
        for name in names
    )


def make_config(cls: type[Any]) -> RedisConfig:
    """Return the options of a class: those of its own `Meta`, the rest from its parents in Python's order."""
    line: list[RedisConfig] = []
    for parent in cls.__mro__[1:]:
        meta = vars(parent).get("Meta")
        if isinstance(meta, RedisConfig):
            line.append(meta)
        elif isinstance(meta, type) and cls._rapyer_plain is None:  # a mixin's; a plain model's is no business of ours
            line += _config(parent, meta, ())._line
    return _config(cls, vars(cls).get("Meta"), line)


def _config(cls: type[Any], own: Any, line: Sequence[RedisConfig]) -> RedisConfig:
    """Return what a `Meta` says, a class with its bases or an instance; the configs in `line` say the rest."""
    if isinstance(own, RedisConfig):
        return RedisConfig(*line, **own.own_options())
    parts = own.__mro__[:-1] if own else ()
    named = [base for part in parts for base in vars(part).get("__orig_bases__", ()) if isinstance(base, RedisConfig)]
    more = [config for base in named for config in base._line if config not in line]
    options = {
        name: value for part in reversed(parts) for name, value in vars(part).items() if not name.startswith("_")
    }
    try:
        return RedisConfig(*more, *line, **options)
    except UsageError as error:
        msg = f"{cls.__name__}.Meta: {error}"
        raise UsageError(msg) from None


class Assigning:
    """What assigning a field asks of the class: one object, because asking a model for each of these is slow.

    Args:
        cls: a class that is prepared.

    Attributes:
        keys: the fields that the key is made of.
        stored: the names that are stored, or could be.
        local: the fields that are not stored.
        alone: the fields whose assignment is nothing but their validation.
        judged: whether there are validators of the whole model.
        plans: the fields' plans.
    """

    __slots__ = ("alone", "judged", "keys", "local", "plans", "stored")

    def __init__(self, cls: Any) -> None:
        config, fields = cls.model_config, cls.__pydantic_fields__
        self.keys: frozenset[str] = cls._key_fields
        self.stored = _AnyName() if config.get("extra") == "allow" else frozenset(fields)
        self.local = frozenset(name for name, field in fields.items() if field.exclude)
        validated = config.get("validate_assignment") and not config.get("frozen")
        self.alone = frozenset(name for name, field in fields.items() if validated and not field.frozen)
        self.judged: bool = cls._judged
        self.plans: Plans = cls._plans


class _AnyName:
    """The names an open model stores: whatever it is given."""

    def __contains__(self, name: str) -> bool:
        return not name.startswith("_")


def key_field(cls: type[Any]) -> str | None:
    """Return the field that is marked with `KeyAnnotation`.

    Raises:
        UsageError: there are two, or a mark is not on a field's whole type.
    """
    fields = cls.__pydantic_fields__.items()
    for name, field in fields:
        if _marks_inside(field.annotation):
            msg = f"{cls.__name__}.{name}: the mark of a key is on a part of its type: write Key[...] around all of it"
            raise UsageError(msg)
    marked = [str(name) for name, field in fields if any(map(_is_mark, field.metadata))]
    if len(marked) > 1:
        msg = (
            f"{cls.__name__} has several keys, {', '.join(marked)}: mark one, and see Meta.hash_tag for a leading part"
        )
        raise UsageError(msg)
    return marked[0] if marked else None


def _is_mark(mark: Any) -> bool:
    return mark is KeyAnnotation or isinstance(mark, KeyAnnotation)


def _marks_inside(annotation: Any) -> bool:
    inside = get_args(annotation)
    return any(map(_is_mark, getattr(annotation, "__metadata__", ()))) or any(map(_marks_inside, inside))


def tag_parts(cls: type[Any]) -> tuple[tuple[str, str | None], ...]:
    """Return the class's hash tag as pairs of literal text and the field that follows it; nothing where it has none.

    Raises:
        UsageError: it names no field of the class.
    """
    template = cls.Meta.hash_tag
    if template is None:
        return ()
    if "{" not in template:
        template = f"{{{template}}}"
    try:
        parts = [(literal, name, extra) for literal, name, *extra in Formatter().parse(template)]
    except ValueError:
        parts = []
    names = [name for _, name, _ in parts if name is not None]
    plain = all(not spec and not conversion for _, _, (spec, conversion) in parts)
    if not names or not plain or not cls.__pydantic_fields__.keys() >= set(names):
        msg = (
            f"{cls.__name__}.Meta: hash_tag {cls.Meta.hash_tag!r} is neither a field's name nor a text with fields in "
            f"braces, like 'shop-{{shop}}'; the fields are: {', '.join(cls.__pydantic_fields__)}"
        )
        raise UsageError(msg)
    return tuple((literal, name) for literal, name, _ in parts)


def tagged(own: str, parts: tuple[tuple[str, str | None], ...], values: Mapping[str, Any]) -> str:
    """Return a pk with the hash tag in front that these field values give.

    Raises:
        UsageError: the tag would be empty or have braces in it, so that it would not be one tag.
    """
    if not parts:
        return own
    tag = "".join(literal + ("" if name is None else pk_text(values[name])) for literal, name in parts)
    if not tag or "{" in tag or "}" in tag:
        names = " and ".join(name for _, name in parts if name is not None)
        msg = f"the value of {names} gives no hash tag: it has to be text, not empty, and without braces"
        raise UsageError(msg)
    return f"{{{tag}}}:{own}"


def pk_text(value: Any) -> str:
    """Return a key field's value as it stands in the key."""
    return str(value.value if isinstance(value, Enum) else value)


def check_config(cls: type[Any]) -> None:
    """Refuse options that would change how values are stored."""
    fixed = {**STORAGE_CONFIG, "ser_json_temporal": cls.model_config.get("ser_json_temporal") and "iso8601"}
    wrong = sorted(name for name, value in fixed.items() if cls.model_config.get(name) != value)
    if wrong:
        msg = f"{cls.__name__}.model_config cannot set {', '.join(wrong)}, on which the stored form depends"
        raise UsageError(msg)


def check_names(cls: type[Any], base: type[Any]) -> None:
    """Refuse fields that would hide what every model has."""
    ours = base.__mro__[: base.__mro__.index(BaseModel)]
    taken = sorted(name for name in cls.__pydantic_fields__ if any(name in vars(parent) for parent in ours))
    if taken:
        msg = (
            f"{cls.__name__}: a field cannot be called {', '.join(taken)}, which every model has: "
            f"use another name (an alias may keep the old one outside)"
        )
        raise UsageError(msg)


def check_private_names(cls: type[Any], base: type[Any]) -> None:
    """Refuse attributes and methods of a class, or of parents that are no documents, that would hide the engine's."""
    ours = base.__mro__[: base.__mro__.index(BaseModel)]
    used = {name for parent in ours for name in vars(parent) if name.startswith("_") and not name.startswith("__")}
    for parent in cls.__mro__:
        if parent is cls or not (parent in base.__mro__ or issubclass(parent, base)):
            theirs = {*vars(parent), *vars(parent).get("__private_attributes__", ())}
            taken = sorted((theirs & used) - _NOT_THEIRS)
            if taken:
                msg = f"{parent.__name__}: {', '.join(taken)} is what every model uses itself: use another name"
                raise UsageError(msg)


#: What is in a class without anybody having written it.
_NOT_THEIRS = frozenset({"_abc_impl", "_rapyer_plain"})


#: Keys of which it is remembered whose they are.
MOST_KEYS = 4096


class Models:
    """All model classes of the process, by module and name: a class that is defined again replaces the first."""

    def __init__(self) -> None:
        self._classes: dict[tuple[str, str], weakref.ref[Any]] = {}
        self._owned: dict[tuple[str, str], bool] = {}

    def add(self, cls: type[Any]) -> None:
        """Take note of a class."""
        self._classes[cls.__module__, cls.__qualname__] = weakref.ref(cls)
        self._owned.clear()

    def __iter__(self) -> Iterator[Any]:
        """Go through the classes that are still alive."""
        for name, reference in list(self._classes.items()):
            cls = reference()
            if cls is not None:
                yield cls
            elif self._classes.get(name) is reference:
                self._classes.pop(name, None)  # another thread may have done it

    def prefixes(self) -> Iterator[tuple[Any, str]]:
        """Go through the classes and what their keys start with; one that cannot tell, like an abstract base, has none.

        A prefix may be another one at any time, so each is asked for anew.
        """
        for cls in self:
            try:
                prefix = f"{cls.class_key_initials()}"  # as it gets into a key
            except Exception:  # noqa: BLE001, S112 - whatever it raises, it is about that class and no other
                continue
            yield cls, prefix

    def belongs(self, prefix: str, key: str) -> bool:
        """Whether a key that starts with this prefix is no other class's, whose longer prefix fits it."""
        # This is asked for each `get`, and hardly any pk leaves room for another prefix.
        if ":" not in key[len(prefix) + 1 :]:
            return True
        longer = set(_prefixes_of(key, len(prefix) + 1))
        return all(other not in longer for _, other in self.prefixes())

    def owns(self, prefix: str, key: str) -> bool:
        """Whether that is so as far as was known when it was asked first, since the last class came: it is quick."""
        if len(self._owned) >= MOST_KEYS:
            self._owned.clear()
        asked = (prefix, key)
        if asked not in self._owned:
            self._owned[asked] = self.belongs(prefix, key)
        return self._owned[asked]

    def of_key(self, key: str) -> Any:
        """Return the class whose prefix, the longest that fits, a key has.

        Raises:
            UsageError: there is none, or there are two.
        """
        possible = set(_prefixes_of(key))
        fitting = [(prefix, cls) for cls, prefix in self.prefixes() if prefix in possible]
        longest = max((len(prefix) for prefix, _ in fitting), default=0)
        found = [cls for prefix, cls in fitting if len(prefix) == longest]
        if len(found) == 1:
            return found[0]
        if not found:
            msg = f"no model class has a prefix that fits key {key!r}: import the module that defines it"
            raise UsageError(msg)
        names = " and ".join(sorted(f"{cls.__module__}.{cls.__qualname__}" for cls in found))
        msg = f"{names} share the prefix of key {key!r}: override class_key_initials() in one of them"
        raise UsageError(msg)


def _prefixes_of(key: str, start: int = 0) -> Iterator[str]:
    """Yield whatever a colon follows in a key, from a place on."""
    while (end := key.find(":", start)) >= 0:
        yield key[:end]
        start = end + 1


models = Models()
