"""Combining: calls of one operation that wait for the same write go out as one.

Rules:
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
from itertools import repeat
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import ClusterCrossSlotError, NoPermissionError, ResponseError

from rapyer._codec import is_whole
from rapyer._lane import own_error
from rapyer._pack import pack
from rapyer._refused import final
from rapyer._registry import scripts
from rapyer._sent import ScriptCall, Sender, end
from rapyer._tasks import give_each, giver
from rapyer._together import combined, outcomes, packed_alone

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Iterable, Sequence

    from rapyer._lane import Lane
    from rapyer._sent import Care
    from rapyer._together import Common

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


class Group:
    """Calls of one operation on the same place of one or several documents, sent as one, or alone as what each is.

    Attributes:
        future: what the only caller awaits, while nobody has joined; a lane handles it as any call's.
        common: what they are asked for.
        keys: KEYS of the first.
        hot: those who wait, while they are several and all for the first document; one more who does not fill it may be
            appended here and to `amounts`, which is what `join` would do. None with care.
        amounts: what each of those who wait adds.
        found: the documents by which the next caller finds it.
        number: which of the dispatcher's groups it is; later ones have larger numbers.
    """

    __slots__ = (
        *("__dict__", "_alone", "_documents", "_futures", "_key", "_lane", "_others", "_sender"),
        *("amounts", "common", "found", "future", "hot", "keys", "number"),
    )

    care: Care | None = None
    repeatable = False
    first = b""
    until = math.inf
    unsure = False
    _tries = 0

    def __init__(
        self,
        future: Future[Any],
        common: Common,
        key: str,
        amount: int,
        sender: GroupSender,
        lane: Lane,
    ) -> None:
        self.future: Future[Any] | None = future
        self.common = common
        self.keys: Sequence[str] = (key,)
        self._key = key
        self.found: list[str] = []
        self.number = 0
        self._sender = sender
        self._lane = lane
        self._futures: list[Future[Any]] | None = None
        self.hot: list[Future[Any]] | None = None
        self._documents: list[str] | None = None
        self._others = 0
        self.amounts: list[int] = [amount]
        # A first caller whose words have no bytes is told at once: a lane could not.
        self._alone = packed_alone(common, key, amount)

    def join(self, future: Future[Any], key: str, amount: int) -> None:
        """Add a caller who asks for the same. A full group is written."""
        futures, most = self._futures, MOST
        if futures is None:
            futures = self._opened()
        if key != self._key or self._documents is not None:
            most = self._among(key)
        futures.append(future)
        self.amounts.append(amount)
        if len(futures) >= most:
            self._sender.shut(self)  # also where the server is behind, and the lane has to wait
            self._lane.flush()

    def _opened(self) -> list[Future[Any]]:
        """Be a group of several from now on; return those who wait."""
        first, self.future = self.future, None
        futures = self._futures = self.hot = [] if first is None else [first]
        return futures

    def _among(self, key: str) -> int:
        """Take note of the document of the next caller, be it not the first one's; return how many there may be."""
        document, self.hot = self.keys[0], None
        if self._documents is None:
            self._documents = [document] * len(self.amounts)
        self._documents.append(key)
        self._others += key != document
        return MOST if self._others < TOGETHER else 0

    def _of(self) -> Iterable[str]:
        """Return the document of each caller."""
        return repeat(self.keys[0]) if self._documents is None else self._documents

    def _callers(self) -> list[tuple[Future[Any], str, int]]:
        futures = self._futures or ([] if self.future is None else [self.future])
        return [each for each in zip(futures, self._of(), self.amounts, strict=False) if not each[0].done()]

    def _keep(self, callers: list[tuple[Future[Any], str, int]]) -> None:
        """Forget all but these callers, and put those of a document together, as their answers will be."""
        places = {key: place for place, key in enumerate(dict.fromkeys(key for _, key, _ in callers))}
        callers.sort(key=lambda caller: places[caller[1]])
        self._futures = [future for future, _, _ in callers]
        self.amounts = [amount for _, _, amount in callers]
        if self._documents is not None:
            self._documents = [key for _, key, _ in callers]

    # -- what a lane asks a call -----------------------------------------------------------------------------------

    @property
    def tries(self) -> int:
        """How many connections failed it; who joined later would have fewer than others."""
        return self._tries

    @tries.setter
    def tries(self, tries: int) -> None:
        self._tries = tries
        self._sender.shut(self)

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
        each = self._documents or self.keys
        keys = dict.fromkeys(each)
        script, words = combined(self.common, each, self.amounts)
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
            giver()(futures[0], reply)
            return
        each = outcomes(reply, self._documents or self.keys, self.amounts)
        if set(map(type, reply)) == _ALL_WELL:
            give_each(futures, zip(each, repeat(None)))
        else:
            give = giver()
            for future, key, outcome in zip(futures, self._of(), each, strict=False):
                if isinstance(outcome, BaseException):
                    self._refuse(future, key, outcome)
                elif not future.done():  # nor cancelled by who was woken before
                    give(future, (outcome, None))

    def _refuse(self, future: Future[Any], key: str, error: BaseException) -> None:
        """Give a caller the error that one of the server's is to it, as an object of its own."""
        end(future, final(self.common.name, own_error(error), self.common.path, (key,)))

    def fail(self, error: BaseException) -> None:
        """Give each caller the error, as an object of its own; who goes on does so by itself."""
        sender = self._sender
        sender.shut(self)
        mends = sender.mends(error)
        alone = self._documents is not None and _is_of_keys(error)
        if alone:
            sender.part()
        name, path = self.common.name, self.common.path
        for future, key, amount in self._callers():
            if not (alone or mends):
                self._refuse(future, key, error)
                continue
            packed = packed_alone(self.common, key, amount)
            call = ScriptCall(future, name, (key,), path, sender, self._lane, packed, repeatable=False)
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


