"""Every operation of the public surface as a value: ordinary Python, its awaited form, and what the server has to do.

A `Kind` works on the value at a path. Its `body` runs on a document inside a block and on the plain oracle alike.
"""

from __future__ import annotations

import operator
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import strategies as values
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from rapyer import AtomicRedisModel

# -- the document and its oracle -------------------------------------------------------------------------------------

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - without an offset on purpose


class Note(BaseModel):
    """A plain Pydantic model inside the document."""

    text: str = ""
    n: int = 0


class Inner(AtomicRedisModel):
    """A nested model."""

    count: int = 0
    tags: list[str] = []
    seen: set[int] = set()


class Item(AtomicRedisModel):
    """A model in lists and dicts."""

    label: str = ""
    n: int = 0


class Member(AtomicRedisModel):
    """A model in a list of a model in a list."""

    name: str = ""
    score: int = 0
    marks: list[int] = []


class Team(AtomicRedisModel):
    """A model with models in it."""

    title: str = ""
    members: list[Member] = []


class Document(AtomicRedisModel):
    """A field of every type."""

    number: int = 0
    double: float = 0.0
    text: str = ""
    data: bytes = b""
    moment: datetime = EPOCH
    maybe: int | None = None
    ints: list[int] = []
    words: list[str] = []
    counts: dict[str, int] = {}
    weights: dict[str, float] = {}
    numbers: set[int] = set()
    labels: set[str] = set()
    inner: Inner = Inner()
    items: list[Item] = []
    table: dict[str, Item] = {}
    nested: dict[str, list[list[int]]] = {}
    note: Note = Note()
    lists: dict[str, list[int]] = {}
    sets: dict[str, set[int]] = {}
    doubles: list[float] = []
    measures: set[float] = set()
    moments: list[datetime] = []
    blobs: list[bytes] = []
    flag: bool = False
    color: values.Color = values.Color.RED
    uid: UUID = UUID(int=0)
    price: Decimal = Decimal(0)
    day: date = EPOCH.date()
    pair: tuple[int, list[int]] = (0, [])
    either: int | str = 0
    free: Any = None
    codes: dict[int, int] = {}
    single: Item | None = None
    spare: Item | None = None
    few: list[int] | None = None
    teams: list[Team] = []


Int64 = Annotated[int, Field(ge=values.LOWEST, le=values.HIGHEST)]


class Plain(BaseModel):
    """What the oracle is made of: no rapyer in it."""

    model_config = ConfigDict(validate_assignment=True, revalidate_instances="always", val_json_bytes="base64")


class PlainNote(Plain):
    """The oracle of `Note`."""

    text: str = ""
    n: Int64 = 0


class PlainInner(Plain):
    """The oracle of `Inner`."""

    count: Int64 = 0
    tags: list[str] = []
    seen: set[Int64] = set()


class PlainItem(Plain):
    """The oracle of `Item`."""

    label: str = ""
    n: Int64 = 0


class PlainMember(Plain):
    """The oracle of `Member`."""

    name: str = ""
    score: Int64 = 0
    marks: list[Int64] = []


class PlainTeam(Plain):
    """The oracle of `Team`."""

    title: str = ""
    members: list[PlainMember] = []


class Oracle(Plain):
    """The oracle of `Document`."""

    number: Int64 = 0
    double: FiniteFloat = 0.0
    text: str = ""
    data: bytes = b""
    moment: datetime = EPOCH
    maybe: Int64 | None = None
    ints: list[Int64] = []
    words: list[str] = []
    counts: dict[str, Int64] = {}
    weights: dict[str, FiniteFloat] = {}
    numbers: set[Int64] = set()
    labels: set[str] = set()
    inner: PlainInner = PlainInner()
    items: list[PlainItem] = []
    table: dict[str, PlainItem] = {}
    nested: dict[str, list[list[Int64]]] = {}
    note: PlainNote = PlainNote()
    lists: dict[str, list[Int64]] = {}
    sets: dict[str, set[Int64]] = {}
    doubles: list[FiniteFloat] = []
    measures: set[FiniteFloat] = set()
    moments: list[datetime] = []
    blobs: list[bytes] = []
    flag: bool = False
    color: values.Color = values.Color.RED
    uid: UUID = UUID(int=0)
    price: Decimal = Decimal(0)
    day: date = EPOCH.date()
    pair: tuple[Int64, list[Int64]] = (0, [])
    either: Int64 | str = 0
    free: Any = None
    codes: dict[int, Int64] = {}
    single: PlainItem | None = None
    spare: PlainItem | None = None
    few: list[Int64] | None = None
    teams: list[PlainTeam] = []


