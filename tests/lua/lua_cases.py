"""One table of cases for every script: what it does, and each refusal its header names.

Rules:
- A happy case states reply and document afterwards in full; a refused one states the code.
- `operation` adds to each happy case of an operation the refusals that all operations share.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from lua_server import DOCUMENT, LOCK, QUEUE, Change, Documented, batch, value

TOKEN = "mine"  # noqa: S105 - a lock's
FENCE = "17"
ABSENT = None
ANYTHING = object()
COPIES = ("{User:1}:2", "{User:1}:3")


class Case(NamedTuple):
    """A call of one script."""

    script: str
    rule: str
    stored: str | None
    keys: tuple[str, ...]
    arguments: tuple[str | bytes, ...]
    reply: Any = None
    after: str | None = None
    code: str = ""
    kind: str = "json"
    owner: str = TOKEN

    def __str__(self) -> str:
        """Name the case in a test's id."""
        return "-".join(filter(None, (self.script, self.code, self.rule)))


def _operation(script: str, stored: str, arguments: tuple[str | bytes, ...], **more: Any) -> Case:
    return Case(script, more.pop("rule", "does it"), stored, (DOCUMENT, LOCK), ("", "1", FENCE, *arguments), **more)


def operation(script: str, stored: str, wrong: str, arguments: tuple[str | bytes, ...], **more: Any) -> list[Case]:
    """Return a happy case of an operation on `$.x` and the refusals that all of them share.

    Args:
        script: its name.
        stored: the document it works on.
        wrong: a document in which the place holds what it cannot work on.
        arguments: path and what follows it.
        more: what a `Case` takes.
    """
    spoiled = {"reply": None, "after": None, "rule": more.get("rule", "")}

    def refused(code: str, text: str | None, **other: Any) -> Case:
        return _operation(script, text, arguments, **{**more, **spoiled, "code": code, **other})

    return [
        _operation(script, stored, arguments, **more),
        refused("LOCK_LOST", stored, owner="another"),
        refused("KEY_NOT_FOUND", ABSENT),
        refused("PATH_NOT_FOUND", '{"other":1}'),
        refused("WRONG_TYPE", wrong),
        refused("WRONG_TYPE", "text", kind="string", rule="no document"),
    ]


def _refused(script: str, code: str, stored: str | None, *arguments: str | bytes, rule: str = "") -> Case:
    return _operation(script, stored, arguments, code=code, rule=rule)


def _integers() -> list[Case]:
    table = {
        "increase": ("7", "2", "9"),
        "decrease": ("7", "2", "5"),
        "multiply": ("7", "2", "14"),
        "floor_divide": ("-7", "2", "-4"),
        "modulo": ("-7", "2", "1"),
        "power": ("7", "2", "49"),
    }
    cases = []
    for name, (old, operand, new) in table.items():
        cases += operation(
            f"number.{name}", f'{{"x":{old}}}', '{"x":1.5}', ("$.x", operand), reply=[new, None], after=f'{{"x":{new}}}'
        )
    return cases


def _doubles() -> list[Case]:
    table = {
        "increase_double": ("1.5", "0.25", "1.75"),
        "decrease_double": ("1.5", "0.25", "1.25"),
        "multiply_double": ("1.5", "0.5", "0.75"),
        "divide_double": ("3", "0.5", "6.0"),
    }
    cases = []
    for name, (old, operand, new) in table.items():
        cases += operation(
            f"number.{name}",
            f'{{"x":{old}}}',
            '{"x":"1.5"}',
            ("$.x", operand),
            reply=[new, None],
            after=f'{{"x":{new}}}',
        )
    return cases


LARGEST, SMALLEST = f'{{"x":{2**63 - 1}}}', f'{{"x":{-(2**63)}}}'

