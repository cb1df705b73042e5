"""`_script`: header, includes, shebang and SHA of a script, and errors that name file and line."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING

import pytest
import redis

from rapyer._registry import scripts, sources
from rapyer._script import SECTIONS, Header, ScriptSourceError, compose, parse_header

if TYPE_CHECKING:
    import redis_stack

HEADER = """--- Does something.
--
-- KEYS    document
-- ARGV    a, b
-- RETURNS one
-- ERRORS  -
-- FLAGS   {flags}
"""


def composed(body: str, files: dict[str, str], flags: str = "-") -> str:
    """Return the source of a script with this body."""
    return compose("test.made", HEADER.format(flags=flags) + body, files.__getitem__).source.decode()


def order(source: str) -> list[str]:
    """Return the lines that are no comments."""
    return [line for line in source.splitlines() if line and not line.startswith(("--", "#!"))]


# -- header ----------------------------------------------------------------------------------------------------------


def test_a_header_gives_every_section() -> None:
    """Summary and sections as text, ERRORS and FLAGS as words, with continued lines."""
    text = """--- Does something.
--
-- A remark that is no section.
--
-- KEYS    document,
--         lock keys...
-- ARGV    -
-- RETURNS {1, "a b"}
-- ERRORS  ONE
--         TWO
-- FLAGS   no-writes allow-oom
return 1 -- ERRORS THREE
"""
    assert parse_header("test.made", text) == Header(
        "Does something.", "document, lock keys...", "-", '{1, "a b"}', ("ONE", "TWO"), ("no-writes", "allow-oom")
    )


def test_a_dash_means_nothing() -> None:
    """In ERRORS and FLAGS."""
    header = parse_header("test.made", HEADER.format(flags="-"))
    assert (header.errors, header.flags) == ((), ())


@pytest.mark.parametrize("section", SECTIONS)
def test_a_missing_section_is_named(section: str) -> None:
    """With the script."""
    text = "\n".join(line for line in HEADER.splitlines() if section not in line)
    with pytest.raises(ScriptSourceError, match=rf"^test\.made: the header lacks {section}$"):
        parse_header("test.made", text)


@pytest.mark.parametrize("text", ["", "return 1\n", "\n" + HEADER, "---\n" + HEADER.partition("\n")[2]])
def test_a_header_is_at_the_very_top_and_has_a_summary(text: str) -> None:
    """Anything else is an error."""
    with pytest.raises(ScriptSourceError, match=r"^test\.made: the header lacks "):
        parse_header("test.made", text)


@pytest.mark.parametrize("name", scripts())
def test_a_shipped_header_is_whole(name: str) -> None:
    """The summary is a sentence, and no section is empty."""
    header = scripts()[name].header
    assert header.summary.endswith(".")
    assert all((header.keys, header.argv, header.returns))


# -- includes --------------------------------------------------------------------------------------------------------


def test_an_include_is_put_in_its_place() -> None:
    """Its lines stand where it is named."""
    assert order(composed('--- @include "lib/a"\nreturn 1\n', {"lib/a": "-- text\nlocal a\n"})) == [
        "local a",
        "return 1",
    ]


def test_what_an_include_needs_comes_before_it_and_once() -> None:
    """In the order of first need."""
    files = {
        "lib/a": '--- @include "lib/base"\nlocal a\n',
        "lib/b": '--- @include "lib/base"\n--- @include "lib/a"\nlocal b\n',
        "lib/base": "local base\n",
    }
    body = '--- @include "lib/b"\n--- @include "lib/a"\n--- @include "lib/base"\nreturn 1\n'
    assert order(composed(body, files)) == ["local base", "local a", "local b", "return 1"]


def test_an_indented_include_is_for_its_branch_alone() -> None:
    """With what it includes itself, unless that is there already for all."""
    files = {"lib/a": '--- @include "lib/base"\nlocal a\n', "lib/base": "local base\n"}
    branch = 'if x then\n  --- @include "lib/a"\nend\n'
    inside = ["if x then", "  local base", "  local a", "end"]
    assert order(composed(branch + '--- @include "lib/base"\n', files)) == [*inside, "local base"]
    above = '--- @include "lib/base"\n' + branch
    assert order(composed(above, files)) == ["local base", "if x then", "  local a", "end"]


def test_a_missing_include_is_named_with_file_and_line() -> None:
    """Also deep inside another one."""
    with pytest.raises(ScriptSourceError, match=r"^test\.made:8: there is no lib/gone\.lua$"):
        composed('--- @include "lib/gone"\n', {})
    with pytest.raises(ScriptSourceError, match=r"^lib/a:2: there is no lib/gone\.lua$"):
        composed('--- @include "lib/a"\n', {"lib/a": '-- text\n--- @include "lib/gone"\n'})


def test_an_include_twice_in_one_file_is_an_error() -> None:
    """It names the second one."""
    with pytest.raises(ScriptSourceError, match=r"^test\.made:9: lib/a is included twice in this file$"):
        composed('--- @include "lib/a"\n--- @include "lib/a"\n', {"lib/a": ""})


@pytest.mark.parametrize("last", ["lib/a", "lib/b", "lib/c"])
def test_a_cycle_is_shown(last: str) -> None:
    """With the way that leads back."""
    files = {
        "lib/a": '--- @include "lib/b"\n',
        "lib/b": '--- @include "lib/c"\n',
        "lib/c": f'--- @include "{last}"\n',
    }
    with pytest.raises(ScriptSourceError, match=rf"^lib/c:1: .*lib/c -> {last} includes itself$"):
        composed('--- @include "lib/a"\n', files)


def test_only_the_exact_form_is_an_include() -> None:
    """Anything else stays a comment."""
    body = '-- @include "lib/a"\nlocal x --- @include "lib/a"\nreturn 1\n'
    assert order(composed(body, {})) == ['local x --- @include "lib/a"', "return 1"]


# -- what is left out ------------------------------------------------------------------------------------------------

HELPERS = """local function one() return 1 end
local function two()
  return one()
