"""`scripts/check_lua.py`: it finds what it is there to find, and the pages it writes are up to date."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

import check_lua
from _lua_codes import reachable_codes
from rapyer._dispatch import ERRORS, Where
from rapyer._registry import scripts, sources
from rapyer._script import Script, compose

if TYPE_CHECKING:
    from pathlib import Path

HEADER = """--- Does something.
--
-- KEYS    document
-- ARGV    -
-- RETURNS 1
-- ERRORS  {errors}
-- FLAGS   -
"""


def made(body: str, errors: str = "-") -> Script:
    """Return a script with this body."""
    return compose("test.made", HEADER.format(errors=errors) + body, sources().__getitem__)


@pytest.mark.parametrize("page", check_lua.PAGES, ids=lambda page: page.name)
def test_the_table_of_scripts_is_current(page) -> None:
    """After a change of a header: `python scripts/check_lua.py --readme`."""
    text = page.read_text("utf-8")
    assert text == check_lua.with_table(text)
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE)) == set(scripts())


def test_the_page_says_what_every_code_becomes() -> None:
    """docs/operations.md names each code and the error that the dispatcher makes of it."""
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| `(\w+)` \|", check_lua.PAGES[1].read_text("utf-8"), re.MULTILINE))
    assert rows == {code: type(make(Where("k"), "-")).__name__ for code, make in ERRORS.items()}


def test_the_scripts_are_in_order() -> None:
    """Headers, codes, luacheck where it is, and the real server's compiler."""
    assert list(check_lua.faults(with_luacheck=shutil.which("luacheck") is not None)) == []


PRELUDE = '--- @include "lib/prelude"\n'
RUN = '--- @include "lib/run"\n'


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("return 1\n", set()),
        (PRELUDE + "return 1\n", set()),
        (PRELUDE + 'return fail("VALUE")\n', {"VALUE"}),
        (PRELUDE + 'local x, code = kind_at(KEYS[1], "$")\nif not x then return fail(code) end\n', None),
        (PRELUDE + 'local x = (read(KEYS[1], "$")) or false\nif not x then return fail("ENTRY") end\n', {"ENTRY"}),
        (RUN + '--- @include "lib/ops_text"\nreturn run(text_family, "text.append")\n', "text.append"),
        (RUN + '--- @include "lib/ops_number"\nreturn run(number_family, "number.modulo")\n', "number.modulo"),
    ],
)
def test_codes_are_followed_from_the_main_body(body: str, codes: set[str] | str | None) -> None:
    """Through functions and operations, unless their refusal is dropped."""
    if isinstance(codes, str):
        codes = set(scripts()[codes].header.errors)
    elif codes is None:
        codes = {"KEY_NOT_FOUND", "PATH_NOT_FOUND", "WRONG_TYPE"}
    assert reachable_codes(made(body).source.decode()) == codes


def test_a_header_that_says_too_little_or_too_much_is_found() -> None:
    """Both ways, and codes that Python does not know."""
    script = made(PRELUDE + 'return fail("VALUE")\n', "ENTRY NEW_CODE")
    assert list(check_lua.code_faults(script)) == [
        "it can refuse with VALUE, which ERRORS does not name",
        "ERRORS names ENTRY, which it never refuses with",
        "ERRORS names NEW_CODE, which it never refuses with",
        "rapyer/_refused.py does not know NEW_CODE",
    ]
    assert list(check_lua.unknown_codes([made("return 1\n", " ".join(list(ERRORS)[1:]))])) == [
        "rapyer/_refused.py: no script refuses with KEY_NOT_FOUND"
    ]


def test_a_summary_ends_with_a_full_stop() -> None:
    """It is a sentence of the table."""
    script = compose("test.made", HEADER.format(errors="-").replace("something.", "something") + "return 1\n", str)
    assert list(check_lua.header_faults(script)) == ["its summary does not end with a full stop"]


def test_what_does_not_compile_is_found() -> None:
    """With the script's name."""
    (fault,) = check_lua.compile_faults([made("return (\n")])
    assert fault.startswith("test.made: ")


def test_without_luacheck_the_rest_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where luacheck is not on PATH that is said, and a script that does not compile is found all the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_lua.main([]) == 0
    told = capsys.readouterr().out
    assert told.startswith("luacheck is not on PATH: its checks are left out.\n")
    assert told.endswith(f"{len(scripts())} scripts are in order.\n")
    broken = compose("text.append", HEADER.format(errors="-") + "return (\n", str)
    monkeypatch.setattr(check_lua, "scripts", lambda: {broken.name: broken})
    assert check_lua.main([]) == 1
    assert "text.append: Error compiling script" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("luacheck") is None, reason="luacheck is not on PATH")
def test_luacheck_looks_at_a_script() -> None:
    """A global, which the server would only refuse when it runs, is found before."""
    script = made("total = 1\nreturn total\n")
    text = script.source.decode().partition("\n")[2]
    assert any("total" in fault for fault in check_lua.luacheck_faults(script, text))