NUMBERS = [
    *_integers(),
    *_doubles(),
    _refused("number.increase", "OUT_OF_RANGE", LARGEST, "$.x", "1"),
    _refused("number.decrease", "OUT_OF_RANGE", SMALLEST, "$.x", "1"),
    _refused("number.multiply", "OUT_OF_RANGE", LARGEST, "$.x", "2"),
    _refused("number.floor_divide", "OUT_OF_RANGE", SMALLEST, "$.x", "-1"),
    _refused("number.floor_divide", "ZERO_DIVISION", '{"x":1}', "$.x", "0"),
    _refused("number.modulo", "ZERO_DIVISION", '{"x":1}', "$.x", "0"),
    _refused("number.power", "OUT_OF_RANGE", '{"x":2}', "$.x", "63"),
    _refused("number.increase_double", "OUT_OF_RANGE", '{"x":1e308}', "$.x", "1e308"),
    _refused("number.decrease_double", "OUT_OF_RANGE", '{"x":-1e308}', "$.x", "1e308"),
    _refused("number.multiply_double", "OUT_OF_RANGE", '{"x":1e308}', "$.x", "10.0"),
    _refused("number.divide_double", "OUT_OF_RANGE", '{"x":1e308}', "$.x", "0.1"),
    _refused("number.divide_double", "ZERO_DIVISION", '{"x":1.0}', "$.x", "0.0"),
]


def _together(rule: str, stored: str | None, *amounts: str, **more: Any) -> Case:
    return Case("number.increase_each", rule, stored, (DOCUMENT,), ("", "$.x", " ".join(amounts)), **more)


#: For callers that wait together; no operation of a batch.
TOGETHER = [
    _together("does it", '{"x":7}', "2", f"{2**63 - 1}", "-1", reply=[["9", ANYTHING, "8"]], after='{"x":8}'),
    _together("", LARGEST, "1", code="OUT_OF_RANGE"),
    _together("", ABSENT, "1", code="KEY_NOT_FOUND"),
    _together("", '{"other":1}', "1", code="PATH_NOT_FOUND"),
    _together("", '{"x":1.5}', "1", code="WRONG_TYPE"),
    _together("no document", "text", "1", code="WRONG_TYPE", kind="string"),
]

TEXTS = [
    *operation("text.append", '{"x":"a\\""}', '{"x":1}', ("$.x", '"é\\n"'), reply=['"a\\"é\\n"', None]),
    *operation("bytes.append", '{"x":"YQ=="}', '{"x":1}', ("$.x", b"\xff"), reply=['"Yf8="', None]),
    _refused("bytes.append", "WRONG_TYPE", '{"x":"no base64!"}', "$.x", b"a", rule="no base64"),
    *operation(
        "moment.add",
        '{"x":"2024-02-28T23:59:59.5+02:00"}',
        '{"x":"yesterday"}',
        ("$.x", "0", "1", "500000"),
        reply=['"2024-02-29T00:00:01+02:00"', None],
    ),
    _refused("moment.add", "OUT_OF_RANGE", '{"x":"9999-12-31T00:00:00"}', "$.x", "1", "0", "0"),
    _refused("moment.add", "OUT_OF_RANGE", '{"x":"0001-01-01T00:00:00"}', "$.x", "-1", "0", "0", rule="too early"),
]

ARRAY, NO_ARRAY = '{"x":[1,"a",2.0]}', '{"x":{}}'

LISTS = [
    *operation("list.extend", ARRAY, NO_ARRAY, ("$.x", "2", "3", "0", "[]", "0"), reply=['[1,"a",2.0,3,[]]', None]),
    *operation("list.insert", ARRAY, NO_ARRAY, ("$.x", "1", "3", "0"), reply=['[1,3,"a",2.0]', None]),
    *operation("list.pop", ARRAY, NO_ARRAY, ("$.x", "1", "refuse"), reply=["[1,2.0]", '"a"']),
    _refused("list.pop", "INDEX", ARRAY, "$.x", "3", "refuse"),
    _refused("list.pop", "INDEX", ARRAY, "$.x", "-4", "refuse", rule="before the first"),
    _refused("list.pop", "INDEX", '{"x":[]}', "$.x", "0", "refuse", rule="empty"),
    _operation("list.pop", '{"x":[]}', ("$.x", "0", "none"), reply=["[]", None], rule="empty gives nothing"),
    *operation("list.remove", ARRAY, NO_ARRAY, ("$.x", "2", "0"), reply=['[1,"a"]', None]),
    _refused("list.remove", "VALUE", ARRAY, "$.x", '"b"', "0"),
    *operation("list.set_item", ARRAY, NO_ARRAY, ("$.x", "-1", "3", "0"), reply=['[1,"a",3]', None]),
    _refused("list.set_item", "INDEX", ARRAY, "$.x", "3", "3", "0"),
    _refused("list.set_item", "INDEX", ARRAY, "$.x", "-4", "3", "0", rule="before the first"),
]

