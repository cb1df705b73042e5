"""Arrays and objects on the server against Python's list and dict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lua_server import BACKUP, DOCUMENT, WORK, Change, Documented, batch
from pydantic_core import to_json
from redis import ResponseError

from rapyer import _codec
from rapyer._ops import Operation, writable
from rapyer._path import absolute, unwritable

if TYPE_CHECKING:
    from collections.abc import Callable

    from lua_server import Server

thorough = settings(max_examples=200, deadline=None)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
NAMES = st.one_of(TEXT, st.text("\\\"'a.*$[] \x00{},:", max_size=6))
SCALARS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.9715098593399603, 1.0, 2.0, 0.5]),
    TEXT,
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
)
STUBBORN = 0.9715098593399603
INDEXES = st.integers(-7, 7)
NASTY = ["a\\", "\"'", "\\\"'", "a\\b\"c'd", "\\\\", "'\"{", "\"]'", "\\u0041", "\x00\\", "é\\😀"]


def taken(python: Any) -> tuple[str | bytes, ...]:
    """Return a value as the scripts take it."""
    return _codec.arguments(to_json(python))


def compared(python: Any) -> tuple[str | bytes, ...]:
    """Return a value as scripts take it that only compare."""
    return (to_json(python), "0")


def is_easy(python: Any) -> bool:
    """Tell whether every double in it has a text that RedisJSON reads exactly."""
    return taken(python)[1] == "0"


def same(a: Any, b: Any) -> bool:
    """Tell whether two values are the same JSON, doubles bit for bit."""
    return bool(to_json(a) == to_json(b))


def equal(a: Any, b: Any) -> bool:
    """Tell whether `list.remove` takes two values for equal: numbers by value, all else by kind and value."""
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return bool(a == b)
    return same(a, b)


# -- arrays ----------------------------------------------------------------------------------------------------------


def extend(local: list[Any], draw: Callable[..., Any]) -> tuple[str, tuple[Any, ...]]:
    """Append some values."""
    values = draw(st.lists(VALUES, max_size=3))
    local.extend(values)
    return "list.extend", (str(len(values)), *(part for value in values for part in taken(value)))


def insert(local: list[Any], draw: Callable[..., Any]) -> tuple[str, tuple[Any, ...]]:
    """Insert anywhere, also far outside."""
    index, value = draw(INDEXES), draw(VALUES)
    local.insert(index, value)
    return "list.insert", (str(index), *taken(value))


def pop(local: list[Any], draw: Callable[..., Any]) -> tuple[str, tuple[Any, ...]]:
    """Pop anywhere."""
    index = draw(INDEXES)
    if -len(local) <= index < len(local):
        local.pop(index)
    return "list.pop", (str(index), "refuse")


def set_item(local: list[Any], draw: Callable[..., Any]) -> tuple[str, tuple[Any, ...]]:
    """Replace anywhere."""
    index, value = draw(INDEXES), draw(VALUES)
    if -len(local) <= index < len(local):
        local[index] = value
    return "list.set_item", (str(index), *taken(value))


def remove(local: list[Any], draw: Callable[..., Any]) -> tuple[str, tuple[Any, ...]]:
    """Remove what is there, or is not."""
    value = draw(st.sampled_from(local) if local and draw(st.booleans()) else VALUES)
    found = next((index for index, item in enumerate(local) if equal(item, value)), None)
    if found is not None:
        del local[found]
    return "list.remove", compared(value)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), steps=st.lists(st.sampled_from([extend, insert, pop, set_item, remove]), max_size=12))
def test_arrays_are_lists(server: Server, data: st.DataObject, steps: list[Any]) -> None:
    """After any run of operations, refused ones included, Redis holds what the list holds."""
    local: list[Any] = []
    server.put('{"x":[]}')
    for step in steps:
        before = list(local)
        script, arguments = step(local, data.draw)
        try:
            server.operate(script, "$.x", *arguments)
        except ResponseError as error:
            assert str(error).split(" ")[0] in {"RAPYER_INDEX", "RAPYER_VALUE"}  # noqa: PT017
            assert same(before, local)
        assert same(json.loads(server.text() or ""), {"x": local})


@pytest.mark.parametrize("name", ["\x00", "a\x00b", "a b", "%s", "]"])
def test_arrays_may_be_anywhere(server: Server, name: str) -> None:
    """Also below names that Lua's own formatting would cut."""
    server.put(to_json({name: [1, 2, 3]}))
    path = absolute((name,))
    assert server.operate("list.pop", path, "0", "refuse") == [b"[2,3]", b"1"]
    assert server.operate("list.set_item", path, "-1", "4", "0")[0] == b"[2,4]"
    assert server.operate("list.insert", path, "1", *taken(STUBBORN))[0] == b"[2,0.9715098593399603,4]"
    assert server.operate("list.remove", path, "0.9715098593399603", "0")[0] == b"[2,4]"
    assert server.operate("list.remove", path, "4", "0")[0] == b"[2]"


