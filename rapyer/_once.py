"""Operation ids: what makes a write that is sent twice run once.

Rules:
- An operation keeps its id, and the place where its answer is kept, however often it is sent.
- A record holds the answers for one document and one period: when the period is over nothing new goes into it, and it
  expires.
- A place is used again for the client's next operation on the document once its answer arrived. That of an operation
  which was sent more than once is not, since a copy of it may still be on its way.
"""

from __future__ import annotations

import os
import time
from itertools import count
from typing import TYPE_CHECKING, Protocol

import msgspec

from rapyer._keys import record_key

if TYPE_CHECKING:
    from rapyer._ops import Argument

#: Seconds that go into one record, and seconds it is kept after a place in it was used first.
PERIOD = 60
KEEP = 180
#: Seconds after which a call is not sent again: before its record can be gone.
LONGEST = 90.0
#: Records of which free places are known, at most; in others new ones are taken.
MOST_RECORDS = 4096

_KEEP = str(KEEP * 1000)


class Once(msgspec.Struct, frozen=True):
    """One operation.

    Attributes:
        record: the key of its record.
        arguments: what follows the arguments of the plain script: place, id, expiry.
    """

    record: str
    arguments: tuple[Argument, ...]


class Answered(Protocol):
    """A call that has ended."""

    once: Once | None
    unsure: bool


class Ids:
    """The operation ids of one client and loop."""

    def __init__(self) -> None:
        self._name = os.urandom(9).hex()
        self._numbers = count(1)
        self._free: dict[str, list[str]] = {}

    def new(self, key: str) -> Once:
        """Return a new operation on a document."""
        record = record_key(key, int(time.time() / PERIOD))
        number = f"{next(self._numbers):x}"
        free = self._free.get(record)
        # The id ends with what no number has in it: none is the beginning of another.
        place = free.pop() if free else f"{self._name}{number}"
        return Once(record, (place, f"{number}.", _KEEP))

    def known(self, sent: Answered) -> None:
        """Take note that a call ended: its place is free, unless a copy of the call may still be on its way."""
        once = sent.once
        if once is None or sent.unsure:
            return
        place = str(once.arguments[0])
        free = self._free.get(once.record)
        if free is not None:
            free.append(place)
            return
        if len(self._free) >= MOST_RECORDS:
            del self._free[next(iter(self._free))]
        self._free[once.record] = [place]