end
-- three is for nobody.
local function three()
  return two()
end
local base = 0
"""


def test_functions_that_nothing_calls_are_left_out() -> None:
    """Also those that only such a function calls; the others stay in order."""
    assert order(composed('--- @include "lib/a"\nreturn base\n', {"lib/a": HELPERS})) == [
        "local base = 0",
        "return base",
    ]
    assert order(composed('--- @include "lib/a"\nreturn two()\n', {"lib/a": HELPERS})) == [
        "local function one() return 1 end",
        "local function two()",
        "  return one()",
        "end",
        "local base = 0",
        "return two()",
    ]


FAMILY = """local function list_family(name)
  if name == "list.one" then return 1 end
  if name == "list.two" then
    if true then
      return 2
    end
  end
end
"""


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ('return run(list_family, "list.one")', [1]),
        ('return run(list_family, "list.two")', [2, 3, 4, 5, 6]),
        ("return run(list_family, take())", [1, 2, 3, 4, 5, 6]),
    ],
)
def test_operations_that_a_script_does_not_name_are_left_out(body: str, kept: list[int]) -> None:
    """Unless it names none: then it may run any."""
    lines = FAMILY.splitlines()
    found = order(composed(f'--- @include "lib/a"\n{body}\n', {"lib/a": FAMILY}))
    assert found == [lines[0], *(lines[index] for index in kept), lines[-1], body]


# -- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "first"),
    [
        ("-", "#!lua"),
        ("no-writes", "#!lua flags=no-writes"),
        ("no-writes allow-oom", "#!lua flags=no-writes,allow-oom"),
    ],
)
def test_the_first_line_is_the_shebang(flags: str, first: str) -> None:
    """Made of FLAGS."""
    assert composed("return 1\n", {}, flags).splitlines()[0] == first


def test_a_script_that_cannot_write_says_so() -> None:
    """Repeatable are those the server lets write nothing, and those that say that twice is the same as once."""
    repeatable = {name for name, script in scripts().items() if script.repeatable}
    reading = {name for name, script in scripts().items() if b"flags=no-writes" in script.source[:30]}
    assert reading == {"document.load", "document.load_many", "value.load"}
    refreshing = {"document.load_many_refresh", "document.load_refresh", "value.load_refresh"}
    assert repeatable - reading == {*refreshing, "lock.renew", "lock.acquire", "lock.note"}


def test_names_are_paths_with_dots() -> None:
    """Every file outside `lib` is a script, and no other."""
    assert set(scripts()) == {path.replace("/", ".") for path in sources() if not path.startswith("lib/")}


@pytest.mark.parametrize("name", scripts())
def test_the_source_is_whole(name: str) -> None:
    """No include is left, the SHA is that of the bytes that are sent."""
    script = scripts()[name]
    assert b"@include" not in script.source
    assert script.sha == sha1(script.source).hexdigest()  # noqa: S324 - the server's own choice


def test_the_server_computes_the_same_sha(stack: redis_stack.RedisStack) -> None:
    """Of every script, on loading it."""
    with redis.Redis.from_url(stack.url, decode_responses=True) as client:
        assert {name: client.script_load(script.source) for name, script in scripts().items()} == {
            name: script.sha for name, script in scripts().items()
        }