def test_ten_thousand_elements_go_in_at_once(server: Server) -> None:
    """More than `unpack` can hold, in order."""
    server.put('{"x":[-1]}')
    server.operate("list.extend", "$.x", "10000", *(part for i in range(10000) for part in (str(i), "0")))
    assert json.loads(server.text() or "")["x"] == list(range(-1, 10000))


@pytest.mark.parametrize(
    ("stored", "value", "left"),
    [
        ("[1,1.0]", "1.0", "[1.0]"),
        ("[1.0,1]", "1", "[1]"),
        ("[9007199254740993,9007199254740992]", "9007199254740992", "[9007199254740993]"),
        ('["1",1]', "1", '["1"]'),
        ("[true,1]", "1", "[true]"),
        ('[null,"null"]', "null", '["null"]'),
        ("[[1],[1.0]]", "[1.0]", "[[1]]"),
        ('[{"a":1},{}]', "{}", '[{"a":1}]'),
        ('[[1e16,"1e+16"]]', '[1e+16,"1e+16"]', "[]"),
        ('[{"a":1,"b":2.5}]', '{"b":2.5,"a":1}', "[]"),
        ("[9007199254740993,9007199254740992.0]", "9007199254740993", "[9007199254740992.0]"),
        ("[9007199254740993]", "9007199254740993", "[]"),
        ("[9007199254740993,9007199254740992]", "9007199254740992.0", "[9007199254740993]"),
    ],
)
def test_remove_finds_what_is_equal(server: Server, stored: str, value: str, left: str) -> None:
    """Numbers by value and exactly, everything else by kind and text; the first one goes."""
    server.put(f'{{"x":{stored}}}')
    assert server.operate("list.remove", "$.x", value, "0") == [left.encode(), None]


# -- objects ---------------------------------------------------------------------------------------------------------


def put(server: Server, python: Any) -> None:
    """Store a document exactly, whatever its names are."""
    server.put(to_json(python))
    for name, item in python.items():
        if unwritable((name,)) is None:
            server.operate("value.set", "$", absolute((name,)), *taken(item))


def changed(server: Server, operation: Operation) -> Any:
    """Run one operation of the model layer as a batch of its own; return what it answers besides."""
    ready = writable(operation)
    keys, arguments = batch([Change(ready.script, ready.flat())])
    extra = server.call("batch.apply", keys, arguments)[1]
    assert not [key for key in keys[1:] if server.redis.exists(key)]
    return extra


