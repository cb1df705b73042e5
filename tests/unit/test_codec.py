"""`_codec`: numbers in JSON text, as RedisJSON will read them."""

from __future__ import annotations

import json
import math
import random
import struct
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rapyer import _codec
from rapyer._ops import Operation, update

if TYPE_CHECKING:
    import redis_stack

STUBBORN = [0.9715098593399603, 0.9610776972850329]
SMALLEST, LARGEST = 5e-324, 1.7976931348623157e308
EDGES = [
    *STUBBORN,
    SMALLEST,
    LARGEST,
    2.2250738585072014e-308,
    2.225073858507201e-308,
    1e-7,
    1e16,
    1e22,
    1e23,
    2**53 + 2.0,
]
BITS = st.integers(0, 2**64 - 1).map(lambda bits: float(struct.unpack("<d", struct.pack("<Q", bits))[0]))
DOUBLES = st.one_of(BITS.filter(math.isfinite), st.floats(0, 1), st.floats(-1e9, 1e9), st.sampled_from(EDGES))


def parsed(head: str, tail: str | None) -> float:
    """Return what RedisJSON makes of a text and a repair."""
    first = math.copysign(_codec._parse_text(head), -1 if head[0] == "-" else 1)
    return first if tail is None else first + _codec._parse_text(tail)


def same_bits(a: float, b: float) -> bool:
    """Tell whether two doubles are one, the sign of zero included."""
    return struct.pack("<d", a) == struct.pack("<d", b)


# -- integers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 10**18])
def test_integers_of_64_bits_stay_as_they_are(number: int) -> None:
    """The text is not touched."""
    assert _codec.arguments(b"%d" % number) == (b"%d" % number, "0")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**30])
@pytest.mark.parametrize("template", [b"%d", b"[1,%d]", b'{"a":{"b":%d}}'])
def test_larger_integers_are_refused(template: bytes, number: int) -> None:
    """Wherever they are; the message names the remedy, not the value."""
    with pytest.raises(ValueError, match="use text") as caught:
        _codec.arguments(template % number)
    assert str(number) not in str(caught.value)


# -- doubles ---------------------------------------------------------------------------------------------------------


@settings(max_examples=1000, deadline=None)
@given(number=DOUBLES)
@example(number=STUBBORN[0])
@example(number=STUBBORN[1])
@example(number=-0.0)
@example(number=SMALLEST)
@example(number=LARGEST)
def test_the_text_of_a_double_is_read_back_as_it(number: float) -> None:
    """By the parser that RedisJSON has, with the repair where one is needed."""
    assert same_bits(parsed(*_codec.exact_texts(number)), number)


def test_a_stubborn_double_needs_a_repair() -> None:
    """For these two no text is read back exactly."""
    assert all(_codec.exact_texts(number)[1] is not None for number in STUBBORN)


@given(number=st.integers(-(10**15) + 1, 10**15 - 1), places=st.integers(0, 10))
def test_a_short_double_keeps_its_shortest_text(number: int, places: int) -> None:
    """Up to 15 digits every parser reads it exactly."""
    text = repr(number / 10**places)
    if "e" not in text and len(text.replace("-", "").replace(".", "")) <= 15:
        assert _codec.arguments(text.encode()) == (text.encode(), "0")


def server_values() -> list[float]:
    """Return doubles of all sizes, the same in every run."""
    rng = random.Random(7)
    doubles = (struct.unpack("<d", rng.randbytes(8))[0] for _ in range(3000))
    return [*EDGES, *filter(math.isfinite, doubles), *(rng.random() for _ in range(3000)), -0.0]


def test_the_server_reads_every_double_back(stack: redis_stack.RedisStack) -> None:
    """Bit for bit, so that the parser that the codec foresees is the real one."""
    numbers = server_values()
    places = []
    with redis.Redis.from_url(stack.url) as client, client.pipeline(transaction=False) as pipe:
        for number in numbers:
            text, _, *repairs = _codec.arguments(json.dumps([number]).encode())
            pipe.execute_command("JSON.SET", "codec", "$", text)
            for path, amount in zip(repairs[::2], repairs[1::2], strict=True):
                pipe.execute_command("JSON.NUMINCRBY", "codec", f"${path!s}", amount)
            places.append(len(pipe))
            pipe.execute_command("JSON.GET", "codec")
        replies = pipe.execute()
        client.delete("codec")
    found = [json.loads(replies[place])[0] for place in places]
    assert [(a, b) for a, b in zip(numbers, found, strict=True) if not same_bits(a, b)] == []


