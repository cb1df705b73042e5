"""The accounts of a chaos run: histories compared with what is stored, every loss explained by itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rapyer._keys import hash_slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from _chaos_faults import Fault

#: Outcomes of operations that may have been carried out, or not; those that were refused must not have been.
OPEN = ("unknown", "not replicated")
REFUSED = ("refused", "lock lost")
#: Seconds for which a lock may be left by one that did not end well: its lease, and what it takes to end.
LEASE = 2.0
GRACE = 0.5
#: Seconds for which its ticket may be left: `lock.acquire` keeps a queue for a minute and two leases.
TICKET = 60.0 + 2 * LEASE


class Operation(NamedTuple):
    """A line of a history.

    Attributes:
        outcome: "done", one of `OPEN`, or one of `REFUSED`.
        answer: what an increment was answered.
    """

    mode: str
    kind: str
    document: str
    item: str
    outcome: str
    began: float
    ended: float
    answer: int | None = None


class Stored(NamedTuple):
    """What a document holds in the end."""

    key: str
    n: int
    twice: int
    items: Sequence[str]


class Left(NamedTuple):
    """A lock or a queue that is there when the workers have ended."""

    kind: str
    key: str


class Accounts:
    """What came out.

    Args:
        operations: the histories.
        stored: by mode and document, what is there in the end.
        injected: the faults.

    Attributes:
        found: for each mode and kind, how many operations had which outcome and fate.
        losses: a line for each acknowledged operation that is lost, with its explanation.
        wrong: what must not be, as sentences.
    """

    def __init__(
        self, operations: Iterable[Operation], stored: Mapping[tuple[str, str], Stored], injected: Sequence[Fault]
    ) -> None:
        self.found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.losses: list[str] = []
        self.wrong: list[str] = []
        self._injected = injected
        self._by_key: dict[str, list[Operation]] = {}
        histories: dict[tuple[str, str], list[Operation]] = defaultdict(list)
        for operation in operations:
            histories[operation.mode, operation.document].append(operation)
            self.found[operation.mode, operation.kind][operation.outcome] += 1
        for place, history in histories.items():
            self._by_key[stored[place].key] = history
            self._account(history, stored[place])

    def _account(self, history: Sequence[Operation], there: Stored) -> None:
        mode, kind = history[0].mode, history[0].kind
        lost = self._numbers(history, there) if kind == "increment" else self._items(history, there)
        for operation in lost:
            self.found[mode, kind]["lost"] += 1
            reason = self._explained(operation, there.key)
            told = f"{mode} {kind} {operation.item} of {there.key}"
            self.losses.append(f"{told}: {reason or 'no explanation'}")
            if mode == "careful" or not reason:
                self.wrong.append(f"{told} was acknowledged and is lost")
        if kind in {"pipeline", "lock"} and not there.twice == 2 * there.n == 2 * len(there.items):
            self.wrong.append(f"{there.key}: fields disagree")

    def _items(self, history: Sequence[Operation], there: Stored) -> Iterator[Operation]:
        """Yield what is lost of operations that leave an item each."""
        words = self.found[history[0].mode, history[0].kind]
        times = Counter(there.items)
        for operation in history:
            present = times.pop(operation.item, 0)
            told = f"{operation.mode} {operation.kind} {operation.item} of {there.key}"
            if present > 1:
                words["doubled"] += 1
                self.wrong.append(f"{told} is there {present} times")
            if present and operation.outcome in REFUSED:
                self.wrong.append(f"{told} was told as {operation.outcome}, yet carried out")
            words[f"{operation.outcome}, carried out"] += present > 0
            if operation.outcome == "done" and not present:
                yield operation
        self.wrong += [f"{item} of {there.key} came from nowhere" for item in times]

    def _numbers(self, history: Sequence[Operation], there: Stored) -> Iterator[Operation]:
        """Yield what is lost of increments: all but the last with the same answer, and those beyond the end."""
        words = self.found[history[0].mode, history[0].kind]
        last: dict[int, Operation] = {}
        lost = []
        for operation in sorted(history, key=lambda operation: operation.ended):
            if operation.outcome != "done" or operation.answer is None:
                continue
            if operation.answer in last:
                lost.append(last[operation.answer])
            last[operation.answer] = operation
        lost += [operation for answer, operation in last.items() if not 1 <= answer <= there.n]
        yield from lost
        outcomes = Counter(operation.outcome for operation in history)
        kept, maybe = outcomes["done"] - len(lost), sum(outcomes[outcome] for outcome in OPEN)
        doubled = there.n - kept - maybe
        if doubled > 0:
            words["doubled"] += doubled
            self.wrong.append(f"{there.key} is {there.n}, {doubled} more than {kept} increments and {maybe} unknown")

    def _explained(self, operation: Operation, key: str) -> str:
        """Return why an acknowledged operation may be lost: its primary may not have passed it on."""
        slot = hash_slot(key)
        for fault in self._injected:
            if slot not in fault.slots:
                continue
            for first, last in fault.exposed:
                if operation.began <= last and operation.ended >= first:
                    return f"acknowledged {last - operation.ended:+.3f} s before the end of its primary ({fault.kind})"
        return ""

    def judge(self, left: Iterable[Left], moment: float) -> list[str]:
        """Return a line for each lock and queue that was left at a moment; what has no reason is wrong.

        There is a reason where somebody could not give it back (an operation ended otherwise than well), or where
        giving it back was lost with a primary.
        """
        lines = []
        for one in left:
            reason = self._why_left(one, moment)
            lines.append(f"{one.kind} of {one.key}: {reason or 'no explanation'}")
            if not reason:
                self.wrong.append(f"a {one.kind} of {one.key} is left")
        return lines

    def _why_left(self, one: Left, moment: float) -> str:
        since = moment - GRACE - (LEASE if one.kind == "lock" else TICKET)
        for operation in self._by_key.get(one.key, ()):
            if operation.outcome != "done" and operation.ended >= since:
                return f"{operation.item} ended as {operation.outcome}, {moment - operation.ended:.1f} s before"
        slot = hash_slot(one.key)
        for fault in self._injected:
            if slot in fault.slots and fault.ended >= since:
                return f"{fault.kind}, {moment - fault.ended:.1f} s before"
        return ""