SETS = [
    *operation("set.add", ARRAY, NO_ARRAY, ("$.x", "2", "1", "1", "0", "3", "3", "0"), reply=['[1,"a",2.0,3]', None]),
    *operation("set.discard", ARRAY, NO_ARRAY, ("$.x", "2", "1", "3"), reply=['["a",2.0]', None]),
    *operation("set.keep", ARRAY, NO_ARRAY, ("$.x", "2", "1", "3"), reply=["[1]", None]),
    *operation("set.pop", ARRAY, NO_ARRAY, ("$.x",), reply=['[1,"a"]', "2.0"]),
    _operation("set.pop", '{"x":[]}', ("$.x",), reply=["[]", None], rule="nothing there"),
    *operation("set.remove", ARRAY, NO_ARRAY, ("$.x", '"a"'), reply=["[1,2.0]", None]),
    _refused("set.remove", "ENTRY", ARRAY, "$.x", "3"),
]

OBJECT, NO_OBJECT = '{"x":{"a":1,"b":[]}}', '{"x":"a"}'

MAPS = [
    *operation("map.delete_item", OBJECT, NO_OBJECT, ("$.x", "$.x.a"), reply=['{"b":[]}', None]),
    _refused("map.delete_item", "ENTRY", OBJECT, "$.x", "$.x.c"),
    *operation("map.pop", OBJECT, NO_OBJECT, ("$.x", "$.x.b"), reply=['{"a":1}', "[]"]),
    _operation("map.pop", OBJECT, ("$.x", "$.x.c"), reply=['{"a":1,"b":[]}', None], rule="nothing there"),
    *operation("map.pop_item", OBJECT, NO_OBJECT, ("$.x",), reply=['{"a":1}', ["b", "[]"]]),
    _refused("map.pop_item", "ENTRY", '{"x":{}}', "$.x"),
    *operation("map.set_item", OBJECT, NO_OBJECT, ("$.x", "$.x.c", "2", "0"), reply=['{"a":1,"b":[],"c":2}', None]),
    _refused("map.set_item", "INDEX", ARRAY, "$.x", "$.x[3]", "2", "0"),
    *operation(
        "map.update",
        OBJECT,
        NO_OBJECT,
        ("$.x", "", "2", "$.x.a", "2", "0", '$.x["c d"]', "{}", "0"),
        reply=['{"a":2,"b":[],"c d":{}}', None],
    ),
    *operation(
        "map.update",
        OBJECT,
        NO_OBJECT,
        ("$.x", '{"b":[null],"\\\\":"c"}'),
        reply=['{"a":1,"b":[null],"\\\\":"c"}', None],
        rule="a patch",
    ),
]

VALUES = [
    *operation(
        "value.set", OBJECT, NO_OBJECT, ("$.x", "$.x.c", "2", "0"), reply=["", None], after='{"x":{"a":1,"b":[],"c":2}}'
    ),
    _refused("value.set", "INDEX", ARRAY, "$.x", "$.x[3]", "2", "0"),
    _refused("value.set", "WRONG_TYPE", OBJECT, "$.x", "$.x[0]", "2", "0", rule="an object's element"),
    _refused("value.set", "WRONG_TYPE", ARRAY, "$.x", "$.x.a", "2", "0", rule="an array's member"),
    *operation("value.clear", ARRAY, OBJECT, ("$.x", "array", "[]"), reply=["[]", None]),
    Case("value.load", "reads", ARRAY, (DOCUMENT,), ("$.x[2]",), "2.0", ARRAY),
    Case("value.load_refresh", "reads", ARRAY, (DOCUMENT,), ("$.x", ""), '[1,"a",2.0]', ARRAY),
]