@pytest.mark.parametrize(
    ("start", "operation"),
    [
        ({"\\": 0.0}, Operation("number.increase_double", ("\\",), ("0.9715098593399603",))),
        ({"\\": 0, "x": STUBBORN}, Operation("value.set", (), ("null", "0"), "\\")),
        ({"\\": 0, "x": STUBBORN}, Operation("value.set", (), ('{"a":null}', "0"), "\\")),
        ({}, Operation("value.set", (), ("[" * 127 + "]" * 127, "0"), "\\")),
        ({"\\": {"\\": 1}}, Operation("value.set", ("\\",), ("[" * 126 + "]" * 126, "0"), "\\")),
    ],
    ids=["below", "beside null", "beside null inside", "too deep", "too deep below two"],
)
def test_what_no_patch_can_hold_is_not_spliced(server: Server, start: Any, operation: Operation) -> None:
    """A double without a text below such a name, or beside one that is or has null; and what is nested too deep."""
    server.call("document.save", [DOCUMENT], ("", "0", "$", *taken(start)))
    before = server.state()
    ready = writable(operation)
    assert server.refusal("batch.apply", *batch([Change(ready.script, ready.flat())])).startswith("OUT_OF_RANGE 0 ")
    assert server.state() == before


@pytest.mark.parametrize("name", ["\\", " "])
@pytest.mark.parametrize(
    "value",
    [1, "null", ":null", {}, {"a": 1}, {"a": ":null"}, {"a": [{"b": None}]}, [None], ['\\"', 1.5]],
    ids=str,
)
def test_a_double_without_a_text_stays_beside_a_spliced_name(server: Server, name: str, value: Any) -> None:
    """Only the member is written, in its place, whatever was there before."""
    for old in (1, [], {"old": {"b": 1}, "a": {"c": 2}}):
        start = {"x": STUBBORN, name: old, "y": [STUBBORN]}
        put(server, start)
        changed(server, Operation("value.set", (), taken(value), name))
        assert server.text() == to_json({**start, name: value}).decode()


@pytest.mark.parametrize("value", [None, {"a": None, "b": {"c": None}}])
def test_null_below_a_spliced_name_is_kept(server: Server, value: Any) -> None:
    """A patch would remove it: the object is written whole."""
    for start in ({"x": 0.1, "\\": 1, "y": None}, {"x": 0.1}, {}):
        put(server, start)
        changed(server, Operation("value.set", (), taken(value), "\\"))
        assert server.text() == to_json({**start, "\\": value}).decode()


@thorough
@given(
    start=st.dictionaries(NAMES, VALUES.filter(is_easy), max_size=4),
    name=NAMES,
    value=VALUES.filter(is_easy),
    outer=NAMES,
)
@example(start={}, name="", value=None, outer="\\")
@example(start={"\\": 1}, name="\\", value={"\\": 2}, outer="\"'")
@example(start={"a": 1, " a": 2}, name=" a", value=3, outer=" ")
def test_objects_are_dicts(server: Server, start: dict[str, Any], name: str, value: Any, outer: str) -> None:
    """Any text names one entry and no other: set, replaced and removed, inside an entry of any name."""
    local = dict(start)
    server.call("document.save", [DOCUMENT], ("", "0", "$", *taken({"d": {outer: start, "other": 1}})))
    for script in ("map.set_item", "map.pop", "map.pop"):
        extra = changed(server, Operation(script, ("d", outer), taken(value) if script == "map.set_item" else (), name))
        if script == "map.set_item":
            local[name] = value
        else:
            assert same(None if extra is None else json.loads(extra), local.pop(name, None))
        found = json.loads(server.text() or "")["d"]
        assert same(sorted(found.items(), key=str), sorted({outer: found[outer], "other": 1}.items(), key=str))
        assert same(sorted(found[outer].items()), sorted(local.items()))


ODD = st.sampled_from(["\\", " ", "\"'", "a", "a b"])