def canonical(value):
    """Give a value in a form in which only what is the same, bit for bit, is equal."""
    if isinstance(value, BaseModel):
        return {name: canonical(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, set):
        return {canonical(item) for item in value}
    if isinstance(value, float):
        return float(value).hex()
    return str(value) if isinstance(value, (datetime, Decimal)) else value


# -- places ----------------------------------------------------------------------------------------------------------


def walk(model, path):
    """Give the value at a path, as a program would reach it."""
    for step in path:
        model = model[step] if isinstance(model, (list, dict)) else getattr(model, step)
    return model


def put(model, path, value):
    """Assign to a path."""
    parent = walk(model, path[:-1])
    if isinstance(parent, (list, dict)):
        parent[path[-1]] = value
    else:
        setattr(parent, path[-1], value)


# -- kinds -----------------------------------------------------------------------------------------------------------

#: What the server's side of an operation gives when nothing was recorded for it.
NOTHING = object()


@dataclass(frozen=True)
class Kind:
    """An operation that only lacks its arguments.

    Args:
        place: the path it works on; `...` stands for the first argument.
        arguments: what gives them, as a tuple.
        body: ordinary Python: (model, path, *arguments) -> result.
        call: the same awaited: (value, *arguments); None where there is no such.
        truth: what the call does, on the oracle: (model, path, result, *arguments) -> answer; None means like `body`.
        later: what the recorded body does: (oracle, path, before, after, result, *arguments); None means like `body`.
        chosen: whether the result of the real one says which element it was.
        sets: whether the place itself need not be there.
    """

    place: tuple
    arguments: Any
    body: Any = None
    call: Any = None
    truth: Any = None
    later: Any = None
    chosen: bool = False
    sets: bool = False


class Operation(NamedTuple):
    """An operation with its arguments."""

    name: str
    arguments: tuple

    @property
    def kind(self):
        """What it does."""
        return KINDS[self.name]

    @property
    def path(self):
        """Where it does it."""
        return tuple(self.arguments[0] if step is ... else step for step in self.kind.place)

    @property
    def deep(self):
        """Whether its place is one of an element, which need not be there."""
        return ... in self.kind.place

    @property
    def fragile(self):
        """Whether its place need not be there."""
        return self.deep or self.kind.place[:1] == ("single",)

    @property
    def rest(self):
        """The arguments besides the place, fresh ones each time: nobody may share them."""
        return deepcopy(self.arguments[1:] if self.deep else self.arguments)

    def run(self, model):
        """Do it in ordinary Python."""
        return self.kind.body(model, self.path, *self.rest)

    async def call(self, model):
        """Do it awaited."""
        return await self.kind.call(walk(model, self.path), *self.rest)

    def run_plain(self, model, result):
        """Do to the oracle what `run` did."""
        if self.kind.chosen:
            return self.kind.truth(model, self.path, result, *self.rest)
        return self.run(model)

    def call_plain(self, model, result):
        """Do to the oracle what `call` did."""
        if self.kind.truth is not None:
            return self.kind.truth(model, self.path, result, *self.rest)
        return self.run(model)

    def run_later(self, oracle, before, after, result):
        """Do to the oracle what the server does for a recorded `run`."""
        if self.kind.later is None:
            return self.run_plain(oracle, result)
        return self.kind.later(oracle, self.path, before, after, result, *self.rest)


def _on(method):
    """Give the body that calls a method of the value at the path."""
    return lambda model, path, *args: getattr(walk(model, path), method)(*args)


def _in_place(function):
    """Give the body that is an in-place operator: what it gives is assigned back."""
    return lambda model, path, *args: put(model, path, function(walk(model, path), *args))


def _set_whole(oracle, path, before, after, result, *args):
    put(oracle, path, deepcopy(walk(after, path)))


def _set_whole_pair(oracle, path, before, after, result, *args):
    _set_whole(oracle, path[:1], before, after, result)


def _call(method):
    return lambda value, *args: getattr(value, method)(*args)


def _assign(model, path, value):
    put(model, path, value)


KINDS: dict[str, Kind] = {}
_STEPS = {
    "ints": st.integers(0, 2),
    "words": st.integers(0, 2),
    "items": st.integers(0, 2),
    "counts": values.keys,
    "weights": values.easy_keys,
    "table": values.keys,
    "nested": values.keys,
    "lists": values.few_keys,
    "sets": values.few_keys,
    "doubles": st.integers(0, 2),
    "moments": st.integers(0, 2),
    "blobs": st.integers(0, 2),
    "teams": st.integers(0, 1),
}


def _add(name, place, arguments, body=None, **rest):
    deep = [_STEPS[place[0]]] if ... in place else []
    KINDS[f"{_label(place)} {name}"] = Kind(place, st.tuples(*deep, *arguments), body, **rest)


def _label(place):
    return "".join("[]" if step is ... else f".{step}" for step in place)[1:]


def _numbers(place, amounts, operators, call="increase"):
    for index, (name, function) in enumerate(operators.items()):
        calls = _call(call) if index == 0 and call else None
        _add(name, place, [amounts], _in_place(function), call=calls)


def _integers(place, *, call="increase"):
    _numbers(place, values.int64, {"+=": operator.iadd, "-=": operator.isub, "*=": operator.imul}, call)
    _numbers(place, values.int64, {"//=": operator.ifloordiv, "%=": operator.imod}, None)
    powers = st.one_of(st.integers(0, 4), st.sampled_from((63, 64, 65)))
    _add("**=", place, [powers], _in_place(operator.ipow))
    _add("**= below 0", place, [st.integers(-2, -1)], _in_place(operator.ipow), later=_set_whole, sets=True)


def _doubles(place):
    operators = {"+=": operator.iadd, "-=": operator.isub, "*=": operator.imul, "/=": operator.itruediv}
    _numbers(place, st.one_of(values.tame_doubles, values.doubles), operators)


def _truth_of_apop(model, path, result, index):
    items = walk(model, path)
    return items.pop(index) if len(items) > 0 else None


def _replace_slice(model, path, start, stop, new):
    walk(model, path)[start:stop] = [_made(model, item) for item in new]


def _made(model, value):
    """Give the element that a program would put in: an instance where elements are models."""
    if not isinstance(value, dict):
        return value
    return Item(**value) if isinstance(model, Document) else PlainItem(**value)


def _built(model, path, value):
    """Append a model that is changed after it was made."""
    new = _made(model, {})
    new.n = value["n"]
    new.label += value["label"]
    walk(model, path).append(new)


def _grow(model, path, value):
    """Change a plain value in place: always to one that it never was."""
    target = walk(model, path)
    if isinstance(target, list):
        target.append(value)
    elif isinstance(target, dict):
        target[str(len(target))] = value
    else:
        put(model, path, [value])


def _grow_codes(model, path, value):
    target = walk(model, path)
    target[max(target, default=0) + 1] = value


def _twice(model, path, new):
    """Put one object into two places."""
    one = _made(model, new["single"])
    for name in new:
        setattr(model, name, one)


async def _twice_awaited(value, new):
    one = Item(**new["single"])
    await value.aupdate(**dict.fromkeys(new, one))


def _with(method, position):
    """Give the body that calls a method with one argument made an element."""

    def body(model, path, *args):
        args = [_made(model, arg) if i == position else arg for i, arg in enumerate(args)]
        return getattr(walk(model, path), method)(*args)

    return body


def _extend(model, path, new):
    walk(model, path).extend([_made(model, item) for item in new])


def _lists(place, element, *, sortable=True):
    many, at = values.few(element, 3), values.indexes
    _add("append", place, [element], _with("append", 0), call=_call("aappend"))
    _add("extend", place, [many], _extend, call=_call("aextend"))
    _add("insert", place, [at, element], _with("insert", 1), call=_call("ainsert"))
    _add("pop", place, [at], _on("pop"))
    _add("apop", place, [at], call=_call("apop"), truth=_truth_of_apop)
    _add("remove", place, [element], _with("remove", 0), call=_call("aremove"))
    _add("[]=", place, [at, element], _with("__setitem__", 1), call=_call("aset_item"))
    _add("del", place, [at], _on("__delitem__"))
    _add("clear", place, [], _on("clear"), call=_call("aclear"))
    _add("+=", place, [many], _in_place(operator.iadd))
    _add("reverse", place, [], _on("reverse"), later=_set_whole, sets=True)
    _add("[:]=", place, [at, at, many], _replace_slice, later=_set_whole, sets=True)
    if sortable:
        _add("sort", place, [], _on("sort"), later=_set_whole, sets=True)
        _add("*=", place, [st.integers(-1, 2)], _in_place(operator.imul), later=_set_whole, sets=True)


def _truth_of_popitem(model, path, result):
    entries = walk(model, path)
    if result is None:
        return entries.popitem()  # refused there; so it has to be here
    return result[0], entries.pop(result[0])


def _later_setdefault(oracle, path, before, after, result, *args):
    key, value = args
    if key in walk(before, path):
        return NOTHING
    return walk(oracle, path).__setitem__(key, _made(oracle, value))


def _update(model, path, new):
    walk(model, path).update({key: _made(model, value) for key, value in new.items()})


def _or_update(model, path, new):
    put(model, path, operator.ior(walk(model, path), {key: _made(model, value) for key, value in new.items()}))


def _pop_or_none(model, path, key):
    return walk(model, path).pop(key, None)


def _dicts(place, names, element):
    new = st.dictionaries(names, element, max_size=2)
    _add("[]=", place, [names, element], _with("__setitem__", 1), call=_call("aset_item"))
    _add("del", place, [names], _on("__delitem__"), call=_call("adel_item"))
    _add("update", place, [new], _update, call=_call("aupdate"))
    _add("|=", place, [new], _or_update)
    _add("pop", place, [names], _on("pop"))
    _add("pop or None", place, [names], _pop_or_none, call=_call("apop"))
    _add("popitem", place, [], _on("popitem"), call=_call("apopitem"), truth=_truth_of_popitem, chosen=True)
    _add("setdefault", place, [names, element], _with("setdefault", 1), later=_later_setdefault)
    _add("clear", place, [], _on("clear"), call=_call("aclear"))


def _truth_of_set_pop(model, path, result):
    members = walk(model, path)
    if result is None:
        return members.pop()  # refused there; so it has to be here
    members.remove(result)
    return result


def _truth_of_set_apop(model, path, result):
    members = walk(model, path)
    if result is None:
        return NOTHING
    members.remove(result)
    return result


def _sets(place, element):
    some = st.sets(element, max_size=3)
    _add("add", place, [element], _on("add"), call=_call("aadd"))
    _add("update", place, [some], _on("update"), call=lambda value, new: value.aadd(*new))
    _add("discard", place, [element], _on("discard"), call=_call("adiscard"))
    _add("difference_update", place, [some], _on("difference_update"), call=lambda value, old: value.adiscard(*old))
    _add("intersection_update", place, [some], _on("intersection_update"))
    _add("remove", place, [element], _on("remove"), call=_call("aremove"))
    _add("pop", place, [], _on("pop"), truth=_truth_of_set_pop, chosen=True)
    _add("apop", place, [], call=_call("apop"), truth=_truth_of_set_apop)
    _add("clear", place, [], _on("clear"), call=_call("aclear"))
    _add("|=", place, [some], _in_place(operator.ior))
    _add("&=", place, [some], _in_place(operator.iand))
    _add("-=", place, [some], _in_place(operator.isub))
    _add("^=", place, [some], _in_place(operator.ixor), later=_set_whole, sets=True)


def _fields(place, fields):
    for name, strategy in fields.items():
        _add("=", (*place, name), [strategy], _assign, sets=True)
    some = st.lists(st.sampled_from(sorted(fields)), unique=True, min_size=1, max_size=2)
    changes = some.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))
    _add("update()", place, [changes], _update_fields, call=lambda value, new: value.aupdate(**new))


