"""Values to the JSON text that RedisJSON keeps exactly, and back.

Rules:
- Pydantic writes and reads the text; this module looks only at its numbers.
- RedisJSON parses a double as `digits * 10^exponent` in two roundings: `exact_text` finds digits and exponent that give
  the wanted double that way. For about 2 in 1,000 random doubles there are none: those get the text of a neighbour
  and a repair, an amount that the script adds to it.
- Integers outside signed 64 bits would silently become doubles there, NaN and infinities are no JSON: refused, as
  `Inexact`, which becomes an `OutOfRange` where the place is known. No message holds the value.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import msgspec

from rapyer._ops import Argument, Operation, value_arguments
from rapyer._path import absolute, unwritable
from rapyer.errors import OutOfRange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rapyer._path import Step, Steps

LEAST_INT64, MOST_INT64 = -(2**63), 2**63 - 1
INT64_BITS = 64
#: serde_json, which RedisJSON is built on, refuses text nested deeper than 127.
DEEPEST = 127
#: So many steps to a place are passed over when levels are counted, and left for them to every value inside a document.
SHALLOW = 8
DEEPEST_INSIDE = DEEPEST - SHALLOW - 1
TOO_DEEP = (
    f"a document nested deeper than {DEEPEST}, or a part of it deeper than {DEEPEST_INSIDE}, cannot be stored: "
    "store parts of it as text, or in documents of their own"
)

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?\d+)(\.\d+)?([eE][-+]?\d+)?|(-?Infinity|NaN)')
#: Without one of these there is no number in the text that needs a look: 16 digits, an exponent, a constant. How any of
#: them begins stands first, apart from how they go on: that is looked for three times as fast.
_SUSPECT = re.compile(rb"[0-9NI](?:(?<=[0-9])(?:[0-9.]{15}|[eE])|(?<=N)aN|(?<=I)nfinity)")
_SUSPICIOUS = 16
_POWERS = [float(f"1e{i}") for i in range(309)]
_SAFE_DIGITS = 15
_SAFE_EXPONENT = 22


class Inexact(ValueError):
    """A value cannot be stored exactly.

    Args:
        why: what is wrong with it and the remedy.
        steps: where in the value it is, as far as that is known.
    """

    def __init__(self, why: str, steps: Steps = ()) -> None:
        super().__init__(why)
        self.why = why
        self.steps = steps

    def at(self, key: str, steps: Steps) -> OutOfRange:
        """Return the error for a value at this place of a document."""
        return OutOfRange(key, absolute((*steps, *self.steps)), self.why)

    def within(self, key: str, steps: Steps, place: Step | None) -> OutOfRange:
        """Return the error for an element of a container, whose place in it may be unknown."""
        return OutOfRange(key, absolute(steps), self.why) if place is None else self.at(key, (*steps, place))


def arguments(text: bytes, deepest: int = DEEPEST_INSIDE) -> tuple[Argument, ...]:
    """Return a JSON value as the scripts take it, its numbers exact.

    Args:
        text: the value.
        deepest: how many levels it may have.

    Raises:
        Inexact: a number cannot be stored, or the value is nested too deep.
    """
    if text[:1] == b'"' or (len(text) < _SUSPICIOUS and text.isdigit()):  # as in `is_simple`, without the call
        return (text, "0")
    if text.count(b"[") + text.count(b"{") > deepest and depth(text) > deepest:
        raise Inexact(TOO_DEEP)
    if is_simple(text):
        return (text, "0")
    stubborn: list[str] = []
    parts: list[bytes] = []
    end = 0
    for match in _TOKEN.finditer(text):
        if match[1] is None and match[4] is None:
            continue
        try:
            exact = _number(match, stubborn)
        except Inexact as error:
            error.steps = _place_of(text, match[0].decode())
            raise
        if exact is not None:
            parts += [text[end : match.start()], exact]
            end = match.end()
    if not parts:
        return (text, "0")
    return value_arguments(b"".join([*parts, text[end:]]), _places(text, stubborn) if stubborn else ())


def is_int64(value: int) -> bool:
    """Whether an integer has 64 bits at most."""
    # For one of a class of its own, such as `RedisInt`, a range would be gone through number by number.
    return LEAST_INT64 <= value <= MOST_INT64


def is_simple(text: bytes) -> bool:
    """Whether the text means the same to every parser."""
    # A string or a few digits need no search.
    return text[:1] == b'"' or (len(text) < _SUSPICIOUS and text.isdigit()) or _SUSPECT.search(text) is None


def _number(match: re.Match[bytes], stubborn: list[str]) -> bytes | None:
    """Return the text to write instead of this number, or None to leave it."""
    whole, fraction, exponent, constant = match.groups()
    if constant is not None:
        msg = "NaN and infinities cannot be stored as JSON: use None or text"
        raise Inexact(msg)
    if fraction is None and exponent is None:
        if len(whole) > 18 and not is_int64(int(whole)):  # noqa: PLR2004 - 18 digits always fit
            msg = "an integer outside signed 64 bits cannot be stored exactly: use text"
            raise Inexact(msg)
        return None
    if exponent is None and len(whole) + len(fraction) <= _SAFE_DIGITS:
        return None
    value = float(match[0])
    head, tail = exact_texts(value)
    if tail is not None:
        stubborn.append(match[0].decode())
    return None if head.encode() == match[0] else head.encode()


def _places(text: bytes, stubborn: list[str]) -> list[tuple[Steps, str]]:
    """Return where the doubles that need a repair are, and what to add to them."""
    wanted = set(stubborn)
    found = []
    for steps, number in _numbers(json.loads(text, parse_float=_Number), ()):
        if number in wanted:
            if unwritable(steps) is not None:
                msg = "this double cannot be stored exactly below a name like this: use text"
                raise Inexact(msg, steps)
            _, tail = exact_texts(float(number))
            found.append((steps, tail or "0.0"))
    return found


def _place_of(text: bytes, number: str) -> Steps:
    """Return where a number is in a text that has it."""
    value = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    return next((steps for steps, found in _numbers(value, ()) if found == number), ())


class _Number(str):
    """A number's text, to tell it from a string."""

    __slots__ = ()