@settings(max_examples=300, deadline=None)
@given(
    start=st.dictionaries(ODD, VALUES.filter(is_easy), max_size=3),
    changes=st.lists(st.tuples(ODD, st.one_of(st.just("pop"), VALUES.filter(is_easy))), min_size=1, max_size=6),
    inside=st.one_of(st.none(), ODD),
    others=st.sets(st.integers(0, 5)),
)
@example(start={}, changes=[("\\", None), (" ", {"a": None}), ("\\", "pop"), ("a", 1)], inside=None, others={1})
@example(start={"\\": None}, changes=[("\\", {"\\": None}), ("a", None), (" ", 1)], inside="\\", others={0, 2})
def test_many_splices_of_one_call_are_changes_of_a_dict(
    server: Server, start: dict[str, Any], changes: list[Any], inside: str | None, others: set[int]
) -> None:
    """Of one object, plain names among them, with changes of something else in between, null or not."""
    steps, nested = (("d",), start) if inside is None else (("d", inside), {inside: start})
    server.call("document.save", [DOCUMENT], ("", "0", "$", *taken({"n": 0, "d": nested})))
    local, calls = dict(start), []
    for index, (name, item) in enumerate(changes):
        if index in others:
            calls.append(Change("number.increase", ("$.n", "1"), dependent=True))
        operation = Operation("map.pop", steps, (), name)
        if item == "pop":
            local.pop(name, None)
        else:
            local[name] = item
            operation = Operation("map.set_item", steps, taken(item), name)
        ready = writable(operation)
        calls.append(Change(ready.script, ready.flat(), dependent=True))
    (text, whole), _ = server.call("batch.apply", *batch(calls, reads=((1, absolute(("d",))), (1, "$"))))
    found = json.loads(text)
    assert json.loads(whole)["d"] == found
    assert same(sorted((found[inside] if inside else found).items()), sorted(local.items()))
    assert list(server.state()) == [DOCUMENT.encode()]


def test_what_stands_for_null_is_no_value_below_such_a_name(server: Server) -> None:
    """It is refused there, and beside such a null, so that nothing else ever becomes null."""
    mark = "\x01rapyer null\x01"
    put(server, {"\\": 1, "\"'": [mark]})
    for operation in (
        Operation("value.set", (), taken(mark), "\\"),
        Operation("value.set", (), taken(None), "\\"),
        Operation("list.extend", ("\"'",), ("1", "1", "0")),
    ):
        ready = writable(operation)
        assert server.refusal("batch.apply", *batch([Change(ready.script, ready.flat())])).startswith("OUT_OF_RANGE 0 ")
    changed(server, Operation("value.set", (), ("2", "0"), "\\"))
    assert json.loads(server.text() or "") == {"\\": 2, "\"'": [mark]}


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_name_no_path_can_hold_is_spliced(server: Server, name: str, depth: int) -> None:
    """Set, read back by others' operations, changed in place and deleted, up to three such names deep."""
    steps: tuple[str, ...] = ()
    document: Any = {"n": 1, "l": [], "t": "a"}
    for _ in range(depth):
        document, steps = {name: document, "beside": [1.5, None, {"a": "b"}]}, (name, *steps)
    server.put(to_json(document))
    inner = document
    for step in steps:
        inner = inner[step]
    changed(server, Operation("number.increase", (*steps, "n"), ("2",)))
    changed(server, Operation("list.extend", (*steps, "l"), ("1", "5", "0")))
    changed(server, Operation("text.append", (*steps, "t"), ('"b"',)))
    changed(server, Operation("value.set", steps, ("true", "0"), "new"))
    assert changed(server, Operation("list.pop", (*steps, "l"), ("0", "refuse"))) == b"5"
    inner |= {"n": 3, "t": "ab", "new": True}
    assert json.loads(server.text() or "") == document
    outer = document
    for step in steps[:-1]:
        outer = outer[step]
    changed(server, Operation("map.delete_item", steps[:-1], (), steps[-1]))
    del outer[steps[-1]]
    assert json.loads(server.text() or "") == document


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (Operation("number.increase", ("\\",), ("1",)), "WRONG_TYPE"),
        (Operation("number.increase", ("\\", "gone"), ("1",)), "PATH_NOT_FOUND"),
        (Operation("number.increase", ("gone\\",), ("1",)), "PATH_NOT_FOUND"),
        (Operation("number.increase", ("gone", "\\"), ("1",)), "PATH_NOT_FOUND"),
        (Operation("map.delete_item", (), (), "gone\\"), "ENTRY"),
        (Operation("map.delete_item", ("list",), (), "\\"), "WRONG_TYPE"),
    ],
)
def test_a_refusal_below_such_a_name_writes_nothing(server: Server, operation: Operation, code: str) -> None:
    """A splice refuses with what its operation refuses with."""
    server.put('{"\\\\":{"a":1},"list":[]}')
    before = server.state()
    ready = writable(operation)
    assert server.refusal("batch.apply", *batch([Change(ready.script, ready.flat())])).startswith(f"{code} 0 ")
    assert server.state() == before