def _update_fields(model, path, new):
    target = walk(model, path)
    if isinstance(target, AtomicRedisModel):
        target.update(**new)
        return
    for name, value in new.items():
        setattr(target, name, value)


_few_ints = st.one_of(st.integers(0, 3), values.int64)
_few_words = st.one_of(st.sampled_from(("", "a", '"', "\\")), values.texts)
_item = st.one_of(st.sampled_from(({"label": "a", "n": 1}, {"label": '"\\', "n": 2**60})), values.items)

_integers(("number",))
_integers(("maybe",), call=None)
_integers(("ints", ...))
_integers(("counts", ...))
_integers(("inner", "count"))
_integers(("items", ..., "n"))
_integers(("table", ..., "n"))
_integers(("note", "n"))
_doubles(("double",))
_doubles(("weights", ...))
_add("+=", ("text",), [values.texts], _in_place(operator.iadd), call=_call("aappend"))
_add("+=", ("words", ...), [values.texts], _in_place(operator.iadd), call=_call("aappend"))
_add("+=", ("table", ..., "label"), [values.texts], _in_place(operator.iadd), call=_call("aappend"))
_add("+=", ("note", "text"), [values.texts], _in_place(operator.iadd), call=_call("aappend"))
_add("+=", ("data",), [values.blobs], _in_place(operator.iadd))
_add("+=", ("moment",), [values.durations], _in_place(operator.iadd), call=_call("aadd"))
_add("-=", ("moment",), [values.durations], _in_place(operator.isub))
_lists(("ints",), _few_ints)
_lists(("words",), _few_words)
_lists(("inner", "tags"), _few_words)
_lists(("items",), _item, sortable=False)
_lists(("nested", ...), values.few(_few_ints, 2))
_dicts(("counts",), values.keys, values.int64)
_dicts(("weights",), values.easy_keys, values.doubles)
_dicts(("table",), values.keys, _item)
_dicts(("nested",), values.keys, values.few(values.few(_few_ints, 2), 2))
_sets(("numbers",), _few_ints)
_sets(("labels",), _few_words)
_sets(("inner", "seen"), _few_ints)
_integers(("lists", ..., 0))
_integers(("single", "n"))
_integers(("teams", ..., "members", ..., "score"))
_doubles(("doubles", ...))
_add("+=", ("single", "label"), [values.texts], _in_place(operator.iadd), call=_call("aappend"))
_add("+=", ("teams", ..., "members", ..., "name"), [values.texts], _in_place(operator.iadd), call=_call("aappend"))
_add("+=", ("moments", ...), [values.durations], _in_place(operator.iadd), call=_call("aadd"))
_add("+=", ("blobs", ...), [values.blobs], _in_place(operator.iadd))
_lists(("lists", ...), _few_ints)
_lists(("teams", ..., "members", ..., "marks"), _few_ints)
_lists(("few",), _few_ints)
_lists(("doubles",), values.doubles)
_lists(("moments",), values.list_moments)
_lists(("blobs",), values.blobs)
_dicts(("lists",), values.few_keys, values.few(_few_ints, 2))
_dicts(("sets",), values.few_keys, values.small_int_sets)
_sets(("sets", ...), values.small_ints)
_sets(("measures",), values.set_doubles)
_add("append built", ("items",), [_item], _built)
_add("grow", ("free",), [_few_ints], _grow, later=_set_whole, sets=True)
_add("grow", ("pair", 1), [_few_ints], _grow, later=_set_whole_pair, sets=True)
_add("grow", ("codes",), [_few_ints], _grow_codes, later=_set_whole, sets=True)
_same = _item.map(lambda item: {"single": item, "spare": item})
_add("twice update()", (), [_same], _twice, call=_twice_awaited)
_fields((), values.FIELDS)
_fields(("inner",), {"count": values.int64, "tags": values.words, "seen": values.int_sets})
_fields(("note",), {"text": values.texts, "n": values.int64})
_fields(("single",), {"label": values.texts, "n": values.int64})
_fields(("items", ...), {"label": values.texts, "n": values.int64})
_fields(("table", ...), {"label": values.texts, "n": values.int64})


