"""Combining: calls of one operation that wait for the same write go out as one.

Rules:
- Only operations are combined whose combined script answers each caller what it would have got alone, in order,
  refusals included.
- A call joins only a group that nobody overtook: whatever else is asked for on a document, nobody joins for it a group
  that goes out before.
- On one server calls of the same place in different documents are one, too. In a cluster, where documents are on
  different nodes, and with care each document has groups of its own; so has every document from then on when a server
  refused a call because of its keys together, or because of one of them.
- A caller that was cancelled before the write takes no part. A lost answer is unknown to every caller of the group.
- Who asks for another care than the others makes a group of its own; what is different there is in `_careful`.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import ClusterCrossSlotError, NoPermissionError, ResponseError

from rapyer._codec import is_whole
from rapyer._lane import own_error
from rapyer._pack import pack
from rapyer._refused import final
from rapyer._registry import scripts
from rapyer._sent import ScriptCall, Sender, end
from rapyer._tasks import giver

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Iterable, Sequence

    from rapyer._lane import Lane
    from rapyer._ops import Argument
    from rapyer._refused import Locate, Where
    from rapyer._sent import Care

#: Script -> the script that does it for many.
COMBINED = {"number.increase": "number.increase_each"}
#: Callers of one group. It is written then: the server works while others are made, and is not busy with it for long.
MOST = 100
#: Callers for other documents than the first, each of which is more work for the server; the same goes for them.
TOGETHER = 31
#: Documents that something was asked for while a group waits, from which on nobody joins any more.
CROWD = 4096


class GroupSender(Sender, Protocol):
    """Who sends groups, too."""

    def shut(self, group: Group) -> None:
        """Let nobody join a group any more."""

    def part(self) -> None:
        """Have groups for single documents only."""


@lru_cache(maxsize=1024)
def _shared(head: tuple[Argument, ...]) -> tuple[Argument, ...]:
    """Return one and the same object for equal ones: many calls that wait differ in their keys only."""
    return head


class Group:
    """Calls of one operation on the same place of one or several documents, sent as one, or alone as what each is.

    Attributes:
        future: what the only caller awaits, while nobody has joined; a lane handles it as any call's.
        name: the script that each of them calls.
        keys: KEYS of the first.
        head: its ARGV without the last, which each caller has of its own: ttl, no locks, path.
        number: which of the dispatcher's groups it is; later ones have larger numbers.
    """

    __slots__ = (
        *("__dict__", "_alone", "_amounts", "_documents", "_futures", "_lane", "_others", "_sender", "_where"),
        *("future", "head", "keys", "name", "number"),
    )

    care: Care | None = None
    repeatable = False
    tries = 0
    first = b""
    until = math.inf
    unsure = False

    def __init__(
        self,
        future: Future[Any],
        name: str,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        sender: GroupSender,
        lane: Lane,
    ) -> None:
        self.future: Future[Any] | None = future
        self.name = name
        self.keys = keys
        self.head = _shared(tuple(arguments[:-1]))
        self.number = 0
        self._where: Where | Locate | str = str(arguments[-2])
        self._sender = sender
        self._lane = lane
        self._futures: list[Future[Any]] | None = None
        self._documents: list[str] | None = None
        self._others = 0
        self._amounts: Sequence[Argument] = arguments[-1:]
        # A first caller whose words have no bytes is told at once: a lane could not.
        self._alone = _packed(name, keys[0], self.head, arguments[-1])

    def joined(self, future: Future[Any], key: str, amount: Argument) -> bool:
        """Add a caller who asks for the same, if there is room.

        There is none among those that nobody waits for, nor where tries are partly used up. A full group is written.
        """
        document, futures = self.keys[0], self._futures
        if key != document and not is_whole(key):
            return False
        if futures is None:
            first = self.future
            if first is None or self.tries or first.done():
                return False
            self.future = None
            self._futures, self._amounts = [first, future], [*self._amounts, amount]
        elif self.tries or (futures[-1].done() and self.given_up()):
            return False
        else:
            futures.append(future)
            self._amounts.append(amount)  # type: ignore[attr-defined]  # a list by now
        if self._documents is not None:
            self._documents.append(key)
        if key != document:
            self._other(key)
        if len(self._amounts) >= MOST or self._others >= TOGETHER:
            self._sender.shut(self)  # also where the server is behind, and the lane has to wait
            self._lane.flush()
        return True

    def _other(self, key: str) -> None:
        """Take note that the last caller asks for another document than the first."""
        if self._documents is None:
            self._documents = [self.keys[0]] * (len(self._amounts) - 1) + [key]
        self._others += 1

    def _of(self) -> Iterable[str]:
        """Return the document of each caller."""
        return repeat(self.keys[0]) if self._documents is None else self._documents

    def _callers(self) -> list[tuple[Future[Any], str, Argument]]:
        futures = self._futures or ([] if self.future is None else [self.future])
        return [each for each in zip(futures, self._of(), self._amounts, strict=False) if not each[0].done()]

    def _keep(self, callers: list[tuple[Future[Any], str, Argument]]) -> None:
        """Forget all but these callers, and put those of a document together, as their answers will be."""
        places = {key: place for place, key in enumerate(dict.fromkeys(key for _, key, _ in callers))}
        callers.sort(key=lambda caller: places[caller[1]])
        self._futures = [future for future, _, _ in callers]
        self._amounts = [amount for _, _, amount in callers]
        if self._documents is not None:
            self._documents = [key for _, key, _ in callers]

    # -- what a lane asks a call -----------------------------------------------------------------------------------

    @property
    def packed(self) -> bytes:
        """The command; nobody joins from now on."""
        self._sender.shut(self)
        if self._futures is None:
            return self._alone
        documents = self._documents
        apart = documents is None or len(set(documents)) == len(documents)
        if not apart or [future for future in self._futures if future.done()]:
            self._keep(self._callers())
        if len(self._amounts) == 1:
            return _packed(self.name, next(iter(self._of())), self.head, self._amounts[0])
        keys = self.keys if self._documents is None else dict.fromkeys(self._documents)
        script, words = combined(self.name, self.head, self._documents or self.keys, self._amounts)
        return pack(("EVALSHA", scripts()[script].sha, str(len(keys)), *keys, *words))

    def given_up(self) -> bool:
        """Whether nobody waits any more; nobody joins then."""
        for future in self._futures or (self.future,):
            if future is not None and not future.done():
                return False
        self._sender.shut(self)
        return True

    def over(self) -> bool:
        """Whether a failure is its last, however often it was tried."""
        return False

    def callers(self) -> int:
        """Return how many wait for it."""
        return len(self._callers())

    def answer(self, reply: Any) -> None:
        """Give each caller its answer."""
        futures = self._futures or ()
        if len(futures) == 1:
            futures[0].set_result(reply)
            return
        give = giver()
        for future, key, text in zip(futures, self._of(), reply, strict=False):
            if future.done():
                continue
            if text.__class__ is bytes:
                give(future, (text, None))
            else:
                end(future, final(self.name, own_error(text), self._where, (key,)))

    def fail(self, error: BaseException) -> None:
        """Give each caller the error, as an object of its own; who goes on does so by itself."""
        sender = self._sender
        sender.shut(self)
        mends = sender.mends(error)
        alone = self._documents is not None and _is_of_keys(error)
        if alone:
            sender.part()
        for future, key, amount in self._callers():
            if not (alone or mends):
                end(future, final(self.name, own_error(error), self._where, (key,)))
                continue
            packed = _packed(self.name, key, self.head, amount)
            call = ScriptCall(future, self.name, (key,), self._where, sender, self._lane, packed, False)  # noqa: FBT003
            if alone:
                self._lane.send(call)
            else:
                sender.mend(call, own_error(error))


def _is_of_keys(error: BaseException) -> bool:
    """Whether a call was refused because of the documents that it is for, one or all together: nothing ran."""
    if isinstance(error, (NoPermissionError, ClusterCrossSlotError)):
        return True
    # Older versions of redis-py tell only a cluster's client of the class.
    return isinstance(error, ResponseError) and str(error).startswith("CROSSSLOT")


def _packed(name: str, key: str, head: Sequence[Argument], amount: Argument) -> bytes:
    return pack(("EVALSHA", scripts()[name].sha, "1", key, *head, amount))


def combined(
    name: str, head: Sequence[Argument], documents: Sequence[str], amounts: Sequence[Argument]
) -> tuple[str, tuple[Argument, ...]]:
    """Return the script for many callers and its ARGV; KEYS are the documents.

    Args:
        name: the script of each.
        head: its ARGV without the last: ttl, no locks, path.
        documents: of each caller its document, those of one together; or the only one.
        amounts: of each caller the last of ARGV.
    """
    ttl, _, path = head
    if len(documents) == 1:
        return COMBINED[name], (ttl, path, str(len(amounts)), *amounts)
    counts = Counter(documents)
    if len(counts) == len(amounts):
        return COMBINED[name], (ttl, path, *chain.from_iterable(zip(repeat("1"), amounts)))
    words: list[Argument] = [ttl, path]
    done = 0
    for count in counts.values():
        words += (str(count), *amounts[done : done + count])
        done += count
    return COMBINED[name], tuple(words)


class Groups:
    """The groups that somebody may join.

    Args:
        together: whether calls on different documents may be one.

    Attributes:
        single: those of single documents, by their keys.
        shared: those for different documents, by what their callers have in common.
    """

    __slots__ = ("_count", "_latest", "_together", "shared", "single")

    def __init__(self, *, together: bool) -> None:
        self._together = together
        self.single: dict[str, Group] = {}
        self.shared: dict[Sequence[Argument], Group] = {}
        #: While there is one of those: of documents the number of the group that their latest call is in or came after.
        self._latest: dict[str, int] = {}
        self._count = 0

    def joined(
        self, future: Future[Any], name: str, key: str, arguments: Sequence[Argument], care: Care | None
    ) -> bool:
        """Add a caller to a group if there is one for it."""
        head = arguments[:-1]
        if self._together and care is None:
            group, latest = self.shared.get(head), self._latest.get(key, 0)
            if group is None or group.name != name or group.number < latest:
                return False
            if group.number != latest:
                # To be noted before it joins, which may have the group go out.
                self._latest[key] = group.number
                self.single.pop(key, None)
        else:
            group = self.single.get(key)
            if group is None or group.head != head or group.name != name or group.care != care:
                return False
        return group.joined(future, key, arguments[-1])

    def add(self, group: Group) -> None:
        """Let others join a new group, and none that it overtakes."""
        self.overtaken(group.keys)
        self._count += 1
        group.number = self._count
        if self._together and group.care is None:
            self.shared[group.head] = group
            self._latest[group.keys[0]] = self._count
        else:
            self.single[group.keys[0]] = group

    def overtaken(self, keys: Sequence[str]) -> None:
        """Take notice of another call on documents."""
        for key in keys:
            self.single.pop(key, None)
        if self.shared:
            self._count += 1
            for key in keys:
                self._latest[key] = self._count
            if len(self._latest) > CROWD:
                self.shared.clear()
                self._latest.clear()

    def shut(self, group: Group) -> None:
        """Let nobody join a group any more."""
        if self.shared.get(group.head) is group:
            del self.shared[group.head]
            if not self.shared:
                self._latest.clear()
        elif self.single.get(group.keys[0]) is group:
            del self.single[group.keys[0]]

    def part(self) -> None:
        """Have groups for single documents only."""
        self._together = False
        self.shared.clear()
        self._latest.clear()