@pytest.mark.parametrize(
    "number", [0.1 + 0.2, 1e-7, 0.30000000000000004, 1.1e300, 123456789.12345679, 0.8414709848078965]
)
def test_doubles_beside_a_spliced_name_stay_as_they_are(server: Server, number: float) -> None:
    """The object around such a name is written again, exactly."""
    server.call("document.save", [DOCUMENT], ("", "0", "$", *taken({"\\": 1, "x": number, "y": "0.1e5"})))
    changed(server, Operation("number.increase", ("\\",), ("1",)))
    assert same(json.loads(server.text() or ""), {"\\": 2, "x": number, "y": "0.1e5"})


def test_a_splice_of_a_missing_document_makes_none(server: Server) -> None:
    """Nothing is left behind, neither the document nor a key for its own use."""
    ready = writable(Operation("map.set_item", (), ("1", "0"), "\\"))
    refusal = server.refusal("batch.apply", *batch([Change(ready.script, ready.flat())]))
    assert refusal.startswith("KEY_NOT_FOUND 0 ")
    skipped = Documented(missing="skip", own=(BACKUP, *WORK))
    server.call("batch.apply", *batch([Change(ready.script, ready.flat())], skipped))
    assert server.state() == {}


@thorough
@given(names=st.lists(NAMES, unique=True, max_size=5), steps=st.sampled_from([(), ("d",), ("a b",), ("'",), ('"',)]))
@example(names=["/", "\x7f", "\u2028"], steps=())
@example(names=NASTY, steps=("d",))
def test_popitem_takes_every_entry_once(server: Server, names: list[str], steps: tuple[str, ...]) -> None:
    """It takes entries whole, whatever their names are, until there are none."""
    inner = {name: [index, None] for index, name in enumerate(names)}
    server.put(to_json({steps[0]: inner} if steps else inner))
    popped = {}
    for _ in names:
        _, (name, text) = server.operate("map.pop_item", absolute(steps))
        popped[name.decode()] = json.loads(text)
    assert popped == inner
    assert server.refusal("map.pop_item", [DOCUMENT], ("", "0", absolute(steps))).startswith("ENTRY")


def test_popitem_takes_the_newest_first(server: Server) -> None:
    """As Python's does, for an object that only grew."""
    server.put(to_json({f"k{index}": index for index in range(50)}))
    names = [server.operate("map.pop_item", "$")[1][0].decode() for _ in range(50)]
    assert names == [f"k{index}" for index in reversed(range(50))]


def test_popitem_after_a_removal_takes_the_last_of_redis(server: Server) -> None:
    """RedisJSON puts the last member where one was removed: what it lists last is what goes."""
    server.put('{"a":1,"b":2,"c":3,"d":4}')
    assert server.operate("map.pop", "$", "$.b")[0] == b'{"a":1,"d":4,"c":3}'
    assert server.operate("map.pop_item", "$")[1] == [b"c", b"3"]
    assert server.operate("map.pop_item", "$")[1] == [b"d", b"4"]