def _numbers(value: Any, steps: Steps) -> Iterator[tuple[Steps, str]]:
    if isinstance(value, _Number):
        yield steps, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _numbers(item, (*steps, index))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _numbers(item, (*steps, name))


_UPDATES = frozenset({"map.update", "document.update"})


def levels(operation: Operation) -> int:
    """Return how deep a document is at least that has had this operation: its place counts as well."""
    texts = () if operation.script == "bytes.append" else operation.arguments
    # Alone, it is a patch: its outermost object is the one at the place.
    patched = operation.script in _UPDATES and len(texts) == 1
    deepest = max((depth(text) for text in texts if isinstance(text, bytes)), default=0)
    return len(operation.steps) + 1 + deepest - patched


def depth(text: bytes) -> int:
    """Return how many containers are around the innermost value of a JSON text."""
    level = deepest = 0
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*"|([\[{])|[\]}]', text):
        if match[0][:1] == b'"':
            continue
        level += 1 if match[1] else -1
        deepest = max(deepest, level)
    return deepest


#: What to say of text that UTF-8 cannot hold.
HALF = "text with half a surrogate pair cannot be stored: use bytes, or text.encode(errors='replace').decode()"


def is_whole(text: str) -> bool:
    """Whether text can be sent."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def cut_out(text: bytes | None, steps: Steps) -> bytes | None:
    """Return the text of the value at a place inside a JSON text, None where there is nothing."""
    for step in steps:
        if text is None:
            return None
        if isinstance(step, int):
            items = msgspec.json.decode(text, type=list[msgspec.Raw])
            text = bytes(items[step]) if -len(items) <= step < len(items) else None
        else:
            member = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get(step)
            text = None if member is None else bytes(member)
    return text


# -- doubles ---------------------------------------------------------------------------------------------------------


def exact_texts(value: float) -> tuple[str, str | None]:
    """Return the text RedisJSON reads as this double, and what must be added to it if no such text exists.

    Raises:
        ValueError: the value cannot be stored, as if it is not finite.
    """
    shortest = repr(value)
    if value == 0 or _parse_text(shortest) == value:
        return shortest, None
    sign, size = ("-", -value) if value < 0 else ("", value)
    text = _search(size)
    if text is not None:
        return sign + text, None
    head, tail = _split(size)
    return sign + head, sign + tail


def _parse(digits: int, exponent: int) -> float:
    """Do what RedisJSON's parser does."""
    result = float(digits)
    while exponent < -308:  # noqa: PLR2004 - the largest power of ten that is a double
        result /= 1e308
        exponent += 308
    if exponent < 0:
        return result / _POWERS[-exponent]
    return result * _POWERS[exponent]


def _parse_text(text: str) -> float:
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = int(whole + fraction)
    if abs(digits) >= 2**64:
        return math.nan
    return _parse(digits, int(exponent or 0) - len(fraction))


def _search(size: float) -> str | None:
    """Return the text of a positive double, or None."""
    top = math.floor(math.log10(size))
    for exponent in range(top, top - 21, -1):
        for digits in _candidates(size, exponent):
            if 1 <= digits < 2**64 and _parse(digits, exponent) == size:
                return f"{digits}e{exponent}"
    return None


def _candidates(size: float, exponent: int) -> Iterator[int]:
    if exponent > 308:  # noqa: PLR2004
        return
    scaled = size / _POWERS[exponent] if exponent > 0 else size * _POWERS[min(-exponent, 308)]
    if exponent < -308:  # noqa: PLR2004
        scaled *= _POWERS[-exponent - 308]
    if scaled >= 2**64:
        return
    step = max(1, int(math.ulp(scaled)))
    middle = round(scaled)
    for offset in (0, -1, 1, -2, 2):
        yield middle + offset * step


def _split(size: float) -> tuple[str, str]:
    """Return the texts of two doubles that add up to a third exactly."""
    mantissa, exponent = math.frexp(size)
    for bits in range(40, 10, -1):
        head = math.ldexp(math.floor(mantissa * 2**bits), exponent - bits)
        texts = _search(head), _search(size - head) if size > head else None
        if texts[0] is not None and texts[1] is not None:
            return texts[0], texts[1]
    msg = "this double cannot be stored exactly: use text"
    raise Inexact(msg)
