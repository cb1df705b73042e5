"""What the scripts rely on in Redis and RedisJSON: each fact is a test, so that another version shows what changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis
from lua_server import DOCUMENT

from rapyer._codec import _parse_text
from rapyer._registry import scripts

if TYPE_CHECKING:
    from lua_server import Server

HIGHEST = 2**63 - 1
NASTY = ['a"b', "a\\b", "a'b\"c", "*", "$", "..", "", "\x00", "é😀", "a b", "{}", "[0]", "\\u0041", "\n"]


@pytest.fixture
def ask(server: Server) -> Any:
    """Return what sends a command."""
    return server.redis.execute_command


# -- numbers ---------------------------------------------------------------------------------------------------------


def test_numincrby_wraps_around(server: Server, ask: Any) -> None:
    """Silently, at 2^63: the scripts compute by themselves."""
    server.put(json.dumps({"n": HIGHEST}))
    ask("JSON.NUMINCRBY", DOCUMENT, "$.n", "1")
    assert json.loads(server.text() or "") == {"n": -(2**63)}


def test_integers_of_64_bits_are_exact(server: Server) -> None:
    """Stored and printed digit by digit."""
    text = json.dumps([HIGHEST, -(2**63), 2**53 + 1])
    server.put(text)
    assert json.loads(server.text() or "") == json.loads(text)


@pytest.mark.parametrize("number", [123456789.12345679, 0.9715098593399603, 0.9610776972850329])
def test_some_doubles_are_parsed_one_unit_off(server: Server, number: float) -> None:
    """In just the way that the codec foresees."""
    server.put(repr(number))
    found = json.loads(server.text() or "")
    assert found != number
    assert found == _parse_text(repr(number))


# -- paths -----------------------------------------------------------------------------------------------------------


def test_dollar_paths_fail_softly(server: Server, ask: Any) -> None:
    """A missing path is an empty list, a wrong type a null, a missing parent nothing."""
    server.put('{"n":1}')
    assert ask("JSON.GET", DOCUMENT, "$.gone") == b"[]"
    assert ask("JSON.TYPE", DOCUMENT, "$.gone") in ([], [[]])
    assert ask("JSON.STRAPPEND", DOCUMENT, "$.n", '"a"') == [None]
    assert ask("JSON.ARRLEN", DOCUMENT, "$.n") == [None]
    assert ask("JSON.SET", DOCUMENT, "$.gone.child", "1") is None
    assert ask("JSON.GET", "{User:1}gone", "$") is None


def test_a_missing_key_is_an_error_without_a_code(ask: Any) -> None:
    """Where it is one at all: the text has to be asked for."""
    with pytest.raises(redis.ResponseError, match="could not perform this operation on a key that doesn't exist"):
        ask("JSON.STRAPPEND", "{User:1}gone", "$", '"a"')


@pytest.mark.parametrize("member", ['"b"', "1", "-0.5e-300", str(HIGHEST), "true", "[]", '[null,{"c":null}]'])
@pytest.mark.parametrize("name", ["d", *NASTY])
def test_a_merge_sets_these_as_they_are(server: Server, ask: Any, name: str, member: str) -> None:
    """A patch of several members writes what JSON.SET would, whatever stood there; the others stay."""
    for present in ({}, {"x": 1}, [1], 2):
        server.put(json.dumps({"d": {name: present, "other": {"e": 1}}}))
        ask("JSON.MERGE", DOCUMENT, "$.d", f'{{{json.dumps(name)}:{member},"new":7}}')
        assert json.loads(server.text() or "") == {"d": {name: json.loads(member), "other": {"e": 1}, "new": 7}}


@pytest.mark.parametrize(("member", "after"), [("null", {}), ('{"b":null,"c":2}', {"a": {"x": 1, "c": 2}})])
def test_a_merge_does_not_set_these(server: Server, ask: Any, member: str, after: Any) -> None:
    """A null removes, an object is mixed with the present one: hence members by path beside the patch."""
    server.put('{"a":{"x":1,"b":0}}')
    ask("JSON.MERGE", DOCUMENT, "$", f'{{"a":{member}}}')
    assert json.loads(server.text() or "") == after


def test_a_merge_makes_what_is_not_there(server: Server, ask: Any) -> None:
    """The document, too: hence a check before it."""
    ask("JSON.MERGE", DOCUMENT, "$", '{"a":1}')
    assert json.loads(server.text() or "") == {"a": 1}


def test_a_nil_reply_is_false_in_lua(server: Server) -> None:
    """So that scripts test `not x`."""
    assert server.lua("return type(redis.call('JSON.GET', KEYS[1]))", DOCUMENT) == b"boolean"


@pytest.mark.parametrize("name", ["a b", "*", "$", "", ".", "a.b", "é😀", "\x00", "[0]", "a'b", "a ", "{}", "\n", "]"])
def test_a_raw_name_in_quotes_is_that_one_entry(server: Server, ask: Any, name: str) -> None:
    """Read and written, for names without double quotes, backslashes and a leading space."""
    server.put(json.dumps({"d": {name: 1, "other": 2}}))
    assert ask("JSON.GET", DOCUMENT, f'$.d["{name}"]') == b"[1]"
    ask("JSON.SET", DOCUMENT, f'$.d["{name}"]', "3")
    assert json.loads(server.text() or "") == {"d": {name: 3, "other": 2}}


@pytest.mark.parametrize("name", ['a"b', "a\\b", "\\", "a\"b'c"])
def test_an_escaped_name_is_read_but_not_written(server: Server, ask: Any, name: str) -> None:
    """A new entry gets the name with its escapes: hence `splice`."""
    path = f"$.d[{json.dumps(name)}]"
    server.put(json.dumps({"d": {name: 1}}))
    assert ask("JSON.GET", DOCUMENT, path) == b"[1]"
    server.put('{"d":{}}')
    ask("JSON.SET", DOCUMENT, path, "3")
    assert json.loads(server.text() or "") != {"d": {name: 3}}


@pytest.mark.parametrize("name", [" ", " a", "  a"])
def test_a_leading_space_is_dropped(server: Server, ask: Any, name: str) -> None:
    """The path names another entry: such names can neither be read nor written by path."""
    server.put(json.dumps({"d": {name: 1, name.strip(): 2}}))
    for quote in "\"'":
        assert ask("JSON.GET", DOCUMENT, f"$.d[{quote}{name}{quote}]") == b"[2]"
    ask("JSON.SET", DOCUMENT, f'$.d["{name}"]', "3")
    assert json.loads(server.text() or "") == {"d": {name: 1, name.strip(): 3}}


def test_an_index_before_the_first_is_the_first(server: Server, ask: Any) -> None:
    """So that the scripts check the range of a negative index themselves."""
    server.put("[1,2,3]")
    assert ask("JSON.GET", DOCUMENT, "$[-9]") == b"[1]"
    assert ask("JSON.GET", DOCUMENT, "$[9]") == b"[]"


@pytest.mark.parametrize("name", NASTY)
def test_merge_names_any_entry(server: Server, ask: Any, name: str) -> None:
    """A patch sets and a null removes the entry of any name."""
    server.put('{"d":{"other":1}}')
    ask("JSON.MERGE", DOCUMENT, "$.d", json.dumps({name: 2}))
    assert json.loads(server.text() or "") == {"d": {"other": 1, name: 2}}
    ask("JSON.MERGE", DOCUMENT, "$.d", json.dumps({name: None}))
    assert json.loads(server.text() or "") == {"d": {"other": 1}}


def test_merge_drops_nulls_of_objects(server: Server, ask: Any) -> None:
    """It cannot set any value, therefore; inside arrays they stay."""
    server.put("{}")
    ask("JSON.MERGE", DOCUMENT, "$", '{"a":{"b":null,"c":[null]}}')
    assert server.text() == '{"a":{"c":[null]}}'


def test_a_removal_moves_the_last_member(server: Server, ask: Any) -> None:
    """Members are in order of insertion until one is removed: the last one takes its place."""
    server.put('{"a":1,"b":2,"c":3,"d":4}')
    ask("JSON.DEL", DOCUMENT, "$.b")
    assert server.text() == '{"a":1,"d":4,"c":3}'


def test_arrindex_compares_by_kind_and_value(server: Server, ask: Any) -> None:
    """1 is not 1.0, arrays and objects compare whole, the order of members does not matter."""
    server.put('[1.0,1,{"a":1,"b":[2.5]},[1],true]')
    wanted = ("1", "1.0", '{"b":[2.5],"a":1}', "[1.0]", "true", '"1"')
    assert [ask("JSON.ARRINDEX", DOCUMENT, "$", text) for text in wanted] == [[1], [0], [2], [-1], [4], [-1]]


def test_copy_works_on_documents(server: Server, ask: Any) -> None:
    """With the expiry, and independent of each other."""
    server.put('{"a":[1]}')
    server.redis.pexpire(DOCUMENT, 50000)
    assert ask("COPY", DOCUMENT, "{User:1}copy") == 1
    ask("JSON.ARRAPPEND", DOCUMENT, "$.a", "2")
    assert server.text("{User:1}copy") == '{"a":[1]}'
    assert server.redis.pttl("{User:1}copy") > 0


def test_text_is_nested_127_deep_at_most(server: Server) -> None:
    """Deeper text is refused by its parser."""
    server.put("[" * 127 + "]" * 127)
    with pytest.raises(redis.ResponseError):
        server.put("[" * 128 + "]" * 128)


# -- Lua -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        ("return cjson.encode(cjson.decode('[]'))", b"{}"),
        ("return cjson.encode(0.1 + 0.2)", b"0.3"),
        ("return cjson.encode(cjson.decode('9007199254740993'))", b"9.007199254741e+15"),
        ("return type(cjson.decode('null'))", b"userdata"),
        ("return cjson.decode('null') and 'true'", b"true"),
        ("return string.format('%.0f', cmsgpack.unpack(cmsgpack.pack(2^53 + 1)))", b"9007199254740992"),
        ("return string.format('%s!', 'a\\0b')", b"a!"),
        ("return 3.99", 3),
        ("return {1, nil, 3}", [1]),
        ("return {1, false, 3}", [1, None, 3]),
    ],
)
def test_lua_loses_what_the_scripts_never_give_it(server: Server, body: str, reply: Any) -> None:
    """Decoding and encoding changes values; numbers and nils are cut in replies."""
    assert server.lua(body) == reply


def test_cmsgpack_refuses_bytes(server: Server) -> None:
    """The bin type of msgpack is unknown to it."""
    with pytest.raises(redis.ResponseError, match="Bad data format"):
        server.lua("return cmsgpack.unpack('\\196\\1a')")


def test_unpack_fails_from_eight_thousand_on(server: Server) -> None:
    """Hence the chunks of `list.extend`."""
    body = "local t = {} for i = 1, %d do t[i] = 1 end return select('#', unpack(t))"
    assert server.lua(body % 7000) == 7000
    with pytest.raises(redis.ResponseError, match="too many results to unpack"):
        server.lua(body % 8000)


@pytest.mark.parametrize(
    ("template", "fits", "limit"),
    [
        ("{declared} return function() return {used} end and 1", 60, "upvalues"),
        ("{declared} return 1", 200, "local variables"),
    ],
)
def test_a_function_has_60_upvalues_and_a_chunk_200_locals(
    server: Server, template: str, fits: int, limit: str
) -> None:
    """One more does not compile; the largest script stays below."""

    def body(count: int) -> str:
        names = [f"v{index}" for index in range(count)]
        declared = " ".join(f"local {name} = 1" for name in names)
        return (
            template.replace("function()", "(function()")
            .replace("end and", "end) and")
            .format(declared=declared, used=" + ".join(names))
        )

    assert server.lua(body(fits)) == 1
    with pytest.raises(redis.ResponseError, match=limit):
        server.lua(body(fits + 1))


def test_a_shebang_is_the_first_line_or_an_error(ask: Any) -> None:
    """A comment before it does not compile."""
    ask("SCRIPT LOAD", "#!lua flags=no-writes\nreturn 1")
    with pytest.raises(redis.ResponseError, match="unexpected symbol"):
        ask("SCRIPT LOAD", "-- first\n#!lua flags=no-writes\nreturn 1")


def test_the_server_holds_no_writes_to_its_word(server: Server) -> None:
    """A script with that flag cannot write: it may be repeated."""
    with pytest.raises(redis.ResponseError, match="Write commands are not allowed from read-only scripts"):
        server.lua("#!lua flags=no-writes\nreturn redis.call('DEL', KEYS[1])", DOCUMENT)


def test_an_error_reply_with_one_word_gets_a_prefix(server: Server) -> None:
    """Two words or more stay as they are."""
    with pytest.raises(redis.ResponseError, match=r"^RAPYER_CODE 0 -$"):
        server.lua("return redis.error_reply('RAPYER_CODE 0 -')")


def test_noscript_stops_no_transaction(server: Server, ask: Any) -> None:
    """The commands around it run: a pipeline is one script, never MULTI."""
    ask("SCRIPT FLUSH")
    pipe = server.redis.pipeline(transaction=True)
    pipe.set("{User:1}before", 1)
    pipe.execute_command("EVALSHA", scripts()["document.load"].sha, 1, DOCUMENT)
    pipe.set("{User:1}after", 1)
    results = pipe.execute(raise_on_error=False)
    assert isinstance(results[1], redis.exceptions.NoScriptError)
    assert server.redis.exists("{User:1}before", "{User:1}after") == 2


def test_rename_and_copy_keep_the_expiry(server: Server, ask: Any) -> None:
    """What `batch.apply` brings back is as it was."""
    server.put("1")
    server.redis.pexpire(DOCUMENT, 50000)
    deadline = ask("PEXPIRETIME", DOCUMENT)
    ask("COPY", DOCUMENT, "{User:1}aside")
    ask("RENAME", "{User:1}aside", DOCUMENT)
    assert ask("PEXPIRETIME", DOCUMENT) == deadline
