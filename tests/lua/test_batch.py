"""`batch.apply`: many operations, all or none, and no trace of how it was done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from lua_server import BACKUP, DOCUMENT, LOCK, WORK, Change, Documented, batch, value

from rapyer._ops import Operation, writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lua_server import Server

START = {"n": 1, "l": [1, 2], "d": {"\\": 1}}
SPLICE = writable(Operation("number.increase", ("d", "\\"), ("1",)))
GOOD = [
    Change("number.increase", ("$.n", "1")),
    Change("list.extend", ("$.l", "1", "3", "0")),
    Change(SPLICE.script, SPLICE.flat()),
    Change("value.set", ("$", "$.new", *value({"x": 0.9715098593399603}))),
]
BAD = {
    "PATH_NOT_FOUND": Change("number.increase", ("$.gone", "1")),
    "WRONG_TYPE": Change("number.increase", ("$.l", "1")),
    "INDEX": Change("list.pop", ("$.l", "9", "refuse")),
    "ZERO_DIVISION": Change("number.modulo", ("$.n", "0")),
}


def flagged(changes: Sequence[Change], *, dependent: bool) -> list[Change]:
    """Return the changes with every one but the first marked alike."""
    return [change._replace(dependent=dependent and index > 0) for index, change in enumerate(changes)]


@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize("place", range(len(GOOD) + 1))
@pytest.mark.parametrize("code", BAD)
def test_one_refused_operation_undoes_all(server: Server, code: str, place: int, dependent: bool) -> None:  # noqa: FBT001
    """Wherever it stands: the refusal has its index, and every key is as it was, with its expiry."""
    server.put(json.dumps(START))
    server.redis.pexpire(DOCUMENT, 50000)
    before = server.state()
    changes = flagged([*GOOD[:place], BAD[code], *GOOD[place:]], dependent=dependent)
    documented = Documented(ttl="90000", own=(BACKUP, *WORK))
    assert server.refusal("batch.apply", *batch(changes, documented)).startswith(f"{code} {place} ")
    assert server.state() == before


@pytest.mark.parametrize("dependent", [False, True])
def test_all_operations_apply_in_order(server: Server, dependent: bool) -> None:  # noqa: FBT001
    """Document, reads and expiry are right, and no key for own use is left."""
    server.put(json.dumps(START))
    documented = Documented(ttl="90000", own=(BACKUP, *WORK))
    keys, arguments = batch(flagged(GOOD, dependent=dependent), documented, reads=[(1, "$.n"), (1, "$.gone"), (1, "$")])
    (number, gone, text), extra = server.call("batch.apply", keys, arguments)
    assert (number, gone, extra) == (b"2", None, None)
    assert json.loads(text) == {"n": 2, "l": [1, 2, 3], "d": {"\\": 2}, "new": {"x": 0.9715098593399603}}
    assert list(server.state()) == [DOCUMENT.encode()]
    assert 80000 < server.redis.pttl(DOCUMENT) <= 90000


def test_a_dependent_operation_sees_what_came_before(server: Server) -> None:
    """It is checked against what the earlier ones wrote."""
    server.put('{"n":0}')
    changes = [
        Change("value.set", ("$", "$.l", "[]", "0")),
        Change("list.extend", ("$.l", "2", "1", "0", "2", "0"), dependent=True),
        Change("list.pop", ("$.l", "0", "refuse"), dependent=True),
    ]
    assert server.call("batch.apply", *batch(changes, reads=[(1, "$.l")])) == [[b"[2]"], b"1"]


def test_the_last_operation_answers(server: Server) -> None:
    """What an earlier one answers besides is dropped."""
    server.put('{"l":[1,2]}')
    pop = Change("list.pop", ("$.l", "0", "refuse"))
    clear = Change("value.clear", ("$.l", "array", "[]"), dependent=True)
    assert server.call("batch.apply", *batch([pop, clear])) == [[], None]


def test_an_empty_batch_only_reads(server: Server) -> None:
    """No operation is no fault; what is missing reads as nothing."""
    assert server.call("batch.apply", *batch([], reads=[(1, "$")])) == [[None], None]
    server.put("[1]")
    assert server.call("batch.apply", *batch([], reads=[(1, "$"), (1, "$[0]")])) == [[b"[1]", b"1"], None]


@pytest.mark.parametrize("kind", ["string", "list", "hash"])
def test_a_key_of_another_kind_stays(server: Server, kind: str) -> None:
    """Also when documents of the same call would change."""
    other = "{User:1}other"
    {"string": server.redis.set, "list": server.redis.rpush, "hash": lambda key, _: server.redis.hset(key, "f", "v")}[
        kind
    ](other, "v")
    server.put('{"n":1}')
    before = server.state()
    changes = [
        Change("number.increase", ("$.n", "1")),
        Change("document.save", ("$", "1", "0"), document=2, dependent=True),
    ]
    documents = (Documented(own=(BACKUP,)), Documented(other, own=(other + "backup",)))
    assert server.refusal("batch.apply", *batch(changes, *documents)) == f"WRONG_TYPE 1 {kind}"
    assert server.state() == before


# -- documents that are gone -----------------------------------------------------------------------------------------


def test_skip_leaves_out_only_what_is_gone(server: Server) -> None:
    """Operations on the other documents apply, and the missing one is not recreated."""
    gone = "{User:1}gone"
    server.put('{"n":1}')
    changes = [
        Change("number.increase", ("$.n", "1"), document=2),
        Change("number.increase", ("$.n", "1")),
        Change("value.set", ("$", "$.m", "1", "0"), document=2, dependent=True),
    ]
    documents = (Documented(own=(BACKUP,)), Documented(gone, "90000", "skip", (gone + "backup",)))
    server.call("batch.apply", *batch(changes, *documents))
    assert server.text() == '{"n":2}'
    assert list(server.state()) == [DOCUMENT.encode()]


def test_skip_forgives_nothing_else(server: Server) -> None:
    """A path that is gone is refused as ever."""
    server.put("{}")
    changes = [Change("number.increase", ("$.n", "1"))]
    assert server.refusal("batch.apply", *batch(changes, Documented(missing="skip"))).startswith("PATH_NOT_FOUND")


def test_a_batch_may_create_and_delete(server: Server) -> None:
    """A save makes a document that later operations work on; a refusal after it takes it away again."""
    save = Change("document.save", ("$", '{"n":1}', "0"))
    changes = [save, Change("number.increase", ("$.n", "1"), dependent=True)]
    server.call("batch.apply", *batch(changes))
    assert server.text() == '{"n":2}'
    server.call("batch.apply", *batch([*changes, Change("document.delete", ("$",), dependent=True)]))
    assert server.state() == {}
    server.refusal("batch.apply", *batch([*changes, BAD["PATH_NOT_FOUND"]._replace(dependent=True)]))
    assert server.state() == {}


def test_a_deleted_document_comes_back_whole(server: Server) -> None:
    """With its expiry, when a later operation is refused."""
    server.put('{"n":1}')
    server.redis.pexpire(DOCUMENT, 50000)
    before = server.state()
    changes = [Change("document.delete", ("$",)), BAD["PATH_NOT_FOUND"]._replace(dependent=True)]
    assert server.refusal("batch.apply", *batch(changes)).startswith("KEY_NOT_FOUND 1 ")
    assert server.state() == before


# -- locks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fence", ["18", None])
def test_a_lost_lock_refuses_everything(server: Server, fence: str | None) -> None:
    """The second lock of the document is lost: the detail is the number of its key, and nothing is written."""
    server.put('{"n":1}')
    server.redis.hset(LOCK, "fence", "17")
    if fence:
        server.redis.hset(LOCK + "2", "fence", fence)
    before = server.state()
    documented = Documented(locks=((LOCK, "17"), (LOCK + "2", "17")), own=(BACKUP, *WORK))
    assert server.refusal("batch.apply", *batch(GOOD[:1], documented)) == "LOCK_LOST 0 3"
    assert server.state() == before


# -- what nobody foresaw ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [125, 126, 127])
def test_too_deep_a_value_below_a_spliced_name_undoes_all(server: Server, depth: int) -> None:
    """Changes of two documents that were written before it are taken back, with expiry and keys for own use."""
    other = "{User:1}other"
    for key in (DOCUMENT, other):
        server.put('{"n":1,"d":{}}', key)
        server.redis.pexpire(key, 50000)
    before = server.state()
    deep = writable(Operation("map.set_item", ("d",), ("[" * depth + "]" * depth, "0"), "\\"))
    changes = [
        Change("number.increase", ("$.n", "1"), document=2),
        Change("number.multiply", ("$.n", "3"), document=2, dependent=True),
        Change("number.increase", ("$.n", "1")),
        Change("number.multiply", ("$.n", "3"), dependent=True),
        Change(deep.script, deep.flat()),
    ]
    call = batch(changes, Documented(ttl="90000", own=(BACKUP, *WORK)), Documented(other, own=(other + "backup",)))
    if depth < 127:
        server.call("batch.apply", *call)
        assert set(server.state()) == set(before)
    else:
        assert server.refusal("batch.apply", *call).startswith("OUT_OF_RANGE 4 ")
        assert server.state() == before


@pytest.mark.parametrize("where", range(1, 4))
def test_an_error_of_redis_itself_undoes_all(server: Server, where: int) -> None:
    """A path that it cannot read, which no client sends: everything is as it was, and the error is told."""
    server.put('{"n":1,"m":1}')
    server.redis.pexpire(DOCUMENT, 50000)
    before = server.state()
    changes = [
        Change("number.increase", ("$.n", "1")),
        Change("number.multiply", ("$.n", "3"), dependent=True),
        Change("number.increase", ("$.m", "1"), dependent=True),
    ]
    changes.insert(where, Change("number.increase", ("$..[", "1"), dependent=True))
    assert "Error occurred on position" in server.refusal("batch.apply", *batch(changes))
    assert server.state() == before


# -- size ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dependent", [False, True])
def test_five_thousand_operations_are_one_call(server: Server, dependent: bool) -> None:  # noqa: FBT001
    """On one value, on many, and with a refusal at the very end."""
    server.put(json.dumps({"n": 0, "l": []}))
    changes = [
        Change("number.increase", ("$.n", "1"), dependent=dependent)
        if index % 2
        else Change("list.extend", ("$.l", "1", str(index), "0"), dependent=dependent)
        for index in range(5000)
    ]
    before = server.state()
    assert server.refusal("batch.apply", *batch([*changes, BAD["PATH_NOT_FOUND"]])).startswith("PATH_NOT_FOUND 5000 ")
    assert server.state() == before
    if not dependent:
        changes = [change._replace(dependent=index > 1) for index, change in enumerate(changes)]
    server.call("batch.apply", *batch(changes))
    assert json.loads(server.text() or "") == {"n": 2500, "l": list(range(0, 5000, 2))}
    assert list(server.state()) == [DOCUMENT.encode()]


def test_a_thousand_documents_change_together(server: Server) -> None:
    """Each is put aside and comes back when the last operation is refused."""
    keys = [f"{{User:1}}{index}" for index in range(1000)]
    for key in keys:
        server.put('{"n":1}', key)
    documents = [Documented(key, own=(key + "backup",)) for key in keys]
    changes = [Change("number.increase", ("$.n", "1"), document=index + 1) for index in range(1000)]
    before = server.state()
    refused = Change("number.increase", ("$.gone", "1"), dependent=True, document=1000)
    assert server.refusal("batch.apply", *batch([*changes, refused], *documents)).startswith("PATH_NOT_FOUND 1000 ")
    assert server.state() == before
    server.call("batch.apply", *batch(changes, *documents))
    assert {server.text(key) for key in keys} == {'{"n":2}'}