#: What a reply has for each document, where nobody is refused.
_ALL_WELL = {bytes}


class Groups:
    """The groups that somebody may join.

    Args:
        together: whether calls on different documents may be one.

    Attributes:
        single: by the key of a document the group that its latest call is in.
        shared: those for different documents, by what their callers have in common.
    """

    __slots__ = ("_count", "_latest", "_together", "shared", "single")

    def __init__(self, *, together: bool) -> None:
        self._together = together
        self.single: dict[str, Group] = {}
        self.shared: dict[Common, Group] = {}
        #: While there is one of those: of documents the number of the group that their latest call is in or came after.
        self._latest: dict[str, int] = {}
        self._count = 0

    def to_join(self, common: Common, key: str, care: Care | None) -> Group | None:
        """Return the group that the next caller for a document is to join, if there is one; it does so at once."""
        if care is not None:
            group = self.single.get(key)
            return group if group is not None and group.common is common and group.care == care else None
        group = self.shared.get(common)
        latest = self._latest.get(key, 0)
        if group is None or group.number < latest or not is_whole(key):
            return None
        if group.number > latest:
            self._latest[key] = group.number
            self.single.pop(key, None)
        else:  # a document with several callers
            self._find(group, key)
        return group

    def _find(self, group: Group, key: str) -> None:
        self.single[key] = group
        group.found.append(key)

    def add(self, group: Group) -> None:
        """Let others join a new group, and none that it overtakes."""
        key = group.keys[0]
        self.overtaken(group.keys)
        self._count += 1
        group.number = self._count
        self._find(group, key)
        if self._together and group.care is None:
            self.shared[group.common] = group
            self._latest[key] = self._count

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
        if self.shared.get(group.common) is group:
            del self.shared[group.common]
            if not self.shared:
                self._latest.clear()
        for key in group.found:
            if self.single.get(key) is group:
                del self.single[key]

    def part(self) -> None:
        """Have groups for single documents only."""
        self._together = False
        self.single.clear()
        self.shared.clear()
        self._latest.clear()