@settings(max_examples=200, deadline=None)
@given(number=DOUBLES, name=st.text("ab'. ", min_size=1, max_size=3).filter(lambda name: name[0] != " "))
def test_repairs_name_the_place(number: float, name: str) -> None:
    """Each double in a document that needs one has one, with its path below the value."""
    document = {name: [1, {"x": number}], "y": repr(number)}
    text, count, *repairs = _codec.arguments(json.dumps(document).encode())
    assert int(count) * 2 == len(repairs)
    found: Any = json.loads(text, parse_float=_codec._parse_text)
    amount = _codec._parse_text(str(repairs[1])) if repairs else 0.0
    assert found[name][1]["x"] + amount == number
    assert found["y"] == repr(number)
    if repairs:
        assert str(repairs[0]).endswith("[1].x")


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"-Infinity", b"[1,NaN]", b'{"a":-Infinity}'])
def test_what_is_no_number_is_refused(text: bytes) -> None:
    """NaN and the infinities are no JSON."""
    with pytest.raises(ValueError, match="cannot be stored as JSON"):
        _codec.arguments(text)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_double_that_is_none_has_no_text(number: float) -> None:
    """Also when it is asked for alone."""
    with pytest.raises((ValueError, OverflowError)):
        _codec.exact_texts(number)


@pytest.mark.parametrize("name", ["\\", "\"'", "a\\b"])
def test_a_stubborn_double_below_a_name_no_path_can_hold_is_refused(name: str) -> None:
    """Its repair could not be written; the message names the remedy."""
    with pytest.raises(ValueError, match="use text"):
        _codec.arguments(json.dumps({name: STUBBORN[0]}).encode())


# -- text and depth --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "123456789.12345679",
        "9223372036854775808",
        "NaN",
        '"9223372036854775808',
        "\\9223372036854775808",
        '\\"0.9715098593399603',
        {"9223372036854775808": "Infinity", "0.9715098593399603": ["1e999"]},
    ],
)
def test_numbers_inside_strings_are_text(value: Any) -> None:
    """They are neither changed nor refused, in values and in names."""
    text = json.dumps(value).encode()
    assert _codec.arguments(text) == (text, "0")


@given(value=st.recursive(st.none() | st.booleans() | st.text() | st.integers(-(2**63), 2**63 - 1), st.lists))
def test_text_without_doubles_is_not_touched(value: Any) -> None:
    """Byte for byte."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert _codec.arguments(text) == (text, "0")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_text_deeper_than_the_server_takes_is_refused(opening: bytes) -> None:
    """127 levels are the most, fewer for a part of a document; brackets inside strings do not count."""
    closing = b"]" if opening == b"[" else b"}"
    deepest = opening * 127 + b"1" + closing * 127
    assert _codec.arguments(deepest, _codec.DEEPEST) == (deepest, "0")
    with pytest.raises(ValueError, match="nested deeper than 127"):
        _codec.arguments(opening + deepest + closing, _codec.DEEPEST)
    with pytest.raises(ValueError, match="a part of it deeper than 118"):
        _codec.arguments(opening * 119 + b"1" + closing * 119)
    text = b'["' + b"[{" * 200 + b'"]'
    assert _codec.arguments(text) == (text, "0")


def test_wide_text_is_not_deep() -> None:
    """Many containers side by side are no fault."""
    text = b"[" + b"[]," * 500 + b"[]]"
    assert _codec.arguments(text) == (text, "0")


@pytest.mark.parametrize("text", [b"1", b"[]", b"[[1],2]"])
def test_members_together_are_no_deeper_than_each(text: bytes) -> None:
    """A patch of members counts as what it sets, not as one object more."""
    each = Operation("map.set_item", ("d",), (text, "0"), "a")
    (together,) = update("map.update", ("d",), [("a", (text, "0")), ("b", (b"1", "0"))])
    assert _codec.levels(together) == _codec.levels(each)
