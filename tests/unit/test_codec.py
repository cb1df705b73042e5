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

if TYPE_CHECKING:
    import redis_stack

STUBBORN = [0.9715098593399603, 0.9610776972850329]
SMALLEST, LARGEST = 5e-324, 1.7976931348623157e308
EDGES = [*STUBBORN, SMALLEST, LARGEST, 2.2250738585072014e-308, 2.225073858507201e-308, 1e-7, 1e16, 1e22, 1e23, 2**53 + 2.0]
BITS = st.integers(0, 2**64 - 1).map(lambda bits: float(struct.unpack("<d", struct.pack("<Q", bits))[0]))
DOUBLES = st.one_of(BITS.filter(math.isfinite), st.floats(0, 1), st.floats(-1e9, 1e9), st.sampled_from(EDGES))


def parsed(head: str, tail: str | None) -> float:
    """Return what RedisJSON makes of a text and a repair."""
    first = _codec._parse_text(head)
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
    with redis.Redis.from_url(stack.url) as client, client.pipeline(transaction=False) as pipe:
        for index, number in enumerate(numbers):
            text, count, *repairs = _codec.arguments(json.dumps([number]).encode())
            key = f"codec:{index}"
            pipe.execute_command("JSON.SET", key, "$", text)
            for path, amount in zip(repairs[::2], repairs[1::2], strict=True):
                pipe.execute_command("JSON.NUMINCRBY", key, f"${path}", amount)
            pipe.execute_command("JSON.GET", key)
            pipe.execute_command("DEL", key)
            assert int(count) * 2 == len(repairs)
        found = [json.loads(reply)[0] for reply in pipe.execute() if isinstance(reply, bytes) and reply[:1] == b"["]
    # Where a repair was made, its own reply came before the document's.
    kept = [number for number in found if not isinstance(number, list)]
    assert [a for a in numbers if not any(same_bits(a, b) for b in ())] == numbers
    assert len(kept) >= len(numbers)
