"""`_path`: steps as JSONPath text, and which of them RedisJSON can write through."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rapyer._path import absolute, is_writable, outer, render, unwritable

NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=8) | st.text("\\\"' a.*$[]", max_size=6)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((), ""),
        (("name",), ".name"),
        (("_a1", "B"), "._a1.B"),
        (("tags", 0, "x"), ".tags[0].x"),
        ((-1,), "[-1]"),
        (("two words",), '["two words"]'),
        (("",), '[""]'),
        (("1a",), '["1a"]'),
        (("é",), '["é"]'),
        (("a.b", "c"), '["a.b"].c'),
        (("a\n",), '["a\n"]'),
        (('a"b',), "['a\"b']"),
        (("a'b",), '["a\'b"]'),
        (("a\\b",), '["a\\\\b"]'),
        (("a\"b'c",), '["a\\"b\'c"]'),
    ],
)
def test_steps_as_text(steps: tuple[str | int, ...], text: str) -> None:
    """Plain for identifiers, brackets for indexes and for all other names."""
    assert render(steps) == text
    assert absolute(steps) == "$" + text


@given(st.lists(st.integers(-3, 30) | NAMES, min_size=1, max_size=4))
def test_the_path_around(steps: list[str | int]) -> None:
    """Without the last step, whatever the names are."""
    assert outer(absolute(tuple(steps))) == absolute(tuple(steps[:-1]))


@pytest.mark.parametrize(
    ("step", "writable"),
    [
        ("name", True),
        (3, True),
        ("", True),
        ("a b", True),
        ("a ", True),
        ('a"b', True),
        ("a'b", True),
        ("\x00", True),
        ("a\\b", False),
        ("a\"b'c", False),
        (" ", False),
        (" a", False),
    ],
)
def test_what_can_be_written_through(step: str | int, writable: bool) -> None:  # noqa: FBT001
    """Not backslashes, both kinds of quotes, nor a leading space: see the facts in tests/lua."""
    assert is_writable(step) is writable


def test_the_first_unwritable_step_is_found() -> None:
    """Or none."""
    assert unwritable(("a", 0, "b\\", "c\\")) == 2
    assert unwritable(("a", 0)) is None
    assert unwritable(()) is None


@given(name=NAMES)
def test_a_writable_name_stands_in_its_text_as_it_is(name: str) -> None:
    """Because RedisJSON does not unescape what it writes to; an unwritable one is escaped as in JSON."""
    text = render((name,))
    if is_writable(name):
        assert text in {f".{name}", f'["{name}"]', f"['{name}']"}
    elif not name.startswith(" "):
        assert text == '["' + name.replace("\\", "\\\\").replace('"', '\\"') + '"]'
        assert json.loads(text, strict=False) == [name]


@given(a=st.lists(NAMES | st.integers(0, 20), max_size=4), b=st.lists(NAMES | st.integers(0, 20), max_size=4))
def test_different_steps_are_different_texts(a: list[str | int], b: list[str | int]) -> None:
    """Two places never share a path."""
    assert (render(tuple(a)) == render(tuple(b))) is (a == b)
