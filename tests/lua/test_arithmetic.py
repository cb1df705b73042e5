"""Numbers, bytes and timestamps on the server against Python's own."""

from __future__ import annotations

import base64
import json
import math
import operator
import struct
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lua_server import DOCUMENT, Change, batch, value
from redis import ResponseError

if TYPE_CHECKING:
    from lua_server import Server

LOWEST, HIGHEST = -(2**63), 2**63 - 1
EDGES = [
    sign * near + step
    for near in (0, 1, 10**7, 10**14, 2**31, 2**32, 2**51, 2**52, 2**53, 2**62, 3037000499, 2**63)
    for sign in (-1, 1)
    for step in (-2, -1, 0, 1, 2)
]
INTEGERS = st.one_of(
    st.sampled_from([edge for edge in EDGES if LOWEST <= edge <= HIGHEST]),
    st.integers(LOWEST, HIGHEST),
    st.integers(-(2**33), 2**33),
    st.integers(-100, 100),
)
EXPONENTS = st.one_of(st.integers(0, 70), st.sampled_from([100, 101, 2**53 + 1, HIGHEST - 1, HIGHEST]))
INTEGER_OPERATIONS = {
    "number.increase": operator.add,
    "number.decrease": operator.sub,
    "number.multiply": operator.mul,
    "number.floor_divide": operator.floordiv,
    "number.modulo": operator.mod,
}
DOUBLE_OPERATIONS = {
    "number.increase_double": operator.add,
    "number.decrease_double": operator.sub,
    "number.multiply_double": operator.mul,
    "number.divide_double": operator.truediv,
}
STUBBORN = [0.9715098593399603, 0.9610776972850329]
thorough = settings(max_examples=300, deadline=None)


def from_bits(bits: int) -> float:
    """Return the double of these 64 bits."""
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def to_bits(number: float) -> int:
    """Return the 64 bits of a double."""
    return int(struct.unpack("<Q", struct.pack("<d", number))[0])


DOUBLES = st.one_of(
    st.integers(0, 2**64 - 1).map(from_bits).filter(math.isfinite),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1),
    st.floats(-1e6, 1e6),
    st.sampled_from([*STUBBORN, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -0.0, 0.1, 1 / 3]),
)


def outcome(server: Server, script: str, *arguments: str | bytes) -> str:
    """Return what an operation on `$.x` answers, or the code it refuses with."""
    try:
        return str(server.operate(script, "$.x", *arguments)[0].decode())
    except ResponseError as error:
        return str(error).removeprefix("RAPYER_").split(" ")[0]


def computed(server: Server, script: str, stored: str | tuple[str | bytes, ...], operand: str | bytes) -> Any:
    """Return the reply of an operation on `$.x`, or its refusal; the document must say the same."""
    text = stored if isinstance(stored, tuple) else (stored, "0")
    server.call("document.save", [DOCUMENT], ("", "0", "$", b'{"x":null}', "0"))
    server.operate("value.set", "$", "$.x", *text)
    before = server.text()
    result = outcome(server, script, operand)
    refused = result[0].isupper()
    assert server.text() == (before if refused else f'{{"x":{result}}}')
    return result


def in_range(number: int) -> str:
    """Return an integer as JSON text, or the refusal when it is too large."""
    return str(number) if LOWEST <= number <= HIGHEST else "OUT_OF_RANGE"


@pytest.mark.parametrize("script", INTEGER_OPERATIONS)
@thorough
@given(a=INTEGERS, b=INTEGERS)
@example(a=LOWEST, b=-1)
@example(a=HIGHEST, b=1)
@example(a=2**53 + 1, b=0)
@example(a=-7, b=2)
@example(a=7, b=-2)
def test_integers_are_exact_or_refused(server: Server, script: str, a: int, b: int) -> None:
    """All of 64 bits compute as in Python; what leaves them is refused."""
    if b == 0 and script in {"number.floor_divide", "number.modulo"}:
        expected = "ZERO_DIVISION"
    else:
        expected = in_range(INTEGER_OPERATIONS[script](a, b))
    assert computed(server, script, str(a), str(b)) == expected


@thorough
@given(a=INTEGERS | st.integers(-3, 3), b=EXPONENTS)
@example(a=-2, b=63)
@example(a=2, b=62)
@example(a=2, b=63)
@example(a=0, b=0)
@example(a=-1, b=HIGHEST)
@example(a=-1, b=HIGHEST - 1)
def test_powers_are_exact_or_refused(server: Server, a: int, b: int) -> None:
    """Powers compute as in Python, with exponents of any size."""
    small = b if b <= 64 or abs(a) > 1 else 2 + b % 2
    expected = in_range(a**small) if abs(a) <= 1 or b <= 64 else "OUT_OF_RANGE"
    assert computed(server, "number.power", str(a), str(b)) == expected


@pytest.mark.parametrize("script", DOUBLE_OPERATIONS)
@thorough
@given(a=DOUBLES, b=DOUBLES)
@example(a=STUBBORN[0], b=0.0)
@example(a=STUBBORN[1], b=1.0)
@example(a=-0.0, b=0.0)
def test_doubles_are_pythons_bit_for_bit(server: Server, script: str, a: float, b: float) -> None:
    """A result has Python's bits, also where RedisJSON cannot parse it; what is not finite is refused."""
    found = computed(server, script, value(a), repr(b))
    if b == 0 and script == "number.divide_double":
        assert found == "ZERO_DIVISION"
        return
    expected = DOUBLE_OPERATIONS[script](a, b)
    if math.isfinite(expected):
        assert to_bits(json.loads(found)) == to_bits(expected)
        assert isinstance(json.loads(found), float)
    else:
        assert found == "OUT_OF_RANGE"