DOCUMENTS = [
    *operation(
        "document.update",
        '{"x":{"a":1}}',
        NO_OBJECT,
        ("$.x", "", "2", "$.x.a", '"b"', "0", "$.x.c", "null", "0"),
        reply=["", None],
        after='{"x":{"a":"b","c":null}}',
    ),
    *operation(
        "document.update",
        '{"x":{"a":1}}',
        NO_OBJECT,
        ("$.x", '{"a":"b","c":2}'),
        reply=["", None],
        after='{"x":{"a":"b","c":2}}',
        rule="a patch",
    ),
    _operation("document.save", ABSENT, ("$", *value({"x": 1})), reply=["", None], after='{"x":1}', rule="new"),
    _operation("document.save", ARRAY, ("$", *value({"x": 1})), reply=["", None], after='{"x":1}', rule="old"),
    _operation("document.save", ARRAY, ("$", *value({"x": 1})), code="LOCK_LOST", owner="another"),
    _operation("document.save", "text", ("$", *value({"x": 1})), code="WRONG_TYPE", kind="string"),
    _operation("document.delete", ARRAY, ("$",), reply=[1, None], after=ABSENT),
    _operation("document.delete", ABSENT, ("$",), reply=[0, None], after=ABSENT, rule="nothing there"),
    _operation("document.delete", ARRAY, ("$",), code="LOCK_LOST", owner="another"),
    _operation("document.delete", "text", ("$",), code="WRONG_TYPE", kind="string"),
    Case("document.load", "reads", ARRAY, (DOCUMENT,), (), ARRAY, ARRAY),
    Case("document.load_refresh", "reads", ARRAY, (DOCUMENT,), ("",), ARRAY, ARRAY),
    Case("document.load_many", "leaves out", "1", (COPIES[0], DOCUMENT, LOCK), (), [None, "1", None], "1"),
    Case("document.load_many_refresh", "leaves out", "1", (COPIES[0], DOCUMENT, LOCK), ("",), [None, "1", None], "1"),
    Case("document.duplicate", "copies", ARRAY, COPIES, ("", *value({"x": 1}), ""), 2, ARRAY),
    Case("document.duplicate", "is there", ARRAY, (COPIES[0], DOCUMENT), ("", *value(1), ""), code="KEY_EXISTS"),
    Case("document.duplicate", "twice", ABSENT, (COPIES[0], COPIES[0]), ("", *value(1), ""), code="KEY_EXISTS"),
    Case("document.duplicate", "thrice", ABSENT, (*COPIES, COPIES[1]), ("", *value(1), ""), code="KEY_EXISTS"),
]


def _reads() -> list[Case]:
    cases = []
    for name, arguments in (("value.load", ("$.x",)), ("value.load_refresh", ("$.x", "9000"))):
        cases.append(Case(name, "", '{"y":1}', (DOCUMENT,), arguments, code="PATH_NOT_FOUND"))
    for name, arguments in (
        ("value.load", ("$.x",)),
        ("value.load_refresh", ("$.x", "9000")),
        ("document.load", ()),
        ("document.load_refresh", ("9000",)),
    ):
        cases += [
            Case(name, "", ABSENT, (DOCUMENT,), arguments, code="KEY_NOT_FOUND"),
            Case(name, "", "text", (DOCUMENT,), arguments, code="WRONG_TYPE", kind="string"),
        ]
    return cases


FREE = LOCK + "2"
TERMS = ("9000", "", "info")
NOBODY = ("channel",)


def _acquire(rule: str, stored: str | None, lock: str, *, who: str = TOKEN, **more: Any) -> Case:
    return Case("lock.acquire", rule, stored, (DOCUMENT, lock, QUEUE), (who, *TERMS, "channel", ""), **more)


def _release(rule: str, token: str, reply: list[Any], fence: str = "") -> Case:
    return Case("lock.release", rule, ARRAY, (DOCUMENT, LOCK, QUEUE), (token, fence, "", *NOBODY), reply, ARRAY)


def _renew(rule: str, field: str, value: str, *, renewed: int) -> Case:
    keys, arguments = (FREE, LOCK, DOCUMENT), (field, value, "9000") * 3
    return Case("lock.renew", rule, ARRAY, keys, arguments, [0, renewed, 0], ARRAY)


def _save(code: str, stored: str | None, *changes: str, **more: Any) -> Case:
    count = sum(change in {"value.set", "map.pop"} for change in changes)
    arguments = ("", "1", FENCE, str(count), *changes, *NOBODY)
    return Case("lock.save", "", stored, (DOCUMENT, LOCK, QUEUE), arguments, code=code, **more)


SETS_B = ("value.set", "$.x", "$.x.b", "2", "0")

