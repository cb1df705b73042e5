"""Script calls that are asked for more than running: to run once however often they are sent, to be on replicas.

Rules:
- However many callers are combined in it, such a call is one operation: one id, one place in the record, and the answer
  that is kept there is that of all of them.
- It goes on as a whole. What may have run is sent again as it was, whoever gave up meanwhile; what ran nowhere is made
  anew for those who still wait.
- A lane has it for the first time it is sent, and is done with it when that failed; a task sends it on from there.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, cast

from rapyer._combine import Group
from rapyer._lane import own_error
from rapyer._once import LONGEST, known
from rapyer._pack import pack
from rapyer._refused import final
from rapyer._registry import once_scripts, scripts
from rapyer._sent import Sent, end, told_of
from rapyer._together import combined

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Sequence

    from rapyer._combine import GroupSender
    from rapyer._lane import Lane
    from rapyer._once import Once
    from rapyer._ops import Argument
    from rapyer._refused import Locate, Where
    from rapyer._script import Script
    from rapyer._sent import Care
    from rapyer._together import Common


class Careful(Sent, Group):
    """A call with care, of one caller or of several.

    Where others may join, `common` and an amount say what is asked for, and the arguments are made of them.

    Attributes:
        care: what each of them asks for.
        lane: the way it took.
    """

    __slots__ = ("_packed", "care", "lane", "once", "repeatable", "replicas", "script", "until")

    script: Script
    _over = False

    def __init__(  # noqa: PLR0913, PLR0917 - as a `Group`
        self,
        future: Future[Any],
        name: str,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        where: Where | Locate | str,
        sender: GroupSender,
        lane: Lane,
        care: Care,
        once: Once | None,
        common: Common | None = None,
        amount: int = 0,
    ) -> None:
        self.future = None  # `answer` is to be asked: there is something to take note of
        self.name = name
        self.keys = keys
        self._key = keys[0]
        self._arguments = arguments
        self._documents, self._others, self.found, self.hot = None, 0, [], None
        # Without, nobody joins: only who asks for the same does.
        self.common = cast("Common", common)
        self.care = care
        self.lane = lane
        self.once = once
        self._where = where
        self._sender = sender
        self._futures = [future]
        self.amounts = [amount]
        repeatable = once is None and scripts()[name].repeatable
        self.repeatable = repeatable or once is not None
        self.replicas = 0 if repeatable else care.replicas
        self._lane = self.way(lane)
        self.until = math.inf if once is None else asyncio.get_running_loop().time() + LONGEST
        # A first caller whose words have no bytes is told at once.
        self._pack()

    def _pack(self) -> None:
        """Make the command for the callers there are."""
        name, once, keys, words = self.name, self.once, self.keys, self._arguments
        if self.common is not None:
            name, words = combined(self.common, keys, self.amounts)
        if once is None:
            script = self.script = scripts()[name]
            self._packed = pack(("EVALSHA", script.sha, str(len(keys)), *keys, *words))
        else:
            script = self.script = once_scripts()[name]
            command = ("EVALSHA", script.sha, str(len(keys) + 1), *keys, once.record.key, *words, *once.arguments)
            self._packed = pack(command)

    # -- what a lane asks a call -----------------------------------------------------------------------------------

    @property
    def packed(self) -> bytes:
        """The command; nobody joins from now on."""
        self._sender.shut(self)
        if len(self.amounts) > 1 and not self.unsure and (left := self._callers()):
            self._keep(left)
            self._pack()
        return self._packed

    def given_up(self) -> bool:
        """Whether a lane need not care for it any more."""
        return self._over or Group.given_up(self)

    def over(self) -> bool:
        """Whether a failure is its last: with an id, its time begins with the first, be it in a lane or on the way."""
        if self.once is not None and self.trip is None:
            self.trip = self._sender.trip()
            self.trip.bound(self.until)
        return Sent.over(self)

    def answer(self, reply: Any) -> None:
        """Give each caller its answer."""
        known(self)
        Group.answer(self, reply)

    def fail(self, error: BaseException) -> None:
        """Go on if there is a way and somebody waits, else give each caller its error."""
        if self._over:
            return
        self._over = True
        self._sender.shut(self)
        error = self.failed(error)
        if self.callers() and self._sender.mends(error, again=self.again(error)):
            self._sender.mend(self, error)
        else:
            self.end(error)

    # -- what is asked of a call that goes on --------------------------------------------------------------------------

    def when_left(self, then: Callable[[], object]) -> None:
        """Do something when nobody waits for it any more."""
        waiting = set(self._futures or ())

        def left(future: Future[Any]) -> None:
            waiting.discard(future)
            if not waiting:
                then()

        for future in tuple(waiting):
            future.add_done_callback(left)

    def end(self, error: BaseException) -> None:
        """Give each caller the error that this failure is to it, as an object of its own."""
        known(self)
        for future, *_ in self._callers():
            end(future, told_of(self, final(self.name, own_error(error), self._where, self.keys)))