@thorough
@given(number=DOUBLES)
@example(number=STUBBORN[0])
@example(number=STUBBORN[1])
def test_a_stored_double_comes_back_bit_for_bit(server: Server, number: float) -> None:
    """As a document's member and as a list's element, with the repairs that the codec asks for."""
    server.call("document.save", [DOCUMENT], ("", "0", "$", *value({"x": number, "l": [number, [number]]})))
    server.operate("list.extend", "$.l", "2", *value(number), *value({"n": number}))
    server.operate("list.insert", "$.l", "0", *value(number))
    found = json.loads(server.text() or "")
    doubles = [found["x"], *found["l"][:2], found["l"][2][0], found["l"][3], found["l"][4]["n"]]
    assert [to_bits(double) for double in doubles] == [to_bits(number)] * 6


@thorough
@given(old=st.binary(max_size=40), new=st.binary(max_size=40), url_safe=st.booleans())
def test_bytes_are_appended_as_bytes(server: Server, old: bytes, new: bytes, url_safe: bool) -> None:  # noqa: FBT001
    """Base64 of either alphabet, padded or not, grows by exactly these bytes, and is of the URL-safe alphabet then."""
    encoded = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(old).decode()
    result = json.loads(computed(server, "bytes.append", json.dumps(encoded), new))
    assert result == base64.urlsafe_b64encode(old + new).decode()


def test_many_bytes_are_appended_quickly(server: Server) -> None:
    """A mebibyte at once is right and does not hold the server up for seconds."""
    data = bytes(range(256)) * 4096
    server.put('{"x":"YQ=="}')
    server.operate("bytes.append", "$.x", data)
    assert base64.urlsafe_b64decode(json.loads(server.text() or "")["x"]) == b"a" + data


ZONES = st.one_of(
    st.none(),
    st.just(timezone.utc),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), timezones=ZONES)  # noqa: DTZ001
DURATIONS = st.one_of(
    st.timedeltas(),
    st.timedeltas(timedelta(days=-800), timedelta(days=800)),
    st.timedeltas(timedelta(seconds=-2), timedelta(seconds=2)),
)


def moved(server: Server, text: str, by: timedelta) -> str:
    """Return what `moment.add` makes of a timestamp, or its refusal."""
    server.put(json.dumps({"x": text}))
    parts = (str(by.days), str(by.seconds), str(by.microseconds))
    result = outcome(server, "moment.add", *parts)
    return str(json.loads(result)) if result.startswith('"') else result


@settings(max_examples=800, deadline=None)
@given(moment=MOMENTS, by=DURATIONS)
@example(moment=datetime(2024, 2, 28, 23, 59, 59, 999999), by=timedelta(microseconds=1))  # noqa: DTZ001
@example(moment=datetime(1900, 2, 28), by=timedelta(days=1))  # noqa: DTZ001
@example(moment=datetime(2000, 2, 28), by=timedelta(days=1))  # noqa: DTZ001
@example(moment=datetime(1, 1, 1), by=timedelta(days=3652058))  # noqa: DTZ001
@example(moment=datetime(9999, 12, 31), by=timedelta(days=-3652058))  # noqa: DTZ001
@example(moment=datetime(1, 1, 1), by=timedelta(microseconds=-1))  # noqa: DTZ001
def test_moments_move_as_datetimes_do(server: Server, moment: datetime, by: timedelta) -> None:
    """Microseconds, offsets, naive ones, leap years, the years 1 to 9999; beyond them it refuses."""
    try:
        expected = (moment + by).isoformat()
    except OverflowError:
        expected = "OUT_OF_RANGE"
    assert moved(server, moment.isoformat(), by) == expected


@pytest.mark.parametrize("offset", ["Z", "z", "+00:00", "-05:30", "+0200", ""])
def test_an_offset_stays_as_it_is_written(server: Server, offset: str) -> None:
    """The local time moves, what follows it stays."""
    assert moved(server, f"2024-12-31T23:00:00{offset}", timedelta(hours=2)) == f"2025-01-01T01:00:00{offset}"


@pytest.mark.parametrize(
    "text",
    ["", "2024-01-01", "2024-01-01T00:00", "24-01-01T00:00:00", "2024-01-01T00:00:00.1234567", "2024-01-01T00:00:00 x"],
)
def test_what_is_no_timestamp_is_refused(server: Server, text: str) -> None:
    """Nothing is guessed."""
    assert moved(server, text, timedelta(1)) == "WRONG_TYPE"


@pytest.mark.parametrize("number", STUBBORN)
def test_stubborn_doubles_survive_a_batch(server: Server, number: float) -> None:
    """Repairs come with every value of a batch, dependent or not."""
    changes = [
        Change("document.save", ("$", *value({"x": number, "l": []}))),
        Change("list.extend", ("$.l", "2", *value([number]), *value(number)), dependent=True),
        Change("map.update", ("$", "", "1", "$.m", *value({"a b": number})), dependent=True),
    ]
    server.call("batch.apply", *batch(changes))
    assert json.loads(server.text() or "") == {"x": number, "l": [[number], number], "m": {"a b": number}}