LOCKS = [
    _save("", OBJECT, *SETS_B, "map.pop", "$.x", "$.x.a", reply=[1], after='{"x":{"b":2}}'),
    _save("LOCK_LOST", OBJECT, *SETS_B, owner="another"),
    _save("KEY_NOT_FOUND", ABSENT, *SETS_B),
    _save("PATH_NOT_FOUND", '{"y":1}', *SETS_B),
    _save("WRONG_TYPE", '{"x":1,"y":1}', "value.set", "$", "$.y", "2", "0", *SETS_B),
    _save("INDEX", '{"x":[]}', "value.set", "$.x", "$.x[0]", "2", "0"),
    _acquire("takes", ARRAY, FREE, reply=[0, [TOKEN, ANYTHING, ARRAY]], after=ARRAY),
    _acquire("has", ARRAY, LOCK, reply=[0, [TOKEN, ANYTHING, ARRAY]], after=ARRAY),
    _acquire("is taken", ARRAY, LOCK, who="other", reply=[-1, None], after=ARRAY),
    _acquire("", ABSENT, FREE, code="KEY_NOT_FOUND"),
    _acquire("", "text", FREE, code="WRONG_TYPE", kind="string"),
    _release("gives back", TOKEN, [1]),
    _release("gives back what it has", TOKEN, [1], FENCE),
    _release("is another's", "other", [0]),
    _release("was given anew", TOKEN, [0], "16"),
    Case("lock.note", "notes", ARRAY, (LOCK,), ("channel", "3"), 1, ARRAY),
    Case("lock.note", "is held by nobody", ARRAY, (FREE,), ("channel", "3"), 0, ARRAY),
    _renew("by token", "owner", TOKEN, renewed=1),
    _renew("by number", "fence", FENCE, renewed=1),
    _renew("not another's", "owner", "other", renewed=0),
    _renew("not one that was given anew", "fence", "16", renewed=0),
]

_HELD = Documented(locks=((LOCK, FENCE),))


def _batch(rule: str, stored: str | None, *changes: tuple[str, ...], **more: Any) -> Case:
    keys, arguments = batch([Change(name, rest) for name, *rest in changes], _HELD, reads=((1, "$.x"),))
    return Case("batch.apply", rule, stored, tuple(keys), tuple(arguments), **more)


BATCHES = [
    _batch(
        "does all",
        '{"x":[],"n":1}',
        ("number.increase", "$.n", "1"),
        ("list.extend", "$.x", "1", "5", "0"),
        reply=[["[5]"], None],
        after='{"x":[5],"n":2}',
    ),
    _batch("", ARRAY, ("value.clear", "$.x", "array", "[]"), code="LOCK_LOST", owner="another"),
    _batch("", ABSENT, ("value.clear", "$.x", "array", "[]"), code="KEY_NOT_FOUND"),
    _batch("", ARRAY, ("value.clear", "$.y", "array", "[]"), code="PATH_NOT_FOUND"),
    _batch("", ARRAY, ("value.clear", "$.x", "object", "{}"), code="WRONG_TYPE"),
    _batch("", LARGEST, ("number.increase", "$.x", "1"), code="OUT_OF_RANGE"),
    _batch("", LARGEST, ("number.modulo", "$.x", "0"), code="ZERO_DIVISION"),
    _batch("", ARRAY, ("list.pop", "$.x", "9", "none"), code="INDEX"),
    _batch("", ARRAY, ("list.remove", "$.x", "9", "0"), code="VALUE"),
    _batch("", OBJECT, ("map.delete_item", "$.x", "$.x.c"), code="ENTRY"),
]

CASES: list[Case] = [
    *NUMBERS,
    *TOGETHER,
    *TEXTS,
    *LISTS,
    *SETS,
    *MAPS,
    *VALUES,
    *DOCUMENTS,
    *_reads(),
    *LOCKS,
    *BATCHES,
]
HAPPY = [case for case in CASES if not case.code]
REFUSED = [case for case in CASES if case.code]


def expected_document(case: Case) -> Any:
    """Return what the document holds after a happy case, as Python values; by default the reply is at `$.x`."""
    if case.after is None and case.script.partition(".")[0] not in {"document", "lock", "batch"}:
        return {"x": json.loads(case.reply[0])}
    return None if case.after is None else json.loads(case.after)
