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
from typing import Protocol

from rapyer._keys import record_key

#: Seconds that go into one record, and seconds it is kept after a place in it was used first.
PERIOD = 60
KEEP = 180
#: Seconds after which a call is not sent again: before its record can be gone.
LONGEST = 90.0
#: Records of which free places are known, at most; in others new ones are taken.
MOST_RECORDS = 4096

_KEEP = str(KEEP * 1000)


class _Record:
    """The answers for one document and one period.

    Attributes:
        period: which.
        key: where they are.
        free: places that the next operations may use.
    """

    __slots__ = ("free", "key", "period")

    def __init__(self, key: str, period: int) -> None:
        self.period = period
        self.key = record_key(key, period)
        self.free: list[str] = []


class Once:
    """One operation.

    Attributes:
        record: where its answer is kept.
        place: in which place there.
        arguments: what follows the arguments of the plain script: place, id, expiry.
    """

    __slots__ = ("arguments", "place", "record")

    def __init__(self, record: _Record, place: str, number: str) -> None:
        self.record = record
        self.place = place
        self.arguments = (place, number, _KEEP)


class Ids:
    """The operation ids of one client and loop."""

    def __init__(self) -> None:
        self._name = os.urandom(9).hex()
        self._numbers = count(1)
        self._records: dict[str, _Record] = {}

    def new(self, key: str) -> Once:
        """Return a new operation on a document."""
        period = int(time.time() / PERIOD)
        record = self._records.get(key)
        if record is None or record.period != period:
            record = self._open(key, period)
        # The id ends with what no number has in it: none is the beginning of another.
        number = f"{next(self._numbers):x}."
        return Once(record, record.free.pop() if record.free else f"{self._name}{number}", number)

    def _open(self, key: str, period: int) -> _Record:
        self._records.pop(key, None)
        if len(self._records) >= MOST_RECORDS:
            del self._records[next(iter(self._records))]
        record = self._records[key] = _Record(key, period)
        return record


class Answered(Protocol):
    """A call that has ended."""

    once: Once | None
    unsure: bool


def known(sent: Answered) -> None:
    """Take note that a call ended: its place is free, unless a copy of the call may still be on its way."""
    once = sent.once
    if once is not None and not sent.unsure:
        once.record.free.append(once.place)
