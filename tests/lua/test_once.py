"""The variant of each script that runs exactly once: same answer, and a repeated id gets the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from lua_cases import HAPPY, REFUSED, Case
from test_scripts import arrange, matches, stored

from rapyer._registry import once_scripts, scripts

if TYPE_CHECKING:
    from lua_server import Server

RECORD = "{User:1}record"


def once(server: Server, case: Case, name: str, place: str = "place") -> object:
    """Run the variant with this id."""
    script = once_scripts()[case.script]
    server.redis.script_load(script.source)
    arguments = (*case.arguments, place, name, "60000")
    return server.redis.evalsha(script.sha, len(case.keys) + 1, *case.keys, RECORD, *arguments)


def test_every_script_that_writes_has_a_variant() -> None:
    """Scripts that may run twice anyway have none."""
    assert set(once_scripts()) == {name for name, script in scripts().items() if not script.repeatable}


@pytest.mark.parametrize("case", [case for case in HAPPY if case.script in once_scripts()], ids=str)
def test_a_repeated_id_gets_the_first_answer(server: Server, case: Case) -> None:
    """The variant answers as the plain script does; again with the same id it changes nothing and answers the same."""
    arrange(server, case)
    first = once(server, case, "id")
    assert matches(first, case.reply)
    document = stored(server)
    assert str(once(server, case, "id")) == str(first)  # errors in an answer are no equal objects
    assert stored(server) == document
    assert 50000 < server.redis.pttl(RECORD) <= 60000


def test_places(server: Server) -> None:
    """A place holds the answer of the operation that used it last; operations in other places are kept beside it."""
    case = next(case for case in HAPPY if case.script == "number.increase")
    arrange(server, case)
    once(server, case, "a.", "one")
    once(server, case, "b.", "two")
    before = stored(server)
    once(server, case, "a.", "one")
    once(server, case, "b.", "two")
    assert stored(server) == before
    once(server, case, "c.", "one")
    assert stored(server) != before
    assert server.redis.hlen(RECORD) == 2


def test_expiry(server: Server) -> None:
    """A place that is used first sets the expiry, also where the record was lost; so does a repetition: it writes."""
    case = next(case for case in HAPPY if case.script == "number.increase")
    arrange(server, case)
    once(server, case, "a.")
    server.redis.pexpire(RECORD, 5000)
    once(server, case, "b.")
    assert server.redis.pttl(RECORD) <= 5000
    before = server.redis.info("persistence")["rdb_changes_since_last_save"]
    once(server, case, "b.")
    assert server.redis.info("persistence")["rdb_changes_since_last_save"] > before
    assert server.redis.pttl(RECORD) > 5000
    server.redis.delete(RECORD)
    once(server, case, "c.")
    assert server.redis.pttl(RECORD) > 5000


@pytest.mark.parametrize("case", [case for case in REFUSED if case.script == "number.increase"], ids=str)
def test_a_refusal_keeps_nothing(server: Server, case: Case) -> None:
    """A refused call leaves no record, and its repetition is judged anew."""
    arrange(server, case)
    with pytest.raises(redis.ResponseError, match=case.code):
        once(server, case, "id")
    assert not server.redis.exists(RECORD)


def test_binary_answers(server: Server) -> None:
    """An answer of any bytes comes back as it was: NUL, unicode, and what is no JSON number of a double."""
    text = '{"x":["\\u0000é",9223372036854775807,1e-320]}'
    server.put(text, "{User:1}")
    case = Case("list.pop", "", None, ("{User:1}",), ("", "0", "$.x", "1", "none"))
    first = once(server, case, "id")
    assert first[1] == b"9223372036854775807"
    assert str(once(server, case, "id")) == str(first)  # errors in an answer are no equal objects
