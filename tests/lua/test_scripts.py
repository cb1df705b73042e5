"""Every script alone: what it does, and that a refusal of any kind has written nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from lua_cases import ANYTHING, CASES, FENCE, HAPPY, REFUSED, TOKEN, Case, expected_document
from lua_server import BACKUP, DOCUMENT, LOCK, WORK, Change, Documented, batch

from rapyer._dispatch import ERRORS
from rapyer._registry import scripts

if TYPE_CHECKING:
    from lua_server import Server

OPERATIONS = [case for case in CASES if case.arguments[:3] == ("", "1", FENCE) and case.keys == (DOCUMENT, LOCK)]


def arrange(server: Server, case: Case) -> None:
    """Store what a case starts from: the document, and the lock with its owner."""
    if case.stored is not None:
        if case.kind == "string":
            server.redis.set(DOCUMENT, case.stored)
        else:
            server.put(case.stored)
    fence = FENCE if case.owner == TOKEN else "18"
    server.redis.hset(LOCK, mapping={"owner": case.owner, "fence": fence})


def matches(found: Any, expected: Any) -> bool:
    """Tell whether a reply is the expected one."""
    if expected is ANYTHING:
        return True
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(matches, found, expected))
    return found == (expected.encode() if isinstance(expected, str) else expected)


def stored(server: Server) -> Any:
    """Return the document as Python values."""
    text = server.text()
    return None if text is None else json.loads(text)


@pytest.mark.parametrize("case", HAPPY, ids=str)
def test_a_script_answers_and_leaves_what_its_case_says(server: Server, case: Case) -> None:
    """Reply and document afterwards are exactly those of the table."""
    arrange(server, case)
    reply = server.call(case.script, case.keys, case.arguments)
    assert matches(reply, case.reply)
    assert stored(server) == expected_document(case)


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_refusal_has_written_nothing(server: Server, case: Case) -> None:
    """The code is the table's, the message has its index and a detail, and every key is as it was, byte for byte."""
    arrange(server, case)
    before = server.state()
    code, index, detail = server.refusal(case.script, case.keys, case.arguments).split(" ", 2)
    assert code == case.code
    assert index.isdecimal()
    assert detail
    assert server.state() == before


@pytest.mark.parametrize("case", [case for case in OPERATIONS if not case.code], ids=str)
def test_an_operation_in_a_batch_does_what_it_does_alone(server: Server, case: Case) -> None:
    """The body exists once: the same document comes out of `batch.apply`."""
    arrange(server, case)
    keys, arguments = batch([Change(case.script, case.arguments[3:])], Documented(locks=((LOCK, FENCE),)))
    server.call("batch.apply", keys, arguments)
    assert stored(server) == expected_document(case)


@pytest.mark.parametrize("dependent", [False, True], ids=["independent", "dependent"])
@pytest.mark.parametrize("case", [case for case in OPERATIONS if case.code], ids=str)
def test_an_operation_refused_in_a_batch_undoes_what_came_before(server: Server, case: Case, dependent: bool) -> None:  # noqa: FBT001
    """A save in front of it, on which it depends or not, leaves nothing behind when it is refused."""
    arrange(server, case)
    other = Documented("{User:1}other", own=("{User:1}other-backup",))
    usual = Documented(locks=((LOCK, FENCE),), own=(BACKUP, *WORK))
    changes = [
        Change("document.save", ("$", "[1]", "0"), document=1),
        Change(case.script, case.arguments[3:], dependent=dependent, document=2),
    ]
    before = server.state()
    refusal = server.refusal("batch.apply", *batch(changes, other, usual))
    assert refusal.startswith(f"{case.code} {0 if case.code == 'LOCK_LOST' else 1} ")
    assert server.state() == before


@pytest.mark.parametrize("case", [case for case in OPERATIONS if not case.code], ids=str)
def test_a_writing_script_sets_the_expiry_itself(server: Server, case: Case) -> None:
    """A document that was written with a ttl has it, in milliseconds."""
    arrange(server, case)
    server.call(case.script, case.keys, ("60000", *case.arguments[1:]))
    if expected_document(case) is not None:
        assert 0 < server.redis.pttl(DOCUMENT) <= 60000


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("document.load_refresh", ("60000",)),
        ("value.load_refresh", ("$", "60000")),
        ("document.load_many_refresh", ("60000",)),
    ],
)
def test_a_refreshing_read_pushes_the_expiry_out(server: Server, script: str, arguments: tuple[str, ...]) -> None:
    """Only reads that are asked to do so change the ttl."""
    server.put("1")
    server.redis.pexpire(DOCUMENT, 5000)
    server.call("document.load", [DOCUMENT], ())
    server.call("document.load_many_refresh", [DOCUMENT], ("",))
    assert server.redis.pttl(DOCUMENT) <= 5000
    server.call(script, [DOCUMENT], arguments)
    assert 50000 < server.redis.pttl(DOCUMENT) <= 60000


def test_copies_have_their_key_field_and_expiry(server: Server) -> None:
    """Every copy has the value, its own key field and the ttl."""
    keys = ["{User:1}:2", "{User:1}:3"]
    server.call("document.duplicate", keys, ("60000", '{"id":"","x":0.1}', "0", "$.id", '"2"', '"3"'))
    assert [server.text(key) for key in keys] == ['{"id":"2","x":0.1}', '{"id":"3","x":0.1}']
    assert all(50000 < server.redis.pttl(key) <= 60000 for key in keys)


def test_no_copies_are_no_fault(server: Server) -> None:
    """Without keys nothing is written."""
    assert server.call("document.duplicate", [], ("", "1", "0", "")) == 0
    assert server.state() == {}


def test_every_script_has_a_happy_case() -> None:
    """A new script without a case fails here."""
    assert {case.script for case in HAPPY} == set(scripts())


def test_every_code_of_a_header_is_provoked() -> None:
    """The table and the ERRORS sections say the same."""
    provoked = {(case.script, case.code) for case in REFUSED}
    assert provoked == {(name, code) for name, script in scripts().items() for code in script.header.errors}


def test_every_code_has_a_python_error() -> None:
    """What the scripts refuse with and what the dispatcher maps are the same codes."""
    assert {case.code for case in REFUSED} == set(ERRORS)