def _of(names):
    names = sorted(names)

    @st.composite
    def operation(draw):
        name = draw(st.sampled_from(names))
        return Operation(name, draw(KINDS[name].arguments))

    return operation()


#: Any operation; those that ordinary Python has; those that can be awaited.
anything = _of(KINDS)
bodies = _of(name for name, kind in KINDS.items() if kind.body is not None)
calls = _of(name for name, kind in KINDS.items() if kind.call is not None)


def near(operations):
    """Give operations on the fields that these work on."""
    fields = {operation.kind.place[:1] for operation in operations}
    return _of(name for name, kind in KINDS.items() if kind.place[:1] in fields)


#: Dicts of containers -> what puts a value of theirs in.
_DEEP = {("lists", ...): "lists []=", ("sets", ...): "sets []="}


@st.composite
def meeting(draw):
    """Give what puts a container into a dict, operators that one client uses on it, and what the other one does."""
    place = draw(st.sampled_from(sorted(_DEEP, key=str)))
    first = Operation(_DEEP[place], draw(KINDS[_DEEP[place]].arguments))
    here = [name for name, kind in KINDS.items() if kind.place == place]
    in_place = [name for name in here if name.endswith(("+=", "-=", "|=", "&="))]

    def some(names):
        name = draw(st.sampled_from(names))
        return Operation(name, (first.arguments[0], *draw(KINDS[name].arguments)[1:]))

    return first, [(some(in_place), False) for _ in range(draw(st.integers(1, 2)))], [some(here)]
